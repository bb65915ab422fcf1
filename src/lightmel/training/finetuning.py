"""Fine-tuning: training a tagger for other tags, which takes fewer clips than one from scratch."""

from __future__ import annotations

import copy
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .._steady import steady
from ..datasets import Dataset
from ..evaluation import ClipSet, evaluate_scores
from ..features import FeatureStore, label_features
from ..hub import check_name
from ..inference import Tagger, load, resolve_device
from ..models import TaggingNetwork
from .config import NO_CALLBACKS, Callbacks, FinetuneConfig, Signature
from .embeddings import embeddings_of, fit_head, score_embeddings
from .folds import Folds, in_folds
from .run import Line
from .supervised import (
    Kept,
    Scored,
    Trained,
    check_counts,
    check_request,
    features_of,
    finished,
    fit_resumed,
    folder_or_none,
    origin_of,
    score_splits,
    training_examples,
)
from .trainer import Trainer


@steady
def finetune(
    base: Tagger | str | os.PathLike[str],
    data: Dataset,
    features: FeatureStore | None = None,
    config: FinetuneConfig | None = None,
    *,
    signature: Signature | None = None,
    work: str | os.PathLike[str] | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    device: str | None = None,
) -> Trained:
    """Train a copy of a tagger for the tags of a data set: its new head first, then all of it.

    With validation clips the best epoch of the better stage is kept, and thresholds are fitted; with test
    clips the tagger is evaluated.

    Where `config` says to keep tags, the old ones stand in front of the new ones, with their weights,
    thresholds and calibration as they were: only a head is trained, and becomes one with the old head. The
    table of figures is that of the new tags.

    With few clips, `config` may say to cross-validate: the figures are then those of all clips, each scored
    by a tagger that saw nothing of its group, and the tagger that is returned learnt from all clips but a
    part for validation. Splits that the data have are not looked at.

    On embeddings, which `config` may say too, the head of each tag is a logistic regression on the mean
    embedding of each clip; thresholds and figures rest on the scores of segments, as the tagger gives them.

    Parameters
    ----------
    base
        The tagger to start from, or what `lightmel.load` takes; it stays as it is.
    data
        The clips.
    features
        A store of their features, of `base`'s front end; without one they are computed first, in `work`.
        Embeddings are computed from it, or without one from the sound, and lie in `work`.
    config
        How to fine-tune.
    signature
        Name, version and license of the tagger. Where it says no license, that of `base` holds, whose
        weights the new ones are derived from.
    work, callbacks, device
        As in `train_tagger`.

    Raises
    ------
    ConfigError, DataError, TrainingError, StoppedError
        As `train_tagger`; ConfigError also if another tagger is known by the name in `signature`.
    """
    config, signature = config or FinetuneConfig(), signature or Signature()
    work = folder_or_none(work)
    check_name(signature.name)
    tagger = base if isinstance(base, Tagger) else load(base, device="cpu")
    check_request(tagger.config, config.augment and not config.embeddings, device)
    if config.folds:
        return _cross_validated(tagger, data, features, config, signature, work, callbacks, device)
    data.split("train")  # without any, it is said before the work
    own = tagger.with_tags(data.tags, torch.Generator().manual_seed(config.seed))
    learn = _on_embeddings if config.embeddings else _on_features
    network, counts, scored, history, chosen = learn(own, data, features, config, work, callbacks, device)
    description = replace(
        own.description,
        name=signature.name or "mine",
        version=signature.version,
        license=signature.license or tagger.description.license,
        provenance={**own.description.provenance, **origin_of(data, counts), "finetuning": asdict(config)},
        exclusive=data.exclusive,
    )
    keep = tagger if config.keep_tags else None
    return replace(finished(Tagger(network, description), data, scored, history, keep), kept=chosen)


def _cross_validated(
    tagger: Tagger,
    data: Dataset,
    features: FeatureStore | None,
    config: FinetuneConfig,
    signature: Signature,
    work: Path | None,
    callbacks: Callbacks,
    device: str | None,
) -> Trained:
    """Fine-tune once for each fold, and once more for the tagger that is kept; `finetune` describes it."""
    each, whole, protocol = in_folds(data, config.folds)
    one = replace(config, folds=0)

    def learn(part: Dataset, number: int, store: FeatureStore | None) -> Trained:
        place = work if work is None or config.embeddings else work / f"fold-{number + 1}"
        told = _in_turn(callbacks, number * one.passes, config.passes)
        return finetune(
            tagger, part, store, one, signature=signature, work=place, callbacks=told, device=device
        )

    with tempfile.TemporaryDirectory(prefix="lightmel-", ignore_cleanup_errors=True) as spare:
        if config.embeddings:
            work, store = work or Path(spare), features
            made = [learn(part, i, store) for i, part in enumerate([*each, whole])]
        else:
            with features_of(data, tagger.config, features, work, callbacks) as store:
                made = [learn(part, i, store) for i, part in enumerate([*each, whole])]
    *tested, kept = made
    found = [own.evaluation for own in tested if own.evaluation is not None]
    scores = [e.clip_scores for e in found if e.clip_scores is not None]
    d = kept.tagger.description
    described = replace(d, provenance={**d.provenance, "finetuning": asdict(config), "data": data.label})
    final = Tagger(kept.tagger.network, described)
    clips = ClipSet(
        data.name,
        protocol,
        "test",
        {path: why for e in found for path, why in e.failed.items()},
        [path for own in scores for path in own.paths],
        data.exclusive and not config.keep_tags,
    )
    pooled = evaluate_scores(
        final,
        np.concatenate([own.truth for own in scores]),
        np.concatenate([own.scores for own in scores]),
        data.tags,
        clips,
    )
    return replace(kept, tagger=final, evaluation=pooled, folds=Folds.of(found))


