"""The log-mel frames of a `MelConfig` without torch; window and filter bank are `MelFrontend`'s, too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .base import check_samples
from .mel import N_FFT, MelConfig
from .spectra import Bands, Waves, compress_, hann, spectra

_HALF = N_FFT // 2


class NumpyMel:
    """Waves ``(batch, samples)`` in, log-mel frames ``(batch, n_mels, n_frames)`` out, both float32.

    They are the frames of `lightmel.frontends.MelFrontend`, up to rounding in float32, and each sound's are
    the same bytes in any batch. It holds no state between calls, so that threads may share it.

    Parameters
    ----------
    config
        What it computes.
    """

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self._bands = Bands(mel_filter_bank(config))
        self._window = mel_window().astype(np.float32)

    def __call__(self, waves: Waves) -> Waves:
        """Return the frames.

        Raises
        ------
        ShapeError
            If there are no samples (for ``pad_mode="reflect"``: fewer than 257).
        """
        config, samples = self.config, waves.shape[-1]
        check_length(config, samples)
        n_frames = config.n_frames(samples)
        stop = (n_frames - 1) * config.hop_length + _HALF  # of the last frame, in samples of the sound
        behind = max(0, stop - samples)
        out = np.empty((len(waves), config.n_mels, n_frames), np.float32)
        with np.errstate(all="ignore"):  # what is not finite passes, as in torch
            if config.pad_mode == "zeros":
                padded = np.zeros((len(waves), _HALF + samples + behind), np.float32)
                padded[:, _HALF : _HALF + samples] = waves
            else:
                padded = np.pad(waves, ((0, 0), (_HALF, behind)), mode="reflect")
            spectra(padded, self._window, config.hop_length, N_FFT, self._bands, out)
            compress_(out, config.log)
        return out


def mel_filter_bank(config: MelConfig) -> NDArray[np.float64]:
    """Weights ``(n_mels, 257)`` of the spectrum's bins in each mel band.

    Triangles, linear in Hz, between the corners `MelConfig.band_edges`; ``mel_norm="slaney"`` divides
    each by half its width in Hz, so that all have unit area (Slaney, Auditory Toolbox, 1998).
    """
    edges = np.array(config.band_edges())[:, None]
    bins = np.arange(N_FFT // 2 + 1) * (config.sr / N_FFT)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    weights: NDArray[np.float64] = np.maximum(
        np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)), 0
    )
    return weights * 2 / (high - low) if config.mel_norm == "slaney" else weights


def mel_window() -> NDArray[np.float64]:
    """Return the periodic Hann window of a frame."""
    return hann(N_FFT, periodic=True)


def check_length(config: MelConfig, samples: int) -> None:
    """Raise `ShapeError` for too few samples."""
    check_samples(samples)
    if config.pad_mode == "reflect" and samples <= _HALF:
        raise ShapeError(
            f'pad_mode="reflect" mirrors {_HALF} samples and so needs at least {_HALF + 1}, not '
            f'{samples}: pad the wave with zeros, or use pad_mode="zeros".'
        )
