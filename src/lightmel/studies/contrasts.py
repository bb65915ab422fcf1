"""What points of a study lose against others: on the same clips, over all tags or some, and over runs.

The clips of a test are drawn again, the same for all points (`lightmel.evaluation.resampled`), and so are
the clips, or their groups, that a student's agreement with its teachers was measured on. Whatever is compared
then is compared resample by resample.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev, variance
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .._steady import steady
from ..datasets import DataConfig
from ..errors import DataError, LightmelError
from ..evaluation import Intervals, resampled
from ..frontends import MelConfig
from ..vocabularies import CATEGORIES, MUSIC, category
from .cell import OWN_TEST
from .data import LabelledData, ScoredData, StudyData, open_data
from .results import Interval, Point, StudyResults
from .run import read_study
from .significance import Change, Difference, Sample, difference

log = logging.getLogger("lightmel")

Floats = NDArray[np.float64]
Measured = Literal["roc_auc", "pr_auc", "agreement"]
MEASURED: Mapping[Measured, str] = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "agreement": "agreement with the teachers",
}
HELD_OUT = "held-out"
"""What the music is called that the agreement with the teachers is measured on."""


@dataclass(frozen=True)
class Contrast:
    """How far one point, or the mean of several, is ahead of another.

    Attributes
    ----------
    of, minus
        Names of the two.
    test, measure
        On which clips, and what.
    tags
        How many tags it is the mean over.
    value
        Mean over tags and runs of the first less that of the second.
    interval
        Of the value, over the same clips or groups of clips drawn for both; None where the scores of the
        clips, or the teachers', are not at hand.
    runs
        How many there are of each.
    over_runs
        t-tests of independent samples and interval over the runs; None with fewer than two of either.
    """

    of: str
    minus: str
    test: str
    measure: Measured
    tags: int
    value: float
    interval: Interval | None
    runs: tuple[int, int]
    over_runs: Difference | None


@dataclass(frozen=True)
class Spread:
    """The deviation over seeds, pooled over the points that have several runs.

    Attributes
    ----------
    value
        Standard deviation (of a sample) of a run.
    freedom
        Its degrees of freedom.
    points
        How many points it is pooled over.
    """

    value: float
    freedom: int
    points: int


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Values of a point, mean over its runs, and the same on resampled clips."""

    runs: int
    values: Floats
    draws: Floats | None


