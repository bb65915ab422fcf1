"""Evaluation of taggers: metrics with intervals, and records that carry what they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .config import CalibrationConfig

if TYPE_CHECKING:
    from .calibrated import Agreement, Calibrated, Calibration, Separation
    from .calibration import calibrate
    from .chances import (
        Bin,
        Chances,
        ClipLogits,
        calibration_error,
        expected_f1_thresholds,
        f1_score,
        fit_chances,
        reliability,
        separating_threshold,
    )
    from .comparison import Comparison, Difference, Runs, compare, compare_runs
    from .metrics import (
        FALLBACK_THRESHOLD,
        bootstrap,
        correlation,
        fit_thresholds,
        macro,
        pr_auc,
        rankable,
        resampled,
        roc_auc,
        shared_top,
        wilson,
    )
    from .protocol import ClipSet, Intervals, evaluate, evaluate_examples, evaluate_known, evaluate_scores
    from .record import ClipScores, Evaluation
    from .scoring import score_clips
    from .tables import markdown

__all__ = [
    "FALLBACK_THRESHOLD",
    "Agreement",
    "Bin",
    "Calibrated",
    "Calibration",
    "CalibrationConfig",
    "Chances",
    "ClipLogits",
    "ClipScores",
    "ClipSet",
    "Comparison",
    "Difference",
    "Evaluation",
    "Intervals",
    "Runs",
    "Separation",
    "bootstrap",
    "calibrate",
    "calibration_error",
    "compare",
    "compare_runs",
    "correlation",
    "evaluate",
    "evaluate_examples",
    "evaluate_known",
    "evaluate_scores",
    "expected_f1_thresholds",
    "f1_score",
    "fit_chances",
    "fit_thresholds",
    "macro",
    "markdown",
    "pr_auc",
    "rankable",
    "reliability",
    "resampled",
    "roc_auc",
    "score_clips",
    "separating_threshold",
    "shared_top",
    "wilson",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Agreement", "Calibrated", "Calibration", "Separation"), "calibrated"),
        "calibrate": "calibration",
        **dict.fromkeys(("Bin", "Chances", "ClipLogits", "calibration_error", "f1_score"), "chances"),
        **dict.fromkeys(("expected_f1_thresholds", "fit_chances", "reliability"), "chances"),
        "separating_threshold": "chances",
        **dict.fromkeys(("Comparison", "Difference", "Runs", "compare", "compare_runs"), "comparison"),
        **dict.fromkeys(("bootstrap", "correlation", "fit_thresholds", "macro", "pr_auc"), "metrics"),
        **dict.fromkeys(("FALLBACK_THRESHOLD", "rankable", "resampled", "roc_auc"), "metrics"),
        **dict.fromkeys(("shared_top", "wilson"), "metrics"),
        **dict.fromkeys(
            ("ClipSet", "Intervals", "evaluate", "evaluate_examples", "evaluate_known", "evaluate_scores"),
            "protocol",
        ),
        **dict.fromkeys(("ClipScores", "Evaluation"), "record"),
        "score_clips": "scoring",
        "markdown": "tables",
    },
)
