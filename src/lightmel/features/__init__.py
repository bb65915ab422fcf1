"""Stores of computed features, and the labelled examples that are drawn from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import StoreConfig

if TYPE_CHECKING:
    from .build import build_store, telling
    from .examples import Augment, Batch, Examples, FeatureExamples
    from .labeled import LabeledSplits, label_features, nothing_readable
    from .layout import Layout
    from .store import Features, FeatureStore, MemoryFeatures, OnClip

__all__ = [
    "Augment",
    "Batch",
    "Examples",
    "FeatureExamples",
    "FeatureStore",
    "Features",
    "LabeledSplits",
    "Layout",
    "MemoryFeatures",
    "OnClip",
    "StoreConfig",
    "build_store",
    "label_features",
    "nothing_readable",
    "telling",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("build_store", "telling"), "build"),
        **dict.fromkeys(("Augment", "Batch", "Examples", "FeatureExamples"), "examples"),
        **dict.fromkeys(("LabeledSplits", "label_features", "nothing_readable"), "labeled"),
        "Layout": "layout",
        **dict.fromkeys(("FeatureStore", "Features", "MemoryFeatures", "OnClip"), "store"),
    },
)
