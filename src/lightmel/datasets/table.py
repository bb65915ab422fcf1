"""Data sets of one's own: a table of paths and tags, or a folder with a folder for each tag."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import audio
from .._files import at_home
from ..errors import DataError, nearest
from .dataset import SPLITS, Dataset, Split
from .rows import NEVER_A_TAG, Rows, composed, is_nothing, unique_paths
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
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = re.compile(rf"\s*({_QUOTED}|[^\s,'\"\[\](){{}}]+)\s*(?:,|(?=\s*['\"])|$)", re.S)
_LIST = re.compile(
    r"(?:array|set|frozenset|tuple|list)?\(?\s*[\[({](.*?)[\])}]\s*(?:,\s*dtype=\S+\s*)?\)?", re.S
)
_NO_ESCAPE = re.compile(r"\\(?![\\'\"abfnrtvxuUN0-7\n])")
"""A backslash that escapes nothing, of which Python warns."""

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
    """Read a table of one's own (CSV or TSV, with a header), or a folder with a folder for each tag.

    The delimiter may be tab, comma or semicolon; what `lightmel.datasets.Rows` reads is read.

    In a folder, each folder is a tag and holds its sound files, at any depth; the files of a folder further
    down are one group. Tags that differ in case or spaces only are one, and the log has a warning.

    Parameters
    ----------
    source
        The table or the folder.
    root
        Folder that the paths are relative to; by default the table's own.
    path_column
        Column of the paths.
    tag_columns
        A name: the column with a list of each clip's tags, as ``rock; new age`` or as Python, NumPy or JSON
        write a list; or, if it has only 1 and 0, yes and no, true and
        false, the column of a single tag. Several names: columns of a tag each, with these words. By default
        the column ``tags``, or without one the only column that has a name and is not path, split or group;
        of several such columns each is a tag.
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
    place = at_home(source)
    base = at_home(root) if root is not None else place if place.is_dir() else place.parent
    columns = _Columns(path_column, tag_columns, separators, split_column, group_column)
    clips = _folder(place) if place.is_dir() else _table(Rows(place, path_column), base, columns)
    if not clips.labels.any():
        raise DataError(f"{place}: no clip has any tag. Look whether the right column is read.")
    root_is = "root=... names the folder that the paths of the table are relative to"
    return dataset_of(place, clips, shares, split_seed, root=base, root_is=root_is)


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
    root_is: str = "",
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
    root_is
        As in `Dataset`.

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
        root_is=root_is,
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
    whole = folder.resolve()
    classes = sorted(
        p.name
        for p in folder.iterdir()
        if p.is_dir() and not audio.is_left_out(p.name) and not whole.is_relative_to(p.resolve())  # a link
    )
    if classes and all(name.lower() in WORDS for name in classes):
        raise DataError(
            f"{folder} holds {', '.join(classes)}, which are splits and no tags. Make a table with the "
            "columns path, tags and split."
        )
    paths, groups = [], []
    lists: list[list[str]] = []
    for name in classes:
        for file in audio.find(folder / name, empty=True):
            own = file.relative_to(folder)
            paths.append(own.as_posix())
            groups.append(own.as_posix() if len(own.parts) == 2 else own.parent.as_posix())
            lists.append([composed(name.strip())])
    if not paths:
        raise DataError(
            f"{folder} has no folders with sound: a tag is a folder of files {' '.join(audio.SUFFIXES)}."
        )
    return Clips(paths, *_labels(lists, folder), groups, [])


class _Columns(NamedTuple):
    """Names of the columns; None: the usual name, if the table has it."""

    path: str
    tags: str | Sequence[str] | None
    separators: str
    split: str | None
    group: str | None


def _table(table: Rows, root: Path, columns: _Columns) -> Clips:
    path, tags = composed(columns.path), columns.tags
    paths = unique_paths(table, root, path, "path_column")
    split = columns.split or ("split" if "split" in table.header else None)
    group = columns.group or ("group" if "group" in table.header else None)
    if tags is None:
        rest = [n for n in table.header if n and n not in (path, split, group)]
        tags = "tags" if "tags" in rest else rest[0] if len(rest) == 1 else rest
    if isinstance(tags, str) and _is_flag(table.column(tags, "tag_columns")):
        tags = [tags]
    if isinstance(tags, str):
        vocabulary, labels = tag_lists(table.column(tags), columns.separators, table.file)
    else:
        flags = np.zeros((len(paths), len(tags)), dtype=np.bool_)
        for i, tag in enumerate(tags):
            flags[:, i] = _flags(table, tag)
        vocabulary, labels = _joined(tuple(composed(tag) for tag in tags), flags, table.file)
    groups = table.column(group, "group_column") if group else paths
    return Clips(
        paths,
        vocabulary,
        labels,
        [g or p for g, p in zip(groups, paths, strict=True)],
        _splits(table, split) if split else [],
    )


