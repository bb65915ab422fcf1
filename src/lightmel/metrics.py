"""How well scores fit: ROC AUC against people, correlation and shared top tags between taggers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from .errors import ShapeError

Scores = NDArray[np.floating]


def _paired(a: Scores, b: Scores) -> None:
    if a.ndim != 2 or a.shape != b.shape:
        raise ShapeError(f"Both want the same shape (clips, tags), not {a.shape} and {b.shape}.")


def roc_auc(
    truth: NDArray[np.bool_], scores: Scores, tags: Sequence[str], min_positives: int = 1
) -> dict[str, float]:
    """Return the ROC AUC of each tag that has `min_positives` true clips and at least one false one.

    `truth` and `scores` are ``(clips, tags)``; a tag that is missing in the result could not be judged.
    The macro average is the mean of the values.
    """
    _paired(truth.astype(float), scores)
    if len(tags) != scores.shape[1]:
        raise ShapeError(f"Scores of {scores.shape[1]} tags want as many names, not {len(tags)}.")
    counts = truth.sum(axis=0)
    return {
        tag: float(roc_auc_score(truth[:, i], scores[:, i]))
        for i, tag in enumerate(tags)
        if max(min_positives, 1) <= counts[i] < len(truth)
    }


def correlation(a: Scores, b: Scores, axis: int = 0) -> NDArray[np.float64]:
    """Return Pearson's correlation along `axis` of two ``(clips, tags)``: 0 one a tag, 1 one a clip.

    Where one side is constant there is none, and the value is NaN.
    """
    _paired(a, b)
    x = np.asarray(a, dtype=np.float64) - np.mean(a, axis=axis, keepdims=True, dtype=np.float64)
    y = np.asarray(b, dtype=np.float64) - np.mean(b, axis=axis, keepdims=True, dtype=np.float64)
    norm = np.sqrt((x * x).sum(axis=axis) * (y * y).sum(axis=axis))
    # The mean of equal numbers may round beside them: what is constant is not to be seen from `norm`.
    varies = (np.ptp(a, axis=axis) > 0) & (np.ptp(b, axis=axis) > 0) & (norm > 0)
    found: NDArray[np.float64] = np.divide(
        (x * y).sum(axis=axis), norm, out=np.full(norm.shape, np.nan), where=varies
    )
    return found


def shared_top(a: Scores, b: Scores, k: int = 5) -> float:
    """Return how many of the `k` best tags of each row of `a` are among those of `b`, on average."""
    _paired(a, b)
    best_a, best_b = (np.argsort(-s, axis=1, kind="stable")[:, :k] for s in (a, b))
    return float(np.mean([len(np.intersect1d(x, y)) for x, y in zip(best_a, best_b, strict=True)]))
