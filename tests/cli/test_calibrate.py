"""``lightmel calibrate``: to a new tagger's file, or to a line that says why not."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import lightmel
from lightmel.checkpoint import read_description, weights_sha256
from lightmel.cli import app
from lightmel.errors import DataError
from lightmel.evaluation import Evaluation

SR = 16_000


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pieces in four albums, and tables that say what is in them."""
    folder = tmp_path_factory.mktemp("music")
    time = np.arange(SR) / SR
    lines, groups = ["path,guitar,drums,n_clips"], ["path,group,artist"]
    for i in range(12):
        (folder / f"album{i // 3}").mkdir(exist_ok=True)
        rng = np.random.default_rng(i)
        wave = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 4_000) * time) + 0.05 * rng.standard_normal(SR)
        name = f"album{i // 3}/{i}.wav"
        soundfile.write(folder / name, wave, SR)
        lines.append(f"{name},{i % 2},{'' if i < 6 else 0.8 * (i % 3 > 0)},{i}")
        groups.append(f"{name},a{i // 3},somebody")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "groups.csv").write_text("\n".join(groups) + "\n")
    (folder / "plain.csv").write_text("\n".join(line.rpartition(",")[0] for line in groups) + "\n")
    return folder


def test_with_labels(runner: CliRunner, music: Path, small_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    before = small_model.read_bytes()
    command = ["calibrate", str(small_model), str(music / "groups.csv"), "--out", str(out)]
    labels = ["--annotations", str(music / "labels.csv"), "--min-positives", "2"]
    result = runner.invoke(app, [*command, *labels, "--name", "mine", "--version", "9"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "12 clips of 4 groups gave 3 thresholds."
    assert lines[1].startswith("12 of them, of 4 groups, have labels: 2 tags are verified")
    assert lines[-2:] == [f"{out}: mine 9, license CC0-1.0", f"Try: lightmel tag song.mp3 --model {out}"]
    written = json.loads((tmp_path / "new.json").read_text())
    assert written["verified"] == ["guitar", "drums"]
    assert written["positives"] == {"guitar": 6, "drums": 4}
    assert written["agreement"]["folds"] == 4
    settings = tomllib.loads((tmp_path / "new.toml").read_text())
    assert (settings["min_positives"], settings["version"]) == (2, "9")
    made = lightmel.load(out)
    assert made.description.verified == {"guitar", "drums"}
    assert made.description.thresholds == tuple(written["thresholds"].values())
    assert small_model.read_bytes() == before
    tagged = runner.invoke(app, ["tag", "--sample", "--json", "--model", str(out)])
    assert json.loads(tagged.stdout)["verified"] == {"guitar": True, "drums": True, "voice": False}


@pytest.mark.parametrize("source", ["", "plain.csv"])
def test_without_labels(
    runner: CliRunner, music: Path, small_model: Path, tmp_path: Path, source: str
) -> None:
    out = tmp_path / "new.safetensors"
    result = runner.invoke(app, ["calibrate", str(small_model), str(music / source), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "12 clips of 4 groups gave 3 thresholds.\nNo labels" in result.stdout
    assert weights_sha256(lightmel.load(out).network) == weights_sha256(lightmel.load(small_model).network)
    assert len(read_description(out).thresholds) == 3
    assert read_description(small_model).thresholds == ()
    assert read_description(out).version == "1-calibrated"


def test_a_table_with_labels_needs_no_other(
    runner: CliRunner, music: Path, small_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new.safetensors"
    result = runner.invoke(app, ["calibrate", str(small_model), str(music / "labels.csv"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "12 of them, of 12 groups, have labels: 1 tags" in result.stdout, "drums has two false clips alone"


def test_the_tagger_that_is_read_is_not_written(
    runner: CliRunner, music: Path, small_model: Path, tmp_path: Path
) -> None:
    before = small_model.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(small_model)
    for out in (small_model, link):
        result = runner.invoke(app, ["calibrate", str(small_model), str(music), "--out", str(out)])
        assert result.exit_code == 2
        assert "would take its place" in " ".join(result.stderr.replace("│", " ").split())
    table = tmp_path / "new.json"
    table.write_text((music / "labels.csv").read_text())
    command = ["calibrate", str(small_model), str(music), "--annotations", str(table)]
    result = runner.invoke(app, [*command, "--out", str(tmp_path / "new.safetensors")])
    assert result.exit_code == 2
    assert small_model.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["groups.csv"], "groups.csv names none of the tags of small (guitar, drums, voice"),
        (["none.csv"], "There is no table"),
        ([".", "--annotations", "none.csv"], "There is no table"),
        (["labels.csv", "--min-positives", "7"], "no tag has 7 clips that are true and 7 that are false"),
        (["labels.csv", "--min-positives", "0"], "--min-positives is at least 1, not 0"),
        ([".", "--not-music", "."], "small has no tag 'music'"),
        (["empty"], "empty"),
    ],
)
def test_what_cannot_be_is_a_line(
    runner: CliRunner,
    music: Path,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    why: str,
) -> None:
    (music / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(music)
    out = tmp_path / "out" / "new.safetensors"
    result = runner.invoke(app, ["calibrate", str(small_model), *arguments, "--out", str(out)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("lightmel calibrate: ")
    assert why in result.stderr
    assert list(out.parent.iterdir()) == [], "nothing is written"


def test_a_tagger_that_is_none(runner: CliRunner, music: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"nothing of the kind")
    for name, why in (("no-such", "no-such"), (str(tmp_path / "broken.safetensors"), "no readable")):
        result = runner.invoke(app, ["calibrate", name, str(music), "--out", str(tmp_path / "new")])
        assert result.exit_code == 1
        assert why in result.stderr


def test_its_figures_are_an_evaluation(
    runner: CliRunner, music: Path, small_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new.safetensors"
    command = ["calibrate", str(small_model), str(music / "groups.csv"), "--out", str(out)]
    labels = ["--annotations", str(music / "labels.csv"), "--min-positives", "2"]
    result = runner.invoke(app, [*command, *labels])
    assert result.exit_code == 0, result.output
    found = Evaluation.load(tmp_path / "new.json")
    assert (found.dataset, found.positives) == ("labels.csv", {"guitar": 6, "drums": 4})
    assert set(found.roc_auc) == {"guitar", "drums"}
    assert found.clips == 12
    assert "labels of other groups, 4 parts" in found.protocol
    assert found.weights == weights_sha256(lightmel.load(out).network)
    bare = runner.invoke(app, ["calibrate", str(small_model), str(music), "--out", str(tmp_path / "bare")])
    assert bare.exit_code == 0, bare.output
    with pytest.raises(DataError, match=r"bare\.json: It holds no evaluation"):
        Evaluation.load(tmp_path / "bare.json")


def test_another_tagger_is_not_overwritten(
    runner: CliRunner, music: Path, small_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    out.write_bytes(small_model.read_bytes())
    command = ["calibrate", str(small_model), str(music / "plain.csv"), "--out", str(out)]
    refused = runner.invoke(app, command)
    assert refused.exit_code == 1
    assert "is there already: the tagger small 1 (3 tags" in refused.stderr
    assert "say --force" in refused.stderr
    assert out.read_bytes() == small_model.read_bytes()
    assert runner.invoke(app, [*command, "--force"]).exit_code == 0
    assert read_description(out).version == "1-calibrated"
    assert runner.invoke(app, command).exit_code == 0, "the same again"
    assert runner.invoke(app, [*command, "--version", "2"]).exit_code == 1
