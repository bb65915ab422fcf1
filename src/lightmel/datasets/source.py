"""Reading whatever data set a configuration names."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError
from .config import DataConfig
from .dataset import Dataset
from .jamendo import load_jamendo
from .magnatagatune import load_magnatagatune
from .msd import load_msd
from .table import load_table


def load_dataset(source: str | os.PathLike[str], config: DataConfig | None = None) -> Dataset:
    """Read the data set in `source`: a table, a folder with a folder for each tag, or a published set.

    Raises
    ------
    DataError
        As the loader of that set.
    """
    config = config or DataConfig()
    place = Path(source)
    if not place.exists():
        raise DataError(f"There is no table and no folder {place}.")
    annotations = config.annotations or None
    if config.dataset == "magnatagatune":
        return load_magnatagatune(place, config.protocol, annotations=annotations)
    if config.dataset == "msd":
        return load_msd(place, annotations=annotations)
    if config.dataset == "jamendo":
        return load_jamendo(place, config.subset, config.fold, annotations=annotations, low=config.low)
    columns = [name.strip() for name in config.tag_columns.split(",") if name.strip()]
    return load_table(
        place,
        root=config.root or None,
        path_column=config.path_column,
        tag_columns=None if not columns else columns[0] if len(columns) == 1 else columns,
        split_column=config.split_column or None,
        group_column=config.group_column or None,
        shares=(1 - config.valid_share - config.test_share, config.valid_share, config.test_share),
        split_seed=config.split_seed,
    )
