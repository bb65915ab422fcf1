"""Reading whatever data set a configuration names."""

from __future__ import annotations

import os

from .._files import at_home
from ..errors import DataError
from .config import DataConfig
from .dataset import Dataset
from .jamendo import load_jamendo
from .library import load_library
from .magnatagatune import load_magnatagatune
from .msd import load_msd
from .table import load_table


def load_dataset(source: str | os.PathLike[str], config: DataConfig | None = None) -> Dataset:
    """Read the data set in `source`: a table, a folder for each tag, a library, or a published set.

    Raises
    ------
    DataError, MissingExtraError
        As the loader of that set.
    """
    config = config or DataConfig()
    place = at_home(source)
    if not place.exists():
        raise DataError(f"There is no table and no folder {place}.")
    annotations = at_home(config.annotations) if config.annotations else None
    if config.dataset == "magnatagatune":
        return load_magnatagatune(place, config.protocol, annotations=annotations)
    if config.dataset == "msd":
        return load_msd(place, annotations=annotations)
    if config.dataset == "jamendo":
        return load_jamendo(place, config.subset, config.fold, annotations=annotations, low=config.low)
    shares = (1 - config.valid_share - config.test_share, config.valid_share, config.test_share)
    if config.dataset == "library":
        return load_library(place, min_files=config.min_files, shares=shares, split_seed=config.split_seed)
    columns = [name.strip() for name in config.tag_columns.split(",") if name.strip()]
    return load_table(
        place,
        root=config.root or None,
        path_column=config.path_column,
        tag_columns=None if not columns else columns[0] if len(columns) == 1 else columns,
        split_column=config.split_column or None,
        group_column=config.group_column or None,
        shares=shares,
        split_seed=config.split_seed,
    )
