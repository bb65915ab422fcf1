from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightmel.errors import ShapeError
from lightmel.metrics import correlation, roc_auc, shared_top

SCORES = hnp.arrays(np.float64, (7, 3), elements=st.integers(0, 8).map(lambda n: n / 8))


def auc_by_pairs(truth: np.ndarray, scores: np.ndarray) -> float:
    """The part of pairs (true, false) in the right order, a tie counting half."""
    wins = [1.0 if t > f else 0.5 if t == f else 0.0 for t in scores[truth] for f in scores[~truth]]
    return sum(wins) / len(wins)


@given(hnp.arrays(np.bool_, (7, 3)), SCORES)
def test_roc_auc_is_the_part_of_pairs_in_order(truth: np.ndarray, scores: np.ndarray) -> None:
    found = roc_auc(truth, scores, ["a", "b", "c"])
    judged = [i for i in range(3) if 0 < truth[:, i].sum() < 7]
    assert list(found) == ["abc"[i] for i in judged]
    for i in judged:
        assert found["abc"[i]] == pytest.approx(auc_by_pairs(truth[:, i], scores[:, i]))


def test_tags_with_too_few_true_clips_are_left_out() -> None:
    truth = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]], dtype=bool)
    scores = np.linspace(0, 1, 16).reshape(4, 4)
    assert list(roc_auc(truth, scores, list("abcd"))) == ["a", "d"]
    assert list(roc_auc(truth, scores, list("abcd"), min_positives=2)) == ["d"]
    assert list(roc_auc(truth, scores, list("abcd"), min_positives=0)) == ["a", "d"]


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
