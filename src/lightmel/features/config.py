"""The settings of a feature store, as plain data, without NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from .._settings import check_plain, documented, setting
from ..errors import ConfigError
from ..frontends import StorageType


@documented
@dataclass(frozen=True)
class StoreConfig:
    """The settings of a feature store: front end, storage type, part of each file.

    Raises
    ------
    ConfigError
        If a value is not allowed.
    """

    frontend: str = setting(
        "16k-mel48-x1-db", "Which features: a slug of sample rate, mel bands, hop factor and scale."
    )
    dtype: StorageType = setting(
        "float32",
        "How they are stored: float32, float16, or uint8 or uint4 (half a byte) with a scale "
        "for each row (band) of a clip.",
    )
    excerpt_seconds: float = setting(
        0.0, "Seconds from the middle of each file, as in the paper (29.1); 0: all of it."
    )
    workers: int = setting(
        -1, "Processes that compute; -1: one for each core; 0: none but the command itself."
    )

    def __post_init__(self) -> None:
        check_plain(self)
        if not self.excerpt_seconds >= 0 or self.workers < -1:
            raise ConfigError(
                "excerpt_seconds is 0 or more and workers -1 or more, "
                f"not {self.excerpt_seconds} and {self.workers}."
            )
