"""What a tagger is worth: metrics with intervals, and records that carry what they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .metrics import bootstrap, correlation, fit_thresholds, judged, macro, pr_auc, roc_auc, shared_top
    from .protocol import evaluate, evaluate_files, none_heard
    from .record import Evaluation, compare, markdown

__all__ = [
    "Evaluation",
    "bootstrap",
    "compare",
    "correlation",
    "evaluate",
    "evaluate_files",
    "fit_thresholds",
    "judged",
    "macro",
    "markdown",
    "none_heard",
    "pr_auc",
    "roc_auc",
    "shared_top",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(
            (
                "bootstrap",
                "correlation",
                "fit_thresholds",
                "judged",
                "macro",
                "pr_auc",
                "roc_auc",
                "shared_top",
            ),
            "metrics",
        ),
        **dict.fromkeys(("evaluate", "evaluate_files", "none_heard"), "protocol"),
        **dict.fromkeys(("Evaluation", "compare", "markdown"), "record"),
    },
)
