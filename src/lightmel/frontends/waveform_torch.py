"""`WaveformFrontend`: the samples of a `WaveformConfig`."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import check_samples
from .module import Framewise, check_wave
from .waveform import WaveformConfig


class WaveformFrontend(Framewise):
    """Wave in, the same numbers out: ``(..., samples)`` to ``(..., 1, samples)`` in float32.

    It has no buffers, so that it takes waves on any device.
    """

    config: WaveformConfig
    hop, before, after = 1, 0, 1

    def checked(self, wave: Tensor) -> Tensor:
        """Return a wave as float32."""
        check_wave(wave, wave.device if isinstance(wave, Tensor) else torch.get_default_device())
        return wave.float()

    def check_length(self, samples: int) -> None:
        """Raise `ShapeError` for no samples."""
        check_samples(samples)

    def frames(self, sound: Tensor, offset: int, first: int, stop: int) -> Tensor:
        """Return samples; see `Framewise`."""
        return sound[:, None, first - offset : stop - offset].clone()  # the caller's own memory stays his
