"""Evaluation of files and of features: the figures against scikit-learn, what is left out and why."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lightmel.datasets import Dataset, Split
from lightmel.errors import ConfigError, DataError, ShapeError
from lightmel.evaluation import (
    ClipSet,
    Evaluation,
    Intervals,
    evaluate,
    evaluate_examples,
    evaluate_scores,
    score_clips,
)
from lightmel.features import FeatureExamples, FeatureStore, MemoryFeatures, build_store, label_features
from lightmel.frontends import build_frontend
from lightmel.inference import Tagger

SR = 16_000
TAGS = ("voice", "strings", "drums")
SONGS = ClipSet("songs", "clean")
Tiny = Callable[..., Tagger]


def waves(count: int, seed: int = 0) -> list[np.ndarray]:
    """Sound of 0.3 to 1.7 seconds: shorter and longer than the half second of a tiny tagger's segment."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(round(0.3 * SR), round(1.7 * SR), count)
    return [
        (rng.uniform(0.01, 0.4) * np.cumsum(rng.standard_normal(n)) / 60).astype(np.float32) for n in lengths
    ]


def truth(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3)) < np.array([0.5, 0.25, 0.7])


@pytest.fixture
def tagger(tiny: Tiny) -> Tagger:
    return tiny(1)


def mels(tagger: Tagger, count: int = 40) -> dict[str, np.ndarray]:
    frontend = build_frontend(tagger.config)
    return {
        f"{i}.wav": frontend(torch.from_numpy(wave)[None])[0].numpy() for i, wave in enumerate(waves(count))
    }


def examples(tagger: Tagger, labels: Any = None) -> FeatureExamples:
    held = MemoryFeatures(tagger.config, mels(tagger))
    labels = truth(len(held)) if labels is None else labels
    return FeatureExamples(held, np.arange(len(held)), labels, tagger.network.input_shape[1])


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """A test split of twelve files, and the tags of a tiny tagger in another order."""
    paths = tuple(f"sound/{i}.wav" for i in range(12))
    (tmp_path / "sound").mkdir()
    for path, wave in zip(paths, waves(12), strict=True):
        soundfile.write(tmp_path / path, wave, SR, subtype="FLOAT")
    split = Split(paths, truth(12), paths)
    return Dataset(
        name="songs",
        protocol="clean",
        root=tmp_path,
        tags=("drums", "voice", "strings"),
        splits={"test": split},
        citation="-",
        license="-",
        source="-",
    )


# Figures


def test_figures_are_scikit_learns_of_the_mean_scores_of_segments(tagger: Tagger) -> None:
    source = examples(tagger)
    found = evaluate_examples(tagger, source, TAGS, SONGS)
    frames = tagger.network.input_shape[1]
    scores = []
    for mel in mels(tagger).values():
        parts = [mel[:, i : i + frames] for i in range(0, mel.shape[1] - frames + 1, frames)]
        if mel.shape[1] < frames:
            parts = [mel[:, np.arange(frames) % mel.shape[1]]]
        elif mel.shape[1] % frames:
            parts.append(mel[:, -frames:])
        with torch.inference_mode():
            logits = tagger.network(torch.from_numpy(np.stack(parts)))
        scores.append(logits.double().sigmoid().mean(dim=0).numpy())
    assert {len(s) for s in scores} == {3}
    for i, tag in enumerate(TAGS):
        own = truth(40)[:, i], np.stack(scores)[:, i]
        assert found.roc_auc[tag] == pytest.approx(roc_auc_score(*own), abs=1e-12)
        assert found.pr_auc[tag] == pytest.approx(average_precision_score(*own), abs=1e-12)
    assert found.macro_roc_auc == pytest.approx(np.mean(list(found.roc_auc.values())))
    assert found.macro_pr_auc == pytest.approx(np.mean(list(found.pr_auc.values())))
    assert found.clips == 40
    assert found.positives == dict(zip(TAGS, truth(40).sum(axis=0).tolist(), strict=True))


