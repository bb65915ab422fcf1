"""`KaldiMelFrontend`: from a wave to the frames of a `KaldiMelConfig`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from . import kaldi_mel_numpy
from .kaldi_mel import (
    FLOOR,
    HOP,
    N_FFT,
    OFFSET,
    PRE_EMPHASIS,
    SCALE,
    WINDOW,
    KaldiMelConfig,
)
from .module import Frontend, check_wave, no_autocast

_CACHE_FRAMES = 256  # about 1 MB of float32 stays in a processor's cache


class KaldiMelFrontend(Frontend):
    """Wave in, mel frames out: ``(..., samples)`` at 32 kHz to ``(..., n_mels, frames)``.

    Pre-emphasis ``y[i] = x[i + 1] - .97 x[i]``; frames of 1024 samples, a Hann window of 800 in their middle,
    mirrored at both ends; power; triangles of height 1 that are linear in mel; logarithm.

    Whatever the precision of the wave, it is computed in float32, and float32 comes out, as in the original.
    Autocast and casts of the module change nothing. Its buffers follow the module's device.

    Parameters
    ----------
    config
        Of how many bands.
    """

    config: KaldiMelConfig
    window: Tensor
    bands: Tensor

    def __init__(self, config: KaldiMelConfig) -> None:
        super().__init__(config)
        self._place(torch.get_default_device())

    def _place(self, device: torch.device) -> None:
        """Compute the buffers in float64 and round them once, to float32 on `device`."""
        window = torch.from_numpy(kaldi_mel_numpy.kaldi_window())
        # Real and imaginary parts lie side by side: each weight twice adds up their squares.
        bands = torch.from_numpy(kaldi_mel_numpy.kaldi_filter_bank(self.config)).repeat_interleave(2, 1)
        for name, values in (("window", window), ("bands", bands)):
            self.register_buffer(name, values.to(device, torch.float32), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> KaldiMelFrontend:
        """Follow `fn` to its device only: a cast would lose digits that casting back cannot bring back."""
        self._place(fn(torch.empty(0, device=self.window.device)).device)
        return self

    def forward(self, wave: Tensor) -> Tensor:
        """Return the frames of whole sounds, float32.

        Raises
        ------
        ShapeError
            If `wave` is no floating-point tensor, is on another device, or has no more samples than the
            mirrored ends need, 514.
        """
        check_wave(wave, self.window.device)
        samples = wave.shape[-1]
        kaldi_mel_numpy.check_length(samples)
        rows = wave.float().reshape(-1, samples)
        shape = self.config.shape(samples)
        out = rows.new_empty(len(rows), *shape)
        with no_autocast(wave.device.type):
            for i, row in enumerate(rows):
                emphasised = row[1:] - PRE_EMPHASIS * row[:-1]
                padded = F.pad(emphasised[None], (N_FFT // 2, N_FFT // 2), mode="reflect")[0]
                # The window covers the middle of the transform; zeros around it change no power.
                frames = padded[(N_FFT - WINDOW) // 2 :].unfold(0, WINDOW, HOP)
                for begin in range(0, shape[1], _CACHE_FRAMES):
                    end = min(begin + _CACHE_FRAMES, shape[1])
                    spectrum = torch.fft.rfft(frames[begin:end] * self.window, n=N_FFT)
                    power = torch.view_as_real(spectrum).flatten(1)[:, : self.bands.shape[1]].square()
                    out[i, :, begin:end] = self.bands @ power.T
        out = out.add_(FLOOR).log_().add_(OFFSET).div_(SCALE)
        return out.reshape(*wave.shape[:-1], *out.shape[1:])
