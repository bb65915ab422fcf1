"""The record of an evaluation: written and read back, shown as a table, with the digest of the weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from lightmel.checkpoint import weights_sha256
from lightmel.errors import DataError
from lightmel.evaluation import ClipScores, Evaluation
from lightmel.inference import Tagger, load

Record = Callable[..., Evaluation]


def test_a_record_is_read_as_it_was_written(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    record().save(path)
    assert Evaluation.load(path) == record()
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert plain["macro_roc_auc"] == pytest.approx(0.8)
    assert plain["macro_pr_auc"] == pytest.approx(0.5)
    written = {f.name for f in fields(Evaluation)} - {
        "clip_scores",
        "accuracy",
        "balanced_accuracy",
        "accuracy_interval",
    }
    assert set(plain) == written | {"macro_roc_auc", "macro_pr_auc"}
    assert "dvořák" in path.read_text(encoding="utf-8")
    assert path.with_suffix(".md").read_text(encoding="utf-8") == record().table() + "\n"


def test_names_that_are_not_utf_8_are_written_and_read_back(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    name = b"dvo\xf8\xe1k".decode(errors="surrogateescape")
    own = record(model=name, failed={f"{name}.mp3": "it is not sound"})
    own.save(path)
    assert Evaluation.load(path) == own
    assert r"dvo\udcf8\udce1k 2 (" in path.with_suffix(".md").read_text(encoding="utf-8")


def test_what_is_no_record_is_refused(record: Record, tmp_path: Path) -> None:
    def written(**changed: object) -> str:
        return json.dumps(record().to_dict() | changed)

    path = tmp_path / "figures.json"
    with pytest.raises(DataError, match=r"figures\.json cannot be read as an evaluation: No such file"):
        Evaluation.load(path)
    for text, says in (
        ("no JSON", "cannot be read as an evaluation"),
        ("[" * 100_000, "cannot be read as an evaluation"),
        ("[1, 2]", "is no evaluation but a list"),
        ('{"evaluation": 5}', "is no evaluation but a int"),
        (written(roc_auc=5), "roc_auc is to hold a number for each name"),
        (written(pr_auc={"rock": "good"}), "pr_auc is to hold a number for each name"),
        (written(failed={"a.mp3": None}), "failed is to hold a reason for each name"),
        (written(roc_auc_interval=[0.5]), "roc_auc_interval is to be two numbers"),
        (written(clips="many"), "clips is to be their number"),
        (json.dumps({"dataset": "songs"}), r"figures\.json: This is no evaluation: clips, config"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=says):
            Evaluation.load(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        record().save(tmp_path / "folder")


def test_a_table_shows_each_tag_the_averages_and_what_is_missing(record: Record) -> None:
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
        "These 100 clips cannot carry a decision: the interval of the ROC AUC is 0.20 wide. Measure on more "
        "clips; fine-tuning can cross-validate (--folds 5).",
        "Left out: never (no clip has it).",
        "Could not be read: 1 files.",
    ]


def test_a_record_of_the_version_before_is_read() -> None:
    file = Path(__file__).parents[1] / "files" / "format-1" / "evaluation.json"
    found = Evaluation.load(file)
    assert (found.dataset, found.split, found.model, found.clips) == ("clips", "test", "mine", 18)
    assert found.positives == {"high": 8, "low": 10, "noise": 12}
    assert found.to_dict() == json.loads(file.read_text(encoding="utf-8"))


# What commands write


def test_the_figures_beside_a_tagger_are_read_too(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for plain in (
        {"history": [], "evaluation": record().to_dict()},
        {"report": {}, "evaluation": record().to_dict(), "history": []},
        {"model": "mine", "folds": 5, "evaluation": record().to_dict()},
    ):
        path.write_text(json.dumps(plain))
        assert Evaluation.load(path) == record()
    path.write_text(json.dumps({"history": [], "evaluation": None}))
    with pytest.raises(DataError, match=r"mine\.json: It holds no evaluation: there were no test clips"):
        Evaluation.load(path)
    (tmp_path / "mine.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=r"is a tagger; its figures lie beside it: .*mine\.json"):
        Evaluation.load(tmp_path / "mine.safetensors")
    for odd in ("[]", '{"evaluation": 3}', '{"evaluation": {"dataset": "x"}}'):
        path.write_text(odd)
        with pytest.raises(DataError, match=r"mine\.json"):
            Evaluation.load(path)


def test_scores_of_clips_lie_beside_it_and_are_of_its_weights(record: Record, tmp_path: Path) -> None:
    truth = np.array([[True, False], [False, True]])
    name = b"\xf8.wav".decode(errors="surrogateescape")
    scores = ClipScores(("a.wav", name), ("a|b", "dvořák"), truth, np.array([[0.25, 0.5], [0.125, 1.0]]))
    own = record(clip_scores=scores)
    own.save(tmp_path / "figures.json")
    found = Evaluation.load(tmp_path / "figures.json")
    assert found == own
    assert found.clip_scores is not None
    assert (found.clip_scores.paths, found.clip_scores.tags) == (scores.paths, scores.tags)
    assert np.array_equal(found.clip_scores.truth, truth)
    assert np.array_equal(found.clip_scores.scores, scores.scores)
    record(weights="f" * 64).save(tmp_path / "figures.json")
    assert Evaluation.load(tmp_path / "figures.json").clip_scores is None, "those of other weights"
    own.save(tmp_path / "figures.json")
    whole = (tmp_path / "figures.npz").read_bytes()
    for damaged in (b"", b"no zip", whole[:100], whole[: len(whole) // 2]):
        (tmp_path / "figures.npz").write_bytes(damaged)
        assert Evaluation.load(tmp_path / "figures.json").clip_scores is None
    with pytest.raises(DataError, match=r"would be overwritten by the \.npz"):
        own.save(tmp_path / "figures.npz")


@pytest.mark.parametrize(
    ("clips", "interval", "says"),
    [
        (100, (0.80, 0.88), None),
        (
            100,
            (0.70, 0.85),
            "These 100 clips cannot carry a decision: the interval of the ROC AUC is 0.15 wide.",
        ),
        (21, (0.90, 0.95), "the interval of the ROC AUC is too narrow itself with so few."),
        (21, (0.70, 0.95), "is 0.25 wide, and is too narrow itself with so few."),
        (21, None, None),
    ],
)
def test_what_cannot_carry_a_decision_is_said(
    record: Record, clips: int, interval: tuple[float, float] | None, says: str | None
) -> None:
    own = record(clips=clips, roc_auc_interval=interval)
    assert (own.undecided is None) == (says is None)
    assert says is None or says in own.table()
    assert ("cannot carry" in own.table()) == (says is not None)
    folds = replace(own, protocol="cross-validation by group, 5 folds").undecided
    assert (folds is None) == (says is None)
    assert "--folds" not in (folds or ""), "nobody is sent where they come from"


# The digest of the weights that it carries


def test_the_digest_is_that_of_the_weights_and_of_nothing_else(
    tiny: Callable[..., Tagger], tmp_path: Path
) -> None:
    tagger = tiny(1)
    network = tagger.network
    own = weights_sha256(network)
    assert len(own) == 64
    assert own == weights_sha256(tiny(1, name="another", version="9", thresholds=(0.1, 0.2, 0.3)).network)
    tagger.save(tmp_path / "a.safetensors")
    assert weights_sha256(load(tmp_path / "a.safetensors").network) == own
    assert weights_sha256(network.train()) == own
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor += 1
            assert weights_sha256(network) == own
            continue
        flat = tensor.view(-1)
        before = float(flat[-1])
        flat[-1] = before + 1
        assert weights_sha256(network) != own, name
        flat[-1] = before
    assert weights_sha256(network) == own == weights_sha256(tagger.network)
    assert weights_sha256(tiny(2).network) != own
    assert weights_sha256(network.double()) != own
