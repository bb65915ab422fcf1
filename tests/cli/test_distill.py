"""``lightmel distill`` on eight short files: to the tagger's file, or to a line that says why not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import lightmel
from lightmel.checkpoint import weights_sha256
from lightmel.cli import app
from lightmel.distillation import DISTILL_TRAINING, DistillConfig, MusicConfig
from lightmel.errors import DataError
from lightmel.evaluation import Evaluation
from lightmel.training import Signature

SR = 16_000
SMALL = {
    "--student": "musicnn-small-16k-mel16-x4-db",
    "--segment-seconds": "0.5",
    "--step-seconds": "0.5",
    "--excerpt-seconds": "1.5",
    "--mixtures": "0.25",
    "--batch-size": "8",
    "--epochs": "3",
}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four albums of two pieces each."""
    folder = tmp_path_factory.mktemp("music")
    time = np.arange(round(1.5 * SR)) / SR
    for i in range(8):
        album = folder / f"album{i // 2}"
        album.mkdir(exist_ok=True)
        rng = np.random.default_rng(i)
        wave = 0.4 * np.sin(2 * np.pi * rng.uniform(100, 3_000) * time) * rng.random()
        soundfile.write(
            album / f"{i % 2}.wav", wave + 0.1 * rng.random() * rng.standard_normal(len(time)), SR
        )
    return folder


@pytest.fixture
def command(music: Path, small_model: Path, tmp_path: Path) -> list[str]:
    files = [str(music), "--out", str(tmp_path / "student.safetensors")]
    small = [word for option in SMALL.items() for word in option]
    return ["distill", *files, "--teacher", str(small_model), *small]


def test_a_tagger_with_its_card_and_figures(runner: CliRunner, command: list[str], tmp_path: Path) -> None:
    result = runner.invoke(app, [*command, "--name", "mine", "--version", "7", "--license", "CC0-1.0"])
    assert result.exit_code == 0, result.output
    out = tmp_path / "student.safetensors"
    made = lightmel.load(out)
    assert (made.name, made.description.version, made.description.license) == ("mine", "7", "CC0-1.0")
    assert made.tags == ("guitar", "drums", "voice")
    assert made.config.slug == "16k-mel16-x4-db"
    assert made.description.provenance["distillation"]["mixtures"] == 0.25
    assert made.description.provenance["training"] == json.loads(
        json.dumps(vars(DISTILL_TRAINING) | {"epochs": 3, "batch_size": 8})
    )
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    assert card.startswith("# mine\n")
    assert "## What it is for" in card
    assert card.count("## Citation") == 1
    assert len(json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["history"]) == 3
    figures = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert figures["clips"] == "2"
    assert -1 <= float(figures["correlation"]) <= 1
    epochs = re.findall(r"^epoch (\d)/3  loss \d\.\d{4}  \d+ s$", result.stderr, flags=re.M)
    assert epochs == ["1", "2", "3"]
    assert "\x1b" not in result.stderr, "nobody is there to see colors"


def test_several_teachers(runner: CliRunner, command: list[str], tmp_path: Path) -> None:
    other = lightmel.load(command[command.index("--teacher") + 1])
    second = tmp_path / "second.safetensors"
    lightmel.Tagger(other.network, other.description).save(second)
    result = runner.invoke(app, [*command, "--teacher", str(second), "--epochs", "1"])
    assert result.exit_code == 0, result.output
    made = lightmel.load(tmp_path / "student.safetensors")
    assert made.description.provenance["teachers"] == ["small 1", "small 1"]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_lists_every_field_of_the_dataclasses_with_the_defaults_of_students(
    runner: CliRunner, columns: str
) -> None:
    result = runner.invoke(app, ["distill", "--help"], env={"COLUMNS": columns})
    assert result.exit_code == 0
    text = re.sub(r"\s+", " ", result.stdout)
    for instance in (MusicConfig(), DistillConfig(), DISTILL_TRAINING, Signature()):
        for name, value in vars(instance).items():
            option = f"--{name.replace('_', '-')}"
            assert re.search(rf"^  {option}\b", result.stdout, flags=re.M), option
            if name != "student" and value != "":  # too long for a line; not shown
                assert re.search(rf" {option} .*?\[default: {re.escape(str(value))}\]", text), option
    assert "adam|adamw" in text


