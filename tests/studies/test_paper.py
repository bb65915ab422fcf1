"""The paper's numbers, its tables, what was never published, its tests and what its statements are worth."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from scipy.stats import ttest_ind

from lightmel import PAPER_CONFIGS, MelConfig
from lightmel.errors import ConfigError, DataError
from lightmel.studies import (
    CHANGES,
    Sample,
    difference,
    paper_table,
    published,
    published_of,
    published_on,
    published_table,
    read_published,
    statements,
    t_tests,
    table_of_tests,
    unpublished,
)


def data() -> str:
    return resources.files("lightmel.studies").joinpath("paper_results.csv").read_text(encoding="utf-8")


def test_the_data_are_those_that_were_handed_over(shared: Path) -> None:
    source = shared / "paper" / "results.csv"
    if not source.is_file():
        pytest.skip("needs ../shared/paper")
    assert data() == source.read_text(encoding="utf-8")


def test_every_number_is_read_as_it_stands() -> None:
    assert len(published()) == 59
    assert {(r.dataset, r.architecture): 0 for r in published()}.keys() == {
        (d, a) for d in ("mtat", "msd") for a in ("vgg", "musicnn")
    }
    assert published_table(published()).csv() == data()
    row = published_of("mtat", "vgg", MelConfig(16_000, 48, 1, "db"))
    assert row is not None
    assert (row.roc_auc, row.roc_auc_deviation, row.pr_auc, row.pr_auc_deviation, row.runs) == (
        0.8932,
        0.0022,
        0.3641,
        0.0053,
        3,
    )
    assert row.name == "vgg-16k-mel48-x1-db"
    assert published_of("msd", "musicnn", MelConfig(16_000, 48, 1, "log")) is None
    with pytest.raises(ConfigError, match="Did you mean 'mtat'"):
        published_on("mtta")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dataset,architecture", "data,architecture", "holds no results of the paper's protocol"),
        ("mtat,vgg,12000,128,1,log", "gtzan,vgg,12000,128,1,log", "line 2: dataset is mtat or msd"),
        ("mtat,vgg,12000,128,1,log", "mtat,vvg,12000,128,1,log", "Did you mean 'vgg'"),
        ("mtat,vgg,12000,128,1,log", "mtat,vgg,12000,4000,1,log", "line 2: This mel configuration cannot"),
        ("mtat,vgg,12000,128,1,log", "mtat,vgg,12000,128,1,ln", "line 2: log is 'log' or 'db'"),
        ("88.67,0.18", "188.67,0.18", "line 2: roc_auc is a number of points"),
        ("88.67,0.18", "0,nan", "line 2: roc_auc_std is a number"),
        ("88.67,0.18", ",0.18", "line 2: roc_auc is a number"),
        ("90.39,,37.67,,1", "90.39,0.1,37.67,,1", "line 26: 1 runs have no deviation"),
        ("mtat,vgg,12000,128,1,db", "mtat,vgg,12000,128,1,log", "line 3: .* stands there twice"),
        (",3,results page", ",3,results,page", "line 2: 13 cells"),
    ],
)
def test_what_are_no_results_is_told_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in data()
    file = tmp_path / "results.csv"
    file.write_text(data().replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_published(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        read_published(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_published(tmp_path)


@pytest.mark.parametrize("dataset", ["mtat", "msd"])
def test_a_table_says_what_was_published_and_no_more(dataset: str) -> None:
    table = paper_table(dataset)
    rows = {(r.architecture, r.config.slug): r for r in published_on(dataset)}
    assert [row[0] for row in table.rows] == [
        c.slug for c in PAPER_CONFIGS if any((a, c.slug) in rows for a in ("vgg", "musicnn"))
    ]
    for slug, *cells in table.rows:
        for network, pair in (("vgg", cells[:2]), ("musicnn", cells[2:])):
            own = rows.get((network, slug))
            if own is None:
                assert pair == ["", ""]
                continue
            for cell, mean, deviation in (
                (pair[0], own.roc_auc, own.roc_auc_deviation),
                (pair[1], own.pr_auc, own.pr_auc_deviation),
            ):
                plain = f"{100 * mean:.2f}"
                assert cell == (plain if deviation is None else f"{plain} ± {100 * deviation:.2f}")
    assert max(len(line) for line in table.markdown().splitlines() if line.startswith("|")) <= 80


def test_latex_is_a_table_in_which_nothing_is_read_as_a_command() -> None:
    text = replace(paper_table("mtat"), title="50 % of a_b & {c} \\d ~ ^").latex()
    body = text.splitlines()
    assert body[0] == r"\begin{table}"
    assert body[-1] == r"\end{table}"
    assert r"50 \% of a\_b \& \{c\} \textbackslash{}d \textasciitilde{} \textasciicircum{}" in text
    rows = [line for line in body if line.endswith(r" \\")]
    assert len(rows) == 1 + 24
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {4}
    assert r"88.67 $\pm$ 0.18" in text
    assert text.isascii()


def test_csv_of_a_table_reads_back() -> None:
    table = paper_table("msd")
    assert [tuple(row) for row in csv.reader(io.StringIO(table.csv()))] == [table.header, *table.rows]


def test_what_was_never_published_is_all_the_rest() -> None:
    gaps = {(g.dataset, g.architecture, g.missing): g for g in unpublished()}
    for dataset in ("mtat", "msd"):
        for network in ("vgg", "musicnn"):
            there = {r.config for r in published_on(dataset) if r.architecture == network}
            lost = gaps[dataset, network, "figures"].configs
            assert there.isdisjoint(lost)
            assert there | set(lost) == set(PAPER_CONFIGS)
            assert ((dataset, network, "deviations") in gaps) == ((dataset, network) != ("mtat", "vgg"))
    assert gaps["msd", "musicnn", "figures"].text == (
        "no figure of 77 of 88 inputs: hop factors 2, 3, 4, 5, 10; bands 32, 24, 16, 8; 16k-mel48-x1-log"
    )
    assert "compression log" in gaps["msd", "vgg", "figures"].text
    assert gaps["mtat", "musicnn", "deviations"].text.startswith("no deviation of any of the 12 figures")


def test_tests_from_summaries_are_those_of_the_runs() -> None:
    runs = [0.88, 0.90, 0.91], [0.87, 0.86, 0.88, 0.85]
    samples = []
    for own in runs:
        mean = sum(own) / len(own)
        samples.append(Sample(mean, (sum((x - mean) ** 2 for x in own) / (len(own) - 1)) ** 0.5, len(own)))
    found = difference(*samples)
    assert found is not None
    welch = ttest_ind(*runs, equal_var=False)
    assert found.student_p == pytest.approx(ttest_ind(*runs).pvalue)
    assert found.welch_p == pytest.approx(welch.pvalue)
    low, high = welch.confidence_interval(0.95)
    assert found.interval == pytest.approx((low, high))
    assert found.value == pytest.approx(samples[0].mean - samples[1].mean)


@pytest.mark.parametrize(
    "samples",
    [
        (Sample(0.9, 0.1, 3), Sample(0.8, None, 3)),
        (Sample(0.9, 0.1, 3), Sample(0.8, 0.1, 1)),
        (Sample(0.9, 0.0, 3), Sample(0.8, 0.0, 3)),
    ],
)
def test_runs_that_cannot_say_say_nothing(samples: tuple[Sample, Sample]) -> None:
    assert difference(*samples) is None


def test_every_pair_with_deviations_is_tested_twice() -> None:
    tests = t_tests(published())
    numbers = {change.text: sum(own.change == change for own in tests) for change in CHANGES}
    assert numbers == {
        "48 bands less 96": 16,
        "x2 less x1": 24,
        "48 bands less 128": 16,
        "96 bands less 128": 16,
        "16 kHz less 12 kHz": 24,
        "dB less log": 24,
    }
    assert {(own.after.dataset, own.after.architecture) for own in tests} == {("mtat", "vgg")}
    # By hand: 88.64 ± .01 and 88.37 ± .07, three runs each: t = .27 / sqrt((.01² + .07²) / 3) = 6.61.
    (own,) = [
        t
        for t in tests
        if (t.after.config.slug, t.before.config.slug) == ("12k-mel48-x2-log", "12k-mel96-x2-log")
        and t.measure == "roc_auc"
    ]
    assert own.found.student_p == pytest.approx(0.00271, abs=2e-5)
    # Deviations of populations are larger as those of samples: no difference is clearer by them.
    for a, b in zip(tests, t_tests(published(), of_population=True), strict=True):
        assert a.found.student_p <= b.found.student_p


def test_a_table_of_tests_has_a_line_for_each_setting() -> None:
    table = table_of_tests(t_tests(published()), CHANGES[1])
    assert len(table.rows) == 12
    line = {row[0]: row[1:] for row in table.rows}["12k-mel48-log"]
    assert line[:3] == ("-0.46", "<.001", "0.003")
    assert max(map(len, table.markdown().splitlines())) <= 80


def test_the_papers_statements_are_checked() -> None:
    found = {(s.text, s.where): (s.verdict, s.found) for s in statements(costs=False)}
    spans = {where: v for (text, where), v in found.items() if text == "48 bands less 96: ROC AUC"}
    assert spans == {
        "mtat, VGG-CNN": ("borne out", "+0.10 to +0.37 in 8 pairs"),
        "mtat, MUSICNN": ("borne out", "-0.17 to -0.10 in 4 pairs"),
        "msd": ("borne out", "-0.32 to +0.02 in 7 pairs"),
    }
    assert found["x2 less x1: ROC AUC", "msd, VGG-CNN"] == ("borne out", "-0.67 to -0.08 in 6 pairs")
    significant = "48 bands against 96: no significant difference"
    # Two of the eight pairs have 48 bands ahead by more than the runs differ.
    assert found[significant, "mtat, VGG-CNN, ROC AUC"][0] == "not borne out"
    assert found[significant, "mtat, VGG-CNN, PR AUC"][0] == "borne out"
    assert found[significant, "msd, MUSICNN"][0] == "not decidable"
    assert found["x10 less x1: performance", "mtat"][0] == "not decidable"
    best = {where: v[0] for (text, where), v in found.items() if text.startswith("16 kHz dB is best")}
    assert best == {
        "mtat, VGG-CNN": "borne out",
        "mtat, MUSICNN": "borne out",
        "msd, VGG-CNN": "not decidable",  # nothing of log
        "msd, MUSICNN": "not decidable",  # shared with 12 kHz log
    }
    assert found["MUSICNN is ahead of VGG-CNN: ROC AUC", "mtat"][0] == "borne out"


def test_a_statement_that_the_numbers_do_not_bear_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightmel.studies import said

    worse = tuple(
        replace(r, roc_auc=round(r.roc_auc - 0.01 * (r.config.n_mels == 48), 6)) for r in published()
    )
    monkeypatch.setattr(said, "published", lambda: worse)
    found = [s for s in said.statements(costs=False) if s.text == "48 bands less 96: ROC AUC"]
    assert [s.verdict for s in found] == ["not borne out"] * 3
    assert found[0].found == "-0.90 to -0.63 in 8 pairs"


def test_costs_are_checked_by_the_networks_themselves() -> None:
    found = {(s.text.partition(":")[0], s.where): s.verdict for s in statements() if "computed" in s.found}
    assert len(found) == 6
    assert [key for key, verdict in found.items() if verdict != "borne out"] == [
        ("48 bands cost half of 96", "MUSICNN")
    ]
