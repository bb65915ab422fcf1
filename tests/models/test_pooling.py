from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmel.errors import ShapeError
from lightmel.frontends import PAPER_CONFIGS
from lightmel.models import pooling
from lightmel.models.pooling import PoolingPlan, plan

# The paper's table, row by row, so that it can be held against PAPER.md by eye.
FREQ = {
    128: (2, 4, 4, 4),
    96: (2, 4, 3, 4),
    48: (2, 4, 3, 2),
    32: (2, 2, 3, 2),
    24: (2, 2, 3, 2),
    16: (2, 2, 2, 2),
    8: (2, 2, 2, 1),
}
TIME = {
    (12_000, 1): (4, 5, 8, 8),
    (12_000, 2): (4, 5, 8, 4),
    (12_000, 3): (4, 5, 8, 2),
    (12_000, 4): (4, 5, 8, 2),
    (12_000, 5): (4, 5, 8, 1),
    (12_000, 10): (4, 5, 4, 1),
    (16_000, 1): (4, 5, 9, 10),
    (16_000, 2): (4, 5, 9, 5),
    (16_000, 3): (4, 5, 9, 3),
    (16_000, 4): (4, 5, 9, 2),
    (16_000, 5): (4, 5, 9, 2),
    (16_000, 10): (4, 5, 9, 1),
}

SHAPES = st.tuples(st.integers(8, 256), st.integers(1, 10_000))


def walk(size: int, pools: tuple[int, ...]) -> list[int]:
    """Sizes after each pool, as max_pool2d floors them."""
    sizes = []
    for pool in pools:
        size = (size - pool) // pool + 1
        sizes.append(size)
    return sizes


@pytest.mark.parametrize("config", PAPER_CONFIGS, ids=lambda c: c.slug)
def test_the_papers_shapes_get_the_papers_pools(config):
    found = plan(config.input_shape())
    assert found.freq == FREQ[config.n_mels]
    assert found.time == TIME[config.sr, config.hop_factor]
    assert found.sizes[-1] == (1, 1)


@given(SHAPES)
def test_every_shape_ends_at_1x1_with_no_pool_below_one(shape):
    found = plan(shape)
    for size, pools in zip(shape, (found.freq, found.time), strict=True):
        assert len(pools) == 4
        assert min(pools) >= 1
        sizes = walk(size, pools)
        assert min(sizes) >= 1
        assert sizes[-1] == 1


@pytest.mark.parametrize(("axis", "last"), [("bands", 256), ("frames", 10_000)])
def test_no_size_at_all_is_left_without_pools(axis, last):
    paper = pooling.PAPER_FREQ_POOLS if axis == "bands" else pooling.PAPER_TIME_POOLS
    for size in range(1, last + 1):
        pools = pooling._axis_pools(size, axis)
        assert walk(size, pools)[-1] == 1, (size, pools)
        if size not in paper:  # an eighth, or one unit
            assert size - math.prod(pools) <= max(size / 8, 1), (size, pools)


@settings(max_examples=60)
@given(st.sampled_from(["bands", "frames"]), st.integers(1, 600))
def test_later_layers_change_first(axis, size):
    """No plan that keeps more of the first layers stays within what may be left over."""
    known = pooling.PAPER_FREQ_POOLS if axis == "bands" else pooling.PAPER_TIME_POOLS
    pools = pooling._axis_pools(size, axis)
    paper = known[min(known, key=lambda other: (max(size, other) / min(size, other), other))]
    kept = 0
    while kept < 4 and pools[kept] == paper[kept]:
        kept += 1
    if kept == 4:
        return
    more = math.prod(paper[: kept + 1])
    for rest in range(1, size // more + 1):  # any product the later layers could have
        product = more * rest
        fits = product <= size < 2 * product and size - product <= max(size / 8, 1)
        assert not fits or (kept == 3 and rest != 1), (size, pools, paper)


@pytest.mark.parametrize(
    ("axis", "size", "pools"),
    [
        ("frames", 1, (1, 1, 1, 1)),
        ("frames", 2, (2, 1, 1, 1)),
        ("frames", 7, (3, 2, 1, 1)),
        ("frames", 20, (4, 5, 1, 1)),
        ("frames", 188, (4, 5, 9, 1)),
        ("frames", 355, (4, 5, 8, 2)),
        ("frames", 1813, (4, 5, 9, 10)),
        ("frames", 10_000, (4, 5, 9, 55)),
        ("bands", 64, (2, 4, 4, 2)),
        ("bands", 80, (2, 4, 3, 3)),
        ("bands", 256, (2, 4, 4, 8)),
    ],
)
def test_plans_that_are_fixed_because_saved_weights_rest_on_them(axis, size, pools):
    assert pooling._axis_pools(size, axis) == pools


def test_a_shape_of_numpy_integers_is_a_shape():
    assert plan((np.int64(96), np.int32(1366))) == plan([96, 1366])


@pytest.mark.parametrize(
    "shape", [(0, 10), (96, 0), (96, -1), (96,), (1, 2, 3), ("96", 3), (96.5, 3), (None, 1), 7]
)
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\(n_mels, n_frames\)"):
        plan(shape)


@given(SHAPES)
def test_a_plan_explains_itself_in_a_line(shape):
    line = plan(shape).explain()
    assert "\n" not in line
    assert line.startswith(f"{shape[0]}x{shape[1]} -> ")
    assert "-> 1x1: " in line
    assert "nothing padded" in line


def test_an_explanation_names_where_the_pools_come_from():
    assert plan((64, 1366)).explain() == (
        "64x1366 -> 32x341 -> 8x68 -> 2x8 -> 1x1: bands by 2*4*4*2 (the paper's for 48 but for layer 3), "
        "frames by 4*5*8*8 (the paper's); nothing padded, 0 bands and 86 frames left over"
    )


def test_left_over_is_what_no_pool_covers():
    found = plan((97, 1366))
    assert found.left_over == (97 - 96, 1366 - 4 * 5 * 8 * 8)
    assert "1 band and 86 frames" in found.explain()


@pytest.mark.parametrize(
    ("freq", "time", "message"),
    [
        ((2, 4, 3, 2), (4, 5, 8, 8), r"leave 2 of them.*\(2, 4, 3, 4\) would fit"),
        ((2, 4, 3, 8), (4, 5, 8, 8), "leave 0 of them"),
        ((2, 4, 3, 4), (4, 5, 8, 0), "at least 1"),
        ((2, 4, 3, 4), (4, 5, 64), "4 pools over bands and 3"),
    ],
)
def test_pools_that_do_not_fit_are_refused_with_ones_that_do(freq, time, message):
    with pytest.raises(ShapeError, match=message):
        PoolingPlan((96, 1366), freq, time)


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(pooling).failed == 0
