from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from lightmel import audio, sample
from lightmel.cli import app
from lightmel.studies import sonify_file

LONG = ("--method", "griffin-lim", "--excerpt-seconds", "90")
SONG = str(sample.path())


def test_it_writes_what_the_function_writes(runner: CliRunner, tmp_path: Path) -> None:
    out, same = tmp_path / "heard.wav", tmp_path / "same.wav"
    result = runner.invoke(app, ["sonify", SONG, "--config", "16k-mel48-x10-db", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: 24.0 s, 16k-mel48-x10-db, noise\n"
    sonify_file(SONG, same, "16k-mel48-x10-db")
    assert out.read_bytes() == same.read_bytes()


def test_options(runner: CliRunner, tmp_path: Path) -> None:
    out = tmp_path / "heard.opus"
    options = [
        "--config",
        "12k-mel32-x1-log",
        "--method",
        "griffin-lim",
        "--excerpt-seconds",
        "2",
        "--seed",
        "7",
    ]
    result = runner.invoke(app, ["sonify", SONG, *options, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: 2.0 s, the middle of 24.0 s, 12k-mel32-x1-log, griffin-lim\n"
    same = tmp_path / "same.opus"
    sonify_file(SONG, same, "12k-mel32-x1-log", method="griffin-lim", excerpt_seconds=2, seed=7)
    assert out.read_bytes() == same.read_bytes()


def test_it_is_said_that_the_sound_was_turned_down(runner: CliRunner, tmp_path: Path) -> None:
    wave = 8 * audio.excerpt(SONG, 16_000, 10.0, 2.0)
    soundfile.write(tmp_path / "loud.wav", wave, 16_000)
    out = tmp_path / "heard.wav"
    result = runner.invoke(
        app, ["sonify", str(tmp_path / "loud.wav"), "--config", "16k-mel48-x2-db", "-o", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert "dB, or it would clip" in result.stdout
    assert abs(audio.load(out, 16_000)).max() == pytest.approx(0.95, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([SONG, "--config", "16k-mel48-x2-bd", "-o", "a.wav"], "Did you mean '16k-mel48-x2-db'?"),
        ([SONG, "--config", "32k-kaldi128", "-o", "a.wav"], "kind 'kaldi_mel'"),
        ([SONG, "--config", "16k-mel48-x2-db", "-o", "no/a.wav"], "there is no folder no"),
        ([SONG, "--config", "16k-mel48-x2-db", "-o", "a.mp3"], "sound is written as .wav"),
        (["gone.mp3", "--config", "16k-mel48-x2-db", "-o", "a.wav"], "gone.mp3"),
        (["text.mp3", "--config", "16k-mel48-x2-db", "-o", "a.wav"], "text.mp3"),
        (["song.ogg", "--config", "16k-mel48-x2-db", "-o", f".{os.sep}song.ogg"], "is read here"),
        (
            [*(SONG, "--config", "16k-mel48-x2-db", "-o", "a.wav"), *LONG],
            "60 s that Griffin-Lim takes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_a_line(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.mp3").write_text("no sound")
    Path("song.ogg").write_bytes(sample.path().read_bytes())
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    result = runner.invoke(app, ["sonify", *arguments])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("lightmel sonify: ")
    assert why in line
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize("missing", ["--config", "--out"])
def test_what_is_required(runner: CliRunner, missing: str) -> None:
    given = {"--config": "16k-mel48-x2-db", "--out": "a.wav"}
    rest = [word for name, value in given.items() if name != missing for word in (name, value)]
    result = runner.invoke(app, ["sonify", SONG, *rest])
    assert result.exit_code == 2
    assert missing in result.stderr
