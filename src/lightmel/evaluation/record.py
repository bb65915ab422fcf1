"""The record of an evaluation: figures and what they were measured on, as JSON and as a table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .._files import beside, check_target, write_whole
from ..errors import DataError
from .metrics import macro
from .tables import figure, markdown, with_interval

Interval = tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """Figures of one tagger on one split, over clips.

    Attributes
    ----------
    dataset, protocol, split
        What it was measured on.
    model, version, config, weights
        Which tagger: name, version, front end, and `weights_sha256`.
    clips
        How many there were.
    positives
        For each tag the clips that have it.
    roc_auc, pr_auc
        Of each tag that could be measured.
    left_out
        The tags that could not, and why. They are no part of the averages.
    failed
        The files that could not be read, and why. They are no part of anything.
    roc_auc_interval, pr_auc_interval
        Of the averages (`lightmel.evaluation.bootstrap`); None where no tag could be measured.
    resamples, level, seed
        How the intervals were made.
    """

    dataset: str
    protocol: str
    split: str
    model: str
    version: str
    config: str
    weights: str
    clips: int
    positives: Mapping[str, int]
    roc_auc: Mapping[str, float]
    pr_auc: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    roc_auc_interval: Interval | None = None
    pr_auc_interval: Interval | None = None
    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    @property
    def name(self) -> str:
        """The data set's: what `lightmel.datasets.same_protocol` goes by."""
        return self.dataset

    @property
    def macro_roc_auc(self) -> float:
        """Mean over the measured tags; NaN without any."""
        return macro(self.roc_auc)

    @property
    def macro_pr_auc(self) -> float:
        """Mean over the measured tags; NaN without any."""
        return macro(self.pr_auc)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes, averages included; `from_dict` reads it back."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        averages = {"macro_roc_auc": self.macro_roc_auc, "macro_pr_auc": self.macro_pr_auc}
        return plain | {k: v if self.roc_auc else None for k, v in averages.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Evaluation:
        """Read what `to_dict` gave.

        Raises
        ------
        DataError
            If it is no evaluation; the message says what is missing.
        """
        known = {f.name for f in fields(cls)}
        if lost := sorted(known - set(plain)):
            raise DataError(f"This is no evaluation: {', '.join(lost)} is missing.")
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items() if k in known
        }
        return cls(**given)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, and its table beside it (``.md``), each whole or not at all.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        check_target(path, (".md",), DataError)
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        for target, what in ((path, text), (beside(path, ".md"), self.table())):
            # File names that are not UTF-8 hold lone surrogates: as \udcxx they are JSON, and read back.
            write_whole(target, f"{what}\n".encode(errors="backslashreplace"), DataError)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Evaluation:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If it cannot be read or is no evaluation.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as an evaluation: {error}.") from error
        if not isinstance(plain, dict):
            raise DataError(f"{path} holds no evaluation but a {type(plain).__name__}.")
        try:
            return cls.from_dict(plain)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def table(self) -> str:
        """Return the figures of each tag and their averages as a table in Markdown."""
        heading = f"{self.model} {self.version}".strip()
        rows = [
            (tag, str(n), figure(self.roc_auc.get(tag)), figure(self.pr_auc.get(tag)))
            for tag, n in self.positives.items()
        ]
        rows.append(
            (
                f"**mean of {len(self.roc_auc)} tags**",
                "",
                with_interval(self.macro_roc_auc, self.roc_auc_interval),
                with_interval(self.macro_pr_auc, self.pr_auc_interval),
            )
        )
        notes = [f"Left out: {tag} ({why})." for tag, why in self.left_out.items()]
        if self.failed:
            notes.append(f"Could not be read: {len(self.failed)} files.")
        return "\n".join(
            [
                f"{heading} ({self.config}, weights {self.weights[:12]}) on {self.split} of {self.dataset}, "
                f"{self.protocol}: {self.clips} clips.",
                "",
                markdown(("tag", "true clips", "ROC AUC", "PR AUC"), rows),
                *(["", *notes] if notes else []),
            ]
        )
