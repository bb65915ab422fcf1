"""Phrases of single instruments, made from recorded notes: what free music has too little of.

A phrase is ten seconds of one instrument: notes follow each other at a steady pace, some ring on, at a level
that is drawn anew for each phrase. `family/music.py` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from lightmel import audio

SR = 16_000
SECONDS = 10.0
PACES = (0.2, 0.8)
"""Seconds from one note to the next: shortest and longest."""


def phrase(notes: Sequence[NDArray[np.float32]], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return ten seconds of `notes`, each ``(samples,)`` at `SR`, in the order and at the pace of `rng`."""
    out = np.zeros(round(SECONDS * SR), dtype=np.float32)
    pace = rng.uniform(*PACES)
    at, beats = 0.0, (0.5, 1.0, 1.0, 2.0)
    while at < SECONDS:
        for _ in range(1 + int(rng.random() < 0.3)):  # now and then two at once
            note = notes[int(rng.integers(len(notes)))] * rng.uniform(0.4, 1.0)
            start = round(at * SR)
            end = min(start + len(note), len(out))
            out[start:end] += note[: end - start]
        at += pace * beats[int(rng.integers(len(beats)))]
    peak = float(np.abs(out).max()) or 1.0
    return (out / peak * 10 ** (rng.uniform(-15, -1) / 20)).astype(np.float32)


def write_phrases(
    notes: Sequence[tuple[Path, str]], folder: Path, count: int, rng: np.random.Generator
) -> list[tuple[Path, str]]:
    """Write `count` phrases of each instrument as FLAC files.

    Parameters
    ----------
    notes
        Path and instrument of each note.
    folder
        Where they go.
    count
        How many of each instrument.
    rng
        Draws them.

    Returns
    -------
    list of (Path, str)
        Path and group of each: those of one instrument are one group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for instrument in sorted({name for _, name in notes}):
        waves = [audio.load(path, SR) for path, name in notes if name == instrument]
        for number in range(count):
            path = folder / f"{instrument}-{number}.flac"
            soundfile.write(path, phrase(waves, rng), SR)
            written.append((path, f"instruments/{instrument}"))
    return written
