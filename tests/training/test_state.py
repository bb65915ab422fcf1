"""The state of a run on disk: what is none is refused, and one of the version before goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightmel.checkpoint import weights_sha256
from lightmel.datasets import load_table
from lightmel.errors import TrainingError
from lightmel.features import FeatureExamples, FeatureStore, label_features
from lightmel.models import TaggingNetwork, build_vgg
from lightmel.training import Line, TrainConfig, Trainer
from lightmel.training.augment import PLAYBACK_IDENTITY
from lightmel.training.state import STATE, read_state, write_state
from lightmel.training.supervised import training_examples

OLD = Path(__file__).parents[1] / "files" / "format-1" / "run"
"""A run of version 0.1 that was stopped after the first step of its second epoch, and all that it needs."""


def garbage(kind: str, path: Path) -> None:
    """Write what is no state of this version; torch has another error for each of the first five."""
    state = {"format": 3, "weights": torch.zeros(3)}
    if kind == "an archive":
        path.write_bytes(b"PK\x03\x04 not a checkpoint")
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "a number":
        path.write_bytes(b"\x80\x02M\x00")
    elif kind == "a stop":
        path.write_bytes(b".")
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "a folder":
        path.mkdir()
    else:
        held = {
            "a tensor": torch.zeros(3),
            "a list": [state],
            "no format": {"weights": torch.zeros(3)},
            "the first format": {"format": 1},
            "a later format": {**state, "format": 4},
            "half of it": state,
            "half of the second format": {**state, "format": 2},
            "the second format with nothing in it": {"format": 2, "config": None, "identity": 3},
        }
        torch.save(held[kind], path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("an archive", "cannot be read: it is damaged"),
        ("text", "cannot be read: it is damaged"),
        ("a number", "cannot be read: it is damaged"),
        ("a stop", "cannot be read: it is damaged"),
        ("nothing", "cannot be read: it is damaged"),
        ("a folder", "cannot be read: [^i]"),
        ("a tensor", "holds no state of a run"),
        ("a list", "holds no state of a run"),
        ("no format", "holds no state of a run"),
        ("the first format", "of another version of lightmel"),
        ("a later format", "of another version of lightmel"),
        ("half of it", "lacks averaged, best, config, data, history, identity"),
        ("half of the second format", "lacks averaged, best, config, data, history, identity"),
        ("the second format with nothing in it", "lacks averaged, best, data, history, network, optimizer"),
    ],
)
def test_a_state_that_is_none_is_refused(tmp_path: Path, kind: str, says: str) -> None:
    garbage(kind, tmp_path / STATE)
    with pytest.raises(TrainingError, match=says) as caught:
        read_state(tmp_path)
    assert "weights_only" not in str(caught.value)


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_state(tmp_path / "new") is None
    names = ("averaged", "best", "config", "data", "identity", "network", "optimizer", "position", "schedule")
    state = {name: [name, 1, 2.5, None] for name in names}
    history = [{"epoch": 0, "loss": 0.5}, {"epoch": 1, "loss": 0.25}]
    write_state(tmp_path / "new", state, history)
    assert read_state(tmp_path / "new") == {"format": 3, "history": history, **state}
    lines = (tmp_path / "new" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history


# A run of format 2


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the run of the version before; its store opens as it is."""
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def trainer(**changes: Any) -> Trainer[TaggingNetwork]:
    """The trainer of that run, with the very weights that it began with."""
    network = build_vgg((16, 9), 3, widths=(4, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    with np.load(OLD / "initial.npz") as initial:
        network.load_state_dict({name: torch.from_numpy(initial[name]) for name in initial.files})
    plain: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 16,
        "optimizer": "adamw",
        "schedule": "onecycle",
        "ema_decay": 0.9,
        "precision": "float32",
    }
    return Trainer(network, TrainConfig(**{**plain, **changes}), device="cpu")


def examples(folder: Path, augment: bool = True) -> tuple[FeatureExamples, FeatureExamples]:
    store = FeatureStore.open(folder / "features")
    labeled = label_features(load_table(folder / "clips.csv"), store, 9).examples
    return training_examples(labeled["train"], 1, augment), labeled["valid"]


def without_seconds(history: list[Line]) -> list[Line]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in history]


