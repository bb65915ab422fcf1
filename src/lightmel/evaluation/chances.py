"""Chances: scores that say how often a tag is right, and thresholds on them.

A network ranks; how often a tag with a score of .3 is right is another matter. A slope and an offset on its
logits make chances of its scores (Platt, 1999), tag by tag where clips are labelled. From chances follows,
without any label, the threshold whose F1 is expected to be the highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..datasets import TRUE_SHARE
from ..errors import DataError, ShapeError
from .metrics import FALLBACK_THRESHOLD, Scores, Truth, half_way

Floats = NDArray[np.float64]

LOWEST_THRESHOLD = 0.1
"""The lowest threshold that chances alone give: a tag that is claimed below it is wrong nine times in ten."""
MIN_POSITIVES = 3
"""True clips, and false ones, from which on a tag has a slope and an offset of its own."""
BINS = 10
"""Of chances from 0 to 1, in which the error of calibration is measured."""

_TAG_SD = np.array([0.25, 1.0])
"""How far log slope and offset of a tag lie from the common ones before anything is known: a normal prior.

Half and double of these predict other clips as well, by the log-likelihood of those that were left out.
"""
_COMMON_SD = np.array([0.5, 3.0])
"""The same of the common ones, from the network's own: 0 and 0."""
_ROUNDS, _STEPS, _CLOSE = 50, 50, 1e-4
_FURTHEST = 30.0
"""A logit beyond which float64 hardly tells a score from 0 or 1."""


@dataclass(frozen=True)
class ClipLogits:
    """What a network says of clips, segment by segment.

    Attributes
    ----------
    logits
        ``(segments, tags)``, those of a clip together.
    starts
        ``(clips,)``: the row of each clip's first segment, in ascending order from 0.

    Raises
    ------
    ShapeError
        If they do not fit each other.
    """

    logits: NDArray[np.floating]
    starts: NDArray[np.integer]

    def __post_init__(self) -> None:
        segments = np.append(self.starts, len(self.logits))
        if self.logits.ndim != 2 or not len(self.starts) or segments[0] or (np.diff(segments) < 1).any():
            raise ShapeError(
                f"Logits {self.logits.shape} of {len(self.starts)} clips: wanted are (segments, tags), and "
                "for each clip the row of its first segment, in ascending order from 0."
            )

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of_scores(cls, clips: Sequence[Scores]) -> ClipLogits:
        """Return the logits of clips' scores, each ``(segments, tags)``, as `Tagger.taggram` gives them."""
        lengths = [len(scores) for scores in clips]
        edge = 1 / (1 + np.exp(_FURTHEST))
        held = [np.clip(np.asarray(scores, dtype=np.float64), edge, 1 - edge) for scores in clips]
        logits = [(np.log(scores) - np.log1p(-scores)).astype(np.float32) for scores in held]
        return cls(np.concatenate(logits), np.cumsum([0, *lengths[:-1]]))

    def take(self, clips: NDArray[np.integer]) -> ClipLogits:
        """Return the logits of some clips, in their order."""
        ends = np.append(self.starts, len(self.logits))
        rows = [np.arange(ends[i], ends[i + 1]) for i in clips]
        starts = np.cumsum([0, *(len(own) for own in rows[:-1])])
        return ClipLogits(self.logits[np.concatenate(rows)], starts)

    def mean(self, values: Floats) -> Floats:
        """Return the mean over each clip's segments, of values ``(segments, ...)``."""
        counts = np.diff(np.append(self.starts, len(self.logits)))
        means: Floats = np.add.reduceat(values, self.starts, axis=0) / counts[:, None]
        return means

    def scores(self, slopes: Floats | float = 1.0, offsets: Floats | float = 0.0) -> Floats:
        """Return the scores of the clips, ``(clips, tags)``: means over sigmoid(slope * logit + offset)."""
        return self.mean(_sigmoid(slopes * self.logits.astype(np.float64) + offsets))

    def lowest(self, column: int, around: int) -> Floats:
        """Return for each clip the lowest score of one tag in it, ``(clips,)``, smoothed as parts are found.

        A segment's score is the mean over it and `around` segments on either side, as far as the clip goes.
        """
        scores = _sigmoid(self.logits[:, column].astype(np.float64))
        ends = np.append(self.starts[1:], len(scores))
        smoothed = [
            [scores[max(first, i - around) : min(end, i + around + 1)].mean() for i in range(first, end)]
            for first, end in zip(self.starts, ends, strict=True)
        ]
        return np.array([min(own) for own in smoothed])


@dataclass(frozen=True)
class Chances:
    """What makes chances of logits.

    Attributes
    ----------
    slopes, offsets
        One a tag; slopes are above 0. Tags without labels have the common ones.
    labeled
        Which tags were fitted: labels of them are known, some of which are false.
    verified
        Which of these have labels enough.
    slope, offset
        The common ones.
    """

    slopes: Floats
    offsets: Floats
    labeled: NDArray[np.bool_]
    verified: NDArray[np.bool_]
    slope: float
    offset: float

    def of(self, clips: ClipLogits) -> Floats:
        """Return the chances of clips, ``(clips, tags)``."""
        return clips.scores(self.slopes, self.offsets)


