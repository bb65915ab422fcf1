"""From labelled sound to a tagger on the command line: features, train, finetune, evaluate."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lightmel
from lightmel.cli import app

SMALL = ["--network", "vgg-small-16k-mel16-x4-db", "--seconds", "0.8", "--batch", "16", "--lr", "0.003"]


def run(runner: CliRunner, *arguments: str | Path) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(runner: CliRunner, *arguments: str | Path, code: int = 1) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


def test_from_a_table_to_a_judged_tagger(runner: CliRunner, labelled: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "mels", tmp_path / "ears"
    made = run(runner, "features", labelled, "--out", store, "--mel", "16k-mel16-x1-db", "--workers", "1")
    assert "90 clips, 16k-mel16-x1-db as float32" in made
    thin = tmp_path / "thin"
    run(runner, "features", "--derive", store, "--hop-factor", "4", "--out", thin)
    shown = run(runner, "train", labelled, "--out", out, "--features", thin, "--epochs", "5", *SMALL)
    assert "mean of 3 tags" in shown
    assert "epoch 5/5" in shown
    assert f"lightmel tag song.mp3 --model {out}" in shown
    tagging = lightmel.tag(labelled.parent / "4.flac", model=out)
    assert tagging.model == "ears"
    assert tagging.thresholds

    by_files = run(runner, "evaluate", out, labelled, "--out", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["macro_roc_auc"] > 0.9
    assert (report["split"], report["clips"], report["dataset"]) == ("test", 18, "clips")
    assert (tmp_path / "report.md").read_text().strip() in by_files
    by_mels = run(runner, "evaluate", out, labelled, "--features", thin, "--split", "valid")
    assert "on valid of clips" in by_mels


def test_fine_tuning_in_one_command(runner: CliRunner, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "mytagger"
    shown = run(
        runner, "finetune", labelled, "--from", "default", "--out", out,
        "--head-epochs", "4", "--epochs", "1", "--excerpts", "1", "--work", tmp_path / "work",
    )  # fmt: skip
    assert "mean of 3 tags" in shown
    assert "CC BY-NC-SA 4.0" in shown, "weights that grew out of others keep their licence"
    tagging = lightmel.tag(labelled.parent / "4.flac", model=out)
    told = json.loads(run(runner, "tag", labelled.parent / "4.flac", "--model", out, "--above", "--json"))
    assert told["tags"] == dict(tagging.above())
    assert "has no thresholds" in refused(runner, "tag", labelled.parent / "4.flac", "--above", code=2)
    again = run(
        runner, "finetune", labelled, "--from", "default", "--out", out,
        "--head-epochs", "4", "--epochs", "1", "--excerpts", "1", "--work", tmp_path / "work",
    )  # fmt: skip
    assert "epoch" not in again, "the same command goes on from where it was: at the end"


def test_what_cannot_be_is_one_line(runner: CliRunner, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    assert "no table and no folder" in refused(runner, "train", tmp_path / "no.csv", "--out", out)
    said = refused(runner, "train", labelled, "--out", out, "--network", "vgg-smal-16k-mel16-x4-db")
    assert "has no option 'smal'" in said
    assert "Did you mean 'small'?" in said
    assert "epochs and batch" in refused(runner, "train", labelled, "--out", out, "--epochs", "0")
    assert "Give either the sound" in refused(runner, "features", "--out", out, code=2)
    assert "no feature store" in refused(
        runner, "train", labelled, "--out", out, "--features", tmp_path, *SMALL
    )
    assert "has none of the tags" in refused(runner, "evaluate", "default", labelled)
    assert "no split 'tset'" in refused(
        runner, "evaluate", "default", labelled, "--split", "tset", "--tag-columns", "tags"
    )
    assert not out.exists()


def test_a_broken_file_is_listed_and_made_again_once_it_is_mended(
    runner: CliRunner, labelled: Path, tmp_path: Path
) -> None:
    folder, store = tmp_path / "sound", tmp_path / "store"
    folder.mkdir()
    good = (labelled.parent / "1.flac").read_bytes()
    (folder / "good.flac").write_bytes(good)
    (folder / "bad.flac").write_text("this is no sound")
    command = ["features", folder, "--out", store, "--mel", "16k-mel16-x4-db", "--workers", "1"]
    shown = run(runner, *command)
    assert "lightmel features: bad.flac: " in shown
    assert "1 clips, 16k-mel16-x4-db as float32" in shown
    assert "1 failed" in shown
    (folder / "bad.flac").write_bytes(good)
    assert "2 clips" in run(runner, *command, "--again")


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(labelled: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-c", "from lightmel.cli import main; main()", "train", str(labelled),
        "--out", str(tmp_path / "ears"), "--work", str(tmp_path / "work"), "--epochs", "200", *SMALL,
    ]  # fmt: skip
    history = tmp_path / "work" / "run" / "history.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 120
        while not history.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"The same command goes on from {tmp_path / 'work'}." in said
    assert not (tmp_path / "ears").exists()
    before = len(history.read_text().splitlines())
    assert 0 < before < 200
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 120
        while len(history.read_text().splitlines()) <= before and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    epochs = [json.loads(line)["epoch"] for line in history.read_text().splitlines()]
    assert epochs == list(range(len(epochs)))
    assert len(epochs) > before