class Contrasts:
    """Differences between the points of a study.

    Parameters
    ----------
    results
        Of the study.
    intervals
        How intervals are made.
    data
        What was learnt from, if it is at hand: groups of clips, and the teachers' scores.

    Raises
    ------
    DataError
        If the data are not those of the study.
    """

    def __init__(
        self, results: StudyResults, intervals: Intervals | None = None, data: StudyData | None = None
    ) -> None:
        self.results, self.intervals, self.data = results, intervals or Intervals(), data
        if data is not None and results.runs[0].made_of.get("data") != data.digest:
            raise DataError(
                f"{data.label} is not what {results.folder} has learnt from, or has changed since: name its "
                "own data, or leave them out."
            )
        self._drawn: dict[tuple[str, str], dict[Measured, _Drawn]] = {}

    def tags(self, test: str) -> tuple[str, ...]:
        """Return the tags that are measured on a test, or whose agreement is known for all runs."""
        if test != HELD_OUT:
            return tuple(self.results.evaluation(test).roc_auc)
        every = [run.agreement or {} for run in self.results.runs]
        return tuple(t for t in self.results.tags if all(own.get(t) is not None for own in every))

    def scopes(self, test: str) -> dict[str, tuple[str, ...]]:
        """Return the tags of a test by what they are about."""
        tags = self.tags(test)
        found = {name: tuple(tag for tag in tags if category(tag) == name) for name in (*CATEGORIES, MUSIC)}
        return {name: own for name, own in found.items() if own}

    def has_agreement(self) -> bool:
        """Return whether there is an agreement with teachers at all."""
        return bool(self.tags(HELD_OUT))

    def grouped(self, test: str) -> int | None:
        """Return how many groups of clips are drawn; None where clips are drawn one by one."""
        groups = self._groups(test)
        return None if groups is None else len(set(groups))

    def between(
        self, of: Point, minus: Point, test: str, measure: Measured, tags: Sequence[str] = ()
    ) -> Contrast:
        """Return how far one point is ahead of another.

        Parameters
        ----------
        of, minus
            Which.
        test, measure
            Of `StudyResults.tests`, or `HELD_OUT` with the agreement.
        tags
            Over which the mean is taken; nothing: all of them.
        """
        return self.mean([(of, minus)], test, measure, tags)[0]

    def mean(
        self,
        pairs: Sequence[tuple[Point, Point]],
        test: str,
        measure: Measured,
        tags: Sequence[str] = (),
    ) -> tuple[Contrast, tuple[float, ...]]:
        """Return how far the first of each pair is ahead of the second in the mean, and in each pair."""
        columns = self._columns(test, tags)
        found = [[self._of(point, test, measure) for point in pair] for pair in pairs]
        each = tuple(float((a.values - b.values)[columns].mean()) for a, b in found)
        draws = [
            _row_means((a.draws - b.draws)[:, columns])
            for a, b in found
            if a.draws is not None and b.draws is not None
        ]
        interval = None
        if len(draws) == len(found):
            interval = self._ends(np.mean(draws, axis=0))
        (of, minus), more = pairs[0], len(pairs) > 1
        contrast = Contrast(
            of="" if more else of.name,
            minus="" if more else minus.name,
            test=test,
            measure=measure,
            tags=len(columns),
            value=fmean(each),
            interval=interval,
            runs=(min(a.runs for a, _ in found), min(b.runs for _, b in found)),
            over_runs=None if more or tags else self._over_runs(of, minus, test, measure),
        )
        return contrast, each

    def spread(self, test: str, measure: Measured, tags: Sequence[str] = ()) -> Spread | None:
        """Return the deviation over seeds, pooled over all points with several runs; None without any."""
        several = [
            own for point in self.results.points if len(own := self.by_run(point, test, measure, tags)) > 1
        ]
        freedom = sum(len(own) - 1 for own in several)
        if not freedom:
            return None
        total = sum((len(own) - 1) * variance(own) for own in several)
        return Spread(math.sqrt(total / freedom), freedom, len(several))

    def by_run(
        self, point: Point, test: str, measure: Measured, tags: Sequence[str] = ()
    ) -> tuple[float, ...]:
        """Return the mean over all or some tags of each run of a point."""
        chosen = tags or self.tags(test)
        if measure == "agreement":
            known = [run.agreement for run in point.runs if run.agreement is not None]
            return tuple(fmean(own[tag] or 0.0 for tag in chosen) for own in known)
        return tuple(fmean(getattr(own, measure)[tag] for tag in chosen) for own in point.evaluations(test))

    def _columns(self, test: str, tags: Sequence[str]) -> NDArray[np.intp]:
        every = self.tags(test)
        return np.array([every.index(tag) for tag in tags or every])

    def _ends(self, values: Floats) -> Interval | None:
        known = values[~np.isnan(values)]
        if not len(known):
            return None
        outside = (1 - self.intervals.level) / 2
        low, high = np.quantile(known, [outside, 1 - outside])
        return float(low), float(high)

    def _over_runs(self, of: Point, minus: Point, test: str, measure: Measured) -> Difference | None:
        samples = []
        for point in (of, minus):
            own = self.by_run(point, test, measure)
            samples.append(Sample(fmean(own), stdev(own) if len(own) > 1 else None, len(own)))
        return difference(*samples)

    def _of(self, point: Point, test: str, measure: Measured) -> _Drawn:
        key = point.name, test
        if key not in self._drawn:
            make = self._agreement if test == HELD_OUT else self._figures
            self._drawn[key] = make(point, test)
        return self._drawn[key][measure]

    @steady
    def _figures(self, point: Point, test: str) -> dict[Measured, _Drawn]:
        tags, every = self.tags(test), point.evaluations(test)
        if not every:
            raise DataError(f"{point.name} was not measured on {test}.")
        draws = []
        for own in every:
            if own.clip_scores is not None:
                scores = own.clip_scores
                draws.append(
                    resampled(
                        scores.truth,
                        scores.scores,
                        scores.tags,
                        np.random.default_rng(self.intervals.seed),
                        groups=self._groups(test),
                        resamples=self.intervals.resamples,
                    )
                )
        whole = len(draws) == len(every)
        found: dict[Measured, _Drawn] = {}
        measures: tuple[Literal["roc_auc", "pr_auc"], ...] = ("roc_auc", "pr_auc")
        for i, measure in enumerate(measures):
            values = [[getattr(own, measure)[tag] for tag in tags] for own in every]
            own_draws = np.mean([drawn[i] for drawn in draws], axis=0) if whole else None
            found[measure] = _Drawn(len(every), np.mean(values, axis=0), own_draws)
        return found

    def _groups(self, test: str) -> list[Hashable] | None:
        """Return the group of each clip of a test, where all are known and there are several."""
        known: Mapping[str, Hashable] = {}
        if isinstance(self.data, ScoredData):
            clips = self.data.scores.clips
            if test == HELD_OUT:
                return [clip.group for clip in clips if clip.split == "test"]
            known = {clip.path: clip.group for clip in clips}
        elif isinstance(self.data, LabelledData) and test == OWN_TEST:
            split = self.data.dataset.split("test")
            known = dict(zip(split.paths, split.groups, strict=True))
        scores = self.results.evaluation(test).clip_scores if test != HELD_OUT else None
        if scores is None or not all(path in known for path in scores.paths):
            return None
        groups = [known[path] for path in scores.paths]
        return groups if len(set(groups)) > 1 else None

    # The agreement with teachers.

    @cached_property
    def _clip_groups(self) -> tuple[str, ...]:
        """The group of each clip of the teachers' scores."""
        assert isinstance(self.data, ScoredData)
        return tuple(clip.group for clip in self.data.scores.clips)

    @cached_property
    def _targets(self) -> NDArray[np.float64]:
        assert isinstance(self.data, ScoredData)
        found: NDArray[np.float64] = self.data.scores.targets().numpy().astype(np.float64)
        return found

    def _agreement(self, point: Point, test: str) -> dict[Measured, _Drawn]:
        tags = self.tags(test)
        columns = [self.results.tags.index(tag) for tag in tags]
        every = [run.agreement for run in point.runs if run.agreement is not None]
        values = np.array([[own[tag] for tag in tags] for own in every], dtype=np.float64)
        draws: list[Floats] = []
        if isinstance(self.data, ScoredData):
            owners = self.data.scores.windows()[:, 0]
            for run in point.runs:
                held = run.held_out
                if held is not None:
                    groups = np.array(self._clip_groups, dtype=object)[owners[held.windows]]
                    own, theirs = held.logits.astype(np.float64), self._targets[held.windows]
                    draws.append(self._correlations(own[:, columns], theirs[:, columns], groups.tolist()))
        whole = len(draws) == len(point.runs)
        own_draws = np.mean(draws, axis=0) if whole else None
        return {"agreement": _Drawn(len(every), values.mean(axis=0), own_draws)}

    def _correlations(self, own: Floats, theirs: Floats, groups: Sequence[Hashable]) -> Floats:
        """Return the correlation of each tag over resampled groups of windows, ``(resamples, tags)``.

        All that a correlation needs are sums, and those of a resample are sums of those of its groups.
        """
        numbers: dict[Hashable, int] = {}
        member = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
        order = np.argsort(member, kind="stable")
        starts = np.searchsorted(member[order], np.arange(len(numbers)))
        x, y = own[order] - own.mean(axis=0), theirs[order] - theirs.mean(axis=0)
        sums = [np.add.reduceat(part, starts, axis=0) for part in (x, y, x * x, y * y, x * y)]
        windows = np.bincount(member).astype(np.float64)
        rng = np.random.default_rng(self.intervals.seed)
        times = np.stack(
            [
                np.bincount(rng.integers(len(numbers), size=len(numbers)), minlength=len(numbers))
                for _ in range(self.intervals.resamples)
            ]
        ).astype(np.float64)
        n = (times @ windows)[:, None]
        mean_x, mean_y, xx, yy, xy = (times @ part / n for part in sums)
        spread = (xx - mean_x**2) * (yy - mean_y**2)
        found: Floats = np.divide(
            xy - mean_x * mean_y,
            np.sqrt(np.maximum(spread, 0)),
            out=np.full(xy.shape, np.nan),
            where=spread > 0,
        )
        return found