def fit_chances(clips: ClipLogits, shares: Floats, min_positives: int = MIN_POSITIVES) -> Chances:
    """Return slopes and offsets with which the score of a clip is the chance that the tag is true.

    They are the most likely ones under a weak prior: the log slopes and the offsets of the tags lie around
    common ones, and these around the network's own, so that a tag with three true clips cannot run away.
    A slope is above 0: of two segments, the one with the higher logit keeps the higher score. A tag without
    labels has the common values, which the others have in the mean. Tags that are hardly ever true count
    there as well: the common values of frequent tags alone would be too high for the rest. A tag that nearly
    every clip has tells of the choice of clips and counts for nothing: `min_positives` of its labels are
    false at least. Only one with as many true clips, too, is verified.

    Parameters
    ----------
    clips
        Logits of clips that were not trained on.
    shares
        ``(clips, tags)``: the share of the annotators who gave the tag, true from a half on; NaN where nobody
        said.
    min_positives
        See above.

    Raises
    ------
    ShapeError
        If the shapes differ.
    DataError
        If no tag has enough true and false clips.
    """
    if shares.shape != (len(clips), clips.logits.shape[1]):
        raise ShapeError(f"Shares {shares.shape} for {len(clips)} clips and {clips.logits.shape[1]} tags.")
    verified = enough(shares, min_positives)
    if not verified.any():
        raise DataError(
            f"No tag has {min_positives} clips that are true and {min_positives} that are false: chances "
            "cannot be fitted."
        )
    labeled: NDArray[np.bool_] = np.asarray((shares < TRUE_SHARE).sum(axis=0) >= max(min_positives, 1))
    fits = []
    for tag in np.flatnonzero(labeled):
        known = np.flatnonzero(~np.isnan(shares[:, tag]))
        own = ClipLogits(clips.logits[:, tag : tag + 1], clips.starts).take(known)
        fits.append(_Fit(own, shares[known, tag] >= TRUE_SHARE))
    common, values = np.zeros(2), np.zeros((len(fits), 2))
    for _ in range(_ROUNDS):
        values = np.stack([fit.best(start, common) for fit, start in zip(fits, values, strict=True)])
        precision = len(fits) / _TAG_SD**2 + 1 / _COMMON_SD**2
        before, common = common, (values.sum(axis=0) / _TAG_SD**2) / precision
        if np.abs(common - before).max() < _CLOSE:
            break
    every = np.tile(common, (len(verified), 1))
    every[labeled] = values
    slope, offset = np.exp(common[0]), common[1]
    return Chances(np.exp(every[:, 0]), every[:, 1], labeled, verified, float(slope), float(offset))


def enough(shares: Floats, min_positives: int = MIN_POSITIVES) -> NDArray[np.bool_]:
    """Return which tags have so many true clips and as many false ones; `shares` as in `fit_chances`."""
    true, false = (shares >= TRUE_SHARE).sum(axis=0), (shares < TRUE_SHARE).sum(axis=0)
    found: NDArray[np.bool_] = np.minimum(true, false) >= max(min_positives, 1)
    return found


class _Fit:
    """The most likely log slope and offset of one tag."""

    def __init__(self, clips: ClipLogits, truth: Truth) -> None:
        self.clips, self.truth = clips, truth
        self.logits = clips.logits.astype(np.float64)

    def best(self, start: Floats, common: Floats) -> Floats:
        """Return them by Fisher scoring from `start`, a step being halved until it is one uphill."""
        at, height = start, self._height(start, common)
        for _ in range(_STEPS):
            step = self._step(at, common)
            while np.abs(step).max() > _CLOSE / 10:
                new = self._height(at + step, common)
                if new > height:
                    break
                step = step / 2
            else:
                return at
            at, height = at + step, new
        return at

    def _chances(self, at: Floats) -> tuple[Floats, Floats]:
        scores = _sigmoid(np.exp(at[0]) * self.logits + at[1])
        return scores, np.clip(self.clips.mean(scores)[:, 0], 1e-12, 1 - 1e-12)

    def _height(self, at: Floats, common: Floats) -> float:
        _, chances = self._chances(at)
        likely = np.log(np.where(self.truth, chances, 1 - chances)).sum()
        return float(likely - (((at - common) / _TAG_SD) ** 2).sum() / 2)

    def _step(self, at: Floats, common: Floats) -> Floats:
        scores, chances = self._chances(at)
        inner = scores * (1 - scores)
        slopes = self.clips.mean(np.hstack([inner * np.exp(at[0]) * self.logits, inner]))
        variance = chances * (1 - chances)
        uphill = slopes.T @ ((self.truth - chances) / variance) - (at - common) / _TAG_SD**2
        information = (slopes.T / variance) @ slopes + np.diag(1 / _TAG_SD**2)
        step: Floats = np.linalg.solve(information, uphill)
        return step


