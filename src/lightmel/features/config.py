"""What a feature store keeps of sound, as data. Nothing here needs numpy."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError, check_choices
from ..frontends.mel import StorageType


@dataclass(frozen=True)
class StoreConfig:
    """What a feature store keeps of sound.

    Parameters
    ----------
    mel
        Slug of the mels.
    dtype
        float32; float16; or uint8, with a scale for each band of a clip.
    middle
        Seconds from the middle of each file, as in the paper (29.1); 0 keeps all of it.
    workers
        Processes; 0: one a core.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    mel: str = "16k-mel48-x1-db"
    dtype: StorageType = "float32"
    middle: float = 0.0
    workers: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.middle >= 0 or self.workers < 0:
            raise ConfigError(f"middle and workers are 0 or more, not {self.middle} and {self.workers}.")
