"""Fine-tuning: a copy of a tagger is trained for other tags, its head first."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import lightmel
from lightmel.checkpoint import weights_sha256
from lightmel.datasets import Dataset
from lightmel.errors import ConfigError, ShapeError, StoppedError, UnknownModelError, WeightsError
from lightmel.features import FeatureExamples, FeatureStore, label_features
from lightmel.inference import Tagger
from lightmel.training import Callbacks, FinetuneConfig, Signature, TrainConfig, Trainer, finetune

SLUG = "16k-mel16-x4-db"
TUNING = FinetuneConfig(head_epochs=3, epochs=4, head_lr=1e-2, lr=5e-3, batch_size=16, excerpts=2)
ONCE = replace(TUNING, head_epochs=1, epochs=1, excerpts=1)


def same(a: Tagger, b: Tagger) -> bool:
    mine, theirs = a.network.state_dict(), b.network.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_a_fine_tuned_tagger_knows_the_new_tags(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    before = {k: v.clone() for k, v in base.network.state_dict().items()}
    made = finetune(base, data, store, TUNING)
    assert made.evaluation is not None
    assert made.evaluation.macro_roc_auc > 0.9
    assert made.tagger.tags == data.tags
    assert len(made.tagger.description.thresholds) == len(data.tags)
    assert made.tagger.description.license == base.description.license
    assert made.tagger.description.provenance["body"] == {
        "name": "mine",
        "version": "1",
        "provenance": base.description.provenance,
    }
    assert all(torch.equal(v, before[k]) for k, v in base.network.state_dict().items()), "base stays"
    assert [line["stage"] for line in made.history] == 3 * ["head"] + 4 * ["all"]


def test_the_head_learns_first_and_the_body_stays_frozen(
    base: Tagger, data: Dataset, store: FeatureStore
) -> None:
    made = finetune(base, data, store, replace(TUNING, epochs=0))
    own, old = made.tagger.network.state_dict(), base.network.state_dict()
    assert {k for k in old if k.startswith("head.") is False and not torch.equal(own[k], old[k])} == set()
    assert {line["stage"] for line in made.history} == {"head"}


def test_the_better_stage_is_kept(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    ruinous = finetune(base, data, store, replace(TUNING, epochs=1, lr=100.0))
    alone = finetune(base, data, store, replace(TUNING, epochs=0))
    assert same(ruinous.tagger, alone.tagger)


def test_a_stopped_fine_tuning_goes_on_to_the_same_weights(
    base: Tagger, data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    whole = finetune(base, data, store, TUNING).tagger
    for stop_at in (4, 27):  # in the first stage, in the second
        trainers: list[Any] = []
        folder = tmp_path / str(stop_at)

        def stop(done: int, _: int, trainers: list[Any] = trainers, stop_at: int = stop_at) -> None:
            if done == stop_at:
                trainers[-1].stop()

        callbacks = Callbacks(on_start=trainers.append, on_step=stop)
        with pytest.raises(StoppedError):
            finetune(base, data, store, TUNING, work=folder, callbacks=callbacks)
        assert same(finetune(base, data, store, TUNING, work=folder).tagger, whole)


def test_progress_and_epochs_are_told_of_as_one_training(
    base: Tagger, data: Dataset, store: FeatureStore
) -> None:
    steps: list[tuple[int, int]] = []
    epochs: list[float] = []
    trainers: list[Any] = []
    callbacks = Callbacks(
        on_start=trainers.append,
        on_step=lambda done, total: steps.append((done, total)),
        on_epoch=lambda line: epochs.append(line["epoch"]),
    )
    finetune(base, data, store, TUNING, callbacks=callbacks)
    total = 7 * 7  # 108 excerpts in batches of 16, seven epochs
    assert steps == [(i + 1, total) for i in range(total)]
    assert epochs == list(range(7))
    assert [trainer.config.trainable for trainer in trainers] == ["head", "all"]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (None, ("mine", "1", "CC BY-SA 4.0")),
        (Signature(version="3"), ("mine", "3", "CC BY-SA 4.0")),
        (Signature("ears", "2", "CC0-1.0"), ("ears", "2", "CC0-1.0")),
    ],
    ids=str,
)
def test_a_fine_tuned_tagger_is_signed(
    base: Tagger,
    data: Dataset,
    store: FeatureStore,
    signature: Signature | None,
    expected: tuple[str, str, str],
) -> None:
    licensed = Tagger(base.network, replace(base.description, license="CC BY-SA 4.0"))
    config = replace(ONCE, epochs=0)
    description = finetune(licensed, data, store, config, signature=signature).tagger.description
    assert (description.name, description.version, description.license) == expected
    assert description.provenance["finetuning"] == vars(config)


def test_new_tags_for_a_tagger_leave_it_as_it_is(base: Tagger) -> None:
    draw = torch.Generator().manual_seed(3)
    other = base.with_tags(["a", "b"], draw)
    assert (other.tags, other.network.n_tags, base.tags) == (("a", "b"), 2, ("noise",))
    assert other.description.thresholds == ()
    body = base.network.state_dict()
    assert all(torch.equal(v, body[k]) for k, v in other.network.state_dict().items() if "head" not in k)
    again = base.with_tags(["a", "b"], torch.Generator().manual_seed(3))
    assert torch.equal(other.network.head.weight, again.network.head.weight)
    with pytest.raises(WeightsError, match="a stands more often"):
        base.with_tags(["a", "a"])
    with pytest.raises(ShapeError, match="at least one tag"):
        base.with_tags([])


# What it starts from


def test_the_base_may_be_a_file(base: Tagger, data: Dataset, store: FeatureStore, tmp_path: Path) -> None:
    base.save(tmp_path / "base.safetensors")
    expected = weights_sha256(finetune(base, data, store, ONCE).tagger.network)
    for file in (tmp_path / "base.safetensors", str(tmp_path / "base.safetensors")):
        assert weights_sha256(finetune(file, data, store, ONCE).tagger.network) == expected


def test_the_base_may_be_a_name(data: Dataset) -> None:
    config = FinetuneConfig(head_epochs=1, epochs=0, excerpts=1, augment=False)
    made = finetune("default", data, config=config)
    default = lightmel.load("default", device="cpu")
    assert made.tagger.config == default.config
    assert made.tagger.description.provenance["body"]["name"] == default.name
    assert made.tagger.description.license == default.description.license
    assert made.evaluation is not None
    with pytest.raises(UnknownModelError, match="Did you mean 'default'"):
        finetune("defualt", data)


# Without a store


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_features_are_made_in_a_folder_that_goes_away(
    base: Tagger, data: Dataset, store: FeatureStore, temporary: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    seen: list[int] = []
    callbacks = Callbacks(
        on_start=lambda _: seen.append(len(list(temporary.glob(f"lightmel-*/{SLUG}/store.json")))),
        on_progress=lambda *what: told.append(what),
    )
    made = finetune(base, data, config=ONCE, callbacks=callbacks)
    assert told == [("computing features", i + 1, 90) for i in range(90)]
    assert seen == [1, 1], "one store for both stages"
    assert not list(temporary.iterdir()), "nothing is left"
    assert same(made.tagger, finetune(base, data, store, ONCE).tagger)


def test_features_are_made_in_the_work_folder_and_used_again(
    base: Tagger, data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    callbacks = Callbacks(on_progress=lambda *what: told.append(what))
    work = tmp_path / "work"
    first = finetune(base, data, config=ONCE, work=work, callbacks=callbacks)
    assert len(told) == 90
    assert sorted(p.name for p in work.iterdir()) == [SLUG, "run"]
    assert sorted(p.name for p in (work / "run").iterdir()) == ["all", "head"]
    again = finetune(base, data, config=ONCE, work=work, callbacks=callbacks)
    assert len(told) == 90, "nothing is computed twice"
    assert same(again.tagger, first.tagger)
    assert same(again.tagger, finetune(base, data, store, ONCE).tagger)


def test_a_device_that_is_not_there_is_refused_before_features_are_computed(
    base: Tagger, data: Dataset, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told: list[Any] = []
    callbacks = Callbacks(on_progress=lambda *what: told.append(what))
    with pytest.raises(ConfigError, match="no device 'cuda' on this machine"):
        finetune(base, data, config=ONCE, callbacks=callbacks, device="cuda")
    assert not told


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_where_it_is_trained_may_be_said(
    base: Tagger, data: Dataset, store: FeatureStore, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert same(
        finetune(base, data, store, ONCE, device=device).tagger, finetune(base, data, store, ONCE).tagger
    )


# A Trainer of a tagger


def test_a_trainer_takes_a_tagger_and_trains_a_copy(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    own = base.with_tags(data.tags, torch.Generator().manual_seed(0))
    parts = label_features(data, store, own.network.input_shape[1]).examples
    before = own.network.head.weight.clone()
    training = TrainConfig(epochs=2, batch_size=16, lr=3e-3)
    result = Trainer(own, training).fit(parts["train"], parts["valid"])
    assert result.tagger is not None
    mine, theirs = result.tagger.network.state_dict(), result.network.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert torch.equal(own.network.head.weight, before)
    assert not torch.equal(result.network.head.weight, before)
    assert result.tagger.name == "mine-untrained-trained"


def test_a_trainer_refuses_features_of_another_front_end_than_its_taggers(
    base: Tagger, data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    thinner = store.derive(tmp_path / "x8", "16k-mel16-x8-db")
    rows, labels = thinner.rows(data.train.paths), data.train.labels
    own = base.with_tags(data.tags)
    frames = own.network.input_shape[1]
    with pytest.raises(ConfigError, match="holds 16k-mel16-x8-db, and 16k-mel16-x4-db is wanted"):
        Trainer(own).fit(FeatureExamples(thinner, rows, labels, frames))
    with pytest.raises(
        ConfigError, match=rf"wants \(16, {frames}\), the examples are of \(16, {frames + 1}\)"
    ):
        Trainer(own.network).fit(FeatureExamples(store, store.rows(data.train.paths), labels, frames + 1))
