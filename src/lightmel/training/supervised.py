"""Training a tagger on labelled clips from scratch, and what fine-tuning shares with it."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._files import beside, write_whole
from .._steady import steady
from ..checkpoint import Description
from ..datasets import Dataset
from ..errors import ConfigError, DataError, StoppedError, TrainingError
from ..evaluation import ClipSet, Evaluation, evaluate_scores, fit_thresholds, score_clips
from ..features import (
    Examples,
    FeatureExamples,
    FeatureStore,
    LabeledSplits,
    build_store,
    label_features,
    telling,
)
from ..frontends import FrontendConfig
from ..inference import Tagger, check_precision, resolve_device
from ..models import TaggingNetwork, build_named, parse_name, segment_seconds
from .augment import Chain, MelDomain, playback
from .card import card_of
from .config import NO_CALLBACKS, Callbacks, Signature, TaggerConfig, TrainConfig
from .distributed import is_first_process
from .folds import Folds
from .kept import beside_kept
from .run import TrainResult
from .trainer import Trainer

log = logging.getLogger("lightmel")

FEW_CLIPS = 20
"""With fewer clips of a tag to learn from, its scores are said to be guesses."""
FEW_POSITIVES = 5
"""With fewer true clips in validation, a tag's threshold is said to rest on little."""
MOST_THRESHOLDS = 30
"""More are not shown one by one where a few lines are wanted."""


@dataclass(frozen=True)
class Kept:
    """Which epoch of a training the network is of.

    Attributes
    ----------
    stage
        ``"head"`` or ``"all"``: what was trained.
    epoch
        Counted from 1.
    epochs
        How many the stage had.
    valid_pr_auc
        What it was chosen by; None without validation clips, where the last one is kept.
    """

    stage: str
    epoch: int
    epochs: int
    valid_pr_auc: float | None

    @classmethod
    def of(cls, stage: str, history: Sequence[Mapping[str, float]], best: int) -> Kept:
        """Return it for the history of a stage and its best epoch, counted from 0."""
        return cls(stage, best + 1, len(history), history[best].get("valid_pr_auc"))

    def __str__(self) -> str:
        what = {"head": "the head stage", "all": "the stage of all of the network"}[self.stage]
        why = (
            "the last one, without validation clips"
            if self.valid_pr_auc is None
            else f"the best PR AUC on the validation clips, {self.valid_pr_auc:.3f}"
        )
        return f"epoch {self.epoch} of {self.epochs} of {what}: {why}"


@dataclass(frozen=True)
class Trained:
    """The result of a training on labelled clips.

    Attributes
    ----------
    tagger
        The trained tagger, with thresholds where there were validation clips.
    history
        Lines of the trainings, in order; each has its `stage`.
    evaluation
        Figures on the test clips; None where there are none.
    kept
        Which epoch the network is of; None where there were none.
    folds
        Figures by cross-validation, where it was asked for.
    """

    tagger: Tagger
    history: list[dict[str, Any]]
    evaluation: Evaluation | None
    kept: Kept | None = None
    folds: Folds | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes."""
        evaluated = self.evaluation.to_dict() if self.evaluation is not None else None
        plain: dict[str, Any] = {"history": self.history, "evaluation": evaluated}
        if self.kept is not None:
            plain["kept"] = asdict(self.kept)
        if self.folds is not None:
            plain["folds"] = self.folds.to_dict()
        return plain

    def summary(self) -> str:
        """Return what was kept of the training, and the thresholds, in a few lines, to read."""
        d = self.tagger.description
        lines = [] if self.kept is None else [f"Kept: {self.kept}."]
        if d.exclusive:
            lines.append("Each clip has one tag: the best score says which, and so do above() and --above.")
        if d.thresholds and len(d.tags) <= MOST_THRESHOLDS:
            shown = ", ".join(f"{tag} {t:.2f}" for tag, t in zip(d.tags, d.thresholds, strict=True))
            lines.append(f"Thresholds, from the validation clips: {shown}.")
        elif d.thresholds:
            low, high = min(d.thresholds), max(d.thresholds)
            lines.append(f"{len(d.tags)} thresholds, from {low:.2f} to {high:.2f}: they are in the card.")
        else:
            lines.append("No thresholds: there are no validation clips to fit them to.")
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tagger; beside it figures (``.json``), a card (``.md``) and scores of clips (``.npz``).

        The card has the table of the figures. Of several processes that train together, the first alone
        writes.

        Raises
        ------
        WeightsError, TrainingError
            If a file cannot be written.
        """
        if not is_first_process():
            return
        self.tagger.save(path)
        figures = json.dumps(self.to_dict(), indent=1)
        write_whole(beside(path, ".json"), f"{figures}\n".encode(), TrainingError)
        # Names of files need not be UTF-8.
        card = card_of(self.tagger, self.summary(), self.evaluation, self.folds)
        write_whole(beside(path, ".md"), card.encode(errors="backslashreplace"), TrainingError)
        if self.evaluation is not None:
            self.evaluation.save_scores(path)


