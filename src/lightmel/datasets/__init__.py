"""Data sets of music and tags: published ones, as their authors distribute them, and tables of one's own.

Each data set has a module, all with the same constants. Nothing is downloaded: a loader reads a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import DataConfig, MixtureConfig

if TYPE_CHECKING:
    from .dataset import Dataset, Problem, Split, same_protocol
    from .human import (
        TRUE_SHARE,
        HumanAnnotations,
        read_human_annotations,
        shares_of,
        tag_columns,
        whole_path,
    )
    from .jamendo import load_jamendo
    from .library import load_library
    from .magnatagatune import load_magnatagatune
    from .mixtures import make_mixtures
    from .msd import load_msd
    from .rows import Rows, csv_text, unique_paths
    from .source import load_dataset
    from .splits import hold_out, stratify
    from .table import load_table
    from .tracks import Track, find_tracks, read_tracks

__all__ = [
    "TRUE_SHARE",
    "DataConfig",
    "Dataset",
    "HumanAnnotations",
    "MixtureConfig",
    "Problem",
    "Rows",
    "Split",
    "Track",
    "csv_text",
    "find_tracks",
    "hold_out",
    "load_dataset",
    "load_jamendo",
    "load_library",
    "load_magnatagatune",
    "load_msd",
    "load_table",
    "make_mixtures",
    "read_human_annotations",
    "read_tracks",
    "same_protocol",
    "shares_of",
    "stratify",
    "tag_columns",
    "unique_paths",
    "whole_path",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Dataset", "Problem", "Split", "same_protocol"), "dataset"),
        "load_jamendo": "jamendo",
        "load_library": "library",
        "load_magnatagatune": "magnatagatune",
        "load_msd": "msd",
        "load_dataset": "source",
        "make_mixtures": "mixtures",
        **dict.fromkeys(("Rows", "csv_text", "unique_paths"), "rows"),
        **dict.fromkeys(("hold_out", "stratify"), "splits"),
        "load_table": "table",
        **dict.fromkeys(("TRUE_SHARE", "HumanAnnotations", "read_human_annotations"), "human"),
        **dict.fromkeys(("shares_of", "tag_columns", "whole_path"), "human"),
        **dict.fromkeys(("Track", "find_tracks", "read_tracks"), "tracks"),
    },
)
