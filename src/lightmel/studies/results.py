"""What a study has found: the runs in its folder, whole and of one protocol, by point and seed."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import at_home
from ..datasets import same_protocol
from ..errors import DataError
from ..evaluation import ClipScores, Evaluation, compare
from ..features import Layout
from ..frontends import CLIP_SECONDS
from .cell import AGREEMENT, OWN_TEST, SECONDS, TAGGER, changes, read_result
from .grid import Cell, Grid, run_script
from .run import RUNS, STUDY, read_study

Interval = tuple[float, float]
TIMES = "times.json"
"""What `measure_times` writes into the folder of a study."""
MINUTE = 60.0
"""Seconds."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a student says of the windows that are held out.

    Attributes
    ----------
    logits
        ``(windows, tags)``.
    windows
        Which of all windows of the scores they are.
    """

    logits: NDArray[np.float16]
    windows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Run:
    """One training that is done.

    Attributes
    ----------
    cell
        What was trained.
    folder
        Where its files lie.
    weights
        SHA-256 of the trained network.
    evaluations
        Its figures by the name of the test, with the scores of the clips where they lie beside.
    agreement
        With the teachers: for each tag the correlation over the held-out windows, None where either is
        constant. None for labelled data.
    made_of
        What decided its result.
    """

    cell: Cell
    folder: Path
    weights: str
    evaluations: Mapping[str, Evaluation]
    agreement: Mapping[str, float | None] | None
    made_of: Mapping[str, Any]

    @property
    def tagger(self) -> Path:
        """The file of the trained tagger."""
        return self.folder / TAGGER

    @cached_property
    def seconds(self) -> float | None:
        """Seconds of its training; None where they are not known."""
        try:
            return float(json.loads((self.folder / SECONDS).read_text(encoding="utf-8"))["training"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def mean_agreement(self) -> float | None:
        """Mean of the agreement over the tags that have one."""
        known = [value for value in (self.agreement or {}).values() if value is not None]
        return fmean(known) if known else None

    @cached_property
    def held_out(self) -> HeldOut | None:
        """Its logits of the held-out windows, if they lie there and are of these weights."""
        try:
            with np.load(io.BytesIO((self.folder / AGREEMENT).read_bytes()), allow_pickle=False) as found:
                if str(found["weights"]) != self.weights:
                    return None
                return HeldOut(found["logits"], found["windows"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


@dataclass(frozen=True, eq=False)
class Point:
    """A network on an input, and the runs of it that are done.

    Attributes
    ----------
    name
        As cells have it.
    runs
        By rising seed; at least one.
    n_tags
        Outputs of the network.
    """

    name: str
    runs: tuple[Run, ...]
    n_tags: int

    @property
    def cell(self) -> Cell:
        """One of its cells: all but the seed is that of every one."""
        return self.runs[0].cell

    @property
    def network(self) -> str:
        """Name of the network in the grid."""
        return self.cell.network.name

    @property
    def slug(self) -> str:
        """Of its input."""
        return self.cell.config.slug

    def evaluations(self, test: str) -> tuple[Evaluation, ...]:
        """Return the figures of its runs on one test, of those that were measured on it."""
        return tuple(run.evaluations[test] for run in self.runs if test in run.evaluations)

    def values(self, test: str, measure: str) -> tuple[float, ...]:
        """Return the mean over tags of each run: ``roc_auc`` or ``pr_auc`` on a test."""
        return tuple(getattr(own, f"macro_{measure}") for own in self.evaluations(test))

    @cached_property
    def _cost(self) -> tuple[int, int]:
        from ..models import network_cost

        found = network_cost(self.cell.spec(self.n_tags))
        return found.macs, found.parameters

    @property
    def gmac_per_minute(self) -> float:
        """1e9 multiply-accumulates a minute of sound, segments end to end."""
        return self._cost[0] * MINUTE / self.cell.segment_seconds / 1e9

    @property
    def parameters(self) -> int:
        """Of the network."""
        return self._cost[1]

    @property
    def clip_bytes(self) -> int:
        """Bytes that the features of the paper's clip of 29.1 s take, as they are stored."""
        return self._stored(CLIP_SECONDS)

    @property
    def kb_per_minute(self) -> float:
        """1000 bytes of stored features a minute of sound."""
        return self._stored(MINUTE) / 1000

    def _stored(self, seconds: float) -> int:
        rows, frames = self.cell.config.input_shape(seconds)
        return Layout(rows, self.cell.dtype).n_bytes(frames)


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The results of a study, as far as it is done.

    Attributes
    ----------
    folder
        Where it lies.
    grid
        Its cells, done or not.
    data, kind, tags
        Label of what was learnt from, ``labels`` or ``scores``, and the tags.
    tests
        Names of what it is measured on, the data set's own test clips first.
    points
        Those with a run that is done, in the order of the grid.
    missing
        Names of the cells that are not done: nobody has begun them.
    half
        Names of the cells that were begun: no result, or a damaged one, lies in their folders.
    changed
        Why the result of a cell is of other settings than the grid's now, by its name; it is left out.
    strangers
        Names of folders of results that are of no cell of the grid; they are left out.
    """

    folder: Path
    grid: Grid
    data: str
    kind: str
    tags: tuple[str, ...]
    tests: tuple[str, ...]
    points: tuple[Point, ...]
    missing: tuple[str, ...]
    half: tuple[str, ...]
    changed: Mapping[str, str]
    strangers: tuple[str, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All that are done, in the order of the grid."""
        return tuple(run for point in self.points for run in point.runs)

    @property
    def n_cells(self) -> int:
        """How many trainings the grid has."""
        return len(self.grid.cells)

    def point(self, name: str) -> Point:
        """Return a point by its name.

        Raises
        ------
        DataError
            If no run of it is done.
        """
        for own in self.points:
            if own.name == name:
                return own
        raise DataError(f"{self.folder}: no run of {name} is done.")

    def evaluation(self, test: str) -> Evaluation:
        """Return one of the evaluations on a test, for what all of them share: clips, tags, protocol."""
        return next(own for point in self.points for own in point.evaluations(test))

    @cached_property
    def times(self) -> Mapping[str, Any] | None:
        """What `measure_times` measured, if it did; None where the file is no such thing."""
        try:
            plain = json.loads((self.folder / TIMES).read_text(encoding="utf-8"))
            points = plain["points"].values()
            known = all(own["runtime"] in ("onnx", "torch") and own["milliseconds"] > 0 for own in points)
            return plain if known and isinstance(plain["processor"], str) and plain["rounds"] else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def milliseconds_per_minute(self, point: Point) -> float | None:
        """Return how long a network takes for a minute of sound, where that was measured."""
        found = (self.times or {"points": {}})["points"].get(point.name)
        if found is None:
            return None
        return float(found["milliseconds"]) * MINUTE / point.cell.segment_seconds


