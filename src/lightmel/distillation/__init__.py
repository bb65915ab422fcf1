"""Distillation: a small student learns its teachers' scores on a folder of music, without any labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import DISTILL_TRAINING, DistillConfig, MusicConfig, StudentJob

if TYPE_CHECKING:
    from .corpus import hold_out_tracks
    from .recipe import make_student
    from .report import Report, compare_with_teacher
    from .student import distill

__all__ = [
    "DISTILL_TRAINING",
    "DistillConfig",
    "MusicConfig",
    "Report",
    "StudentJob",
    "compare_with_teacher",
    "distill",
    "hold_out_tracks",
    "make_student",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "hold_out_tracks": "corpus",
        "make_student": "recipe",
        **dict.fromkeys(("Report", "compare_with_teacher"), "report"),
        "distill": "student",
    },
)
