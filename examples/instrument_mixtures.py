"""Make a multi-label data set out of single notes: clips of 2 to 4 notes of different instruments.

The tags of a clip are the instruments in it, known exactly, and a tagger can be trained and evaluated from
sound to table in minutes. It takes a table of notes, with the columns ``path`` (relative to the table),
``instrument``, and one that says train, valid or test::

    python examples/instrument_mixtures.py notes.csv mixtures --split split_mixed

It writes ``mixtures/clips.csv`` (path, tags, split) and a FLAC file a clip. The same arguments give the same
samples. Notes of one part never come into another, and each clip has a peak of about 0.7. Training notes are
transposed by up to three semitones, as a tape plays them faster or slower, because they are few; those of
validation and test are as they were recorded.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from lightmel import audio
from lightmel.audio import at_speed

SR = 16_000
SECONDS = 5.0
CLIPS = {"train": 6_000, "valid": 400, "test": 800}
NOTES = (2, 3, 4)
QUIETEST_DB = -6.0
SEMITONES = {"train": 3.0}
"""The most that notes of a part are transposed, up or down."""
PEAK = 0.7
NOISE_DB = (-70.0, -50.0)
"""Of white noise below each clip: no recording is digitally silent, and decibels make much of silence."""

Notes = dict[str, list[np.ndarray]]
"""Waves by instrument."""


def read_notes(table: Path, column: str) -> dict[str, Notes]:
    """Return the notes of each part, decoded to mono at `SR`."""
    parts: dict[str, Notes] = {name: {} for name in CLIPS}
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            wave = audio.load(table.parent / row["path"], SR)
            parts[row[column]].setdefault(row["instrument"], []).append(wave)
    return parts


def mix(notes: Notes, semitones: float, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Return a clip and the instruments in it: each once, at a level, an offset and a pitch of its own."""
    names = sorted(notes)
    chosen = sorted(rng.choice(names, rng.choice(NOTES), replace=False).tolist())
    clip = np.zeros(round(SECONDS * SR), dtype=np.float32)
    for name in chosen:
        note = notes[name][rng.integers(len(notes[name]))]
        note = at_speed(note, SR, 2 ** (rng.uniform(-semitones, semitones) / 12))[: len(clip)]
        start = rng.integers(len(clip) - len(note) + 1)
        clip[start : start + len(note)] += 10 ** (rng.uniform(QUIETEST_DB, 0) / 20) * note
    clip *= PEAK / np.abs(clip).max()
    clip += 10 ** (rng.uniform(*NOISE_DB) / 20) * rng.standard_normal(len(clip), dtype=np.float32)
    return clip, chosen


def make(table: Path, folder: Path, column: str, seed: int) -> Path:
    """Write the clips and their table, and return the table's path."""
    rows: list[tuple[str, str, str]] = []
    for number, (part, notes) in enumerate(read_notes(table, column).items()):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for i in range(CLIPS[part]):
            clip, instruments = mix(notes, SEMITONES.get(part, 0.0), np.random.default_rng([seed, number, i]))
            path = f"{part}/{i:04}.flac"
            soundfile.write(folder / path, clip, SR)
            rows.append((path, ";".join(instruments), part))
    out = folder / "clips.csv"
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("path", "tags", "split"), *rows])
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", type=Path, help="the table of notes")
    parser.add_argument("folder", type=Path, help="where the clips go")
    parser.add_argument("--split", default="split_mixed", help="the column that says train, valid or test")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    out = make(given.table, given.folder, given.split, given.seed)
    print(f"{out}: " + ", ".join(f"{n} {part}" for part, n in CLIPS.items()))


if __name__ == "__main__":
    main()
