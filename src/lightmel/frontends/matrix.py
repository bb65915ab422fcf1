"""Front ends as convolutions and matrix products, for graphs that run without torch.

A Fourier transform as a matrix is slower than a fast one, but every runtime has matrix products; what they
have of transforms is slow or missing.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ConfigError
from . import cqt_numpy, kaldi_mel, kaldi_mel_numpy, mel, mel_numpy
from .base import FrontendConfig
from .cqt import CqtConfig
from .kaldi_mel import KaldiMelConfig
from .mel import Log, MelConfig
from .waveform import WaveformConfig


class MatrixFrontend(nn.Module):
    """Waves ``(batch, samples)`` of one length in, features ``(batch, rows, frames)`` out, in float32.

    Parameters
    ----------
    config
        What it computes: a front end of one of the kinds in this package.
    samples
        Of a wave.

    Raises
    ------
    ConfigError
        For a front end of another kind.
    """

    def __init__(self, config: FrontendConfig, samples: int) -> None:
        super().__init__()
        self.config, self.samples = config, samples
        self.body: nn.Module
        if isinstance(config, (MelConfig, KaldiMelConfig)):
            self.body = _Mel(config, samples)
        elif isinstance(config, CqtConfig):
            self.body = _Cqt(config, samples)
        elif isinstance(config, WaveformConfig):
            self.body = nn.Unflatten(1, (1, samples))
        else:
            raise ConfigError(
                f"The front end {config.slug} is not known as a matrix product: export the graph that begins "
                "at its features."
            )

    def forward(self, wave: Tensor) -> Tensor:
        """Return the features."""
        features: Tensor = self.body(wave)
        return features


class _Mel(nn.Module):
    """A mel-spectrogram, by a transform as a matrix and the bands as another."""

    transform: Tensor
    bands: Tensor

    def __init__(self, config: MelConfig | KaldiMelConfig, samples: int) -> None:
        super().__init__()
        self.config = config
        self.frames = config.shape(samples)[1]
        if isinstance(config, MelConfig):
            window, bank = mel_numpy.mel_window(), mel_numpy.mel_filter_bank(config)
            self.hop, self.length = config.hop_length, mel.N_FFT
            behind = max(0, (self.frames - 1) * self.hop + mel.N_FFT // 2 - samples)
            self.pads = mel.N_FFT // 2, behind
            self.pad_mode = "constant" if config.pad_mode == "zeros" else "reflect"
        else:
            window, bank = kaldi_mel_numpy.kaldi_window(), kaldi_mel_numpy.kaldi_filter_bank(config)
            self.hop, self.length = kaldi_mel.HOP, kaldi_mel.N_FFT
            self.pads, self.pad_mode = (kaldi_mel.N_FFT // 2,) * 2, "reflect"
        self.skip = (self.length - len(window)) // 2
        _keep(self, transform=_windowed_transform(window, self.length, bank.shape[1]), bands=bank)

    def forward(self, wave: Tensor) -> Tensor:
        if isinstance(self.config, KaldiMelConfig):
            wave = wave[:, 1:] - kaldi_mel.PRE_EMPHASIS * wave[:, :-1]
        padded = F.pad(wave[:, None], self.pads, mode=self.pad_mode)[:, :, self.skip :]
        parts = F.conv1d(padded, self.transform[:, None], stride=self.hop)[:, :, : self.frames]
        real, imaginary = parts.chunk(2, dim=1)
        power = torch.matmul(self.bands, real * real + imaginary * imaginary)
        if isinstance(self.config, KaldiMelConfig):
            return ((power + kaldi_mel.FLOOR).log() + kaldi_mel.OFFSET) / kaldi_mel.SCALE
        return _compressed(power, self.config.log)


class _Cqt(nn.Module):
    """A constant-Q spectrum: a low-pass filter for each halving of the rate, and each octave's filters."""

    halving: Tensor

    def __init__(self, config: CqtConfig, samples: int) -> None:
        super().__init__()
        self.config = config
        self.frames = config.shape(samples)[1]
        self.octaves = cqt_numpy.octaves(config)
        self.lengths = [samples]
        for _ in range(self.octaves[-1].level):
            self.lengths.append((self.lengths[-1] + 1) // 2)
        filters = {f"filters{i}": part.filters for i, part in enumerate(self.octaves)}
        _keep(self, halving=cqt_numpy.half_filter(), **filters)

    def forward(self, wave: Tensor) -> Tensor:
        found, sound, level = [], wave[:, None], 0
        for i, part in enumerate(self.octaves):
            while level < part.level:
                sound = F.conv1d(sound, self.halving[None, None], stride=2, padding=cqt_numpy.REACH)
                level += 1
            hop = self.config.hop_length >> level
            behind = max(0, (self.frames - 1) * hop + part.half - self.lengths[level])
            filters = cast(Tensor, getattr(self, f"filters{i}"))
            parts = F.conv1d(F.pad(sound, (part.half, behind)), filters[:, None], stride=hop)
            real, imaginary = parts[:, :, : self.frames].chunk(2, dim=1)
            found.append(real * real + imaginary * imaginary)
        return _compressed(torch.cat(found[::-1], dim=1), self.config.log)


def _keep(module: nn.Module, **arrays: NDArray[np.float64]) -> None:
    """Give a module buffers, in float32, which are in no state dict."""
    for name, values in arrays.items():
        module.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)


def _compressed(power: Tensor, log: Log) -> Tensor:
    if log == "db":
        return power.clamp_min(1e-10).log() * (10 / math.log(10))
    return (10_000 * power + 1).log() * (1 / math.log(10))


def _windowed_transform(window: NDArray[np.float64], length: int, bins: int) -> NDArray[np.float64]:
    """Return the real and the imaginary rows of a discrete Fourier transform times a window."""
    turns = np.outer(np.arange(bins), np.arange(len(window))) / length
    angles = 2 * np.pi * (turns % 1)
    return np.concatenate([np.cos(angles), -np.sin(angles)]) * window
