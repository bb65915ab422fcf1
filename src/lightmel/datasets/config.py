"""Which data set is meant, and what to keep of it, as data. Nothing here needs numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from ..errors import ConfigError, check_choices

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
    "magnatagatune": ("annotations", "protocol"),
    "msd": ("annotations",),
    "jamendo": ("annotations", "subset", "fold", "low"),
}
"""Which options count for which sets."""


@dataclass(frozen=True)
class DataConfig:
    """How to read a data set; an option that is not for the set named is refused.

    Parameters
    ----------
    dataset
        table (also a folder with a folder a tag), magnatagatune, msd or jamendo.
    annotations
        Folder of the official tag and split files, where they lie apart from the sound.
    protocol
        Of magnatagatune.
    subset
        Of jamendo.
    fold
        Of jamendo, its split: 0 to 4.
    root
        Of a table: the folder that its paths are relative to; empty is the table's own.
    path_column
        Of a table.
    tag_columns
        Of a table: one column with a list of tags, or several that are tags, a comma between them; empty
        finds out.
    split_column, group_column
        Of a table; empty takes split and group if they are there.
    valid_share
        Of a table without splits: part of the clips to decide by, made by group.
    test_share
        Of a table without splits: part of the clips to report, made by group.
    split_seed
        Another number makes other parts.
    low
        Of jamendo: the sound is its smaller download.

    Raises
    ------
    ConfigError
        If a value cannot be, or is for another kind of set.
    """

    dataset: Literal["table", "magnatagatune", "msd", "jamendo"] = "table"
    annotations: str = ""
    protocol: Literal["full", "clean"] = "full"
    subset: Literal["top50tags", "genre", "instrument", "moodtheme"] = "top50tags"
    fold: int = 0
    root: str = ""
    path_column: str = "path"
    tag_columns: str = ""
    split_column: str = ""
    group_column: str = ""
    valid_share: float = 0.15
    test_share: float = 0.15
    split_seed: int = 0
    low: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        for option in fields(self)[1:]:
            sets = [name for name, options in _SETS.items() if option.name in options]
            value = getattr(self, option.name)
            if value != option.default and self.dataset not in sets:
                wanted = " or ".join(f"dataset={name!r} (--dataset {name})" for name in sets)
                raise ConfigError(
                    f"{option.name}={value!r} counts only with {wanted}, and dataset is {self.dataset!r}: "
                    "name that one, or leave it out."
                )
        if not (self.valid_share >= 0 and self.test_share >= 0 and self.valid_share + self.test_share < 1):
            raise ConfigError(
                "valid_share and test_share are 0 or more and leave something to learn from, "
                f"not {self.valid_share} and {self.test_share}."
            )