def read_results(
    folder: str | os.PathLike[str], *, script: str | os.PathLike[str] | None = None
) -> StudyResults:
    """Read what a study has found so far. Half-written folders are left out, and named.

    Parameters
    ----------
    folder
        Of the study, as `run_study` made it.
    script
        A Python file that registers the networks and front ends of the study, if they are not lightmel's.

    Raises
    ------
    DataError
        If the folder holds no study, no run of it is done, or its results are not of the same clips by the
        same protocol, so that they cannot stand in one table.
    ConfigError
        If it has a front end that is not registered.
    """
    place = at_home(folder)
    if script is not None:
        run_script(script)
    plain = read_study(place)
    try:
        cells = tuple(Cell.from_dict(own) for own in plain["cells"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{place}: the cells in its {STUDY} are damaged ({type(error).__name__}: {error}). The same "
            "`lightmel study run` again writes it anew."
        ) from error
    runs: dict[str, list[Run]] = {}
    missing: list[str] = []
    half: list[str] = []
    changed: dict[str, str] = {}
    for cell in cells:
        own_folder = place / RUNS / cell.name
        result = read_result(own_folder)
        run = None if result is None else _run(cell, own_folder, result)
        if run is None:
            (half if own_folder.is_dir() else missing).append(cell.name)
        elif why := _change(run):
            changed[cell.name] = why
        else:
            runs.setdefault(cell.point, []).append(run)
    if not runs:
        raise DataError(
            f"{place}: none of its {len(cells)} cells is done yet"
            + (f", and {len(changed)} are of other settings" if changed else "")
            + ". `lightmel study run` trains them."
        )
    names = {cell.name for cell in cells}
    found = StudyResults(
        folder=place,
        grid=Grid(plain["grid"], cells, plain["title"]),
        data=plain["data"],
        kind=plain["kind"],
        tags=tuple(plain["tags"]),
        tests=_tests(runs, plain["tests"]),
        points=tuple(
            Point(name, tuple(sorted(own, key=lambda run: run.cell.seed)), len(plain["tags"]))
            for name, own in runs.items()
        ),
        missing=tuple(missing),
        half=tuple(half),
        changed=changed,
        strangers=tuple(
            sorted(
                p.name
                for p in ((place / RUNS).iterdir() if (place / RUNS).is_dir() else ())
                if p.name not in names and read_result(p) is not None
            )
        ),
    )
    _check_comparable(found)
    return found


def _run(cell: Cell, folder: Path, result: Mapping[str, Any]) -> Run | None:
    """Return the run of a result, or None where something of it is damaged."""
    try:
        weights = str(result["weights"])
        evaluations = {
            name: replace(own, clip_scores=ClipScores.read(folder / f"{name}.npz", own.weights))
            for name, plain in result["evaluations"].items()
            for own in (Evaluation.from_dict(plain),)
        }
        agreement, made_of = result["agreement"], result["made_of"]
        if not isinstance(made_of, Mapping) or not (agreement is None or isinstance(agreement, Mapping)):
            return None
    except (KeyError, TypeError, AttributeError, DataError):
        return None
    return Run(cell, folder, weights, evaluations, agreement, made_of)


def _change(run: Run) -> str:
    """Return in words how a result differs from what the grid says of its cell; nothing if it does not."""
    settings = json.loads(json.dumps(run.cell.settings()))
    return "; ".join(changes({key: run.made_of.get(key) for key in settings}, settings))


def _tests(runs: Mapping[str, Sequence[Run]], further: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tests that there are figures of, the data set's own first."""
    there = {name for own in runs.values() for run in own for name in run.evaluations}
    return tuple(name for name in dict.fromkeys((OWN_TEST, *further, *sorted(there))) if name in there)


def _check_comparable(found: StudyResults) -> None:
    """Raise `DataError` unless all runs are of one data set and, test by test, of the same clips."""
    first, *others = found.runs
    for test in found.tests:
        every = [run.evaluations[test] for run in found.runs if test in run.evaluations]
        try:
            same_protocol(*every)
            compare(every)
        except DataError as error:
            raise DataError(
                f"{found.folder}: its runs are not of one study, test {test!r}. {error} The same `lightmel "
                "study run` again runs anew what is of other data."
            ) from error
    for other in others:
        for what in ("data", "tests"):
            if other.made_of.get(what) != first.made_of.get(what):
                raise DataError(
                    f"{found.folder}: {first.cell.name} and {other.cell.name} are of other {what}: their "
                    "numbers cannot stand in one table. The same `lightmel study run` again runs anew what "
                    "is of other data."
                )
