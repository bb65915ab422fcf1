"""Studies: grids of trainings, cost against accuracy, and which input fits a budget; the paper's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .data import open_data
    from .grid import Cell, Grid, LearningConfig, Network, grid_of, names_of_grids, read_grid
    from .run import Outcome, busy, run_study

__all__ = [
    "Cell",
    "Grid",
    "LearningConfig",
    "Network",
    "Outcome",
    "busy",
    "grid_of",
    "names_of_grids",
    "open_data",
    "read_grid",
    "run_study",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "open_data": "data",
        **dict.fromkeys(("Cell", "Grid", "LearningConfig", "Network"), "grid"),
        **dict.fromkeys(("grid_of", "names_of_grids", "read_grid"), "grid"),
        **dict.fromkeys(("Outcome", "busy", "run_study"), "run"),
    },
)
