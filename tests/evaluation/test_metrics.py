from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest

from lightmel.errors import ConfigError, DataError, ShapeError
from lightmel.evaluation import (
    bootstrap,
    correlation,
    fit_thresholds,
    macro,
    metrics,
    pr_auc,
    rankable,
    resampled,
    roc_auc,
    shared_top,
    wilson,
)
from lightmel.evaluation.metrics import FALLBACK_THRESHOLD

SCORES = hnp.arrays(np.float64, (7, 3), elements=st.integers(0, 8).map(lambda n: n / 8))


def auc_by_pairs(truth: np.ndarray, scores: np.ndarray) -> float:
    """The part of pairs (true, false) in the right order, a tie counting half."""
    wins = [1.0 if t > f else 0.5 if t == f else 0.0 for t in scores[truth] for f in scores[~truth]]
    return sum(wins) / len(wins)


@given(hnp.arrays(np.bool_, (7, 3)), SCORES)
def test_roc_auc_is_the_part_of_pairs_in_order(truth: np.ndarray, scores: np.ndarray) -> None:
    found = roc_auc(truth, scores, ["a", "b", "c"])
    measured = [i for i in range(3) if 0 < truth[:, i].sum() < 7]
    assert list(found) == ["abc"[i] for i in measured]
    for i in measured:
        assert found["abc"[i]] == pytest.approx(auc_by_pairs(truth[:, i], scores[:, i]))


def test_tags_with_too_few_true_clips_are_left_out() -> None:
    truth = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]], dtype=bool)
    scores = np.linspace(0, 1, 16).reshape(4, 4)
    assert list(roc_auc(truth, scores, list("abcd"))) == ["a", "d"]
    assert list(roc_auc(truth, scores, list("abcd"), min_positives=2)) == ["d"]
    assert list(roc_auc(truth, scores, list("abcd"), min_positives=0)) == ["a", "d"]


def test_what_can_be_ranked_has_true_and_false_clips() -> None:
    truth = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0]], dtype=bool)
    assert rankable(truth) == [0, 3]
    assert rankable(truth, 2) == [3]
    assert rankable(truth, 0) == [0, 3], "one true clip in any case"
    assert rankable(truth[:0]) == []


def test_roc_auc_wants_a_name_for_every_column() -> None:
    truth = np.array([[True, False], [False, True]])
    with pytest.raises(ShapeError, match="2 tags want as many names, not 3"):
        roc_auc(truth, truth.astype(float), ["a", "b", "c"])


@given(SCORES, SCORES, st.sampled_from([0, 1]))
def test_correlation_is_numpys(a: np.ndarray, b: np.ndarray, axis: int) -> None:
    found = correlation(a, b, axis)
    x, y = (a.T, b.T) if axis == 0 else (a, b)
    assert found.shape == (len(x),)
    for value, row, other in zip(found, x, y, strict=True):
        if np.ptp(row) == 0 or np.ptp(other) == 0:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(np.corrcoef(row, other)[0, 1], abs=1e-9)


@pytest.mark.parametrize("constant", [0.1, 0.3, 1 / 3, 0.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_column_has_no_correlation_however_its_mean_rounds(constant: float, dtype: type) -> None:
    flat = np.full((3, 1), constant, dtype=dtype)
    rising = np.arange(3, dtype=dtype)[:, None]
    assert np.isnan(correlation(flat, rising)).all()
    assert np.isnan(correlation(rising, flat)).all()


def test_correlation_of_tiny_scores_is_not_lost() -> None:
    a = np.array([[1e-6], [2e-6], [4e-6]], dtype=np.float32)
    assert correlation(a, 3 * a + 1e-7)[0] == pytest.approx(1)
    assert correlation(a, -a)[0] == pytest.approx(-1)


def test_shared_top_counts_the_best_of_each_row() -> None:
    a = np.array([[0.9, 0.8, 0.1, 0.0], [0.0, 0.1, 0.8, 0.9]])
    b = np.array([[0.8, 0.9, 0.0, 0.1], [0.9, 0.0, 0.1, 0.8]])
    assert shared_top(a, a, 2) == 2
    assert shared_top(a, b, 2) == 1.5
    assert shared_top(a, 1 - a, 2) == 0
    assert shared_top(a, b, 9) == 4  # more than there are: all of them


def test_shared_top_breaks_ties_by_the_tags_order() -> None:
    flat = np.zeros((1, 6))
    rising = np.array([[6.0, 5, 4, 3, 2, 1]])
    assert shared_top(flat, rising, 3) == 3


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((3,), (3,)), ((2, 3), (2, 3, 1))])
def test_scores_of_different_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = (np.zeros(s) for s in shapes)
    with pytest.raises(ShapeError, match=r"\(clips, tags\)"):
        correlation(a, b)
    with pytest.raises(ShapeError, match=r"\(clips, tags\)"):
        shared_top(a, b)
    with pytest.raises(ShapeError, match=r"\(clips, tags\)"):
        roc_auc(a > 0, b, ["a", "b", "c"])


