"""Power spectra of frames through bands, in NumPy and SciPy: what front ends without torch have in common."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Waves = NDArray[np.float32]

_BLOCKS = 4  # a fifth saves nothing more
_FRAMES = 512  # 1 MB of float32 stays in a second-level cache
ONE_THREAD = 1 << 18
"""Multiplications of a matrix product up to which OpenBLAS takes one thread: whoever runs several files at a
time has other work for the rest, and a second thread beside a busy neighbour takes longer than none."""


def compress_(power: NDArray[np.float32], log: Literal["log", "db"]) -> None:
    """Take the logarithm of power x in place: ``log10(1 + 10000 x)`` or ``10 log10(max(x, 1e-10))``."""
    if log == "db":
        np.maximum(power, np.float32(1e-10), out=power)
        np.log(power, out=power)  # log10 takes longer
        power *= np.float32(10 / math.log(10))
    else:
        power *= np.float32(10_000)
        power += np.float32(1)
        np.log10(power, out=power)


class Bands:
    """A filter bank whose bands take only the bins that they cover, a few bands at a time.

    Parameters
    ----------
    bank
        ``(bands, bins)``, float64.
    """

    def __init__(self, bank: NDArray[np.float64]) -> None:
        self.count = len(bank)
        self._blocks: list[tuple[int, int, int, int, NDArray[np.float32]]] = []
        self._frames = _FRAMES
        row = 0
        for block in np.array_split(bank, min(_BLOCKS, len(bank))):
            used = np.flatnonzero(block.any(axis=0))
            low, high = int(used[0]), int(used[-1]) + 1
            # Real and imaginary parts lie side by side: each weight twice adds up their squares.
            weights = np.repeat(block[:, low:high], 2, axis=1).astype(np.float32)
            self._blocks.append((row, row + len(block), 2 * low, 2 * high, weights))
            self._frames = min(self._frames, max(1, ONE_THREAD // weights.size))
            row += len(block)

    def __call__(self, frames: Waves, out: Waves) -> None:
        """Write the power ``(rows, bands, n)`` of windowed frames ``(rows, n, length)`` to `out`."""
        power = scipy.fft.rfft(frames).view(np.float32)
        np.multiply(power, power, out=power)
        for begin in range(0, frames.shape[1], self._frames):
            end = min(begin + self._frames, frames.shape[1])
            for first, stop, low, high, weights in self._blocks:
                columns = power[:, begin:end, low:high].transpose(0, 2, 1)
                np.matmul(weights, columns, out=out[:, first:stop, begin:end])


def spectra(sound: Waves, window: Waves, hop: int, length: int, bands: Bands, out: Waves) -> None:
    """Write the power in each band, ``(rows, bands, frames)``, to `out`, a cache full of frames at a time.

    Parameters
    ----------
    sound
        ``(rows, samples)``, padded: frame i is what begins at ``i * hop``.
    window
        Of a frame; a transform is `length` long, with zeros behind the window.
    """
    count = out.shape[2]
    every = np.lib.stride_tricks.sliding_window_view(sound, len(window), axis=1)[:, ::hop]
    # Rows together only as far as all of their frames fit: each is then computed as it would be alone.
    rows = max(1, _FRAMES // count)
    buffer = np.zeros((min(rows, len(sound)), min(_FRAMES, count), length), np.float32)
    for row in range(0, len(sound), rows):
        some = every[row : row + rows]
        for begin in range(0, count, _FRAMES):
            end = min(begin + _FRAMES, count)
            frames = buffer[: len(some), : end - begin]
            np.multiply(some[:, begin:end], window, out=frames[..., : len(window)])
            bands(frames, out[row : row + rows, :, begin:end])


def hann(length: int, *, periodic: bool) -> NDArray[np.float64]:
    """Return a Hann window, ``.5 - .5 cos(2 pi n / N)`` with N one less where it is not periodic."""
    turns = np.arange(length) / (length if periodic else length - 1)
    return 0.5 - 0.5 * np.cos(2 * np.pi * turns)
