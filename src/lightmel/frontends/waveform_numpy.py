"""The samples of a `WaveformConfig` without torch."""

from __future__ import annotations

from .base import check_samples
from .spectra import Waves
from .waveform import WaveformConfig


class NumpyWaveform:
    """Waves ``(batch, samples)`` in, the same numbers ``(batch, 1, samples)`` out.

    Parameters
    ----------
    config
        At which rate.
    """

    def __init__(self, config: WaveformConfig) -> None:
        self.config = config

    def __call__(self, waves: Waves) -> Waves:
        """Return the samples.

        Raises
        ------
        ShapeError
            If there are none.
        """
        check_samples(waves.shape[-1])
        return waves[:, None].copy()
