"""How numbers of a study are said: with their deviation, their interval, and the number of runs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from .answers import Answer
from .contrasts import Contrast, Measured, Spread
from .results import Interval
from .significance import Change, shown_p

POINTS = 100
"""Points in one: the paper's unit."""


def mean(values: Sequence[float], scale: float, digits: int) -> str:
    """Return a mean with the deviation over the runs, if there are several."""
    text = f"{scale * fmean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {scale * stdev(values):.{digits}f}"


def published_figure(value: float, deviation: float | None) -> str:
    """Return a published figure in points, with its deviation if there is one."""
    text = f"{POINTS * value:.2f}"
    return text if deviation is None else f"{text} ± {POINTS * deviation:.2f}"


def scaled(interval: Interval | None, scale: float) -> Interval | None:
    """Return an interval in another unit."""
    return None if interval is None else (scale * interval[0], scale * interval[1])


def ends(interval: Interval | None, scale: float = POINTS, digits: int = 2) -> str:
    """Return both ends of an interval."""
    if interval is None:
        return "not known"
    return f"{scale * interval[0]:+.{digits}f} to {scale * interval[1]:+.{digits}f}"


def loss(value: float, interval: Interval | None, scale: float = POINTS, digits: int = 2) -> str:
    """Return a loss with its interval, if there is one."""
    text = f"{scale * value:+.{digits}f}"
    return text if interval is None else f"{text} ({ends(interval, scale, digits)})"


def lost(found: Contrast, scale: float = POINTS, digits: int = 2) -> str:
    """Return what a contrast is, with its interval."""
    return loss(found.value, found.interval, scale, digits)


def tested(found: Contrast) -> tuple[str, str, str]:
    """Return the P of both t-tests over the runs, or why there is none, and the numbers of runs."""
    own = found.over_runs
    tests = ("one run", "one run") if own is None else (shown_p(own.student_p), shown_p(own.welch_p))
    if own is None and min(found.runs) > 1:
        tests = ("no spread", "no spread")
    return (*tests, of_each(found))


def of_each(found: Contrast) -> str:
    """Return the numbers of runs, those of the point first."""
    return f"{found.runs[1]} and {found.runs[0]}"


def runs(number: int) -> str:
    """Return a number of runs."""
    return "1 run" if number == 1 else f"{number} runs"


def ratio(value: float) -> str:
    """Return a part of something."""
    return f"{value:.2g}"


def spread_of(spread: Spread, measure: Measured) -> str:
    """Return a deviation over seeds, in points if it is of an area."""
    if measure == "agreement":
        return f"{spread.value:.4f}"
    return f"{POINTS * spread.value:.2f} points"


def named(change: Change) -> str:
    """Return a change as a heading: ``96 to 48 bands``."""
    if change.name == "n_mels":
        return f"{change.before} to {change.after} bands"
    return f"x{change.before} to x{change.after}"


def answered(own: Answer) -> str:
    """Return what a study says of a claim, in a sentence."""
    interval = own.interval or own.over_clips
    what = "clips and seeds" if own.interval else "clips alone"
    return (
        f"The paper: {own.claim.text}. Here, on {own.test}: {own.verdict}. The mean loss is "
        f"{loss(own.loss, interval)} points of ROC AUC, over {own.pairs} pair{'' if own.pairs == 1 else 's'} "
        f"of {runs(own.runs)}; the interval is over {what}."
    )
