"""Making taggers: training, fine-tuning, distillation, and what a tagger is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily
from .config import DistillConfig, FinetuneConfig, TaggerConfig, TrainConfig

if TYPE_CHECKING:
    from .evaluation import Evaluation
    from .examples import MelExamples
    from .trainer import Trainer, TrainResult

__all__ = [
    "DistillConfig",
    "Evaluation",
    "FinetuneConfig",
    "MelExamples",
    "TaggerConfig",
    "TrainConfig",
    "TrainResult",
    "Trainer",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Evaluation": "evaluation",
        "MelExamples": "examples",
        **dict.fromkeys(("Trainer", "TrainResult"), "trainer"),
    },
)
