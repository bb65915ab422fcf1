"""One tagger as one file: description and tensors, read strictly, and nothing in it is ever run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .safetensors import FORMAT, Description, check_path, read, save, weights_sha256

__all__ = [
    "FORMAT",
    "Description",
    "check_path",
    "read",
    "save",
    "weights_sha256",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(
            ("FORMAT", "Description", "check_path", "read", "save", "weights_sha256"), "safetensors"
        ),
    },
)
