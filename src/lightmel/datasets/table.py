"""Data sets of one's own: a table of paths and tags, or a folder with a folder for each tag."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import audio
from ..errors import DataError, nearest
from .dataset import SPLITS, Dataset, Split
from .rows import Rows, unique_paths
from .splits import stratify

NAME = "table"
CITATION = "Your own."
LICENSE = "That of your sound and tags."
SOURCE = "the table that you made"
COUNTS: dict[str, dict[str, int]] = {}
"""No numbers of clips are published."""

SHARES = (0.7, 0.15, 0.15)
"""Shares of training, validation and test where the table has no split."""
SEPARATORS = ";,|"
"""Any of them separates the tags of a list."""
TRUE, FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}

log = logging.getLogger("lightmel")


class Clips(NamedTuple):
    """Clips with their labels, before they are split; without `splits` they are split by group."""

    paths: list[str]
    tags: tuple[str, ...]
    labels: NDArray[np.bool_]
    groups: list[str]
    splits: list[str]  # empty where the table has none


def load_table(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    path_column: str = "path",
    tag_columns: str | Sequence[str] | None = None,
    separators: str = SEPARATORS,
    split_column: str | None = None,
    group_column: str | None = None,
    shares: Sequence[float] = SHARES,
    split_seed: int = 0,
) -> Dataset:
    """Read a table of one's own (CSV or TSV in UTF-8, with a header), or a folder with a folder for each tag.

    The delimiter may be tab, comma or semicolon. Quotes, CRLF and a byte order mark are allowed.

    In a folder, each folder is a tag and holds its sound files, at any depth; the files of a folder further
    down are one group.

    Parameters
    ----------
    source
        The table or the folder.
    root
        Folder that the paths are relative to; by default the table's own.
    path_column
        Column of the paths.
    tag_columns
        A name: the column with a list of each clip's tags; or, if it has only 1 and 0, yes and no, true and
        false, the column of a single tag. Several names: columns of a tag each, with these words. By default
        the column ``tags``, or without one, as a tag each, all columns that have a name and are not path,
        split or group.
    separators
        Characters any of which separates the tags of a list.
    split_column
        Column of train, valid and test; by default ``split``, if it exists.
    group_column
        Column of the groups, which must not be divided, such as artists; by default ``group``, if it exists.
        Without one each clip is its own group.
    shares, split_seed
        Where there is no column of splits: shares of training, validation and test, and the seed of their
        split. Groups stay together, and rare tags come into each split if that is possible. A share of 0
        leaves a split out.

    Returns
    -------
    A data set whose protocol has a digest of paths, tags, labels and splits, by which tables differ.

    Raises
    ------
    DataError
        If columns are missing (the message names the columns that there are), rows are damaged, two paths
        name the same file, in whatever spelling, or there are no clips or no tags. A tag without a clip in
        some split gives a warning in the log.
    """
    place = Path(source)
    base = Path(root) if root is not None else place if place.is_dir() else place.parent
    columns = _Columns(path_column, tag_columns, separators, split_column, group_column)
    clips = _folder(place) if place.is_dir() else _table(Rows(place, path_column), base, columns)
    if not clips.labels.any():
        raise DataError(f"{place}: no clip has any tag. Look whether the right column is read.")
    return dataset_of(place, clips, shares, split_seed, root=base)


def dataset_of(
    place: Path,
    clips: Clips,
    shares: Sequence[float],
    split_seed: int,
    how: str = "",
    license: str = LICENSE,
    source: str = SOURCE,
    citation: str = CITATION,
    *,
    root: Path | None = None,
) -> Dataset:
    """Return clips as a data set, split as they say or by group.

    Parameters
    ----------
    place
        File or folder that they are from, whose name is the data set's.
    clips
        The clips.
    shares, split_seed
        As in `load_table`.
    how
        What the protocol says first.
    license, source
        Of the data set.
    root
        Folder that the paths are relative to, if it is not `place`.

    Raises
    ------
    DataError
        If they cannot be split.
    """
    if clips.splits:
        split, names = "splits as given", np.array([SPLITS.index(s) for s in clips.splits])
    else:
        if len(shares) != len(SPLITS):
            raise DataError(f"shares are those of {', '.join(SPLITS)}, three numbers, not {tuple(shares)}.")
        split = f"split by group {'/'.join(f'{100 * p:g}' for p in shares)}, seed {split_seed}"
        try:
            names = stratify(clips.groups, clips.labels, shares, split_seed)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
    splits = {
        name: Split(
            tuple(clips.paths[i] for i in rows),
            clips.labels[rows],
            tuple(clips.groups[i] for i in rows),
        )
        for part, name in enumerate(SPLITS)
        if (rows := np.flatnonzero(names == part)).size
    }
    found = Dataset(
        name=place.resolve().name if place.is_dir() else place.stem,
        protocol=", ".join([*filter(None, [how]), split, _digest(clips.tags, splits)]),
        root=root or place,
        tags=clips.tags,
        splits=splits,
        citation=citation,
        license=license,
        source=source,
    )
    _warn(found)
    return found


def _digest(tags: Sequence[str], splits: dict[str, Split]) -> str:
    digest = hashlib.sha256(repr(tags).encode())
    for name, split in splits.items():
        digest.update(repr((name, split.paths)).encode("utf-8", "surrogateescape"))
        digest.update(np.packbits(split.labels).tobytes())
    return digest.hexdigest()[:8]


def _warn(dataset: Dataset) -> None:
    for name in dataset.splits:
        if lost := dataset.without_positives(name):
            log.warning("%s: no clip of %s has %s.", dataset.name, name, ", ".join(lost))
    parts = [set(split.groups) for split in dataset.splits.values()]
    both = {g for i, a in enumerate(parts) for b in parts[i + 1 :] for g in a & b}
    if both:
        log.warning(
            "%s: %d groups, %r among them, have clips in several splits: scores will be too good.",
            dataset.name,
            len(both),
            min(both),
        )


def _folder(folder: Path) -> Clips:
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if classes and all(name.lower() in WORDS for name in classes):
        raise DataError(
            f"{folder} holds {', '.join(classes)}, which are splits and no tags. Make a table with the "
            "columns path, tags and split."
        )
    paths, labels, groups, tags = [], [], [], []
    for name in classes:
        sound = audio.find(folder / name, empty=True)
        if sound:
            tags.append(name)
        for file in sound:
            own = file.relative_to(folder)
            paths.append(own.as_posix())
            groups.append(own.as_posix() if len(own.parts) == 2 else own.parent.as_posix())
            labels.append(len(tags) - 1)
    if not paths:
        raise DataError(
            f"{folder} has no folders with sound: a tag is a folder of files {' '.join(audio.SUFFIXES)}."
        )
    return Clips(paths, tuple(tags), np.eye(len(tags), dtype=np.bool_)[labels], groups, [])


class _Columns(NamedTuple):
    """Names of the columns; None: the usual name, if the table has it."""

    path: str
    tags: str | Sequence[str] | None
    separators: str
    split: str | None
    group: str | None


def _table(table: Rows, root: Path, columns: _Columns) -> Clips:
    path, tags = columns.path, columns.tags
    paths = unique_paths(table, root, table.column(path))
    split = columns.split or ("split" if "split" in table.header else None)
    group = columns.group or ("group" if "group" in table.header else None)
    if tags is None:
        rest = [n for n in table.header if n and n not in (path, split, group)]
        tags = "tags" if "tags" in rest else rest
    if isinstance(tags, str) and _is_flag(table.column(tags)):
        tags = [tags]
    if isinstance(tags, str):
        vocabulary, labels = tag_lists(table.column(tags), columns.separators)
    else:
        vocabulary = tuple(tags)
        labels = np.zeros((len(paths), len(vocabulary)), dtype=np.bool_)
        for i, tag in enumerate(vocabulary):
            labels[:, i] = _flags(table, tag)
    groups = table.column(group) if group else paths
    return Clips(
        paths,
        vocabulary,
        labels,
        [g or p for g, p in zip(groups, paths, strict=True)],
        _splits(table, split) if split else [],
    )


def tag_lists(
    cells: Sequence[str], separators: str = SEPARATORS
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return the tags of a column of lists, in the order of their code points, and the labels."""
    if separators:
        blank = str.maketrans(dict.fromkeys(separators, "\n"))
        cells = [cell.translate(blank) for cell in cells]
    lists = [{tag.strip() for tag in cell.split("\n")} - {""} for cell in cells]
    tags = tuple(sorted(set().union(*lists)))
    column = {tag: i for i, tag in enumerate(tags)}
    labels = np.zeros((len(cells), len(tags)), dtype=np.bool_)
    for row, own in enumerate(lists):
        labels[row, [column[tag] for tag in own]] = True
    return tags, labels


def _is_flag(cells: list[str]) -> bool:
    """Whether a column has yes or no for one tag, and no lists of tags."""
    return any(cells) and all(cell.lower() in TRUE + FALSE for cell in cells)


def _flags(table: Rows, tag: str) -> list[bool]:
    flags = []
    for cell, line in zip(table.column(tag), table.lines, strict=True):
        if cell.lower() not in TRUE + FALSE:
            raise DataError(
                f"{table.file}, line {line}: the column {tag!r} holds {cell!r}, where a tag has 1 or 0. Name "
                "the columns that are tags, or the one with lists of them, with tag_columns=... "
                "(--tag-columns); the one of groups that must stay together, such as artists, with "
                "group_column=... (--group-column)."
            )
        flags.append(cell.lower() in TRUE)
    return flags


def _splits(table: Rows, name: str) -> list[str]:
    splits = []
    for cell, line in zip(table.column(name), table.lines, strict=True):
        if cell.lower() not in WORDS:
            raise DataError(
                f"{table.file}, line {line}: {cell!r} is no split; there are {', '.join(SPLITS)}."
                f"{nearest(cell.lower(), WORDS)}"
            )
        splits.append(WORDS[cell.lower()])
    return splits
