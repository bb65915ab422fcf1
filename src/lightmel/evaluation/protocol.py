"""Measuring a tagger on labelled clips that it was not trained on, from their files or their features."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._steady import steady
from ..checkpoint import weights_sha256
from ..datasets import TRUE_SHARE, Dataset
from ..errors import ConfigError, DataError, ShapeError
from ..features import FeatureExamples, FeatureStore, label_features, nothing_readable
from ..inference import Tagger, Tagging, load
from ..models import TaggingNetwork
from .metrics import Measure, bootstrap, pr_auc, roc_auc, wilson
from .record import ClipScores, Evaluation, Interval
from .scoring import score_clips

log = logging.getLogger("lightmel")

NO_CLIP, EVERY_CLIP, UNKNOWN = "no clip has it", "every clip has it", "the tagger does not have it"
TOO_FEW = "too few clips are known to have it or not to"
"""Why a tag is left out."""


@dataclass(frozen=True)
class Intervals:
    """How the intervals of the figures are made: see `bootstrap`.

    Raises
    ------
    ConfigError
        If `resamples` is below 1 or `level` not between 0 and 1.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ConfigError(f"resamples is at least 1, not {self.resamples}.", names=("resamples",))
        if not 0 < self.level < 1:
            raise ConfigError(f"level lies between 0 and 1, not {self.level}.", names=("level",))


DEFAULT_INTERVALS = Intervals()


@dataclass(frozen=True)
class ClipSet:
    """Which clips an evaluation rests on, for its record: `failed` could not be read, and why.

    With their `paths`, the record has the scores of the clips. In an `exclusive` set each clip has one tag,
    so that the best score is measured, too.
    """

    dataset: str
    protocol: str
    split: str = "test"
    failed: Mapping[str, str] = field(default_factory=dict)
    paths: Sequence[str] = ()
    exclusive: bool = False


@steady
def evaluate(
    tagger: Tagger | str | os.PathLike[str],
    data: Dataset,
    split: str = "test",
    *,
    features: FeatureStore | None = None,
    on_clip: Callable[[int, int], None] | None = None,
    intervals: Intervals = DEFAULT_INTERVALS,
) -> Evaluation:
    """Measure a tagger on the labelled clips of a data set.

    From files, each is tagged as a user would tag it. From a store of features, the score of a clip is the
    mean over the scores of segments that are cut from its features, back to back; `Tagger.tag` cuts the
    sound, so that its segments lie a little closer and each is padded at its own ends: the figures differ by
    some hundredths where clips are a few segments long.

    A file that cannot be read is listed in the result, and the rest go on. Tags that the tagger does not
    have, or that no clip has, are named, left out, and warned of in the log.

    Parameters
    ----------
    tagger
        Which.
    data, split
        On what.
    features
        A store of the clips' features; without one their files are read.
    on_clip
        Called with the files that are done and all files.
    intervals
        How the intervals are made.

    Raises
    ------
    DataError
        If there is no such split, none of its files can be read, or the tagger has none of its tags.
    ConfigError
        If the features are of another front end than the tagger's, or the tags are not the tagger's in its
        order (files are compared by the tags' names).
    """
    tagger = tagger if isinstance(tagger, Tagger) else load(tagger)
    if features is not None:
        labeled = label_features(data, features, tagger.config.shape(tagger.segment_samples)[1], [split])
        clips = ClipSet(
            data.name,
            data.protocol,
            split,
            labeled.failed[split],
            labeled.paths(split),
            tagger.description.exclusive,
        )
        return evaluate_examples(tagger, labeled.examples[split], data.tags, clips, intervals)
    part = data.split(split)
    data.require_sound([split])
    shared = [i for i, tag in enumerate(data.tags) if tag in tagger.tags]
    if not shared:
        raise DataError(
            f"{tagger.name} has none of the tags of {data.label}: {', '.join(data.tags[:5])}... "
            "Choose another tagger, or fine-tune one for these tags."
        )
    tags = [data.tags[i] for i in shared]
    scores: list[list[float]] = []
    rows: list[int] = []
    failed: dict[str, str] = {}
    for row, found in enumerate(tagger.tag_many(data.files(split), errors="return")):
        if isinstance(found, Tagging):
            by_tag = dict(zip(found.tags, found.scores, strict=True))
            scores.append([by_tag[tag] for tag in tags])
            rows.append(row)
        else:
            failed[part.paths[row]] = str(found)
        if on_clip is not None:
            on_clip(row + 1, len(part))
    if not rows:
        raise DataError(nothing_readable(failed, f"{split} of {data.label}"))
    return _measured(
        part.labels[np.ix_(rows, shared)],
        np.array(scores),
        tags,
        ClipSet(
            data.name,
            data.protocol,
            split,
            failed,
            [part.paths[row] for row in rows],
            tagger.description.exclusive and len(tags) == len(data.tags),
        ),
        intervals,
        left_out={tag: UNKNOWN for tag in data.tags if tag not in tags},
        **_signature(tagger),
    )