@pytest.mark.parametrize(
    ("changes", "code", "why"),
    [
        (["MUSIC", "nowhere"], 1, "nowhere"),
        (["MUSIC", "nowhere.csv"], 1, "nowhere.csv"),
        (["MUSIC", "empty"], 1, "There is no sound below empty"),
        (["--human-annotations", "nowhere.csv"], 1, "nowhere.csv"),
        (["--optimizer", "sgd"], 2, "'adam', 'adamw'"),
        (["--epochs", "many"], 2, "--epochs"),
        (["--color", "green"], 2, "--color"),
        (["--epochs", "0"], 1, "epochs"),
        (["--holdout", "1.5"], 1, "holdout"),
        (["--slowest", "2"], 1, "slowest"),
        (["--student", "vgg-smal-16k-mel16-x4-db"], 1, "Did you mean 'small'"),
        (["--student", "vgg-16k-mel16-x4"], 1, "'16k-mel16-x4' is not a mel configuration"),
        (["--teacher", "nobody"], 1, "nobody"),
        (["--batch-size", "4000"], 1, "fewer than a batch of 4000"),
        (["--match", "*.mp3"], 1, "has a name that matches '*.mp3'"),
        (["--device", "cuda:99"], 1, "There is no device 'cuda:99' on this machine"),
        (["--device", "nonsense"], 1, "device is one of auto, cpu, "),
        (["--out", "student.pth"], 1, ".safetensors"),
        (["MUSIC", "no group"], 1, "no column 'group'"),
        (["--human-annotations", "no group"], 1, "no column 'path'"),
    ],
    ids=lambda c: " ".join(c) if isinstance(c, list) else None,
)
def test_what_cannot_work_is_said_in_a_line(
    runner: CliRunner,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[str],
    code: int,
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    if changes[1] == "no group":
        table = tmp_path / "table.csv"
        table.write_text("path\nx.wav\n" if changes[0] == "MUSIC" else "file\nx.wav\n")
        changes = [changes[0], str(table)]
    if changes[0] == "MUSIC":
        command[1] = changes[1]
    else:
        command = [*command, *changes]
    result = runner.invoke(app, command)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if "reading" not in line]
    assert why in lines[-1]
    if code == 1:
        (said,) = (line for line in lines if line.startswith("lightmel distill: "))
        assert said == lines[-1]
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("student.*"))


def test_the_settings_beside_it_make_it_again(
    runner: CliRunner, command: list[str], music: Path, small_model: Path, tmp_path: Path
) -> None:
    table = tmp_path / "Dvořák 'op. 46'.csv"
    tracks = sorted(music.rglob("*.wav"))
    table.write_text("\n".join(["path,group", *(f"{t},{t.parent.name}" for t in tracks)]) + "\n")
    command[1] = str(table)
    second = tmp_path / "second.safetensors"
    second.write_bytes(small_model.read_bytes())
    more = ["--teacher", str(second), "--epochs", "1", "--license", "CC0-1.0", "--device", "cpu"]
    made = runner.invoke(app, [*command, *more])
    assert made.exit_code == 0, made.output
    file = tmp_path / "student.toml"
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    assert settings["music"] == str(table)
    assert settings["teacher"] == [str(small_model), str(second)]
    assert (settings["epochs"], settings["license"], settings["optimizer"]) == (1, "CC0-1.0", "adamw")
    other = tmp_path / "other.safetensors"
    again = runner.invoke(app, ["distill", "--config", str(file), "--out", str(other)])
    assert again.exit_code == 0, again.output
    assert again.stdout == made.stdout
    first, anew = lightmel.load(tmp_path / "student.safetensors"), lightmel.load(other)
    assert weights_sha256(anew.network) == weights_sha256(first.network)
    assert anew.description.license == "CC0-1.0"
    assert tomllib.loads(other.with_suffix(".toml").read_text(encoding="utf-8")) == settings | {
        "out": str(other)
    }


