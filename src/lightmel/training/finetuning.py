"""Fine-tuning: a tagger that knows music learns other tags, from fewer clips than a new one would need."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..datasets.dataset import Dataset
from ..features.store import FeatureStore
from ..inference.tagger import Tagger
from .config import FinetuneConfig
from .run import Line
from .supervised import (
    OnEpoch,
    OnStart,
    OnStep,
    Trained,
    check_counts,
    fit_part,
    heard,
    judged,
    origin,
    read_parts,
)
from .trainer import Trainer


def finetune(
    base: Tagger,
    data: Dataset,
    store: FeatureStore,
    config: FinetuneConfig | None = None,
    *,
    name: str = "mine",
    version: str = "1",
    licence: str | None = None,
    work: Path | None = None,
    on_start: OnStart | None = None,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Let a copy of a tagger learn the tags of a data set: its new head first, then all of it.

    With validation clips the better stage's best epoch is kept, and thresholds are fitted; with test clips it
    is judged.

    Parameters
    ----------
    base
        Who learns; it stays as it is.
    data, store
        The clips, and their mels, of `base`'s configuration.
    config
        How.
    name, version
        What the tagger signs its scores with.
    licence
        Of its weights; that of `base` where not said, for they grew out of its.
    work, on_start, on_epoch, on_step
        As in `train_tagger`.

    Raises
    ------
    ConfigError, DataError, TrainingError, StoppedError
        As `train_tagger`.
    """
    config = config or FinetuneConfig()
    store.require(base.config)
    own = base.with_tags(data.tags, torch.Generator().manual_seed(config.seed))
    parts = read_parts(data, store, own.network.input_shape[1])
    check_counts(parts)
    train, valid = (
        heard(parts.examples["train"], config.excerpts, config.augment),
        parts.examples.get("valid"),
    )
    network = chosen = own.network
    best = -1.0
    history: list[dict[str, Any]] = []
    progress = _Progress(
        on_epoch, on_step, -(-len(train) // config.batch), config.head_epochs + config.epochs
    )
    for number, stage in enumerate(config.stages):
        network = copy.deepcopy(network)  # what the stage before it has learnt may turn out the better one
        result = fit_part(
            Trainer(network, stage),
            train,
            valid,
            work / stage.part if work is not None else None,
            on_start,
            progress.epoch,
            progress.step,
        )
        progress.before += stage.epochs
        history += [{"stage": stage.part, **line} for line in result.history]
        network = result.network
        reached = result.history[result.best_epoch].get("valid_pr_auc", float(number))
        if reached > best:
            best, chosen = reached, network
    description = replace(
        own.description,
        name=name,
        version=version,
        licence=base.description.licence if licence is None else licence,
        provenance={**own.description.provenance, **origin(parts), "finetuning": asdict(config)},
    )
    return judged(chosen, description, parts, history)


@dataclass
class _Progress:
    """Two trainings, told of as one."""

    on_epoch: OnEpoch | None
    on_step: OnStep | None
    steps: int
    epochs: int
    before: int = 0

    def epoch(self, line: Line) -> None:
        if self.on_epoch is not None:
            self.on_epoch(line | {"epoch": self.before + line["epoch"]})

    def step(self, done: int, _: int) -> None:
        if self.on_step is not None:
            self.on_step(self.before * self.steps + done, self.epochs * self.steps)
