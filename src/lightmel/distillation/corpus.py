"""The corpus of a distillation: clips in memory, and segments of them and mixtures of two to train on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .. import audio
from .._each import attempt
from ..datasets import Track, hold_out
from ..errors import AudioError, LightmelError
from .config import DistillConfig

log = logging.getLogger("lightmel")

Wave = NDArray[np.int16]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and all of it."""
_SEGMENT = np.dtype(
    [
        ("clip", "i4"),
        ("start", "i4"),
        ("other", "i4"),
        ("other_start", "i4"),
        ("gain", "f4"),
        ("wave", "i4"),  # the clip or mixture that it is a part of
    ]
)


def hold_out_tracks(
    tracks: Sequence[Track], holdout: float, split_seed: int = 0
) -> tuple[list[Track], list[Track]]:
    """Return training and held-out tracks: groups are held out as by `lightmel.datasets.hold_out`.

    Raises
    ------
    DataError
        If all groups would be held out.
    """
    held = hold_out((t.group for t in tracks), holdout, split_seed)
    return [t for t in tracks if t.group not in held], [t for t in tracks if t.group in held]


def to_int16(wave: NDArray[np.float32]) -> Wave:
    """Return a wave of full scale 1 as 16-bit samples, clipped."""
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


@dataclass
class Corpus:
    """Clips in memory, 16 bit: `clean`, and `coded` as MP3; plain clips first, then those at other speeds."""

    clean: list[Wave]
    coded: list[Wave]
    plain: int


def read_corpus(
    tracks: Sequence[Track],
    config: DistillConfig,
    sr: int,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> Corpus:
    """Decode the middle of every track, plain and at other speeds, clean and as MP3.

    A file that cannot be read is logged and left out.

    Raises
    ------
    AudioError
        If that leaves none.
    """
    seeds = rng.integers(2**32, size=len(tracks))

    def versions(track: Track, seed: int) -> list[tuple[Wave, Wave]]:
        own = np.random.default_rng(seed)
        wave = audio.middle(track.path, sr, config.excerpt_seconds)
        speeds = np.exp(own.uniform(np.log(config.slowest), np.log(config.fastest), config.speeds))
        clean = [to_int16(wave), *(to_int16(audio.at_speed(wave, sr, float(speed))) for speed in speeds)]
        return [(c, audio.as_mp3(c, sr, own.choice(audio.MP3_LEVELS))) for c in clean]

    def tried(track: Track, seed: int) -> list[tuple[Wave, Wave]] | LightmelError:
        return attempt(track.path, versions, track, seed)

    with ThreadPoolExecutor(2) as pool:
        read = []
        for done, found in enumerate(pool.map(tried, tracks, seeds), 1):
            if isinstance(found, LightmelError):
                log.warning("left out: %s", found)
            else:
                read.append(found)
            if progress is not None:
                progress("reading", done, len(tracks))
    if not read:
        raise AudioError(f"None of the {len(tracks)} tracks could be read; the log says why, one by one.")
    pairs = [pair for version in zip(*read, strict=True) for pair in version]
    return Corpus([c for c, _ in pairs], [m for _, m in pairs], len(read))


def step_samples(config: DistillConfig, length: int) -> int:
    """Return the samples from one window to the next, where a window has `length`."""
    return max(1, round(length * config.step_seconds / config.window))


def draw_windows(
    corpus: Corpus, config: DistillConfig, length: int, rng: np.random.Generator
) -> NDArray[np.void]:
    """Return what the teachers score: `length` samples every step, of each clip and of mixtures of two.

    The windows of one clip or mixture follow each other. A mixture begins at random in both clips, and ends
    where the first of them ends.
    """
    step = step_samples(config, length)

    def starts(samples: int) -> range:
        return range(0, max(1, samples - length + 1), step)

    rows = [
        (clip, start, -1, 0, 0.0, clip)
        for clip, wave in enumerate(corpus.clean)
        for start in starts(len(wave))
    ]
    plain, wave = len(rows), len(corpus.clean)
    while len(rows) < plain + round(config.mixtures * plain):
        clip, other = rng.choice(len(corpus.clean), 2, replace=len(corpus.clean) < 2)
        lengths = [len(corpus.clean[i]) for i in (clip, other)]
        # Not later than the middle, so that windows of most of them follow each other.
        first, second = (int(rng.integers(max(1, (n - length) // 2 + 1))) for n in lengths)
        gain = float(10 ** (rng.uniform(-12, 3) / 20))
        samples = min(lengths[0] - first, lengths[1] - second)
        rows += [(clip, first + s, other, second + s, gain, wave) for s in starts(samples)]
        wave += 1
    return np.array(rows[: plain + round(config.mixtures * plain)], dtype=_SEGMENT)


def render(
    corpus: Corpus,
    segments: NDArray[np.void],
    length: int,
    coded: NDArray[np.bool_] | None = None,
    context: int = 0,
) -> torch.Tensor:
    """Return the waves of `segments`, from the MP3 versions where `coded`.

    With a longer `context`, a wave is so much of the clip around its segment of `length`, as far as the clip
    reaches, for teachers whose segments are longer than the student's. A clip that is shorter is repeated, as
    a tagger repeats it.
    """
    size = max(length, context)
    out = np.zeros((len(segments), size), dtype=np.float32)
    for i, (row, segment) in enumerate(zip(out, segments, strict=True)):
        waves = corpus.coded if coded is not None and coded[i] else corpus.clean
        first = waves[segment["clip"]]
        start = int(np.clip(segment["start"] - (size - length) // 2, 0, max(0, len(first) - size)))
        row += _cut(first, start, size)
        if segment["other"] >= 0:
            shifted = segment["other_start"] + start - segment["start"]
            row += segment["gain"] * _cut(waves[segment["other"]], shifted, size)
    return torch.from_numpy(out / 32768)


def _cut(wave: Wave, start: int, size: int) -> Wave:
    """Return `size` samples from `start`: a shorter wave is repeated, a longer one has silence around it."""
    if len(wave) < size:
        return np.resize(np.roll(wave, -start), size)
    if 0 <= start <= len(wave) - size:
        return wave[start : start + size]
    out = np.zeros(size, dtype=np.int16)
    low, high = max(start, 0), min(start + size, len(wave))
    out[low - start : high - start] = wave[low:high]
    return out
