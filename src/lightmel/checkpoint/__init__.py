"""One tagger as one file: description and tensors, read strictly, and nothing in it is ever run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .description import (
    FORMAT,
    PUBLISHED_SUFFIXES,
    Description,
    check_path,
    read_description,
    read_network,
    to_document,
)

if TYPE_CHECKING:
    from .safetensors import read, save, weights_sha256

__all__ = [
    "FORMAT",
    "PUBLISHED_SUFFIXES",
    "Description",
    "check_path",
    "read",
    "read_description",
    "read_network",
    "save",
    "to_document",
    "weights_sha256",
]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(("read", "save", "weights_sha256"), "safetensors"))
