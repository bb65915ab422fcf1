"""``lightmel study paper`` and ``lightmel recommend``: on a terminal, in a pipe, for a program."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from lightmel.cli import app
from lightmel.studies import published


def run(runner: CliRunner, *arguments: str, width: int = 80) -> str:
    result = runner.invoke(app, list(arguments), env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    return result.stdout


def test_alone_study_shows_its_commands(runner: CliRunner) -> None:
    assert "\n  paper " in runner.invoke(app, ["study"]).output
    assert "\n  study " in runner.invoke(app, []).output


def test_the_paper_fits_a_common_terminal(runner: CliRunner) -> None:
    shown = run(runner, "study", "paper")
    assert max(map(len, shown.splitlines())) <= 80
    assert "| 16k-mel48-x1-db   | 89.32 ± 0.22 | 36.41 ± 0.53 | 90.50       | 37.70      |" in shown
    assert "- 48 bands less 96: ROC AUC (mtat, VGG-CNN): borne out" in shown
    assert "- msd, VGG-CNN: no deviation of any of the 12 figures" in shown
    plain = " ".join(shown.split())
    assert "(mtat, VGG-CNN, ROC AUC): not borne out said: P > 0.08; found: 2 of 8 pairs" in plain


def test_the_paper_for_programs(runner: CliRunner) -> None:
    rows = list(csv.DictReader(io.StringIO(run(runner, "study", "paper", "--csv"))))
    assert len(rows) == len(published())
    assert rows[0]["roc_auc"] == "88.67"
    found = json.loads(run(runner, "study", "paper", "--json"))
    assert [row["roc_auc"] for row in found["rows"]] == [row.roc_auc for row in published()]
    assert len(found["tests"]) == 120
    assert {s["verdict"] for s in found["statements"]} == {"borne out", "not borne out", "not decidable"}
    assert len(found["unpublished"]) == 7
    latex = run(runner, "study", "paper", "--latex")
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 4


def test_the_paper_in_two_formats_is_refused(runner: CliRunner) -> None:
    result = runner.invoke(app, ["study", "paper", "--csv", "--json"])
    assert result.exit_code == 2
    assert "one or another" in result.stderr


@pytest.mark.parametrize("width", [40, 80])
def test_a_recommendation_is_read_at_any_width(runner: CliRunner, width: int) -> None:
    shown = run(runner, "recommend", "--max-gmac-per-minute", "10", "--top", "2", width=width)
    assert max(map(len, shown.splitlines())) <= width
    plain = " ".join(shown.split())
    assert plain.startswith("mtat, at most 10 GMAC a minute 1. vgg-16k-mel48-x2-log ROC AUC 0.8898 ± 0.0015")
    assert "loses 0.0034 (-0.0011 to +0.0079) against the best vgg, vgg-16k-mel48-x1-db" in plain
    assert "3. " not in plain
    assert "2 more fit: --top shows more of them" in plain
    assert "the accuracy is not known: nobody measured them." in plain
    assert "speed not known: --measure times it" in plain


def test_what_nobody_measured_is_told_from_what_somebody_did(runner: CliRunner) -> None:
    shown = " ".join(run(runner, "recommend", "--max-gmac-per-minute", "5").split())
    assert "Nothing that fits was measured. The nearest that was: vgg-12k-mel48-x2-db" in shown
    shown = " ".join(run(runner, "recommend", "--also", "16k-mel64-x1-db", "-n", "60").split())
    assert "(interpolated between vgg-16k-mel48-x1-db and vgg-16k-mel96-x1-db (the paper, mtat))" in shown
    assert "An interpolated figure is of no training" in shown


def test_a_recommendation_for_programs(runner: CliRunner) -> None:
    found = json.loads(run(runner, "recommend", "--dataset", "family", "--min-roc", "0.85", "--json"))
    assert found["limits"] == {"min_roc": 0.85}
    costs = [choice["candidate"]["gmac_per_minute"] for choice in found["choices"]]
    assert len(costs) == 4
    assert costs == sorted(costs)
    assert found["choices"][0]["loss"]["interval"] is None


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["--min-roc", "0.95"],
            "The nearest is musicnn-16k-mel128-x1-db: ROC AUC 0.9083, 47.3 GMAC a minute",
        ),
        (["--min-roc", "89"], "--min-roc is an ROC AUC between 0 and 1"),
        (["--max-kb", "-1"], "--max-kb is a number above 0"),
        (["--min-speed", "9"], "--measure times the best few on this machine"),
        (
            ["--dataset", "famly"],
            "--dataset is mtat, msd, family, or the folder of a study. Did you mean 'family'?",
        ),
        (["--also", "16k-mel64-x1-bd"], "is not a mel configuration"),
    ],
)
def test_what_cannot_be_is_a_line(runner: CliRunner, arguments: list[str], why: str) -> None:
    result = runner.invoke(app, ["recommend", *arguments])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("lightmel recommend: ")
    assert why in line
