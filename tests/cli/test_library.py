"""``lightmel tag --out`` and ``lightmel report``: what they say, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lightmel import library
from lightmel.cli import app
from lightmel.errors import ConfigError, DataError, UnknownModelError
from lightmel.library import Counts, FileDone

PLAIN = {"COLUMNS": "100", "TERM": "dumb"}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a function in the place of `tag_folder`; a test says what it gives, and sees its options."""
    seen: dict[str, Any] = {"counts": Counts(tagged=2, skipped=1200, failed=1, left=3, pruned=4), "files": []}

    def tag_folder(places: Any, out: Any, *, on_file: Any, **options: Any) -> Counts:
        seen.update(places=places, out=out, options=options)
        for file in seen["files"]:
            on_file(file)
        if "error" in seen:
            raise seen["error"]
        counts: Counts = seen["counts"]
        return counts

    monkeypatch.setitem(vars(library), "tag_folder", tag_folder)
    return seen


def invoke(*arguments: str) -> Any:
    return CliRunner(env=PLAIN).invoke(app, list(arguments))


def test_it_says_what_became_of_the_files(given: dict[str, Any]) -> None:
    given["files"] = [FileDone("a.mp3", "", 1, 2), FileDone("b.mp3", "it is broken.", 2, 2)]
    done = invoke(
        "tag", "music", "more", "-o", "tags.csv", "--jobs", "3", "--exclude", "*.wav", "--exclude", "x"
    )
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "tags.csv: 2 tagged, 1,200 as before, 1 failed, 3 failed before, 4 gone and removed.",
        "What failed before is tried again when it has changed, or with --retry-failed or --force.",
        "To look at it: lightmel report tags.jsonl --html report.html",
    ]
    assert "b.mp3: it is broken." in done.stderr
    assert given["places"] == ["music", "more"]
    assert given["options"]["exclude"] == ["*.wav", "x"]
    assert given["options"]["jobs"] == 3


def test_every_option_arrives(given: dict[str, Any]) -> None:
    given["counts"] = Counts(skipped=1)
    done = invoke(
        *("tag", "m", "--out", "t.jsonl", "--hash", "--retry-failed", "--prune", "--force", "--by", "album"),
        *("--taggram", "t", "--embeddings", "e.npy", "--time-limit", "9", "--model", "x", "--device", "cpu"),
    )
    assert (done.exit_code, done.stdout) == (0, "t.jsonl: 0 tagged, 1 as before.\n")
    wanted = {"sha256", "retry_failed", "prune", "force"}
    assert wanted <= {name for name, value in given["options"].items() if value is True}
    assert given["options"]["by"] == "album"
    assert given["options"]["time_limit"] == 9
    assert str(given["options"]["embeddings"]) == "e.npy"
    assert (given["options"]["model"], given["options"]["device"]) == ("x", "cpu")


def test_of_many_failures_some_are_shown(given: dict[str, Any]) -> None:
    given["files"] = [FileDone(f"{n}.mp3", "broken", n + 1, 30) for n in range(30)]
    done = invoke("tag", "m", "-o", "t.jsonl")
    assert done.stderr.count(".mp3: broken") == 10
    assert "More files fail; t.jsonl has them all." in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("the disk is full."), 1, "lightmel tag: the disk is full."),
        (ConfigError("top=0: no."), 2, "--top 0: no."),
        (UnknownModelError("no tagger."), 2, "no tagger."),
        (
            KeyboardInterrupt(),
            130,
            "stopped. What is done is kept, and the same command goes on from it: t.jsonl",
        ),
    ],
)
def test_how_it_ends(error: BaseException, code: int, said: str, given: dict[str, Any]) -> None:
    given["error"] = error
    done = invoke("tag", "m", "-o", "t.jsonl")
    assert done.exit_code == code
    assert said in " ".join(done.stderr.replace("│", "").split())


def test_files_that_failed_before_have_no_tags_either(given: dict[str, Any]) -> None:
    given["counts"] = Counts(skipped=2, left=1)
    assert invoke("tag", "m", "-o", "t.jsonl").exit_code == 1


def test_an_output_of_any_name_is_one_line(given: dict[str, Any]) -> None:
    given["counts"] = Counts(tagged=1)
    said = invoke("tag", "m", "-o", "two\n\x1blines.jsonl").stdout.splitlines()
    assert said[0] == r"two\n\x1blines.jsonl: 1 tagged."
    assert len(said) == 2


def test_what_is_refused_is_said_in_options(given: dict[str, Any]) -> None:
    given["error"] = DataError("t.jsonl holds others: tag all again with force=True.")
    assert invoke("tag", "m", "-o", "t.jsonl").stderr == (
        "lightmel tag: t.jsonl holds others: tag all again with --force.\n"
    )


@pytest.mark.parametrize(
    "arguments", [("--prune",), ("--jobs", "2"), ("--hash",), ("--by", "album"), ("--time-limit", "3")]
)
def test_what_is_for_a_library_needs_an_output(arguments: tuple[str, ...]) -> None:
    done = invoke("tag", "m", *arguments)
    assert done.exit_code == 2
    assert "say --out, too" in done.stderr


@pytest.mark.parametrize("option", ["--json", "--flat", "--all-categories"])
def test_nothing_is_shown_with_an_output(option: str, given: dict[str, Any]) -> None:
    done = invoke("tag", "m", "-o", "t.jsonl", option)
    assert done.exit_code == 2
    assert "nothing is shown with --out" in done.stderr


def test_from_sound_to_a_page(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tone: Callable[..., np.ndarray],
    write: Callable[..., Path],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("music").mkdir()
    write(Path("music/a.wav"), tone(1.0))
    Path("music/b.mp3").write_text("no sound")
    done = invoke("tag", "music", "--out", "tags.jsonl", "--jobs", "1")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "tags.jsonl: 1 tagged, 1 failed.")
    assert done.stderr.startswith("music/b.mp3: ")
    assert [json.loads(line)["path"] for line in Path("tags.jsonl").read_text().splitlines()] == [
        "music/a.wav",
        "music/b.mp3",
    ]
    again = invoke("tag", "music", "--out", "tags.jsonl")
    assert (again.exit_code, again.stdout.splitlines()[0]) == (
        1,
        "tags.jsonl: 0 tagged, 1 as before, 1 failed before.",
    )
    page = invoke("report", "tags.jsonl", "--html", "page.html", "--title", "Mine")
    assert (page.exit_code, page.stdout) == (0, "page.html: 2 files. Open it in a browser.\n")
    assert "<title>Mine</title>" in Path("page.html").read_text()
    missing = invoke("report", "missing.jsonl")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "missing.jsonl cannot be read" in missing.stderr
