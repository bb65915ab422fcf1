"""What a study learns from and is measured on: a labelled set or teachers' scores; further tests."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._files import at_home, relative
from ..datasets import (
    TRUE_SHARE,
    DataConfig,
    Dataset,
    load_dataset,
    read_human_annotations,
    shares_of,
    whole_path,
)
from ..distillation import SCORES_DESCRIPTION, TeacherScores
from ..errors import ConfigError, DataError

MIN_POSITIVES = 3
"""True clips that a tag of a further test has at least; others are left out."""
_TAKEN = ("test", "agreement")
"""The data set's own test, and the agreement with teachers: files of these names lie beside each result."""


@dataclass(frozen=True, eq=False)
class LabelledTest:
    """Clips with labels that the study is measured on beside its own test clips.

    Attributes
    ----------
    name
        What it is called in the report.
    paths
        The sound files, whole paths.
    keys
        The same, as clips of a store.
    tags
        Those of the study that it knows of all clips, and that at least `MIN_POSITIVES` and not all have.
    truth
        ``(clips, tags)``.
    """

    name: str
    paths: tuple[Path, ...]
    keys: tuple[str, ...]
    tags: tuple[str, ...]
    truth: NDArray[np.bool_]

    @property
    def protocol(self) -> str:
        """What counts as true, for the record."""
        return f"shares of at least {TRUE_SHARE:g}, tags with {MIN_POSITIVES} or more true clips"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of labels, files and their sizes."""
        return _digest(
            (self.tags, self.truth.tobytes(), _sized(dict(zip(self.keys, self.paths, strict=True))))
        )


def read_test(name: str, table: str | os.PathLike[str], tags: Sequence[str], root: Path) -> LabelledTest:
    """Read a table of human annotations as a test of `tags`; see `lightmel.datasets.read_human_annotations`.

    Raises
    ------
    ConfigError
        If its name is no word, or that of files that a study has already.
    DataError
        If it cannot be read, or knows none of the tags.
    """
    if name in _TAKEN or not re.fullmatch(r"\w+", name):
        raise ConfigError(
            f"A test is called by a word of letters and digits, and neither {' nor '.join(_TAKEN)}, which a "
            f"study has itself; not {name!r}."
        )
    annotations = read_human_annotations(at_home(table))
    paths = tuple(annotations)
    shares = shares_of(annotations, paths, tags)
    truth = shares >= TRUE_SHARE
    counts = truth.sum(axis=0)
    known = ~np.isnan(shares).any(axis=0)
    chosen = np.flatnonzero(known & (counts >= MIN_POSITIVES) & (counts < len(paths))).tolist()
    if not chosen:
        raise DataError(
            f"{table} has none of the {len(tags)} tags of the study for all of its {len(paths)} clips, "
            f"{MIN_POSITIVES} of them true: nothing can be measured on it."
        )
    keys = tuple(relative(path, root) for path in paths)
    return LabelledTest(name, paths, keys, tuple(tags[i] for i in chosen), truth[:, chosen])


def _check_held_out(tests: Sequence[LabelledTest], taught: set[Path]) -> None:
    """Raise `ConfigError` if a further test has clips that are trained on."""
    for test in tests:
        if seen := [path for path in test.paths if path in taught]:
            raise ConfigError(
                f"The test {test.name!r} has {len(seen)} clips that are trained on, {seen[0].name} among "
                "them: its figures would say nothing. Hold their groups out."
            )


class StudyData(ABC):
    """What a study learns from.

    Attributes
    ----------
    kind
        ``"labels"`` or ``"scores"``.
    tests
        What it is measured on beside its own test clips.
    """

    kind: ClassVar[str]
    tests: tuple[LabelledTest, ...]

    @property
    @abstractmethod
    def label(self) -> str:
        """Name and protocol."""

    @property
    @abstractmethod
    def tags(self) -> tuple[str, ...]:
        """What the networks learn."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of what is learnt from: clips, labels, splits."""

    @property
    @abstractmethod
    def root(self) -> Path:
        """Folder that the keys of clips are relative to."""

    @property
    @abstractmethod
    def own_sources(self) -> Mapping[str, Path]:
        """The sound file of each clip by its key, without those of further tests."""

    @property
    def excerpt_seconds(self) -> float | None:
        """Seconds of each file that features are computed of, if the data say so."""
        return None

    @cached_property
    def sources(self) -> dict[str, Path]:
        """The sound file of every clip, those of further tests included, by its key."""
        found = dict(self.own_sources)
        for test in self.tests:
            found |= {key: found.get(key, path) for key, path in zip(test.keys, test.paths, strict=True)}
        return found

    def fingerprint(self) -> dict[str, Any]:
        """Return digests of data and tests, as plain data."""
        return {"data": self.digest, "tests": {test.name: test.digest for test in self.tests}}


