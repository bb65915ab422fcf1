"""The frames of a `KaldiMelConfig` without torch; window and filter bank are `KaldiMelFrontend`'s, too."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .kaldi_mel import (
    FLOOR,
    HOP,
    N_FFT,
    OFFSET,
    PRE_EMPHASIS,
    SCALE,
    SR,
    TOP,
    WINDOW,
    KaldiMelConfig,
    to_mel,
)
from .spectra import Bands, Waves, hann, spectra


class NumpyKaldiMel:
    """Waves ``(batch, samples)`` at 32 kHz in, mel frames ``(batch, n_mels, n_frames)`` out, both float32.

    They are the frames of `lightmel.frontends.KaldiMelFrontend`, up to rounding in float32.

    Parameters
    ----------
    config
        Of how many bands.
    """

    def __init__(self, config: KaldiMelConfig) -> None:
        self.config = config
        self._bands = Bands(kaldi_filter_bank(config))
        self._window = kaldi_window().astype(np.float32)

    def __call__(self, waves: Waves) -> Waves:
        """Return the frames.

        Raises
        ------
        ShapeError
            If there are no more samples than the mirrored ends need, 514.
        """
        samples = waves.shape[-1]
        check_length(samples)
        out = np.empty((len(waves), *self.config.shape(samples)), np.float32)
        with np.errstate(all="ignore"):  # what is not finite passes, as in torch
            emphasised = waves[:, 1:] - np.float32(PRE_EMPHASIS) * waves[:, :-1]
            padded = np.pad(emphasised, ((0, 0), (N_FFT // 2, N_FFT // 2)), mode="reflect")
            # The window covers the middle of the transform; zeros around it change no power.
            sound = padded[:, (N_FFT - WINDOW) // 2 :]
            spectra(sound, self._window, HOP, N_FFT, self._bands, out)
            out += np.float32(FLOOR)
            np.log(out, out=out)
            out += np.float32(OFFSET)
            out /= np.float32(SCALE)
        return out


def kaldi_filter_bank(config: KaldiMelConfig) -> NDArray[np.float64]:
    """Weights ``(n_mels, bins)`` of the spectrum's bins below `TOP` in each mel band."""
    bins = math.ceil(TOP * N_FFT / SR)
    mels = np.array([to_mel(k * SR / N_FFT) for k in range(bins)])
    step = to_mel(TOP) / (config.n_mels + 1)
    place = mels / step - np.arange(config.n_mels)[:, None]  # 0 to 2 within a band
    return np.maximum(np.minimum(place, 2 - place), 0)


def kaldi_window() -> NDArray[np.float64]:
    """Return the Hann window of a frame, which is not periodic."""
    return hann(WINDOW, periodic=False)


def check_length(samples: int) -> None:
    """Raise `ShapeError` for too few samples."""
    least = N_FFT // 2 + 2
    if samples < least:
        raise ShapeError(
            f"This front end mirrors {N_FFT // 2} samples and so needs at least {least}, not {samples}: pad "
            "the wave with zeros."
        )