def expected_f1_thresholds(chances: Floats) -> tuple[float, ...]:
    """Return a threshold a tag: of all, the one whose F1 is expected to be the highest where chances hold.

    With the clips above it, expected are ``2 * sum(their chances) / (their number + sum(all chances))``: the
    ratio of the expected values of F1's two terms (Lipton, Elkan, Naryanaswamy, 2014, who show that the best
    threshold is half of the F1 that it reaches). Each lies half-way between two chances, and of several that
    are equally good the highest is taken, as by `fit_thresholds`.

    F1 says little of a tag that is not there: where all chances are tiny, claiming every clip has the highest
    one. So a tag that no clip has is right with the chance that none of them does; where that is more than
    any F1, the threshold is `FALLBACK_THRESHOLD`, more likely than not. None is below `LOWEST_THRESHOLD`.

    Parameters
    ----------
    chances
        ``(clips, tags)``, of clips that were not trained on. No labels are needed.

    Raises
    ------
    ShapeError
        If it is not that, or there is no clip.
    DataError
        If a chance is not between 0 and 1.
    """
    if chances.ndim != 2 or not len(chances):
        raise ShapeError(f"Chances are (clips, tags), a clip at least, not {chances.shape}.")
    if not ((chances >= 0) & (chances <= 1)).all():  # NaN neither
        raise DataError("A chance is a number between 0 and 1: the network gave others.")
    return tuple(_expected(np.sort(column)[::-1].astype(np.float64)) for column in chances.T)


def _expected(falling: Floats) -> float:
    last = np.append(falling[1:] < falling[:-1], True)  # of the clips of one chance
    found = np.arange(1, len(falling) + 1)
    f1 = np.where(last, 2 * np.cumsum(falling) / np.maximum(found + falling.sum(), 1e-300), -1.0)
    best = int(np.argmax(f1))  # the first: the highest chance
    if np.prod(1 - falling) >= f1[best]:
        return FALLBACK_THRESHOLD
    return max(LOWEST_THRESHOLD, half_way(float(falling[best]), float(np.append(falling, 0.0)[best + 1])))


def separating_threshold(inside: Floats, outside: Floats, most_missed: float = 1.0) -> float:
    """Return the threshold that tells two kinds of clips apart, however many there are of each.

    It has the highest mean of the share of `inside` that reaches it and the share of `outside` that does not,
    of those which at most the share `most_missed` of `inside` does not reach; of several the lowest. It lies
    half-way between two scores.

    Parameters
    ----------
    inside, outside
        Scores ``(clips,)`` of the clips that should reach it, and of those that should not.
    most_missed
        See above.

    Raises
    ------
    DataError
        If there are none of either.
    """
    if not len(inside) or not len(outside):
        raise DataError("To tell two kinds of clips apart, at least one of each is needed.")
    levels = np.unique(np.append(inside, outside))
    edges = [0.0, *(half_way(high, low) for low, high in pairwise(levels.tolist())), 1.0]
    allowed = [edge for edge in edges if np.mean(inside < edge) <= most_missed]  # 0 is
    return float(max(allowed, key=lambda edge: np.mean(inside >= edge) + np.mean(outside < edge)))


class Bin(NamedTuple):
    """Chances of a part of the range: of how many labels, their mean, and the share that is true."""

    labels: int
    chance: float
    true: float


def reliability(truth: Truth, chances: Floats, bins: int = BINS) -> tuple[Bin, ...]:
    """Return what chances say and what is true, by chance; a bin without any is left out.

    Parameters
    ----------
    truth, chances
        Of one shape, any.
    bins
        How many, of equal width from 0 to 1.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    if truth.shape != chances.shape:
        raise ShapeError(f"A chance for each label is wanted, not {chances.shape} for {truth.shape}.")
    place = np.minimum((chances * bins).astype(np.int64), bins - 1)
    held = [place == i for i in range(bins)]
    return tuple(
        Bin(int(own.sum()), float(chances[own].mean()), float(truth[own].mean())) for own in held if own.any()
    )


def calibration_error(truth: Truth, chances: Floats, bins: int = BINS) -> float:
    """Return the expected calibration error: by how much chances differ from what is true, on average.

    It is the mean over the bins of `reliability` by their labels (Naeini, Cooper, Hauskrecht, 2015); NaN
    without any.
    """
    found = reliability(truth, chances, bins)
    total = sum(own.labels for own in found)
    return sum(own.labels * abs(own.chance - own.true) for own in found) / total if total else float("nan")


def f1_score(truth: Truth, claimed: Truth) -> float:
    """Return F1 of claims, of one shape with `truth`: 0 where nothing is true and something is claimed.

    NaN where nothing is true and nothing claimed.
    """
    both = int(truth.sum()) + int(claimed.sum())
    return 2 * int((truth & claimed).sum()) / both if both else float("nan")


def _sigmoid(x: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return found
