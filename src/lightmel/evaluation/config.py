"""The settings of a calibration. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from .._settings import check_plain, documented, setting
from ..errors import ConfigError


@documented
@dataclass(frozen=True)
class CalibrationConfig:
    """How a tagger is calibrated, and how that is measured.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    min_positives: int = setting(
        3, "A tag has chances of its own, verified, from so many true clips and as many false ones on."
    )
    excerpt_seconds: float = setting(
        0.0, "Seconds from the middle of each file that are scored; 0 is all of it, as it is tagged."
    )
    missed_music: float = setting(
        0.02, "Of music, the highest share that may be taken for something else, where there is such."
    )
    folds: int = setting(
        5, "Parts of the clips, by group, each of which is measured with what the others gave."
    )
    split_seed: int = setting(0, "Seed of these parts.")
    name: str = setting("", "Name of the new tagger; without one, the old one's.")
    version: str = setting("", "Its version; without one, the old one's with -calibrated added.")

    def __post_init__(self) -> None:
        check_plain(self)
        if self.min_positives < 1:
            raise ConfigError(f"min_positives is at least 1, not {self.min_positives}.")
        if self.folds < 2:
            raise ConfigError(f"folds is at least 2, not {self.folds}.")
        if self.excerpt_seconds < 0:
            raise ConfigError(f"excerpt_seconds is 0 or more, not {self.excerpt_seconds:g}.")
        if not 0 <= self.missed_music < 1:
            raise ConfigError(f"missed_music is a share from 0 to below 1, not {self.missed_music:g}.")
