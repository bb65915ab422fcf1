"""`KaldiMelFrontend`: from a wave to the frames of a `KaldiMelConfig`."""

from __future__ import annotations

import torch
from torch import Tensor

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
from .module import Frontend


class KaldiMelFrontend(Frontend):
    """Wave in, mel frames out: ``(..., samples)`` at 32 kHz to ``(..., n_mels, frames)``.

    Pre-emphasis ``y[i] = x[i + 1] - .97 x[i]``; frames of 1024 samples, a Hann window of 800 in their middle,
    mirrored at both ends; power; triangles of height 1 that are linear in mel; logarithm.

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
        window = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("bands", filter_bank(config).float(), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the frames of whole sounds, float32.

        Raises
        ------
        ShapeError
            If there are no more samples than the mirrored ends need, 514.
        """
        samples = wave.shape[-1]
        if samples < N_FFT // 2 + 2:
            raise ShapeError(
                f"This front end mirrors {N_FFT // 2} samples and so needs at least {N_FFT // 2 + 2}, not "
                f"{samples}: pad the wave with zeros."
            )
        with torch.autocast(wave.device.type, enabled=False):
            rows = wave.float().reshape(-1, samples)
            emphasised = rows[:, 1:] - PRE_EMPHASIS * rows[:, :-1]
            spectrum = torch.stft(
                emphasised,
                N_FFT,
                HOP,
                WINDOW,
                self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = torch.view_as_real(spectrum).square().sum(-1)
            mel = self.bands @ power[:, :-1]  # the last bin has no weight
            out = (mel + FLOOR).log().add(OFFSET).div(SCALE)
        return out.reshape(*wave.shape[:-1], *out.shape[1:])


def filter_bank(config: KaldiMelConfig) -> Tensor:
    """Weights ``(n_mels, 512)``, float64, of the spectrum's bins but the last in each mel band."""
    mels = torch.tensor([to_mel(k * SR / N_FFT) for k in range(N_FFT // 2)], dtype=torch.float64)
    step = to_mel(TOP) / (config.n_mels + 1)
    place = mels / step - torch.arange(config.n_mels, dtype=torch.float64)[:, None]  # 0 to 2 within a band
    return torch.minimum(place, 2 - place).clamp_min(0)
