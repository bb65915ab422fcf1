"""The splits of a data set as examples: labels from the data set, features from a store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..datasets import Dataset
from ..errors import DataError
from .examples import FeatureExamples
from .store import FeatureStore

log = logging.getLogger("lightmel")


@dataclass(frozen=True)
class LabeledSplits:
    """The splits of a data set as examples, and the clips that could not be read."""

    data: Dataset
    examples: Mapping[str, FeatureExamples]
    failed: Mapping[str, Mapping[str, str]]

    @property
    def counts(self) -> dict[str, int]:
        """Number of training clips of each tag."""
        labels = self.examples["train"].labels.sum(dim=0)
        return {tag: int(n) for tag, n in zip(self.data.tags, labels, strict=True)}

    def paths(self, split: str) -> list[str]:
        """Return the clips of a split that could be read, in the order of the examples."""
        return [path for path in self.data.split(split).paths if path not in self.failed[split]]


def label_features(
    data: Dataset, store: FeatureStore, n_frames: int, splits: Sequence[str] | None = None
) -> LabeledSplits:
    """Return the splits of `data`, or some of them, as examples of `n_frames` from a store of features.

    Clips that failed when the store was built are left out, and a warning in the log counts them.

    Raises
    ------
    DataError
        If a split is missing or none of its clips is readable, or the store lacks clips that did not fail.
    """
    examples: dict[str, FeatureExamples] = {}
    failed: dict[str, dict[str, str]] = {}
    for name in data.splits if splits is None else splits:
        split = data.split(name)
        failed[name] = {path: store.failed[path] for path in split.paths if path in store.failed}
        kept = [i for i, path in enumerate(split.paths) if path not in failed[name]]
        if failed[name]:
            first = next(iter(failed[name].items()))
            log.warning(
                "%s: %d of %d clips of %s are left out, %s among them: %s",
                data.name,
                len(failed[name]),
                len(split),
                name,
                *first,
            )
        if not kept:
            raise DataError(nothing_readable(failed[name], f"{name} of {data.label}"))
        rows = store.rows(split.paths[i] for i in kept)
        examples[name] = FeatureExamples(store, rows, split.labels[kept], n_frames)
    return LabeledSplits(data, examples, failed)


def nothing_readable(failed: Mapping[str, str], what: str) -> str:
    """Return the message for clips none of which can be read, with the first reason."""
    if not failed:
        return f"There are no files in {what}."
    return f"None of the files of {what} can be read, the first because: {next(iter(failed.values()))}"
