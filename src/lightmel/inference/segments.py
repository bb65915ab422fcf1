"""Cutting sound that comes in blocks into segments of one length, with no more of it held than needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    base = 0  # where in the sound the buffer starts
    start = 0  # where the next segment starts
    done = 0  # where the last segment ended
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while start + length <= base + len(buffer):
            yield Segment(start, length, buffer[start - base : start - base + length])
            done, start = start + length, start + hop
        # The last `length` samples must stay, for a segment that ends with the sound.
        drop = min(start, base + max(len(buffer) - length, 0)) - base
        buffer, base = buffer[drop:], base + drop
    end = base + len(buffer)
    if done == 0 and end > 0:
        yield Segment(0, end, np.resize(buffer, length))
    elif end > done:
        yield Segment(end - length, length, buffer[-length:])
