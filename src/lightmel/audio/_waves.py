"""Mono blocks: the mean of channels, one signal at another rate, a part of a sequence of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

Wave: TypeAlias = npt.NDArray[np.float32]


def mean_of_channels(channels: Wave) -> Wave:
    """Return the mean over the first axis: by additions, ten times quicker than mean() on stereo.

    What is not finite passes without a warning: the callers look for it and name its place.
    """
    mono: Wave = channels[0].copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for channel in channels[1:]:
            mono += channel
        if len(channels) > 1:
            mono /= np.float32(len(channels))
    return mono


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
