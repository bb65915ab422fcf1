"""Data sets of music and tags, each as its authors distribute it, and tables of anyone's own.

One file a data set, all with the same constants. Nothing is downloaded: a loader reads what lies in a folder.
"""

from __future__ import annotations

from .dataset import Dataset, Problem, Split, same_protocol
from .jamendo import load_jamendo
from .magnatagatune import load_magnatagatune
from .msd import load_msd
from .table import load_table

__all__ = [
    "Dataset",
    "Problem",
    "Split",
    "load_jamendo",
    "load_magnatagatune",
    "load_msd",
    "load_table",
    "same_protocol",
]
