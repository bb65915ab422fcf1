"""The limits of a budget, as plain settings, without NumPy or torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._settings import documented, setting
from ..errors import ConfigError

if TYPE_CHECKING:
    from .candidates import Candidate


@documented
@dataclass(frozen=True)
class Limits:
    """What a configuration may cost, and what it is to be worth; None where that does not matter.

    Raises
    ------
    ConfigError
        If a limit is no number above 0, or `min_roc` is none below 1.
    """

    max_gmac_per_minute: float | None = setting(
        None, "At most so many GMAC (1e9 multiply-accumulates) a minute of sound."
    )
    max_kb: float | None = setting(None, "At most so many kB (1000 bytes) of features a minute of sound.")
    min_speed: float | None = setting(
        None,
        "At least so many times real time, front end and network on one thread, without decoding; only where "
        "that was measured.",
    )
    min_roc: float | None = setting(
        None, "At least this ROC AUC, between 0 and 1; the cheapest then come first."
    )

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value <= 0:
                raise ConfigError(
                    f"{name} is a number above 0, not {value!r}: nothing costs nothing. Leave it out for no "
                    "limit.",
                    names=(name,),
                )
        if self.min_roc is not None and self.min_roc >= 1:
            raise ConfigError(
                f"min_roc is an ROC AUC between 0 and 1, not {self.min_roc:g}: 89 points are 0.89.",
                names=("min_roc",),
            )

    @property
    def given(self) -> dict[str, Any]:
        """The limits that there are, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def excess(self, own: Candidate) -> dict[str, float]:
        """Return for each limit that a candidate does not keep to how many times it is beyond it, above 1.

        Of an ROC AUC it is that of what is lacking to 1. Infinite where a figure is not known.
        """
        found = {}
        for name in self.given:
            ratio = _RATIOS[name](own, self.given[name])
            if ratio is None or ratio > 1 + 1e-12:
                found[name] = math.inf if ratio is None else ratio
        return found

    def __str__(self) -> str:
        """Return them in words."""
        return ", ".join(in_words(name, value) for name, value in self.given.items()) or "no limits"


def _over(value: float | None, limit: float) -> float | None:
    return None if value is None else value / limit


_RATIOS: Mapping[str, Callable[[Candidate, float], float | None]] = {
    "max_gmac_per_minute": lambda own, limit: _over(own.gmac_per_minute, limit),
    "max_kb": lambda own, limit: _over(own.kb_per_minute, limit),
    "min_speed": lambda own, limit: None if own.speed is None else limit / own.speed,
    "min_roc": lambda own, limit: None if own.roc_auc is None else (1 - own.roc_auc) / (1 - limit),
}
_WORDS = {
    "max_gmac_per_minute": "at most {:g} GMAC a minute",
    "max_kb": "at most {:g} kB of features a minute",
    "min_speed": "at least {:g} times real time",
    "min_roc": "ROC AUC at least {:g}",
}


def in_words(name: str, value: float) -> str:
    """Return a limit in words."""
    return _WORDS[name].format(value)
