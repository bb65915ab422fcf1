"""What the samples themselves say of a sound: how loud it is, and how far up its spectrum reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .segments import Waves

FULL_SCALE = 8.0
"""A peak above this is no overloaded recording: the samples are scaled for something else."""
NARROW = 4_800
"""Hz. Music whose spectrum ends below is a telephone's, whatever rate it has been brought to since."""
_NOTHING = 10**-7.8
"""Share of the power above a frequency that counts as none: -78 dB. Of 300 clips of music, speech and noise
none has less than -74 dB above 4.2 kHz; sound that was at 8 kHz has less than -83, in 16 bits too."""
_LENGTH = 1_024
"""Samples of each look at the spectrum, one a second."""
_QUIETEST = 1e-4
"""Peak below which there is no spectrum to look at."""
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
        self._rate = rate
        self._power: NDArray[np.float64] = np.zeros(_LENGTH // 2 + 1)

    def add(self, wave: Waves) -> None:
        """Take a block: all of it for the peak, and ``_LENGTH`` samples a second for the spectrum."""
        peak = max(float(wave.max()), -float(wave.min()))
        self.peak = max(self.peak, peak)
        if len(wave) < _LENGTH or not _QUIETEST <= peak < np.inf:
            return
        looks = np.lib.stride_tricks.sliding_window_view(wave, _LENGTH)[:: self._rate]
        with np.errstate(all="ignore"):
            spectrum = np.fft.rfft(looks * _WINDOW)
            self._power += (np.abs(spectrum) ** 2).sum(axis=0, dtype=np.float64)

    @property
    def reach(self) -> float:
        """Frequency above which there is nothing, in Hz: half the rate where something is everywhere."""
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
                f"samples up to {self.peak:.0f}, where full scale is 1: 16-bit samples are divided by 32768"
            )
        if source_rate < self._rate:
            notes.append(
                f"sampled at {source_rate} Hz: there is nothing above {source_rate // 2} Hz, and the model's "
                f"input reaches up to {self._rate // 2} Hz"
            )
        elif self.reach < min(NARROW, 0.9 * self._rate / 2):
            notes.append(
                f"nothing above {self.reach:.0f} Hz, as in a telephone's sound, though it is sampled at "
                f"{source_rate} Hz; the model's input reaches up to {self._rate // 2} Hz"
            )
        return notes
