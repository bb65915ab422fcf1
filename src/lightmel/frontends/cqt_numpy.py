"""The constant-Q spectrum of a `CqtConfig` without torch; its filters are `CqtFrontend`'s, too.

As librosa does it (McFee et al., "librosa: Audio and music signal analysis in Python", SciPy 2015): the
highest octave from the sound as it is, the next one from the sound at half the rate, by the same short
filters, and so on. `half_filter` is that of the resampler that librosa takes, soxr's HQ: where sound begins
or ends in a step, its transition shows in the bins, to .01 of the largest.

Two things differ. librosa leaves out what is small in its filters' spectra (``sparsity=0.01``, up to .02 of
the largest magnitude); here all is kept, as with ``sparsity=0``. And librosa halves the rate as often as its
hop can be halved; here it is as often as that of factor 1, eight times, so that frames are the same in every
hop. It takes more than nine octaves to see that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import check_samples
from .cqt import CqtConfig
from .mel import BASE_HOP
from .spectra import ONE_THREAD, Waves, compress_

Span = tuple[int, int]
"""From one sample up to, not with, another."""

REACH = 195
"""Samples before and behind a sample of half the rate that it takes."""
OUTPUTS = 48
"""Samples of half the rate in one row of a matrix product: with more of them there are more zeros in it."""
CHUNK = 1 << 18
"""Samples that are computed at a time, whatever the length of the sound."""

_PASS, _DECIBEL = 0.91374, 127.63
"""Where the pass band of `half_filter` ends, as a part of half the new rate, and its attenuation.

Fitted to soxr's answer to an impulse, which it gives to 3e-7 of its middle."""
_LAST_LEVEL = BASE_HOP.bit_length() - 1
"""As often can the hop be halved."""


@dataclass(frozen=True)
class Octave:
    """The bins that are computed at one rate.

    Parameters
    ----------
    level
        How often the rate is halved for it.
    first, stop
        The bins.
    filters
        ``(2 * bins, length)``, float64: the real parts, and then the imaginary ones, times what the
        magnitudes are scaled by. The middle of a frame is at ``length // 2``.
    """

    level: int
    first: int
    stop: int
    filters: NDArray[np.float64]

    @property
    def half(self) -> int:
        """Samples of its rate before the middle of a frame, and from there on."""
        length: int = self.filters.shape[1]
        return length // 2


