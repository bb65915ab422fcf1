"""Mono blocks: the mean of channels, one signal at another rate, a part of a sequence of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from ._notes import Notes

Wave: TypeAlias = npt.NDArray[np.float32]

CELL = 16_384
"""Samples of a file for which it is decided together whether its channels cancel each other."""
_THINNED = 16
_CANCELLED = 5e-2
"""Of two channels as loud as each other, a correlation of -.95; AAC leaves some thousandths of what cancelled
before it."""


def mean_of_channels(channels: Wave) -> Wave:
    """Return the mean over the first axis: by additions, ten times quicker than mean() on stereo.

    What is not finite passes without a warning: the callers look for it and name its place.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if len(channels) == 2:  # twice as quick as what follows, where they are interleaved, and the same
            both: Wave = channels[0] + channels[1]
            both *= np.float32(0.5)
            return both
        mono: Wave = channels[0].copy()
        for channel in channels[1:]:
            mono += channel
        if len(channels) > 1:
            mono /= np.float32(len(channels))
    return mono


class Mixer:
    """Makes mono blocks of channels: their mean, and one channel where they cancel each other.

    Sound whose right channel is the left one turned over would be silence. Whether it is, is decided for each
    cell of the source's own samples, which lie where they lie wherever reading began, by the energy of every
    `_THINNED`-th sample, without any constant offset: if the mean has less than `_CANCELLED` of what it would
    have if the channels had nothing to do with each other.
    """

    def __init__(self) -> None:
        self.samples = 0

    def mix(self, channels: Wave) -> Wave:
        """Return the mono sound of ``(channels, samples)``, whole cells but for the last one."""
        mono = mean_of_channels(channels)
        if len(channels) < 2 or not len(mono):
            return mono
        whole = len(mono) // CELL * CELL
        if whole:
            self._mend(channels[:, :whole], mono[:whole])
        if whole < len(mono):
            self._mend(channels[:, whole:], mono[whole:])
        return mono

    def say(self, notes: Notes, label: str, sr: int | None) -> None:
        """Say where a channel was taken, and in how many seconds of the whole, where `sr` is given."""
        if self.samples:
            long = f" for {self.samples / sr:.1f} s" if sr else ""
            notes.add(
                label,
                f"its channels cancel each other{long}, so that their mean is nearly silent: one channel is "
                "taken there",
                kind="channels",
            )

    def _mend(self, channels: Wave, mono: Wave) -> None:
        """Put a channel in place of the mean in the cells where they cancel; or it is one shorter cell."""
        length = min(CELL, len(mono))
        # Side by side: they are looked at several times.
        thinned = np.ascontiguousarray(channels[:, ::_THINNED])
        thinned = thinned.reshape(len(channels), len(mono) // length, -1)
        energies = _energies(thinned)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            unrelated = energies.sum(axis=0) / len(channels) ** 2
            cancels = _energies(mean_of_channels(thinned)) < _CANCELLED * unrelated
        for cell in np.flatnonzero(cancels):
            own = slice(cell * length, (cell + 1) * length)
            best = int(np.argmax(energies[:, cell]))
            mono[own] = channels[best if energies[best, cell] > 2 * energies[0, cell] else 0, own]
            self.samples += length


def _energies(thinned: Wave) -> Wave:
    """Return the energy over the last axis, around its mean."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        around = thinned - thinned.mean(axis=-1, keepdims=True)
        flat = around.reshape(-1, around.shape[-1])
        energies: Wave = np.einsum("ij,ij->i", flat, flat).reshape(thinned.shape[:-1])
        return energies


def resampled(blocks: Iterable[Wave], sr_in: int, sr: int) -> Iterator[Wave]:
    """Resample a sequence of blocks as the one signal it is: round(samples * sr / sr_in) come out."""
    if sr_in == sr:
        yield from blocks
        return
    resampler = soxr.ResampleStream(sr_in, sr, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def part_of(blocks: Iterable[Wave], first: int, most: int | None) -> Iterator[Wave]:
    """Yield at most `most` samples, from sample `first` on, of a sequence of blocks; read no further."""
    position = 0
    for block in blocks:
        end = None if most is None else first + most - position
        wanted = block[max(0, first - position) : end]
        position += len(block)
        if len(wanted):
            yield wanted
        if most is not None and position >= first + most:
            return
