"""Front ends as convolutions and matrix products, for graphs that run without torch.

A Fourier transform as a matrix is slower than a fast one, but every runtime has matrix products; what they
have of transforms is slow or missing.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ConfigError
from . import kaldi_mel, kaldi_mel_numpy, mel, mel_numpy
from .base import FrontendConfig
from .kaldi_mel import KaldiMelConfig
from .mel import MelConfig


class MatrixFrontend(nn.Module):
    """Waves ``(batch, samples)`` of one length in, features ``(batch, rows, frames)`` out, in float32.

    Parameters
    ----------
    config
        What it computes: a mel-spectrogram of one of the kinds in this package.
    samples
        Of a wave.

    Raises
    ------
    ConfigError
        For a front end of another kind.
    """

    transform: Tensor
    bands: Tensor

    def __init__(self, config: FrontendConfig, samples: int) -> None:
        super().__init__()
        self.config, self.samples = config, samples
        self.frames = config.shape(samples)[1]
        if isinstance(config, MelConfig):
            window, bank = mel_numpy.mel_window(), mel_numpy.mel_filter_bank(config)
            self.hop, self.length = config.hop_length, mel.N_FFT
            behind = max(0, (self.frames - 1) * self.hop + mel.N_FFT // 2 - samples)
            self.pads = mel.N_FFT // 2, behind
            self.pad_mode = "constant" if config.pad_mode == "zeros" else "reflect"
        elif isinstance(config, KaldiMelConfig):
            window, bank = kaldi_mel_numpy.kaldi_window(), kaldi_mel_numpy.kaldi_filter_bank(config)
            self.hop, self.length = kaldi_mel.HOP, kaldi_mel.N_FFT
            self.pads, self.pad_mode = (kaldi_mel.N_FFT // 2,) * 2, "reflect"
        else:
            raise ConfigError(
                f"The front end {config.slug} is not known as a matrix product: export the graph that begins "
                "at its features."
            )
        self.skip = (self.length - len(window)) // 2
        filters = _windowed_transform(window, self.length, bank.shape[1])
        for name, values in (("transform", filters), ("bands", bank)):
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the features."""
        if isinstance(self.config, KaldiMelConfig):
            wave = wave[:, 1:] - kaldi_mel.PRE_EMPHASIS * wave[:, :-1]
        padded = F.pad(wave[:, None], self.pads, mode=self.pad_mode)[:, :, self.skip :]
        parts = F.conv1d(padded, self.transform[:, None], stride=self.hop)[:, :, : self.frames]
        real, imaginary = parts.chunk(2, dim=1)
        power = torch.matmul(self.bands, real * real + imaginary * imaginary)
        if isinstance(self.config, KaldiMelConfig):
            return ((power + kaldi_mel.FLOOR).log() + kaldi_mel.OFFSET) / kaldi_mel.SCALE
        assert isinstance(self.config, MelConfig)
        if self.config.log == "db":
            return power.clamp_min(1e-10).log() * (10 / math.log(10))
        return (10_000 * power + 1).log() * (1 / math.log(10))


def _windowed_transform(window: NDArray[np.float64], length: int, bins: int) -> NDArray[np.float64]:
    """Return the real and the imaginary rows of a discrete Fourier transform times a window."""
    turns = np.outer(np.arange(bins), np.arange(len(window))) / length
    angles = 2 * np.pi * (turns % 1)
    return np.concatenate([np.cos(angles), -np.sin(angles)]) * window
