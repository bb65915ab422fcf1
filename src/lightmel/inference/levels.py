"""What the samples themselves say of a sound: how loud it is, where, and how far up its spectrum reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .parts import QUIETEST
from .segments import Segment, Waves

FULL_SCALE = 8.0
"""A peak above this is no overloaded recording: the samples are scaled for something else."""
QUIET = 0.01
"""A peak below this, -40 dB, changes scores by a tenth and more: networks learnt from recordings in use."""
OFFSET = 0.05
"""A mean of the samples above this changes scores by a tenth."""
NARROW = (2_000, 4_800)
"""Hz. Where the spectrum of a telephone's sound ends, whatever rate it has been brought to since; what ends
below is a low tone or a hum, which may be all there is."""
_NOTHING = 10**-7.8
"""Share of the power above a frequency that counts as none: -78 dB. Of 300 clips of music, speech and noise
none has less than -74 dB above 4.2 kHz; sound that was at 8 kHz has less than -83, in 16 bits too."""
_LENGTH = 1_024
"""Samples of each look at the spectrum, one a second."""
_TOGETHER = 16
"""Looks that are kept, to be transformed at once."""
_MOST = 1_000
"""Looks at one block, which may be hours where an array was given."""
_WINDOW = np.hanning(_LENGTH).astype(np.float32)


class Levels:
    """Takes the sound block by block.

    Parameters
    ----------
    rate
        Of what is taken, in Hz.

    Attributes
    ----------
    peak
        The largest sample so far, whatever its sign.
    """

    def __init__(self, rate: int) -> None:
        self.peak = 0.0
        self._sum, self._count = 0.0, 0
        self._rate = rate
        self._looks: list[Waves] = []  # at the spectrum, kept until they are many
        self._held = 0
        self._power: NDArray[np.float64] = np.zeros(_LENGTH // 2 + 1)

    def add(self, wave: Waves) -> None:
        """Take a block: all of it for the peak, and ``_LENGTH`` samples a second for the spectrum."""
        peak = max(float(wave.max()), -float(wave.min()))
        self.peak = max(self.peak, peak)
        self._sum += float(wave.sum(dtype=np.float64))
        self._count += len(wave)
        if len(wave) < _LENGTH or not QUIETEST <= peak < np.inf:
            return
        step = max(self._rate, len(wave) // _MOST)
        looks = np.lib.stride_tricks.sliding_window_view(wave, _LENGTH)[::step] * _WINDOW
        self._looks.append(looks)
        self._held += len(looks)
        if self._held >= _TOGETHER:
            self._look()

    def _look(self) -> None:
        """Add the spectra of what is kept."""
        if not self._looks:
            return
        with np.errstate(all="ignore"):
            spectrum = np.fft.rfft(np.concatenate(self._looks))
            self._power += (spectrum.real**2 + spectrum.imag**2).sum(axis=0, dtype=np.float64)
        self._looks, self._held = [], 0

    @property
    def reach(self) -> float:
        """Frequency above which there is nothing, in Hz: half the rate where something is everywhere."""
        self._look()
        above = np.cumsum(self._power[::-1])[::-1]
        if not 0 < above[0] < np.inf:
            return self._rate / 2
        nothing = above < above[0] * _NOTHING
        return float(np.argmax(nothing)) * self._rate / _LENGTH if nothing.any() else self._rate / 2

    def notes(self, source_rate: int) -> list[str]:
        """Return what a reader of the scores should know; `source_rate` is the source's own, in Hz."""
        notes = []
        if self.peak > FULL_SCALE:
            notes.append(
                f"samples up to {self.peak:.0f}, where full scale is 1, and they were taken as they are: "
                "divide them by their full scale (32768 for numbers of 16 bits) and tag again"
            )
        if QUIETEST <= self.peak < QUIET:
            notes.append(
                f"very quiet: no sample is above {self.peak:.1g} of full scale; louder, it gets other scores"
            )
        offset = self._sum / max(self._count, 1)
        if OFFSET < abs(offset) < self.peak <= FULL_SCALE:
            notes.append(
                f"its samples lie {abs(offset):.2f} {'above' if offset > 0 else 'below'} zero on average: "
                "without that offset it gets other scores"
            )
        if source_rate < self._rate:
            notes.append(
                f"sampled at {source_rate} Hz: there is nothing above {source_rate // 2} Hz, and the model's "
                f"input reaches up to {self._rate // 2} Hz"
            )
        elif NARROW[0] < self.reach < min(NARROW[1], 0.9 * self._rate / 2):
            notes.append(
                f"nothing above {self.reach:.0f} Hz, as in a telephone's sound, though it is sampled at "
                f"{source_rate} Hz; the model's input reaches up to {self._rate // 2} Hz"
            )
        return notes


class SoundingMean:
    """The mean of something over the segments that hold sound; over all of them where none does.

    A network has scores for silence too, and they say nothing of the music around it.

    Parameters
    ----------
    width
        Numbers that a segment has.
    """

    def __init__(self, width: int) -> None:
        self._sounding, self._all = np.zeros(width), np.zeros(width)
        self._loud = self._count = 0

    def add(self, segments: Sequence[Segment], values: NDArray[np.floating[Any]]) -> None:
        """Take ``(segments, width)``."""
        loud = np.array([segment.peak >= QUIETEST for segment in segments])
        self._all += values.sum(axis=0, dtype=np.float64)
        self._sounding += values[loud].sum(axis=0, dtype=np.float64)
        self._loud += int(loud.sum())
        self._count += len(segments)

    @property
    def silent(self) -> float:
        """Share of the segments that were left out."""
        return 1 - self._loud / self._count if self._loud else 0.0

    def value(self) -> NDArray[np.float64]:
        """Return the mean ``(width,)``."""
        return self._sounding / self._loud if self._loud else self._all / self._count
