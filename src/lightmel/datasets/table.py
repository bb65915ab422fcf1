"""Anyone's own data set: a table of paths and tags, or a folder a tag."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, nearest
from . import annotation_files
from .dataset import SPLITS, Dataset, Split
from .splits import partition

NAME = "table"
CITATION = "Your own."
LICENCE = "That of your sound and tags."
SOURCE = "the table that you made"
COUNTS: dict[str, dict[str, int]] = {}
"""Of a table of one's own nothing is known beforehand."""

SUFFIXES = (".mp3", ".flac", ".ogg", ".opus", ".wav", ".aiff", ".aif", ".m4a")
"""What counts as sound in a folder of classes."""
PARTS = (0.7, 0.15, 0.15)
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
    path: str = "path",
    tags: str | Sequence[str] | None = None,
    separators: str = ";,|",
    split: str | None = None,
    group: str | None = None,
    parts: Sequence[float] = PARTS,
    seed: int = 0,
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
    path
        The column of the paths.
    tags
        A name: the column with the list of each clip's tags; or one tag, where there is nothing in it but 1
        or 0, yes or no, true or false. Several names: columns that are tags, with these words in them. Not
        said: the column ``tags`` if there is one, otherwise every column that is not path, split or group
        (and has a name) is a tag.
    separators
        Characters any of which stands between the tags of a list.
    split
        The column that says train, valid or test; ``split`` if there is one and nothing is said.
    group
        The column of what must stay together, the artist for example; ``group`` if there is one and nothing
        is said. Without one each clip is its own group.
    parts, seed
        Where no column says the split: shares of training, validation and test, made by group, the same for
        the same seed, rare tags in each if that can be. A share of 0 leaves a part out.

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
    clips = _folder(place) if place.is_dir() else _table(place, base, path, tags, separators, split, group)
    if not clips.labels.any():
        raise DataError(f"{place}: no clip has any tag. Look whether the right column is read.")
    if clips.splits:
        how, names = "splits as given", np.array([SPLITS.index(s) for s in clips.splits])
    else:
        if len(parts) != len(SPLITS):
            raise DataError(
                f"parts are the shares of {', '.join(SPLITS)}, three numbers, not {tuple(parts)}."
            )
        how = f"split by group {'/'.join(f'{100 * p:g}' for p in parts)}, seed {seed}"
        try:
            names = partition(clips.groups, clips.labels, parts, seed)
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
        licence=LICENCE,
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
        sound = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if sound:
            tags.append(name)
        for file in sound:
            own = file.relative_to(folder)
            paths.append(own.as_posix())
            groups.append(own.as_posix() if len(own.parts) == 2 else own.parent.as_posix())
            labels.append(len(tags) - 1)
    if not paths:
        raise DataError(
            f"{folder} has no folders with sound in them: one a tag is looked for, with {' '.join(SUFFIXES)}."
        )
    return _Clips(paths, tuple(tags), np.eye(len(tags), dtype=np.bool_)[labels], groups, [])


class _Table:
    """The rows of a table as text, and their lines for those who look for a mistake."""

    def __init__(self, file: Path, path: str) -> None:
        self.file = file
        if not file.is_file():
            raise DataError(f"There is no table {file}.")
        content = annotation_files.text(file)
        try:
            delimiter = _delimiter(content, path)
        except csv.Error as error:
            raise DataError(f"{file}, line 1: {error}. Save it again as CSV in UTF-8.") from error
        rows = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        try:
            self.header = [name.strip() for name in next(rows, [])]
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(self.header):
                    raise DataError(
                        f"{file}, line {rows.line_num}: {len(row)} cells in a table of {len(self.header)} "
                        "columns. Put quotes around what holds the delimiter."
                    )
                self.rows.append([cell.strip() for cell in row])
                self.lines.append(rows.line_num)
        except csv.Error as error:
            raise DataError(f"{file}, line {rows.line_num}: {error}. Look at the quotes there.") from error

    def column(self, name: str) -> list[str]:
        """Return a column by its name."""
        if name not in self.header:
            there = ", ".join(repr(n) for n in self.header) or "none"
            raise DataError(
                f"{self.file} has no column {name!r}; there are {there}.{nearest(name, self.header)}"
            )
        if self.header.count(name) > 1:
            raise DataError(f"{self.file} has more than one column {name!r}. Rename one.")
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def _delimiter(content: str, path: str) -> str:
    """Return what makes the column `path` in the header appear, or else the most columns."""
    header = io.StringIO(content, newline=None).readline()  # of any line end, an old Mac's too
    found = {d: [name.strip() for name in next(csv.reader([header], delimiter=d), [])] for d in "\t,;"}
    return max(found, key=lambda d: (path in found[d], len(found[d])))


def _table(
    file: Path,
    root: Path,
    path: str,
    tags: str | Sequence[str] | None,
    separators: str,
    split: str | None,
    group: str | None,
) -> _Clips:
    table = _Table(file, path)
    paths = _paths(table, root, table.column(path))
    split = split or ("split" if "split" in table.header else None)
    group = group or ("group" if "group" in table.header else None)
    if tags is None:
        rest = [n for n in table.header if n and n not in (path, split, group)]
        tags = "tags" if "tags" in rest else rest
    if isinstance(tags, str) and _is_flag(table.column(tags)):
        tags = [tags]
    if isinstance(tags, str):
        vocabulary, labels = _lists(table.column(tags), separators)
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


def _paths(table: _Table, root: Path, cells: list[str]) -> list[str]:
    if not cells:
        raise DataError(f"{table.file} has a header and no clips.")
    first: dict[str, int] = {}
    base = root.absolute()
    paths = []
    for cell, line in zip(cells, table.lines, strict=True):
        if not cell:
            raise DataError(f"{table.file}, line {line}: the path is empty.")
        path = str(PurePosixPath(cell.replace("\\", "/")))  # ./a/b.mp3 and a\b.mp3 are a/b.mp3
        file = os.path.normpath(base / path)  # b/../a.mp3 is a.mp3, too
        if file in first:
            raise DataError(
                f"{table.file}: {file} stands in the lines {first[file]} and {line}. Each clip has one row; "
                "several tags go into one list."
            )
        first[file] = line
        paths.append(path)
    return paths


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


def _flags(table: _Table, tag: str) -> list[bool]:
    flags = []
    for cell, line in zip(table.column(tag), table.lines, strict=True):
        if cell.lower() not in TRUE + FALSE:
            raise DataError(
                f"{table.file}, line {line}: the column {tag!r} holds {cell!r}, where a tag has 1 or 0. Name "
                "the columns that are tags, or the one with lists of them, with tags=... (--tag-columns); "
                "the one that says what must stay together, an artist say, with group=... (--group-column)."
            )
        flags.append(cell.lower() in TRUE)
    return flags


def _splits(table: _Table, name: str) -> list[str]:
    splits = []
    for cell, line in zip(table.column(name), table.lines, strict=True):
        if cell.lower() not in WORDS:
            raise DataError(
                f"{table.file}, line {line}: {cell!r} is no split; there are {', '.join(SPLITS)}."
                f"{nearest(cell.lower(), WORDS)}"
            )
        splits.append(WORDS[cell.lower()])
    return splits