# PR AUC


def precision_over_recall(truth: np.ndarray, scores: np.ndarray) -> float:
    """Average precision by its definition: each distinct score is a threshold, tags at it count together."""
    area = found = 0.0
    for level in sorted(set(scores.tolist()), reverse=True):
        above = scores >= level
        hits = float((above & truth).sum())
        area += (hits - found) / truth.sum() * hits / above.sum()
        found = hits
    return area


@given(hnp.arrays(np.bool_, (7, 3)), SCORES)
def test_pr_auc_is_the_area_under_precision_over_recall(truth: np.ndarray, scores: np.ndarray) -> None:
    found = pr_auc(truth, scores, ["a", "b", "c"])
    assert list(found) == list(roc_auc(truth, scores, ["a", "b", "c"]))  # both measure the same tags
    for tag, value in found.items():
        i = "abc".index(tag)
        assert value == pytest.approx(precision_over_recall(truth[:, i], scores[:, i]))


def test_the_macro_average_counts_each_tag_once() -> None:
    assert macro({"a": 0.5, "b": 1.0}) == 0.75
    assert math.isnan(macro({}))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_by_clip_and_tag(bad: float) -> None:
    truth = np.array([[True, False], [False, True], [True, True]])
    scores = np.full((3, 2), 0.5)
    scores[2, 1] = bad
    rng = np.random.default_rng(0)
    for call in (
        lambda: roc_auc(truth, scores, ["a", "b"]),
        lambda: pr_auc(truth, scores, ["a", "b"]),
        lambda: bootstrap(truth, scores, ["a", "b"], "pr_auc", rng),
    ):
        with pytest.raises(DataError, match="clip 2, b,"):
            call()
    with pytest.raises(DataError, match="clip 2, tag 1,"):
        fit_thresholds(truth, scores)


# Intervals


def noisy(seed: int, clips: int = 60, tags: int = 3, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, tags)) < 0.3
    truth[:2] = [[True], [False]]
    return truth, np.round(truth + noise * rng.standard_normal(truth.shape), 1)  # rounded: there are ties


@pytest.mark.parametrize(("name", "measure"), [("roc_auc", roc_auc), ("pr_auc", pr_auc)])
def test_an_interval_is_that_of_scikit_learns_measure_on_the_same_clips(name: str, measure: object) -> None:
    truth, scores = noisy(1, clips=12)
    rng = np.random.default_rng(7)
    values = []
    for _ in range(40):
        rows = rng.integers(12, size=12)
        values.append(macro(measure(truth[rows], scores[rows], ["a", "b", "c"])))  # type: ignore[operator]
    wanted = np.nanquantile(values, [0.05, 0.95])
    found = bootstrap(truth, scores, ["a", "b", "c"], name, np.random.default_rng(7), resamples=40, level=0.9)
    assert found == pytest.approx(tuple(wanted), abs=1e-12)


def test_an_interval_does_not_depend_on_how_many_resamples_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, scores = noisy(2)
    found = []
    for chunk in (1, 60 * 7, 10**6):
        monkeypatch.setattr(metrics, "_CHUNK", chunk)
        found.append(
            bootstrap(truth, scores, ["a", "b", "c"], "pr_auc", np.random.default_rng(0), resamples=50)
        )
    assert found[0] == pytest.approx(found[2], abs=1e-12)
    assert found[1] == pytest.approx(found[2], abs=1e-12)


def test_an_interval_narrows_with_more_clips_and_holds_the_value() -> None:
    widths = []
    for clips in (50, 800):
        truth, scores = noisy(3, clips=clips)
        low, high = bootstrap(truth, scores, ["a", "b", "c"], "roc_auc", np.random.default_rng(0))
        assert low < macro(roc_auc(truth, scores, ["a", "b", "c"])) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2  # a quarter, were it exact: 16 times as many clips


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Normal scores a unit apart have an ROC AUC of Phi(1 / sqrt 2) = .7602."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = np.arange(120)[:, None] % 3 == 0
        scores = truth + rng.standard_normal(truth.shape)
        low, high = bootstrap(truth, scores, ["a"], "roc_auc", rng, resamples=100, level=0.8)
        covered += low <= 0.7602 <= high
    assert 140 <= covered <= 178  # 160 wanted, give or take three deviations of 5.7


