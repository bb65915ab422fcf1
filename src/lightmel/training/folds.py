"""Cross-validation by group: every clip is a test clip once, of a tagger that saw nothing of its group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

import numpy as np

from ..datasets import Dataset, Split, stratify
from ..errors import DataError
from ..evaluation import Evaluation, markdown

FEWEST = 3
"""Of the parts one is for testing and one for validation, and something must be left to learn from."""


@dataclass(frozen=True)
class Folds:
    """Figures of the taggers of a cross-validation, each on the clips that it did not learn from.

    Attributes
    ----------
    roc_auc, pr_auc
        Mean over tags, of each.
    clips
        Test clips of each.
    """

    roc_auc: tuple[float, ...]
    pr_auc: tuple[float, ...]
    clips: tuple[int, ...]

    @classmethod
    def of(cls, found: Sequence[Evaluation]) -> Folds:
        """Return the figures of these evaluations."""
        roc, pr = (tuple(getattr(e, f"macro_{m}") for e in found) for m in ("roc_auc", "pr_auc"))
        return cls(roc, pr, tuple(e.clips for e in found))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes; None for a fold in which nothing could be measured."""
        return {
            name: [None if np.isnan(value) else value for value in values]
            for name, values in asdict(self).items()
        }

    def table(self) -> str:
        """Return a line for each, and their mean and standard deviation, as a table in Markdown."""
        rows = [
            (str(i + 1), str(n), f"{roc:.3f}", f"{pr:.3f}")
            for i, (n, roc, pr) in enumerate(zip(self.clips, self.roc_auc, self.pr_auc, strict=True))
        ]
        spread = [f"{fmean(v):.3f} ± {stdev(v):.3f}" for v in (self.roc_auc, self.pr_auc)]
        return markdown(("fold", "clips", "ROC AUC", "PR AUC"), [*rows, ("**mean**", "", *spread)])


def in_folds(data: Dataset, folds: int) -> tuple[list[Dataset], Dataset, str]:
    """Return a data set for each fold, one without test clips for the tagger that is kept, and the protocol.

    Groups are undivided. The parts depend on nothing but the clips, so that trainings of other seeds are
    tested on the same ones. In fold i part i is for testing and the next one for validation. For the tagger
    that is kept the first part is for validation, and all else is learnt from.

    Raises
    ------
    DataError
        If there are fewer than three folds, or fewer groups than folds.
    """
    if folds < FEWEST:
        raise DataError(f"folds is at least {FEWEST}, not {folds}.", names=["folds"])
    parts = list(data.splits.values())
    every = [(path, group) for part in parts for path, group in zip(part.paths, part.groups, strict=True)]
    order = sorted(range(len(every)), key=lambda i: every[i])
    paths, groups = ([every[i][column] for i in order] for column in (0, 1))
    labels = np.concatenate([part.labels for part in parts])[order]
    place = stratify(groups, labels, [1 / folds] * folds, 0)

    def chosen(rows: np.ndarray[Any, np.dtype[np.int64]]) -> Split:
        return Split(tuple(paths[i] for i in rows), labels[rows].copy(), tuple(groups[i] for i in rows))

    def divided(valid: int, test: int | None, protocol: str) -> Dataset:
        own = {"valid": valid} | ({} if test is None else {"test": test})
        splits = {"train": chosen(np.flatnonzero(~np.isin(place, list(own.values()))))}
        splits |= {name: chosen(np.flatnonzero(place == part)) for name, part in own.items()}
        return replace(data, splits=splits, protocol=protocol, absent={})

    digest = hashlib.sha256(repr((data.tags, paths, groups)).encode("utf-8", "surrogateescape"))
    digest.update(np.packbits(labels).tobytes())
    by = f"by group, {folds} folds, {digest.hexdigest()[:8]}"
    each = [divided((i + 1) % folds, i, f"fold {i + 1} of a cross-validation {by}") for i in range(folds)]
    return each, divided(0, None, f"all but the first part, {by}"), f"cross-validation {by}"
