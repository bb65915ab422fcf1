"""The report of a study, in each of its forms, and by the command line."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

import pytest
from typer.testing import CliRunner

from lightmel.cli import app
from lightmel.errors import ConfigError, DataError, MissingExtraError
from lightmel.evaluation import Intervals
from lightmel.studies import measure_times, paper_table, published_of, read_results, report_study
from lightmel.studies.figures import _drawing, _legend, pareto

FEW = Intervals(resamples=30)

Written = Callable[..., Path]


def worse_in_time(slug: str, seed: int) -> float:
    return {"x1": 0.3, "x2": 0.8, "x5": 1.0, "x10": 1.2}[slug.split("-")[2]] + 0.01 * seed


def table_under(text: str, title: str) -> list[list[str]]:
    """Return the cells of a Markdown table by what its title begins with, the header first."""
    lines = text[text.index(f"\n{title}") :].split("\n\n")[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def test_markdown_holds_the_figures(labelled_study: Path) -> None:
    text = report_study(labelled_study, intervals=FEW).markdown()
    results = read_results(labelled_study)
    assert text.startswith("# Small & quick: 100 % tones\n")
    assert "14 of 14 trainings are done; 8 points, 1 to 2 runs each" in text
    header, *rows = table_under(text, "narrow, ROC AUC on test in points")
    assert header == ["input", "x1", "x2", "x10"]
    assert [row[0] for row in rows] == ["16k-mel96-db", "16k-mel48-db"]
    values = [100 * v for v in results.point("narrow-16k-mel48-x10-db").values("test", "roc_auc")]
    assert rows[1][3] == f"{fmean(values):.2f} ± {stdev(values):.2f} (2)"
    quantised = table_under(text, "test: points lost against features in float32")[1]
    point = results.point("wide-16k-mel48-x1-db-uint8")
    assert quantised[:3] == ["wide-16k-mel48-x1-db", "uint8", f"{point.clip_bytes:,}"]
    assert quantised[-1] == "1 and 1"
    assert [row[0] for row in table_under(text, "test: points of ROC AUC lost, tag by tag")] == [
        "tag",
        "high",
        "low",
    ]
    assert "48 bands lose nothing against 96" in text
    assert "Student" in text


def test_one_run_is_said_and_not_tested(scored_study: Path) -> None:
    text = report_study(scored_study, intervals=FEW).markdown()
    assert "Every point has one run: what another seed changes is not known" in text
    assert "±" not in re.sub(r"mean ± deviation", "", text)
    assert table_under(text, "human: points lost against most bands")[1][-3:] == [
        "one run",
        "one run",
        "1 and 1",
    ]


def test_what_it_has_learnt_from_is_looked_for_where_it_was(
    scored_study: Path, scores: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = report_study(scored_study, intervals=FEW).markdown()
    assert found == report_study(scored_study, data=scores, intervals=FEW).markdown()
    away = scores.rename(scores.with_name("away"))
    try:
        text = report_study(scored_study, intervals=FEW).markdown()
    finally:
        away.rename(scores)
    assert "they need the teachers' scores (--data)" in text
    assert "is not at hand" in caplog.text


def test_scored_data_have_an_agreement(scored_study: Path) -> None:
    text = report_study(scored_study, intervals=FEW).markdown()
    header, *rows = table_under(text, "narrow: agreement with the teachers")
    assert header[:2] == ["input", "all tags"]
    agreement = read_results(scored_study).points[1].runs[0].mean_agreement
    assert rows[1][:2] == ["16k-mel96-x2-db", f"{agreement:.3f}"]
    assert "Intervals (95 %) are over 4 groups of clips that are drawn whole." in text
    lost = table_under(text, "agreement with the teachers: correlation lost, by what tags are about")
    assert re.fullmatch(r"[+-]0\.\d{3} \([+-]0\.\d{3} to [+-]0\.\d{3}\)", lost[1][2])


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "use", "path", "rect", "circle"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.outside.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("use", "path", "rect", "circle"):
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_is_the_same_each_time(labelled_study: Path, scored_study: Path) -> None:
    for study in (labelled_study, scored_study):
        html = report_study(study, intervals=FEW).html()
        page = Page()
        page.feed(html)
        assert page.open == []
        assert page.outside == []
        assert not re.search(r"@import|url\((?!#)", html)
        assert len(set(page.ids)) == len(page.ids) > 0
        used = set(re.findall(r'href="#([^"]+)"', html)) | set(re.findall(r"url\(#([^)]+)\)", html))
        assert used <= set(page.ids)
        assert html == report_study(study, intervals=FEW).html()
    assert html.count("<svg") == 4  # curves, costs, and by what tags are about for labels and for teachers


def test_the_page_escapes_what_is_not_its_own(labelled_study: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(labelled_study, tmp_path / "study"))
    plain = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps(plain | {"title": "<script>alert(1)</script> & more"}))
    html = report_study(study, intervals=FEW).html()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html


def test_without_matplotlib_all_but_the_page_is_there(
    labelled_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = report_study(labelled_study, intervals=FEW)
    assert found.markdown()
    assert found.latex()
    assert found.csv()
    with pytest.raises(MissingExtraError, match=r"pip install 'lightmel\[study\]'"):
        found.html()


def test_latex_is_whole(labelled_study: Path, scored_study: Path) -> None:
    for study in (labelled_study, scored_study):
        found = report_study(study, intervals=FEW)
        text = found.latex()
        bare = re.sub(r"\\[\\{}&%$#_]", "", text)
        assert bare.count("{") == bare.count("}")
        begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended)
        assert begun.count("tabular") == sum(len(section.tables) for section in found.sections)
        columns = 0
        for line in text.splitlines():
            if match := re.fullmatch(r"\\begin{tabular}{([lr]+)}", line):
                columns = len(match[1])
            elif line.endswith(r" \\"):
                assert len(re.findall(r"(?<!\\)&", line)) == columns - 1
        assert text.isascii()
        # Nothing stands for itself that LaTeX takes for something else.
        assert not re.search(r"(?<!\\)[#_]|(?<!\\)%(?! Tables|$)", text, re.MULTILINE)


@pytest.mark.parametrize("names", [2, 6, 11])
def test_a_legend_is_no_wider_than_its_figure(names: int) -> None:
    pytest.importorskip("matplotlib")
    with _drawing(1, 1) as (figure, _):
        _legend(figure, [(f"{96 - i} bands, or a network", "#1d1c1a", "s") for i in range(names)])
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert len(legend.get_texts()) == names
        extent = legend.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.width


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_compiles(labelled_study: Path, scored_study: Path, tmp_path: Path) -> None:
    tables = [report_study(study, intervals=FEW).latex() for study in (labelled_study, scored_study)]
    tables += [own.latex() for own in (paper_table("mtat"), paper_table("msd"))]
    text = "\n\n".join([r"\documentclass{article}", r"\begin{document}", *tables, r"\end{document}"])
    (tmp_path / "paper.tex").write_text(text)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_csv_holds_every_figure(written: Written) -> None:
    study = written(worse_in_time, seeds=(0, 1))
    rows = list(csv.DictReader(io.StringIO(report_study(study, intervals=FEW).csv())))
    results = read_results(study)
    figures = {(r["network"], r["config"], r["measure"]): r for r in rows if r["what"] == "figure"}
    assert len(figures) == 2 * len(results.points)
    for point in results.points:
        own = figures[point.network, point.slug, "pr_auc"]
        values = point.values("test", "pr_auc")
        assert (float(own["value"]), float(own["deviation"])) == (
            pytest.approx(fmean(values)),
            pytest.approx(stdev(values)),
        )
        assert own["runs"] == "2"
    losses = [r for r in rows if r["what"] == "loss" and r["config"] == "16k-mel96-x10-db"]
    assert {r["tags"] for r in losses} == {"", "genre", "instrument", "voice"}
    own = next(r for r in losses if (r["tags"], r["measure"]) == ("", "roc_auc"))
    assert own["against"] == "vgg-16k-mel96-x1-db"
    assert float(own["low"]) < float(own["value"]) < float(own["high"])
    assert 0 < float(own["student_p"]) < 0.05
    costs = [r for r in rows if r["what"] == "cost" and r["config"] == "12k-mel48-x2-log"]
    assert len(costs) == 2


def test_the_papers_numbers_stand_beside_its_data(written: Written) -> None:
    study = written(worse_in_time, dataset="magnatagatune")
    text = report_study(study, intervals=FEW).markdown()
    rows = {row[0]: row for row in table_under(text, "Points of ROC AUC and PR AUC here and as published")}
    row = rows["vgg-16k-mel96-x1-db"]
    config = read_results(study).point("vgg-16k-mel96-x1-db").cell.config
    published = published_of("mtat", "vgg", config)
    assert published is not None
    assert row[1] == "as the paper's"
    assert row[3].startswith(f"{100 * published.roc_auc:.2f} ± ")
    assert row[3].endswith(f"({published.runs})")
    assert "vgg-16k-mel96-x10-db" not in rows  # never published


def test_other_data_have_no_numbers_of_the_paper(written: Written) -> None:
    assert "Beside the paper" not in report_study(written(worse_in_time), intervals=FEW).markdown()


def test_the_front_is_what_nothing_cheaper_beats(written: Written) -> None:
    points = read_results(written(worse_in_time)).points

    def value(point: object) -> float:
        return fmean(point.values("test", "roc_auc"))  # type: ignore[attr-defined]

    found = pareto(points, value, lambda point: point.gmac_per_minute)
    for point in points:
        beaten = any(
            value(other) >= value(point)
            and other.gmac_per_minute <= point.gmac_per_minute
            and (value(other), -other.gmac_per_minute) != (value(point), -point.gmac_per_minute)
            for other in points
        )
        assert (point in found) == (not beaten)


# Times.


@pytest.fixture
def timed(labelled_study: Path, tmp_path: Path) -> Path:
    study = Path(shutil.copytree(labelled_study, tmp_path / "timed"))
    assert measure_times(study, rounds=7) == study / "times.json"
    return study


def test_times_are_of_every_point(timed: Path) -> None:
    results = read_results(timed)
    plain = json.loads((timed / "times.json").read_text())
    assert list(plain["points"]) == [point.name for point in results.points]
    assert plain["rounds"] == 7
    for own in plain["points"].values():
        assert own["milliseconds"] > 0
        assert own["runtime"] == "onnx"
    point = results.points[0]
    expected = plain["points"][point.name]["milliseconds"] * 120
    assert results.milliseconds_per_minute(point) == pytest.approx(expected)
    found = report_study(timed, intervals=FEW)
    text = found.markdown()
    assert "ms a minute" in text
    assert f"{plain['processor']}, ONNX Runtime on one thread" in text
    assert "ms a minute" in found.csv()


def test_times_without_a_graph(labelled_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Path(shutil.copytree(labelled_study, tmp_path / "study"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    plain = json.loads(measure_times(study, rounds=7).read_text())
    assert {own["runtime"] for own in plain["points"].values()} == {"torch"}


def test_too_few_rounds_are_refused(labelled_study: Path) -> None:
    with pytest.raises(ConfigError, match="at least 7"):
        measure_times(labelled_study, rounds=3)


# The command line.


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner(env={"COLUMNS": "80"})


def test_a_summary_is_printed(labelled_study: Path, runner: CliRunner) -> None:
    done = runner.invoke(app, ["study", "report", str(labelled_study), "--resamples", "30"])
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    results = read_results(labelled_study)
    rows = table_under(done.stdout, "narrow on test")
    values = results.point("narrow-16k-mel96-x1-db").values("test", "roc_auc")
    assert rows[1][:2] == ["16k-mel96-x1-db", f"{fmean(values):.3f} ± {stdev(values):.3f}"]
    assert rows[1][3] == "2"


def test_files_are_written(labelled_study: Path, tmp_path: Path, runner: CliRunner) -> None:
    names = {form: tmp_path / "out" / f"report.{form}" for form in ("html", "markdown", "latex", "csv")}
    options = [text for form, path in names.items() for text in (f"--{form}", str(path))]
    done = runner.invoke(app, ["study", "report", str(labelled_study), "--resamples", "30", *options])
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(path) for path in names.values()]
    assert names["html"].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert names["csv"].read_text().startswith("what,network,config")


def test_what_is_amiss_is_said(tmp_path: Path, labelled_study: Path, runner: CliRunner) -> None:
    done = runner.invoke(app, ["study", "report", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "holds no study" in done.stderr
    same = str(tmp_path / "one")
    done = runner.invoke(app, ["study", "report", str(labelled_study), "--html", same, "--csv", same])
    assert "each form wants its own" in done.stderr
    with pytest.raises(DataError, match="is not what"):
        report_study(labelled_study, data=other_table(tmp_path))


def other_table(folder: Path) -> Path:
    """A table of clips that the study has not learnt from."""
    import numpy as np
    import soundfile

    rows = ["path,tags,split"]
    for i in range(4):
        soundfile.write(folder / f"{i}.wav", np.zeros(8_000), 16_000)
        rows.append(f"{i}.wav,{'ab'[i % 2]},{'train' if i < 2 else 'test'}")
    table = folder / "other.csv"
    table.write_text("\n".join(rows) + "\n")
    return table
