"""Data sets in general: clips in splits, tags in order, and the protocol that they follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, nearest
from . import annotation_files

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """The clips of one split of a data set.

    Parameters
    ----------
    paths
        Sound files, relative to the data set's root, with forward slashes.
    labels
        ``(clips, tags)``; it becomes read-only.
    groups
        The group of each clip, such as its artist, which must not be divided; the path itself where no group
        is known.

    Raises
    ------
    DataError
        If paths, labels and groups differ in number.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.bool_]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.bool_:
            raise DataError(
                f"Labels are boolean of shape (clips, tags), not {self.labels.dtype} of {self.labels.shape}."
            )
        if not len(self.paths) == len(self.labels) == len(self.groups):
            raise DataError(
                f"{len(self.paths)} paths, {len(self.labels)} rows of labels and {len(self.groups)} groups "
                "do not fit each other."
            )
        self.labels.setflags(write=False)

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Problem:
    """A file that is missing or altered, with details."""

    kind: Literal["missing", "altered"]
    path: Path
    detail: str

    def __str__(self) -> str:
        return f"{self.path} is {self.kind}: {self.detail}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Clips with tags, in splits, under one protocol.

    Parameters
    ----------
    name, protocol
        Names of the data set and of the protocol, which results carry: results on different protocols must
        not stand in one table.
    root
        Folder that the paths are relative to.
    tags
        Name of each column of the labels.
    splits
        The splits that exist, of ``"train"``, ``"valid"`` and ``"test"``.
    citation, license, source
        How to cite it, its terms, and where its files come from.
    annotations
        Folder of the files that `sums` names.
    sums
        SHA-256 of published files, unpacked, by their names below `annotations`.
    absent
        Reason why a split is missing, by its name.
    root_is
        What says where the sound is, for the error where there is none of it.

    Raises
    ------
    DataError
        If a tag or a path occurs twice, or labels and tags differ in number.
    """

    name: str
    protocol: str
    root: Path
    tags: tuple[str, ...]
    splits: Mapping[str, Split]
    citation: str
    license: str
    source: str
    annotations: Path | None = None
    sums: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    root_is: str = ""

    def __post_init__(self) -> None:
        for what, names in (
            ("tag", self.tags),
            ("path", [p for split in self.splits.values() for p in split.paths]),
        ):
            if len(set(names)) != len(names):
                seen: set[str] = set()
                twice = next(n for n in names if n in seen or seen.add(n))  # type: ignore[func-returns-value]
                raise DataError(f"{self.label}: the {what} {twice!r} stands more than once.")
        for name, split in self.splits.items():
            if split.labels.shape[1] != len(self.tags):
                raise DataError(
                    f"{self.label}: {name} has labels of {split.labels.shape[1]} tags, not of "
                    f"{len(self.tags)}."
                )

    @property
    def label(self) -> str:
        """Name and protocol, as in ``magnatagatune (clean)``."""
        return f"{self.name} ({self.protocol})"

    @property
    def exclusive(self) -> bool:
        """Whether every clip has one of the tags, of which there are several, and no other."""
        return len(self.tags) > 1 and all(
            bool((part.labels.sum(axis=1) == 1).all()) for part in self.splits.values()
        )

    def split(self, name: str) -> Split:
        """Return a split by its name.

        Raises
        ------
        DataError
            If it is missing; the message names the reason, or the splits that exist.
        """
        if name in self.splits:
            return self.splits[name]
        if name in self.absent:
            raise DataError(f"{self.label} has no {name} here: {self.absent[name]}")
        raise DataError(
            f"{self.label} has no split {name!r}; there are {', '.join(self.splits)}."
            f"{nearest(name, self.splits)}"
        )

    @property
    def train(self) -> Split:
        """The clips for training."""
        return self.split("train")

    @property
    def valid(self) -> Split:
        """The clips for validation."""
        return self.split("valid")

    @property
    def test(self) -> Split:
        """The clips for testing."""
        return self.split("test")

    def files(self, split: str) -> list[Path]:
        """Return the path of the sound of each clip of a split, in order; the files may be missing."""
        return [self.root / path for path in self.split(split).paths]

    def sources(self) -> dict[str, Path]:
        """Return the sound file of every clip by its path in the data set, as sources of a feature store."""
        return {path: self.root / path for split in self.splits.values() for path in split.paths}

    def require_sound(self, splits: Iterable[str] | None = None) -> None:
        """Make sure that any sound file is there, of all splits or of some: else the folder is a wrong one.

        Raises
        ------
        DataError
            If there is none; the message has the whole path of the first one that is missing.
        """
        files = [file for name in (self.splits if splits is None else splits) for file in self.files(name)]
        if not files or any(file.exists() for file in files):
            return
        root = self.root.absolute()
        way_out = self.root_is or "it is the folder that was given for the sound"
        what = f"{len(files)} sound files of {self.name}"
        if not root.is_dir():
            raise DataError(f"There is no folder {root}, where the {what} should be: {way_out}.")
        raise DataError(
            f"None of the {what} is there: the first would be {files[0].absolute()}. They are looked for in "
            f"{root}: {way_out}."
        )

    def without_positives(self, split: str) -> tuple[str, ...]:
        """Return the tags that no clip of a split has, which can be neither learned nor evaluated there."""
        counts = self.split(split).labels.sum(axis=0)
        return tuple(tag for i, tag in enumerate(self.tags) if not counts[i])

    def check(self, *, sound: bool = True) -> list[Problem]:
        """Return the files that are missing or altered.

        Annotation files that exist are compared with their published SHA-256. Sound files must exist and not
        be empty; their contents are not read.

        Parameters
        ----------
        sound
            Whether to look for the sound files, which takes a while over a network.
        """
        problems = [Problem("missing", self.root / name, why) for name, why in self.absent.items()]
        for name, expected in self.sums.items() if self.annotations is not None else ():
            path = annotation_files.find(self.annotations or self.root, name)
            if path is not None and (found := annotation_files.sha256(path)) != expected:
                problems.append(
                    Problem("altered", path, f"its SHA-256 is {found}, the published one {expected}.")
                )
        for name in self.splits if sound else ():
            for path in self.files(name):
                if not path.is_file():
                    problems.append(Problem("missing", path, f"it belongs to {name}."))
                elif path.stat().st_size == 0:
                    problems.append(Problem("altered", path, "it is empty."))
        return problems


class Signed(Protocol):
    """An object with a data set's name and protocol: the data set itself, or results on it."""

    @property
    def name(self) -> str:
        """Name of the data set."""

    @property
    def protocol(self) -> str:
        """Name of the protocol."""


def same_protocol(*signed: Signed) -> None:
    """Check that all follow one protocol of one data set, so that their results can be compared.

    Raises
    ------
    DataError
        If two differ; the message names both.
    """
    for other in signed[1:]:
        first = signed[0]
        if (first.name, first.protocol) != (other.name, other.protocol):
            raise DataError(
                f"{first.name} ({first.protocol}) and {other.name} ({other.protocol}) are not the same "
                "clips: their numbers cannot stand in one table. Make a table for each."
            )
