"""Configurations of trainings: what they refuse, what they stand for, and whom they call."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from lightmel.distillation import DistillConfig
from lightmel.errors import ConfigError
from lightmel.training import NO_CALLBACKS, Callbacks, FinetuneConfig, Signature, TaggerConfig, TrainConfig


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"ema_decay": 1.0},
        {"ema_decay": -0.1},
        {"optimizer": "adm"},
        {"patience": -1},
        {"clip_norm": -1.0},
        {"weight_decay": -1.0},
        {"save_seconds": -1.0},
        {"seed": -1},
        {"schedule": "cosine"},
        {"trainable": "body"},
        {"class_weights": "even"},
        {"precision": "float16"},
    ],
    ids=str,
)
def test_a_training_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        TrainConfig(**changes)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (TaggerConfig, {"segment_seconds": -1.0}),
        (TaggerConfig, {"excerpts": 0}),
        (FinetuneConfig, {"head_epochs": 0}),
        (FinetuneConfig, {"keep_tags": 1}),
        (FinetuneConfig, {"epochs": -1}),
        (FinetuneConfig, {"batch_size": 1}),
        (FinetuneConfig, {"excerpts": 0}),
        (FinetuneConfig, {"head_lr": 0.0}),
        (FinetuneConfig, {"lr": -1.0}),
        (FinetuneConfig, {"patience": -1}),
        (FinetuneConfig, {"seed": -1}),
        (FinetuneConfig, {"class_weights": "even"}),
    ],
    ids=str,
)
def test_a_tagger_or_a_fine_tuning_that_cannot_be_is_refused(
    kind: type[Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"\b{next(iter(changes))}\b"):
        kind(**changes)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (TrainConfig, {"lr": float("inf")}),
        (TrainConfig, {"epochs": 1.5}),
        (TrainConfig, {"batch_size": 2.5}),
        (TrainConfig, {"seed": 1.5}),
        (TrainConfig, {"clip_norm": float("inf")}),
        (TrainConfig, {"lr": "0.1"}),
        (DistillConfig, {"mixtures": float("nan")}),
        (DistillConfig, {"tag_weight": float("nan")}),
        (DistillConfig, {"segment_seconds": float("inf")}),
        (TaggerConfig, {"segment_seconds": float("inf")}),
        (TaggerConfig, {"excerpts": 1.5}),
        (FinetuneConfig, {"head_lr": float("inf")}),
        (FinetuneConfig, {"patience": None}),
    ],
    ids=str,
)
def test_a_number_that_is_none_is_refused(kind: type[Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^{next(iter(changes))} is a (whole|finite) number, not "):
        kind(**changes)


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        (TaggerConfig, {"augment": 1}, "augment is true or false, not 1"),
        (TaggerConfig, {"network": 3}, "network is a text, not 3"),
        (Signature, {"version": 2}, "version is a text, not 2"),
        (Signature, {"license": None}, "license is a text, not None"),
    ],
    ids=str,
)
def test_a_flag_or_a_text_that_is_none_is_refused(
    kind: type[Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        kind(**changes)


def test_numbers_of_numpy_become_pythons_own() -> None:
    config = TrainConfig(
        epochs=np.int64(1), batch_size=np.int32(16), lr=np.float64(1e-2), seed=np.int64(3), clip_norm=1
    )
    assert config == TrainConfig(epochs=1, batch_size=16, lr=1e-2, seed=3, clip_norm=1.0)
    kinds = {name: type(value) for name, value in vars(config).items()}
    assert (kinds["epochs"], kinds["lr"], kinds["seed"], kinds["clip_norm"]) == (int, float, int, float)


def test_a_fine_tuning_is_two_trainings_or_one() -> None:
    config = FinetuneConfig(
        head_epochs=3,
        head_lr=0.1,
        epochs=2,
        lr=0.01,
        batch_size=8,
        patience=2,
        class_weights="balanced",
        seed=5,
    )
    shared = TrainConfig(
        optimizer="adamw",
        schedule="onecycle",
        clip_norm=1.0,
        batch_size=8,
        patience=2,
        class_weights="balanced",
        seed=5,
    )
    head = replace(shared, trainable="head", epochs=3, lr=0.1)
    assert config.stages == (head, replace(shared, trainable="all", epochs=2, lr=0.01))
    assert replace(config, epochs=0).stages == (head,)


@pytest.mark.parametrize("kind", [TrainConfig, TaggerConfig, FinetuneConfig, Signature])
def test_each_setting_is_explained_where_it_is_read(kind: type[Any]) -> None:
    assert kind.__doc__ is not None
    section = kind.__doc__.partition("Parameters\n----------\n")[2]
    assert all(f"\n{field.name}\n    " in f"\n{section}" for field in fields(kind))


def test_callbacks_are_called_where_there_are_any() -> None:
    told: list[tuple[str, int, int]] = []
    NO_CALLBACKS.progress("nothing", 1, 2)
    own = Callbacks(on_progress=lambda *what: told.append(what))
    own.progress("computing features", 1, 2)
    other = own.replace(on_step=lambda done, of: told.append(("step", done, of)))
    other.progress("computing features", 2, 2)
    assert other.on_step is not None
    other.on_step(3, 4)
    assert told == [("computing features", 1, 2), ("computing features", 2, 2), ("step", 3, 4)]
    assert own.on_step is NO_CALLBACKS.on_progress is None
