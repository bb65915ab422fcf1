"""Evaluation: the figures against scikit-learn, what is left out and why, and the record that keeps them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from lightmel.datasets.dataset import Dataset, Split
from lightmel.errors import ConfigError, DataError
from lightmel.evaluation.protocol import Evaluation, compare, evaluate, evaluate_files, weights_sha256
from lightmel.features.examples import MelExamples
from lightmel.features.store import MemoryMels
from lightmel.inference.tagger import Tagger

SR = 16_000
TAGS = ("voice", "strings", "drums")
WHAT = {"dataset": "songs", "protocol": "clean"}
Tiny = Callable[..., Tagger]


def waves(count: int, seed: int = 0) -> list[np.ndarray]:
    """Sound of 0.3 to 1.7 seconds: shorter and longer than the half second that a tiny tagger hears."""
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
    return {
        f"{i}.wav": tagger.frontend(torch.from_numpy(wave)[None])[0].numpy()
        for i, wave in enumerate(waves(count))
    }


def examples(tagger: Tagger, labels: Any = None) -> MelExamples:
    held = MemoryMels(tagger.config, mels(tagger))
    labels = truth(len(held)) if labels is None else labels
    return MelExamples(held, np.arange(len(held)), labels, tagger.network.input_shape[1])


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
        licence="-",
        source="-",
    )


# Figures


def test_figures_are_scikit_learns_of_the_mean_scores_of_segments(tagger: Tagger) -> None:
    source = examples(tagger)
    found = evaluate(tagger, source, TAGS, **WHAT)
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


def test_the_interval_holds_the_average_is_wider_at_a_higher_level_and_comes_from_the_seed(
    tagger: Tagger,
) -> None:
    source = examples(tagger)
    found = evaluate(tagger, source, TAGS, **WHAT)
    for value, interval in (
        (found.macro_roc_auc, found.roc_auc_interval),
        (found.macro_pr_auc, found.pr_auc_interval),
    ):
        assert interval is not None
        assert interval[0] < value < interval[1]
    assert evaluate(tagger, source, TAGS, **WHAT) == found
    assert evaluate(tagger, source, TAGS, **WHAT, seed=1).roc_auc_interval != found.roc_auc_interval
    wider = evaluate(tagger, source, TAGS, **WHAT, level=0.99).roc_auc_interval
    assert wider is not None
    assert found.roc_auc_interval is not None
    assert wider[0] < found.roc_auc_interval[0] < found.roc_auc_interval[1] < wider[1]


def test_a_network_is_judged_as_its_tagger_is(tagger: Tagger) -> None:
    found = evaluate(tagger, examples(tagger), TAGS, **WHAT)
    alone = evaluate(tagger.network.train(), examples(tagger), TAGS, **WHAT)
    assert (alone.model, alone.version) == ("musicnn", "")
    assert alone.roc_auc == found.roc_auc
    assert alone.weights == found.weights
    assert (found.model, found.version, found.config) == ("tiny-1", "1", "16k-mel16-x4-db")
    assert (found.dataset, found.protocol, found.split) == ("songs", "clean", "test")


def test_what_does_not_fit_is_refused(tagger: Tagger, tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match=r"x8.*x4|x4.*x8"):
        evaluate(tiny(0, slug="16k-mel16-x8-db"), examples(tagger), TAGS, **WHAT)
    with pytest.raises(ConfigError, match="not those of tiny-1 in its order"):
        evaluate(tagger, examples(tagger), TAGS[::-1], **WHAT)
    with pytest.raises(ConfigError, match="2 tags, a network of 3 and labels of 3"):
        evaluate(tagger.network, examples(tagger), TAGS[:2], **WHAT)
    with pytest.raises(ConfigError, match="labels of 2"):
        evaluate(tagger, examples(tagger, truth(40)[:, :2]), TAGS, **WHAT)


def test_tags_that_cannot_be_judged_are_named_left_out_and_warned_of(
    tagger: Tagger, caplog: pytest.LogCaptureFixture
) -> None:
    labels = truth(40)
    labels[:, 0], labels[:, 2] = False, True
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = evaluate(tagger, examples(tagger, labels), TAGS, **WHAT)
    assert found.left_out == {"voice": "no clip has it", "drums": "every clip has it"}
    assert list(found.roc_auc) == list(found.pr_auc) == ["strings"]
    assert found.macro_pr_auc == found.pr_auc["strings"]
    assert [r.getMessage() for r in caplog.records] == [
        "test of songs: left out of the figures, no clip has it: voice.",
        "test of songs: left out of the figures, every clip has it: drums.",
    ]
    assert "Left out: voice (no clip has it)." in found.table()
    caplog.clear()
    evaluate(tagger, examples(tagger), TAGS, **WHAT)
    assert not caplog.records


def test_where_nothing_can_be_judged_there_are_no_figures(tagger: Tagger, tmp_path: Path) -> None:
    found = evaluate(tagger, examples(tagger, np.zeros((40, 3))), TAGS, **WHAT)
    assert math.isnan(found.macro_roc_auc)
    assert found.roc_auc_interval is found.pr_auc_interval is None
    found.save(tmp_path / "nothing.json")
    assert Evaluation.load(tmp_path / "nothing.json") == found
    assert "mean of 0 tags" in found.table()


# Files


def test_files_are_judged_as_a_user_would_tag_them(tagger: Tagger, data: Dataset) -> None:
    told: list[tuple[int, int]] = []
    found = evaluate_files(tagger, data, on_clip=lambda done, of: told.append((done, of)))
    tagged = [tagger.tag(path) for path in data.files("test")]
    for i, tag in enumerate(data.tags):
        own = data.test.labels[:, i], [t[tag] for t in tagged]
        assert found.roc_auc[tag] == pytest.approx(roc_auc_score(*own), abs=1e-12), tag
        assert found.pr_auc[tag] == pytest.approx(average_precision_score(*own), abs=1e-12), tag
    assert told == [(i + 1, 12) for i in range(12)]
    assert (found.clips, found.failed, found.left_out) == (12, {}, {})
    assert (found.dataset, found.protocol, found.split) == ("songs", "clean", "test")


def test_files_that_cannot_be_heard_are_listed_and_the_rest_go_on(tagger: Tagger, data: Dataset) -> None:
    (data.root / "sound" / "3.wav").unlink()
    (data.root / "sound" / "7.wav").write_text("la la la")
    found = evaluate_files(tagger, data)
    assert list(found.failed) == ["sound/3.wav", "sound/7.wav"]
    assert all(reason for reason in found.failed.values())
    assert found.clips == 10
    kept = [i for i in range(12) if i not in (3, 7)]
    tagged = [tagger.tag(data.files("test")[i]) for i in kept]
    expected = roc_auc_score(data.test.labels[kept, 1], [t["voice"] for t in tagged])
    assert found.roc_auc["voice"] == pytest.approx(expected, abs=1e-12)
    assert "Could not be heard: 2 files." in found.table()
    for path in data.files("test"):
        path.unlink(missing_ok=True)
    with pytest.raises(
        DataError, match=r"None of the files of test of songs \(clean\) can be heard, the first"
    ):
        evaluate_files(tagger, data)


def test_a_split_without_clips_is_refused(tagger: Tagger, data: Dataset) -> None:
    empty = replace(data, splits={"test": Split((), np.zeros((0, 3), bool), ())})
    with pytest.raises(DataError, match=r"no files in test of songs \(clean\)"):
        evaluate_files(tagger, empty)
    with pytest.raises(DataError, match=r"no split 'tests'.*Did you mean 'test'"):
        evaluate_files(tagger, data, "tests")


def test_tags_that_the_tagger_does_not_have_are_left_out(
    tagger: Tagger, data: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = replace(data, tags=("drums", "choir", "strings"))
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = evaluate_files(tagger, foreign)
    assert found.left_out == {"choir": "the tagger does not have it"}
    assert list(found.roc_auc) == ["drums", "strings"]
    assert found.roc_auc["drums"] == evaluate_files(tagger, data).roc_auc["drums"]
    assert any("the tagger does not have it: choir" in r.getMessage() for r in caplog.records)
    with pytest.raises(DataError, match=r"has none of the tags of songs \(clean\): a, b, c"):
        evaluate_files(tagger, replace(data, tags=("a", "b", "c")))


# The hash of the weights


def test_the_hash_is_that_of_the_weights_and_of_nothing_else(tiny: Tiny, tmp_path: Path) -> None:
    from lightmel import load

    tagger = tiny(1)
    own = weights_sha256(tagger.network)
    assert len(own) == 64
    assert own == weights_sha256(tiny(1, name="another", version="9", thresholds=(0.1, 0.2, 0.3)).network)
    tagger.save(tmp_path / "a.safetensors")
    assert weights_sha256(load(tmp_path / "a.safetensors").network) == own
    assert weights_sha256(tagger.network.train()) == own
    for name, tensor in tagger.network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor += 1
            assert weights_sha256(tagger.network) == own
            continue
        flat = tensor.view(-1)
        before = float(flat[-1])
        flat[-1] = before + 1
        assert weights_sha256(tagger.network) != own, name
        flat[-1] = before
    assert weights_sha256(tagger.network) == own
    assert weights_sha256(tiny(2).network) != own
    assert weights_sha256(tagger.network.double()) != own


# The record


def record(**changes: Any) -> Evaluation:
    plain: dict[str, Any] = {
        "dataset": "songs",
        "protocol": "clean",
        "split": "test",
        "model": "mine",
        "version": "2",
        "config": "16k-mel48-x2-db",
        "weights": "0123456789abcdef" * 4,
        "clips": 100,
        "positives": {"a|b": 20, "dvořák": 30, "never": 0},
        "roc_auc": {"a|b": 0.75, "dvořák": 0.85},
        "pr_auc": {"a|b": 0.4, "dvořák": 0.6},
        "left_out": {"never": "no clip has it"},
        "failed": {"x.mp3": "it is not sound"},
        "roc_auc_interval": (0.7, 0.9),
        "pr_auc_interval": (0.4, 0.6),
    }
    return Evaluation(**{**plain, **changes})


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    record().save(path)
    assert Evaluation.load(path) == record()
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert plain["macro_roc_auc"] == pytest.approx(0.8)
    assert plain["macro_pr_auc"] == pytest.approx(0.5)
    assert set(plain) == {f.name for f in fields(Evaluation)} | {"macro_roc_auc", "macro_pr_auc"}
    assert "dvořák" in path.read_text(encoding="utf-8")
    assert path.with_suffix(".md").read_text(encoding="utf-8") == record().table() + "\n"


def test_names_that_are_not_utf_8_are_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    name = b"dvo\xf8\xe1k".decode(errors="surrogateescape")
    own = record(model=name, failed={f"{name}.mp3": "it is not sound"})
    own.save(path)
    assert Evaluation.load(path) == own
    assert r"dvo\udcf8\udce1k 2 (" in path.with_suffix(".md").read_text(encoding="utf-8")


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    with pytest.raises(DataError, match="cannot be read"):
        Evaluation.load(path)
    for text, says in (
        ("no JSON", "cannot be read as an evaluation"),
        ("[1, 2]", "holds no evaluation but a list"),
        (json.dumps({"dataset": "songs"}), r"figures\.json: This is no evaluation: clips, config"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=says):
            Evaluation.load(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        record().save(tmp_path / "folder")


def test_a_table_shows_each_tag_the_averages_and_what_is_missing() -> None:
    assert record().table().splitlines() == [
        "mine 2 (16k-mel48-x2-db, weights 0123456789ab) on test of songs, clean: 100 clips.",
        "",
        "| tag                | true clips | ROC AUC                | PR AUC                 |",
        "|--------------------|------------|------------------------|------------------------|",
        "| a\\|b               | 20         | 0.750                  | 0.400                  |",
        "| dvořák             | 30         | 0.850                  | 0.600                  |",
        "| never              | 0          |                        |                        |",
        "| **mean of 2 tags** |            | 0.800 (0.700 to 0.900) | 0.500 (0.400 to 0.600) |",
        "",
        "Left out: never (no clip has it).",
        "Could not be heard: 1 files.",
    ]


def test_records_of_the_same_clips_stand_in_one_table() -> None:
    other = record(model="theirs", version="", pr_auc={"a|b": 0.5, "dvořák": 0.6})
    lines = compare([record(), other]).splitlines()
    assert lines[0] == "test of songs, clean: 100 clips, 2 tags."
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["mine 2", "theirs"]
    assert "0.550 (0.400 to 0.600)" in lines[5]
    assert compare([other]).count("theirs") == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataset": "tunes"}, r"songs \(clean\) and tunes \(clean\)"),
        ({"protocol": "all"}, r"songs \(clean\) and songs \(all\)"),
        ({"split": "valid"}, "their split are test and valid"),
        ({"clips": 99}, "number of clips are 100 and 99"),
        ({"roc_auc": {"a|b": 0.75}}, "judged tags"),
        (
            {"positives": {"a|b": 21, "dvořák": 30, "never": 0}},
            r"true clips are a\|b 20, dvořák 30 and a\|b 21",
        ),
        ({"failed": {"y.mp3": "it is not sound"}}, r"unheard files are x\.mp3 and y\.mp3"),
        ({"failed": {}}, r"unheard files are x\.mp3 and none"),
    ],
)
def test_other_clips_or_tags_are_refused_in_one_table(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        compare([record(), record(), record(model="theirs", **change)])


def test_a_table_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        compare([])
