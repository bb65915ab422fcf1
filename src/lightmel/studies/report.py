"""The report of a study: what it measured, what smaller inputs lose, and what the numbers do not say."""

from __future__ import annotations

import os
import textwrap
from functools import cached_property

from ..evaluation import Intervals
from .contrasts import Contrasts, learnt_from
from .data import open_data
from .lines import written
from .page import page
from .results import read_results
from .sections import Sections
from .view import Section

_WIDTH = 80
"""Columns of the summary."""


class StudyReport:
    """The report of a study, to be written as Markdown, as a page, as LaTeX and as CSV.

    Attributes
    ----------
    results
        What it is about.
    title
        Of the study.
    sections
        Its parts.
    """

    def __init__(self, contrasts: Contrasts) -> None:
        self.results = contrasts.results
        self._made = Sections(contrasts)
        self.title = self.results.grid.title or self.results.grid.name

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Its parts."""
        return tuple(own for own in self._made.sections() if own.text or own.tables)

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """What was trained and measured, in a few words each."""
        found = self.results
        runs = [len(point.runs) for point in found.points]
        each = f"{runs[0]}" if len(set(runs)) == 1 else f"{min(runs)} to {max(runs)}"
        facts = [
            f"grid {found.grid.name}",
            f"learnt from {found.data}",
            f"{len(found.runs)} of {found.n_cells} trainings are done",
            f"{len(found.points)} points, {each} run{'' if each == '1' else 's'} each",
        ]
        return tuple(facts)

    def markdown(self) -> str:
        """Return it as Markdown, without the figures."""
        parts = [f"# {self.title}", "; ".join(self.facts) + "."]
        for section in self.sections:
            parts.append(f"## {section.title}")
            parts += section.text
            parts += [table.markdown() for table in section.tables]
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """Return its tables as LaTeX, to be put into a document; they need no package."""
        tables = [table.latex() for section in self.sections for table in section.tables]
        return (
            "\n\n".join(
                [f"% Tables of the study {self.results.grid.name}: put them into a document.", *tables]
            )
            + "\n"
        )

    def csv(self) -> str:
        """Return every figure, difference and cost as one table, a line each."""
        return written(self._made)

    def html(self) -> str:
        """Return it as one page that needs nothing beside it and no network.

        Raises
        ------
        MissingExtraError
            Without matplotlib, which draws the figures.
        """
        return page(self.title, self.facts, self.sections)

    def summary(self) -> str:
        """Return what matters most as Markdown of 80 columns: what is missing, claims, the figures."""
        made = self._made
        parts = [f"# {self.title}", "; ".join(self.facts) + ".", *made.states(), *made.words()]
        wrapped = [
            textwrap.fill(part, _WIDTH, break_long_words=False, break_on_hyphens=False) for part in parts
        ]
        return "\n\n".join([*wrapped, *(table.markdown() for table in made.short_tables())]) + "\n"


def report_study(
    folder: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    script: str | os.PathLike[str] | None = None,
    intervals: Intervals | None = None,
) -> StudyReport:
    """Return the report of a study, as far as the study is done.

    Parameters
    ----------
    folder
        Of the study, as `run_study` made it.
    data
        What it has learnt from, as `open_data` takes it; by default it is looked for where it was. With it,
        groups of clips, and not clips, are drawn for intervals where groups are known, and the agreement with
        teachers has intervals.
    script
        A Python file that registers its networks and front ends, if they are not lightmel's.
    intervals
        How intervals are made.

    Raises
    ------
    DataError
        If there is no study, none of it is done, its results are of two protocols, or `data` are not its own.
    """
    results = read_results(folder, script=script)
    opened = learnt_from(results) if data is None else open_data(data)
    return StudyReport(Contrasts(results, intervals, opened))