def tag_lists(
    cells: Sequence[str], separators: str = SEPARATORS, place: Path | None = None
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return the tags of a column of lists, in the order of their code points, and the labels.

    Tags that differ in case or spaces only are one; `place` is for the warning that says so.

    Raises
    ------
    DataError
        If a cell begins as a list of Python or JSON and is none.
    """
    try:
        return _labels([split_tags(cell, separators) for cell in cells], place)
    except ValueError as error:
        raise DataError(f"{place}: {error}" if place is not None else str(error)) from None


def split_tags(cell: str, separators: str = SEPARATORS) -> list[str]:
    """Return the tags in a cell: between `separators`, or as Python, NumPy or JSON write a list.

    What programs write in place of nothing, such as ``nan`` or Python's ``None``, is no tag. The word
    ``none`` is one beside others; alone it says that there is none.

    Raises
    ------
    ValueError
        If the cell begins as such a list and is none.
    """
    items = _items(cell.strip())
    if items is None:
        items = re.split(f"[{re.escape(separators)}\n]", cell) if separators else cell.split("\n")
    tags = [composed(item.strip()) for item in items]
    tags = [tag for tag in tags if tag and tag != "None" and tag.casefold() not in NEVER_A_TAG]
    return [] if len(tags) == 1 and is_nothing(tags[0]) else tags


def _items(cell: str) -> list[str] | None:
    """Return the items of a list that a program wrote, or None where the cell is no such list."""
    items = None if (found := _LIST.fullmatch(cell)) is None else _listed(cell, found[1].strip())
    if items is None and re.match(r"[\[{]\s*['\"\[{]", cell):
        raise ValueError(
            f"{cell[:80]!r} begins as a list of Python or JSON, and is no list of tags: look at its quotes."
        )
    return items


def _listed(cell: str, inside: str) -> list[str] | None:
    items, at = [], 0
    while at < len(inside):
        item = _ITEM.match(inside, at)
        if item is None:  # words with spaces and no quotes, as in YAML's [rock, new age]
            bare = cell.startswith("[") and not re.search(r"^['\"]|[\[\]{}]", inside)
            return re.split("[;,|\n]", inside) if bare else None
        items.append(item[1])
        at = item.end()
    if not cell.startswith("[") and not all(item[0] in "'\"" for item in items):
        return None  # a tag in brackets: (live)
    return [_unquoted(item) for item in items]


def _unquoted(item: str) -> str:
    """Return the text of a string of JSON or Python; what is in no quotes is itself."""
    if item[0] not in "'\"":
        return item
    value: Any
    try:
        value = json.loads(item)
    except ValueError:
        try:
            value = literal_eval(_NO_ESCAPE.sub(r"\\\\", item))
        except (ValueError, SyntaxError):
            value = item[1:-1]
    return str(value)


def _labels(
    lists: Sequence[Sequence[str]], place: Path | None = None
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return tags and labels of clips whose tags are listed."""
    counts = Counter(tag for own in lists for tag in set(own))
    called = one_name(counts, place)
    tags = tuple(sorted(set(called.values())))
    column = {tag: i for i, tag in enumerate(tags)}
    labels = np.zeros((len(lists), len(tags)), dtype=np.bool_)
    for row, own in enumerate(lists):
        labels[row, [column[called[tag]] for tag in own]] = True
    return tags, labels


def _joined(
    tags: tuple[str, ...], labels: NDArray[np.bool_], place: Path
) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """Return columns of tags, those whose names differ in case or spaces only as one."""
    called = one_name(Counter(dict(zip(tags, labels.sum(axis=0).tolist(), strict=True))), place)
    kept = tuple(dict.fromkeys(called[tag] for tag in tags))
    if kept == tags:
        return tags, labels
    columns = [labels[:, [called[other] == tag for other in tags]].any(axis=1) for tag in kept]
    return kept, np.stack(columns, axis=1)


def one_name(counts: Counter[str], place: Path | None) -> dict[str, str]:
    """Return for each tag the most frequent of those that differ from it in case or spaces only.

    A warning in the log names those that become one.
    """
    spellings: dict[str, list[str]] = {}
    for tag in sorted(counts):
        spellings.setdefault(" ".join(tag.casefold().split()), []).append(tag)
    called: dict[str, str] = {}
    told = []
    for own in spellings.values():
        best = max(own, key=counts.__getitem__)  # of equals the first
        called |= dict.fromkeys(own, best)
        if len(own) > 1:
            told.append(" and ".join(f"{tag!r} ({counts[tag]})" for tag in own) + f" as {best!r}")
    if told:
        log.warning(
            "%stags that differ in case or spaces only are taken for one: %s.",
            f"{place}: " if place is not None else "",
            "; ".join(told),
        )
    return called


def _is_flag(cells: list[str]) -> bool:
    """Whether a column has yes or no for one tag, and no lists of tags."""
    return any(cells) and all(cell.lower() in TRUE + FALSE for cell in cells)


def _flags(table: Rows, tag: str) -> list[bool]:
    flags = []
    for cell, line in zip(table.column(tag, "tag_columns"), table.lines, strict=True):
        if cell.lower() not in TRUE + FALSE:
            raise DataError(
                f"{table.file}, line {line}: the column {tag!r} holds {cell!r}, where a tag has 1 or 0. Name "
                "the columns that are tags, or the one with lists of them, with tag_columns=...; and the "
                "column of groups that must stay together, such as artists, with group_column=..."
            )
        flags.append(cell.lower() in TRUE)
    return flags


def _splits(table: Rows, name: str) -> list[str]:
    splits = []
    for cell, line in zip(table.column(name, "split_column"), table.lines, strict=True):
        if cell.lower() not in WORDS:
            raise DataError(
                f"{table.file}, line {line}: {cell!r} is no split; there are {', '.join(SPLITS)}."
                f"{nearest(cell.lower(), WORDS)} split_column=... names the column of splits, here {name!r}."
            )
        splits.append(WORDS[cell.lower()])
    return splits
