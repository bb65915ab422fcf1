from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import lightmel
from lightmel import hub
from lightmel.cli import app


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_tagger_with_its_license(runner: CliRunner, width: int) -> None:
    result = runner.invoke(app, ["models"], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    entries = result.stdout.strip().split("\n\n")
    assert len(entries) == len(hub.releases())
    for entry, release in zip(entries, hub.releases(), strict=True):
        assert entry.split()[0] == release.name
        assert f"license: {release.license}" in " ".join(entry.split())
        assert ("(default)" in entry) == (release.name == hub.DEFAULT)
        assert ("in the package" in " ".join(entry.split())) == (release.where == "package")
    assert max(map(len, result.stdout.splitlines())) <= width


@pytest.mark.parametrize("width", [None, "40", "80"])
def test_no_line_ends_with_blanks_and_in_a_pipe_each_is_whole(width: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    if width is not None:
        environment["COLUMNS"] = width
    environment["PYTHONIOENCODING"] = "utf-8"
    command = [sys.executable, "-m", "lightmel", "models"]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert (max(map(len, lines)) > 80) == (width is None)
    assert (f"{hub.DEFAULT}  (default)" in lines) == (width != "40")


def test_figures_of_those_that_were_measured(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["models", "default"]).output
    assert "No tagger is called 'default'" in shown  # a pattern is one of names
    shown = runner.invoke(app, ["models", hub.DEFAULT]).stdout
    (release,) = hub.matching(hub.DEFAULT)
    assert f"ROC AUC {release.roc_auc:.3f}, PR AUC {release.pr_auc:.3f} " in shown
    assert f"{release.gmac_per_minute:.3g} GMAC a minute" in shown
    assert "0.84 M parameters" in shown


@pytest.mark.parametrize(
    ("pattern", "count"), [("*", 0), ("vgg*", 1), ("LIGHTMEL-vgg*", 1), ("won2020-msd-*", 1), ("public:*", 5)]
)
def test_names_like_a_pattern(runner: CliRunner, pattern: str, count: int) -> None:
    found = runner.invoke(app, ["models", pattern, "--json"])
    assert found.exit_code == 0
    names = [json.loads(line)["name"] for line in found.stdout.splitlines()]
    assert names == lightmel.list_models(pattern)
    assert len(names) >= count
    if not count:
        assert names == [release.name for release in hub.releases()]


def test_a_pattern_without_a_name_is_no_empty_answer(runner: CliRunner) -> None:
    found = runner.invoke(app, ["models", "resnet*"])
    assert found.exit_code == 2
    assert "No tagger is called 'resnet*'" in found.output
    assert lightmel.list_models("resnet*") == []


def test_json(runner: CliRunner) -> None:
    records = [json.loads(line) for line in runner.invoke(app, ["models", "--json"]).stdout.splitlines()]
    assert records == [dataclasses.asdict(release) for release in hub.releases()]
    assert all(r["license"] and r["bytes"] > 0 for r in records)
