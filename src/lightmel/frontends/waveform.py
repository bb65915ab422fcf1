"""`WaveformConfig`: the samples themselves as a front end, for networks that learn their own filters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ..audio import MAX_SR, MIN_SR
from ..errors import ConfigError
from .base import FrontendConfig, in_khz, make_whole


@dataclass(frozen=True)
class WaveformConfig(FrontendConfig):
    """The wave as one row of as many frames as samples.

    Parameters
    ----------
    sr
        Sample rate in Hz.

    Raises
    ------
    ConfigError
        If no sound is read at that rate.

    Examples
    --------
    >>> WaveformConfig(16_000).slug, WaveformConfig(16_000).input_shape(3.0)
    ('16k-wave', (1, 48000))
    """

    kind: ClassVar[str] = "waveform"
    slug_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<khz>\d+(?:\.\d+)?)k-wave")

    sr: int = 16_000

    def __post_init__(self) -> None:
        make_whole(self, "sr")
        if not MIN_SR <= self.sr <= MAX_SR:
            raise ConfigError(f"A sample rate of {self.sr} Hz is outside {MIN_SR} to {MAX_SR} Hz.")

    @property
    def slug(self) -> str:
        """The configuration as one word, ``16k-wave``; `from_slug` reads it back."""
        return f"{in_khz(self.sr)}-wave"

    @classmethod
    def from_slug(cls, slug: str) -> WaveformConfig:
        """Read a slug such as ``16k-wave``.

        Raises
        ------
        ConfigError
            If it is none.
        """
        match = cls.slug_pattern.fullmatch(slug)
        if match is None:
            raise ConfigError(f"{slug!r} is no waveform; one looks like '16k-wave'.")
        return cls(round(float(match["khz"]) * 1000))

    def shape(self, n_samples: int) -> tuple[int, int]:
        """``(1, n_samples)``."""
        return 1, self.n_frames(n_samples)

    def n_frames(self, n_samples: int) -> int:
        """As many as samples."""
        return n_samples
