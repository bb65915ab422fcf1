"""Parts of files on the command line: with --coverage, with --fast, and in a library."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lightmel
from lightmel import hub
from lightmel.cli import app

SAMPLE = Path(lightmel.__file__).parent / "sample" / "sample.ogg"


def tagged(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["tag", str(SAMPLE), "--json", *arguments])
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_share_of_each_file() -> None:
    some, own = tagged("--coverage", "0.3"), lightmel.tag(SAMPLE, coverage=0.3)
    assert some["tags"] == pytest.approx({tag: own[tag] for tag in own}, rel=1e-4)
    assert some["tags"] != tagged()["tags"]
    assert tagged("--coverage", "1")["tags"] == tagged()["tags"]
    (note,) = (note for note in own.notes if "analysed" in note)
    assert note in some["notes"]  # type: ignore[operator]
    for names in ([str(SAMPLE)], [str(SAMPLE)] * 6):
        shown = CliRunner().invoke(app, ["tag", *names, "--coverage", "0.3"]).stdout
        assert note in " ".join(shown.split())


def test_fast_is_the_cheapest_tagger_and_a_tenth() -> None:
    costs = {r.name: r.gmac_per_minute for r in hub.releases() if r.name.startswith("lightmel-")}
    cheapest = min(costs, key=lambda name: costs[name] or 9e9)
    assert hub.cheapest() == cheapest
    own = lightmel.tag(SAMPLE, model=cheapest, coverage=0.1)
    found = tagged("--fast")
    assert found["model"] == cheapest
    assert found["tags"] == pytest.approx({tag: own[tag] for tag in own}, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fast", "--model", "default"], "it chooses --model itself"),
        (["--fast", "--coverage", "0.5"], "it chooses --coverage itself"),
        (["--coverage", "0"], "--coverage"),
        (["--coverage", "10"], "--coverage"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["tag", str(SAMPLE), *arguments])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_library_knows_how_much_of_each_file_it_has(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    shutil.copy(SAMPLE, tmp_path / "music")

    def run(*arguments: str) -> tuple[int, str, dict[str, object]]:
        out = tmp_path / "tags.jsonl"
        given = ["tag", str(tmp_path / "music"), "--out", str(out), "--jobs", "0", *arguments]
        done = CliRunner().invoke(app, given)
        return done.exit_code, done.output, json.loads(out.read_text().splitlines()[-1])

    code, said, some = run("--coverage", "0.3")
    assert (code, "1 tagged" in said) == (0, True)
    own = lightmel.tag(SAMPLE, coverage=0.3)
    assert some["tags"] == pytest.approx({tag: own[tag] for tag in own}, rel=1e-4)
    assert some["notes"] == list(own.notes)
    assert "1 as before" in run("--coverage", "0.3")[1]
    code, said, whole = run()
    assert "1 tagged" in said
    assert whole["tags"] != some["tags"]
    given = ["--out", str(tmp_path / "x.jsonl"), "--embeddings", str(tmp_path / "e.npy")]
    refused = CliRunner().invoke(app, ["tag", str(tmp_path / "music"), *given, "--coverage", "0.3"])
    assert refused.exit_code == 2
    assert "parts of each file are tagged" in " ".join(refused.output.split())