class LabelledData(StudyData):
    """A data set with labels."""

    kind = "labels"

    def __init__(self, dataset: Dataset, tests: Mapping[str, str | os.PathLike[str]] | None = None) -> None:
        self.dataset = dataset
        self.tests = tuple(read_test(n, t, dataset.tags, dataset.root) for n, t in (tests or {}).items())
        for name in ("train", "test"):
            if name == "train" or not self.tests:
                dataset.split(name)
        if len(dataset.tags) < 2:
            raise DataError(
                f"{dataset.label} has one tag, {dataset.tags[0]!r}: a study wants at least two, so that "
                "there is something to tell apart."
            )
        for name in ("train", *(("test",) if "test" in dataset.splits else ())):
            labels = dataset.split(name).labels
            if not (labels.any(axis=0) & ~labels.all(axis=0)).any():
                raise DataError(
                    f"{name} of {dataset.label} has no tag with true and false clips: nothing can be "
                    "measured."
                )
        dataset.require_sound()
        taught = set(dataset.split("train").paths)
        _check_held_out(
            self.tests, {whole_path(path) for key, path in dataset.sources().items() if key in taught}
        )

    @property
    def label(self) -> str:
        return self.dataset.label

    @property
    def tags(self) -> tuple[str, ...]:
        return self.dataset.tags

    @property
    def root(self) -> Path:
        return self.dataset.root

    @cached_property
    def own_sources(self) -> Mapping[str, Path]:
        return self.dataset.sources()

    @cached_property
    def digest(self) -> str:
        splits = {name: (s.paths, s.labels.tobytes()) for name, s in self.dataset.splits.items()}
        return _digest((self.label, self.tags, splits, _sized(self.own_sources)))


class ScoredData(StudyData):
    """Teachers' scores of music."""

    kind = "scores"

    def __init__(
        self, scores: TeacherScores, tests: Mapping[str, str | os.PathLike[str]] | None = None
    ) -> None:
        self.scores = scores
        self.tests = tuple(read_test(n, t, scores.tags, scores.folder) for n, t in (tests or {}).items())
        taught = {whole_path(path) for key, path in scores.sources().items() if key in self._of("train")}
        _check_held_out(self.tests, taught)
        if not self._of("test"):
            raise DataError(f"{scores.folder} holds no music that is held out: score it with some.")

    def _of(self, split: str) -> set[str]:
        return {clip.path for clip in self.scores.clips if clip.split == split}

    @property
    def label(self) -> str:
        return self.scores.label

    @property
    def tags(self) -> tuple[str, ...]:
        return self.scores.tags

    @property
    def root(self) -> Path:
        return self.scores.folder

    @property
    def excerpt_seconds(self) -> float | None:
        return self.scores.config.excerpt_seconds

    @cached_property
    def own_sources(self) -> Mapping[str, Path]:
        return self.scores.sources()

    @property
    def digest(self) -> str:
        return self.scores.digest


def open_data(
    source: str | os.PathLike[str],
    config: DataConfig | None = None,
    tests: Mapping[str, str | os.PathLike[str]] | None = None,
) -> StudyData:
    """Open what a study learns from: a folder of teachers' scores, or whatever `load_dataset` reads.

    Raises
    ------
    DataError, ConfigError
        If it cannot be read, or nothing can be learnt from or measured on it.
    """
    place = at_home(source)
    if (place / SCORES_DESCRIPTION).is_file():
        return ScoredData(TeacherScores.open(place), tests)
    return LabelledData(load_dataset(place, config), tests)


def reopening(
    source: str | os.PathLike[str], config: DataConfig | None, tests: Mapping[str, str | os.PathLike[str]]
) -> dict[str, Any]:
    """Return what `reopened` opens the same data by in another process, as plain data."""
    return {
        "source": os.path.abspath(at_home(source)),  # noqa: PTH100 - follow no links
        "config": asdict(config or DataConfig()),
        "tests": {name: os.path.abspath(at_home(table)) for name, table in tests.items()},  # noqa: PTH100
    }


def reopened(plain: Mapping[str, Any]) -> StudyData:
    """Open what `reopening` describes."""
    return open_data(plain["source"], DataConfig(**plain["config"]), plain["tests"])


def _digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _sized(sources: Mapping[str, Path]) -> list[tuple[str, int]]:
    """Return the clips and the bytes of their files, which tell most changes; -1 where there is none."""
    return [(key, path.stat().st_size if path.is_file() else -1) for key, path in sources.items()]
