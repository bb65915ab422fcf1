"""`FrontendConfig`: the description of a front end, as plain data, without torch or NumPy.

A front end turns waves into the features that a network takes. The other rooms see its configuration only:
weights files and stores keep it, taggers and trainings compare it, and `lightmel.frontends.build_frontend`
makes the module that computes it. A new one is a file with two classes, a child of `FrontendConfig` and a
child of `lightmel.frontends.Frontend`, and a line in the registry.
"""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from ..errors import ConfigError, ShapeError

StorageType = Literal["float32", "float16", "uint8", "uint4"]
"""Types that features are stored as."""
_DAY = 86_400


class FrontendConfig(ABC):
    """The configuration of a front end: a frozen dataclass of plain values, one of them the rate `sr` in Hz.

    Attributes
    ----------
    kind
        Its name in the registry.
    sr
        Sample rate of the waves in Hz.
    """

    kind: ClassVar[str]
    slug_pattern: ClassVar[re.Pattern[str]]
    """Matches the slugs of this kind and no others. Every slug begins with a number, the rate."""
    sr: int

    @property
    @abstractmethod
    def slug(self) -> str:
        """The configuration as one word; `from_slug` reads it back."""

    @classmethod
    @abstractmethod
    def from_slug(cls, slug: str) -> FrontendConfig:
        """Read a slug of this kind.

        Raises
        ------
        ConfigError
            If it is none.
        """

    @abstractmethod
    def shape(self, n_samples: int) -> tuple[int, int]:
        """``(rows, frames)`` of the output for `n_samples` samples, bands by frames for mels."""

    @property
    def rows(self) -> int:
        """First dimension of the output, such as bands, which does not depend on the length of the sound."""
        return self.shape(self.sr)[0]

    def n_samples(self, seconds: float) -> int:
        """Samples in `seconds` of sound at `sr`."""
        return round(seconds * self.sr)

    def input_shape(self, seconds: float) -> tuple[int, int]:
        """``(rows, frames)`` of `seconds` of sound: the input shape of a network for such segments.

        Raises
        ------
        ConfigError
            If it is no number of seconds from 0 to a day: no network has seen more at a time.
        """
        if not 0 <= seconds <= _DAY:
            raise ConfigError(f"{seconds:g} s at a time: an input is of 0 to {_DAY:,} s of sound, a day.")
        return self.shape(self.n_samples(seconds))

    def to_dict(self) -> dict[str, Any]:
        """Return kind and fields as plain data; `lightmel.frontends.config_from_dict` is the way back."""
        return {"kind": self.kind, **dataclasses.asdict(self)}  # type: ignore[call-overload]

    def band_edges(self) -> list[float]:
        """Corner frequencies in Hz: row ``i`` lies between the numbers ``i`` and ``i + 2``.

        Raises
        ------
        ConfigError
            If its rows are no bands of frequency.
        """
        raise ConfigError(
            f"{self.slug} has no bands of frequency: what compares bands wants a mel-spectrogram, or a front "
            "end whose configuration says their corners (band_edges)."
        )

    def thinned(self, keep: int) -> FrontendConfig:
        """Return the configuration whose frames are every `keep`-th frame of this one's.

        Raises
        ------
        ConfigError
            If there is none.
        """
        raise ConfigError(f"Of {self.slug} no frames can be left out: compute what you want from the sound.")

    def thinning(self, other: FrontendConfig) -> int | None:
        """Return the number, above 1, with which `thinned` gives `other`; None where there is none."""
        return None


def is_whole(value: Any) -> bool:
    """Return whether `value` is a whole number, whatever its type."""
    if isinstance(value, (str, bool)):
        return False
    try:
        return bool(float(value) == int(value))
    except (TypeError, ValueError, OverflowError):
        return False


def make_whole(config: FrontendConfig, *names: str) -> None:
    """Make fields of a frozen configuration Python's own whole numbers, from NumPy's or 16000.0, say.

    Raises
    ------
    ConfigError
        If one of them is no whole number.
    """
    for name in names:
        value = getattr(config, name)
        if not is_whole(value):
            raise ConfigError(f"{name} must be a whole number, not {value!r}.")
        object.__setattr__(config, name, int(value))


def in_khz(sr: int) -> str:
    """Return a rate in Hz as slugs begin with it: ``16k``, ``22.05k``."""
    return f"{sr / 1000:.3f}".rstrip("0").rstrip(".") + "k"


def check_samples(samples: int) -> None:
    """Raise `ShapeError` for no samples."""
    if samples == 0:
        raise ShapeError("The wave has no samples: the front end needs at least one.")
