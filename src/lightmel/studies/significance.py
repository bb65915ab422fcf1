"""Which differences runs can tell: t-tests and intervals from means, deviations and numbers of runs.

The paper compares configurations by t-tests of independent samples. It publishes no single runs; means,
deviations and their number give the same tests (`scipy.stats.ttest_ind_from_stats`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scipy.stats import t as student
from scipy.stats import ttest_ind_from_stats

from .paper import MEASURES, Published
from .tabular import Table

Measure = Literal["roc_auc", "pr_auc"]
LEVEL = 0.95
"""Of the intervals."""


class Sample(NamedTuple):
    """The runs of one configuration: their mean, standard deviation (of a sample) and number."""

    mean: float
    deviation: float | None
    runs: int


@dataclass(frozen=True)
class Difference:
    """How far one configuration is ahead of another, and what its runs say about that.

    Parameters
    ----------
    value
        Mean of the first less mean of the second.
    interval
        Of the value, by Welch's approximation of the degrees of freedom, which takes no equal variances.
    student_p, welch_p
        Of the two t-tests of independent samples: of equal variances, and without that.
    """

    value: float
    interval: tuple[float, float]
    student_p: float
    welch_p: float


def difference(of: Sample, minus: Sample) -> Difference | None:
    """Return how far one is ahead, or None where the runs cannot say: a single one, or none that differ.

    Notes
    -----
    With s² / n of the two as ``a`` and ``b``, the standard error is ``sqrt(a + b)`` and Welch's degrees of
    freedom are ``(a + b)² / (a² / (n₁ - 1) + b² / (n₂ - 1))`` (B. L. Welch, Biometrika 34, 1947).
    """
    if of.deviation is None or minus.deviation is None or min(of.runs, minus.runs) < 2:
        return None
    a, b = of.deviation**2 / of.runs, minus.deviation**2 / minus.runs
    if a + b == 0:
        return None
    freedom = (a + b) ** 2 / (a**2 / (of.runs - 1) + b**2 / (minus.runs - 1))
    half = float(student.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(a + b)
    value = of.mean - minus.mean
    tests = [float(ttest_ind_from_stats(*of, *minus, equal_var=equal).pvalue) for equal in (True, False)]
    return Difference(value, (value - half, value + half), *tests)


@dataclass(frozen=True)
class Change:
    """One step of the paper: a field of the input that changes, all else being the same.

    Parameters
    ----------
    text
        In words.
    name
        Of the field.
    before, after
        Its values.
    """

    text: str
    name: str
    before: int | str
    after: int | str


CHANGES = (
    Change("48 bands less 96", "n_mels", 96, 48),
    Change("x2 less x1", "hop_factor", 1, 2),
    Change("48 bands less 128", "n_mels", 128, 48),
    Change("96 bands less 128", "n_mels", 128, 96),
    Change("16 kHz less 12 kHz", "sr", 12_000, 16_000),
    Change("dB less log", "log", "log", "db"),
)
"""The steps for which numbers were published on both sides."""


def pairs(rows: Sequence[Published], change: Change) -> Iterator[tuple[Published, Published]]:
    """Yield the row after a change and that before it, for each two that differ in nothing else."""
    by = {(row.dataset, row.architecture, row.config): row for row in rows}
    for row in rows:
        if getattr(row.config, change.name) != change.after:
            continue
        other = row.config.replace(**{change.name: change.before})
        before = by.get((row.dataset, row.architecture, other))
        if before is not None:
            yield row, before


def sample(row: Published, measure: Measure, *, of_population: bool = False) -> Sample:
    """Return the runs of a row of the paper.

    Parameters
    ----------
    row
        Which.
    measure
        ``"roc_auc"`` or ``"pr_auc"``.
    of_population
        Whether the published deviation was divided by the number of runs, as NumPy's default does, and not
        by one less. The paper does not say; it is taken for that of a sample where nothing is said.
    """
    deviation: float | None = getattr(row, f"{measure}_deviation")
    if deviation is not None and of_population:
        deviation *= math.sqrt(row.runs / (row.runs - 1))
    return Sample(getattr(row, measure), deviation, row.runs)


@dataclass(frozen=True)
class Tested:
    """A t-test between two published rows that differ in one field.

    Parameters
    ----------
    change
        What changes.
    after, before
        The rows.
    measure
        What is compared.
    found
        The difference, ``after`` less ``before``.
    """

    change: Change
    after: Published
    before: Published
    measure: Measure
    found: Difference


def t_tests(rows: Sequence[Published], *, of_population: bool = False) -> tuple[Tested, ...]:
    """Return every test that the rows allow: each of `CHANGES`, both measures, wherever deviations are known.

    Parameters
    ----------
    rows
        Such as `published` gives.
    of_population
        As in `sample`.
    """
    tests = []
    measures: tuple[Measure, ...] = ("roc_auc", "pr_auc")
    for change in CHANGES:
        for after, before in pairs(rows, change):
            for measure in measures:
                found = difference(
                    *(sample(row, measure, of_population=of_population) for row in (after, before))
                )
                if found is not None:
                    tests.append(Tested(change, after, before, measure, found))
    return tuple(tests)


def shown_p(p: float) -> str:
    """Return a P in three digits."""
    return f"{p:.3f}" if p >= 0.0005 else "<.001"


_PLACES = {"sr": 0, "n_mels": 1, "hop_factor": 2, "log": 3}
"""Where the fields stand in a slug."""


def table_of_tests(tests: Sequence[Tested], change: Change) -> Table:
    """Return the tests of one change as a table, in points: difference, Student's and Welch's P, twice."""
    lines: dict[str, list[str]] = {}
    for own in tests:
        if own.change == change:
            parts = own.after.config.slug.split("-")
            del parts[_PLACES[change.name]]
            cells = lines.setdefault("-".join(parts), [])
            cells.append(f"{100 * own.found.value:+.2f}")
            cells += [shown_p(p) for p in (own.found.student_p, own.found.welch_p)]
    return Table(
        title=f"{change.text}: difference in points, and P of two t-tests over the runs",
        header=(
            "input",
            *(title for name in MEASURES.values() for title in (name.split()[0], "Student", "Welch")),
        ),
        rows=tuple((setting, *cells) for setting, cells in lines.items()),
    )
