"""Fine-tuning: a copy of a tagger is trained for other tags, its head first."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lightmel
from lightmel.checkpoint import weights_sha256
from lightmel.datasets import Dataset
from lightmel.errors import (
    AudioError,
    ConfigError,
    DataError,
    ShapeError,
    StoppedError,
    UnknownModelError,
    WeightsError,
)
from lightmel.evaluation import evaluate
from lightmel.features import FeatureExamples, FeatureStore, label_features
from lightmel.inference import LIMITS, Tagger
from lightmel.training import (
    Callbacks,
    FinetuneConfig,
    Signature,
    TaggerConfig,
    TrainConfig,
    Trainer,
    finetune,
    train_tagger,
)

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


# Old tags beside new ones


@pytest.fixture(scope="module")
def waves(data: Dataset) -> list[Path]:
    return data.files("test")[:5]


def scores_of(tagger: Tagger, path: Path) -> dict[str, float]:
    found = tagger.tag(path)
    return dict(zip(found.tags, found.scores, strict=True))


@pytest.fixture(scope="module")
def calibrated(data: Dataset, store: FeatureStore) -> Tagger:
    """A tagger of four tags, of which labels have verified two."""
    words = ("hum", "Noise", "hiss", "music")
    parts = {name: replace(part, labels=part.labels[:, [0, 2, 1, 0]]) for name, part in data.splits.items()}
    what = TaggerConfig("vgg-small-16k-mel16-x4-db", segment_seconds=0.4)
    other = train_tagger(
        replace(data, tags=words, splits=parts), store, what, TrainConfig(epochs=1, batch_size=16)
    ).tagger
    record = {"chances": {"slope": 0.7}, "verified": ["Noise", "hiss"]}
    description = replace(
        other.description, thresholds=(0.3, 0.4, 0.5, 0.6), provenance={"data": "old", "calibration": record}
    )
    return Tagger(other.network, description)


@pytest.mark.parametrize("embeddings", [False, True])
def test_kept_tags_score_and_hold_as_before(
    calibrated: Tagger, data: Dataset, store: FeatureStore, waves: list[Path], embeddings: bool
) -> None:
    config = replace(TUNING, keep_tags=True, embeddings=embeddings)
    made = finetune(calibrated, data, store, config)
    assert made.tagger.tags == ("hum", "hiss", "music", "high", "low", "noise"), "noise replaces Noise"
    old, new = calibrated.network.state_dict(), made.tagger.network.state_dict()
    assert all(torch.equal(new[k], old[k]) for k in old if not k.startswith("head."))
    assert torch.equal(new["head.weight"][:3], old["head.weight"][[0, 2, 3]])
    assert torch.equal(new["head.bias"][:3], old["head.bias"][[0, 2, 3]])
    for wave in waves:
        before, after = scores_of(calibrated, wave), scores_of(made.tagger, wave)
        assert {t: after[t] for t in ("hum", "hiss", "music")} == pytest.approx(
            {t: before[t] for t in ("hum", "hiss", "music")}, abs=1e-6
        )
    d = made.tagger.description
    assert d.thresholds[:3] == (0.3, 0.5, 0.6)
    assert d.verified == {"hiss", "high", "low", "noise"}
    assert d.provenance["calibration"]["chances"] == {"slope": 0.7}
    assert d.provenance["calibration"]["finetuned"] == list(data.tags)
    assert d.provenance["kept_tags"] == ["hum", "hiss", "music"]
    assert d.provenance["body"]["provenance"] == calibrated.description.provenance
    assert made.evaluation is not None
    assert list(made.evaluation.positives) == list(data.tags)
    assert made.evaluation.macro_roc_auc > 0.7


def test_a_kept_tagger_is_evaluated_and_saved_as_any_other(
    base: Tagger, data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    other = Tagger(base.network, replace(base.description, tags=("hiss",)))
    made = finetune(other, data, store, replace(TUNING, keep_tags=True))
    alone = finetune(other, data, store, replace(TUNING, epochs=0))
    assert made.evaluation is not None
    assert alone.evaluation is not None
    assert made.evaluation.roc_auc == alone.evaluation.roc_auc
    assert made.evaluation.weights == weights_sha256(made.tagger.network)
    made.save(tmp_path / "kept.safetensors")
    again = lightmel.load(tmp_path / "kept.safetensors")
    assert again.tags == ("hiss", *data.tags)
    assert weights_sha256(again.network) == weights_sha256(made.tagger.network)
    assert again.description == made.tagger.description


def test_thresholds_that_are_missing_on_one_side_stand_in_and_are_warned_of(
    base: Tagger, data: Dataset, store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    bare = Tagger(base.network, replace(base.description, tags=("music",), thresholds=()))
    config = replace(ONCE, keep_tags=True, embeddings=True)
    kept = finetune(bare, data, store, config).tagger.description
    assert kept.thresholds[0] == LIMITS["music"]
    assert kept.verified is None
    assert "There are no thresholds for music" in caplog.text
    without = replace(data, splits={k: v for k, v in data.splits.items() if k != "valid"})
    assert finetune(bare, without, store, config).tagger.description.thresholds == ()
    limited = Tagger(base.network, replace(base.description, tags=("music",), thresholds=(0.7,)))
    assert finetune(limited, without, store, config).tagger.description.thresholds == (0.7, 0.5, 0.5, 0.5)
    assert "There are no thresholds for high, low, noise" in caplog.text


# On embeddings alone

BY_EMBEDDINGS = FinetuneConfig(embeddings=True)


def test_a_head_is_fitted_to_embeddings(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    made = finetune(base, data, store, BY_EMBEDDINGS)
    assert made.tagger.tags == data.tags
    assert made.history == []
    assert len(made.tagger.description.thresholds) == 3
    assert made.evaluation is not None
    assert made.evaluation.macro_roc_auc > 0.8
    body = base.network.state_dict()
    own = made.tagger.network.state_dict()
    assert all(torch.equal(own[k], v) for k, v in body.items() if not k.startswith("head."))
    by_store = evaluate(made.tagger, data, features=store)
    assert by_store.roc_auc == pytest.approx(made.evaluation.roc_auc, abs=1e-6)
    assert by_store.weights == made.evaluation.weights


def test_the_head_is_scikit_learns(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    made = finetune(base, data, store, BY_EMBEDDINGS).tagger
    examples = label_features(data, store, base.network.input_shape[1]).examples["train"]
    network = base.network.eval()
    with torch.inference_mode():
        means = np.stack([network.embed(examples.segments(i)).mean(dim=0) for i in range(len(examples))])
    truth = examples.labels.numpy() >= 0.5
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / means.shape[1], max_iter=1000))
    model.fit(means, truth[:, 1])
    logits = torch.from_numpy(means) @ made.network.head.weight.T + made.network.head.bias
    assert logits[:, 1].detach().numpy() == pytest.approx(model.decision_function(means), abs=0.02), (
        "to the tolerance at which it stops"
    )
    weighted = finetune(base, data, store, replace(BY_EMBEDDINGS, class_weights="balanced")).tagger
    assert not torch.equal(weighted.network.head.bias, made.network.head.bias)


def test_embeddings_are_computed_from_the_sound_once(
    base: Tagger, data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(data.root, tmp_path / "sound")
    own = replace(data, root=folder)
    told: list[tuple[str, int, int]] = []
    callbacks = Callbacks(on_progress=lambda *what: told.append(what))
    work = tmp_path / "work"
    made = finetune(base, own, config=BY_EMBEDDINGS, work=work, callbacks=callbacks)
    assert told == [("computing embeddings", i + 1, 90) for i in range(90)]
    by_files = evaluate(made.tagger, own)
    assert made.evaluation is not None
    assert made.evaluation.roc_auc == pytest.approx(by_files.roc_auc, abs=1e-6), "as a user would tag them"
    told.clear()
    again = finetune(base, own, config=BY_EMBEDDINGS, work=work, callbacks=callbacks)
    assert told == [], "nothing is computed twice"
    assert same(again.tagger, made.tagger)
    changed, gone = data.train.paths[0], data.train.paths[1]
    shutil.copy(folder / data.train.paths[2], folder / changed)
    (folder / gone).unlink()
    caplog.set_level(logging.WARNING, "lightmel")
    finetune(base, own, config=BY_EMBEDDINGS, work=work, callbacks=callbacks)
    assert told == [("computing embeddings", 89, 90), ("computing embeddings", 90, 90)]
    assert "and are computed again: 1." in caplog.text, "what is missing is not another file"
    assert f"1 of 54 clips of train are left out, {gone} among them" in caplog.text
    other = Tagger(base.network, replace(base.description, tags=("other",)))
    with torch.no_grad():
        network = base.network
        next(network.parameters()).mul_(1.5)
    told.clear()
    finetune(other, own, config=BY_EMBEDDINGS, work=work, callbacks=callbacks)
    assert told == [("computing embeddings", 90, 90)], "another head has the same; what failed is tried again"
    told.clear()
    finetune(Tagger(network, base.description), own, config=BY_EMBEDDINGS, work=work, callbacks=callbacks)
    assert len(told) == 90, "another body has others"


def test_a_clip_that_could_not_be_read_is_tried_again(
    base: Tagger, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = data.train.paths[3]
    whole = Tagger.embed_segments

    def fails(tagger: Tagger, source: Path, *more: Any) -> Any:
        if str(source).endswith(lacking):
            raise AudioError("a decoder is missing")
        return whole(tagger, source, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Tagger, "embed_segments", fails)
        first = finetune(base, data, config=BY_EMBEDDINGS, work=tmp_path)
    again = finetune(base, data, config=BY_EMBEDDINGS, work=tmp_path)
    assert not same(first.tagger, again.tagger)
    assert same(again.tagger, finetune(base, data, config=BY_EMBEDDINGS).tagger)


def test_computing_embeddings_goes_on_where_it_was_stopped(
    base: Tagger, data: Dataset, tmp_path: Path
) -> None:
    told: list[int] = []

    def stop(_: str, done: int, __: int) -> None:
        told.append(done)
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(base, data, config=BY_EMBEDDINGS, work=tmp_path, callbacks=Callbacks(on_progress=stop))
    finetune(base, data, config=BY_EMBEDDINGS, work=tmp_path, callbacks=Callbacks(on_progress=stop))
    assert told == list(range(1, 91))


def test_a_damaged_file_of_embeddings_is_a_line(base: Tagger, data: Dataset, tmp_path: Path) -> None:
    finetune(base, data, config=BY_EMBEDDINGS, work=tmp_path)
    (file,) = tmp_path.glob("embeddings-*-of-sound.sqlite")
    whole = file.read_bytes()
    file.write_bytes(b"this is no database" + whole[19:])
    with pytest.raises(DataError, match=r"cannot be used: file is not a database.*delete it"):
        finetune(base, data, config=BY_EMBEDDINGS, work=tmp_path)
    file.write_bytes(whole)
    with sqlite3.connect(file) as held:
        held.execute(
            "UPDATE clips SET segments = zeroblob(length(segments)) WHERE key = ?", data.test.paths[:1]
        )
    held.close()
    with pytest.raises(DataError, match=r"the embeddings of .* are damaged"):
        finetune(base, data, config=BY_EMBEDDINGS, work=tmp_path)


def test_a_tag_that_every_clip_has_cannot_be_told_by_embeddings(
    base: Tagger, data: Dataset, store: FeatureStore
) -> None:
    labels = data.train.labels.copy()
    labels[:, 1] = True
    own = replace(data, splits={**data.splits, "train": replace(data.train, labels=labels)})
    with pytest.raises(DataError, match="Every training clip has low: clips without it"):
        finetune(base, own, store, BY_EMBEDDINGS)
    none = replace(
        data, splits={**data.splits, "train": replace(data.train, labels=labels & [True, False, True])}
    )
    with pytest.raises(DataError, match="no training clip has low"):
        finetune(base, none, store, BY_EMBEDDINGS)


def test_the_name_of_a_tagger_that_there_is_cannot_be_taken(base: Tagger, data: Dataset) -> None:
    name = lightmel.load("default").name
    with pytest.raises(ConfigError, match=f"name='{name}' stands for another tagger"):
        finetune(base, data, signature=Signature(name=name))
