"""From labelled sound to a tagger on the command line: features, train, finetune, evaluate."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lightmel
from lightmel.checkpoint import weights_sha256
from lightmel.cli import app
from lightmel.training import TrainConfig

SMALL = [
    "--network", "vgg-small-16k-mel16-x4-db", "--segment-seconds", "0.8",
    "--batch-size", "16", "--lr", "0.003",
]  # fmt: skip


def run(runner: CliRunner, *arguments: str | Path) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(runner: CliRunner, *arguments: str | Path, code: int = 1) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


def test_from_a_table_to_an_evaluated_tagger(runner: CliRunner, labeled: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "features", tmp_path / "mine"
    made = run(runner, "features", labeled, "--out", store, "--frontend", "16k-mel16-x1-db", "--workers", "1")
    assert "90 clips, 16k-mel16-x1-db as float32" in made
    thin = tmp_path / "thin"
    made = run(runner, "features", "--derive", store, "--frontend", "16k-mel16-x4-db", "--out", thin)
    assert "90 clips, 16k-mel16-x4-db as float32" in made
    for folder in (store, thin):
        settings = tomllib.loads(folder.with_name(f"{folder.name}.toml").read_text(encoding="utf-8"))
        assert settings["out"] == str(folder)
        assert not list(folder.glob("*.toml")), "beside the store, not in it"
    shown = run(
        runner,
        "train",
        labeled,
        "--out",
        out,
        "--features",
        thin,
        "--epochs",
        "5",
        "--device",
        "cpu",
        *SMALL,
    )
    assert "mean of 3 tags" in shown
    assert "epoch 5/5" in shown
    assert f"lightmel tag song.mp3 --model {out}" in shown
    tagging = lightmel.tag(labeled.parent / "4.flac", model=out)
    assert tagging.model == "mine"
    assert tagging.thresholds

    report = tmp_path / "report.json"
    by_files = run(runner, "evaluate", labeled, "--model", out, "--out", report)
    figures = json.loads(report.read_text())
    assert figures["macro_roc_auc"] > 0.9
    assert (figures["split"], figures["clips"], figures["dataset"]) == ("test", 18, "clips")
    assert report.with_suffix(".md").read_text().strip() in by_files
    by_features = run(
        runner, "evaluate", labeled, "-m", out, "--features", thin, "--split", "valid", "--device", "cpu"
    )
    assert "on valid of clips" in by_features

    again = tmp_path / "again"
    run(runner, "evaluate", "--config", report.with_suffix(".toml"), "--out", again.with_suffix(".json"))
    assert again.with_suffix(".json").read_bytes() == report.read_bytes()
    run(runner, "train", "--config", tmp_path / "mine.toml", "--out", again)
    assert sha256(again) == sha256(out)
    settings = tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))
    assert (settings["epochs"], settings["features"], settings["device"]) == (5, str(thin), "cpu")
    assert settings.keys() >= {field.name for field in dataclasses.fields(TrainConfig)}


def test_fine_tuning_in_one_command(runner: CliRunner, labeled: Path, tmp_path: Path) -> None:
    out = tmp_path / "mytagger"
    command = [
        "finetune", labeled, "--from", "mtat-musicnn-small-16k-mel48-x2-db", "--out", out,
        "--head-epochs", "4", "--epochs", "1", "--excerpts", "1", "--device", "cpu",
        "--work", tmp_path / "work",
    ]  # fmt: skip
    shown = run(runner, *command)
    assert "mean of 3 tags" in shown
    assert "CC BY-NC-SA 4.0" in shown, "weights that grew out of others keep their license"
    tagging = lightmel.tag(labeled.parent / "4.flac", model=out)
    told = json.loads(run(runner, "tag", labeled.parent / "4.flac", "--model", out, "--above", "--json"))
    assert told["tags"] == pytest.approx(dict(tagging.above()), rel=1e-4)
    assert "has no thresholds" in refused(
        runner,
        "tag",
        labeled.parent / "4.flac",
        "--above",
        "--model",
        "mtat-musicnn-small-16k-mel48-x2-db",
        code=2,
    )
    again = run(runner, *command)
    assert "epoch 1/" not in again, "the same command goes on from where it was: at the end"
    for line in ("head: epoch 1/4  loss", "head: epoch 4/4  loss", "all: epoch 1/1  loss"):
        assert line in shown
    for text in (shown, again):
        assert re.search(
            r"Kept: epoch \d of [14] of the .*stage.*: the best PR AUC on the validation clips", text
        )
        assert re.search(r"Thresholds, from the validation clips: high 0\.\d\d, low ", text)
    card = out.with_name("mytagger.md").read_text()
    assert card.startswith("# mytagger\n")
    assert "mean of 3 tags" in card
    assert "CC BY-NC-SA 4.0" in card
    assert "## What it is for" in card
    assert card.count("## Citation") == 1
    settings = tmp_path / "mytagger.toml"
    assert tomllib.loads(settings.read_text(encoding="utf-8"))["from"] == "mtat-musicnn-small-16k-mel48-x2-db"
    anew = run(
        runner,
        "finetune",
        "--config",
        settings,
        "--out",
        tmp_path / "anew",
        "--work",
        tmp_path / "other work",
    )
    assert "all: epoch 1/1" in anew
    assert sha256(tmp_path / "anew") == sha256(out)


def test_a_tuned_tagger_keeps_the_old_tags_where_asked(
    runner: CliRunner, labeled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    command = ["finetune", labeled, "--out", out, "--keep-tags", "--embeddings", "--work", tmp_path / "work"]
    shown = run(runner, *command)
    old = lightmel.load("default")
    assert "mean of 3 tags" in shown
    assert f"{len(old.tags) + 2} tags" in shown, "the new noise takes the place of the old one"
    assert "epoch" not in shown
    before, after = (lightmel.tag(labeled.parent / "4.flac", model=m) for m in ("default", out))
    scores = dict(zip(after.tags, after.scores, strict=True))
    kept = {tag: s for tag, s in zip(before.tags, before.scores, strict=True) if tag != "noise"}
    assert {tag: scores[tag] for tag in kept} == pytest.approx(kept, abs=1e-6)
    (file,) = (tmp_path / "work").iterdir()
    written = file.stat().st_mtime_ns
    run(runner, *command)
    assert file.stat().st_mtime_ns == written, "the embeddings are computed once"


def test_another_tagger_is_not_overwritten_unasked(runner: CliRunner, labeled: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    command = ["finetune", labeled, "--out", out, "--embeddings", "--work", tmp_path / "work"]
    run(runner, *command)
    made = out.read_bytes()
    run(runner, *command)
    assert out.read_bytes() == made, "the same again is the same"
    for more in (["--from", "lightmel-vgg-16k-mel48-x10-db"], ["--license", "CC0-1.0"], ["--version", "2"]):
        assert "say --force" in refused(runner, *command, *more)
    said = refused(runner, *command, "--class-weights", "balanced")
    assert "mine.safetensors is there already: the tagger mine 1 (3 tags: high, low, noise)" in said
    assert "say --force" in said
    assert out.read_bytes() == made
    run(runner, *command, "--class-weights", "balanced", "--force")
    assert out.read_bytes() != made
    song = tmp_path / "song.flac"
    song.write_bytes((labeled.parent / "4.flac").read_bytes())
    assert "exists and is no tagger" in refused(runner, *command[:3], song, "--embeddings")
    default = lightmel.load("default").name
    assert f"--name {default} stands for another tagger" in refused(
        runner, *command[:3], tmp_path / "new", "--embeddings", "--name", default
    )


@pytest.mark.parametrize("command", ["train", "finetune", "distill", "calibrate"])
@pytest.mark.parametrize("name", ["default", "lightmel-vgg-16k-mel96-x1-db", "public:mine"])
def test_no_command_gives_a_tagger_the_name_of_another(
    runner: CliRunner, labeled: Path, small_model: Path, tmp_path: Path, command: str, name: str
) -> None:
    before = sorted(tmp_path.iterdir())
    given = {"distill": ["--teacher", small_model]}.get(command, [])
    words = [command, *([small_model] if command == "calibrate" else []), labeled, *given, "--out"]
    assert f"--out {name} stands for another tagger" in refused(runner, *words, tmp_path / name)
    file = f"{name}.safetensors"
    assert f"--out {name} stands for another tagger" in refused(runner, *words, tmp_path / file)
    said = refused(runner, *words, tmp_path / "mine.safetensors", "--name", name)
    assert f"--name {name} stands for another tagger" in said
    assert sorted(tmp_path.iterdir()) == before


def test_train_takes_no_place_of_another_tagger_unasked(
    runner: CliRunner, labeled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    command = ["train", labeled, "--out", out, "--work", tmp_path / "work", "--epochs", "1", *SMALL]
    run(runner, *command)
    made = out.read_bytes()
    assert "epoch 1/1" not in run(runner, *command), "the same goes on from where it was"
    assert out.read_bytes() == made
    for more in (["--lr", "0.01"], ["--name", "other"], ["--excerpts", "2"], ["--valid-share", "0.3"]):
        other = tmp_path / "no splits.csv"
        other.write_text("\n".join(line.rpartition(",")[0] for line in labeled.read_text().splitlines()))
        music = other if "--valid-share" in more else labeled
        said = refused(runner, command[0], music, *command[2:], "--root", labeled.parent, *more)
        assert "mine.safetensors is there already: the tagger mine 1" in said
        assert "say --force" in said
        assert out.read_bytes() == made
    run(runner, *command[:4], *command[6:], "--lr", "0.01", "--force")
    assert "force" not in (tmp_path / "mine.toml").read_text(), "it is said anew each time"
    assert out.read_bytes() != made
    song = tmp_path / "song.flac"
    song.write_bytes((labeled.parent / "4.flac").read_bytes())
    assert "exists and is no tagger" in refused(runner, *command[:3], song, "--force", *SMALL)


def test_a_recipe_gives_settings_that_others_win_over(
    runner: CliRunner, labeled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    few = ["--epochs", "1", "--network", "vgg-small-16k-mel16-x4-db", "--segment-seconds", "0.8"]
    shown = run(runner, "train", labeled, "--out", out, "--recipe", "paper-musicnn", *few)
    assert "recipe paper-musicnn, of Ferraro" in shown
    assert "but network" not in shown
    assert "epochs 1, as you say" in re.sub(r"\s+", " ", shown)
    settings = tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))
    kept = {key: settings[key] for key in ("recipe", "epochs", "batch_size", "schedule", "step_epochs", "lr")}
    assert kept == {
        "recipe": "paper-musicnn", "epochs": 1, "batch_size": 32, "schedule": "step", "step_epochs": 100,
        "lr": 0.001,
    }  # fmt: skip
    run(runner, "train", "--config", tmp_path / "mine.toml", "--out", tmp_path / "again")
    assert sha256(tmp_path / "again") == sha256(out)
    file = tmp_path / "settings.toml"
    file.write_text('recipe = "paper-vgg"\nbatch_size = 16\n')
    run(runner, "train", labeled, "--config", file, "--out", tmp_path / "own", *few)
    settings = tomllib.loads((tmp_path / "own.toml").read_text(encoding="utf-8"))
    assert (settings["batch_size"], settings["schedule"]) == (16, "constant"), "a file's own word wins too"
    said = refused(runner, "train", labeled, "--out", out, "--recipe", "paper-vgq", code=2)
    assert "There is no recipe 'paper-vgq'" in said


def test_taggers_are_compared_by_their_figures(
    runner: CliRunner, labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, epochs in (("a", "1"), ("b", "3")):
        for seed in ("1", "2"):
            out = f"{name}-{seed}.safetensors"
            run(runner, "train", labeled, "--out", out, *SMALL, "--epochs", epochs, "--seed", seed)
    run(runner, "evaluate", labeled, "--model", "a-1.safetensors", "--out", "again.json")
    shown = run(runner, "compare", "a-1.json", "a-2.json", "vs", "b-1.json", "b-2.json")
    assert re.search(r"\| a-\* +\| 2 +\| 0\.\d{3} ± 0\.\d{3}", shown)
    assert re.search(
        r"\| b-\* less a-\* \| ROC AUC \| [+-]\d\.\d{3} +\| [+-]\d\.\d{3} to [+-]\d\.\d{3}", shown
    )
    assert run(runner, "compare", "a-*.json", "vs", "b-*.json") == shown, (
        "a pattern that no shell has filled in"
    )
    plain = json.loads(run(runner, "compare", "a-1.json", "b-1.json", "--json"))
    assert [own["runs"] for own in plain["taggers"]] == [1, 1]
    assert plain["differences"][0]["interval"][0] <= plain["differences"][0]["value"]
    assert "not of the same clips" not in run(runner, "compare", "a-1.json", "again.json")
    other = json.loads(Path("b-1.json").read_text())
    other["evaluation"]["protocol"] = "another"
    Path("other.json").write_text(json.dumps(other))
    said = refused(runner, "compare", "a-1.json", "other.json")
    assert "are not the same clips" in said
    assert "--anyway" in said
    assert "Not the same clips" in run(runner, "compare", "a-1.json", "other.json", "--anyway")
    assert "No file fits c-*.json" in refused(runner, "compare", "c-*.json", code=2)
    assert "both sides of 'vs'" in refused(runner, "compare", "a-1.json", "vs", code=2)
    assert "c.json cannot be read" in refused(runner, "compare", "c.json")


def test_labels_come_from_a_library(runner: CliRunner, labeled: Path, tmp_path: Path) -> None:
    mutagen = pytest.importorskip("mutagen", reason="needs the extra write")
    music, out = tmp_path / "music", tmp_path / "mine"
    music.mkdir()
    for line in labeled.read_text().splitlines()[1:]:
        name, tags, _ = line.split(",")
        (music / name).write_bytes((labeled.parent / name).read_bytes())
        file = mutagen.File(music / name)
        file["genre"] = tags.replace(";", "/").upper()
        file.save()
    shown = run(runner, "finetune", "--from-library", music, "--out", out, "--embeddings")
    assert "on test of music, genre fields, 20 files or more, split by group" in re.sub(r"\s+", " ", shown)
    assert lightmel.load(out).tags == ("high", "low", "noise")
    settings = tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))
    assert settings["from_library"] == str(music)
    measured = run(runner, "evaluate", music, "--dataset", "library", "--model", out)
    assert measured.splitlines()[0] in shown.splitlines(), "the same clips, and the same tagger"
    said = refused(runner, "finetune", "--from-library", music, "--out", tmp_path / "x", "--min-files", "80")
    assert "no genre has 80 files" in said
    both = ["finetune", labeled, "--from-library", music, "--out", tmp_path / "x"]
    assert "Give either labelled music, or" in refused(runner, *both, code=2)
    other = ["finetune", "--from-library", music, "--dataset", "jamendo", "--out", tmp_path / "x"]
    assert "--from-library is no published set" in refused(runner, *other, code=2)


def sha256(path: Path) -> str:
    return weights_sha256(lightmel.load(path).network)


def test_what_cannot_be_is_one_line(runner: CliRunner, labeled: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    assert "no table and no folder" in refused(runner, "train", tmp_path / "no.csv", "--out", out)
    said = refused(runner, "train", labeled, "--out", out, "--network", "vgg-smal-16k-mel16-x4-db")
    assert "has no option 'smal'" in said
    assert "Did you mean 'small'?" in said
    assert "--epochs and --batch-size" in refused(runner, "train", labeled, "--out", out, "--epochs", "0")
    assert "Give either the sound" in refused(runner, "features", "--out", out, code=2)
    assert "no feature store" in refused(
        runner, "train", labeled, "--out", out, "--features", tmp_path, *SMALL
    )
    assert "has none of the tags" in refused(
        runner, "evaluate", labeled, "--model", "mtat-musicnn-small-16k-mel48-x2-db"
    )
    assert "no split 'tset'" in refused(
        runner, "evaluate", labeled, "--split", "tset", "--tag-columns", "tags"
    )
    assert "There is no tagger 'defalt'" in refused(runner, "evaluate", labeled, "--model", "defalt")
    derive = ["features", "--derive", labeled.parent, "--out", out, "--frontend", "16k-mel16-x4-db"]
    assert "no --dtype, --excerpt-seconds" in refused(runner, *derive, "--dtype", "float16")
    assert "is a folder: name the file" in refused(runner, "train", labeled, "--out", ".", *SMALL)
    assert list(tmp_path.iterdir()) == [], "neither a result nor settings"


@pytest.mark.parametrize("command", ["train", "finetune", "evaluate"])
@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cuda:99", "There is no device 'cuda:99' on this machine"),
        ("nonsense", "device is one of auto, cpu, "),
    ],
)
def test_a_device_that_is_not_there_is_a_line_before_the_work(
    runner: CliRunner, labeled: Path, tmp_path: Path, command: str, device: str, why: str
) -> None:
    work = [] if command == "evaluate" else ["--work", tmp_path / "work"]
    out = tmp_path / ("x.json" if command == "evaluate" else "x")
    said = refused(runner, command, labeled, "--out", out, *work, "--device", device)
    assert said.startswith(f"lightmel {command}: ")
    assert why in said
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_listed_and_made_again_once_it_is_mended(
    runner: CliRunner, labeled: Path, tmp_path: Path
) -> None:
    folder, store = tmp_path / "sound", tmp_path / "store"
    folder.mkdir()
    good = (labeled.parent / "1.flac").read_bytes()
    (folder / "good.flac").write_bytes(good)
    (folder / "bad.flac").write_text("this is no sound")
    command = ["features", folder, "--out", store, "--frontend", "16k-mel16-x4-db", "--workers", "1"]
    shown = run(runner, *command)
    assert "lightmel features: bad.flac: " in shown
    assert "1 clips, 16k-mel16-x4-db as float32" in shown
    assert "1 failed" in shown
    (folder / "bad.flac").write_bytes(good)
    assert "2 clips" in run(runner, *command, "--again")


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(labeled: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-c", "from lightmel.cli import main; main()", "train", str(labeled),
        "--out", str(tmp_path / "mine"), "--work", str(tmp_path / "work"), "--epochs", "200", *SMALL,
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
    assert not (tmp_path / "mine").exists()
    assert not (tmp_path / "mine.toml").exists()
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
