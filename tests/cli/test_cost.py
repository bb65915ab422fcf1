from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lightmel import PAPER_CONFIGS, MelConfig
from lightmel.cli import app, show
from lightmel.hub import DEFAULT, costs_of
from lightmel.models import Cost, check_claims, paper_costs
from lightmel.studies import costs_and_accuracies, published_of


@pytest.fixture(scope="module")
def shown() -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["cost"])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_line_for_each_of_the_papers_configurations(shown: str) -> None:
    lines = {
        line.split()[0]: line.split()[1:] for line in shown.splitlines() if re.match(r"1[26]k-mel", line)
    }
    assert list(lines) == [c.slug for c in PAPER_CONFIGS]
    rows = {(r.architecture, r.config.slug): r.cost for r in paper_costs()}
    for slug, cells in lines.items():
        vgg, musicnn = rows["vgg", slug], rows["musicnn", slug]
        assert cells == [*_cells("vgg", slug, vgg), *_cells("musicnn", slug, musicnn)]


def _cells(name: str, slug: str, cost: Cost) -> tuple[str, ...]:
    own = published_of("mtat", name, MelConfig.from_slug(slug))
    return (
        f"{cost.parameters / 1e6:.2f}",
        f"{cost.gmacs:.3f}",
        f"{cost.activation_bytes / 1e6:.1f}",
        "-" if own is None else f"{own.roc_auc:.4f}",
    )


def test_the_papers_claims_stand_beside_what_is_computed(shown: str) -> None:
    for check in check_claims():
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
        (row.architecture, row.config.slug) for row in paper_costs()
    ]
    assert len(records) == 2 * len(PAPER_CONFIGS)
    for record, row in zip(records, paper_costs(), strict=True):
        assert record["macs"] == row.cost.macs
        assert record["parameters"] == row.cost.parameters
        assert record["activation_bytes"] == row.cost.activation_bytes
        assert record["input_shape"] == list(row.input_shape)
        assert record["seconds"] == row.seconds


def test_on_a_narrow_terminal_each_network_has_a_table_and_no_figure_is_cut_off(
    runner: CliRunner, shown: str
) -> None:
    narrow = runner.invoke(app, ["cost"], env={"COLUMNS": "40"}).stdout
    assert max(map(len, narrow.splitlines())) <= 40
    assert "…" not in narrow
    wide = [line.split() for line in shown.splitlines() if re.match(r"1[26]k-mel", line)]
    slim = [line.split() for line in narrow.splitlines() if re.match(r"1[26]k-mel", line)]
    assert slim == [row[:4] for row in wide] + [[row[0], *row[5:8]] for row in wide]


def blocks(text: str) -> list[list[str]]:
    """The lines of each network and input, each with its name first."""
    first, *found = text.strip().split("\n\n")
    assert first.split("\n")[0].startswith("GMAC: ")
    return [block.split("\n") for block in found]


@pytest.mark.parametrize(
    "what",
    [
        ["default"],
        ["the file"],
        ["vgg-16k-mel48-x2-db"],
        ["16k-mel48-x2-db"],
        ["the file", "musicnn-pons-small-12k-mel96-x1-log", "12k-mel96-x1-log", "default"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("width", [40, 80])
def test_what_is_named(runner: CliRunner, small_model: Path, what: list[str], width: int) -> None:
    what = [str(small_model) if name == "the file" else name for name in what]
    rows = [row for name in what for row in costs_of(name)]
    known = [accuracies for _, accuracies in costs_and_accuracies(*what)]
    result = runner.invoke(app, ["cost", *what], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    found = blocks(result.stdout)
    assert len(found) == len(rows)
    for (title, *said), row, accuracies in zip(found, rows, known, strict=True):
        network = show.NETWORKS[row.architecture]
        assert title == (row.name or f"{network} on {row.config.slug}")
        rest = " ".join(" ".join(said).split())
        assert rest.count(": ROC AUC ") == len(accuracies)
        for own in accuracies:
            assert f" {own.dataset}: ROC AUC {own.roc_auc:.4f}" in rest
            assert f"({own.source}, {own.runs} run" in rest
        words = "small " if row.size == "small" else ""
        assert rest.partition(" mtat: ")[0].partition(" msd: ")[0].partition(" family: ")[0] == (
            f"{words}{network}, {row.cost.parameters:,} parameters "
            f"input: {row.config.slug}, {row.input_shape[0]} by {row.input_shape[1]} "
            f"a pass of {row.seconds:g} s: {row.cost.gmacs:.3f} GMAC "
            f"its layers' outputs: {show.size(row.cost.activation_bytes)} in float32 "
            f"a minute of sound: {60 * row.cost.macs / row.seconds / 1e9:.3f} GMAC"
        )
    records = [json.loads(line) for line in runner.invoke(app, ["cost", "--json", *what]).stdout.splitlines()]
    assert [(r["name"], r["config"], r["macs"]) for r in records] == [
        (row.name, row.config.slug, row.cost.macs) for row in rows
    ]
    assert [[own["roc_auc"] for own in r["accuracy"]] for r in records] == [
        [own.roc_auc for own in accuracies] for accuracies in known
    ]


def test_the_name_of_the_default_tagger_is_said(runner: CliRunner) -> None:
    ((title, *_),) = blocks(runner.invoke(app, ["cost", "default"]).stdout)
    assert title == DEFAULT


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("defalt", "Did you mean 'default'?"),
        ("16k-mel48-x2-bd", "Did you mean '16k-mel48-x2-db'?"),
        ("vgg-smal-16k-mel48-x2-db", "Did you mean 'small'?"),
        ("no such thing", "'no such thing' is no tagger, no network such as "),
        ("text.safetensors", "text.safetensors"),
    ],
)
def test_what_cannot_be_is_a_line(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("no network")
    result = runner.invoke(app, ["cost", "default", what])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("lightmel cost: ")
    assert why in line
