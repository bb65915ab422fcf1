"""`KaldiMelConfig`: the front end of EfficientAT, as plain data.

Schmid, Koutini, Widmer, "Efficient Large-Scale Audio Tagging Via Transformer-To-CNN Knowledge Distillation",
ICASSP 2023: mel bands spaced and shaped as in Kaldi, of sound with its high frequencies raised.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

from ..errors import ConfigError
from .base import FrontendConfig, is_whole

SR = 32_000
PRE_EMPHASIS = 0.97
N_FFT, WINDOW, HOP = 1024, 800, 320
"""Samples of the transform, of the window in its middle, and from one frame to the next."""
TOP = 15_000.0
"""Upper end of the highest band in Hz."""
FLOOR, OFFSET, SCALE = 1e-5, 4.5, 5.0
"""The logarithm is ``(ln(power + FLOOR) + OFFSET) / SCALE``."""

_SLUG = re.compile(r"32k-kaldi(?P<n_mels>\d+)")


@dataclass(frozen=True)
class KaldiMelConfig(FrontendConfig):
    """A mel-spectrogram with pre-emphasis, of 32 kHz sound, in frames of 25 ms every 10 ms.

    Parameters
    ----------
    sr
        Sample rate in Hz: 32,000.
    n_mels
        Mel bands between 0 and 15,000 Hz.

    Raises
    ------
    ConfigError
        For another rate, or so many bands that one would lie between two bins of the spectrum.

    Examples
    --------
    >>> KaldiMelConfig().input_shape(10.0)
    (128, 1000)
    """

    kind: ClassVar[str] = "kaldi_mel"
    slug_pattern: ClassVar[re.Pattern[str]] = _SLUG

    sr: int = SR
    n_mels: int = 128

    def __post_init__(self) -> None:
        if self.sr != SR:
            raise ConfigError(f"This front end is for sound of {SR} Hz, not {self.sr!r}.")
        if not is_whole(self.n_mels) or self.n_mels < 1:
            raise ConfigError(f"n_mels must be a whole number from 1 on, not {self.n_mels!r}.")
        for name in ("sr", "n_mels"):
            object.__setattr__(self, name, int(getattr(self, name)))  # from NumPy's integers too
        # The lowest band is the narrowest: its triangle must hold a bin above 0 Hz, whose weight is 0.
        if self.band_edges()[2] <= SR / N_FFT:
            raise ConfigError(
                f"With {self.n_mels} mel bands the lowest lies below the first bin of the spectrum and would "
                "always be empty: take fewer."
            )

    @property
    def slug(self) -> str:
        """The configuration as one word, ``32k-kaldi128``; `from_slug` reads it back."""
        return f"32k-kaldi{self.n_mels}"

    @classmethod
    def from_slug(cls, slug: str) -> KaldiMelConfig:
        """Read a slug such as ``32k-kaldi128``.

        Raises
        ------
        ConfigError
            If it is none.
        """
        match = cls.slug_pattern.fullmatch(slug)
        if match is None:
            raise ConfigError(f"{slug!r} is no such front end; one looks like '32k-kaldi128'.")
        return cls(n_mels=int(match["n_mels"]))

    def shape(self, n_samples: int) -> tuple[int, int]:
        """``(n_mels, n_frames)`` of `n_samples` samples; pre-emphasis takes one of them."""
        return self.n_mels, 1 + (n_samples - 1) // HOP

    def band_edges(self) -> list[float]:
        """The ``n_mels + 2`` corner frequencies of the triangles in Hz, equally spaced in mel.

        Kaldi's mel: ``1127 ln(1 + f / 700)``.
        """
        top = to_mel(TOP)
        return [700 * math.expm1(top * i / (self.n_mels + 1) / 1127) for i in range(self.n_mels + 2)]


def to_mel(hz: float) -> float:
    """Return a frequency in Hz on Kaldi's mel scale, ``1127 ln(1 + f / 700)``."""
    return 1127 * math.log1p(hz / 700)
