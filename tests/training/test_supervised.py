"""From labelled sound to a tagger: trained from scratch, and fine-tuned."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightmel
from lightmel.datasets import Dataset, load_table
from lightmel.errors import ConfigError, DataError, ShapeError, StoppedError, WeightsError
from lightmel.evaluation import metrics
from lightmel.features import FeatureStore, MelExamples, build_store
from lightmel.features.examples import score_clips
from lightmel.inference.tagger import Tagger
from lightmel.training import FinetuneConfig, TaggerConfig, TrainConfig, Trainer
from lightmel.training.finetuning import finetune
from lightmel.training.supervised import check_counts, read_parts, train_tagger

NETWORK = "vgg-small-16k-mel16-x4-db"
WHAT = TaggerConfig(NETWORK, seconds=0.8)
TRAINING = TrainConfig(epochs=6, batch=16, lr=3e-3)
TUNING = FinetuneConfig(head_epochs=3, epochs=4, head_lr=1e-2, lr=5e-3, batch=16, excerpts=2)


@pytest.fixture(scope="module")
def data(labelled: Path) -> Dataset:
    return load_table(labelled)


@pytest.fixture(scope="module")
def store(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    config = lightmel.MelConfig.from_slug("16k-mel16-x4-db")
    return build_store(tmp_path_factory.mktemp("mels") / "store", data.sources(), config, workers=0)


@pytest.fixture(scope="module")
def base(data: Dataset, store: FeatureStore) -> Tagger:
    """Who knows sound already: it has learnt to tell noise from what is none."""
    noise = data.tags.index("noise")
    one = {name: replace(part, labels=part.labels[:, [noise]].copy()) for name, part in data.splits.items()}
    return train_tagger(replace(data, tags=("noise",), splits=one), store, WHAT, TRAINING).tagger


def same(a: Tagger, b: Tagger) -> bool:
    mine, theirs = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(mine[k], theirs[k]) for k in mine)


# -- from scratch


def test_a_tagger_from_scratch_tags_files_it_never_heard(
    data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    made = train_tagger(data, store, WHAT, TRAINING, name="ears", licence="CC0-1.0")
    assert made.evaluation is not None
    assert made.evaluation.macro_roc_auc > 0.95
    assert made.evaluation.protocol == data.protocol
    assert (made.tagger.name, made.tagger.tags) == ("ears", data.tags)
    assert made.tagger.description.provenance["train_clips"] == {
        tag: int(n) for tag, n in zip(data.tags, data.train.labels.sum(0), strict=True)
    }
    made.save(tmp_path / "ears")
    loaded = lightmel.load(tmp_path / "ears")
    taggings = [loaded.tag(file) for file in data.files("test")]
    found = np.array([[t[tag] for tag in data.tags] for t in taggings])
    assert np.mean(list(metrics.roc_auc(data.test.labels, found, data.tags).values())) > 0.95
    above = [{tag for tag, _ in t.above()} for t in taggings]
    truth = [{t for t, has in zip(data.tags, row, strict=True) if has} for row in data.test.labels]
    right = np.mean([len(a & b) / len(a | b) for a, b in zip(above, truth, strict=True)])
    assert right > 0.7, "thresholds mean something"
    figures = json.loads((tmp_path / "ears.json").read_text())
    assert figures["evaluation"]["macro_roc_auc"] == made.evaluation.macro_roc_auc
    assert [line["epoch"] for line in figures["history"]] == list(range(6))
    assert "| noise " in (tmp_path / "ears.md").read_text()


def test_thresholds_are_those_of_the_validation_clips(data: Dataset, store: FeatureStore) -> None:
    made = train_tagger(data, store, WHAT, replace(TRAINING, epochs=2))
    valid = read_parts(data, store, made.tagger.network.input_shape[1]).examples["valid"]
    expected = metrics.fit_thresholds(data.valid.labels, score_clips(made.tagger.network, valid))
    assert made.tagger.description.thresholds == expected


def test_without_validation_and_test_there_are_neither_thresholds_nor_figures(
    data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    alone = replace(data, splits={"train": data.train})
    made = train_tagger(alone, store, WHAT, replace(TRAINING, epochs=1))
    assert made.tagger.description.thresholds == ()
    assert made.evaluation is None
    made.save(tmp_path / "alone")
    assert not (tmp_path / "alone.md").exists()
    with pytest.raises(ConfigError, match="no thresholds of its own"):
        made.tagger.tag(data.files("train")[0]).above()


def test_the_paper_says_how_long_its_networks_listen() -> None:
    from lightmel.training.supervised import _paper_seconds

    assert _paper_seconds("vgg-12k-mel96-x1-log") == 29.1
    assert _paper_seconds("musicnn-small-12k-mel96-x1-log") == 3.0


def test_a_store_of_other_mels_is_refused(data: Dataset, store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match=r"holds 16k-mel16-x4-db, and 16k-mel16-x8-db is wanted.*derive"):
        train_tagger(data, store, replace(WHAT, network="vgg-small-16k-mel16-x8-db"), TRAINING)
    with pytest.raises(ConfigError, match="from the sound"):
        train_tagger(data, store, replace(WHAT, network="vgg-small-16k-mel24-x4-db"), TRAINING)


def test_a_tag_that_cannot_be_learnt_is_refused_and_a_rare_one_is_warned_of(
    data: Dataset, store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    labels = data.train.labels.copy()
    labels[:, 0] = False
    without = replace(data, splits={**data.splits, "train": replace(data.train, labels=labels)})
    with pytest.raises(DataError, match="no training clip has high"):
        train_tagger(without, store, WHAT, TRAINING)
    labels = labels.copy()
    labels[:3, 0] = True
    rare = replace(data, splits={**data.splits, "train": replace(data.train, labels=labels)})
    with caplog.at_level(logging.WARNING, "lightmel"):
        check_counts(read_parts(rare, store, 10))
    assert "few clips to learn from: high (3)." in caplog.text


def test_files_that_could_not_be_heard_are_left_out_and_counted(
    labelled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for file in labelled.parent.glob("*.flac"):
        (folder / file.name).symlink_to(file)
    for broken in ("0.flac", "4.flac"):  # one to learn from, one to report
        (folder / broken).unlink()
        (folder / broken).write_text("this is no sound")
    (folder / "clips.csv").write_text(labelled.read_text())
    data = load_table(folder / "clips.csv")
    config = lightmel.MelConfig.from_slug("16k-mel16-x4-db")
    store = build_store(tmp_path / "store", data.sources(), config, workers=0)
    with caplog.at_level(logging.WARNING, "lightmel"):
        made = train_tagger(data, store, WHAT, replace(TRAINING, epochs=1))
    assert "1 of 54 clips of train are left out, 0.flac among them" in caplog.text
    assert made.evaluation is not None
    assert set(made.evaluation.failed) == {"4.flac"}
    assert made.evaluation.clips == 17


def test_a_stopped_training_goes_on_to_the_same_weights(
    data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    whole = train_tagger(data, store, WHAT, TRAINING).tagger
    trainers: list[Any] = []

    def stop(done: int, _: int) -> None:
        if done == 9:
            trainers[0].stop()

    with pytest.raises(StoppedError):
        train_tagger(data, store, WHAT, TRAINING, work=tmp_path, on_start=trainers.append, on_step=stop)
    assert same(train_tagger(data, store, WHAT, TRAINING, work=tmp_path).tagger, whole)


# -- fine-tuning


def test_a_fine_tuned_tagger_knows_the_new_tags(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    before = {k: v.clone() for k, v in base.network.state_dict().items()}
    made = finetune(base, data, store, TUNING)
    assert made.evaluation is not None
    assert made.evaluation.macro_roc_auc > 0.9
    assert made.tagger.tags == data.tags
    assert len(made.tagger.description.thresholds) == len(data.tags)
    assert made.tagger.description.licence == base.description.licence
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

        with pytest.raises(StoppedError):
            finetune(base, data, store, TUNING, work=folder, on_start=trainers.append, on_step=stop)
        assert same(finetune(base, data, store, TUNING, work=folder).tagger, whole)


def test_progress_and_epochs_are_told_of_as_one_training(
    base: Tagger, data: Dataset, store: FeatureStore
) -> None:
    steps, epochs = [], []
    finetune(
        base,
        data,
        store,
        TUNING,
        on_step=lambda done, total: steps.append((done, total)),
        on_epoch=lambda line: epochs.append(line["epoch"]),
    )
    total = 7 * 7  # 108 excerpts in batches of 16, seven epochs
    assert steps == [(i + 1, total) for i in range(total)]
    assert epochs == list(range(7))


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


# -- a Trainer of a tagger


def test_a_trainer_takes_a_tagger_and_trains_a_copy(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    own = base.with_tags(data.tags, torch.Generator().manual_seed(0))
    parts = read_parts(data, store, own.network.input_shape[1]).examples
    before = own.network.head.weight.clone()
    result = Trainer(own, replace(TRAINING, epochs=2)).fit(parts["train"], parts["valid"])
    assert result.tagger is not None
    assert result.tagger.network is result.network
    assert torch.equal(own.network.head.weight, before)
    assert not torch.equal(result.network.head.weight, before)
    assert result.tagger.name == "mine-untrained-trained"


def test_a_trainer_refuses_mels_that_its_tagger_does_not_hear(
    base: Tagger, data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    thinner = store.derive(tmp_path / "x8", 8)
    rows, labels = thinner.rows(data.train.paths), data.train.labels
    own = base.with_tags(data.tags)
    frames = own.network.input_shape[1]
    with pytest.raises(ConfigError, match="holds 16k-mel16-x8-db, and 16k-mel16-x4-db is wanted"):
        Trainer(own).fit(MelExamples(thinner, rows, labels, frames))
    with pytest.raises(ConfigError, match="bands by frames"):
        Trainer(own.network).fit(MelExamples(store, store.rows(data.train.paths), labels, frames + 1))
