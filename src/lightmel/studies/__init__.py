"""Studies: grids of trainings, cost against accuracy, and which input fits a budget; the paper's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .candidates import Candidate, Measured
    from .known import Accuracy, costs_and_accuracies
    from .limits import Limits
    from .paper import (
        DATASETS,
        NETWORKS,
        Gap,
        Published,
        paper_table,
        published,
        published_of,
        published_on,
        published_table,
        read_published,
        unpublished,
    )
    from .recommendation import Choice, Loss, Recommendation, recommend, recommend_from
    from .said import Statement, statements
    from .significance import CHANGES, Change, Difference, Sample, Tested, difference, t_tests, table_of_tests
    from .tabular import Table

__all__ = [
    "CHANGES",
    "DATASETS",
    "NETWORKS",
    "Accuracy",
    "Candidate",
    "Change",
    "Choice",
    "Difference",
    "Gap",
    "Limits",
    "Loss",
    "Measured",
    "Published",
    "Recommendation",
    "Sample",
    "Statement",
    "Table",
    "Tested",
    "costs_and_accuracies",
    "difference",
    "paper_table",
    "published",
    "published_of",
    "published_on",
    "published_table",
    "read_published",
    "recommend",
    "recommend_from",
    "statements",
    "t_tests",
    "table_of_tests",
    "unpublished",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Candidate", "Measured"), "candidates"),
        **dict.fromkeys(("Accuracy", "costs_and_accuracies"), "known"),
        **dict.fromkeys(("DATASETS", "NETWORKS", "Gap", "Published", "paper_table", "published"), "paper"),
        **dict.fromkeys(
            ("published_of", "published_on", "published_table", "read_published", "unpublished"), "paper"
        ),
        "Limits": "limits",
        **dict.fromkeys(("Choice", "Loss", "Recommendation"), "recommendation"),
        **dict.fromkeys(("recommend", "recommend_from"), "recommendation"),
        **dict.fromkeys(
            ("CHANGES", "Change", "Difference", "Sample", "Tested", "difference"), "significance"
        ),
        **dict.fromkeys(("t_tests", "table_of_tests"), "significance"),
        **dict.fromkeys(("Statement", "statements"), "said"),
        "Table": "tabular",
    },
)
