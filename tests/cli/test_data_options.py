"""What commands say of a table, a folder or an option that is wrong: in the words of the command line."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lightmel.cli import app
from lightmel.datasets import DataConfig
from lightmel.training import TaggerConfig, TrainConfig

COMMANDS = ("features", "train", "finetune", "evaluate")
WRONG: dict[str, list[list[str]]] = {
    "dataset": [["msd", "--root", "x"]],
    "annotations": [["nowhere", "--dataset", "magnatagatune"], ["nowhere"]],
    "protocol": [["clean"]],
    "subset": [["genre"]],
    "fold": [["9", "--dataset", "jamendo"], ["1"]],
    "root": [["nowhere"], ["."], ["x", "--dataset", "library"]],
    "path_column": [["file"]],
    "tag_columns": [["tag"], ["tags,tag"], ["path,split"]],
    "split_column": [["part"], ["tags", "--tag-columns", "split"]],
    "group_column": [["artist"]],
    "valid_share": [["2"], ["nan"]],
    "test_share": [["-1"]],
    "split_seed": [["-1"]],
    "min_files": [["0"], ["99", "--dataset", "library"]],
    "low": [[]],
}
"""For each option, values that cannot be, and what else is said with them."""


def test_every_option_has_a_wrong_value() -> None:
    assert WRONG.keys() == {field.name for field in fields(DataConfig)}


def said_by(runner: CliRunner, *arguments: str | Path) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_value_is_said_in_options(
    runner: CliRunner,
    labeled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    option: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    flag = f"--{option.replace('_', '-')}"
    for value, *others in WRONG[option] if option != "low" else [[""]]:
        library = "library" in others and option == "min_files"
        if library:
            pytest.importorskip("mutagen", reason="needs the extra write")
        music = labeled.parent if others and "--dataset" in others else labeled
        out = tmp_path / "out.json" if command == "evaluate" else tmp_path / "out"
        given = [flag] if option == "low" else [flag, value]
        said = said_by(runner, command, music, "--out", out, *given, *others)
        if library:
            assert "none of its 90 files has a genre" in said
            continue
        assert flag in said, said
        names = "|".join(field.name for field in fields(DataConfig))
        assert not re.search(rf"\b({names})=|(?<![-\w])[a-z]+_[a-z]+(?![\w.])", said), said


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("root", ["nowhere", "empty"])
def test_a_wrong_root_is_named_with_the_whole_path(
    runner: CliRunner, labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, root: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out.json" if command == "evaluate" else tmp_path / "out"
    more = ["--embeddings"] if command == "finetune" else []
    said = said_by(runner, command, labeled, "--out", out, f"--root={root}", *more)
    assert str(tmp_path / root) in said
    assert "--root names the folder that the paths of the table are relative to" in said
    if root == "empty":
        assert re.search(rf"the first would be {tmp_path}/empty/\d+\.flac", said)
    assert "made of" not in said
    assert not out.exists()


def test_a_wrong_root_after_a_right_one_does_not_say_that_files_changed(
    runner: CliRunner, labeled: Path, tmp_path: Path
) -> None:
    command = ["finetune", labeled, "--out", tmp_path / "mine", "--embeddings", "--work", tmp_path / "work"]
    assert runner.invoke(app, [str(a) for a in command]).exit_code == 0
    said = said_by(runner, *command, "--root", tmp_path)
    assert "--root names the folder" in said
    assert "computed again" not in said


def test_a_tilde_in_options_is_the_home_folder(
    runner: CliRunner, labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(labeled.parent))
    table = tmp_path / "clips.csv"
    table.write_text(labeled.read_text())
    settings = tmp_path / "settings.toml"
    settings.write_text('root = "~/"\nfrontend = "16k-mel16-x4-db"\nworkers = 0\n')
    store = tmp_path / "store"
    result = runner.invoke(app, ["features", str(table), "--config", str(settings), "--out", str(store)])
    assert result.exit_code == 0, result.output
    assert "90 clips" in result.output
    monkeypatch.setenv("HOME", str(tmp_path))
    result = runner.invoke(
        app,
        [
            "features",
            "~/clips.csv",
            f"--root={labeled.parent}",
            "--out=~/other",
            "--frontend=16k-mel16-x4-db",
        ],
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "other" / "index.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("epochs", "0"), ("batch-size", "0"), ("lr", "0"), ("lr", "nan"), ("ema-decay", "2"),
     ("clip-norm", "-1"), ("patience", "-1"), ("seed", "-1"), ("excerpts", "0"), ("segment-seconds", "-1"),
     ("save-seconds", "-1")],
)  # fmt: skip
def test_settings_of_a_training_are_said_in_options(
    runner: CliRunner, labeled: Path, tmp_path: Path, option: str, value: str
) -> None:
    said = said_by(runner, "train", labeled, "--out", tmp_path / "out", f"--{option}", value)
    assert f"--{option}" in said
    names = [f.name for kind in (TrainConfig, TaggerConfig) for f in fields(kind)]
    assert not re.search(rf"(?<![-\w])({'|'.join(names)})(?![\w-])", said), said


def test_what_needs_validation_clips_is_said_in_options(
    runner: CliRunner, labeled: Path, tmp_path: Path
) -> None:
    table = labeled.with_name("no-valid.csv")
    table.write_text(labeled.read_text().replace(",valid", ",train"))
    said = said_by(runner, "train", table, "--out", tmp_path / "out", "--patience", "3", "--network",
                   "vgg-small-16k-mel16-x4-db", "--segment-seconds", "0.8")  # fmt: skip
    assert "--patience and the --schedule plateau need validation data" in said
