"""Running a grid: each cell in a folder of its own, skipped if it is done, shared by many processes.

Whoever wants to run a cell claims it. A cell that is done says what it was made of: if its settings, the data
or the versions are others now, it is run again. Features are computed once for each front end.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._files import at_home, check_folder, relative, write_whole
from ..datasets import DataConfig
from ..errors import ConfigError, DataError, TrainingError
from ..frontends import FrontendConfig, StorageType, known_kinds
from ..workers import Done, Pool, Work
from .cell import changes, gone, made_of, read_result
from .claims import owner
from .data import StudyData, open_data, reopening
from .grid import Cell, Grid

log = logging.getLogger("lightmel")

STUDY, RUNS, FEATURES, CLAIMS = "study.json", "runs", "features", "claims"
PROGRESS = "progress.json"
FORMAT = 1
_LOOK_SECONDS = 1.0
"""Between two looks at what other processes do."""


@dataclass(frozen=True)
class Outcome:
    """What became of a study.

    Attributes
    ----------
    done
        Names of the cells that were run now, by this call or by another process beside it.
    kept
        Names of the cells that were done before.
    failed
        Why others failed, by their names.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    failed: Mapping[str, str]


def run_study(
    grid: Grid,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data_config: DataConfig | None = None,
    tests: Mapping[str, str | os.PathLike[str]] | None = None,
    shard: tuple[int, int] = (1, 1),
    jobs: int = 1,
    any_version: bool = False,
    script: str | os.PathLike[str] | None = None,
    device: str = "auto",
    on_progress: Callable[[float], None] | None = None,
    on_cell: Callable[[str, str], None] | None = None,
) -> Outcome:
    """Run the cells of a grid that are not done yet; the same call goes on where the last one was stopped.

    Several processes, on several machines too, may run one study in the same folder at the same time. A call
    comes back when all of its cells are done or have failed, whoever has run them.

    Parameters
    ----------
    grid
        The cells.
    data, data_config
        What is learnt from: as `open_data` takes it.
    out
        Folder of the study.
    tests
        Tables of further clips with labels, by the name of the test.
    shard
        Which part of the cells: ``(1, 4)`` is every fourth, from the first one on.
    jobs
        Processes, of one thread each. 0: this process, with its threads; results differ in their last digits
        with the number of threads.
    any_version
        Whether cells stay that were done by other versions of lightmel, torch or NumPy.
    script
        A Python file that each process runs first: it registers networks and front ends.
    device
        Where networks are trained, as in `lightmel.Trainer`.
    on_progress
        Called now and then with the share that is done of all cells, each by its multiply-accumulates.
    on_cell
        Called with the name of a cell and what becomes of it, in words.

    Raises
    ------
    ConfigError
        If a network refuses its input, there is no such shard, or a test cannot be called so.
    DataError
        If the data cannot be read, or `out` holds another study.
    TrainingError
        If `out` cannot be written, or a process cannot be started.
    """
    if jobs < 0:
        raise ConfigError(f"jobs={jobs}: 0, for this process, is the least.", names=("jobs",))
    whole, out, told = grid, Path(out), on_cell or (lambda name, what: None)
    grid = grid.shard(*shard)
    opened = open_data(data, data_config, tests)
    whole.check(len(opened.tags))
    source = {"source": relative(at_home(data), out), "reading": asdict(data_config or DataConfig())}
    _sign(out, whole, opened, source)
    todo: list[Cell] = []
    kept: list[str] = []
    for cell in grid.cells:
        why = why_not_done(out, cell, opened, any_version=any_version)
        if why is None:
            kept.append(cell.name)
        else:
            todo.append(cell)
            if why:
                told(cell.name, f"is run again: {why}")
    settings = {
        "out": os.path.abspath(out),  # noqa: PTH100 - follow no links
        "data": reopening(data, data_config, tests or {}),
        "script": None if script is None else os.path.abspath(script),  # noqa: PTH100
        "frontends": known_kinds(),
        "any_version": any_version,
        "device": device,
    }
    failed: dict[str, str] = {}
    done: list[str] = []
    said: set[str] = set()
    work = Work("lightmel.studies.worker:serve", settings, TrainingError)
    origins = _origins(todo, whole, opened)
    with _watched(out, grid, opened, kept, on_progress), Pool(work, min(jobs, len(todo))) as pool:
        while todo:
            again: list[Cell] = []
            cells = {cell.name: cell for cell in todo}
            tasks = [{**cell.to_dict(), "origin": origins[cell.name]} for cell in todo]
            for task, answer in pool.each(tasks):
                cell = cells[task["name"]]
                for level, note in answer.notes:
                    if note not in said:  # most are about the data, and the same for all cells
                        said.add(note)
                        log.log(level, "%s: %s", cell.name, note)
                became = _became(answer)
                if became == "elsewhere":
                    again.append(cell)
                elif became:
                    failed[cell.name] = became
                    told(cell.name, f"failed: {became}")
                else:
                    done.append(cell.name)
                    told(cell.name, "is done")
            if len(again) == len(todo):
                time.sleep(_LOOK_SECONDS)
            todo = again
    return Outcome(tuple(done), tuple(kept), failed)


def why_not_done(out: Path, cell: Cell, data: StudyData, *, any_version: bool = False) -> str | None:
    """Return why a cell has to be run, in words: nothing where it was never done; None where it is done."""
    result = read_result(out / RUNS / cell.name)
    if result is None:
        return ""
    if lost := gone(out / RUNS / cell.name, result):
        return f"{', '.join(lost)} is gone"
    before, now = result["made_of"], json.loads(json.dumps(made_of(cell, data)))
    if any_version:
        before, now = ({k: v for k, v in made.items() if k != "versions"} for made in (before, now))
    return "; ".join(changes(before, now)) or None


