"""From labelled sound to a tagger, trained from scratch."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightmel
from lightmel.datasets import Dataset, load_table
from lightmel.errors import ConfigError, DataError, StoppedError
from lightmel.evaluation import fit_thresholds, roc_auc, score_clips
from lightmel.features import FeatureStore, build_store, label_features
from lightmel.inference import Tagger
from lightmel.training import Callbacks, Signature, TaggerConfig, TrainConfig, features_of, train_tagger
from lightmel.training.supervised import _usual_seconds, check_counts

SLUG = "16k-mel16-x4-db"
WHAT = TaggerConfig(f"vgg-small-{SLUG}", segment_seconds=0.8)
TRAINING = TrainConfig(epochs=6, batch_size=16, lr=3e-3)
ONCE = replace(TRAINING, epochs=1)


def same(a: Tagger, b: Tagger) -> bool:
    mine, theirs = a.network.state_dict(), b.network.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_a_tagger_from_scratch_tags_files_it_was_not_trained_on(
    data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    made = train_tagger(data, store, WHAT, TRAINING, signature=Signature("ears", license="CC0-1.0"))
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
    assert np.mean(list(roc_auc(data.test.labels, found, data.tags).values())) > 0.95
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
    valid = label_features(data, store, made.tagger.network.input_shape[1]).examples["valid"]
    expected = fit_thresholds(data.valid.labels, score_clips(made.tagger.network.eval(), valid))
    assert made.tagger.description.thresholds == expected


def test_without_validation_and_test_there_are_neither_thresholds_nor_figures(
    data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    alone = replace(data, splits={"train": data.train})
    made = train_tagger(alone, store, WHAT, ONCE)
    assert made.tagger.description.thresholds == ()
    assert made.evaluation is None
    made.save(tmp_path / "alone")
    assert "Nothing: there were no test clips." in (tmp_path / "alone.md").read_text()
    assert not (tmp_path / "alone.npz").exists()
    with pytest.raises(ConfigError, match="no thresholds of its own"):
        made.tagger.tag(data.files("train")[0]).above()


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (None, ("mine", "1", "not stated")),
        (Signature(version="3"), ("mine", "3", "not stated")),
        (Signature("ears", "2", "CC0-1.0"), ("ears", "2", "CC0-1.0")),
    ],
    ids=str,
)
def test_a_tagger_is_signed(
    data: Dataset, store: FeatureStore, signature: Signature | None, expected: tuple[str, str, str]
) -> None:
    description = train_tagger(data, store, WHAT, ONCE, signature=signature).tagger.description
    assert (description.name, description.version, description.license) == expected
    assert description.provenance["tagger"] == vars(WHAT)
    assert description.provenance["training"] == vars(ONCE)


def test_the_paper_says_how_long_the_input_of_its_networks_is() -> None:
    assert _usual_seconds("vgg-12k-mel96-x1-log") == 29.1
    assert _usual_seconds("musicnn-small-12k-mel96-x1-log") == 3.0
    with pytest.raises(ConfigError, match="segment_seconds: For fcn no usual length of input is known"):
        _usual_seconds("fcn-12k-mel96-x1-log")


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
        check_counts(rare, label_features(rare, store, 10).counts)
    assert "few clips to learn from: high (3)." in caplog.text


def test_thresholds_that_rest_on_few_clips_are_warned_of(
    data: Dataset, store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    labels = data.valid.labels.copy()
    labels[np.flatnonzero(labels[:, 0])[4:], 0] = False
    rare = replace(data, splits={**data.splits, "valid": replace(data.valid, labels=labels)})
    with caplog.at_level(logging.WARNING, "lightmel"):
        train_tagger(rare, store, WHAT, ONCE)
    assert "few true clips in validation, so that their thresholds rest on little: high (4)." in caplog.text


def test_files_that_could_not_be_read_are_left_out_and_counted(
    labeled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for file in labeled.parent.glob("*.flac"):
        (folder / file.name).symlink_to(file)
    for broken in ("0.flac", "4.flac"):  # one to train on, one to test
        (folder / broken).unlink()
        (folder / broken).write_text("this is no sound")
    (folder / "clips.csv").write_text(labeled.read_text())
    data = load_table(folder / "clips.csv")
    config = lightmel.MelConfig.from_slug(SLUG)
    store = build_store(tmp_path / "store", data.sources(), config, workers=0)
    with caplog.at_level(logging.WARNING, "lightmel"):
        made = train_tagger(data, store, WHAT, ONCE)
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

    callbacks = Callbacks(on_start=trainers.append, on_step=stop)
    with pytest.raises(StoppedError):
        train_tagger(data, store, WHAT, TRAINING, work=tmp_path, callbacks=callbacks)
    assert same(train_tagger(data, store, WHAT, TRAINING, work=tmp_path).tagger, whole)


def test_a_training_calls_back(data: Dataset, store: FeatureStore) -> None:
    told: list[tuple[Any, ...]] = []
    callbacks = Callbacks(
        on_start=lambda trainer: told.append(("start", trainer.network.n_tags, trainer.running)),
        on_epoch=lambda line: told.append(("epoch", line["epoch"], sorted(line))),
        on_step=lambda done, of: told.append(("step", done, of)),
        on_progress=lambda *what: told.append(what),
    )
    made = train_tagger(data, store, WHAT, replace(TRAINING, epochs=2), callbacks=callbacks)
    keys = ["epoch", "loss", "lr", "seconds", "valid_pr_auc", "valid_roc_auc"]
    expected: list[tuple[Any, ...]] = [("start", 3, False)]
    for epoch in range(2):
        expected += [("step", 4 * epoch + step, 8) for step in range(1, 5)]
        expected.append(("epoch", epoch, keys))
    assert told == expected, "nothing is computed where there is a store"
    assert [line["stage"] for line in made.history] == ["all", "all"]


# Without a store


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_features_are_made_in_a_folder_that_goes_away(
    data: Dataset, store: FeatureStore, temporary: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    seen: list[FeatureStore] = []
    callbacks = Callbacks(
        on_start=lambda _: seen.extend(map(FeatureStore.open, temporary.glob(f"lightmel-*/{SLUG}"))),
        on_progress=lambda *what: told.append(what),
    )
    made = train_tagger(data, None, WHAT, ONCE, callbacks=callbacks)
    assert told == [("computing features", i + 1, 90) for i in range(90)]
    (own,) = seen
    assert (own.config, set(own.keys)) == (store.config, set(data.sources()))
    assert not list(temporary.iterdir()), "nothing is left"
    assert same(made.tagger, train_tagger(data, store, WHAT, ONCE).tagger)


def test_features_are_made_in_the_work_folder_and_used_again(
    data: Dataset, store: FeatureStore, tmp_path: Path, temporary: Path
) -> None:
    work = tmp_path / "work"
    told: list[tuple[str, int, int]] = []
    callbacks = Callbacks(on_progress=lambda *what: told.append(what))
    first = train_tagger(data, None, WHAT, ONCE, work=work, callbacks=callbacks)
    assert sorted(p.name for p in work.iterdir()) == [SLUG, "run"]
    assert sorted(p.name for p in (work / "run").iterdir()) == ["checkpoint.pt", "history.jsonl"]
    assert len(told) == 90
    made = FeatureStore.open(work / SLUG)
    assert made.fingerprint(made.rows(data.sources())) == store.fingerprint(store.rows(data.sources()))
    before = {path.name: path.read_bytes() for path in (work / SLUG).iterdir() if path.is_file()}
    told.clear()
    again = train_tagger(data, None, WHAT, ONCE, work=work, callbacks=callbacks)
    assert not told, "nothing is computed twice"
    assert {path.name: path.read_bytes() for path in (work / SLUG).iterdir() if path.is_file()} == before
    assert same(again.tagger, first.tagger)
    assert same(again.tagger, train_tagger(data, store, WHAT, ONCE).tagger)


def test_features_that_are_there_count_as_done(data: Dataset, tmp_path: Path) -> None:
    config = lightmel.MelConfig.from_slug(SLUG)
    some = dict(list(data.sources().items())[:60])
    build_store(tmp_path / SLUG, some, config, workers=0)
    told: list[tuple[str, int, int]] = []
    callbacks = Callbacks(on_progress=lambda *what: told.append(what))
    with features_of(data, config, None, tmp_path, callbacks) as made:
        assert set(made.keys) == set(data.sources())
    assert told == [("computing features", i + 1, 90) for i in range(60, 90)]


def test_a_store_that_is_given_is_used(data: Dataset, store: FeatureStore, tmp_path: Path) -> None:
    with features_of(data, store.config, store, tmp_path) as found:
        assert found is store
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_refused_before_features_are_computed(
    data: Dataset, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told: list[Any] = []
    callbacks = Callbacks(on_progress=lambda *what: told.append(what))
    with pytest.raises(ConfigError, match="no device 'cuda' on this machine"):
        train_tagger(data, None, WHAT, ONCE, callbacks=callbacks, device="cuda")
    assert not told


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_where_it_is_trained_may_be_said(
    data: Dataset, store: FeatureStore, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made = train_tagger(data, store, WHAT, ONCE, device=device)
    assert made.tagger.device == "cpu"
    assert same(made.tagger, train_tagger(data, store, WHAT, ONCE).tagger)
