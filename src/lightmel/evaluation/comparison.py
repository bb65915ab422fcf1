"""Several evaluations in one table, where their numbers may stand beside each other; what tells them apart.

Two things blur a difference: which clips happen to be in the test, and which seed a training had. The first
is measured by drawing the clips again, the same for both taggers; the second by several runs of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.stats import ttest_ind

from ..datasets import same_protocol
from ..errors import DataError
from .metrics import Measure, bootstrap
from .record import ClipScores, Evaluation, Interval
from .tables import markdown, with_interval

MEASURES: Mapping[Measure, str] = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC"}


def compare(evaluations: Sequence[Evaluation]) -> str:
    """Return several evaluations as one table in Markdown, a line each.

    Raises
    ------
    DataError
        If there are none, or they are not of the same data set, protocol, split, clips and tags: such
        numbers say nothing beside each other. The message names what differs.
    """
    if not evaluations:
        raise DataError("A table needs at least one evaluation.")
    _same_clips(evaluations)
    first = evaluations[0]
    rows = [
        (
            f"{e.model} {e.version}".strip(),
            e.config,
            with_interval(e.macro_roc_auc, e.roc_auc_interval),
            with_interval(e.macro_pr_auc, e.pr_auc_interval),
            e.weights[:12],
        )
        for e in evaluations
    ]
    return f"{_head(first)}\n\n" + markdown(("tagger", "configuration", "ROC AUC", "PR AUC", "weights"), rows)


@dataclass(frozen=True)
class Runs:
    """The runs of one way to train, with other seeds, on the same clips.

    Attributes
    ----------
    name
        What they are called in the comparison.
    runs
        How many there are.
    roc_auc, pr_auc
        Mean over tags of each run.
    """

    name: str
    runs: int
    roc_auc: tuple[float, ...]
    pr_auc: tuple[float, ...]

    def mean(self, measure: Measure) -> float:
        """Return the mean over the runs."""
        return fmean(getattr(self, measure))

    def deviation(self, measure: Measure) -> float | None:
        """Return the standard deviation over the runs (of a sample); None for a single one."""
        values = getattr(self, measure)
        return stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """How far one is ahead of another in a measure.

    Attributes
    ----------
    of, minus
        Names of the two.
    measure
        ``"roc_auc"`` or ``"pr_auc"``.
    value
        Mean of the runs of the first less that of the second.
    interval
        Of the value, over the clips: the same clips are drawn for both (`bootstrap`). None where the scores
        of the clips are not at hand.
    p_value
        Of Student's t-test of independent samples over the runs, as in the paper; None with fewer than two
        runs of either.
    runs
        How many runs there are of each.
    """

    of: str
    minus: str
    measure: Measure
    value: float
    interval: Interval | None
    p_value: float | None
    runs: tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """Several ways to train beside each other, the first one being what the others are compared with.

    Attributes
    ----------
    clips
        What was measured on, in words.
    taggers
        The runs of each.
    differences
        Of each but the first from the first, in both measures.
    level, resamples
        Of the intervals.
    notes
        What a reader should know before deciding by it.
    """

    clips: str
    taggers: tuple[Runs, ...]
    differences: tuple[Difference, ...]
    level: float
    resamples: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes."""
        plain = asdict(self)
        for own, found in zip(plain["taggers"], self.taggers, strict=True):
            own |= {f"mean_{m}": found.mean(m) for m in MEASURES}
            own |= {f"deviation_{m}": found.deviation(m) for m in MEASURES}
        return plain

    def table(self) -> str:
        """Return it as two tables in Markdown, and notes."""
        rows = [
            (own.name, str(own.runs), *(_spread(own.mean(m), own.deviation(m)) for m in MEASURES))
            for own in self.taggers
        ]
        lines = [self.clips, "", markdown(("tagger", "runs", *MEASURES.values()), rows)]
        if self.differences:
            interval = f"{100 * self.level:g} % over the clips"
            differing = [
                (
                    f"{d.of} less {d.minus}",
                    MEASURES[d.measure],
                    f"{d.value:+.3f}",
                    "" if d.interval is None else f"{d.interval[0]:+.3f} to {d.interval[1]:+.3f}",
                    "" if d.p_value is None else f"{d.p_value:.3f}",
                    f"{d.runs[0]} and {d.runs[1]}",
                )
                for d in self.differences
            ]
            header = ("difference", "measure", "value", interval, "p, t-test over runs", "runs")
            lines += ["", markdown(header, differing)]
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])])


