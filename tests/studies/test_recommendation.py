"""Which input fits a budget: ranking, losses, sources, and what happens where nothing fits."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lightmel
from lightmel import hub
from lightmel.errors import ConfigError, DataError, LightmelError
from lightmel.models import paper_cost
from lightmel.studies import (
    Limits,
    Recommendation,
    costs_and_accuracies,
    known,
    published_on,
    recommend_from,
    recommendation,
    speed,
)


@dataclass(frozen=True)
class Row:
    """A row of a study, as `lightmel.studies.Measured` has it."""

    config: str
    roc_auc: float
    network: str = "vgg"
    dataset: str = "ours, test"
    pr_auc: float = 0.4
    roc_auc_deviation: float | None = None
    pr_auc_deviation: float | None = None
    runs: int = 1
    loss_interval: tuple[float, float] | None = None
    gmac_per_minute: float | None = None
    parameters: int | None = None
    kb_per_minute: float | None = None
    speed: float | None = None


STUDY = [
    Row("16k-mel96-x1-db", 0.90, gmac_per_minute=27.5, speed=200),
    Row("16k-mel48-x1-db", 0.89, gmac_per_minute=13.7, speed=380, loss_interval=(0.004, 0.016)),
    Row("16k-mel48-x2-db", 0.88, gmac_per_minute=6.8, speed=700),
    Row("16k-mel48-x10-db", 0.86, gmac_per_minute=1.4, speed=2500),
]


def names(found: Recommendation) -> list[str]:
    return [choice.candidate.name for choice in found.choices]


@pytest.fixture(scope="module")
def mtat() -> Recommendation:
    return lightmel.recommend("mtat")


def test_without_limits_all_that_was_published_is_ranked_by_its_accuracy(mtat: Recommendation) -> None:
    rows = {row.name: row for row in published_on("mtat")}
    assert set(names(mtat)) == set(rows)
    accuracies = [rows[name].roc_auc for name in names(mtat)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert mtat.best is not None
    assert mtat.best.candidate.name == "musicnn-16k-mel128-x1-db"
    assert {c.candidate.accuracy_source for c in mtat.choices} == {"the paper, mtat"}
    assert len(mtat.choices) + len(mtat.unknown) == 2 * 88
    assert {c.candidate.accuracy_source for c in mtat.unknown} == {"not known"}
    assert all(c.candidate.roc_auc is None and c.loss is None for c in mtat.unknown)
    assert json.loads(json.dumps(mtat.to_dict(), allow_nan=False))["limits"] == {}


def test_costs_are_those_of_the_networks(mtat: Recommendation) -> None:
    for choice in (*mtat.choices[::7], *mtat.unknown[::29]):
        own = choice.candidate
        config = lightmel.MelConfig.from_slug(own.config)
        row = paper_cost(own.network, config)
        assert own.gmac_per_minute == pytest.approx(60 * row.cost.macs / row.seconds / 1e9)
        assert own.parameters == row.cost.parameters
        assert own.weights_bytes == 4 * row.cost.parameters
        assert own.kb_per_clip == config.clip_bytes() / 1000
        assert own.kb_per_minute == config.clip_bytes(seconds=60.0) / 1000
        assert own.speed is None
        assert own.speed_source == "not known"


def test_losses_have_an_interval_where_the_runs_support_one(mtat: Recommendation) -> None:
    choices = {c.candidate.name: c for c in mtat.choices}
    own = choices["vgg-12k-mel48-x2-db"]
    assert own.loss is not None
    assert own.network_loss is not None
    assert (own.loss.against, own.loss.value) == ("musicnn-16k-mel128-x1-db", 0.0215)
    assert own.loss.interval is None
    assert own.loss.interval_source.startswith("not known (1 run and 3 runs")
    assert (own.network_loss.against, own.network_loss.value) == ("vgg-16k-mel48-x1-db", 0.0064)
    assert own.network_loss.interval_source == "Welch, 3 and 3 runs"
    # By hand: a = .22² / 3, b = .12² / 3 points², sqrt(a + b) = .1447, 3.09 degrees of freedom, t = 3.134.
    assert own.network_loss.interval == pytest.approx((0.0019, 0.0109), abs=5e-5)
    best = choices["vgg-16k-mel48-x1-db"].network_loss
    assert best is not None
    assert (best.value, best.interval) == (0, None)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_gmac_per_minute": 10},
        {"max_kb": 600},
        {"min_roc": 0.891},
        {"min_roc": 0.886, "max_gmac_per_minute": 15, "max_kb": 500},
    ],
)
def test_what_is_recommended_keeps_to_the_limits_and_nothing_else_does(
    mtat: Recommendation, limits: dict[str, float]
) -> None:
    def keeps(own: Any) -> bool:
        return (
            own.gmac_per_minute <= limits.get("max_gmac_per_minute", math.inf)
            and own.kb_per_minute <= limits.get("max_kb", math.inf)
            and (own.roc_auc or 0) >= limits.get("min_roc", 0)
        )

    found = lightmel.recommend("mtat", **limits)  # type: ignore[arg-type]
    every = [c.candidate for c in mtat.choices]
    assert set(names(found)) == {own.name for own in every if keeps(own)} != set()
    unknown = [c.candidate for c in mtat.unknown if keeps(c.candidate)]
    assert {c.candidate.name for c in found.unknown} == {own.name for own in unknown}
    costs = [c.candidate.gmac_per_minute for c in found.choices]
    if "min_roc" in limits:
        assert found.unknown == ()
        assert costs == sorted(costs, key=float)  # type: ignore[arg-type] # good enough: the cheapest first


def test_where_only_what_nobody_measured_fits_the_nearest_is_named() -> None:
    found = lightmel.recommend("mtat", max_gmac_per_minute=5)
    assert found.choices == ()
    assert found.best is None
    assert found.closest is not None
    assert found.closest.candidate.name == "vgg-12k-mel48-x2-db"
    assert found.unknown[0].candidate.name == "vgg-12k-mel48-x10-log"
    assert found.unknown[0].candidate.roc_auc is None


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"min_roc": 0.95},
            r"has ROC AUC at least 0\.95\. The nearest is musicnn-16k-mel128-x1-db: ROC AUC 0\.9083",
        ),
        ({"max_kb": 0.1}, r"The nearest is vgg-12k-mel48-x2-db: .* 270 kB of features"),
        (
            {"max_gmac_per_minute": 8, "min_roc": 0.9},
            r"alone can be kept; together they contradict each other\. The nearest is vgg-16k-mel48-x2-log",
        ),
        ({"max_gmac_per_minute": 1e-9, "min_roc": 0.89}, "Even alone nothing has at most 1e-09 GMAC"),
        ({"min_speed": 5}, "No speed is known of anything on mtat: measure=True"),
        ({"max_gmac_per_minute": 8, "min_roc": 0.9}, "Of 80 cheaper inputs the accuracy is not known"),
    ],
)
def test_a_budget_that_nothing_meets_names_the_nearest(limits: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lightmel.recommend("mtat", **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_gmac_per_minute", "max_kb", "min_speed", "min_roc"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "much", True])
def test_a_limit_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is a number above 0"):
        lightmel.recommend("mtat", **{name: value})


def test_points_are_told_from_a_share() -> None:
    with pytest.raises(ConfigError, match=r"89 points are 0\.89"):
        Limits(min_roc=89)


@pytest.mark.parametrize("name", ["mtatt", "", "no/such/folder", "a\0b"])
def test_an_unknown_data_set_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="dataset is mtat, msd, family, or the folder of a study"):
        lightmel.recommend(name)


def test_the_family_is_ranked_by_what_was_measured_of_it() -> None:
    found = lightmel.recommend("family")
    releases = {r.name: r for r in hub.releases()}
    assert set(names(found)) == {r.name for r in releases.values() if r.roc_auc is not None}
    for choice in found.choices:
        own = choice.candidate
        release = releases[own.name]
        assert (own.roc_auc, own.pr_auc) == (release.roc_auc, release.pr_auc)
        assert own.gmac_per_minute == release.gmac_per_minute
        assert own.weights_bytes == release.bytes
        assert own.accuracy_source == "the family's measured table"
        assert own.roc_auc_interval is not None
        assert choice.loss is not None
        assert choice.loss.interval is None  # no scores of clips are in the package
    assert found.unknown == ()
    with pytest.raises(ConfigError, match="the inputs that they were trained on"):
        lightmel.recommend("family", also=["16k-mel64-x1-db"])


def test_the_family_of_two_protocols_is_no_family(monkeypatch: pytest.MonkeyPatch) -> None:
    first = hub.DEFAULT
    honest = hub.results

    def results(name: str) -> dict[str, Any] | None:
        found = honest(name)
        return found | {"protocol": {"human": "another"}} if found and name == first else found

    monkeypatch.setattr(known.hub, "results", results)
    with pytest.raises(DataError, match=f"{first} and .* are of two protocols"):
        lightmel.recommend("family")


def test_between_two_measured_ones_a_figure_is_interpolated_and_says_so() -> None:
    found = recommend_from(STUDY, source="the study")
    choices = {c.candidate.name: c.candidate for c in found.choices}
    between = {name for name, own in choices.items() if own.between}
    assert between == {f"vgg-16k-mel48-x{hop}-db" for hop in (3, 4, 5)}
    own = choices["vgg-16k-mel48-x4-db"]
    share = math.log(4 / 2) / math.log(10 / 2)
    assert own.roc_auc == pytest.approx(0.88 - share * 0.02)
    assert own.between == ("vgg-16k-mel48-x2-db", "vgg-16k-mel48-x10-db")
    assert own.accuracy_source == (
        "interpolated between vgg-16k-mel48-x2-db and vgg-16k-mel48-x10-db (the study, ours, test)"
    )
    assert own.cost_source == "computed from the network"
    (choice,) = [c for c in found.choices if c.candidate is own]
    assert choice.loss is not None
    assert choice.loss.interval is None
    assert choice.loss.interval_source == "not known: interpolated"
    assert any("of no training" in note for note in found.notes)


def test_nothing_is_interpolated_outside_or_across_another_field() -> None:
    rows = [*STUDY, Row("16k-mel16-x1-log", 0.8), Row("12k-mel48-x3-db", 0.8), Row("16k-mel48-x1-log", 0.8)]
    found = recommend_from(
        rows, also=["16k-mel40-x1-log", "16k-mel12-x1-log", "16k-mel48-x20-db", "16k-mel64-x2-db"]
    )
    known_ones = {c.candidate.config: c.candidate for c in found.choices}
    assert known_ones["16k-mel40-x1-log"].between == ("vgg-16k-mel16-x1-log", "vgg-16k-mel48-x1-log")
    assert {c.candidate.config for c in found.unknown} == {
        "16k-mel12-x1-log",
        "16k-mel48-x20-db",
        "16k-mel64-x2-db",
    }
    assert not [slug for slug in known_ones if slug.startswith("12k") and slug != "12k-mel48-x3-db"]


def test_the_paper_is_interpolated_only_where_it_measured_on_both_sides() -> None:
    found = lightmel.recommend("mtat", also=["16k-mel64-x1-db", "16k-mel64-x3-db"])
    between = {c.candidate.name: c.candidate for c in found.choices if c.candidate.between}
    assert set(between) == {"vgg-16k-mel64-x1-db", "musicnn-16k-mel64-x1-db"}
    own = between["vgg-16k-mel64-x1-db"]
    assert own.between == ("vgg-16k-mel48-x1-db", "vgg-16k-mel96-x1-db")
    assert own.roc_auc == pytest.approx(0.8932 + math.log(64 / 48) / math.log(2) * (0.8912 - 0.8932))
    assert "16k-mel64-x3-db" in {c.candidate.config for c in found.unknown}
    with pytest.raises(ConfigError, match="Did you mean"):
        lightmel.recommend("mtat", also=["16k-mel64-x1-bd"])


def test_a_study_has_its_own_intervals_and_speeds() -> None:
    found = recommend_from(STUDY, limits=Limits(min_speed=300, min_roc=0.885))
    assert names(found) == ["vgg-16k-mel48-x1-db"]
    assert found.best is not None
    loss = found.best.loss
    assert loss is not None
    assert loss.against == "vgg-16k-mel96-x1-db"
    assert loss.interval == (0.004, 0.016)
    assert loss.interval_source == "paired bootstrap over the same test clips"
    assert found.best.candidate.speed_source == "your study"
    with pytest.raises(ConfigError, match=r"The nearest is vgg-16k-mel48-x1-db: .* 380 times real time"):
        recommend_from(STUDY, limits=Limits(min_speed=390, min_roc=0.885))


def test_an_interval_against_the_best_of_all_is_none_against_the_best_of_a_network() -> None:
    rows = [
        Row("16k-mel96-x1-db", 0.92, network="musicnn"),
        Row("16k-mel48-x1-db", 0.90),
        Row("16k-mel24-x1-db", 0.89, loss_interval=(0.02, 0.04)),
    ]
    (own,) = [c for c in recommend_from(rows).choices if c.candidate.config == "16k-mel24-x1-db"]
    assert own.loss is not None
    assert own.network_loss is not None
    assert own.loss.interval == (0.02, 0.04)
    assert own.network_loss.interval is None


def test_runs_of_a_study_give_intervals_too() -> None:
    rows = [
        replace(row, runs=3, roc_auc_deviation=0.002, loss_interval=None, network="own_network")
        for row in STUDY[:2]
    ]
    found = recommend_from(rows)
    loss = found.choices[1].loss
    assert loss is not None
    assert loss.interval is not None
    assert loss.interval[0] < loss.value < loss.interval[1]
    assert found.choices[0].candidate.parameters is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no finished run"),
        (
            [*STUDY, Row("12k-mel48-x1-db", 0.8, dataset="theirs")],
            "ours, test and theirs are not the same protocol",
        ),
        ([*STUDY, STUDY[0]], "vgg-16k-mel96-x1-db stands there twice"),
        ([Row("16k-mel48-x1-db", 89.1)], "lie between 0 and 1"),
        ([Row("16k-mel48-x1-db", math.nan)], "lie between 0 and 1"),
        ([Row("16k-mel48", 0.8)], "16k-mel48"),
    ],
)
def test_rows_that_say_nothing_together_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(LightmelError, match=message):
        recommend_from(rows)


def test_a_folder_is_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def measured(folder: Path) -> list[Row]:
        asked.append(folder)
        return STUDY

    module = ModuleType("lightmel.studies.rows")
    module.measured = measured  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightmel.studies.rows", module)
    found = lightmel.recommend(tmp_path, max_gmac_per_minute=7)
    assert asked == [tmp_path]
    assert found.dataset == str(tmp_path)
    assert names(found)[0] == "vgg-16k-mel48-x2-db"
    assert found.choices[0].candidate.accuracy_source == f"the study {tmp_path}, ours, test"


def test_storage_counts() -> None:
    sizes = [
        recommend_from(STUDY, storage=storage).choices[0].candidate.kb_per_minute
        for storage in ("float32", "float16", "uint8", "uint4")
    ]
    assert sizes[0] == 2 * sizes[1] == 4 * sizes[2] == 8 * sizes[3]  # type: ignore[operator]
    quantised = recommend_from([replace(STUDY[0], kb_per_minute=10.0)]).choices[0].candidate
    assert quantised.kb_per_minute == 10.0
    assert quantised.kb_per_clip == pytest.approx(4.85, abs=0.01)


def test_speed_is_measured_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fake(own: Any) -> tuple[float, str] | None:
        asked.append(own.name)
        return (1000 / own.gmac_per_minute, "measured here") if own.network == "vgg" else None

    monkeypatch.setattr(speed, "measured_speed", fake)
    found = lightmel.recommend("mtat", min_speed=90, measure=True)
    assert all(c.candidate.speed >= 90 for c in found.choices)  # type: ignore[operator]
    assert len(found.choices) == recommendation.MEASURED_FEW
    assert not any(c.candidate.network == "musicnn" for c in found.choices)
    assert asked[0] == "musicnn-16k-mel128-x1-db"
    asked.clear()
    assert lightmel.recommend("mtat", measure=True, max_gmac_per_minute=10).choices
    assert set(asked) == {
        "vgg-16k-mel48-x2-log",
        "vgg-16k-mel48-x2-db",
        "vgg-12k-mel48-x2-log",
        "vgg-12k-mel48-x2-db",
    }


def test_a_real_measurement_is_a_number() -> None:
    (best, *_) = lightmel.recommend("family", max_gmac_per_minute=0.1, measure=True).choices
    assert best.candidate.speed is not None
    assert best.candidate.speed > 1
    assert best.candidate.speed_source == "measured here, ONNX Runtime"
    (cheap, *_) = lightmel.recommend("mtat", max_gmac_per_minute=5.2, measure=True).choices
    assert cheap.candidate.speed is not None
    assert cheap.candidate.speed > 1
    assert cheap.candidate.speed_source == "measured here, torch, random weights"


def test_costs_stand_beside_accuracies(tiny: Any, tmp_path: Path) -> None:
    found = {
        name: [(own.dataset, own.source) for own in accuracies]
        for name in (
            hub.DEFAULT,
            "vgg-16k-mel48-x1-db",
            "vgg-small-16k-mel48-x1-db",
            "musicnn-pons-16k-mel48-x1-db",
            "vgg-16k-mel48-x10-db",
            "mtat-musicnn-small-16k-mel48-x2-db",
        )
        for _, accuracies in costs_and_accuracies(name)
    }
    assert found == {
        hub.DEFAULT: [("family", "the family's measured table")],
        "vgg-16k-mel48-x1-db": [("mtat", "the paper"), ("msd", "the paper")],
        "vgg-small-16k-mel48-x1-db": [],
        "musicnn-pons-16k-mel48-x1-db": [],
        "vgg-16k-mel48-x10-db": [],
        "mtat-musicnn-small-16k-mel48-x2-db": [],
    }
    # A file that calls itself as a tagger of the package does is not that one.
    file = tmp_path / "own.safetensors"
    tiny(0, name=hub.DEFAULT).save(file)
    ((_, accuracies),) = costs_and_accuracies(str(file))
    assert accuracies == ()
    assert len(costs_and_accuracies()) == 2 * 88
    assert sum(len(own) for _, own in costs_and_accuracies()) == 59
