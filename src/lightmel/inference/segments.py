"""Cutting sound that comes in blocks into segments of one length, with no more of it held than needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Waves: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Segment:
    """One segment as the network sees it, where it starts, and how much of it is sound (in samples)."""

    start: int
    sounding: int
    wave: Waves

    @cached_property
    def peak(self) -> float:
        """The largest sample, whatever its sign."""
        return max(float(self.wave.max()), -float(self.wave.min()))


def cut(blocks: Iterable[Waves], length: int, hop: int) -> Iterator[Segment]:
    """Yield segments of `length` samples every `hop`; the last one ends where the sound ends.

    Sound shorter than a segment is repeated until it fills one: to a network, silence after it would be music
    that stops, and scored as such.
    """
    buffer = np.zeros(0, dtype=np.float32)
    before = buffer  # as much of what is before the buffer as a segment that ends with the sound may need
    base = 0  # where in the sound the buffer starts
    start = 0  # where the next segment starts
    done = 0  # where the last segment ended
    for block in blocks:
        buffer = np.concatenate([buffer, block]) if len(buffer) else block
        while start + length <= base + len(buffer):
            yield Segment(start, length, buffer[start - base : start - base + length])
            done, start = start + length, start + hop
        used = min(start - base, len(buffer))
        before = _last(length, before, buffer[:used]).copy()  # and let go of the block
        buffer, base = buffer[used:], base + used
    end = base + len(buffer)
    if done == 0 and end > 0:
        yield Segment(0, end, np.resize(buffer, length))
    elif end > done:
        yield Segment(end - length, length, _last(length, before, buffer))


def together(batch: Sequence[Segment]) -> Waves:
    """Return the waves as ``(batch, length)``: without a copy where they lie behind one another in memory."""
    waves = [segment.wave for segment in batch]
    first, width = waves[0], waves[0].nbytes
    places = [wave.__array_interface__["data"][0] for wave in waves]
    if (
        first.base is not None
        and first.flags.writeable  # torch warns of arrays that are not
        and all(wave.base is first.base and wave.flags.c_contiguous for wave in waves)
        and places == [places[0] + i * width for i in range(len(waves))]
    ):
        return np.lib.stride_tricks.as_strided(first, (len(waves), len(first)), (width, first.itemsize))
    return np.stack(waves)


def _last(length: int, before: Waves, behind: Waves) -> Waves:
    """Return the last `length` samples of both, all of them where they are fewer."""
    return behind[-length:] if len(behind) >= length else np.concatenate([before, behind])[-length:]
