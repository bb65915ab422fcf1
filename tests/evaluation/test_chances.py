"""Slopes and offsets that were put in are found again, and thresholds are those of trying them all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmel.errors import DataError, ShapeError
from lightmel.evaluation import (
    ClipLogits,
    calibration_error,
    expected_f1_thresholds,
    f1_score,
    fit_chances,
    reliability,
    separating_threshold,
)
from lightmel.evaluation.chances import LOWEST_THRESHOLD
from lightmel.evaluation.metrics import FALLBACK_THRESHOLD

SLOPES, OFFSETS = np.array([0.6, 1.8, 1.0, 1.2]), np.array([-1.0, 1.5, 0.0, -2.0])


def made(n_clips: int, seed: int = 0) -> ClipLogits:
    """Logits of four tags: clips of one to five segments, which are alike within a clip."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, n_clips)
    clips = np.repeat(rng.normal(-1.5, 2, (n_clips, 4)), lengths, axis=0)
    return ClipLogits(clips + rng.normal(0, 1, clips.shape), np.append(0, np.cumsum(lengths)[:-1]))


def drawn(clips: ClipLogits, seed: int = 1) -> np.ndarray:
    """Draw what is true by chances of `SLOPES` and `OFFSETS`."""
    rng = np.random.default_rng(seed)
    return (rng.random((len(clips), 4)) < clips.scores(SLOPES, OFFSETS)).astype(float)


def test_scores_are_means_over_the_segments_of_a_clip() -> None:
    clips = ClipLogits(np.array([[0.0], [2.0], [-1.0]]), np.array([0, 2]))
    sigmoid = [1 / (1 + np.exp(-(2 * z + 1))) for z in (0, 2, -1)]
    assert clips.scores(2.0, 1.0)[:, 0] == pytest.approx([(sigmoid[0] + sigmoid[1]) / 2, sigmoid[2]])
    assert clips.take(np.array([1])).logits.tolist() == [[-1.0]]
    turned = clips.take(np.array([1, 0]))
    assert (turned.starts.tolist(), turned.logits[:, 0].tolist()) == ([0, 1], [-1.0, 0.0, 2.0])
    again = ClipLogits.of_scores([1 / (1 + np.exp(-clips.logits[:2])), np.array([[1.0]])])
    assert again.logits[:, 0] == pytest.approx([0.0, 2.0, 30.0], abs=1e-3), "a score of 1 has a finite one"


@pytest.mark.parametrize("starts", [[], [1], [0, 0], [0, 3], [0, 2, 1]])
def test_clips_without_segments_are_refused(starts: list[int]) -> None:
    with pytest.raises(ShapeError, match="row of its first segment"):
        ClipLogits(np.zeros((3, 2)), np.array(starts, dtype=int))


def test_slopes_and_offsets_are_found_again() -> None:
    clips = made(12_000)
    found = fit_chances(clips, drawn(clips))
    assert found.verified.all()
    assert found.slopes == pytest.approx(SLOPES, rel=0.07)
    assert found.offsets == pytest.approx(OFFSETS, abs=0.15)
    new = made(12_000, seed=5)
    errors = (
        calibration_error(drawn(new, 6) > 0.5, found.of(new)),
        calibration_error(drawn(new, 6) > 0.5, new.scores()),
    )
    assert errors[0] < 0.01 < 0.04 < errors[1]


def test_what_is_fitted_is_the_most_likely() -> None:
    """No neighbour is more likely: the likelihood of one tag, whose common values are free."""
    clips = made(60)
    shares = drawn(clips)[:, :1]
    clips = ClipLogits(clips.logits[:, :1], clips.starts)
    found = fit_chances(clips, shares)

    def height(at: np.ndarray) -> float:
        chances = clips.scores(float(np.exp(at[0])), float(at[1]))
        likely = np.log(np.where(shares > 0.5, chances, 1 - chances)).sum()
        return float(likely - (at**2 / (np.array([0.25, 1.0]) ** 2 + np.array([0.5, 3.0]) ** 2)).sum() / 2)

    best = np.array([np.log(found.slopes[0]), found.offsets[0]])
    for step in ((0.05, 0), (-0.05, 0), (0, 0.1), (0, -0.1), (0.05, 0.1), (-0.05, -0.1)):
        assert height(best + step) < height(best)


