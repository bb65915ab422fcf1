"""`CqtConfig`: a constant-Q spectrum as a front end, as plain data.

Brown, "Calculation of a constant Q spectral transform", JASA 1991: frequencies a constant ratio apart, each
seen through a window of a constant number of its periods. The numbers are those of librosa's `cqt`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .._settings import check_choices
from ..audio import MAX_SR, MIN_SR
from ..errors import ConfigError
from .base import FrontendConfig, in_khz, make_whole
from .mel import BASE_HOP, Log, padded_frames

C1 = 440 * 2 ** (-45 / 12)
"""The lowest C of most pianos, 32.70 Hz."""
LOWEST = 10.0
"""Lowest `fmin` in Hz. Its windows are of seconds already, and nobody hears what is below."""

_BANDWIDTH = 1.5
"""Of a Hann window, in units of the inverse of its length: its equivalent noise bandwidth."""
_SLUG = re.compile(
    r"(?P<khz>\d+(?:\.\d+)?)k-cqt(?P<n_bins>\d+)-x(?P<hop_factor>\d+)-(?P<log>log|db)"
    r"(?:-per(?P<per>\d+))?(?:-from(?P<fmin>\d+(?:\.\d+)?))?"
)


@dataclass(frozen=True)
class CqtConfig(FrontendConfig):
    """A constant-Q spectrum: sample rate, bins, hop and compression.

    Parameters
    ----------
    sr
        Sample rate in Hz.
    n_bins
        Frequencies, `bins_per_octave` to an octave: 84 are seven octaves of twelve.
    hop_factor
        Hop in units of 256 samples: factor r keeps every r-th frame of factor 1.
    log
        ``"log"``: ``log10(1 + 10000 x)``; ``"db"``: ``10 log10(max(x, 1e-10))``, x the magnitude squared.
    bins_per_octave
        Frequencies in an octave, such as 12 or 24.
    fmin
        The lowest frequency in Hz, 32.70 (C1) where nothing is said.

    Raises
    ------
    ConfigError
        If no front end can be built from it. Of a rate that is too low for the highest bin the message says
        how many bins fit.

    Examples
    --------
    >>> CqtConfig(16_000, 84, 2).slug
    '16k-cqt84-x2-db'
    >>> CqtConfig(22_050, 168, bins_per_octave=24, fmin=55).slug
    '22.05k-cqt168-x1-db-per24-from55'
    """

    kind: ClassVar[str] = "cqt"
    slug_pattern: ClassVar[re.Pattern[str]] = _SLUG

    sr: int = 16_000
    n_bins: int = 84
    hop_factor: int = 1
    log: Log = "db"
    bins_per_octave: int = 12
    fmin: float = C1

    def __post_init__(self) -> None:
        check_choices(self)
        make_whole(self, "sr", "n_bins", "hop_factor", "bins_per_octave")
        try:
            object.__setattr__(self, "fmin", float(self.fmin))
        except (TypeError, ValueError):
            raise ConfigError(f"fmin must be a frequency in Hz, not {self.fmin!r}.") from None
        for name in ("n_bins", "hop_factor", "bins_per_octave"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be a whole number from 1 on, not {getattr(self, name)}.")
        if not MIN_SR <= self.sr <= MAX_SR:
            raise ConfigError(f"A sample rate of {self.sr} Hz is outside {MIN_SR} to {MAX_SR} Hz.")
        if not LOWEST <= self.fmin < math.inf:
            raise ConfigError(f"fmin must be a frequency from {LOWEST:g} Hz on, not {self.fmin:g}.")
        if (fit := self._fitting()) < self.n_bins:
            top = self.fmin * 2 ** ((self.n_bins - 1) / self.bins_per_octave)
            remedy = f"take n_bins={fit}" if fit else "take a lower fmin"
            raise ConfigError(
                f"A rate of {self.sr} Hz has nothing above {self.sr / 2:g} Hz, and the highest of "
                f"{self.n_bins} constant-Q bins from {self.fmin:.2f} Hz on lies at {top:.0f} Hz, with a band "
                f"around it. At most {fit} bins fit: {remedy}, or a higher rate."
            )

    def _fitting(self) -> int:
        """Return how many bins lie below half the rate with the upper halves of their bands, too."""
        octaves = math.log2(self.sr / 2 / (1 + _BANDWIDTH / 2 / self.quality) / self.fmin)
        return max(0, math.floor(octaves * self.bins_per_octave) + 1)

    @property
    def quality(self) -> float:
        """Q: periods of a bin's frequency in its window."""
        two = 2 ** (2 / self.bins_per_octave)
        return (two + 1) / (two - 1)

    @property
    def cutoff(self) -> float:
        """Upper end of the highest bin's band in Hz."""
        return self.frequencies()[-1] * (1 + _BANDWIDTH / 2 / self.quality)

    @property
    def hop_length(self) -> int:
        """Samples from one frame to the next."""
        return BASE_HOP * self.hop_factor

    @property
    def slug(self) -> str:
        """The configuration as one word, ``16k-cqt84-x2-db``; `from_slug` reads it back.

        What is not twelve bins to an octave and not from C1 on says so behind: ``16k-cqt168-x2-db-per24``,
        ``16k-cqt60-x1-db-from65.5``.
        """
        per = "" if self.bins_per_octave == 12 else f"-per{self.bins_per_octave}"
        start = "" if self.fmin == C1 else f"-from{_plain(self.fmin)}"
        return f"{in_khz(self.sr)}-cqt{self.n_bins}-x{self.hop_factor}-{self.log}{per}{start}"

    @classmethod
    def from_slug(cls, slug: str) -> CqtConfig:
        """Read a slug such as ``16k-cqt84-x2-db``.

        Raises
        ------
        ConfigError
            If it is none.
        """
        match = cls.slug_pattern.fullmatch(slug)
        if match is None:
            raise ConfigError(f"{slug!r} is no constant-Q configuration; one looks like '16k-cqt84-x2-db'.")
        return cls(
            sr=round(float(match["khz"]) * 1000),
            n_bins=int(match["n_bins"]),
            hop_factor=int(match["hop_factor"]),
            log="log" if match["log"] == "log" else "db",
            bins_per_octave=int(match["per"] or 12),
            fmin=float(match["fmin"] or C1),
        )

    def replace(self, **changes: Any) -> CqtConfig:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def shape(self, n_samples: int) -> tuple[int, int]:
        """``(n_bins, n_frames)`` of `n_samples` samples."""
        return self.n_bins, self.n_frames(n_samples)

    def n_frames(self, n_samples: int) -> int:
        """Frames of `n_samples` samples, as many as a zero-padded mel-spectrogram of this hop has."""
        return padded_frames(n_samples, self.hop_factor)

    def thinned(self, keep: int) -> CqtConfig:
        """Return the configuration of `keep` times the hop, whose frames are every `keep`-th of these."""
        return self.replace(hop_factor=self.hop_factor * keep)

    def thinning(self, other: FrontendConfig) -> int | None:
        """Return how many times as large `other`'s hop is, where nothing else differs; None elsewhere."""
        keep = getattr(other, "hop_factor", 0) // self.hop_factor
        return keep if keep > 1 and self.thinned(keep) == other else None

    def frequencies(self) -> list[float]:
        """The bins' frequencies in Hz."""
        return [self.fmin * 2 ** (i / self.bins_per_octave) for i in range(self.n_bins)]

    def band_edges(self) -> list[float]:
        """The ``n_bins + 2`` corner frequencies in Hz: those of a bin's two neighbors.

        A Hann window of Q periods is down by 6 dB there, about.
        """
        return [self.fmin * 2 ** (i / self.bins_per_octave) for i in range(-1, self.n_bins + 1)]


def _plain(hz: float) -> str:
    """Return a frequency with as many digits as it takes to read it back, without an exponent."""
    text = f"{hz:.17f}".rstrip("0") if "e" in repr(hz) else repr(hz)
    return text.removesuffix(".0").removesuffix(".")
