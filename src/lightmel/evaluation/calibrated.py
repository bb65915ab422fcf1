"""The record of a calibration: what it rests on, and its figures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from .._files import beside, write_whole
from ..errors import DataError
from ..inference import Tagger
from ..vocabularies import MUSIC
from .chances import Bin
from .record import Evaluation


@dataclass(frozen=True)
class Agreement:
    """How chances and thresholds agree with labels that they were not made from.

    The clips are divided by group; each part has the chances and thresholds that the other parts gave.

    Attributes
    ----------
    folds
        Number of parts.
    f1, f1_before
        Of each verified tag; before, with the tagger's own scores and thresholds, `FALLBACK_THRESHOLD` where
        it has none.
    error, error_before
        Expected calibration error of each verified tag.
    pooled_error, pooled_error_before
        The same over all of these tags at once.
    bins
        `reliability` over all of these tags.
    """

    folds: int
    f1: Mapping[str, float]
    f1_before: Mapping[str, float]
    error: Mapping[str, float]
    error_before: Mapping[str, float]
    pooled_error: float
    pooled_error_before: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Separation:
    """How a tag tells two kinds of sound apart: music and none, or speech and other sounds without music.

    Music must reach the threshold throughout, in every stretch that may be called a part; other sounds count
    by the mean over the clip.

    Attributes
    ----------
    threshold
        Of the tag.
    clips, others
        Number of clips that should reach it, and of those that should not.
    kept, told
        Share of the ones that reach it, and of the others that do not, by thresholds of other groups; None
        where there are too few groups.
    """

    threshold: float
    clips: int
    others: int
    kept: float | None
    told: float | None


@dataclass(frozen=True)
class Calibration:
    """What a calibration rests on, and its figures.

    Attributes
    ----------
    model, version
        The tagger that was calibrated.
    music, annotations
        Names of the folder or table of music, and of the table of labels; empty for none.
    clips, groups
        Music that was read: clips, and their groups.
    annotated_clips, annotated_groups
        Of these, those with labels.
    positives
        For each tag with labels, the clips that have it.
    verified
        The tags with chances of their own.
    slope, offset
        Of the logits of tags without labels; 1 and 0 if there are none at all.
    thresholds
        One a tag.
    teachers
        Slope and offset that the tags with labels of each teacher share; tags that a teacher knows have these
        in place of the ones above.
    agreement
        With the labels; None without any, or with too few groups to leave some out.
    sounds
        How ``"music"`` and ``"speech"`` are told apart, where sounds were given for that.
    failed
        Files that could not be read, and why.
    evaluation
        ROC AUC and PR AUC of the verified tags against the labels, by chances that labels of other groups
        gave: where there is an `agreement`. Each tag is measured on the clips that have a label of it.
    """

    model: str
    version: str
    music: str
    annotations: str
    clips: int
    groups: int
    annotated_clips: int
    annotated_groups: int
    positives: Mapping[str, int]
    verified: tuple[str, ...]
    slope: float
    offset: float
    thresholds: Mapping[str, float]
    teachers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    agreement: Agreement | None = None
    sounds: Mapping[str, Separation] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    evaluation: Evaluation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes; None for a figure that there is none of."""
        plain = asdict(replace(self, evaluation=None))
        if self.evaluation is not None:
            plain["evaluation"] = self.evaluation.to_dict()
        if self.agreement is not None:
            plain["agreement"] |= {
                what: {tag: None if np.isnan(f1) else f1 for tag, f1 in plain["agreement"][what].items()}
                for what in ("f1", "f1_before")
            }
            plain["agreement"]["bins"] = [own._asdict() for own in self.agreement.bins]
        return plain | {"verified": list(self.verified)}

    def summary(self) -> str:
        """Return what was done and its figures in a few lines, to read."""
        lines = [f"{self.clips} clips of {self.groups} groups gave {len(self.thresholds)} thresholds."]
        if self.failed:
            lines.append(f"{len(self.failed)} files could not be read.")
        if self.annotations:
            lines.append(
                f"{self.annotated_clips} of them, of {self.annotated_groups} groups, have labels: "
                f"{len(self.verified)} tags are verified, those without labels have slope {self.slope:.2f} "
                f"and offset {self.offset:+.2f} of these"
                + ("." if not self.teachers else ", or those of the teachers that know them:")
            )
            lines += [f"  {name} {a:.2f} {b:+.2f}" for name, (a, b) in self.teachers.items()]
        else:
            lines.append("No labels: scores are taken for chances as they are.")
        if (found := self.agreement) is not None:
            lines += [
                f"Against labels of other groups ({found.folds} parts), before and after:",
                f"  calibration error      {found.pooled_error_before:.3f}  {found.pooled_error:.3f}",
                f"  F1, mean over the tags {mean_f1(found.f1_before):.3f}  {mean_f1(found.f1):.3f}",
            ]
        for what, own in self.sounds.items():
            line = f"{what} from {own.threshold:.2f} on"
            if own.kept is not None and own.told is not None:
                throughout = " throughout" if what == MUSIC else ""
                line += f": {own.kept:.1%} reach it{throughout}, "
                line += f"and {1 - own.told:.1%} of {own.others} other sounds"
            lines.append(f"{line}.")
        return "\n".join(lines)


def mean_f1(figures: Mapping[str, float]) -> float:
    """Return the mean over the tags that have one; NaN without any."""
    known = [value for value in figures.values() if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


class Calibrated(NamedTuple):
    """A calibrated tagger, and what its calibration rests on."""

    tagger: Tagger
    calibration: Calibration

    def save(self, path: str | os.PathLike[str], dtype: Literal["float32", "float16"] = "float32") -> None:
        """Write the tagger, and its calibration beside it as ``.json``, each whole or not at all.

        `dtype` is that of `Tagger.save`.

        Raises
        ------
        WeightsError, DataError
            If one cannot be written.
        """
        self.tagger.save(path, dtype)
        text = json.dumps(self.calibration.to_dict(), indent=1, allow_nan=False)
        write_whole(beside(path, ".json"), f"{text}\n".encode(), DataError)
