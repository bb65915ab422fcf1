from __future__ import annotations

import dataclasses
import json

import pytest
from typer.testing import CliRunner

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


def test_json(runner: CliRunner) -> None:
    records = [json.loads(line) for line in runner.invoke(app, ["models", "--json"]).stdout.splitlines()]
    assert records == [dataclasses.asdict(release) for release in hub.releases()]
    assert all(r["license"] and r["bytes"] > 0 for r in records)
