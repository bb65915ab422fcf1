"""Stores of computed features, and the labelled examples that are drawn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import StoreConfig

if TYPE_CHECKING:
    from .build import build_store
    from .examples import Augment, Batch, Examples, FeatureExamples
    from .labelled import LabelledSplits, label_features, nothing_readable
    from .store import Features, FeatureStore, MemoryFeatures, OnClip

__all__ = [
    "Augment",
    "Batch",
    "Examples",
    "FeatureExamples",
    "FeatureStore",
    "Features",
    "LabelledSplits",
    "MemoryFeatures",
    "OnClip",
    "StoreConfig",
    "build_store",
    "label_features",
    "nothing_readable",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "build_store": "build",
        **dict.fromkeys(("Augment", "Batch", "Examples", "FeatureExamples"), "examples"),
        **dict.fromkeys(("LabelledSplits", "label_features", "nothing_readable"), "labelled"),
        **dict.fromkeys(("FeatureStore", "Features", "MemoryFeatures", "OnClip"), "store"),
    },
)