@steady
def train_tagger(
    data: Dataset,
    features: FeatureStore | None = None,
    config: TaggerConfig | None = None,
    training: TrainConfig | None = None,
    *,
    signature: Signature | None = None,
    work: str | os.PathLike[str] | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    device: str | None = None,
) -> Trained:
    """Train a network from scratch on the training clips of a data set.

    With validation clips the best epoch is kept, and thresholds are fitted; with test clips it is evaluated.

    Parameters
    ----------
    data
        The clips.
    features
        A store of their features; without one they are computed first, in `work`.
    config, training
        What is trained, and how.
    signature
        Name, version and license of the tagger.
    work
        A folder for features and checkpoints: the same call goes on where the last one was stopped.
    callbacks
        Functions to call as it goes on.
    device
        As in `Trainer`.

    Raises
    ------
    ConfigError
        If there is no such network or device, or the store holds other features.
    DataError
        If there is nothing to learn from; if a tag has no training clip.
    TrainingError
        If training cannot go on; see `Trainer.fit`.
    StoppedError
        If it was stopped.
    """
    config, training = config or TaggerConfig(), training or TrainConfig()
    work = folder_or_none(work)
    seconds = config.segment_seconds or _usual_seconds(config.network)
    generator = torch.Generator().manual_seed(training.seed)
    network, frontend = build_named(config.network, seconds, len(data.tags), generator)
    check_request(frontend, config.augment, device, training.precision)
    data.split("train")  # without any, it is said before the work
    with features_of(data, frontend, features, work, callbacks) as store:
        return train_network(
            network,
            data,
            store,
            seconds,
            training,
            excerpts=config.excerpts,
            augment=config.augment,
            signature=signature,
            origin={"tagger": asdict(config)},
            work=None if work is None else work / "run",
            callbacks=callbacks,
            device=device,
        )


def train_network(
    network: TaggingNetwork,
    data: Dataset,
    features: FeatureStore,
    seconds: float,
    training: TrainConfig,
    *,
    excerpts: int = 1,
    augment: bool = False,
    signature: Signature | None = None,
    origin: Mapping[str, Any] | None = None,
    work: Path | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    device: str | None = None,
) -> Trained:
    """Train a network that is there already: the lower rung of `train_tagger`.

    Parameters
    ----------
    network
        As it was drawn.
    data, features
        The clips, and a store of their features, which are the network's input.
    seconds
        Sound in one pass of the network.
    training
        How it is trained.
    excerpts, augment
        As in `TaggerConfig`.
    signature
        Name, version and license of the tagger.
    origin
        What its file says beside the data and the training.
    work
        A folder for checkpoints: the same call goes on where the last one was stopped.
    callbacks, device
        As in `train_tagger`.

    Raises
    ------
    DataError, TrainingError, StoppedError
        As in `train_tagger`.
    """
    signature = signature or Signature()
    labeled = label_features(data, features, network.input_shape[1])
    check_counts(data, labeled.counts)
    train = training_examples(labeled.examples["train"], excerpts, augment)
    trainer = Trainer(network, training, device=device)
    result = fit_resumed(trainer, train, labeled.examples.get("valid"), work, callbacks)
    description = Description(
        name=signature.name or "mine",
        version=signature.version,
        license=signature.license or "not stated",
        config=features.config,
        tags=data.tags,
        segment_samples=features.config.n_samples(seconds),
        exclusive=data.exclusive,
        provenance=origin_of(data, labeled.counts) | {**(origin or {}), "training": asdict(training)},
    )
    history = [{"stage": "all", **line} for line in result.history]
    scored = score_splits(result.network, labeled)
    kept = Kept.of("all", result.history, result.best_epoch)
    return replace(finished(Tagger(result.network, description), data, scored, history), kept=kept)


def folder_or_none(folder: str | os.PathLike[str] | None) -> Path | None:
    """Return a folder as a path, or None for none."""
    return None if folder is None else Path(folder)


def check_request(
    config: FrontendConfig, augment: bool, device: str | None, precision: str = "float32"
) -> None:
    """Refuse, before features are computed, a device that is not there and augmentations that there are not.

    Raises
    ------
    ConfigError
        If this machine has no such device, it does not have that precision, or features of `config` cannot be
        augmented.
    """
    where = resolve_device(device or "auto")
    if precision != "auto":
        check_precision(precision, where)
    if augment:
        MelDomain(config)