def octaves(config: CqtConfig) -> tuple[Octave, ...]:
    """Return the octaves, the highest first."""
    per, n_bins = config.bins_per_octave, config.n_bins
    count = -(-n_bins // per)
    # Sound far above the highest bin is left out first, as far as the lowest octave's hop remains whole.
    unused = math.ceil(math.log2(config.sr / 2 / config.cutoff)) - 2
    begin = max(0, min(unused, _LAST_LEVEL - count + 1))
    found = []
    for i in range(count):
        level = min(begin + i, _LAST_LEVEL)
        first, stop = max(0, n_bins - per * (i + 1)), n_bins - per * i
        found.append(Octave(level, first, stop, _filters(config, level, first, stop)))
    return tuple(found)


def _filters(config: CqtConfig, level: int, first: int, stop: int) -> NDArray[np.float64]:
    rate = config.sr / 2**level
    frequencies = config.frequencies()[first:stop]
    size = 2 ** math.ceil(math.log2(config.quality * rate / frequencies[0]))
    rows = np.empty((len(frequencies), size), np.complex128)
    for row, frequency in zip(rows, frequencies, strict=True):
        length = config.quality * rate / frequency
        places = np.arange(math.floor(-length / 2), math.floor(length / 2))
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(places)) / len(places))
        wavelet = np.zeros(size, np.complex128)
        begin = (size - len(places)) // 2
        wavelet[begin : begin + len(places)] = (
            window / window.sum() * np.exp(2j * np.pi * places * frequency / rate)
        )
        # Without its negative frequencies, which a filter of few samples has, too.
        spectrum = np.fft.fft(wavelet)
        spectrum[size // 2 + 1 :] = 0
        row[:] = np.fft.fft(spectrum) / size
        row *= math.sqrt(config.quality * config.sr / frequency)
    return np.concatenate([rows.real, rows.imag])


def half_filter() -> NDArray[np.float64]:
    """Return the low-pass before half the rate, ``(2 * REACH + 1,)``: a sinc in a Kaiser window."""
    places = np.arange(-REACH, REACH + 1)
    cutoff = (1 + _PASS) / 2
    window = np.kaiser(len(places), 0.1102 * (_DECIBEL - 8.7))
    low_pass: NDArray[np.float64] = np.sinc(cutoff / 2 * places) * window
    low_pass /= low_pass.sum()
    return low_pass


def half_matrix() -> NDArray[np.float64]:
    """Return `half_filter` as a matrix, ``(2 * (OUTPUTS - 1) + 2 * REACH + 1, OUTPUTS)``.

    Column k is the filter, 2k samples further on.
    """
    low_pass = half_filter()
    matrix = np.zeros((2 * (OUTPUTS - 1) + len(low_pass), OUTPUTS))
    for k in range(OUTPUTS):
        matrix[2 * k : 2 * k + len(low_pass), k] = low_pass
    return matrix


def spans(parts: Sequence[Octave], hop: int, first: int, stop: int) -> list[Span]:
    """Return the samples of each level that the frames `first` to `stop` take."""
    found: list[Span] = []
    for level in range(max(part.level for part in parts), -1, -1):
        step = hop >> level
        wanted = [
            (first * step - part.half, (stop - 1) * step + part.half) for part in parts if part.level == level
        ]
        if found:
            begin, end = found[-1]
            wanted.append((2 * begin - REACH, 2 * (end - 1) + REACH + 1))
        lows, highs = zip(*wanted, strict=True)
        found.append((min(lows), max(highs)))
    return found[::-1]


class NumpyCqt:
    """Waves ``(batch, samples)`` in, constant-Q frames ``(batch, n_bins, n_frames)`` out, both float32.

    They are the frames of `lightmel.frontends.CqtFrontend`, up to rounding in float32, and each sound's are
    the same bytes in any batch. It holds no state between calls, so that threads may share it.

    Parameters
    ----------
    config
        What it computes.
    """

    def __init__(self, config: CqtConfig) -> None:
        self.config = config
        self._octaves = octaves(config)
        self._filters = [part.filters.T.astype(np.float32) for part in self._octaves]
        self._half = half_matrix().astype(np.float32)

    def __call__(self, waves: Waves) -> Waves:
        """Return the frames.

        Raises
        ------
        ShapeError
            If there are no samples.
        """
        check_samples(waves.shape[-1])
        config = self.config
        out = np.empty((len(waves), *config.shape(waves.shape[-1])), np.float32)
        step = max(1, CHUNK // config.hop_length)
        with np.errstate(all="ignore"):  # what is not finite passes, as in torch
            for wave, frames in zip(waves, out, strict=True):
                for first in range(0, out.shape[2], step):
                    stop = min(first + step, out.shape[2])
                    self._power(wave, first, stop, frames[:, first:stop])
            compress_(out, config.log)
        return out

    def _power(self, wave: Waves, first: int, stop: int, out: Waves) -> None:
        """Write the squared magnitudes of the frames `first` to `stop` of one sound to `out`."""
        hop, samples = self.config.hop_length, len(wave)
        sound, level = wave, 0
        begin, end = 0, samples
        for level, span in enumerate(spans(self._octaves, hop, first, stop)):
            if level:
                samples = (samples + 1) // 2
                kept = max(span[0], 0), min(span[1], samples)
                sound, (begin, end) = self._halved(sound, begin, kept), kept
            sound, begin, end = _padded(sound, begin, end, span), *span
            for part, filters in zip(self._octaves, self._filters, strict=True):
                if part.level == level:
                    step = hop >> level
                    at = first * step - part.half - begin
                    products = np.square(_products(sound[at:], filters, step, stop - first))
                    bins = part.stop - part.first
                    np.add(products.T[:bins], products.T[bins:], out=out[part.first : part.stop])

    def _halved(self, sound: Waves, begin: int, wanted: Span) -> Waves:
        """Return samples of half the rate, of a sound of which those from `begin` on are at hand."""
        count = wanted[1] - wanted[0]
        if count <= 0:
            return sound[:0]
        rows = -(-count // OUTPUTS)
        start = 2 * wanted[0] - REACH
        stop = start + 2 * OUTPUTS * (rows - 1) + len(self._half)
        piece = _padded(sound, begin, begin + len(sound), (start, stop))
        return _products(piece, self._half, 2 * OUTPUTS, rows).reshape(-1)[:count]


def _products(sound: Waves, matrix: Waves, step: int, count: int) -> Waves:
    """Return windows of a sound, `step` samples apart, times a matrix: ``(count, columns)``."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, len(matrix))[::step]
    out = np.empty((count, matrix.shape[1]), np.float32)
    rows = max(1, ONE_THREAD // matrix.size)
    for begin in range(0, count, rows):
        end = min(begin + rows, count)
        # Overlapping rows as they are would be multiplied one number after the other.
        np.matmul(np.ascontiguousarray(windows[begin:end]), matrix, out=out[begin:end])
    return out


def _padded(sound: Waves, begin: int, end: int, span: Span) -> Waves:
    """Return what lies in `span` of a sound whose samples `begin` to `end` are at hand; zeros elsewhere."""
    low, high = max(begin, span[0]), min(end, span[1])
    if (low, high) == span:
        return sound[low - begin : high - begin]
    padded = np.zeros(span[1] - span[0], np.float32)
    if low < high:
        padded[low - span[0] : high - span[0]] = sound[low - begin : high - begin]
    return padded
