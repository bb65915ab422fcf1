"""Studies: grids of trainings, cost against accuracy, and which input fits a budget; the paper's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .paper import (
        DATASETS,
        NETWORKS,
        Gap,
        Published,
        paper_table,
        published,
        published_of,
        published_on,
        read_published,
        unpublished,
    )
    from .significance import Difference, Sample, Tested, difference, t_tests
    from .said import Statement, statements
    from .tabular import Table

__all__ = [
    "DATASETS",
    "NETWORKS",
    "Difference",
    "Gap",
    "Published",
    "Sample",
    "Statement",
    "Table",
    "Tested",
    "difference",
    "paper_table",
    "published",
    "published_of",
    "published_on",
    "read_published",
    "statements",
    "t_tests",
    "unpublished",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("DATASETS", "NETWORKS", "Gap", "Published", "paper_table", "published"), "paper"),
        **dict.fromkeys(("published_of", "published_on", "read_published", "unpublished"), "paper"),
        **dict.fromkeys(("Difference", "Sample", "Tested", "difference", "t_tests"), "significance"),
        **dict.fromkeys(("Statement", "statements"), "said"),
        "Table": "tabular",
    },
)
