"""Data sets of music and tags, each as its authors distribute it, and tables of anyone's own.

One file a data set, all with the same constants. Nothing is downloaded: a loader reads what lies in a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import DataConfig

if TYPE_CHECKING:
    from .dataset import Dataset, Problem, Split, same_protocol
    from .jamendo import load_jamendo
    from .magnatagatune import load_magnatagatune
    from .msd import load_msd
    from .source import load_dataset
    from .splits import partition
    from .table import load_table

__all__ = [
    "DataConfig",
    "Dataset",
    "Problem",
    "Split",
    "load_dataset",
    "load_jamendo",
    "load_magnatagatune",
    "load_msd",
    "load_table",
    "partition",
    "same_protocol",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Dataset", "Problem", "Split", "same_protocol"), "dataset"),
        "load_jamendo": "jamendo",
        "load_magnatagatune": "magnatagatune",
        "load_msd": "msd",
        "load_dataset": "source",
        "partition": "splits",
        "load_table": "table",
    },
)