def test_scores_that_are_there_give_the_same_figures(tagger: Tagger) -> None:
    source = examples(tagger)
    scores = score_clips(tagger.network.eval(), source)
    truths = source.labels.numpy() >= 0.5
    assert evaluate_scores(tagger, truths, scores, TAGS, SONGS) == evaluate_examples(
        tagger, source, TAGS, SONGS
    )
    some = evaluate_scores(tagger, truths[:, 1:], scores[:, 1:], TAGS[1:], SONGS)
    assert list(some.roc_auc) == list(TAGS[1:])
    with pytest.raises(ShapeError, match="a column for each tag"):
        evaluate_scores(tagger, truths, scores, TAGS[1:], SONGS)
    with pytest.raises(DataError, match="cannot be ranked"):
        evaluate_scores(tagger, truths, scores * np.nan, TAGS, SONGS)


def test_the_interval_holds_the_average_is_wider_at_a_higher_level_and_comes_from_the_seed(
    tagger: Tagger,
) -> None:
    source = examples(tagger)
    found = evaluate_examples(tagger, source, TAGS, SONGS)
    for value, interval in (
        (found.macro_roc_auc, found.roc_auc_interval),
        (found.macro_pr_auc, found.pr_auc_interval),
    ):
        assert interval is not None
        assert interval[0] < value < interval[1]
    assert evaluate_examples(tagger, source, TAGS, SONGS) == found
    assert (
        evaluate_examples(tagger, source, TAGS, SONGS, Intervals(seed=1)).roc_auc_interval
        != found.roc_auc_interval
    )
    wider = evaluate_examples(tagger, source, TAGS, SONGS, Intervals(level=0.99)).roc_auc_interval
    assert wider is not None
    assert found.roc_auc_interval is not None
    assert wider[0] < found.roc_auc_interval[0] < found.roc_auc_interval[1] < wider[1]


def test_a_network_is_evaluated_as_its_tagger_is(tagger: Tagger) -> None:
    found = evaluate_examples(tagger, examples(tagger), TAGS, SONGS)
    alone = evaluate_examples(tagger.network.train(), examples(tagger), TAGS, SONGS)
    assert (alone.model, alone.version) == ("musicnn", "")
    assert alone.roc_auc == found.roc_auc
    assert alone.weights == found.weights
    assert (found.model, found.version, found.config) == ("tiny-1", "1", "16k-mel16-x4-db")
    assert (found.dataset, found.protocol, found.split) == ("songs", "clean", "test")


def test_what_does_not_fit_is_refused(tagger: Tagger, tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match=r"x8.*x4|x4.*x8"):
        evaluate_examples(tiny(0, slug="16k-mel16-x8-db"), examples(tagger), TAGS, SONGS)
    with pytest.raises(ConfigError, match="not those of tiny-1 in its order"):
        evaluate_examples(tagger, examples(tagger), TAGS[::-1], SONGS)
    with pytest.raises(ConfigError, match="2 tags, a network of 3 and labels of 3"):
        evaluate_examples(tagger.network, examples(tagger), TAGS[:2], SONGS)
    with pytest.raises(ConfigError, match="labels of 2"):
        evaluate_examples(tagger, examples(tagger, truth(40)[:, :2]), TAGS, SONGS)


def test_tags_that_cannot_be_measured_are_named_left_out_and_warned_of(
    tagger: Tagger, caplog: pytest.LogCaptureFixture
) -> None:
    labels = truth(40)
    labels[:, 0], labels[:, 2] = False, True
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = evaluate_examples(tagger, examples(tagger, labels), TAGS, SONGS)
    assert found.left_out == {"voice": "no clip has it", "drums": "every clip has it"}
    assert list(found.roc_auc) == list(found.pr_auc) == ["strings"]
    assert found.macro_pr_auc == found.pr_auc["strings"]
    assert [r.getMessage() for r in caplog.records] == [
        "test of songs: left out of the figures, no clip has it: voice.",
        "test of songs: left out of the figures, every clip has it: drums.",
    ]
    assert "Left out: voice (no clip has it)." in found.table()
    caplog.clear()
    evaluate_examples(tagger, examples(tagger), TAGS, SONGS)
    assert not caplog.records


