"""lightmel: music tags from small mel-spectrograms.

``lightmel.tag("song.mp3")`` is the whole of it for most people. Importing the package is cheap: torch
comes with the first name that needs it (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily
from .errors import LightmelError
from .frontends import PAPER_CONFIGS, MelConfig

if TYPE_CHECKING:
    from .datasets import (
        load_dataset,
        load_jamendo,
        load_library,
        load_magnatagatune,
        load_msd,
        load_table,
    )
    from .distillation import distill
    from .evaluation import calibrate, evaluate
    from .features import FeatureStore
    from .frontends import MelFrontend
    from .hub import list_models
    from .inference import Tagger, Tagging, Taggram, embed, load, tag
    from .models import build_mobilenet, build_musicnn, build_vgg
    from .studies import recommend, sonify
    from .training import TrainConfig, Trainer, finetune

__version__ = "0.1.0"

__all__ = [
    "PAPER_CONFIGS",
    "FeatureStore",
    "LightmelError",
    "MelConfig",
    "MelFrontend",
    "Tagger",
    "Tagging",
    "Taggram",
    "TrainConfig",
    "Trainer",
    "__version__",
    "build_mobilenet",
    "build_musicnn",
    "build_vgg",
    "calibrate",
    "distill",
    "embed",
    "evaluate",
    "finetune",
    "list_models",
    "load",
    "load_dataset",
    "load_jamendo",
    "load_library",
    "load_magnatagatune",
    "load_msd",
    "load_table",
    "recommend",
    "sonify",
    "tag",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("load_dataset", "load_jamendo", "load_library"), "datasets"),
        **dict.fromkeys(("load_magnatagatune", "load_msd", "load_table"), "datasets"),
        "distill": "distillation",
        **dict.fromkeys(("calibrate", "evaluate"), "evaluation"),
        "FeatureStore": "features",
        "MelFrontend": "frontends",
        "list_models": "hub",
        **dict.fromkeys(("Tagger", "Tagging", "Taggram", "embed", "load", "tag"), "inference"),
        **dict.fromkeys(("build_mobilenet", "build_musicnn", "build_vgg"), "models"),
        **dict.fromkeys(("recommend", "sonify"), "studies"),
        **dict.fromkeys(("TrainConfig", "Trainer", "finetune"), "training"),
        # The rooms themselves: `lightmel.audio.find(...)` needs no import of its own.
        **dict.fromkeys(("audio", "checkpoint", "datasets", "distillation", "evaluation", "features"), ""),
        **dict.fromkeys(("hub", "inference", "library", "models", "sample", "studies", "training"), ""),
        "vocabularies": "",
    },
)