def _row_means(values: Floats) -> Floats:
    """Return the mean of each row over what is a number in it; NaN where nothing is."""
    there = ~np.isnan(values)
    number = there.sum(axis=1)
    found: Floats = np.divide(
        np.where(there, values, 0).sum(axis=1), number, out=np.full(len(values), np.nan), where=number > 0
    )
    return found


def _beside_input(point: Point) -> Hashable:
    """Return all that a point is but its input and its seeds."""
    cell = point.cell
    return point.network, cell.dtype, cell.learning, replace(cell.training, seed=0)


def family(point: Point) -> Hashable | None:
    """Return what points share that differ in bands and hop alone; None for what is no mel-spectrogram."""
    config = point.cell.config
    if not isinstance(config, MelConfig):
        return None
    rest = {name: v for name, v in config.to_dict().items() if name not in ("n_mels", "hop_factor")}
    return _beside_input(point), *sorted(rest.items())


def reference(point: Point, points: Sequence[Point]) -> Point | None:
    """Return the point of most bands at hop factor 1 of the same network, rate, compression and storage."""
    own = family(point)
    found = [
        (config.n_mels, -i)
        for i, other in enumerate(points)
        if own is not None
        and family(other) == own
        and isinstance(config := other.cell.config, MelConfig)
        and config.hop_factor == 1
    ]
    return points[-max(found)[1]] if found else None


def pairs(points: Sequence[Point], change: Change) -> list[tuple[Point, Point]]:
    """Return the point before a change of the input and that after it, for all that differ in it alone."""
    by = {(_beside_input(own), own.cell.config): own for own in points}
    found = []
    for own in points:
        config = own.cell.config
        if isinstance(config, MelConfig) and getattr(config, change.name) == change.before:
            other = config.replace(**{change.name: change.after})
            if (after := by.get((_beside_input(own), other))) is not None:
                found.append((own, after))
    return found


def learnt_from(results: StudyResults) -> StudyData | None:
    """Return what a study has learnt from, or None where it is not there any more, or has changed."""
    plain = read_study(results.folder)
    try:
        found = open_data(results.folder / plain["source"], DataConfig(**plain["reading"]))
        why = "" if found.digest == results.runs[0].made_of.get("data") else "it has changed since"
    except LightmelError as error:
        why = str(error)
    if not why:
        return found
    log.warning(
        "What %s has learnt from is not at hand (%s): for intervals clips are drawn, and not groups of them.",
        results.folder,
        why,
    )
    return None
