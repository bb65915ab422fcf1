"""`MelConfig`: a mel-spectrogram as a front end, its slug, and every size that follows from it.

The sizes are those of Ferraro, Bogdanov, Serra and Yoon, "How Low Can You Go? Reducing Frequency and
Time Resolution in Current CNN Architectures for Music Auto-tagging", EUSIPCO 2020.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from .._settings import check_choices
from ..audio import MAX_SR, MIN_SR
from ..errors import ConfigError, nearest
from .base import FrontendConfig, StorageType, in_khz, make_whole

N_FFT = 512
"""Frame length in samples; the paper keeps it at both sample rates."""
BASE_HOP = 256
"""Hop in samples at hop factor 1."""
CLIP_SECONDS = 29.1
"""The paper's excerpt, taken from the middle of a file."""

Log = Literal["log", "db"]
MelScale = Literal["slaney", "htk"]
MelNorm = Literal["slaney", "none"]
PadMode = Literal["zeros", "reflect"]

_ITEM_BYTES: dict[str, float] = {"float32": 4, "float16": 2, "uint8": 1, "uint4": 0.5}
_SLUG = re.compile(
    r"(?P<khz>\d+(?:\.\d+)?)k-mel(?P<n_mels>\d+)-x(?P<hop_factor>\d+)-(?P<log>log|db)"
    r"(?P<htk>-htk)?(?P<peak>-peak)?(?P<reflect>-reflect)?"
)


@dataclass(frozen=True)
class MelConfig(FrontendConfig):
    """The input of a tagger: sample rate, bands, hop and compression of its mel-spectrogram.

    Parameters
    ----------
    sr
        Sample rate in Hz. The paper's are 12,000 and 16,000.
    n_mels
        Mel bands between 0 Hz and half the sample rate.
    hop_factor
        Hop in units of 256 samples: factor r keeps every r-th frame of factor 1.
    log
        ``"log"``: ``log10(1 + 10000 x)``; ``"db"``: ``10 log10(max(x, 1e-10))``, with x the mel power.
    mel_scale, mel_norm, pad_mode
        The paper's front end is ``"slaney"``, ``"slaney"``, ``"zeros"``. The public checkpoints have
        ``"htk"`` (2595 log10(1 + f / 700)), ``"none"`` (triangles of peak one) and ``"reflect"`` (the signal
        is mirrored at both ends, and frames stop at its last sample).

    Raises
    ------
    ConfigError
        If no front end can be built from it; the message names the nearest configuration that works.

    Examples
    --------
    >>> MelConfig(16000, 48, 2, "db").slug
    '16k-mel48-x2-db'
    >>> MelConfig.from_slug("12k-mel96-x1-log").input_shape()
    (96, 1366)
    """

    kind: ClassVar[str] = "mel"
    slug_pattern: ClassVar[re.Pattern[str]] = _SLUG

    sr: int = 16_000
    n_mels: int = 96
    hop_factor: int = 1
    log: Log = "db"
    mel_scale: MelScale = "slaney"
    mel_norm: MelNorm = "slaney"
    pad_mode: PadMode = "zeros"

    def __post_init__(self) -> None:
        check_choices(self)
        make_whole(self, "sr", "n_mels", "hop_factor")
        workable = _nearest_workable(self)
        if workable != (self.sr, self.n_mels, self.hop_factor):
            raise ConfigError(self._refusal(*workable))

    def _refusal(self, sr: int, n_mels: int, hop_factor: int) -> str:
        if not MIN_SR <= self.sr <= MAX_SR:
            why = f"a sample rate of {self.sr} Hz is outside {MIN_SR} to {MAX_SR} Hz"
        elif self.hop_factor < 1:
            why = f"a hop factor of {self.hop_factor} is below 1"
        elif self.n_mels < 1:
            why = f"{self.n_mels} mel bands are too few"
        else:
            why = (
                f"with {self.n_mels} mel bands at {self.sr} Hz at least one band lies between two "
                f"bins of the {N_FFT}-sample spectrum and would always be empty"
            )
        nearest_one = replace(self, sr=sr, n_mels=n_mels, hop_factor=hop_factor)
        return f"This mel configuration cannot work: {why}. The nearest that can is {nearest_one.slug}."

    @property
    def hop_length(self) -> int:
        """Samples from one frame to the next."""
        return BASE_HOP * self.hop_factor

    @property
    def slug(self) -> str:
        """The configuration as one word, ``16k-mel48-x2-db``; `from_slug` reads it back."""
        options = (
            ("-htk" if self.mel_scale == "htk" else "")
            + ("-peak" if self.mel_norm == "none" else "")
            + ("-reflect" if self.pad_mode == "reflect" else "")
        )
        return f"{in_khz(self.sr)}-mel{self.n_mels}-x{self.hop_factor}-{self.log}{options}"

    @classmethod
    def from_slug(cls, slug: str) -> MelConfig:
        """Read a slug such as ``12k-mel96-x1-log``.

        Raises
        ------
        ConfigError
            If it is not one; the nearest of the paper's 88 is suggested.
        """
        match = cls.slug_pattern.fullmatch(slug)
        if match is None:
            raise ConfigError(
                f"{slug!r} is not a mel configuration; one looks like '16k-mel48-x2-db'."
                + nearest(slug, (c.slug for c in PAPER_CONFIGS))
            )
        return cls(
            sr=round(float(match["khz"]) * 1000),
            n_mels=int(match["n_mels"]),
            hop_factor=int(match["hop_factor"]),
            log="log" if match["log"] == "log" else "db",
            mel_scale="htk" if match["htk"] else "slaney",
            mel_norm="none" if match["peak"] else "slaney",
            pad_mode="reflect" if match["reflect"] else "zeros",
        )

    def replace(self, **changes: Any) -> MelConfig:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def n_samples(self, seconds: float = CLIP_SECONDS) -> int:
        """Samples in `seconds` of sound at `sr`, by default of the paper's clip."""
        return super().n_samples(seconds)

    def shape(self, n_samples: int) -> tuple[int, int]:
        """``(n_mels, n_frames)`` of `n_samples` samples."""
        return self.n_mels, self.n_frames(n_samples)

    def thinned(self, keep: int) -> MelConfig:
        """Return the configuration of `keep` times the hop, whose frames are every `keep`-th of these."""
        return self.replace(hop_factor=self.hop_factor * keep)

    def thinning(self, other: FrontendConfig) -> int | None:
        """Return how many times as large `other`'s hop is, where nothing else differs; None elsewhere."""
        keep = getattr(other, "hop_factor", 0) // self.hop_factor
        return keep if keep > 1 and self.thinned(keep) == other else None

    def n_frames(self, n_samples: int) -> int:
        """Frames of `n_samples` samples.

        Zero-padded: the paper's count, ``ceil((ceil(N / 256) + 1) / hop_factor)``. Reflected:
        ``1 + N // hop``, the frames whose centres lie within the sound.
        """
        if self.pad_mode == "reflect":
            return 1 + n_samples // self.hop_length
        return padded_frames(n_samples, self.hop_factor)

    def input_shape(self, seconds: float = CLIP_SECONDS) -> tuple[int, int]:
        """``(n_mels, n_frames)`` of an excerpt of `seconds`, by default of the paper's clip."""
        return super().input_shape(seconds)

    def clip_bytes(self, dtype: StorageType = "float32", seconds: float = CLIP_SECONDS) -> int:
        """Bytes that the mel-spectrogram of `seconds` of sound takes, stored as `dtype`."""
        if dtype not in _ITEM_BYTES:
            raise ConfigError(f"dtype is one of {', '.join(_ITEM_BYTES)}, not {dtype!r}.")
        n_mels, n_frames = self.input_shape(seconds)
        return math.ceil(n_mels * _ITEM_BYTES[dtype]) * n_frames

    def band_edges(self) -> list[float]:
        """The ``n_mels + 2`` corner frequencies of the triangles in Hz, equally spaced in mel.

        Slaney: linear below 1 kHz (200/3 Hz a mel), logarithmic above (27 mels a factor of 6.4), as in
        Slaney's Auditory Toolbox (1998). HTK: ``2595 log10(1 + f / 700)``.
        """
        to_mel, to_hz = _SCALES[self.mel_scale]
        top = to_mel(self.sr / 2)
        return [to_hz(top * i / (self.n_mels + 1)) for i in range(self.n_mels + 2)]