@steady
def evaluate_examples(
    model: Tagger | TaggingNetwork,
    examples: FeatureExamples,
    tags: Sequence[str],
    clips: ClipSet,
    intervals: Intervals = DEFAULT_INTERVALS,
) -> Evaluation:
    """Measure a tagger, or a network, on examples: the lower rung of `evaluate`.

    A label of at least a half is true.

    Parameters
    ----------
    model
        Which; a network is put into evaluation mode.
    examples
        On what.
    tags
        The names of the labels, in order.
    clips
        What the examples are, for the record.
    intervals
        How the intervals are made.

    Raises
    ------
    ConfigError
        If the features are of another front end than the tagger's, or tags, labels and outputs differ in
        number.
    """
    if isinstance(model, Tagger):
        examples.features.require(model.config)
        if tuple(tags) != model.tags:
            raise ConfigError(
                f"The labels are not those of {model.name} in its order. Evaluate it on files, which goes by "
                "names: `evaluate` without features, or `lightmel evaluate` without --features."
            )
        network, signature = model.network.to(torch.device(model.device)), _signature(model)
    else:
        network = model.eval()
        signature = {
            "model": network.architecture,
            "version": "",
            "config": examples.features.config.slug,
            "weights": weights_sha256(network),
        }
    if not len(tags) == network.n_tags == examples.labels.shape[1]:
        raise ConfigError(
            f"{len(tags)} tags, a network of {network.n_tags} and labels of {examples.labels.shape[1]} "
            "do not fit each other."
        )
    truth = examples.labels.numpy() >= 0.5
    return _measured(truth, score_clips(network, examples), tags, clips, intervals, **signature)


def evaluate_scores(
    tagger: Tagger,
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    tags: Sequence[str],
    clips: ClipSet,
    intervals: Intervals = DEFAULT_INTERVALS,
) -> Evaluation:
    """Measure a tagger by scores that it has given, for all or some of its tags: the lowest rung.

    Parameters
    ----------
    tagger
        Whose scores they are.
    truth, scores
        ``(clips, tags)``.
    tags
        Names of the columns.
    clips
        What the clips are, for the record.
    intervals
        How the intervals are made.

    Raises
    ------
    ShapeError
        If `truth`, `scores` and `tags` do not fit each other.
    DataError
        If a score is not finite.
    """
    if not truth.shape == scores.shape == (len(truth), len(tags)):
        raise ShapeError(
            f"Labels of shape {truth.shape} and scores of {scores.shape} want to be (clips, {len(tags)}): a "
            "column for each tag."
        )
    return _measured(truth, scores, tags, clips, intervals, **_signature(tagger))