SLOW = """
import sys, time
from contextlib import contextmanager
from lightmel.cli import main, work

@contextmanager
def told():
    def show(what, done, total):
        print(what, done, total, file=sys.stderr, flush=True)
        time.sleep(0.1 if what == "training" else 0)
    yield show

work.progress_bar = told
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
@pytest.mark.parametrize("kept", [True, False], ids=["with work", "without"])
def test_ctrl_c_in_mid_training_says_how_to_go_on_and_the_same_command_does(
    runner: CliRunner, command: list[str], tmp_path: Path, kept: bool
) -> None:
    out = tmp_path / "student.safetensors"
    work = tmp_path / "work" if kept else tmp_path / "student.safetensors.work"
    whole_command = [str(tmp_path / "whole.safetensors") if part == str(out) else part for part in command]
    command = [*command, "--work", str(work)] if kept else command
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},  # as here: others round otherwise
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training 4 "):
                process.send_signal(signal.SIGINT)
                break
        error = process.stderr.read()
        process.wait(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "stopping after this step" in error
    assert error.rstrip().splitlines()[-1].endswith(f"goes on from {work}.")
    assert not out.exists()
    assert not out.with_suffix(".toml").exists()
    (run,) = work.glob("run-*")
    assert (run / "checkpoint.pt").exists()
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    resumed = lightmel.load(out).network.state_dict()
    assert work.exists() is kept, "what nobody asked for goes away when all is done"
    assert runner.invoke(app, whole_command).exit_code == 0
    whole = lightmel.load(tmp_path / "whole.safetensors").network.state_dict()
    assert all(np.array_equal(resumed[k], whole[k]) for k in whole)


def test_its_figures_are_an_evaluation_where_there_are_human_annotations(
    runner: CliRunner, command: list[str], music: Path, tmp_path: Path
) -> None:
    lines = ["path,guitar,drums"] + [f"{music}/album{i // 2}/{i % 2}.wav,{i % 2},{i % 2}" for i in range(8)]
    table = tmp_path / "people.csv"
    table.write_text("\n".join(lines) + "\n")
    more = ["--human-annotations", str(table), "--holdout", "0.75", "--batch-size", "2", "--epochs", "1"]
    result = runner.invoke(app, [*command, *more])
    assert result.exit_code == 0, result.output
    found = Evaluation.load(tmp_path / "student.json")
    assert (found.model, found.clips, found.positives["guitar"]) == ("student", 6, 3)
    plain = json.loads((tmp_path / "student.json").read_text())
    assert found.macro_roc_auc == pytest.approx(plain["report"]["roc_auc_student"], abs=1e-4)


def test_another_tagger_is_not_replaced_unasked(
    runner: CliRunner, command: list[str], tmp_path: Path
) -> None:
    quick = [*command, "--epochs", "1"]
    out = tmp_path / "student.safetensors"
    assert runner.invoke(app, quick).exit_code == 0
    made = out.read_bytes()
    with pytest.raises(DataError, match=r"student\.json: It holds no evaluation"):
        Evaluation.load(tmp_path / "student.json")
    for more in (["--seed", "5"], ["--version", "2"], ["--mixtures", "0.5"]):
        result = runner.invoke(app, [*quick, *more])
        assert result.exit_code == 1, result.output
        assert "is there already: the tagger student 1" in re.sub(r"\s+", " ", result.output)
        assert "--force" in result.output
        assert out.read_bytes() == made
    assert runner.invoke(app, quick).exit_code == 0, "the same again"
    result = runner.invoke(app, [*quick, "--seed", "5", "--force"])
    assert result.exit_code == 0, result.output
    assert out.read_bytes() != made