def compare_runs(
    groups: Mapping[str, Sequence[Evaluation]],
    *,
    anyway: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare several ways to train, each by one run or, better, by several with other seeds.

    Differences are from the first of them.

    Parameters
    ----------
    groups
        Evaluations of the runs of each, by a name for them.
    anyway
        Whether to go on where they are not of the same clips; there are then no intervals of differences.
    resamples, level, seed
        Of the intervals, as in `bootstrap`.

    Raises
    ------
    DataError
        If there are none; unless `anyway`, if they are not of the same clips and tags, see `compare`.
    """
    every = [own for runs in groups.values() for own in runs]
    if not every or not all(groups.values()):
        raise DataError("A comparison needs at least one evaluation of each.")
    notes: list[str] = []
    try:
        _same_clips(every)
    except DataError as error:
        if not anyway:
            raise
        notes.append(f"Not the same clips: {error}")
    paired = not notes and _have_scores(every)
    if not notes and not paired and len(groups) > 1:
        notes.append(
            "No intervals of the differences: the scores of the clips, which lie beside newer figures "
            "(.npz), are not there for all of them, or are not of the same clips."
        )
    taggers = tuple(
        Runs(name, len(own), tuple(e.macro_roc_auc for e in own), tuple(e.macro_pr_auc for e in own))
        for name, own in groups.items()
    )
    first, *others = groups
    differences = [
        _difference(other, first, measure, groups, paired, (resamples, level, seed))
        for other in others
        for measure in MEASURES
    ]
    if single := [own.name for own in taggers if own.runs == 1]:
        notes.append(
            f"One run of {', '.join(single)}: what another seed of the training changes is not known."
        )
    twice = [w for w in dict.fromkeys(e.weights for e in every) if sum(e.weights == w for e in every) > 1]
    if twice:
        notes.append(f"Weights that stand here more than once, {twice[0][:12]} for one, are one run.")
    return Comparison(_head(every[0]), taggers, tuple(differences), level, resamples, tuple(notes))


def _difference(
    of: str,
    minus: str,
    measure: Measure,
    groups: Mapping[str, Sequence[Evaluation]],
    paired: bool,
    drawing: tuple[int, float, int],
) -> Difference:
    own, other = groups[of], groups[minus]
    values = [[getattr(e, f"macro_{measure}") for e in runs] for runs in (own, other)]
    p_value = None
    if min(map(len, values)) > 1 and all(len(set(v)) > 1 for v in values):
        p_value = float(ttest_ind(*values).pvalue)
    return Difference(
        of=of,
        minus=minus,
        measure=measure,
        value=fmean(values[0]) - fmean(values[1]),
        interval=_interval(own, other, measure, *drawing) if paired else None,
        p_value=p_value,
        runs=(len(own), len(other)),
    )


def _interval(
    own: Sequence[Evaluation],
    other: Sequence[Evaluation],
    measure: Measure,
    resamples: int,
    level: float,
    seed: int,
) -> Interval | None:
    """Return the interval of the difference of means over runs: a column for each tag and run."""
    often = math.lcm(len(own), len(other))
    stacks = []
    for runs in (own, other):
        scores = [_scores(e).scores for e in runs for _ in range(often // len(runs))]
        stacks.append(np.concatenate(scores, axis=1))
    known = _scores(own[0])
    low, high = bootstrap(
        np.tile(known.truth, (1, often)),
        stacks[0],
        [f"{tag} {i}" for i in range(often) for tag in known.tags],
        measure,
        np.random.default_rng(seed),
        minus=stacks[1],
        resamples=resamples,
        level=level,
    )
    return None if np.isnan(low) else (low, high)


def _scores(evaluation: Evaluation) -> ClipScores:
    assert evaluation.clip_scores is not None
    return evaluation.clip_scores


def _have_scores(evaluations: Sequence[Evaluation]) -> bool:
    """Return whether all have the scores of their clips, and of the same ones in the same order."""
    if any(e.clip_scores is None for e in evaluations):
        return False
    first = _scores(evaluations[0])
    return all(
        (own.paths, own.tags) == (first.paths, first.tags) and np.array_equal(own.truth, first.truth)
        for own in map(_scores, evaluations)
    )


def _same_clips(evaluations: Sequence[Evaluation]) -> None:
    """Raise `DataError` unless all are of the same data set, protocol, split, clips and tags."""
    same_protocol(*evaluations)
    first = evaluations[0]
    for other in evaluations[1:]:
        for what, a, b in (
            ("split", first.split, other.split),
            ("number of clips", first.clips, other.clips),
            ("measured tags", ", ".join(first.roc_auc), ", ".join(other.roc_auc)),
            ("true clips", _true_clips(first), _true_clips(other)),
            ("unreadable files", _unreadable(first), _unreadable(other)),
        ):
            if a != b:
                raise DataError(
                    f"{first.model} and {other.model} cannot stand in one table: their {what} are "
                    f"{a} and {b}."
                )


def _head(first: Evaluation) -> str:
    return (
        f"{first.split} of {first.dataset}, {first.protocol}: {first.clips} clips, {len(first.roc_auc)} tags."
    )


def _spread(mean: float, deviation: float | None) -> str:
    return f"{mean:.3f}" if deviation is None else f"{mean:.3f} ± {deviation:.3f}"


def _true_clips(evaluation: Evaluation) -> str:
    return ", ".join(f"{tag} {evaluation.positives[tag]}" for tag in evaluation.roc_auc)


def _unreadable(evaluation: Evaluation) -> str:
    return ", ".join(sorted(evaluation.failed)) or "none"
