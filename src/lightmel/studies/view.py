"""What all parts of a report look at: the points of a study, its tests, and their differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .contrasts import HELD_OUT, Contrasts, Measured
from .figures import Figure
from .results import Point
from .tabular import Table

ALL = "all tags"


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes
    ----------
    title
        Its heading.
    text
        Paragraphs.
    tables
        Below them.
    figures
        Functions that draw what stands above the tables in a page.
    """

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Callable[[], Figure], ...] = ()


class View:
    """The points of a study, its tests, and their differences.

    Attributes
    ----------
    contrasts, results, points
        Of the study.
    level
        Of the intervals, in words.
    agrees
        Whether there is an agreement with teachers.
    measured
        Tests, each with a measure.
    """

    def __init__(self, contrasts: Contrasts) -> None:
        self.contrasts, self.results = contrasts, contrasts.results
        self.level = f"{100 * contrasts.intervals.level:g} %"
        self.points = self.results.points
        self.agrees = contrasts.has_agreement()
        self.measured: list[tuple[str, Measured]] = []
        for test in self.results.tests:
            self.measured += [(test, "roc_auc"), (test, "pr_auc")]
        if self.agrees:
            self.measured.append((HELD_OUT, "agreement"))

    def on(self, test: str) -> list[Point]:
        """Return the points that were measured on a test."""
        return [point for point in self.points if test == HELD_OUT or point.evaluations(test)]

    def drawn(self, test: str) -> str:
        """Return what is drawn for the intervals on a test, in a sentence."""
        groups = self.contrasts.grouped(test)
        if groups is None:
            return f"Intervals ({self.level}) are over clips that are drawn one by one."
        return f"Intervals ({self.level}) are over {groups} groups of clips that are drawn whole."
