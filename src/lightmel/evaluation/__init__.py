"""Evaluation of taggers: metrics with intervals, and records that carry what they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .comparison import compare
    from .metrics import bootstrap, correlation, fit_thresholds, macro, pr_auc, rankable, roc_auc, shared_top
    from .protocol import ClipSet, Intervals, evaluate, evaluate_examples
    from .record import Evaluation
    from .scoring import score_clips
    from .tables import markdown

__all__ = [
    "ClipSet",
    "Evaluation",
    "Intervals",
    "bootstrap",
    "compare",
    "correlation",
    "evaluate",
    "evaluate_examples",
    "fit_thresholds",
    "macro",
    "markdown",
    "pr_auc",
    "rankable",
    "roc_auc",
    "score_clips",
    "shared_top",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "compare": "comparison",
        **dict.fromkeys(("bootstrap", "correlation", "fit_thresholds", "macro", "pr_auc"), "metrics"),
        **dict.fromkeys(("rankable", "roc_auc", "shared_top"), "metrics"),
        **dict.fromkeys(("ClipSet", "Intervals", "evaluate", "evaluate_examples"), "protocol"),
        "Evaluation": "record",
        "score_clips": "scoring",
        "markdown": "tables",
    },
)
