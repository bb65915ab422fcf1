"""What the paper says that a smaller input loses, asked of the data of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student

from .contrasts import Contrasts, pairs
from .results import Interval, Point
from .said import Verdict
from .significance import CHANGES, Change

ALL_TAGS: Mapping[str, Sequence[str]] = {"": ()}
FEWEST_PAIRS = 3
"""Pairs of single runs from which on their differences show what seeds and inputs change."""


@dataclass(frozen=True)
class Claim:
    """What the paper says of a change of the input.

    Attributes
    ----------
    text
        In words.
    change
        Of the input.
    most, least
        The loss in ROC AUC that this allows: as a part of the ROC AUC before the change where `relative`.
    relative
        See above.
    bounds
        The same in words, and where it is from.
    """

    text: str
    change: Change
    most: float
    least: float = -math.inf
    relative: bool = False
    bounds: str = ""


CLAIMS = (
    Claim(
        "48 bands lose nothing against 96",
        CHANGES[0],
        most=0.005,
        bounds="nothing: less than half a point (the paper's own differences are below 0.4)",
    ),
    Claim(
        "x2 loses little against x1",
        CHANGES[1],
        most=0.01,
        bounds="little: less than a point (the paper's own differences are below 0.7)",
    ),
    Claim(
        "x10 loses one to two per cent against x1",
        Change("x10 less x1", "hop_factor", 1, 10),
        most=0.02,
        least=0.01,
        relative=True,
        bounds="of the ROC AUC at x1",
    ),
)
"""What the paper says of accuracy, with bounds that it does not name itself but for the last one."""


@dataclass(frozen=True)
class Answer:
    """What a study says of a claim.

    Attributes
    ----------
    claim
        Which.
    test, network, scope
        On which clips, of which network and for which kind of tags; nothing: of all.
    pairs
        How many pairs of points differ in this change alone.
    runs
        The fewest runs of a point among them.
    loss
        Mean over the pairs of the ROC AUC before the change less that after it.
    over_clips
        Interval of the loss over the clips.
    interval
        The same, wider by what seeds change; None where that is not known.
    verdict
        ``"borne out"`` if the whole interval keeps to the claim, ``"not borne out"`` if none of it does, else
        ``"not decidable"``.
    why
        What the interval rests on.
    """

    claim: Claim
    test: str
    network: str
    scope: str
    pairs: int
    runs: int
    loss: float
    over_clips: Interval | None
    interval: Interval | None
    verdict: Verdict
    why: str


def answers(
    contrasts: Contrasts,
    test: str,
    networks: Sequence[str] = ("",),
    scopes: Mapping[str, Sequence[str]] = ALL_TAGS,
) -> tuple[Answer, ...]:
    """Return what a study says of each claim, for each of the networks and kinds of tags that have pairs.

    The interval of a loss is that over the clips and that over the seeds, which are independent: their halves
    add up as squares do. What seeds change is told by the deviation over the runs of points that have
    several; without any, by how the pairs differ, if there are `FEWEST_PAIRS` of them; else it is not known,
    and nothing is claimed.

    Parameters
    ----------
    contrasts
        Of the study.
    test
        On which clips.
    networks
        Of which networks; ``""``: of all of them together.
    scopes
        For which tags, by a name for them; no tags: for all of them.
    """
    points = [point for point in contrasts.results.points if point.evaluations(test)]
    found = []
    for claim in CLAIMS:
        for network in networks:
            for scope, tags in scopes.items():
                own = [
                    (before, after)
                    for before, after in pairs(points, claim.change)
                    if network in ("", before.network)
                ]
                if own:
                    found.append(_answer(claim, contrasts, test, (network, scope), tags, own))
    return tuple(found)


def _answer(
    claim: Claim,
    contrasts: Contrasts,
    test: str,
    where: tuple[str, str],
    tags: Sequence[str],
    own: Sequence[tuple[Point, Point]],
) -> Answer:
    mean, each = contrasts.mean(own, test, "roc_auc", tags)
    runs = min(len(point.evaluations(test)) for pair in own for point in pair)
    half, why = _over_seeds(contrasts, test, tags, own, each)
    interval = None
    if mean.interval is not None and half is not None:
        interval = _widened(mean.value, mean.interval, half)
    scale = 1.0
    if claim.relative:
        scale = fmean(fmean(contrasts.by_run(before, test, "roc_auc", tags)) for before, _ in own)
    return Answer(
        claim=claim,
        test=test,
        network=where[0],
        scope=where[1],
        pairs=len(own),
        runs=runs,
        loss=mean.value,
        over_clips=mean.interval,
        interval=interval,
        verdict=_verdict(interval, claim.least * scale, claim.most * scale),
        why=why if mean.interval is not None else "the scores of the clips are not at hand",
    )


def _verdict(interval: Interval | None, least: float, most: float) -> Verdict:
    if interval is None:
        return "not decidable"
    low, high = interval
    if least <= low and high <= most:
        return "borne out"
    return "not borne out" if high < least or low > most else "not decidable"


def _over_seeds(
    contrasts: Contrasts,
    test: str,
    tags: Sequence[str],
    own: Sequence[tuple[Point, Point]],
    each: Sequence[float],
) -> tuple[float | None, str]:
    """Return half the interval that seeds make of a mean over pairs, and what that rests on in words."""
    level = contrasts.intervals.level
    spread = contrasts.spread(test, "roc_auc", tags)
    if spread is not None:
        share = sum(1 / len(point.evaluations(test)) for pair in own for point in pair)
        half = _quantile(level, spread.freedom) * spread.value * math.sqrt(share) / len(own)
        return half, f"seeds: deviation over the runs of {spread.points} points"
    if len(each) >= FEWEST_PAIRS:
        half = _quantile(level, len(each) - 1) * stdev(each) / math.sqrt(len(each))
        return half, f"seeds: how {len(each)} pairs differ"
    return None, f"single runs, and fewer than {FEWEST_PAIRS} pairs: what seeds change is not known"


def _quantile(level: float, freedom: int) -> float:
    return float(student.ppf((1 + level) / 2, freedom))


def _widened(value: float, interval: Interval, half: float) -> Interval:
    low, high = interval
    return value - math.hypot(value - low, half), value + math.hypot(high - value, half)
