"""Differences between the points of a study: paired, over runs, by tags; and the paper's claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind

from lightmel.distillation import TeacherScores
from lightmel.errors import DataError
from lightmel.evaluation import Intervals, bootstrap, compare_runs
from lightmel.studies import open_data, read_results
from lightmel.studies.answers import CLAIMS, answers
from lightmel.studies.contrasts import HELD_OUT, Contrasts, pairs, reference
from lightmel.studies.rows import measured

TAGS = ("rock", "guitar", "voice", "female voice")

Written = Callable[..., Path]


def worse_in_time(slug: str, seed: int) -> float:
    """Bands cost nothing at all, frames much."""
    return {"x1": 0.3, "x2": 0.8, "x5": 1.0, "x10": 1.2}[slug.split("-")[2]]


def test_differences_over_runs_and_clips(written: Written) -> None:
    study = written(lambda slug, seed: worse_in_time(slug, seed) + 0.05 * seed, seeds=(0, 1, 2))
    results = read_results(study)
    one, other = results.point("vgg-16k-mel96-x1-db"), results.point("vgg-16k-mel96-x2-db")
    found = Contrasts(results, Intervals(resamples=100)).between(one, other, "test", "roc_auc")
    expected = compare_runs(
        {"other": other.evaluations("test"), "one": one.evaluations("test")}, resamples=100
    ).differences[0]
    assert (found.value, found.interval) == (pytest.approx(expected.value), pytest.approx(expected.interval))
    assert found.runs == (3, 3)
    assert found.over_runs is not None
    assert found.over_runs.student_p == pytest.approx(expected.p_value)
    samples = one.values("test", "roc_auc"), other.values("test", "roc_auc")
    assert found.over_runs.welch_p == pytest.approx(ttest_ind(*samples, equal_var=False).pvalue)


def test_some_tags_are_compared_alone(written: Written) -> None:
    results = read_results(written(worse_in_time))
    contrasts = Contrasts(results, Intervals(resamples=100))
    assert contrasts.scopes("test") == {
        "genre": ("rock",),
        "instrument": ("guitar",),
        "voice": ("voice", "female voice"),
    }
    one, other = results.point("vgg-16k-mel96-x1-db"), results.point("vgg-16k-mel96-x2-db")
    found = contrasts.between(one, other, "test", "pr_auc", ("voice", "female voice"))
    a, b = (p.evaluations("test")[0].clip_scores for p in (one, other))
    assert a is not None
    assert b is not None
    expected = bootstrap(
        a.truth[:, 2:],
        a.scores[:, 2:],
        TAGS[2:],
        "pr_auc",
        np.random.default_rng(0),
        minus=b.scores[:, 2:],
        resamples=100,
    )
    assert (found.tags, found.interval) == (2, pytest.approx(expected))
    alone = contrasts.between(one, other, "test", "pr_auc", ("voice",))  # a tag, and the name of a kind
    assert alone.value == pytest.approx(
        one.evaluations("test")[0].pr_auc["voice"] - other.evaluations("test")[0].pr_auc["voice"]
    )


def test_without_scores_there_is_no_interval(written: Written) -> None:
    study = written(worse_in_time)
    (study / "runs" / "vgg-16k-mel96-x2-db-seed0" / "test.npz").unlink()
    results = read_results(study)
    contrasts = Contrasts(results, Intervals(resamples=20))
    one, other = results.point("vgg-16k-mel96-x1-db"), results.point("vgg-16k-mel96-x2-db")
    assert contrasts.between(one, other, "test", "roc_auc").interval is None
    found = answers(contrasts, "test")
    assert [own.over_clips is None for own in found] == [True, True, False]
    assert [own.verdict for own in found[:2]] == ["not decidable"] * 2
    assert found[0].why == "the scores of the clips are not at hand"


def test_what_points_are_compared_with(written: Written) -> None:
    points = read_results(written(worse_in_time)).points
    by = {point.slug: point for point in points}
    assert reference(by["16k-mel48-x5-db"], points) is by["16k-mel96-x1-db"]
    assert reference(by["12k-mel96-x2-log"], points) is by["12k-mel96-x1-log"]
    assert (
        reference(by["12k-mel96-x2-log"], [p for p in points if p.slug != "12k-mel96-x1-log"])
        is (by["12k-mel48-x1-log"])
    )
    assert reference(by["12k-mel96-x2-log"], [by["12k-mel96-x2-log"]]) is None
    assert [(a.slug, b.slug) for a, b in pairs(points, CLAIMS[2].change)] == [
        ("16k-mel96-x1-db", "16k-mel96-x10-db"),
        ("16k-mel48-x1-db", "16k-mel48-x10-db"),
    ]


def test_points_that_were_trained_otherwise_make_no_pair(written: Written) -> None:
    points = read_results(written(worse_in_time)).points
    (before, after), *rest = pairs(points, CLAIMS[2].change)
    run = after.runs[0]
    longer = replace(run.cell, training=replace(run.cell.training, epochs=99))
    other = replace(after, runs=(replace(run, cell=longer),))
    points = tuple(other if point is after else point for point in points)
    assert pairs(points, CLAIMS[2].change) == rest
    assert reference(other, points) is not reference(after, points)
    assert before in points


def test_claims_are_answered(written: Written) -> None:
    results = read_results(written(worse_in_time))
    found = answers(Contrasts(results, Intervals(resamples=100)), "test")
    bands, double, tenfold = found
    # The scores of 48 bands are those of 96: nothing is lost, by no clip and in no pair.
    assert (bands.pairs, bands.loss, bands.interval, bands.verdict) == (6, 0.0, (0.0, 0.0), "borne out")
    assert double.loss > 0.1
    assert (double.pairs, double.verdict) == (4, "not borne out")
    assert (tenfold.pairs, tenfold.verdict) == (2, "not decidable")
    assert "fewer than 3 pairs" in tenfold.why


def test_seeds_widen_an_interval(written: Written) -> None:
    study = written(lambda slug, seed: worse_in_time(slug, seed) * (1 + 0.2 * seed), seeds=(0, 1))
    results = read_results(study)
    contrasts = Contrasts(results, Intervals(resamples=100))
    spread = contrasts.spread("test", "roc_auc")
    variances = [np.var(p.values("test", "roc_auc"), ddof=1) for p in results.points]
    assert spread is not None
    assert (spread.freedom, spread.points) == (12, 12)
    assert spread.value == pytest.approx(np.sqrt(np.mean(variances)))
    (tenfold,) = [own for own in answers(contrasts, "test") if own.claim is CLAIMS[2]]
    half = student.ppf(0.975, 12) * spread.value * np.sqrt(4 / 2) / 2  # two pairs of points of two runs
    assert tenfold.over_clips is not None
    assert tenfold.interval is not None
    assert tenfold.loss - tenfold.interval[0] == pytest.approx(
        np.hypot(tenfold.loss - tenfold.over_clips[0], half)
    )
    assert "deviation over the runs of 12 points" in tenfold.why


# The agreement with teachers.


def test_agreement_is_compared_on_the_same_groups(scored_study: Path, scores: Path) -> None:
    results = read_results(scored_study)
    contrasts = Contrasts(results, Intervals(resamples=30, seed=2), open_data(scores))
    one, other = results.points[:2]
    found = contrasts.between(one, other, HELD_OUT, "agreement")
    assert contrasts.grouped(HELD_OUT) == 4
    assert one.runs[0].mean_agreement is not None
    assert other.runs[0].mean_agreement is not None
    assert found.value == pytest.approx(one.runs[0].mean_agreement - other.runs[0].mean_agreement)
    # The same with np.corrcoef, window by window.
    teachers = TeacherScores.open(scores)
    targets = teachers.targets().numpy()
    rng = np.random.default_rng(2)
    draws = []
    held = one.runs[0].held_out
    assert held is not None
    theirs = targets[held.windows]
    groups = np.array([teachers.clips[i].group for i in teachers.windows()[held.windows, 0]])
    names = list(dict.fromkeys(groups))
    for _ in range(30):
        rows = np.concatenate([np.flatnonzero(groups == names[i]) for i in rng.integers(4, size=4)])
        values = []
        for point in (one, other):
            own = point.runs[0].held_out
            assert own is not None
            values.append(
                np.mean(
                    [
                        np.corrcoef(own.logits[rows, tag].astype(float), theirs[rows, tag])[0, 1]
                        for tag in range(3)
                    ]
                )
            )
        draws.append(values[0] - values[1])
    assert found.interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-6)


def test_agreement_without_the_teachers_has_no_interval(scored_study: Path) -> None:
    results = read_results(scored_study)
    found = Contrasts(results).between(*results.points[:2], HELD_OUT, "agreement")
    assert found.interval is None
    assert Contrasts(results).grouped(HELD_OUT) is None


def test_groups_of_a_test_are_drawn_whole(scored_study: Path, scores: Path) -> None:
    results = read_results(scored_study)
    clips = results.evaluation("human").clip_scores
    assert clips is not None
    with_groups = Contrasts(results, Intervals(resamples=50), open_data(scores))
    assert with_groups.grouped("human") == 4
    assert Contrasts(results).grouped("human") is None
    one, other = results.points[:2]
    a, b = (p.evaluations("human")[0].clip_scores for p in (one, other))
    assert a is not None
    assert b is not None
    group = {clip.path: clip.group for clip in TeacherScores.open(scores).clips}
    expected = bootstrap(
        a.truth,
        a.scores,
        a.tags,
        "roc_auc",
        np.random.default_rng(0),
        minus=b.scores,
        groups=[group[path] for path in a.paths],
        resamples=50,
    )
    assert with_groups.between(one, other, "human", "roc_auc").interval == pytest.approx(expected)
    # What is recommended from has the report's intervals.
    rows = measured(scored_study, "human", Intervals(resamples=50))
    best = next(p for p, row in zip(results.points, rows, strict=True) if row.loss_interval is None)
    for point, row in zip(results.points, rows, strict=True):
        if point is not best:
            assert row.loss_interval == with_groups.between(best, point, "human", "roc_auc").interval


def test_other_data_are_refused(labelled_study: Path, scores: Path, clips: Path) -> None:
    results = read_results(labelled_study)
    with pytest.raises(DataError, match="is not what"):
        Contrasts(results, None, open_data(scores))
    assert Contrasts(results, None, open_data(clips)).grouped("test") == 8
