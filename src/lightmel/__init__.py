"""lightmel: music tags from small mel-spectrograms.

``lightmel.tag("song.mp3")`` is the whole of it for most people. Importing the package is cheap: torch
comes with the first name that needs it (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import GRID, MelConfig
from .errors import LightmelError
from .lazy import lazily

if TYPE_CHECKING:
    from .data import FeatureStore, load_jamendo, load_magnatagatune, load_msd, load_table
    from .frontend import MelFrontend
    from .models import build_musicnn, build_vgg
    from .tagger import Tagger, Tagging, load, tag
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
        **dict.fromkeys(("Tagger", "Tagging", "load", "tag"), "tagger"),
        **dict.fromkeys(("build_musicnn", "build_vgg"), "models"),
        **dict.fromkeys(
            ("FeatureStore", "load_jamendo", "load_magnatagatune", "load_msd", "load_table"), "data"
        ),
        **dict.fromkeys(("TrainConfig", "Trainer"), "training"),
        "MelFrontend": "frontend",
    },
)
