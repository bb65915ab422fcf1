"""One cell of a grid: from features to a trained tagger and its figures, the same bytes every time."""

from __future__ import annotations

import io
import json
import logging
import math
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._files import write_whole
from .._steady import steady
from ..checkpoint import Description
from ..distillation import StoredExamples, distillation_loss, held_out_logits
from ..errors import DataError, TrainingError
from ..evaluation import ClipSet, Evaluation, correlation, evaluate_scores, score_clips
from ..features import FeatureExamples, FeatureStore
from ..inference import Tagger
from ..models import TaggingNetwork, build
from ..training import NO_CALLBACKS, Callbacks, Line, Signature, Trainer, fit_resumed, train_network
from .data import LabelledData, LabelledTest, ScoredData, StudyData
from .grid import Cell

log = logging.getLogger("lightmel")

RESULT, TAGGER, SECONDS = "result.json", "tagger.safetensors", "seconds.json"
AGREEMENT = "agreement.npz"
OWN_TEST = "test"
"""What the data set's own test clips are called beside further tests."""
FORMAT = 1


def made_of(cell: Cell, data: StudyData) -> dict[str, Any]:
    """Return all that decides the result of a cell, as plain data: settings, data, versions."""
    return {
        **cell.settings(),
        **data.fingerprint(),
        "versions": {
            "lightmel": metadata.version("lightmel"),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def fingerprint(made: Mapping[str, Any]) -> str:
    """Return a digest of what `made_of` returned."""
    return sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result in a cell's folder, or None where there is none, or no whole one."""
    try:
        plain = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if plain["format"] != FORMAT or not isinstance(plain["made_of"], dict):
            return None
        found = [Evaluation.from_dict(own) for own in plain["evaluations"].values()]
        whole = all(math.isfinite(own.macro_roc_auc) and math.isfinite(own.macro_pr_auc) for own in found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, DataError):
        return None
    return plain if whole else None


def gone(folder: Path, result: Mapping[str, Any]) -> list[str]:
    """Return the names of the files of scores that a result's figures rest on and that are not there."""
    names = [f"{name}.npz" for name in result["evaluations"]]
    if result.get("agreement") is not None:
        names.append(AGREEMENT)
    return [name for name in names if not (folder / name).is_file()]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two things that `made_of` returned."""
    found = []
    for key, own in now.items():
        other = before.get(key)
        if own == other:
            continue
        if isinstance(own, Mapping) and isinstance(other, Mapping):
            found += [f"{key} {words}" for words in changes(other, own)]
        elif isinstance(own, str) and len(own) == 64:
            found.append(f"{key} is other data")
        else:
            found.append(f"{key} was {other!r} and is {own!r}")
    return found + [f"{key} is gone" for key in before if key not in now]


@steady
def run_cell(
    cell: Cell,
    data: StudyData,
    store: FeatureStore,
    folder: Path,
    callbacks: Callbacks = NO_CALLBACKS,
    device: str | None = None,
) -> None:
    """Train a cell and write its tagger, figures and scores into `folder`, the result last.

    A training that was killed goes on from its last checkpoint, if that is of the same settings, features and
    versions.

    Raises
    ------
    LightmelError
        If it cannot be trained or written.
    StoppedError
        If it was stopped.
    """
    made = json.loads(json.dumps(made_of(cell, data)))  # as it will be read
    # Features that were made again may lie elsewhere in their store: a training does not go on with those.
    whole = {**made, "features": store.fingerprint(np.arange(len(store)))}
    mark = fingerprint(whole)[:16]
    for old in folder.glob("work-*"):
        if old.name != f"work-{mark}":
            log.warning("what was half done is done anew, as it had other settings, features or versions.")
            shutil.rmtree(old, ignore_errors=True)
    work = folder / f"work-{mark}"
    generator = torch.Generator().manual_seed(cell.seed)
    network = build(cell.spec(len(data.tags)), generator=generator)
    if isinstance(data, ScoredData):
        tagger, history, own = _learnt_scores(cell, data, store, network, work, callbacks, device, folder)
    else:
        assert isinstance(data, LabelledData)
        tagger, history, own = _learnt_labels(cell, data, store, network, work, callbacks, device)
    evaluations = own.evaluations | {test.name: _measured(tagger, test, store, data) for test in data.tests}
    tagger.save(folder / TAGGER)
    for name, evaluation in evaluations.items():
        if evaluation.clip_scores is not None:
            scores = evaluation.clip_scores.to_bytes(evaluation.weights)
            write_whole(folder / f"{name}.npz", scores, TrainingError)
    seconds = {"training": sum(line.pop("seconds") for line in history)}
    write_whole(folder / SECONDS, _json(seconds), TrainingError)
    result = {
        "format": FORMAT,
        "cell": cell.name,
        "point": cell.point,
        "made_of": made,
        "weights": tagger.runtime.weights,
        "history": history,
        "evaluations": {name: e.to_dict() for name, e in evaluations.items()},
        "agreement": own.agreement,
    }
    write_whole(folder / RESULT, _json(result), TrainingError)
    with suppress(OSError):
        shutil.rmtree(work)


class _Own:
    """What a cell is measured by on the data that it has learnt from."""

    def __init__(
        self, evaluations: dict[str, Evaluation], agreement: dict[str, float | None] | None = None
    ) -> None:
        self.evaluations, self.agreement = evaluations, agreement


def _signed(cell: Cell) -> Signature:
    return Signature(cell.name, "1", "not stated")


def _learnt_labels(
    cell: Cell,
    data: LabelledData,
    store: FeatureStore,
    network: TaggingNetwork,
    work: Path,
    callbacks: Callbacks,
    device: str | None,
) -> tuple[Tagger, list[Line], _Own]:
    made = train_network(
        network,
        data.dataset,
        store,
        cell.segment_seconds,
        cell.training,
        excerpts=cell.learning.excerpts,
        augment=cell.learning.augment,
        signature=_signed(cell),
        origin={"study": cell.name},
        work=work,
        callbacks=callbacks,
        device=device,
    )
    own = {} if made.evaluation is None else {OWN_TEST: made.evaluation}
    return made.tagger, [dict(line) for line in made.history], _Own(own)


def _learnt_scores(
    cell: Cell,
    data: ScoredData,
    store: FeatureStore,
    network: TaggingNetwork,
    work: Path,
    callbacks: Callbacks,
    device: str | None,
    folder: Path,
) -> tuple[Tagger, list[Line], _Own]:
    learning, seconds = cell.learning, cell.segment_seconds
    targets = data.scores.targets(learning.clip_share)
    n_frames = network.input_shape[-1]
    examples = StoredExamples(store, data.scores, targets, n_frames, seconds, learning.jitter)
    with torch.no_grad():
        network.head.bias.copy_(examples.labels.mean(dim=0))
    loss = distillation_loss(examples.labels, learning.tag_weight)
    result = fit_resumed(
        Trainer(network, cell.training, loss=loss, device=device), examples, None, work, callbacks
    )
    description = Description(
        name=cell.name,
        version="1",
        license="not stated",
        config=cell.config,
        tags=data.tags,
        segment_samples=cell.config.n_samples(seconds),
        provenance={"study": cell.name, "teachers": list(data.scores.teachers)},
    )
    tagger = Tagger(result.network, description)
    logits, windows = held_out_logits(result.network, store, data.scores, n_frames, seconds)
    found = correlation(logits, data.scores.targets()[torch.from_numpy(windows)].numpy())
    agreement = {
        tag: None if np.isnan(value) else float(value) for tag, value in zip(data.tags, found, strict=True)
    }
    buffer = io.BytesIO()
    np.savez(
        buffer, logits=logits.astype(np.float16), windows=windows, weights=np.array(tagger.runtime.weights)
    )
    write_whole(folder / AGREEMENT, buffer.getvalue(), TrainingError)
    return tagger, [dict(line) for line in result.history], _Own({}, agreement)


def _measured(tagger: Tagger, test: LabelledTest, store: FeatureStore, data: StudyData) -> Evaluation:
    """Return the figures of a tagger on a further test, by the features of its clips."""
    failed = {key: store.failed[key] for key in test.keys if key in store.failed}
    kept = [i for i, key in enumerate(test.keys) if key not in failed]
    if not kept:
        raise DataError(f"None of the clips of the test {test.name!r} can be read.")
    keys = [test.keys[i] for i in kept]
    columns = [data.tags.index(tag) for tag in test.tags]
    n_frames = tagger.network.input_shape[-1]
    blank = np.zeros((len(kept), len(data.tags)), dtype=np.bool_)
    scores = score_clips(tagger.network, FeatureExamples(store, store.rows(keys), blank, n_frames))
    clips = ClipSet(test.name, test.protocol, "test", failed, keys)
    made = evaluate_scores(tagger, test.truth[kept], scores[:, columns], test.tags, clips)
    return replace(made, model=tagger.name)


def _json(plain: object) -> bytes:
    return (json.dumps(plain, indent=1) + "\n").encode()
