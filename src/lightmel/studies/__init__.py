"""Studies: grids of trainings, cost against accuracy, and which input fits a budget; the paper's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .sonification import LONGEST_GRIFFIN_LIM, Method, Sonified, sonify, sonify_file

__all__ = [
    "LONGEST_GRIFFIN_LIM",
    "Method",
    "Sonified",
    "sonify",
    "sonify_file",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(
            ("LONGEST_GRIFFIN_LIM", "Method", "Sonified", "sonify", "sonify_file"), "sonification"
        ),
    },
)
