"""From labelled clips to taggers: the trainer, training from scratch, fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import FinetuneConfig, TaggerConfig, TrainConfig

if TYPE_CHECKING:
    from .finetuning import finetune
    from .supervised import Trained, read_parts, train_tagger
    from .trainer import Trainer, TrainResult

__all__ = [
    "FinetuneConfig",
    "TaggerConfig",
    "TrainConfig",
    "TrainResult",
    "Trained",
    "Trainer",
    "finetune",
    "read_parts",
    "train_tagger",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "finetune": "finetuning",
        **dict.fromkeys(("Trained", "train_tagger", "read_parts"), "supervised"),
        **dict.fromkeys(("Trainer", "TrainResult"), "trainer"),
    },
)