def test_where_nothing_can_be_measured_there_are_no_figures(tagger: Tagger, tmp_path: Path) -> None:
    found = evaluate_examples(tagger, examples(tagger, np.zeros((40, 3))), TAGS, SONGS)
    assert math.isnan(found.macro_roc_auc)
    assert found.roc_auc_interval is found.pr_auc_interval is None
    found.save(tmp_path / "nothing.json")
    assert Evaluation.load(tmp_path / "nothing.json") == found
    assert "mean of 0 tags" in found.table()


# Files


def test_files_are_evaluated_as_a_user_would_tag_them(tagger: Tagger, data: Dataset) -> None:
    told: list[tuple[int, int]] = []
    found = evaluate(tagger, data, on_clip=lambda done, of: told.append((done, of)))
    tagged = [tagger.tag(path) for path in data.files("test")]
    for i, tag in enumerate(data.tags):
        own = data.test.labels[:, i], [t[tag] for t in tagged]
        assert found.roc_auc[tag] == pytest.approx(roc_auc_score(*own), abs=1e-12), tag
        assert found.pr_auc[tag] == pytest.approx(average_precision_score(*own), abs=1e-12), tag
    assert told == [(i + 1, 12) for i in range(12)]
    assert (found.clips, found.failed, found.left_out) == (12, {}, {})
    assert (found.dataset, found.protocol, found.split) == ("songs", "clean", "test")


def test_files_that_cannot_be_read_are_listed_and_the_rest_go_on(tagger: Tagger, data: Dataset) -> None:
    (data.root / "sound" / "3.wav").unlink()
    (data.root / "sound" / "7.wav").write_text("la la la")
    found = evaluate(tagger, data)
    assert list(found.failed) == ["sound/3.wav", "sound/7.wav"]
    assert all(reason for reason in found.failed.values())
    assert found.clips == 10
    kept = [i for i in range(12) if i not in (3, 7)]
    tagged = [tagger.tag(data.files("test")[i]) for i in kept]
    expected = roc_auc_score(data.test.labels[kept, 1], [t["voice"] for t in tagged])
    assert found.roc_auc["voice"] == pytest.approx(expected, abs=1e-12)
    assert "Could not be read: 2 files." in found.table()
    for path in data.files("test"):
        path.write_text("la la la")
    with pytest.raises(
        DataError, match=r"None of the files of test of songs \(clean\) can be read, the first"
    ):
        evaluate(tagger, data)
    for path in data.files("test"):
        path.unlink(missing_ok=True)
    with pytest.raises(
        DataError, match=r"None of the 12 sound files of songs is there: the first would be /"
    ):
        evaluate(tagger, data)


def test_a_split_without_clips_is_refused(tagger: Tagger, data: Dataset) -> None:
    empty = replace(data, splits={"test": Split((), np.zeros((0, 3), bool), ())})
    with pytest.raises(DataError, match=r"no files in test of songs \(clean\)"):
        evaluate(tagger, empty)
    with pytest.raises(DataError, match=r"no split 'tests'.*Did you mean 'test'"):
        evaluate(tagger, data, "tests")


