from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lightmel.cli import app
from lightmel.hub import catalogue as hub


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_tagger_with_its_licence(runner: CliRunner, width: int) -> None:
    result = runner.invoke(app, ["models"], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    entries = result.stdout.strip().split("\n\n")
    assert len(entries) == len(hub.releases())
    for entry, release in zip(entries, hub.releases(), strict=True):
        assert entry.split()[0] == release.name
        assert f"licence: {release.licence}" in " ".join(entry.split())
        assert ("(default)" in entry) == (release.name == hub.DEFAULT)
        assert ("in the package" in " ".join(entry.split())) == (release.where == "package")
    assert max(map(len, result.stdout.splitlines())) <= width


def test_json(runner: CliRunner) -> None:
    records = [json.loads(line) for line in runner.invoke(app, ["models", "--json"]).stdout.splitlines()]
    assert [r["name"] for r in records] == [r.name for r in hub.releases()]
    assert all(r["licence"] and r["bytes"] > 0 for r in records)
