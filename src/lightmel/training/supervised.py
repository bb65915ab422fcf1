"""From labelled clips to a tagger of one's own, trained from scratch; what fine-tuning shares with it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._files import beside, write_whole
from ..checkpoint.safetensors import Description
from ..datasets.dataset import Dataset
from ..errors import DataError, StoppedError, TrainingError
from ..evaluation.metrics import fit_thresholds
from ..evaluation.protocol import evaluate, none_heard
from ..evaluation.record import Evaluation
from ..features.examples import Damage, MelExamples, score_clips
from ..features.store import FeatureStore
from ..frontends.mel import CLIP_SECONDS
from ..inference.tagger import Tagger
from ..models.base import TaggingNetwork
from ..models.named import build_named, parse_name
from .augment import Equaliser, Gain, LowPass, MelFilters
from .config import TaggerConfig, TrainConfig
from .distributed import is_first_process
from .run import Line, TrainResult
from .trainer import Trainer

log = logging.getLogger("lightmel")

FEW_CLIPS = 20
"""With fewer clips of a tag to learn from, its scores are said to be guesses."""
FEW_JUDGES = 5
"""With fewer true clips in validation, a tag's threshold is said to rest on little."""
_MUSICNN_SECONDS = 3.0

OnStart = Callable[[Trainer[TaggingNetwork]], None]
OnEpoch = Callable[[Line], None]
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Trained:
    """What came of a training on labelled clips.

    Attributes
    ----------
    tagger
        Ready to tag, with thresholds where there were validation clips.
    history
        Lines of the trainings, in order; each has its `stage`.
    evaluation
        By the test clips; None where there are none.
    """

    tagger: Tagger
    history: list[dict[str, Any]]
    evaluation: Evaluation | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes."""
        judged = self.evaluation.to_dict() if self.evaluation is not None else None
        return {"history": self.history, "evaluation": judged}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tagger, its figures beside it (``.json``), and their table (``.md``) if it was judged.

        Of several processes that train together, the first alone writes.

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
        if self.evaluation is not None:
            table = f"{self.evaluation.table()}\n".encode()
            write_whole(beside(path, ".md"), table, TrainingError)


@dataclass(frozen=True)
class Parts:
    """The splits of a data set as examples, and the clips that could not be heard."""

    data: Dataset
    examples: Mapping[str, MelExamples]
    failed: Mapping[str, Mapping[str, str]]

    @property
    def counts(self) -> dict[str, int]:
        """Training clips of each tag."""
        labels = self.examples["train"].labels.sum(dim=0)
        return {tag: int(n) for tag, n in zip(self.data.tags, labels, strict=True)}


def read_parts(
    data: Dataset, store: FeatureStore, n_frames: int, splits: Sequence[str] | None = None
) -> Parts:
    """Return the splits of `data`, or some of them, as examples of `n_frames`, from a store of their mels.

    Clips that failed when the store was built are left out, and a warning counts them.

    Raises
    ------
    DataError
        If there is no such split or nothing in it, or the store lacks clips that did not fail.
    """
    examples: dict[str, MelExamples] = {}
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
            raise DataError(none_heard(failed[name], f"{name} of {data.label}"))
        rows = store.rows(split.paths[i] for i in kept)
        examples[name] = MelExamples(store, rows, split.labels[kept], n_frames)
    return Parts(data, examples, failed)


def train_tagger(
    data: Dataset,
    store: FeatureStore,
    what: TaggerConfig | None = None,
    training: TrainConfig | None = None,
    *,
    name: str = "mine",
    version: str = "1",
    licence: str = "not stated",
    work: Path | None = None,
    on_start: OnStart | None = None,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train a network from scratch on the training clips of a data set.

    With validation clips the best epoch is kept, and thresholds are fitted; with test clips it is judged.

    Parameters
    ----------
    data, store
        The clips, and their mels.
    what, training
        What is trained, and how.
    name, version, licence
        What the tagger signs its scores with, and how its weights may be used.
    work
        A folder for checkpoints: the same call goes on where the last one was stopped.
    on_start
        Called with the trainer before it begins; `Trainer.stop` ends it.
    on_epoch, on_step
        As in `Trainer.fit`.

    Raises
    ------
    ConfigError
        If there is no such network, or the store holds other mels.
    DataError
        If there is nothing to learn from; if a tag has no training clip.
    TrainingError
        If training cannot go on; see `Trainer.fit`.
    StoppedError
        If it was stopped.
    """
    what, training = what or TaggerConfig(), training or TrainConfig()
    seconds = what.seconds or _paper_seconds(what.network)
    generator = torch.Generator().manual_seed(training.seed)
    network, mel = build_named(what.network, seconds, len(data.tags), generator)
    store.require(mel)
    parts = read_parts(data, store, network.input_shape[1])
    check_counts(parts)
    train = heard(parts.examples["train"], what.excerpts, what.augment)
    trainer = Trainer(network, training)
    result = fit_part(trainer, train, parts.examples.get("valid"), work, on_start, on_epoch, on_step)
    description = Description(
        name=name,
        version=version,
        licence=licence,
        config=mel,
        tags=data.tags,
        segment_samples=mel.n_samples(seconds),
        provenance=origin(parts) | {"tagger": asdict(what), "training": asdict(training)},
    )
    return judged(result.network, description, parts, [{"stage": "all", **line} for line in result.history])


