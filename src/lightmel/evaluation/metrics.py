"""How well scores fit: ROC AUC and PR AUC against labels, thresholds, correlation between taggers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from ..errors import ConfigError, DataError, ShapeError

Scores = NDArray[np.floating]
Truth = NDArray[np.bool_]
Measure = Literal["roc_auc", "pr_auc"]
Floats = NDArray[np.float64]

FALLBACK_THRESHOLD = 0.5
"""For a tag that nothing can be fitted to: the score at which a network is undecided."""

_CHUNK = 300_000
"""Numbers in one array of resampled clips: what stays near the processor."""


def _paired(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.ndim != 2 or a.shape != b.shape:
        raise ShapeError(f"Both want the same shape (clips, tags), not {a.shape} and {b.shape}.")


def _check(truth: Truth, scores: Scores, tags: Sequence[str]) -> None:
    _paired(truth, scores)
    if len(tags) != scores.shape[1]:
        raise ShapeError(f"Scores of {scores.shape[1]} tags want as many names, not {len(tags)}.")
    if not np.isfinite(scores).all():
        clip, tag = np.argwhere(~np.isfinite(scores))[0]
        raise DataError(
            f"The score of clip {clip}, {tags[tag]}, is {scores[clip, tag]}: it cannot be ranked. "
            "The network that gave it did not survive its training."
        )


def rankable(truth: Truth, min_positives: int = 1) -> list[int]:
    """Return the columns of `truth` ``(clips, tags)`` that a ranking can be measured by.

    They have at least `min_positives` true clips (one in any case) and at least one false one.
    """
    counts = truth.sum(axis=0)
    return [i for i, n in enumerate(counts) if max(min_positives, 1) <= n < len(truth)]


def roc_auc(truth: Truth, scores: Scores, tags: Sequence[str], min_positives: int = 1) -> dict[str, float]:
    """Return the ROC AUC of each tag that has `min_positives` true clips and at least one false one.

    `truth` and `scores` are ``(clips, tags)``; a tag that is missing in the result could not be measured.

    Raises
    ------
    ShapeError
        If the shapes differ, or there is not a name for every tag.
    DataError
        If a score is not finite.
    """
    _check(truth, scores, tags)
    return {tags[i]: float(roc_auc_score(truth[:, i], scores[:, i])) for i in rankable(truth, min_positives)}


def pr_auc(truth: Truth, scores: Scores, tags: Sequence[str], min_positives: int = 1) -> dict[str, float]:
    """Return the area under precision over recall of each tag, as `roc_auc` does and with its errors.

    It is scikit-learn's average precision: a sum of steps, without interpolation. A ranking by chance has
    the part of the clips that are true.
    """
    _check(truth, scores, tags)
    return {
        tags[i]: float(average_precision_score(truth[:, i], scores[:, i]))
        for i in rankable(truth, min_positives)
    }


def macro(values: Mapping[str, float]) -> float:
    """Return the mean over the tags, each counting once; NaN where there are none."""
    return float(np.mean(list(values.values()))) if values else float("nan")


def bootstrap(
    truth: Truth,
    scores: Scores,
    tags: Sequence[str],
    measure: Measure,
    rng: np.random.Generator,
    *,
    minus: Scores | None = None,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return an interval of the macro average: percentiles over resampled clips (Efron, 1979).

    Whole clips are drawn with replacement, as many as there are, with all their tags. A tag that has
    lost all its true clips in a resample, or all its false ones, is left out of that resample's average.
    So rare tags weigh a little less, and the interval says nothing about other tags or, where no `groups`
    are given, about other groups of clips.

    Parameters
    ----------
    truth, scores
        ``(clips, tags)``.
    tags
        Names of the columns.
    measure
        Whose macro average.
    rng
        Draws the clips.
    minus
        Scores ``(clips, tags)`` of another tagger for the same clips: the interval is then that of the
        difference, the macro average of `scores` less that of `minus` on the same resample. It is narrower
        than two intervals suggest, because both find the same clips hard.
    groups
        Of each clip, its album, artist or session: whole groups are drawn instead of clips, as many as there
        are. Clips of one artist are alike, so that drawing them one by one gives too narrow an interval.
    resamples
        How often.
    level
        Part of the resamples that lies between the two ends.

    Returns
    -------
    Both ends; NaN and NaN where no tag can be measured.

    Raises
    ------
    ShapeError, DataError
        As `roc_auc`, and if there is not a group for every clip.
    ConfigError
        If `resamples` is below 1 or `level` not between 0 and 1, or all clips are of one group.
    """
    if minus is not None:
        _check(truth, minus, tags)
    if not 0 < level < 1:
        raise ConfigError(f"level lies between 0 and 1, not {level}.")
    every = [s for s in (scores, minus) if s is not None]
    values = _resampled(truth, every, tags, (measure,), rng, groups, resamples)[0]
    means = _means(values[0] - values[1] if minus is not None else values[0])
    if not len(means):
        return float("nan"), float("nan")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled(
    truth: Truth,
    scores: Scores,
    tags: Sequence[str],
    rng: np.random.Generator,
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 1000,
) -> tuple[Floats, Floats]:
    """Return the ROC AUC and the PR AUC of each tag on resampled clips: what `bootstrap` takes its means of.

    With generators of one seed, the clips of each resample are the same for any scores of the same clips, so
    that the values of several taggers, or of some of their tags, can be compared one by one.

    Parameters
    ----------
    truth, scores, tags, rng, groups, resamples
        As in `bootstrap`.

    Returns
    -------
    For each measure ``(resamples, tags)``, the tags being those that `rankable` names; NaN where a tag has
    lost all its true clips, or all its false ones.

    Raises
    ------
    ShapeError, DataError, ConfigError
        As `bootstrap`.
    """
    roc, pr = _resampled(truth, [scores], tags, ("roc_auc", "pr_auc"), rng, groups, resamples)
    return roc[0].T, pr[0].T