def test_tags_that_the_tagger_does_not_have_are_left_out(
    tagger: Tagger, data: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = replace(data, tags=("drums", "choir", "strings"))
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = evaluate(tagger, foreign)
    assert found.left_out == {"choir": "the tagger does not have it"}
    assert list(found.roc_auc) == ["drums", "strings"]
    assert found.roc_auc["drums"] == evaluate(tagger, data).roc_auc["drums"]
    assert any("the tagger does not have it: choir" in r.getMessage() for r in caplog.records)
    with pytest.raises(DataError, match=r"has none of the tags of songs \(clean\): a, b, c"):
        evaluate(tagger, replace(data, tags=("a", "b", "c")))


# A store of features


@pytest.fixture
def own(data: Dataset, tagger: Tagger) -> Dataset:
    """The same clips, their labels in the tagger's order, half of them in a split of their own."""
    labels = data.test.labels[:, [data.tags.index(tag) for tag in TAGS]].copy()
    parts = {
        name: Split(data.test.paths[rows], labels[rows], data.test.groups[rows])
        for name, rows in (("valid", slice(0, 6)), ("test", slice(6, 12)))
    }
    return replace(data, tags=TAGS, splits=parts)


@pytest.fixture
def store(own: Dataset, tagger: Tagger, tmp_path: Path) -> FeatureStore:
    return build_store(tmp_path / "store", own.sources(), tagger.config, workers=0)


def test_evaluating_a_store_is_evaluating_its_examples(
    own: Dataset, store: FeatureStore, tagger: Tagger
) -> None:
    frames = tagger.network.input_shape[1]
    for split in ("test", "valid"):
        labeled = label_features(own, store, frames)
        expected = evaluate_examples(
            tagger, labeled.examples[split], TAGS, ClipSet("songs", "clean", split), Intervals(seed=3)
        )
        found = evaluate(tagger, own, split, features=store, intervals=Intervals(seed=3))
        assert found == expected
        assert (found.split, found.clips, found.failed, found.seed) == (split, 6, {}, 3)
    by_file, by_store = evaluate(tagger, own), evaluate(tagger, own, features=store)
    assert by_file.positives == by_store.positives
    assert by_file.weights == by_store.weights


def test_clips_that_the_store_could_not_read_are_listed(own: Dataset, tagger: Tagger, tmp_path: Path) -> None:
    (own.root / "sound" / "7.wav").write_text("no sound")
    store = build_store(tmp_path / "other", own.sources(), tagger.config, workers=0)
    found = evaluate(tagger, own, features=store)
    assert found.failed == {"sound/7.wav": store.failed["sound/7.wav"]}
    assert found.clips == 5
    kept = replace(own, splits={"test": Split(*(_without(column, 1) for column in _columns(own.test)))})
    assert evaluate(tagger, kept, features=store).roc_auc == found.roc_auc
    for path in own.files("test"):
        path.write_text("no sound")
    none = build_store(tmp_path / "none", own.sources(), tagger.config, workers=0)
    with pytest.raises(DataError, match=r"None of the files of test of songs \(clean\) can be read"):
        evaluate(tagger, own, features=none)


def _columns(split: Split) -> tuple[Any, Any, Any]:
    return split.paths, split.labels, split.groups


def _without(column: Any, row: int) -> Any:
    return (
        np.delete(column, row, axis=0) if isinstance(column, np.ndarray) else column[:row] + column[row + 1 :]
    )


def test_a_store_that_does_not_fit_is_refused(
    data: Dataset, own: Dataset, store: FeatureStore, tagger: Tagger, tiny: Tiny
) -> None:
    with pytest.raises(ConfigError, match="holds 16k-mel16-x4-db, and 16k-mel16-x8-db is wanted"):
        evaluate(tiny(0, slug="16k-mel16-x8-db"), own, features=store)
    with pytest.raises(ConfigError, match=r"not those of tiny-1 in its order.*without features"):
        evaluate(tagger, data, features=store)
    with pytest.raises(DataError, match=r"no split 'tests'.*Did you mean 'test'"):
        evaluate(tagger, own, "tests", features=store)


@pytest.mark.parametrize(
    ("given", "why"),
    [({"resamples": 0}, "resamples is at least 1"), ({"level": 1.0}, "level lies between 0 and 1")],
)
def test_intervals_that_cannot_be(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Intervals(**given)