def check_counts(parts: Parts) -> None:
    """Refuse tags that no training clip has, and warn of those that few have.

    Raises
    ------
    DataError
        If there are no training clips, or none of some tag.
    """
    parts.data.split("train")
    if lost := [tag for tag, n in parts.counts.items() if n == 0]:
        raise DataError(
            f"{parts.data.label}: no training clip has {', '.join(lost)}, which cannot be learnt then. Add "
            "clips of it, or take the tag out of the table."
        )
    if few := [f"{tag} ({n})" for tag, n in parts.counts.items() if n < FEW_CLIPS]:
        log.warning(
            "%s: few clips to learn from: %s. Below %d clips of a tag its scores are rough guesses.",
            parts.data.name,
            ", ".join(few),
            FEW_CLIPS,
        )


def heard(examples: MelExamples, excerpts: int, augment: bool) -> MelExamples:
    """Return examples for training: so many excerpts of each clip, damaged where they are augmented."""
    damage: Damage | None = None
    if augment:
        damage = MelFilters(
            examples.mels.config, (Gain(-12, 6), Equaliser(3, 1.5, 2), LowPass(3_000, 8_000, 0.25))
        )
    return MelExamples(
        examples.mels,
        np.repeat(examples.rows, excerpts),
        np.repeat(examples.labels.numpy(), excerpts, axis=0),
        examples.n_frames,
        damage=damage,
    )


def fit_part(
    trainer: Trainer[TaggingNetwork],
    train: MelExamples,
    valid: MelExamples | None,
    work: Path | None,
    on_start: OnStart | None,
    on_epoch: OnEpoch | None,
    on_step: OnStep | None,
) -> TrainResult[TaggingNetwork]:
    """Run one training to its end, or raise `StoppedError`."""
    if on_start is not None:
        on_start(trainer)
    result = trainer.fit(train, valid, folder=work, resume=True, on_epoch=on_epoch, on_step=on_step)
    if result.stopped == "interrupted":
        raise StoppedError("Stopped in mid-training.")
    return result


def origin(parts: Parts) -> dict[str, Any]:
    """Return where a tagger's knowledge comes from, for its file."""
    return {
        "data": parts.data.label,
        "citation": parts.data.citation,
        "data_licence": parts.data.licence,
        "train_clips": parts.counts,
    }


def judged(
    network: TaggingNetwork, description: Description, parts: Parts, history: list[dict[str, Any]]
) -> Trained:
    """Fit thresholds by the validation clips, and judge by the test clips, where there are any."""
    if (valid := parts.examples.get("valid")) is not None:
        truth = valid.labels.numpy() >= 0.5
        description = replace(description, thresholds=fit_thresholds(truth, score_clips(network, valid)))
        counts = zip(parts.data.tags, truth.sum(axis=0), strict=True)
        if few := [f"{tag} ({n})" for tag, n in counts if n < FEW_JUDGES]:
            log.warning(
                "%s: few true clips in validation, so that their thresholds rest on little: %s.",
                parts.data.name,
                ", ".join(few),
            )
    tagger = Tagger(network, description)
    evaluation = None
    if (test := parts.examples.get("test")) is not None:
        evaluation = evaluate(
            tagger,
            test,
            tagger.tags,
            dataset=parts.data.name,
            protocol=parts.data.protocol,
            failed=parts.failed["test"],
        )
    return Trained(tagger, history, evaluation)


def _paper_seconds(network: str) -> float:
    spec, _ = parse_name(network)
    return {"vgg": CLIP_SECONDS, "musicnn": _MUSICNN_SECONDS}[spec["architecture"]]
