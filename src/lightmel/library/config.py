"""What is written into files, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from .._settings import check_plain, documented, setting
from ..errors import ConfigError


@documented
@dataclass(frozen=True)
class WriteConfig:
    """What is written into files.

    Raises
    ------
    ConfigError
        If a number is out of its range, or neither genres nor moods are wanted.
    """

    genres: int = setting(3, "Genres for each file, at most; 0 leaves them alone.")
    moods: int = setting(3, "Moods for each file, at most; 0 leaves them alone.")
    above: float = setting(0.0, "Only tags of at least this score, besides the tagger's own thresholds.")
    scores: bool = setting(True, "Write the tagger's name and its scores too, into fields of ours.")
    overwrite: bool = setting(False, "Write over a genre or mood that is there; otherwise it is kept.")
    keep_times: bool = setting(False, "Leave the time of each file's last change as it was.")

    def __post_init__(self) -> None:
        check_plain(self)
        if self.genres < 0 or self.moods < 0 or self.genres + self.moods == 0:
            raise ConfigError(
                f"genres and moods say how many are written, at least one in all, not {self.genres} and "
                f"{self.moods}."
            )
        if not 0 <= self.above <= 1:
            raise ConfigError(f"above is a score between 0 and 1, not {self.above:g}.")
