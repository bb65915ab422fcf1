"""lightmel: music tags from small mel-spectrograms.

``lightmel.tag("song.mp3")`` is the whole of it for most people. Importing the package is cheap: torch
comes with the first name that needs it (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import GRID, MelConfig
from .errors import LightmelError

if TYPE_CHECKING:
    from .frontend import MelFrontend
    from .models import build_musicnn, build_vgg
    from .tagger import Tagger, Tagging, load, tag

__version__ = "0.1.0"

__all__ = [
    "GRID",
    "LightmelError",
    "MelConfig",
    "MelFrontend",
    "Tagger",
    "Tagging",
    "__version__",
    "build_musicnn",
    "build_vgg",
    "load",
    "tag",
]

_LAZY = {
    "MelFrontend": "frontend",
    "build_musicnn": "models",
    "build_vgg": "models",
    "Tagger": "tagger",
    "Tagging": "tagger",
    "load": "tagger",
    "tag": "tagger",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
