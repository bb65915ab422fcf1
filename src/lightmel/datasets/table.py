"""Anyone's own data set: a table of paths and tags, or a folder a tag."""

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
"""Of a table of one's own nothing is known beforehand."""

SHARES = (0.7, 0.15, 0.15)
"""Shares of training, validation and test where the table has no split."""
TRUE, FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}

log = logging.getLogger("lightmel")


class _Clips(NamedTuple):
    paths: list[str]
    tags: tuple[str, ...]
    labels: NDArray[np.bool_]
    groups: list[str]
    splits: list[str]  # empty where nothing is said


def load_table(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    path_column: str = "path",
    tag_columns: str | Sequence[str] | None = None,
    separators: str = ";,|",
    split_column: str | None = None,
    group_column: str | None = None,
    shares: Sequence[float] = SHARES,
    split_seed: int = 0,
) -> Dataset:
    """Read a table of one's own (CSV or TSV in UTF-8, with a header), or a folder with a folder a tag.

    The delimiter is found out: tab, comma or semicolon. Quotes, CRLF and a byte order mark are allowed.

    In a folder each folder in it is a tag and holds the sound, at any depth; what lies together in a folder
    further down is one group.

    Parameters
    ----------
    source
        The table or the folder.
    root
        What the paths are relative to; the table's own folder where not said.
    path_column
        The column of the paths.
    tag_columns
        A name: the column with the list of each clip's tags; or one tag, where there is nothing in it but 1
        or 0, yes or no, true or false. Several names: columns that are tags, with these words in them. Not
        said: the column ``tags`` if there is one, otherwise every column that is not path, split or group
        (and has a name) is a tag.
    separators
        Characters any of which stands between the tags of a list.
    split_column
        The column that says train, valid or test; ``split`` if there is one and nothing is said.
    group_column
        The column of what must stay together, the artist for example; ``group`` if there is one and nothing
        is said. Without one each clip is its own group.
    shares, split_seed
        Where no column says the split: shares of training, validation and test, made by group, the same for
        the same seed, rare tags in each if that can be. A share of 0 leaves a split out.

    Returns
    -------
    A data set whose protocol holds a digest of paths, tags, labels and splits: other tables have others.

    Raises
    ------
    DataError
        If columns are missing (it names them and those there are), rows are damaged, a file stands twice,
        however its path is spelled, or there are no clips or no tags. A tag without a clip in some split is
        a warning in the log.
    """
    place = Path(source)
    base = Path(root) if root is not None else place if place.is_dir() else place.parent
    columns = _Columns(path_column, tag_columns, separators, split_column, group_column)
    clips = _folder(place) if place.is_dir() else _table(Rows(place, path_column), base, columns)
    if not clips.labels.any():
        raise DataError(f"{place}: no clip has any tag. Look whether the right column is read.")
    if clips.splits:
        how, names = "splits as given", np.array([SPLITS.index(s) for s in clips.splits])
    else:
        if len(shares) != len(SPLITS):
            raise DataError(f"shares are those of {', '.join(SPLITS)}, three numbers, not {tuple(shares)}.")
        how = f"split by group {'/'.join(f'{100 * p:g}' for p in shares)}, seed {split_seed}"
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
        protocol=f"{how}, {_digest(clips.tags, splits)}",
        root=base,
        tags=clips.tags,
        splits=splits,
        citation=CITATION,
        license=LICENSE,
        source=SOURCE,
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


def _folder(folder: Path) -> _Clips:
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
            f"{folder} has no folders with sound in them: one a tag is looked for, with {' '.join(audio.SUFFIXES)}."
        )
    return _Clips(paths, tuple(tags), np.eye(len(tags), dtype=np.bool_)[labels], groups, [])


class _Columns(NamedTuple):
    """Which column is what; None takes the usual name, if it is there."""

    path: str
    tags: str | Sequence[str] | None
    separators: str
    split: str | None
    group: str | None


def _table(table: Rows, root: Path, columns: _Columns) -> _Clips:
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
        vocabulary, labels = _lists(table.column(tags), columns.separators)
    else:
        vocabulary = tuple(tags)
        labels = np.zeros((len(paths), len(vocabulary)), dtype=np.bool_)
        for i, tag in enumerate(vocabulary):
            labels[:, i] = _flags(table, tag)
    groups = table.column(group) if group else paths
    return _Clips(
        paths,
        vocabulary,
        labels,
        [g or p for g, p in zip(groups, paths, strict=True)],
        _splits(table, split) if split else [],
    )


def _lists(cells: list[str], separators: str) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return the tags in the order of their code points, and the labels."""
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
    """Whether a column says yes or no of one tag, and is no list of tags."""
    return any(cells) and all(cell.lower() in TRUE + FALSE for cell in cells)


def _flags(table: Rows, tag: str) -> list[bool]:
    flags = []
    for cell, line in zip(table.column(tag), table.lines, strict=True):
        if cell.lower() not in TRUE + FALSE:
            raise DataError(
                f"{table.file}, line {line}: the column {tag!r} holds {cell!r}, where a tag has 1 or 0. Name "
                "the columns that are tags, or the one with lists of them, with tag_columns=... (--tag-columns); "
                "the one that says what must stay together, an artist say, with group_column=... (--group-column)."
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