def evaluate_known(
    tagger: Tagger,
    shares: NDArray[np.float64],
    scores: NDArray[np.float64],
    columns: Sequence[int],
    dataset: str,
    protocol: str,
    min_positives: int = 1,
) -> Evaluation | None:
    """Measure scores against labels that are known of some clips for some tags: each tag on its own clips.

    There are no intervals, because the clips of the tags differ. None where no tag can be measured.

    Parameters
    ----------
    tagger
        Whose scores they are.
    shares, scores
        ``(clips, tags)``; NaN where nothing is known.
    columns
        Which of the tagger's tags are measured.
    dataset, protocol
        For the record.
    min_positives
        With fewer true clips a tag is left out.
    """
    roc: dict[str, float] = {}
    pr: dict[str, float] = {}
    positives: dict[str, int] = {}
    used = np.zeros(len(shares), dtype=np.bool_)
    for i in columns:
        known = ~np.isnan(shares[:, i]) & ~np.isnan(scores[:, i])
        truth, own = shares[known, i : i + 1] >= TRUE_SHARE, scores[known, i : i + 1]
        tag = [tagger.tags[i]]
        positives[tag[0]] = int(truth.sum())
        if figures := roc_auc(truth, own, tag, min_positives):
            roc |= figures
            pr |= pr_auc(truth, own, tag, min_positives)
            used |= known
    if not roc:
        return None
    return Evaluation(
        dataset=dataset,
        protocol=protocol,
        split="test",
        clips=int(used.sum()),
        positives=positives,
        left_out={tag: TOO_FEW for tag in positives if tag not in roc},
        roc_auc=roc,
        pr_auc=pr,
        **_signature(tagger),
    )


def _signature(tagger: Tagger) -> dict[str, Any]:
    return {
        "model": tagger.name,
        "version": tagger.description.version,
        "config": tagger.config.slug,
        "weights": tagger.runtime.weights,
    }


def _measured(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    tags: Sequence[str],
    clips: ClipSet,
    intervals: Intervals,
    *,
    left_out: Mapping[str, str] | None = None,
    **signature: Any,
) -> Evaluation:
    counts = truth.sum(axis=0)
    left = dict(left_out or {})
    left |= {tag: NO_CLIP for tag, n in zip(tags, counts, strict=True) if n == 0}
    left |= {tag: EVERY_CLIP for tag, n in zip(tags, counts, strict=True) if n == len(truth)}
    for why in dict.fromkeys(left.values()):
        names = [tag for tag, own in left.items() if own == why]
        log.warning(
            "%s of %s: left out of the figures, %s: %s.", clips.split, clips.dataset, why, ", ".join(names)
        )

    def interval(measure: Measure) -> Interval | None:
        # The same clips for both measures: their intervals belong together.
        rng = np.random.default_rng(intervals.seed)
        low, high = bootstrap(
            truth, scores, tags, measure, rng, resamples=intervals.resamples, level=intervals.level
        )
        return None if np.isnan(low) else (low, high)

    right = _right(truth, scores) if clips.exclusive else None
    return Evaluation(
        dataset=clips.dataset,
        protocol=clips.protocol,
        split=clips.split,
        failed=dict(clips.failed),
        **signature,
        clips=len(truth),
        positives={tag: int(n) for tag, n in zip(tags, counts, strict=True)},
        roc_auc=roc_auc(truth, scores, tags),
        pr_auc=pr_auc(truth, scores, tags),
        left_out=left,
        roc_auc_interval=interval("roc_auc"),
        pr_auc_interval=interval("pr_auc"),
        resamples=intervals.resamples,
        level=intervals.level,
        seed=intervals.seed,
        accuracy=None if right is None else float(right.mean()),
        balanced_accuracy=None
        if right is None
        else float(np.mean([right[column].mean() for column in truth.T if column.any()])),
        accuracy_interval=None if right is None else wilson(int(right.sum()), len(right), intervals.level),
        clip_scores=ClipScores(tuple(clips.paths), tuple(tags), truth, scores)
        if len(clips.paths) == len(truth)
        else None,
    )


def _right(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Return for each clip whether the best score is that of its tag; None unless each clip has one tag."""
    if not len(truth) or not (truth.sum(axis=1) == 1).all():
        return None
    found: NDArray[np.bool_] = truth[np.arange(len(truth)), scores.argmax(axis=1)]
    return found