def _resampled(
    truth: Truth,
    every: Sequence[Scores],
    tags: Sequence[str],
    measures: Sequence[Measure],
    rng: np.random.Generator,
    groups: Sequence[Hashable] | None,
    resamples: int,
) -> Floats:
    """Return values of each tag on resampled clips, ``(measures, scores, tags, resamples)``."""
    for scores in every:
        _check(truth, scores, tags)
    if unknown := [measure for measure in measures if measure not in _WEIGHTED]:
        raise ConfigError(f"measure is {' or '.join(map(repr, _WEIGHTED))}, not {unknown[0]!r}.")
    if resamples < 1:
        raise ConfigError(f"resamples is at least 1, not {resamples}.")
    clips, columns = len(truth), rankable(truth)
    member = _member(range(clips) if groups is None else groups, clips)
    if not columns:
        return np.empty((len(measures), len(every), 0, resamples))
    ranked = [[_Ranked(truth[:, i], s[:, i]) for i in columns] for s in every]
    drawable = int(member.max()) + 1
    if drawable == 1 and groups is not None:
        raise ConfigError("All clips are of one group: no interval can be made of it. Leave groups out.")
    parts: list[Floats] = []
    size = max(1, _CHUNK // clips)
    for first in range(0, resamples, size):
        drawn = [rng.integers(drawable, size=drawable) for _ in range(min(size, resamples - first))]
        times = np.stack([np.bincount(d, minlength=drawable) for d in drawn], axis=1).astype(np.int32)
        counts = times[member]
        found = [[_values(own.resampled(counts), measures) for own in tagger] for tagger in ranked]
        parts.append(np.array(found))
    return np.moveaxis(np.concatenate(parts, axis=3), 2, 0)


def _values(steps: _Steps, measures: Sequence[Measure]) -> list[Floats]:
    return [_WEIGHTED[measure](steps) for measure in measures]


def _means(values: Floats) -> Floats:
    """Return the mean over tags of ``(tags, resamples)`` in each resample that has any."""
    there = ~np.isnan(values)
    total, number = np.where(there, values, 0).sum(axis=0), there.sum(axis=0)
    found: Floats = total[number > 0] / number[number > 0]
    return found


def _member(groups: Sequence[Hashable], clips: int) -> NDArray[np.intp]:
    """Return the number of each clip's group, counted from 0 in the order of their first clips."""
    if len(groups) != clips:
        raise ShapeError(f"{clips} clips want as many groups, not {len(groups)}.")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.intp)


@dataclass(frozen=True)
class _Steps:
    """A ranking, a row for each distinct score that a true clip has, the highest first.

    `hits` and `found` are the true and all clips at that score or above, `before` all clips above it,
    `clips` all there are, ``(scores, resamples)``.
    """

    hits: Floats
    found: Floats
    before: Floats
    clips: Floats