@pytest.mark.usefixtures("one_thread")
def test_a_run_of_the_version_before_goes_on(old: Path) -> None:
    train, valid = examples(old)
    states: list[Mapping[str, torch.Tensor]] = []
    own = trainer()

    def keep(done: int, _: int) -> None:
        if done == 5:  # where the old run was stopped
            states.append({k: v.clone() for k, v in own.network.state_dict().items()})

    whole = own.fit(train, valid, on_step=keep)
    steps: list[int] = []
    resumed = trainer().fit(train, valid, folder=old, resume=True, on_step=lambda done, _: steps.append(done))
    assert steps == list(range(6, 13)), "from the step on where it was stopped"
    assert resumed.stopped == "done"
    assert resumed.best_epoch == whole.best_epoch
    for mine, theirs in zip(resumed.history, whole.history, strict=True):
        assert mine == pytest.approx({**theirs, "seconds": mine["seconds"]}, rel=1e-3)
    mine, theirs = resumed.network.state_dict(), whole.network.state_dict()
    state = read_state(OLD)
    assert state is not None
    if all(torch.equal(states[0][name], state["network"][name]) for name in states[0]):
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
        assert without_seconds(resumed.history) == without_seconds(whole.history)
    else:  # the old run's steps were taken on a processor that rounds otherwise
        for name in theirs:
            if not name.endswith(("conv.bias", "running_mean")):  # which a normalisation subtracts again
                torch.testing.assert_close(mine[name], theirs[name], atol=1e-3, rtol=1e-3)
    later = read_state(old)
    assert later is not None
    assert later["format"] == 3, "what is written is of this version"


def test_a_run_of_the_version_before_is_upgraded_word_for_word() -> None:
    written = torch.load(OLD / STATE, weights_only=True)
    found = read_state(OLD)
    assert found is not None
    newer = {"step_epochs": 100}  # settings that it did not have
    assert found["config"] | newer == vars(trainer().config)
    train, valid = examples(OLD)
    assert train.identity.items() <= found["identity"].items()
    assert valid.identity.items() <= found["identity"]["the validation clips"].items()
    assert found["identity"]["augmentation"] == PLAYBACK_IDENTITY
    assert found["identity"]["initial weights"] == weights_sha256(trainer().network)
    same = set(written) & set(found) - {"format", "config", "identity"}
    assert same == {"averaged", "best", "data", "history", "network", "position", "schedule"}
    assert all(repr(found[name]) == repr(written[name]) for name in same)
    assert repr(found["optimizer"]) == repr(written["optimiser"])


@pytest.mark.parametrize(
    ("changes", "augment", "says"),
    [
        ({"ema_decay": 0.8}, True, "differs in ema_decay:"),
        ({"batch_size": 8, "optimizer": "adam"}, True, "differs in batch_size, optimizer:"),
        ({"trainable": "head"}, True, "differs in trainable:"),
        ({}, False, "differs in augmentation:"),
    ],
    ids=str,
)
def test_another_run_does_not_go_on_with_it(
    old: Path, changes: dict[str, Any], augment: bool, says: str
) -> None:
    train, valid = examples(old, augment)
    with pytest.raises(TrainingError, match=says):
        trainer(**changes).fit(train, valid, folder=old, resume=True)


def test_what_a_distillation_was_of_is_upgraded_too(tmp_path: Path) -> None:
    """It named its settings among what its examples are; other words for the same things."""
    state = torch.load(OLD / STATE, weights_only=True)
    settings = {"mels": "16k-mel16-x4-db", "seconds": 3.0, "step": 1.5, "excerpt": 30.0, "split": 0}
    clips = {"the validation clips": None, "the loss": {"tag_weight": 0.1}, "holdout": 0.125}
    torch.save({**state, "identity": settings | clips}, tmp_path / STATE)
    found = read_state(tmp_path)
    assert found is not None
    assert found["identity"] == {
        "features": "16k-mel16-x4-db",
        "segment_seconds": 3.0,
        "step_seconds": 1.5,
        "excerpt_seconds": 30.0,
        "split_seed": 0,
        **clips,
    }


@pytest.mark.parametrize("augmentation", [True, False, "another's own"])
def test_other_augmentations_keep_their_identity(tmp_path: Path, augmentation: Any) -> None:
    state = torch.load(OLD / STATE, weights_only=True)
    torch.save({**state, "identity": {"damage": augmentation}}, tmp_path / STATE)
    found = read_state(tmp_path)
    assert found is not None
    assert found["identity"] == {"augmentation": augmentation}
