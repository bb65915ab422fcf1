"""Human annotations of sound files: the share of the annotators that gave each tag."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..vocabularies import same
from .rows import Rows, unique_paths
from .table import FALSE, TRUE, tag_lists

HumanAnnotations = Mapping[Path, Mapping[str, float]]
"""For a file, the share of the annotators who gave each tag."""

TRUE_SHARE = 0.5
"""Share of the annotators from which on a tag is true."""
_NO_TAGS = ("path", "group", "split")
"""Columns that say which music it is."""


def whole_path(path: Path) -> Path:
    """Return the absolute path, without ``..`` and backslashes, that annotations are looked up by.

    A backslash stays where it is a part of the name of a file that is there.
    """
    text = str(path)
    if "\\" in text and not path.exists():
        text = text.replace("\\", "/")
    return Path(os.path.abspath(text))  # noqa: PTH100 - resolve() would follow links


def read_human_annotations(table: str | os.PathLike[str]) -> dict[Path, dict[str, float]]:
    """Read a CSV with the column ``path`` (relative to it) and a column for each tag: the share that gave it.

    The keys are absolute paths; a cell that is no number, nor ``yes``, ``no``, ``true`` or ``false``, is
    unknown, NaN. In place of columns there may be one, ``tags``, with a list for each file as in
    `lightmel.load_table`: of all tags that stand in it, those of a file's list are true and the others false.

    Raises
    ------
    DataError
        If it is no such table, there is no column ``path``, a path or a tag stands twice, or a share is
        written as ``50%`` or ``0,5``, which would be taken for a word.
    """
    rows = Rows(table)
    paths = unique_paths(rows, rows.file.parent)
    if "tags" in rows.header:
        tags, labels = tag_lists(rows.column("tags"), place=rows.file)
        shares: Sequence[Sequence[float]] = labels.astype(np.float64).tolist()
    else:
        tags = tag_columns(rows)
        shares = list(zip(*(_shares(rows, tag) for tag in tags), strict=True)) or [()] * len(paths)
    found = {}
    for path, row in zip(paths, shares, strict=True):
        found[whole_path(rows.file.parent / path)] = dict(zip(tags, row, strict=True))
    return found


def tag_columns(rows: Rows) -> tuple[str, ...]:
    """Return the columns of a table that are about tags: all but the nameless ones that spreadsheets leave.

    The columns ``path``, ``group`` and ``split`` say which music it is.
    """
    return tuple(name for name in rows.header if name and name not in _NO_TAGS)


def _shares(rows: Rows, tag: str) -> list[float]:
    cells = rows.column(tag)
    for line, cell in zip(rows.lines, cells, strict=True):
        if re.fullmatch(r"\d+,\d+|\d+([.,]\d+)? ?%", cell):
            raise DataError(f"{rows.file}, line {line}: {tag} is {cell!r}. Write shares as 0.5.")
    return [_number(cell) for cell in cells]


def _number(text: str) -> float:
    if text and text.lower() in TRUE + FALSE:
        return float(text.lower() in TRUE)
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def shares_of(
    annotations: HumanAnnotations, paths: Sequence[Path], tags: Sequence[str]
) -> NDArray[np.float64]:
    """Return the shares of files and tags, ``(files, tags)``; NaN where nothing is known.

    A file is found however its path is written, a tag whatever its case and hyphens.

    Raises
    ------
    DataError
        If a share is not between 0 and 1.
    """
    known = {whole_path(path): given for path, given in annotations.items()}
    names = dict.fromkeys(name for given in known.values() for name in given)
    called = {tag: tag if tag in names else next((n for n in names if same(n, tag)), tag) for tag in tags}
    nothing: Mapping[str, float] = {}
    found = [known.get(whole_path(path), nothing) for path in paths]
    shares = np.array([[given.get(called[tag], np.nan) for tag in tags] for given in found], dtype=np.float64)
    shares = shares.reshape(len(paths), len(tags))
    if wrong := np.argwhere((shares < 0) | (shares > 1)).tolist():
        clip, tag = wrong[0]
        raise DataError(
            f"{paths[clip]}: {tags[tag]} was given by a share of {shares[clip, tag]:g}: shares are between "
            "0 and 1."
        )
    return shares