class _Ranked:
    """The clips by falling score: sorted once for all resamples."""

    def __init__(self, truth: Truth, scores: Scores) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ordered = scores[self.order].astype(np.float64)
        self.true = np.flatnonzero(truth[self.order])
        starts = np.append(0, np.flatnonzero(np.diff(ordered)) + 1)  # of runs of one score
        ends = np.append(starts[1:], len(ordered)) - 1
        runs, self.first = np.unique(np.searchsorted(ends, self.true), return_index=True)
        self.starts, self.ends = starts[runs], ends[runs]
        self.levels = ordered[self.ends]
        self.below = np.append(ordered, 0.0)[self.ends + 1]  # the next lower score

    def resampled(self, counts: NDArray[np.integer]) -> _Steps:
        """Return the ranking where clip i is there ``counts[i]`` times, ``(clips, resamples)``."""
        ordered = counts[self.order]
        total = np.cumsum(ordered, axis=0, dtype=ordered.dtype)
        hits = np.cumsum(np.add.reduceat(ordered[self.true], self.first, axis=0), axis=0)
        before = total[self.starts] - ordered[self.starts]
        return _Steps(*(a.astype(np.float64) for a in (hits, total[self.ends], before, total[-1])))


def _weighted_roc_auc(steps: _Steps) -> Floats:
    """The part of pairs of a true and a false clip in the right order, a tie counting half."""
    new = np.diff(steps.hits, axis=0, prepend=0)
    above = steps.before - (steps.hits - new)
    at = steps.found - steps.before - new
    true, false = steps.hits[-1], steps.clips - steps.hits[-1]
    return _divided((new * (false - above - at / 2)).sum(axis=0), true * false, (true > 0) & (false > 0))


def _weighted_pr_auc(steps: _Steps) -> Floats:
    new = np.diff(steps.hits, axis=0, prepend=0)
    true, false = steps.hits[-1], steps.clips - steps.hits[-1]
    precision = steps.hits / np.maximum(steps.found, 1)
    return _divided((new * precision).sum(axis=0), true, (true > 0) & (false > 0))


def _divided(area: Floats, by: Floats, where: NDArray[np.bool_]) -> Floats:
    found: Floats = np.divide(area, by, out=np.full(len(area), np.nan), where=where)
    return found


_WEIGHTED: dict[str, Callable[[_Steps], Floats]] = {
    "roc_auc": _weighted_roc_auc,
    "pr_auc": _weighted_pr_auc,
}


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share (1927): it holds for few trials too, where others do not."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, wide = successes / trials, z * z / trials
    center = (share + wide / 2) / (1 + wide)
    half = z * np.sqrt(share * (1 - share) / trials + wide / trials / 4) / (1 + wide)
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def fit_thresholds(truth: Truth, scores: Scores) -> tuple[float, ...]:
    """Return a threshold a tag: a tag holds where its score is at least this, and F1 is then the highest.

    The threshold lies half-way between the last score that is above it and the next lower one (0 below
    the lowest), so that rounding cannot push a clip across. Of several that give the same F1 the highest
    is taken: it claims less. A tag without a true clip gets `FALLBACK_THRESHOLD`.

    Parameters
    ----------
    truth, scores
        ``(clips, tags)``, of clips that were not trained on; scores between 0 and 1.

    Raises
    ------
    ShapeError
        If the shapes differ.
    DataError
        If a score is not finite.
    """
    _check(truth, scores, [f"tag {i}" for i in range(scores.shape[-1])])
    return tuple(_threshold(truth[:, i], scores[:, i]) for i in range(truth.shape[1]))


def _threshold(truth: Truth, scores: Scores) -> float:
    if not truth.any():
        return FALLBACK_THRESHOLD
    ranked = _Ranked(truth, scores)
    steps = ranked.resampled(np.ones((len(truth), 1), dtype=np.int32))
    best = int(np.argmax(2 * steps.hits / (steps.found + truth.sum())))  # the first, the highest score
    return half_way(float(ranked.levels[best]), float(ranked.below[best]))


def half_way(level: float, below: float) -> float:
    """Return a threshold that a score of `level` reaches and one of `below` does not."""
    middle = (level + below) / 2
    return middle if middle > below else level  # neighbouring numbers have no middle


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