def test_a_tag_that_loses_its_only_clip_is_left_out_of_that_resample() -> None:
    truth = np.zeros((30, 2), dtype=bool)
    truth[0, 0], truth[:15, 1] = True, True
    scores = np.where(truth, 0.0, 1.0)
    scores[:, 0] = 1 - scores[:, 0]  # the rare tag is ranked without a fault, the other all wrong
    low, high = bootstrap(truth, scores, ["rare", "other"], "roc_auc", np.random.default_rng(0))
    assert (low, high) == (0.0, 0.5)  # without the rare tag, and with it


@pytest.mark.parametrize(("name", "measure"), [("roc_auc", roc_auc), ("pr_auc", pr_auc)])
def test_whole_groups_are_drawn_and_differences_are_of_the_same_draw(name: str, measure: object) -> None:
    truth, scores = noisy(4, clips=14)
    _, other = noisy(5, clips=14)
    groups = ["b", "a", "c", "a", "d", "d", "b", "e", "c", "c", "f", "g", "a", "b"]
    rows_of = {g: [i for i, own in enumerate(groups) if own == g] for g in dict.fromkeys(groups)}
    names, tags = list(rows_of), ["a", "b", "c"]
    rng = np.random.default_rng(7)
    own, less = [], []
    for _ in range(40):
        rows = [row for i in rng.integers(len(names), size=len(names)) for row in rows_of[names[i]]]
        mine, theirs = (macro(measure(truth[rows], s[rows], tags)) for s in (scores, other))  # type: ignore[operator]
        own.append(mine)
        less.append(mine - theirs)
    for minus, wanted in ((None, own), (other, less)):
        found = bootstrap(
            truth,
            scores,
            tags,
            name,
            np.random.default_rng(7),
            minus=minus,
            groups=groups,
            resamples=40,
            level=0.9,
        )
        assert found == pytest.approx(tuple(np.nanquantile(wanted, [0.05, 0.95])), abs=1e-12)


