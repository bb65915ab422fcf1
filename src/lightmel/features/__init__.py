"""Stores of computed features, and the labelled examples that are drawn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import StoreConfig

if TYPE_CHECKING:
    from .build import build_store, sound_files
    from .examples import Batch, Damage, Examples, MelExamples, score_clips
    from .store import FeatureStore, Mels, MemoryMels

__all__ = [
    "Batch",
    "Damage",
    "Examples",
    "FeatureStore",
    "MelExamples",
    "Mels",
    "MemoryMels",
    "StoreConfig",
    "build_store",
    "score_clips",
    "sound_files",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("build_store", "sound_files"), "build"),
        **dict.fromkeys(("Batch", "Damage", "Examples", "MelExamples", "score_clips"), "examples"),
        **dict.fromkeys(("FeatureStore", "MemoryMels", "Mels"), "store"),
    },
)
