"""The record of an evaluation: figures and what they were measured on, as JSON and as a table.

The scores of the clips go beside it (``.npz``): two taggers on the same clips are compared by them.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import beside, check_target, write_whole
from ..errors import DataError
from .metrics import macro
from .tables import figure, markdown, with_interval

Interval = tuple[float, float]
TOO_WIDE = 0.1
"""An interval of the ROC AUC that is wider holds taggers that everybody would tell apart.

``benchmarks/interval_coverage.py``: with four tags of one a clip, 60 test clips give 0.11, 100 give 0.085.
"""
FEW_CLIPS = 30
"""With fewer, intervals are too narrow: of 95 % ones 90 % held the true value with 12 clips, 92 % with 20,
95 % with 30, by the same program."""
_OF_ONE_TAG = ("accuracy", "balanced_accuracy", "accuracy_interval")
"""Figures that only sets have in which each clip has one tag."""

_TEXTS = ("dataset", "protocol", "split", "model", "version", "config", "weights")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "positives": ((int,), "a number of clips"),
    **dict.fromkeys(("roc_auc", "pr_auc"), ((int, float), "a number")),
    **dict.fromkeys(("left_out", "failed"), ((str,), "a reason")),
}


@dataclass(frozen=True, eq=False)
class ClipScores:
    """What an evaluation was measured by: labels and scores of its clips.

    Attributes
    ----------
    paths
        Of the clips, as the data set names them.
    tags
        Names of the columns.
    truth, scores
        ``(clips, tags)``.
    """

    paths: tuple[str, ...]
    tags: tuple[str, ...]
    truth: NDArray[np.bool_]
    scores: NDArray[np.floating]

    def to_bytes(self, weights: str) -> bytes:
        """Return them as the bytes of an ``.npz``, with the digest of the weights that gave them."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            paths=np.array(self.paths, dtype=np.str_),
            tags=np.array(self.tags, dtype=np.str_),
            truth=self.truth,
            scores=self.scores.astype(np.float32),
            weights=np.array(weights),
        )
        return buffer.getvalue()

    @classmethod
    def read(cls, file: Path, weights: str) -> ClipScores | None:
        """Return what `to_bytes` gave, from a file; None if none is there whole and of these weights."""
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as found:
                if str(found["weights"]) != weights:
                    return None
                scores = cls(
                    tuple(found["paths"].tolist()),
                    tuple(found["tags"].tolist()),
                    found["truth"],
                    found["scores"],
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        shape = len(scores.paths), len(scores.tags)
        return scores if scores.truth.shape == scores.scores.shape == shape else None


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
    accuracy, balanced_accuracy, accuracy_interval
        Where each clip has one tag, and the tagger knows it (`Description.exclusive`): the share of the clips
        whose best score is that of their tag, the mean over the tags of this share, and Wilson's interval of
        the first; None elsewhere.
    clip_scores
        Of the clips, if they are at hand; no part of the JSON.
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
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    accuracy_interval: Interval | None = None
    clip_scores: ClipScores | None = field(default=None, compare=False, repr=False)

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

    @property
    def undecided(self) -> str | None:
        """Why the figures are too uncertain to decide by, in a sentence; None where they are not."""
        if self.roc_auc_interval is None:
            return None
        low, high = self.roc_auc_interval
        if high - low <= TOO_WIDE and self.clips >= FEW_CLIPS:
            return None
        why = f"is {high - low:.2f} wide" if high - low > TOO_WIDE else ""
        if self.clips < FEW_CLIPS:
            why += f"{', and ' if why else ''}is too narrow itself with so few"
        more = "" if "cross-validation" in self.protocol else "; fine-tuning can cross-validate (--folds 5)"
        return (
            f"These {self.clips} clips cannot carry a decision: the interval of the ROC AUC {why}. Measure "
            f"on more clips{more}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes, averages included; `from_dict` reads it back."""
        figures = asdict(replace(self, clip_scores=None))
        for name in ("clip_scores", *(n for n in _OF_ONE_TAG if figures[n] is None)):
            del figures[name]
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in figures.items()}
        averages = {"macro_roc_auc": self.macro_roc_auc, "macro_pr_auc": self.macro_pr_auc}
        return plain | {k: v if self.roc_auc else None for k, v in averages.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Evaluation:
        """Read what `to_dict` gave, or what holds that under ``"evaluation"``, as trainings write it.

        Raises
        ------
        DataError
            If it is no evaluation; the message says what is missing.
        """
        known = {f.name for f in fields(cls)} - {"clip_scores"}
        if not isinstance(plain, Mapping):
            raise DataError(f"This is no evaluation but a {type(plain).__name__}.")
        if "evaluation" in plain and "dataset" not in plain:
            if plain["evaluation"] is None:
                raise DataError(
                    "It holds no evaluation: there were no test clips or, for distill and calibrate, too few "
                    "labels. `lightmel evaluate` measures the tagger on labelled clips."
                )
            return cls.from_dict(plain["evaluation"])
        needed = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
        if lost := sorted(needed - set(plain)):
            raise DataError(f"This is no evaluation: {', '.join(lost)} is missing.")
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items() if k in known
        }
        for name, (kind, words) in _KINDS.items():
            values = given.get(name, {})
            if not isinstance(values, Mapping) or not all(isinstance(v, kind) for v in values.values()):
                raise DataError(f"This is no evaluation: {name} is to hold {words} for each name.")
        for name in ("roc_auc_interval", "pr_auc_interval", "accuracy_interval"):
            if (ends := given.get(name)) is not None and not _is_interval(ends):
                raise DataError(f"This is no evaluation: {name} is to be two numbers.")
        if not isinstance(given["clips"], int):
            raise DataError("This is no evaluation: clips is to be their number.")
        return cls(**given | {name: str(given[name]) for name in _TEXTS})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; beside it its table (``.md``) and the scores of its clips (``.npz``).

        Each file is there whole or not at all.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        check_target(path, (".md", ".npz"), DataError)
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        for target, what in ((path, text), (beside(path, ".md"), self.table())):
            # File names that are not UTF-8 hold lone surrogates: as \udcxx they are JSON, and read back.
            write_whole(target, f"{what}\n".encode(errors="backslashreplace"), DataError)
        self.save_scores(path)

    def save_scores(self, path: str | os.PathLike[str]) -> None:
        """Write the scores of the clips beside `path` (``.npz``), if they are at hand.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        if self.clip_scores is not None:
            write_whole(beside(path, ".npz"), self.clip_scores.to_bytes(self.weights), DataError)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Evaluation:
        """Read what `save` wrote, or the figures beside a tagger (``.json``) that any command wrote.

        Scores of clips are read too, where they lie beside it and are of the same weights.

        Raises
        ------
        DataError
            If it cannot be read or is no evaluation.
        """
        path = Path(path)
        if path.suffix == ".safetensors":
            raise DataError(f"{path} is a tagger; its figures lie beside it: {path.with_suffix('.json')}.")
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(f"{path} cannot be read as an evaluation: {why}.") from error
        try:
            found = cls.from_dict(plain)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        return replace(found, clip_scores=ClipScores.read(beside(path, ".npz"), found.weights))

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
        if self.accuracy is not None and self.balanced_accuracy is not None:
            notes = [
                f"Best tag right: {with_interval(self.accuracy, self.accuracy_interval)} of the clips; "
                f"{self.balanced_accuracy:.3f} where each tag counts once."
            ]
        else:
            notes = []
        if (why := self.undecided) is not None:
            notes.append(why)
        notes += [f"Left out: {tag} ({why})." for tag, why in self.left_out.items()]
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


def _is_interval(ends: object) -> bool:
    return isinstance(ends, tuple) and len(ends) == 2 and all(isinstance(end, (int, float)) for end in ends)