def test_a_tag_without_labels_has_the_common_values_of_the_others() -> None:
    clips = made(3_000)
    shares = drawn(clips)
    shares[:, 1] = np.nan  # nobody said
    shares[:, 2] = 0  # but two of them: too few
    shares[:2, 2] = 1
    found = fit_chances(clips, shares)
    assert found.labeled.tolist() == [True, False, True, True]
    assert found.verified.tolist() == [True, False, False, True]
    assert found.slopes[1] == found.slope
    assert found.offsets[1] == found.offset
    assert min(found.slopes) < found.slope < max(found.slopes)
    # The mean of three tags, drawn a little to 0: three of spread 1 beside a prior of spread 3.
    assert found.offset == pytest.approx(found.offsets[found.labeled].mean() * 3 / (3 + 1 / 9), abs=1e-3)
    # A tag that is hardly ever true counts: without it, the common chances would be those of frequent tags.
    assert found.offsets[2] < found.offset
    shares[:, 2] = np.nan
    assert fit_chances(clips, shares).offset > found.offset + 0.5
    everywhere = shares.copy()
    everywhere[:, 2] = 1  # of a choice of clips that all have it
    assert fit_chances(clips, everywhere).offset == pytest.approx(fit_chances(clips, shares).offset)
    shares[:, 2] = 0
    shares[:2, 2] = 1
    assert fit_chances(clips, shares, min_positives=2).verified.tolist() == [True, False, True, True]
    with pytest.raises(DataError, match="No tag has 2000 clips that are true and 2000 that are false"):
        fit_chances(clips, shares, min_positives=2_000)
    with pytest.raises(ShapeError, match=r"Shares \(3000, 3\) for 3000 clips and 4 tags"):
        fit_chances(clips, shares[:, :3])


def test_only_clips_with_a_label_count_for_a_tag() -> None:
    clips = made(400)
    shares = drawn(clips)
    shares[200:, 0] = np.nan
    rows = np.arange(200)
    alone = fit_chances(ClipLogits(clips.logits[:, :1], clips.starts).take(rows), shares[rows, :1])
    both = fit_chances(ClipLogits(clips.logits[:, :1], clips.starts), shares[:, :1])
    assert (both.slope, both.offset) == (alone.slope, alone.offset)


def test_three_true_clips_cannot_run_away() -> None:
    """The three are above all others, so that the likelihood alone has no end."""
    logits = np.linspace(-6, 3, 100)[:, None]
    shares = (np.arange(100) >= 97)[:, None].astype(float)
    found = fit_chances(ClipLogits(logits, np.arange(100)), shares)
    assert 1 < found.slopes[0] < 4
    assert 0.01 < found.of(ClipLogits(logits, np.arange(100)))[-1, 0] < 0.99
    turned = fit_chances(ClipLogits(-logits, np.arange(100)), shares)
    assert turned.slopes[0] > 0, "also where the network is wrong"


def tried(chances: list[float]) -> float:
    """Return the lowest chance that is claimed, by trying every threshold; 2 where none should be."""
    best, at = -1.0, 2.0
    for level in sorted(set(chances), reverse=True):
        held = [c for c in sorted(chances, reverse=True) if c >= level]
        f1 = 2 * sum(held) / (len(held) + sum(chances))
        if f1 > best + 1e-12:
            best, at = f1, level
    nothing = float(np.prod([1 - c for c in chances]))
    return 2.0 if nothing >= best else at


