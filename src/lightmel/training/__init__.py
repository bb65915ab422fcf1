"""Training of taggers on labelled clips: the trainer, training from scratch, fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import NO_CALLBACKS, Callbacks, FinetuneConfig, Signature, TaggerConfig, TrainConfig
from .recipes import RECIPES, Recipe, find_recipe, recipe

if TYPE_CHECKING:
    from .augment import (
        Augmentation,
        Chain,
        Equalizer,
        Gain,
        LowPass,
        MelDomain,
        Noise,
        WaveDomain,
        playback,
    )
    from .distributed import is_first_process
    from .finetuning import finetune
    from .folds import Folds
    from .run import Line, Loss, TrainResult
    from .supervised import Kept, Trained, features_of, fit_resumed, train_network, train_tagger
    from .tensorboard import to_tensorboard
    from .trainer import Trainer

__all__ = [
    "NO_CALLBACKS",
    "RECIPES",
    "Augmentation",
    "Callbacks",
    "Chain",
    "Equalizer",
    "FinetuneConfig",
    "Folds",
    "Gain",
    "Kept",
    "Line",
    "Loss",
    "LowPass",
    "MelDomain",
    "Noise",
    "Recipe",
    "Signature",
    "TaggerConfig",
    "TrainConfig",
    "TrainResult",
    "Trained",
    "Trainer",
    "WaveDomain",
    "features_of",
    "find_recipe",
    "finetune",
    "fit_resumed",
    "is_first_process",
    "playback",
    "recipe",
    "to_tensorboard",
    "train_network",
    "train_tagger",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Augmentation", "Chain", "Equalizer", "Gain", "LowPass"), "augment"),
        **dict.fromkeys(("MelDomain", "Noise", "WaveDomain", "playback"), "augment"),
        "is_first_process": "distributed",
        "finetune": "finetuning",
        "Folds": "folds",
        **dict.fromkeys(("Line", "Loss", "TrainResult"), "run"),
        **dict.fromkeys(("Kept", "Trained", "features_of", "fit_resumed"), "supervised"),
        **dict.fromkeys(("train_network", "train_tagger"), "supervised"),
        "to_tensorboard": "tensorboard",
        "Trainer": "trainer",
    },
)
