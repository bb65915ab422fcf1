"""Distillation: a small student learns a teacher's scores on a folder of music, without any labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import DISTILL_TRAINING, DistillConfig

if TYPE_CHECKING:
    from .recipe import make_student
    from .student import distill

__all__ = [
    "DISTILL_TRAINING",
    "DistillConfig",
    "distill",
    "make_student",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "make_student": "recipe",
        "distill": "student",
    },
)
