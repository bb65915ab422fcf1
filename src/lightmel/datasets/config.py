"""Which data set is meant, and what to keep of it, as data. Nothing here needs numpy."""

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
    "magnatagatune": ("annotations", "protocol"),
    "msd": ("annotations",),
    "jamendo": ("annotations", "subset", "fold", "low"),
}
"""Which options count for which sets."""


@documented
@dataclass(frozen=True)
class DataConfig:
    """How to read a data set; an option that is not for the set named is refused.

    Raises
    ------
    ConfigError
        If a value cannot be, or is for another kind of set.
    """

    dataset: Literal["table", "magnatagatune", "msd", "jamendo"] = setting(
        "table", "table (also a folder with a folder a tag), magnatagatune, msd or jamendo."
    )
    annotations: str = setting(
        "", "Folder of the published tag and split files, where they lie apart from the sound."
    )
    protocol: Literal["full", "clean"] = setting("full", "Of magnatagatune.")
    subset: Literal["top50tags", "genre", "instrument", "moodtheme"] = setting("top50tags", "Of jamendo.")
    fold: int = setting(0, "Of jamendo: which of its five splits, 0 to 4.")
    root: str = setting(
        "", "Of a table: the folder that its paths are relative to; empty is the table's own."
    )
    path_column: str = setting("path", "Of a table.")
    tag_columns: str = setting(
        "",
        "Of a table: one column with a list of tags, or several that are tags, a comma between them; empty "
        "finds out.",
    )
    split_column: str = setting("", "Of a table; empty takes split if it is there.")
    group_column: str = setting("", "Of a table; empty takes group if it is there.")
    valid_share: float = setting(
        0.15, "Of a table without splits: share of the clips to validate on, by group."
    )
    test_share: float = setting(0.15, "Of a table without splits: share of the clips to test on, by group.")
    split_seed: int = setting(0, "Of a table without splits: another number makes another split.")
    low: bool = setting(False, "Of jamendo: the sound is its smaller download.")

    def __post_init__(self) -> None:
        check_plain(self)
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