def padded_frames(n_samples: int, hop_factor: int) -> int:
    """Return the paper's count of frames of zero-padded sound, ``ceil((ceil(N / 256) + 1) / hop_factor)``."""
    return -(-(-(-n_samples // BASE_HOP) + 1) // hop_factor)


_LOG_STEP = math.log(6.4) / 27.0


def _slaney_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) / _LOG_STEP


def _slaney_hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * _LOG_STEP)


def _htk_mel(hz: float) -> float:
    return 2595 * math.log10(1 + hz / 700)


def _htk_hz(mel: float) -> float:
    return 700 * (10 ** (mel / 2595) - 1)


_SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "slaney": (_slaney_mel, _slaney_hz),
    "htk": (_htk_mel, _htk_hz),
}


def _has_empty_band(sr: int, n_mels: int, scale: str) -> bool:
    to_mel, to_hz = _SCALES[scale]
    step = to_mel(sr / 2) / (n_mels + 1)
    spacing = sr / N_FFT
    for band in range(n_mels):
        low, high = to_hz(step * band), to_hz(step * (band + 2))
        first_bin_inside = math.floor(low / spacing + 1e-9) + 1
        if first_bin_inside * spacing >= high * (1 - 1e-12):
            return True
    return False


def _nearest_workable(config: MelConfig) -> tuple[int, int, int]:
    """Return ``(sr, n_mels, hop_factor)`` of the nearest configuration without an empty band."""
    sr = min(max(config.sr, MIN_SR), MAX_SR)
    n_mels = min(max(config.n_mels, 1), N_FFT)
    while n_mels > 1 and _has_empty_band(sr, n_mels, config.mel_scale):
        n_mels -= 1
    return sr, n_mels, max(config.hop_factor, 1)


def _paper_grid() -> tuple[MelConfig, ...]:
    full = [(n, r) for n in (128, 96, 48) for r in (1, 2, 3, 4, 5, 10)]
    few_bands = [(n, 1) for n in (32, 24, 16, 8)]
    logs: tuple[Log, Log] = ("log", "db")
    return tuple(
        MelConfig(sr, n, r, log) for sr in (12_000, 16_000) for n, r in full + few_bands for log in logs
    )


PAPER_CONFIGS: tuple[MelConfig, ...] = _paper_grid()
"""The 88 configurations of the paper, in a fixed order."""