def busy(out: str | os.PathLike[str], grid: Grid) -> dict[str, str]:
    """Return who is at work on which cells, by their names."""
    found = {cell.name: owner(Path(out) / CLAIMS, cell.name) for cell in grid.cells}
    return {name: who for name, who in found.items() if who is not None}


def _became(answer: Done) -> str:
    """Return why a cell failed, ``"elsewhere"`` where another process has it, and nothing if it is done."""
    if answer.crash is not None:
        return f"its process ended ({answer.crash}): if memory has run out, take fewer jobs."
    return str(answer.answer["became"])


def _sign(out: Path, grid: Grid, data: StudyData, source: Mapping[str, Any]) -> None:
    """Write what the study is and learns from, or refuse the folder of another one."""
    check_folder(out, DataError)
    file = out / STUDY
    plain = {
        "format": FORMAT,
        "grid": grid.name,
        "title": grid.title,
        "data": data.label,
        "kind": data.kind,
        "tags": list(data.tags),
        "tests": [test.name for test in data.tests],
        "cells": [cell.to_dict() for cell in grid.cells],
        **source,
    }
    if file.exists():
        there = read_study(out)
        for key in ("grid", "data"):
            if there[key] != plain[key]:
                raise DataError(
                    f"{out} holds another study: its {key} is {there[key]!r}, not {plain[key]!r}. Name "
                    "another folder; nothing in this one was touched."
                )
    elif out.is_dir() and any(p for p in out.iterdir() if not p.name.startswith(".")):
        raise DataError(f"{out} holds something that is no study: name a new or an empty folder.")
    write_whole(file, (json.dumps(plain, indent=1) + "\n").encode(), TrainingError)


def read_study(out: Path) -> dict[str, Any]:
    """Return what a folder's study is.

    Raises
    ------
    DataError
        If it holds none.
    """
    try:
        plain = json.loads((out / STUDY).read_text(encoding="utf-8"))
        if plain["format"] != FORMAT:
            raise DataError(f"{out} holds a study of format {plain['format']}; this lightmel reads {FORMAT}.")
        keys = ("grid", "title", "data", "kind", "tags", "tests", "cells", "source", "reading")
        found: dict[str, Any] = {key: plain[key] for key in keys}
        if not (isinstance(found["title"], str) and isinstance(found["tags"], list)):
            raise TypeError("its title is no text, or its tags are no list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(f"{out} holds no study ({why}).") from error
    return found


def _origins(cells: Sequence[Cell], grid: Grid, data: StudyData) -> dict[str, str | None]:
    """Return for each cell the slug of the front end of whose stored frames its own are every second or so.

    It is the one of the grid that has most frames, whichever shard is run; None where there is none.
    """

    def stored(cell: Cell) -> tuple[FrontendConfig, StorageType, float | None]:
        return cell.config, cell.dtype, excerpt_seconds(cell, data)

    # A grid has far fewer stores than cells, and each is compared with every other one.
    stores = list(dict.fromkeys(map(stored, grid.cells)))
    origins: dict[tuple[FrontendConfig, StorageType, float | None], str | None] = {}
    for own in dict.fromkeys(map(stored, cells)):
        found = {
            every: config.slug
            for config, *how in stores
            if how == [*own[1:]] and (every := config.thinning(own[0])) is not None
        }
        origins[own] = found[max(found)] if found else None
    return {cell.name: origins[stored(cell)] for cell in cells}


def excerpt_seconds(cell: Cell, data: StudyData) -> float | None:
    """Return the seconds of each file that features are computed of; None for all of it."""
    return data.excerpt_seconds or cell.learning.excerpt_seconds or None


def store_name(slug: str, dtype: str, seconds: float | None) -> str:
    """Return the name of a store's folder."""
    return f"{slug}-{dtype}" + ("" if seconds is None else f"-{seconds:g}s")


@contextmanager
def _watched(
    out: Path, grid: Grid, data: StudyData, kept: list[str], tell: Callable[[float], None] | None
) -> Iterator[None]:
    """Tell how far all cells are, whoever runs them, for as long as the context lasts."""
    if tell is None:
        yield
        return
    from ..models import network_cost

    macs: dict[str, int] = {}
    for cell in grid.cells:
        if cell.point not in macs:  # seeds cost the same
            macs[cell.point] = network_cost(cell.spec(len(data.tags))).macs
    weights = {cell.name: macs[cell.point] * cell.training.epochs for cell in grid.cells}
    total, ended = sum(weights.values()), threading.Event()
    began = time.time()

    def share(name: str) -> float:
        if name in kept:
            return 1.0
        folder = out / RUNS / name
        try:
            done, of = json.loads((folder / PROGRESS).read_text())
            return float(done) / float(of)
        except (OSError, ValueError, TypeError, ZeroDivisionError):
            pass
        try:
            return float((folder / "result.json").stat().st_mtime >= began - 1)
        except OSError:
            return 0.0

    def told() -> None:
        tell(sum(weight * share(name) for name, weight in weights.items()) / total)

    def look() -> None:
        while not ended.wait(_LOOK_SECONDS):
            told()

    watching = threading.Thread(target=look, name="lightmel-study", daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
        told()
