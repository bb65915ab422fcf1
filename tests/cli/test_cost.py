from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from lightmel import GRID
from lightmel.cli import app
from lightmel.models import cost


@pytest.fixture(scope="module")
def shown() -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["cost"])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_line_for_each_of_the_papers_configurations(shown: str) -> None:
    lines = {
        line.split()[0]: line.split()[1:] for line in shown.splitlines() if re.match(r"1[26]k-mel", line)
    }
    assert list(lines) == [c.slug for c in GRID]
    rows = {(r.architecture, r.config.slug): r.cost for r in cost.table()}
    for slug, cells in lines.items():
        vgg, musicnn = rows["vgg", slug], rows["musicnn", slug]
        assert cells == [
            f"{figure:.{digits}f}"
            for c in (vgg, musicnn)
            for figure, digits in ((c.parameters / 1e6, 2), (c.gmacs, 3), (c.activation_bytes / 1e6, 1))
        ]


def test_the_papers_claims_stand_beside_what_is_computed(shown: str) -> None:
    for check in cost.check_claims():
        (line,) = [
            line
            for line in shown.splitlines()
            if line.startswith(check.claim.text)
            and {"vgg": "VGG", "musicnn": "MUSICNN"}[check.architecture] in line
        ]
        assert f" {check.claim.said:.2f} " in line
        assert f"{check.low:.3f}" in line
        assert f"{check.high:.3f}" in line
        assert line.split()[-1] == str(len(check.ratios))


def test_it_fits_a_common_terminal(shown: str) -> None:
    assert max(map(len, shown.splitlines())) <= 80


def test_json(runner: CliRunner) -> None:
    records = [json.loads(line) for line in runner.invoke(app, ["cost", "--json"]).stdout.splitlines()]
    assert [(r["architecture"], r["config"]) for r in records] == [
        (row.architecture, row.config.slug) for row in cost.table()
    ]
    assert len(records) == 2 * len(GRID)
    for record, row in zip(records, cost.table(), strict=True):
        assert record["macs"] == row.cost.macs
        assert record["parameters"] == row.cost.parameters
        assert record["activation_bytes"] == row.cost.activation_bytes
        assert record["input_shape"] == list(row.input_shape)
