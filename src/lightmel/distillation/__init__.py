"""Distillation: a small student learns its teachers' scores on a folder of music, without any labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import DISTILL_TRAINING, DistillConfig, MusicConfig, StudentJob

if TYPE_CHECKING:
    from ..datasets import Track, find_tracks, read_human_annotations, read_tracks
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
    "Track",
    "compare_with_teacher",
    "distill",
    "find_tracks",
    "hold_out_tracks",
    "make_student",
    "read_human_annotations",
    "read_tracks",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Track", "find_tracks", "read_human_annotations", "read_tracks"), ".datasets"),
        "hold_out_tracks": "corpus",
        "make_student": "recipe",
        **dict.fromkeys(("Report", "compare_with_teacher"), "report"),
        "distill": "student",
    },
)