@contextmanager
def features_of(
    data: Dataset,
    config: FrontendConfig,
    features: FeatureStore | None,
    work: Path | None,
    callbacks: Callbacks = NO_CALLBACKS,
) -> Iterator[FeatureStore]:
    """Yield a store of the features of a data set's clips: the one given, or one that is made.

    It is made in a folder of `work`, where the same call goes on with it, or in one that goes away.

    Raises
    ------
    ConfigError
        If the store that is given holds other features.
    DataError
        If none is given, and none of the sound is there.
    """
    if features is not None:
        features.require(config)
        yield features
        return
    data.require_sound()
    with tempfile.TemporaryDirectory(prefix="lightmel-", ignore_cleanup_errors=True) as spare:
        folder = (work or Path(spare)) / config.slug
        sources = data.sources()
        on_clip = telling(
            folder, len(sources), lambda done, total: callbacks.progress("computing features", done, total)
        )
        yield build_store(folder, sources, config, on_clip=on_clip)


def check_counts(data: Dataset, counts: Mapping[str, int]) -> None:
    """Refuse tags that no training clip has, and warn of those that few have.

    Raises
    ------
    DataError
        If there are none of some tag.
    """
    if lost := [tag for tag, n in counts.items() if n == 0]:
        raise DataError(
            f"{data.label}: no training clip has {', '.join(lost)}, which cannot be learnt then. "
            "Add clips of it, or take the tag out of the table."
        )
    if few := [f"{tag} ({n})" for tag, n in counts.items() if n < FEW_CLIPS]:
        log.warning(
            "%s: few clips to learn from: %s. Below %d clips of a tag its scores are rough guesses.",
            data.name,
            ", ".join(few),
            FEW_CLIPS,
        )


def training_examples(examples: FeatureExamples, excerpts: int, augment: bool) -> FeatureExamples:
    """Return examples for training: so many excerpts of each clip, drawn anew each time, augmented or not.

    Raises
    ------
    ConfigError
        If features of that kind cannot be augmented.
    """
    return FeatureExamples(
        examples.features,
        np.repeat(examples.rows, excerpts),
        np.repeat(examples.labels.numpy(), excerpts, axis=0),
        examples.n_frames,
        augment=Chain(playback(MelDomain(examples.features.config))) if augment else None,
    )


def fit_resumed(
    trainer: Trainer[TaggingNetwork],
    train: Examples,
    valid: FeatureExamples | None,
    folder: Path | None,
    callbacks: Callbacks,
) -> TrainResult[TaggingNetwork]:
    """Run one training, or go on with the one in `folder`, to its end; `StoppedError` if it is stopped."""
    if callbacks.on_start is not None:
        callbacks.on_start(trainer)
    result = trainer.fit(
        train, valid, folder=folder, resume=True, on_epoch=callbacks.on_epoch, on_step=callbacks.on_step
    )
    if result.stopped == "interrupted":
        raise StoppedError("Stopped in mid-training.")
    return result


def origin_of(data: Dataset, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return which data a tagger was trained on, for its file; `counts`: the training clips of each tag."""
    return {
        "data": data.label,
        "citation": data.citation,
        "data_license": data.license,
        "train_clips": dict(counts),
    }


@dataclass(frozen=True)
class Scored:
    """The clips of a split that could be read: labels, scores ``(clips, tags)``, paths; why others failed."""

    truth: NDArray[np.bool_]
    scores: NDArray[np.float64]
    failed: Mapping[str, str]
    paths: Sequence[str]


def score_splits(network: TaggingNetwork, labeled: LabeledSplits) -> dict[str, Scored]:
    """Return labels and scores of the clips that nothing was learnt from."""
    return {
        name: Scored(
            examples.labels.numpy() >= 0.5,
            score_clips(network, examples),
            labeled.failed[name],
            labeled.paths(name),
        )
        for name, examples in labeled.examples.items()
        if name != "train"
    }


def finished(
    tagger: Tagger,
    data: Dataset,
    scored: Mapping[str, Scored],
    history: list[dict[str, Any]],
    keep: Tagger | None = None,
) -> Trained:
    """Fit thresholds on the validation clips, and evaluate on the test clips, where there are any.

    With `keep`, its tags are kept beside those of `tagger`.
    """
    if (valid := scored.get("valid")) is not None:
        limits = fit_thresholds(valid.truth, valid.scores)
        tagger = Tagger(tagger.network, replace(tagger.description, thresholds=limits))
        counts = zip(data.tags, valid.truth.sum(axis=0), strict=True)
        if few := [f"{tag} ({n})" for tag, n in counts if n < FEW_POSITIVES]:
            log.warning(
                "%s: few true clips in validation, so that their thresholds rest on little: %s.",
                data.name,
                ", ".join(few),
            )
    exclusive = tagger.description.exclusive
    if keep is not None:
        tagger = beside_kept(tagger, keep)
    evaluation = None
    if (test := scored.get("test")) is not None:
        clips = ClipSet(data.name, data.protocol, "test", test.failed, test.paths, exclusive)
        evaluation = evaluate_scores(tagger, test.truth, test.scores, data.tags, clips)
    return Trained(tagger, history, evaluation)


def _usual_seconds(network: str) -> float:
    spec, config = parse_name(network)
    try:
        return segment_seconds(spec["architecture"], config.sr)
    except ConfigError as error:
        raise ConfigError(f"{network}, segment_seconds: {error}") from None
