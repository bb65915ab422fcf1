"""lightmel: music tags from small mel-spectrograms.

``lightmel.tag("song.mp3")`` is the whole of it for most people. Importing the package is cheap: torch
comes with the first name that needs it (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazily
from .errors import LightmelError
from .frontends.mel import GRID, MelConfig

if TYPE_CHECKING:
    from .datasets import load_jamendo, load_magnatagatune, load_msd, load_table
    from .features import FeatureStore
    from .frontends.mel_torch import MelFrontend
    from .inference.tagger import Tagger, Tagging, load, tag
    from .models import build_musicnn, build_vgg
    from .training import TrainConfig, Trainer

__version__ = "0.1.0"

__all__ = [
    "GRID",
    "FeatureStore",
    "LightmelError",
    "MelConfig",
    "MelFrontend",
    "Tagger",
    "Tagging",
    "TrainConfig",
    "Trainer",
    "__version__",
    "build_musicnn",
    "build_vgg",
    "load",
    "load_jamendo",
    "load_magnatagatune",
    "load_msd",
    "load_table",
    "tag",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Tagger", "Tagging", "load", "tag"), "inference"),
        **dict.fromkeys(("build_musicnn", "build_vgg"), "models"),
        **dict.fromkeys(("load_jamendo", "load_magnatagatune", "load_msd", "load_table"), "datasets"),
        **dict.fromkeys(("TrainConfig", "Trainer"), "training"),
        "FeatureStore": "features",
        "MelFrontend": "frontends",
    },
)
