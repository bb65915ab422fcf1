"""What is read out of a study's folder, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightmel.errors import ConfigError, DataError
from lightmel.evaluation import Intervals, bootstrap
from lightmel.frontends import CLIP_SECONDS, MelConfig
from lightmel.models import network_cost
from lightmel.studies import measured, read_results, recommend, recommend_from
from lightmel.studies.contrasts import Contrasts


@pytest.fixture
def study(labelled_study: Path, tmp_path: Path) -> Path:
    """A copy of the labelled study, to spoil."""
    return Path(shutil.copytree(labelled_study, tmp_path / "study"))


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    plain = json.loads(file.read_text())
    change(plain)
    file.write_text(json.dumps(plain))


def test_a_study_is_read_as_it_was_run(labelled_study: Path) -> None:
    found = read_results(labelled_study)
    assert (found.kind, found.tags, found.tests) == ("labels", ("high", "low"), ("test",))
    assert [(p.name, [r.cell.seed for r in p.runs]) for p in found.points[:2]] == [
        ("narrow-16k-mel96-x1-db", [0, 1]),
        ("narrow-16k-mel96-x2-db", [0, 1]),
    ]
    assert [p.name for p in found.points[-2:]] == ["wide-16k-mel48-x1-db", "wide-16k-mel48-x1-db-uint8"]
    assert (found.missing, found.half, found.changed, found.strangers) == ((), (), {}, ())
    run = found.points[0].runs[0]
    plain = json.loads((run.folder / "result.json").read_text())["evaluations"]["test"]
    assert run.evaluations["test"].roc_auc == plain["roc_auc"]
    with np.load(run.folder / "test.npz") as file:
        assert run.evaluations["test"].clip_scores is not None
        assert np.array_equal(run.evaluations["test"].clip_scores.scores, file["scores"])
    assert run.seconds is not None
    assert run.seconds > 0
    assert run.agreement is None


def test_costs_of_a_point(labelled_study: Path) -> None:
    point = read_results(labelled_study).point("wide-16k-mel48-x1-db-uint8")
    cost = network_cost(point.cell.spec(2))
    assert point.gmac_per_minute == pytest.approx(cost.macs * 120 / 1e9)  # segments of half a second
    assert point.parameters == cost.parameters
    frames = MelConfig(16_000, 48, 1, "db").input_shape(CLIP_SECONDS)[1]
    assert point.clip_bytes == 48 * frames + 8 * 48
    whole = read_results(labelled_study).point("wide-16k-mel48-x1-db")
    assert whole.clip_bytes == 4 * 48 * frames
    with pytest.raises(DataError, match="no run of other"):
        read_results(labelled_study).point("other")


def test_agreement_is_read_with_its_logits(scored_study: Path) -> None:
    found = read_results(scored_study)
    assert (found.kind, found.tests) == ("scores", ("human",))
    run = found.runs[0]
    assert run.held_out is not None
    assert run.held_out.logits.shape == (len(run.held_out.windows), 3)
    assert run.agreement is not None
    assert run.mean_agreement == pytest.approx(np.mean(list(run.agreement.values())))
    with np.load(run.folder / "agreement.npz") as file:
        other = {**file, "weights": np.array("others")}
    copy = run.folder.parent / "copy"
    try:
        copy.mkdir()
        np.savez(copy / "agreement.npz", **other)
        assert type(run)(run.cell, copy, run.weights, {}, None, {}).held_out is None
    finally:
        shutil.rmtree(copy)


def test_what_is_not_there_is_named(study: Path) -> None:
    runs = study / "runs"
    first, second, third, fourth = [f"narrow-16k-mel96-x{x}-db-seed{s}" for x in (1, 2) for s in (0, 1)]
    shutil.rmtree(runs / first)
    (runs / second / "result.json").write_text('{"format": 1, "cell": "')
    edit(runs / third / "result.json", lambda plain: plain["made_of"]["training"].update(epochs=7))
    edit(runs / fourth / "result.json", lambda plain: plain["evaluations"]["test"].pop("roc_auc"))
    shutil.copytree(runs / "narrow-16k-mel48-x1-db-seed0", runs / "older-16k-mel48-x1-db-seed0")
    found = read_results(study)
    assert found.missing == (first,)
    assert found.half == (second, fourth)
    assert found.changed == {third: "training epochs was 7 and is 2"}
    assert found.strangers == ("older-16k-mel48-x1-db-seed0",)
    assert len(found.runs) == 10
    assert "narrow-16k-mel96-x1-db" not in [p.name for p in found.points]


def test_scores_of_other_weights_are_no_scores(study: Path) -> None:
    runs = study / "runs"
    one, other = runs / "narrow-16k-mel96-x1-db-seed0", runs / "narrow-16k-mel96-x1-db-seed1"
    shutil.copy(other / "test.npz", one / "test.npz")
    found = read_results(study).point("narrow-16k-mel96-x1-db")
    assert [own.clip_scores is None for own in found.evaluations("test")] == [True, False]


def test_results_of_another_protocol_are_refused(study: Path) -> None:
    file = study / "runs" / "narrow-16k-mel48-x2-db-seed1" / "result.json"
    edit(file, lambda plain: plain["evaluations"]["test"].update(protocol="another split"))
    with pytest.raises(DataError, match=r"another split.*cannot stand in one table.*again runs anew"):
        read_results(study)


def test_results_of_other_data_are_refused(study: Path) -> None:
    file = study / "runs" / "narrow-16k-mel48-x2-db-seed1" / "result.json"
    edit(file, lambda plain: plain["made_of"].update(data="f" * 64))
    with pytest.raises(DataError, match="are of other data"):
        read_results(study)


def test_a_folder_without_results(study: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no study"):
        read_results(tmp_path)
    shutil.rmtree(study / "runs")
    with pytest.raises(DataError, match="none of its 14 cells is done"):
        read_results(study)


def test_a_study_of_somebodys_front_end_wants_it_registered(study: Path) -> None:
    edit(study / "study.json", lambda plain: plain["cells"][0]["frontend"].update(kind="theirs"))
    with pytest.raises(ConfigError, match="theirs"):
        read_results(study)


# Rows to recommend from.


def test_rows_to_recommend_from(labelled_study: Path) -> None:
    intervals = Intervals(resamples=50)
    rows = measured(labelled_study, intervals=intervals)
    results = read_results(labelled_study)
    assert [(r.network, r.config) for r in rows[-2:]] == [
        ("wide", "16k-mel48-x1-db"),
        ("wide-uint8", "16k-mel48-x1-db"),
    ]
    best = max(rows, key=lambda row: row.roc_auc)
    assert best.loss_interval is None
    assert [row.runs for row in rows] == [2] * 6 + [1] * 2
    assert rows[-1].roc_auc_deviation is None
    values = results.points[0].values("test", "roc_auc")
    assert rows[0].roc_auc_deviation == pytest.approx(np.std(values, ddof=1))
    contrasts = Contrasts(results, intervals)
    top = next(p for p in results.points if (p.network, p.slug) == (best.network, best.config))
    for row, point in zip(rows, results.points, strict=True):
        if point is not top:
            assert row.loss_interval == contrasts.between(top, point, "test", "roc_auc").interval
    found = recommend_from(rows)
    assert found.best is not None
    assert found.best.candidate.roc_auc == best.roc_auc
    assert recommend(labelled_study).best is not None
    with pytest.raises(DataError, match="has no test genres"):
        measured(labelled_study, "genres")


# Differences on the same clips.


def test_an_interval_is_that_of_the_bootstrap(labelled_study: Path) -> None:
    results = read_results(labelled_study)
    one, other = results.points[-2:]
    contrasts = Contrasts(results, Intervals(resamples=200, level=0.9, seed=5))
    for measure in ("roc_auc", "pr_auc"):
        found = contrasts.between(one, other, "test", measure)  # type: ignore[arg-type]
        a, b = (p.evaluations("test")[0].clip_scores for p in (one, other))
        assert a is not None
        assert b is not None
        expected = bootstrap(
            a.truth,
            a.scores,
            a.tags,
            measure,  # type: ignore[arg-type]
            np.random.default_rng(5),
            minus=b.scores,
            resamples=200,
            level=0.9,
        )
        assert found.interval == pytest.approx(expected)
        assert (found.runs, found.over_runs) == ((1, 1), None)
        assert found.value == pytest.approx(one.values("test", measure)[0] - other.values("test", measure)[0])


def test_a_script_that_cannot_be_run(labelled_study: Path, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    with pytest.raises(DataError, match=r"There is no script .*mine\.py"):
        read_results(labelled_study, script=script)
    for text, why in (("a =", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("exit(3)", "SystemExit: 3")):
        script.write_text(text)
        with pytest.raises(DataError, match=why):
            read_results(labelled_study, script=script)
