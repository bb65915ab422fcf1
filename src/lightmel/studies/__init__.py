"""Studies: grids of trainings, cost against accuracy, and which input fits a budget; the paper's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .candidates import Candidate, Measured
    from .data import open_data
    from .grid import Cell, Grid, LearningConfig, Network, grid_of, names_of_grids, read_grid
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
    from .report import StudyReport, report_study
    from .results import Point, Run, StudyResults, read_results
    from .rows import MeasuredPoint, measured
    from .run import Outcome, busy, run_study
    from .said import Statement, statements
    from .significance import CHANGES, Change, Difference, Sample, Tested, difference, t_tests, table_of_tests
    from .sonification import LONGEST_GRIFFIN_LIM, Method, Sonified, sonify, sonify_file
    from .tabular import Table
    from .timing import measure_times
    from .view import Section

__all__ = [
    "CHANGES",
    "DATASETS",
    "LONGEST_GRIFFIN_LIM",
    "NETWORKS",
    "Accuracy",
    "Candidate",
    "Cell",
    "Change",
    "Choice",
    "Difference",
    "Gap",
    "Grid",
    "LearningConfig",
    "Limits",
    "Loss",
    "Measured",
    "MeasuredPoint",
    "Method",
    "Network",
    "Outcome",
    "Point",
    "Published",
    "Recommendation",
    "Run",
    "Sample",
    "Section",
    "Sonified",
    "Statement",
    "StudyReport",
    "StudyResults",
    "Table",
    "Tested",
    "busy",
    "costs_and_accuracies",
    "difference",
    "grid_of",
    "measure_times",
    "measured",
    "names_of_grids",
    "open_data",
    "paper_table",
    "published",
    "published_of",
    "published_on",
    "published_table",
    "read_grid",
    "read_published",
    "read_results",
    "recommend",
    "recommend_from",
    "report_study",
    "run_study",
    "sonify",
    "sonify_file",
    "statements",
    "t_tests",
    "table_of_tests",
    "unpublished",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "open_data": "data",
        **dict.fromkeys(("Cell", "Grid", "LearningConfig", "Network"), "grid"),
        **dict.fromkeys(("grid_of", "names_of_grids", "read_grid"), "grid"),
        **dict.fromkeys(("StudyReport", "report_study"), "report"),
        **dict.fromkeys(("Point", "Run", "StudyResults", "read_results"), "results"),
        **dict.fromkeys(("MeasuredPoint", "measured"), "rows"),
        **dict.fromkeys(("Outcome", "busy", "run_study"), "run"),
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
        **dict.fromkeys(
            ("LONGEST_GRIFFIN_LIM", "Method", "Sonified", "sonify", "sonify_file"), "sonification"
        ),
        "Table": "tabular",
        "measure_times": "timing",
        "Section": "view",
    },
)
