"""The settings of a data set, as plain data, without NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from .._settings import check_plain, documented, setting
from ..errors import ConfigError

_SETS: Mapping[str, tuple[str, ...]] = {
    "table": (
        "root",
        "path_column",
        "tag_columns",
        "split_column",
        "group_column",
        "valid_share",
        "test_share",
        "split_seed",
    ),
    "library": ("min_files", "valid_share", "test_share", "split_seed"),
    "magnatagatune": ("annotations", "protocol"),
    "msd": ("annotations",),
    "jamendo": ("annotations", "subset", "fold", "low"),
}
"""The options of each kind of set."""


@documented
@dataclass(frozen=True)
class DataConfig:
    """The settings of a data set: its kind, and options of that kind.

    Raises
    ------
    ConfigError
        If a value is not allowed, or an option is of another kind of set.
    """

    dataset: Literal["table", "library", "magnatagatune", "msd", "jamendo"] = setting(
        "table",
        "The kind of data set: a table (also a folder with a folder for each tag); a library, a music folder "
        "whose files carry genre fields; or the sound of magnatagatune, msd or jamendo.",
    )
    annotations: str = setting(
        "", "Folder of the published tag and split files, if they lie apart from the sound."
    )
    protocol: Literal["full", "clean"] = setting(
        "full", "Of magnatagatune: full, or clean, without the clips that have none of the 50 tags."
    )
    subset: Literal["top50tags", "genre", "instrument", "moodtheme"] = setting(
        "top50tags", "Of jamendo: which tags, and with them which tracks."
    )
    fold: int = setting(0, "Of jamendo: which of its five splits, 0 to 4.")
    root: str = setting("", "Of a table: folder that its paths are relative to; empty: the table's own.")
    path_column: str = setting("path", "Of a table: column of the paths.")
    tag_columns: str = setting(
        "",
        "Of a table: column with a list of tags, or columns that are a tag each, with commas between their "
        "names; empty: the column tags, or else every column that has no other use.",
    )
    split_column: str = setting(
        "", "Of a table: column of train, valid and test; empty: split, if it is there."
    )
    group_column: str = setting(
        "", "Of a table: column of what must not be split, such as the artist; empty: group, if it is there."
    )
    valid_share: float = setting(
        0.15,
        "Of a library, or a table without splits: share of the clips for validation; groups stay together.",
    )
    test_share: float = setting(
        0.15, "Of a library, or a table without splits: share of the clips for testing; groups stay together."
    )
    split_seed: int = setting(
        0, "Of a library, or a table without splits: seed of the split; another number makes another one."
    )
    min_files: int = setting(20, "Of a library: files that a genre needs; genres of fewer are left out.")
    low: bool = setting(False, "Of jamendo: the sound is that of the smaller download, audio-low.")

    def __post_init__(self) -> None:
        check_plain(self)
        for option in fields(self)[1:]:
            sets = [name for name, options in _SETS.items() if option.name in options]
            value = getattr(self, option.name)
            if value != option.default and self.dataset not in sets:
                wanted = " or ".join(f"dataset={name!r}" for name in sets)
                raise ConfigError(
                    f"{option.name}={value!r} counts only with {wanted}, and dataset is {self.dataset!r}: "
                    "name that one, or leave it out."
                )
        if self.min_files < 1:
            raise ConfigError(f"min_files is at least 1, not {self.min_files}.")
        if self.split_seed < 0:
            raise ConfigError(f"split_seed is 0 or more, not {self.split_seed}.")
        if not (self.valid_share >= 0 and self.test_share >= 0 and self.valid_share + self.test_share < 1):
            raise ConfigError(
                "valid_share and test_share are 0 or more and leave something to learn from, "
                f"not {self.valid_share} and {self.test_share}."
            )


@documented
@dataclass(frozen=True)
class MixtureConfig:
    """How many mixtures of notes are made, and how.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    train: int = setting(6_000, "Clips for training.")
    valid: int = setting(400, "Clips for validation.")
    test: int = setting(800, "Clips for testing.")
    seconds: float = setting(5.0, "Length of a clip; a note that is longer is cut.")
    split_column: str = setting("split", "The column of the notes that says train, valid or test.")
    seed: int = setting(0, "Seed of everything random.")

    def __post_init__(self) -> None:
        check_plain(self)
        if min(self.train, self.valid, self.test) < 1 or not self.seconds > 0 or self.seed < 0:
            raise ConfigError(
                "train, valid and test are at least 1, seconds is above 0 and seed 0 or more, not "
                f"{self.train}, {self.valid}, {self.test}, {self.seconds} and {self.seed}."
            )