def test_groups_of_one_clip_are_clips_and_repeated_clips_are_one() -> None:
    truth, scores = noisy(6, clips=20)
    tags = ["a", "b", "c"]

    def interval(times: int, groups: list[int] | None) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        return bootstrap(truth.repeat(times, 0), scores.repeat(times, 0), tags, "roc_auc", rng, groups=groups)

    plain = interval(1, None)
    assert interval(1, [*range(20)]) == plain
    assert interval(4, [i // 4 for i in range(80)]) == pytest.approx(plain), "copies tell nothing new"
    low, high = interval(4, None)
    assert high - low < 0.7 * (plain[1] - plain[0])


def test_a_tagger_differs_from_itself_by_nothing_and_pairing_narrows() -> None:
    truth, scores = noisy(8)
    tags = ["a", "b", "c"]
    rng = np.random.default_rng(0)
    assert bootstrap(truth, scores, tags, "pr_auc", rng, minus=scores.copy()) == (0.0, 0.0)
    near = scores + 0.2 * rng.standard_normal(scores.shape)
    own, less = (
        bootstrap(truth, scores, tags, "pr_auc", np.random.default_rng(0), minus=other)
        for other in (None, near)
    )
    assert less[1] - less[0] < (own[1] - own[0]) / 2


@pytest.mark.parametrize("groups", [None, [i // 3 for i in range(60)]])
def test_resampled_values_are_those_of_the_bootstrap(groups: list[int] | None) -> None:
    truth, scores = noisy(8)
    other = noisy(9)[1]
    tags = ["a", "b", "c"]
    own, less = (
        resampled(truth, s, tags, np.random.default_rng(4), groups=groups, resamples=50)
        for s in (scores, other)
    )
    for measure, a, b in zip(("roc_auc", "pr_auc"), own, less, strict=True):
        assert a.shape == (50, 3)
        expected = bootstrap(
            truth,
            scores,
            tags,
            measure,  # type: ignore[arg-type]
            np.random.default_rng(4),
            minus=other,
            groups=groups,
            resamples=50,
        )
        assert np.quantile((a - b).mean(axis=1), [0.025, 0.975]) == pytest.approx(expected)


def test_groups_and_other_scores_that_do_not_fit_are_refused() -> None:
    truth, scores = noisy(0)
    rng = np.random.default_rng(0)
    with pytest.raises(ShapeError, match="60 clips want as many groups, not 2"):
        bootstrap(truth, scores, ["a", "b", "c"], "roc_auc", rng, groups=["x", "y"])
    with pytest.raises(ConfigError, match="one group"):
        bootstrap(truth, scores, ["a", "b", "c"], "roc_auc", rng, groups=["x"] * 60)
    with pytest.raises(ShapeError, match=r"\(clips, tags\)"):
        bootstrap(truth, scores, ["a", "b", "c"], "roc_auc", rng, minus=scores[1:])


def test_without_a_tag_to_measure_there_is_no_interval() -> None:
    truth = np.zeros((5, 2), dtype=bool)
    truth[:, 1] = True
    found = bootstrap(truth, np.ones((5, 2)), ["none", "all"], "roc_auc", np.random.default_rng(0))
    assert all(math.isnan(end) for end in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 0}, "at least 1"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": 0.0}, "between 0 and 1"),
    ],
)
def test_a_bootstrap_that_cannot_be_is_refused(options: dict[str, float], message: str) -> None:
    truth, scores = noisy(0)
    with pytest.raises(ConfigError, match=message):
        bootstrap(truth, scores, ["a", "b", "c"], "roc_auc", np.random.default_rng(0), **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'roc_auc' or 'pr_auc', not 'f1'"):
        bootstrap(truth, scores, ["a", "b", "c"], "f1", np.random.default_rng(0))  # type: ignore[arg-type]


# Thresholds


def f1(truth: np.ndarray, held: np.ndarray) -> float:
    return float(2 * (truth & held).sum() / (truth.sum() + held.sum()))


@given(hnp.arrays(np.bool_, (7, 3)), SCORES)
def test_no_other_threshold_gives_a_higher_f1(truth: np.ndarray, scores: np.ndarray) -> None:
    for i, threshold in enumerate(fit_thresholds(truth, scores)):
        if not truth[:, i].any():
            assert threshold == FALLBACK_THRESHOLD
            continue
        own = f1(truth[:, i], scores[:, i] >= threshold)
        others = {level: f1(truth[:, i], scores[:, i] >= level) for level in set(scores[:, i].tolist())}
        assert own == pytest.approx(max(others.values()))
        # Of equals the highest, that is the one that claims least.
        assert all(
            value < own - 1e-12
            for level, value in others.items()
            if level > threshold and (scores[:, i] >= level).sum() < (scores[:, i] >= threshold).sum()
        )


def test_a_threshold_lies_half_way_between_two_scores() -> None:
    truth = np.array([[True], [True], [False], [False]])
    assert fit_thresholds(truth, np.array([[0.9], [0.6], [0.2], [0.1]])) == pytest.approx((0.4,))
    assert fit_thresholds(truth, np.array([[0.9], [0.1], [0.9], [0.9]])) == pytest.approx(
        (0.05,)
    )  # 0 is below


def test_a_threshold_between_neighbouring_floats_keeps_the_lower_one_out() -> None:
    low = 0.3
    high = math.nextafter(low, 1)
    (threshold,) = fit_thresholds(np.array([[True], [False]]), np.array([[high], [low]]))
    assert low < threshold <= high


def test_a_tag_of_every_clip_holds_for_every_clip() -> None:
    scores = np.array([[0.2], [0.7]])
    (threshold,) = fit_thresholds(np.ones((2, 1), dtype=bool), scores)
    assert (scores >= threshold).all()


def test_one_clip_of_one_tag_is_enough_to_fit() -> None:
    assert fit_thresholds(np.array([[True]]), np.array([[0.4]])) == (0.2,)
    assert fit_thresholds(np.array([[False]]), np.array([[0.4]])) == (FALLBACK_THRESHOLD,)


@pytest.mark.parametrize(
    ("successes", "trials", "interval"),
    [
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (15, 20, (0.5313, 0.8881)),
        (75, 100, (0.6569, 0.8245)),
    ],
)
def test_wilsons_interval_is_the_published_one(
    successes: int, trials: int, interval: tuple[float, float]
) -> None:
    found = wilson(successes, trials)
    assert found == pytest.approx(interval, abs=1e-4)
    oracle = binomtest(successes, trials).proportion_ci(method="wilson")
    assert found == pytest.approx((oracle.low, oracle.high), abs=1e-9)
