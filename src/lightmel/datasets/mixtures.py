"""Mixtures of single notes: a multi-label data set whose labels are known for certain."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import audio
from .._each import printable
from .._files import check_folder, is_file, write_whole
from ..errors import AudioError, DataError
from .config import MixtureConfig
from .rows import Rows, csv_text, unique_paths
from .table import one_name

log = logging.getLogger("lightmel")

Notes: TypeAlias = dict[str, list[NDArray[np.float32]]]
"""Waves by instrument."""

TABLE, MADE_OF = "clips.csv", "mixtures.json"
SR = 16_000
"""Rate of the clips in Hz."""
NOTES = (2, 3, 4)
"""How many instruments a clip may have."""
QUIETEST_DB = -6.0
"""The lowest level of a note beside the loudest."""
SEMITONES = {"train": 3.0}
"""The most that notes of a split are transposed, up or down."""
PEAK = 0.7
LOUDEST = 10.0
"""Samples beyond this are no sound of a note: nothing else would be heard in a clip."""
NOISE_DB = (-70.0, -50.0)
"""Of white noise below each clip: no recording is digitally silent, and decibels make much of silence."""


def make_mixtures(
    notes: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    config: MixtureConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Make clips of two to four notes of different instruments, and return their table.

    Its columns are path, tags (the instruments) and split, as `load_table` reads them. Notes of one split
    never come into another, and each clip has a peak of about 0.7. Training notes are transposed by up to
    three semitones, as a tape plays them faster or slower, because they are few; the others are as they were
    recorded. A note that cannot be read, is silent or reaches far beyond full scale is left out, and the log
    says so; names of instruments that differ in case or spaces only are one. The same notes and settings give
    the same bytes, and clips that are there are kept. More clips of the same may be made in the same folder.

    Parameters
    ----------
    notes
        A table with the columns ``path`` (relative to it), ``instrument``, and one that says the split.
    folder
        Where the clips go.
    config
        How many are made, and how.
    progress
        Called with what is done, how much of it, and all of it.

    Raises
    ------
    DataError
        If the table is none of notes, one of them is not there, a split has too few instruments, or the
        folder cannot be written or holds clips of other notes or settings.
    """
    config, place = config or MixtureConfig(), Path(folder)
    wanted = {"train": config.train, "valid": config.valid, "test": config.test}
    splits, digest = _read(notes, config)
    _check_folder(place, {"notes": digest, "seconds": config.seconds, "seed": config.seed})
    rows = [("path", "tags", "split")]
    total, done = sum(wanted.values()), 0
    for number, (split, count) in enumerate(wanted.items()):
        try:
            (place / split).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{place / split} cannot be made: {error.strerror or error}.") from error
        for i in range(count):
            rng = np.random.default_rng([config.seed, number, i])
            clip, instruments = _mixed(splits[split], SEMITONES.get(split, 0.0), config.seconds, rng)
            path = f"{split}/{i:04}.flac"
            if not (place / path).exists():
                with audio.writing(place / path, SR) as write:
                    write(clip)
            rows.append((path, ";".join(instruments), split))
            done += 1
            if progress is not None:
                progress("mixing", done, total)
    write_whole(place / TABLE, csv_text(rows).encode(), DataError)
    return place / TABLE


def _check_folder(folder: Path, made_of: Mapping[str, str | float]) -> None:
    """Write what the clips of a folder are made of, or refuse those of something else: they would be kept."""
    check_folder(folder, DataError)
    file = folder / MADE_OF
    if file.exists():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            there = None
        if there != made_of:
            raise DataError(
                f"{folder} holds mixtures of other notes, of another length or seed, or {MADE_OF} in it is "
                "damaged: name another folder; nothing in this one was touched."
            )
        return
    write_whole(file, (json.dumps(made_of, indent=1) + "\n").encode(), DataError)


def _read(table: str | os.PathLike[str], config: MixtureConfig) -> tuple[dict[str, Notes], str]:
    """Return the notes of each split, as mono at `SR`, and a SHA-256 of them."""
    rows, digest = Rows(table), hashlib.sha256()
    found: dict[str, Notes] = {"train": {}, "valid": {}, "test": {}}
    instruments, places = rows.column("instrument"), rows.column(config.split_column)
    for split, line in zip(places, rows.lines, strict=True):
        if split not in found:
            raise DataError(
                f"{rows.file}, line {line}: {config.split_column} is train, valid or test, not {split!r}."
            )
    called = one_name(Counter(instruments), rows.file)
    for path, name, split in zip(unique_paths(rows, rows.file.parent), instruments, places, strict=True):
        instrument, file = called[name], rows.file.parent / path
        if not is_file(file):  # else another folder than was meant would make another data set
            raise DataError(f"{rows.file}: there is no {printable(str(file))}.")
        try:
            wave = _note(file)
        except AudioError as error:
            log.warning("left out: %s", error)
            continue
        digest.update(repr((split, instrument)).encode("utf-8", "surrogateescape") + wave.tobytes())
        found[split].setdefault(instrument, []).append(wave)
    for split, notes in found.items():
        if len(notes) < max(NOTES):
            raise DataError(
                f"{rows.file}: {split} has notes of {len(notes)} instruments; a mixture wants up to "
                f"{max(NOTES)}."
            )
    return found, digest.hexdigest()


def _note(file: Path) -> NDArray[np.float32]:
    wave = audio.load(file, SR)
    peak = float(np.abs(wave).max(initial=0))
    if not 0 < peak <= LOUDEST:
        why = "it is silent" if peak == 0 else f"its samples reach {peak:.3g}: scale them to ±1"
        raise AudioError(f"{printable(str(file))}: {why}.")
    return wave


def _mixed(
    notes: Notes, semitones: float, seconds: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[str]]:
    """Return a clip and the instruments in it: each once, at a level, an offset and a pitch of its own."""
    names = sorted(notes)
    chosen = sorted(rng.choice(names, rng.choice(NOTES), replace=False).tolist())
    clip = np.zeros(round(seconds * SR), dtype=np.float32)
    for name in chosen:
        note = notes[name][rng.integers(len(notes[name]))]
        note = audio.at_speed(note, SR, 2 ** (rng.uniform(-semitones, semitones) / 12))[: len(clip)]
        start = rng.integers(len(clip) - len(note) + 1)
        clip[start : start + len(note)] += 10 ** (rng.uniform(QUIETEST_DB, 0) / 20) * note
    clip *= PEAK / np.abs(clip).max()
    clip += 10 ** (rng.uniform(*NOISE_DB) / 20) * rng.standard_normal(len(clip), dtype=np.float32)
    return clip, chosen