@given(st.lists(st.integers(0, 200).map(lambda n: n / 200), min_size=1, max_size=30))
def test_the_threshold_is_that_of_trying_all(chances: list[float]) -> None:
    (found,) = expected_f1_thresholds(np.array(chances)[:, None])
    level = tried(chances)
    if level == 2.0:
        assert found == FALLBACK_THRESHOLD
        assert max(chances) < found, "which claims nothing"
    else:
        claimed = [c for c in chances if c >= found]
        assert claimed == [c for c in chances if c >= max(level, LOWEST_THRESHOLD)]
        assert found >= LOWEST_THRESHOLD
    assert expected_f1_thresholds(np.array(chances[::-1])[:, None]) == (found,)


def test_the_threshold_is_half_of_the_f1_it_reaches() -> None:
    chances = np.random.default_rng(0).beta(0.3, 1.0, 20_000)
    (found,) = expected_f1_thresholds(chances[:, None])
    held = chances >= found
    assert found == pytest.approx(chances[held].sum() / (held.sum() + chances.sum()), abs=1e-3)


def test_a_tag_that_no_clip_has_is_not_claimed_by_all() -> None:
    rng = np.random.default_rng(0)
    one, spread = rng.uniform(0, 0.001, 200), rng.uniform(0, 0.02, 2_000)
    found = expected_f1_thresholds(np.stack([np.resize(one, 2_000) / 10, spread], axis=1))
    assert found == (FALLBACK_THRESHOLD, LOWEST_THRESHOLD)
    assert expected_f1_thresholds(np.zeros((5, 1))) == (FALLBACK_THRESHOLD,)
    assert expected_f1_thresholds(np.ones((5, 1)))[0] <= 1


def test_what_are_no_chances_is_refused() -> None:
    for wrong in (np.array([[1.5]]), np.array([[-0.1]]), np.array([[np.nan]])):
        with pytest.raises(DataError, match="between 0 and 1"):
            expected_f1_thresholds(wrong)
    for shape in ((0, 3), (4,)):
        with pytest.raises(ShapeError, match="a clip at least"):
            expected_f1_thresholds(np.zeros(shape))


SCORES = st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=1, max_size=12)


@given(SCORES, SCORES, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_two_kinds_are_told_apart_as_by_trying_all(
    inside: list[float], outside: list[float], most_missed: float
) -> None:
    found = separating_threshold(np.array(inside), np.array(outside), most_missed)

    def worth(edge: float) -> tuple[bool, float]:
        missed = np.mean(np.array(inside) < edge)
        told = np.mean(np.array(outside) < edge)
        return bool(missed <= most_missed), round(float(1 - missed + told), 9)

    edges = [0.0, 1.0, *(level + 0.025 for level in {*inside, *outside})]
    assert worth(found)[0]
    assert worth(found) == max(worth(edge) for edge in edges)
    assert 0 <= found <= 1


def test_two_kinds_need_one_of_each() -> None:
    for pair in (([], [0.5]), ([0.5], [])):
        with pytest.raises(DataError, match="at least one of each"):
            separating_threshold(*map(np.array, pair))


def test_the_error_of_calibration() -> None:
    truth = np.array([True, False, False, True, True])
    chances = np.array([0.95, 0.05, 0.08, 0.09, 1.0])
    bins = reliability(truth, chances)
    assert [(own.labels, round(own.chance, 4), round(own.true, 4)) for own in bins] == [
        (3, 0.0733, 0.3333),
        (2, 0.975, 1.0),
    ]
    assert calibration_error(truth, chances) == pytest.approx((3 * 0.26 + 2 * 0.025) / 5)
    assert calibration_error(truth, truth.astype(float)) == 0
    assert np.isnan(calibration_error(truth[:0], chances[:0]))
    with pytest.raises(ShapeError, match="for each label"):
        reliability(truth, chances[:2])


def test_f1() -> None:
    truth = np.array([True, True, False, False])
    assert f1_score(truth, np.array([True, False, True, False])) == 0.5
    assert f1_score(~truth & truth, truth) == 0
    assert np.isnan(f1_score(~truth & truth, ~truth & truth))