def _in_turn(callbacks: Callbacks, before: int, epochs: int) -> Callbacks:
    """Return callbacks that count the epochs of one training after another."""

    def on_epoch(line: Line) -> None:
        if callbacks.on_epoch is not None:
            callbacks.on_epoch(line | {"epoch": before + line["epoch"]})

    return callbacks.replace(on_epoch=on_epoch)


class _Learnt(NamedTuple):
    """A network for the new tags, training clips of each, scores of other clips, the history, the epoch."""

    network: TaggingNetwork
    counts: dict[str, int]
    scored: dict[str, Scored]
    history: list[dict[str, Any]]
    kept: Kept | None


def _on_features(
    own: Tagger,
    data: Dataset,
    features: FeatureStore | None,
    config: FinetuneConfig,
    work: Path | None,
    callbacks: Callbacks,
    device: str | None,
) -> _Learnt:
    """Train the network of `own`: the head first, then all of it."""
    network = chosen = own.network
    with features_of(data, own.config, features, work, callbacks) as store:
        labeled = label_features(data, store, network.input_shape[1])
        check_counts(data, labeled.counts)
        train = training_examples(labeled.examples["train"], config.excerpts, config.augment)
        valid = labeled.examples.get("valid")
        best, kept = -1.0, None
        history: list[dict[str, Any]] = []
        steps = -(-len(train) // config.batch_size)
        progress = _Progress(callbacks, steps, config.passes)
        told = callbacks.replace(on_epoch=progress.epoch, on_step=progress.step)
        for number, stage in enumerate(config.stages):
            network = copy.deepcopy(network)  # the stage before may turn out the better one
            folder = work / "run" / stage.trainable if work is not None else None
            result = fit_resumed(Trainer(network, stage, device=device), train, valid, folder, told)
            progress.before += stage.epochs
            history += [{"stage": stage.trainable, **line} for line in result.history]
            network = result.network
            reached = result.history[result.best_epoch].get("valid_pr_auc", float(number))
            if reached > best:
                best, chosen = reached, network
                kept = Kept.of(stage.trainable, result.history, result.best_epoch)
        return _Learnt(chosen, labeled.counts, score_splits(chosen, labeled), history, kept)


def _on_embeddings(
    own: Tagger,
    data: Dataset,
    features: FeatureStore | None,
    config: FinetuneConfig,
    work: Path | None,
    callbacks: Callbacks,
    device: str | None,
) -> _Learnt:
    """Fit the head of the network of `own` to embeddings."""
    network = own.network
    on_device = Tagger(network, own.description, device=resolve_device(device or "auto"))
    with embeddings_of(data, on_device, features, work, callbacks) as (found, splits):
        train = splits["train"]
        counts = dict(zip(data.tags, map(int, train.labels.sum(axis=0)), strict=True))
        check_counts(data, counts)
        weight, bias = fit_head(found.means(train.keys), train.labels, data.tags, config.class_weights)
        with torch.no_grad():
            network.head.weight.copy_(weight)
            network.head.bias.copy_(bias)
        scored = {
            name: Scored(
                split.labels, score_embeddings(found, split.keys, weight, bias), split.failed, split.keys
            )
            for name, split in splits.items()
            if name != "train"
        }
        return _Learnt(network, counts, scored, [], None)


@dataclass
class _Progress:
    """Reports the steps and epochs of two trainings as those of one."""

    callbacks: Callbacks
    steps: int
    epochs: int
    before: int = 0

    def epoch(self, line: Line) -> None:
        if self.callbacks.on_epoch is not None:
            self.callbacks.on_epoch(line | {"epoch": self.before + line["epoch"]})

    def step(self, done: int, _: int) -> None:
        if self.callbacks.on_step is not None:
            self.callbacks.on_step(self.before * self.steps + done, self.epochs * self.steps)
