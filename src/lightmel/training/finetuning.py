"""Fine-tuning: training a tagger for other tags, which takes fewer clips than one from scratch."""

from __future__ import annotations

import copy
import os
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from ..datasets import Dataset
from ..features import FeatureStore, label_features
from ..inference import Tagger, load
from .config import NO_CALLBACKS, Callbacks, FinetuneConfig, Signature
from .run import Line
from .supervised import (
    Trained,
    check_counts,
    check_request,
    features_of,
    finished,
    fit_resumed,
    folder_or_none,
    origin,
    training_examples,
)
from .trainer import Trainer


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

    Parameters
    ----------
    base
        The tagger to start from, or what `lightmel.load` takes; it stays as it is.
    data
        The clips.
    features
        A store of their features, of `base`'s front end; without one they are computed first, in `work`.
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
        As `train_tagger`.
    """
    config, signature = config or FinetuneConfig(), signature or Signature()
    work = folder_or_none(work)
    tagger = base if isinstance(base, Tagger) else load(base, device="cpu")
    own = tagger.with_tags(data.tags, torch.Generator().manual_seed(config.seed))
    network = chosen = own.network
    check_request(tagger.config, config.augment, device)
    with features_of(data, tagger.config, features, work, callbacks) as store:
        labeled = label_features(data, store, network.input_shape[1])
        check_counts(labeled)
        train = training_examples(labeled.examples["train"], config.excerpts, config.augment)
        valid = labeled.examples.get("valid")
        best = -1.0
        history: list[dict[str, Any]] = []
        steps = -(-len(train) // config.batch_size)
        progress = _Progress(callbacks, steps, config.head_epochs + config.epochs)
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
        description = replace(
            own.description,
            name=signature.name or "mine",
            version=signature.version,
            license=signature.license or tagger.description.license,
            provenance={**own.description.provenance, **origin(labeled), "finetuning": asdict(config)},
        )
        return finished(chosen, description, labeled, history)


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
