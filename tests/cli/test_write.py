"""``lightmel write``: what it shows, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lightmel.cli import app
from lightmel.inference import Tagging

mutagen = pytest.importorskip("mutagen", reason="needs the extra write")


@pytest.fixture
def desk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tone: Callable[..., np.ndarray],
    write: Callable[..., Path],
) -> Path:
    """A folder with two files, one of them with a genre, and their tags."""
    monkeypatch.chdir(tmp_path)
    for name in ("song.mp3", "song.flac"):
        write(tmp_path / name, tone(1.0))
    file = mutagen.File("song.flac")
    file["genre"] = ["Rock"]
    file.save()
    tagging = Tagging(
        tags=("jazz", "happy"),
        scores=(0.71, 0.4),
        seconds=1.0,
        padded=False,
        model="a-model",
        version="1.2",
        license="MIT",
        thresholds=(0.5, 0.3),
        sound="music",
    )
    lines: list[dict[str, Any]] = [{"path": path, **tagging.to_dict()} for path in ("song.mp3", "song.flac")]
    lines.append({**lines[0], "path": "talk.mp3", "sound": "speech"})
    Path("tags.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tmp_path


def run(runner: CliRunner, *arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(app, ["write", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_root_below_which_nothing_is_there_is_one_line(desk: Path, runner: CliRunner) -> None:
    first = desk / "no" / "song.mp3"
    assert run(runner, "tags.jsonl", "--root", str(desk / "no")) == (
        1,
        "",
        f"lightmel write: All 2 files are missing: there is no {first} and so on. Name the folder in which "
        "the paths of the records begin, with --root.\n",
    )


def test_a_diff_and_nothing_written(desk: Path, runner: CliRunner) -> None:
    before = Path("song.mp3").read_bytes()
    code, out, errors = run(runner, "tags.jsonl")
    assert (code, errors) == (0, "")
    assert out == (
        "song.mp3  ID3v2.4, new\n"
        "  + genre           jazz\n"
        "  + mood            happy\n"
        "  + LIGHTMEL_GENRE  jazz=0.71\n"
        "  + LIGHTMEL_MOOD   happy=0.40\n"
        "  + LIGHTMEL_MODEL  a-model 1.2\n"
        "song.flac  Vorbis comments\n"
        "  = genre           Rock (kept; not jazz)\n"
        "  + mood            happy\n"
        "  + LIGHTMEL_MOOD   happy=0.40\n"
        "  + LIGHTMEL_MODEL  a-model 1.2\n"
        "talk.mp3  speech\n"
        "3 files: 2 to be written, 1 as it is.\n"
        "Nothing is written yet: add --apply.\n"
    )
    assert Path("song.mp3").read_bytes() == before
    assert not Path("tags.undo.jsonl").exists()


def test_written_and_taken_back(desk: Path, runner: CliRunner) -> None:
    before = Path("song.mp3").read_bytes()
    code, out, _ = run(runner, "tags.jsonl", "--apply", "--overwrite", "--mapping", "id3", "--no-scores")
    assert code == 0
    assert "  ~ genre  Rock -> Jazz\n" in out
    assert out.endswith(
        "3 files: 2 written, 1 as it is.\nTo take it back: lightmel write --undo tags.undo.jsonl\n"
    )
    assert mutagen.File("song.flac")["genre"] == ["Jazz"]
    code, out, _ = run(runner, "--undo", "tags.undo.jsonl")
    assert code == 0
    assert "  ~ GENRE  Jazz -> Rock\n" in out.replace("genre", "GENRE")
    assert "  - TCON  Jazz\n" in out
    assert out.endswith("2 files: 2 set back.\n")
    assert Path("song.mp3").read_bytes() == before
    assert mutagen.File("song.flac")["genre"] == ["Rock"]


def test_what_failed_stands_at_the_end(desk: Path, runner: CliRunner) -> None:
    Path("song.mp3").unlink()
    code, out, errors = run(runner, "tags.jsonl", "--apply")
    assert code == 1
    assert "3 files: 1 written, 1 as it is, 1 failed.\n" in out
    assert errors == "song.mp3: no such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--apply"], 2, "RECORDS"),
        (["tags.jsonl", "--undo", "x"], 2, "one of both"),
        (["tags.jsonl", "--mapping", "beet"], 2, "Did you mean 'beets'?"),
        (["tags.jsonl", "--genres", "0", "--moods", "0"], 2, "at least one"),
        (["--undo", "missing"], 1, "lightmel write: missing cannot be read"),
        (["missing.jsonl"], 1, "missing.jsonl cannot be read"),
        (["song.mp3"], 1, "line 1 is no JSON"),
    ],
)
def test_mistakes(desk: Path, runner: CliRunner, arguments: list[str], code: int, said: str) -> None:
    found, _, errors = run(runner, *arguments)
    assert found == code
    assert said in " ".join(errors.split())
