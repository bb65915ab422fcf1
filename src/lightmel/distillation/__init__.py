"""Distillation: a small student learns its teachers' scores on a folder of music, without any labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import DISTILL_TRAINING, DistillConfig, MusicConfig, ScoresConfig, StudentJob

if TYPE_CHECKING:
    from .corpus import hold_out_tracks
    from .recipe import make_student
    from .report import Report, compare_with_teacher
    from .scores import (
        SCORES_DESCRIPTION,
        StoredExamples,
        TeacherScores,
        held_out_logits,
        score_music,
        split_music,
    )
    from .student import distill, distillation_loss

__all__ = [
    "DISTILL_TRAINING",
    "SCORES_DESCRIPTION",
    "DistillConfig",
    "MusicConfig",
    "Report",
    "ScoresConfig",
    "StoredExamples",
    "StudentJob",
    "TeacherScores",
    "compare_with_teacher",
    "distill",
    "distillation_loss",
    "held_out_logits",
    "hold_out_tracks",
    "make_student",
    "score_music",
    "split_music",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "hold_out_tracks": "corpus",
        "make_student": "recipe",
        **dict.fromkeys(("Report", "compare_with_teacher"), "report"),
        **dict.fromkeys(("SCORES_DESCRIPTION", "StoredExamples", "TeacherScores"), "scores"),
        **dict.fromkeys(("held_out_logits", "score_music", "split_music"), "scores"),
        **dict.fromkeys(("distill", "distillation_loss"), "student"),
    },
)
