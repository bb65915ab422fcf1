"""From a folder of music to a saved student and its card, in one call."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from .._files import beside, write_whole
from ..checkpoint.safetensors import check_path
from ..errors import ConfigError, TrainingError
from ..inference.tagger import Tagger
from ..models.base import TaggingNetwork
from ..training.config import TrainConfig
from ..training.run import Line
from ..training.trainer import Trainer
from .config import DISTILL_TRAINING, DistillConfig
from .corpus import Progress, Track, find_tracks, split_groups
from .report import Report, card, compare, read_people, whole_path
from .student import distill


def read_tracks(table: Path) -> list[Track]:
    """Read a CSV with the columns ``path`` (relative to it) and ``group``: what must not be split.

    Raises
    ------
    ConfigError
        If a column is missing, or a path stands twice.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = {"path", "group"} - set(rows.fieldnames or ())
        if missing:
            raise ConfigError(f"{table} has no column {' and no '.join(sorted(missing))}.")
        tracks = [Track(table.parent / row["path"], row["group"]) for row in rows]
    twice = [str(path) for path, count in Counter(t.path for t in tracks).items() if count > 1]
    if twice:
        raise ConfigError(f"{table} names {twice[0]} more than once.")
    return tracks


def make_student(
    folder: Path,
    out: Path,
    teachers: Sequence[Tagger],
    config: DistillConfig | None = None,
    training: TrainConfig = DISTILL_TRAINING,
    *,
    name: str,
    version: str,
    licence: str,
    command: str,
    table: Path | None = None,
    match: str = "*",
    people: Path | None = None,
    work: Path | None = None,
    on_start: Callable[[Trainer[TaggingNetwork]], None] | None = None,
    on_epoch: Callable[[Line], None] | None = None,
    progress: Progress | None = None,
) -> tuple[Tagger, Report]:
    """Distil `teachers` on the music below `folder`; write `out`, and its card and report beside it.

    Parameters
    ----------
    folder, table, match
        The music: every sound file below the folder, or those that a table names, whose names match.
    out
        The tagger's file; the card is the same name with ``.md``, figures and history with ``.json``.
    teachers, config, training, work, on_start, on_epoch, progress
        As in `distill`.
    name, version, licence
        What the student is called and how its weights may be used.
    command
        The command that made it, for the card.
    people
        A table of people's tags to judge by; see `read_people`.

    Raises
    ------
    LightmelError
        If there is no music, or too few groups to hold some out; if `people` has none of the held-out tracks;
        if `out` cannot be written.
    """
    check_path(out)
    tracks = [
        t for t in (read_tracks(table) if table else find_tracks(folder)) if fnmatch(t.path.name, match)
    ]
    if not tracks:
        raise ConfigError(f"Nothing below {folder} is called {match!r}.")
    config = config or DistillConfig()
    given = read_people(people) if people else None
    train, held = split_groups(tracks, config.holdout, config.split)
    if given is not None and not any(whole_path(track.path) in given for track in held):
        raise ConfigError(
            f"{people} names none of the {len(held)} held-out tracks, such as {held[0].path}: there is "
            "nothing to judge by. Its paths are relative to its folder; another split holds out other groups."
        )
    student, result = distill(
        teachers,
        train,
        config,
        training,
        work=work,
        on_start=on_start,
        on_epoch=on_epoch,
        progress=progress,
    )
    report = compare(student, teachers[0], held, excerpt=config.excerpt, people=given)
    provenance = dict(student.description.provenance) | {"measured": report.to_dict()}
    student = Tagger(
        student.network,
        replace(student.description, name=name, version=version, licence=licence, provenance=provenance),
    )
    student.save(out)
    sources = Counter(_source(t.path, folder) for t in train)
    text = card(student, teachers[0], report, dict(sources.most_common()), command)
    # Names of folders need not be UTF-8.
    write_whole(beside(out, ".md"), text.encode(errors="backslashreplace"), TrainingError)
    figures = {"report": report.to_dict(), "history": result.history, "command": command}
    write_whole(beside(out, ".json"), (json.dumps(figures, indent=1) + "\n").encode(), TrainingError)
    return student, report


def _source(path: Path, folder: Path) -> str:
    """Return the folder below `folder` that a file is from; for one from elsewhere, the folder it is in."""
    below = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    return below[0] if len(below) > 1 else path.resolve().parent.name
