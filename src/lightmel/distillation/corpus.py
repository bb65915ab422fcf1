"""The music of a distillation: clips in memory, the segments that are cut from them, mixtures of two."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .. import audio
from ..audio._encode import MP3_LEVELS, as_mp3, at_speed
from ..errors import AudioError, ConfigError
from .config import DistillConfig

log = logging.getLogger("lightmel")

SUFFIXES = (".mp3", ".flac", ".ogg", ".opus", ".wav", ".aiff", ".aif", ".m4a")

Wave = NDArray[np.int16]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and all of it."""
_SEGMENT = np.dtype([("clip", "i4"), ("start", "i4"), ("other", "i4"), ("other_start", "i4"), ("gain", "f4")])


@dataclass(frozen=True)
class Track:
    """One file of the folder and the group (album, artist, session) that must not be split."""

    path: Path
    group: str


def find_tracks(folder: Path) -> list[Track]:
    """Return the sound files below `folder`, sorted; those of one folder are one group.

    Raises
    ------
    AudioError
        If there are none.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise AudioError(f"There is no sound below {folder}: it looks for {' '.join(SUFFIXES)}.")
    return [Track(p, str(p.parent.relative_to(folder))) for p in paths]


def split_groups(tracks: Sequence[Track], holdout: float, split: int = 0) -> tuple[list[Track], list[Track]]:
    """Return training and held-out tracks; no group is split, and the same groups give the same parts.

    The groups with the smallest hashes are held out, whatever their order; another number `split` hashes
    them anew. More groups move the border: a student is to be judged by the part that it was trained
    without.
    """
    groups = sorted({t.group for t in tracks}, key=lambda g: hashlib.sha256(f"{split}{g}".encode()).digest())
    held = set(groups[: max(1, round(holdout * len(groups)))])
    if len(held) == len(groups):
        raise ConfigError(
            f"All {len(groups)} groups would be held out: distillation needs at least two groups of tracks "
            f"(folders, or the column 'group' of a table)."
        )
    return [t for t in tracks if t.group not in held], [t for t in tracks if t.group in held]


def to_int16(wave: NDArray[np.float32]) -> Wave:
    """Return a wave of full scale 1 as 16-bit samples, clipped."""
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


@dataclass
class Bank:
    """Clips in memory, 16 bit: `clean`, and `coded` as MP3; plain clips first, then those at other speeds."""

    clean: list[Wave]
    coded: list[Wave]
    plain: int


def read_bank(
    tracks: Sequence[Track],
    config: DistillConfig,
    sr: int,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> Bank:
    """Decode the middle of every track, plain and at another speed, clean and as MP3.

    A file that cannot be read is logged and left out.

    Raises
    ------
    AudioError
        If that leaves none.
    """
    seeds = rng.integers(2**32, size=len(tracks))

    def versions(track: Track, seed: int) -> list[tuple[Wave, Wave]]:
        own = np.random.default_rng(seed)
        try:
            spare = max(0.0, audio.info(track.path).seconds - config.excerpt)
            wave = audio.excerpt(track.path, sr, spare / 2, config.excerpt)
        except AudioError as error:
            log.warning("left out: %s", error)
            return []
        if not len(wave):
            log.warning("left out: %s holds no sound", track.path)
            return []
        speed = float(np.exp(own.uniform(np.log(config.slowest), np.log(config.fastest))))
        clean = [to_int16(wave), to_int16(at_speed(wave, sr, speed))]
        return [(c, as_mp3(c, sr, own.choice(MP3_LEVELS))) for c in clean]

    with ThreadPoolExecutor(2) as pool:
        read = []
        for done, found in enumerate(pool.map(versions, tracks, seeds), 1):
            read += [found] if found else []
            if progress is not None:
                progress("reading", done, len(tracks))
    if not read:
        raise AudioError(f"None of the {len(tracks)} tracks could be read; the log says why, one by one.")
    pairs = [v[0] for v in read] + [v[1] for v in read]
    return Bank([c for c, _ in pairs], [m for _, m in pairs], len(read))


def draw_segments(
    bank: Bank, config: DistillConfig, length: int, rng: np.random.Generator
) -> NDArray[np.void]:
    """Return the segments to learn from: every `step` of each clip, and mixtures of two."""
    step = max(1, round(length * config.step / config.seconds))
    rows = [
        (clip, start, -1, 0, 0.0)
        for clip, wave in enumerate(bank.clean)
        for start in range(0, max(1, len(wave) - length + 1), step)
    ]
    for _ in range(round(config.mixtures * len(rows))):
        clip, other = rng.choice(len(bank.clean), 2, replace=len(bank.clean) < 2)
        starts = [int(rng.integers(max(1, len(bank.clean[i]) - length + 1))) for i in (clip, other)]
        rows.append((clip, starts[0], other, starts[1], float(10 ** (rng.uniform(-12, 3) / 20))))
    return np.array(rows, dtype=_SEGMENT)


def render(
    bank: Bank,
    segments: NDArray[np.void],
    length: int,
    coded: NDArray[np.bool_] | None = None,
    context: int = 0,
) -> torch.Tensor:
    """Return the waves of `segments`, from the MP3 versions where `coded`.

    With a longer `context`, so much of the clip around each segment of `length`, as far as the clip
    reaches: a teacher may need to hear more than the student does. What is shorter is repeated, as the
    tagger repeats it.
    """
    size = max(length, context)
    out = np.zeros((len(segments), size), dtype=np.float32)
    for i, (row, segment) in enumerate(zip(out, segments, strict=True)):
        waves = bank.coded if coded is not None and coded[i] else bank.clean
        first = waves[segment["clip"]]
        start = int(np.clip(segment["start"] - (size - length) // 2, 0, max(0, len(first) - size)))
        row += _cut(first, start, size)
        if segment["other"] >= 0:
            shifted = segment["other_start"] + start - segment["start"]
            row += segment["gain"] * _cut(waves[segment["other"]], shifted, size)
    return torch.from_numpy(out / 32768)


def _cut(wave: Wave, start: int, size: int) -> Wave:
    """Return `size` samples from `start`, repeating what is too short, silent outside of what is not."""
    if len(wave) < size:
        return np.resize(np.roll(wave, -start), size)
    if 0 <= start <= len(wave) - size:
        return wave[start : start + size]
    out = np.zeros(size, dtype=np.int16)
    low, high = max(start, 0), min(start + size, len(wave))
    out[low - start : high - start] = wave[low:high]
    return out
