"""Data sets of music and tags, each as its authors distribute it, tables of anyone's own, and their mels.

One file a data set, all with the same constants. Nothing is downloaded: a loader reads what lies in a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily
from .config import DataConfig, StoreConfig

if TYPE_CHECKING:
    from .build import build_store, sound_files
    from .dataset import Dataset, Problem, Split, same_protocol
    from .jamendo import load_jamendo
    from .magnatagatune import load_magnatagatune
    from .msd import load_msd
    from .source import load_dataset
    from .store import FeatureStore, MemoryMels
    from .table import load_table

__all__ = [
    "DataConfig",
    "Dataset",
    "FeatureStore",
    "MemoryMels",
    "Problem",
    "Split",
    "StoreConfig",
    "build_store",
    "load_dataset",
    "load_jamendo",
    "load_magnatagatune",
    "load_msd",
    "load_table",
    "same_protocol",
    "sound_files",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("build_store", "sound_files"), "build"),
        **dict.fromkeys(("Dataset", "Problem", "Split", "same_protocol"), "dataset"),
        **dict.fromkeys(("FeatureStore", "MemoryMels"), "store"),
        "load_dataset": "source",
        "load_jamendo": "jamendo",
        "load_magnatagatune": "magnatagatune",
        "load_msd": "msd",
        "load_table": "table",
    },
)
