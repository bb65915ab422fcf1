"""What a feature store keeps of sound, as data. Nothing here needs numpy."""

from __future__ import annotations

from dataclasses import dataclass

from .._settings import check_plain, documented, setting
from ..errors import ConfigError
from ..frontends import StorageType


@documented
@dataclass(frozen=True)
class StoreConfig:
    """What a feature store keeps of sound.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    frontend: str = setting("16k-mel48-x1-db", "Slug of the front end.")
    dtype: StorageType = setting(
        "float32", "float32; float16; or uint8, with a scale for each row (band) of a clip."
    )
    excerpt_seconds: float = setting(
        0.0, "Seconds from the middle of each file, as in the paper (29.1); 0 keeps all of it."
    )
    workers: int = setting(0, "Processes; 0: one a core.")

    def __post_init__(self) -> None:
        check_plain(self)
        if not self.excerpt_seconds >= 0 or self.workers < 0:
            raise ConfigError(
                f"excerpt_seconds and workers are 0 or more, not {self.excerpt_seconds} and {self.workers}."
            )
