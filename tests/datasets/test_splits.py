from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmel.datasets.splits import partition
from lightmel.errors import DataError

PARTS = (0.8, 0.1, 0.1)


@given(
    seed=st.integers(0, 5),
    sizes=st.lists(st.integers(1, 6), min_size=3, max_size=30),
    n_tags=st.integers(1, 6),
    data=st.randoms(use_true_random=False),
)
def test_groups_stay_whole_no_part_is_empty_and_the_order_of_clips_is_nothing(
    seed: int, sizes: list[int], n_tags: int, data: object
) -> None:
    groups = [f"g{i}" for i, n in enumerate(sizes) for _ in range(n)]
    rng = np.random.default_rng(data.getrandbits(32))  # type: ignore[attr-defined]
    labels = rng.random((len(groups), n_tags)) < 0.3
    found = partition(groups, labels, PARTS, seed)
    assert set(found) == {0, 1, 2}
    assert all(len({p for g, p in zip(groups, found, strict=True) if g == name}) == 1 for name in groups)
    shuffled = rng.permutation(len(groups))
    again = partition([groups[i] for i in shuffled], labels[shuffled], PARTS, seed)
    np.testing.assert_array_equal(again, found[shuffled])


def test_shares_are_kept_for_clips_and_for_each_tag() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((2_000, 8)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
    found = partition([f"g{i % 500}" for i in range(2_000)], labels, PARTS, 0)
    for part, share in enumerate(PARTS):
        assert (found == part).mean() == pytest.approx(share, abs=0.02)
        np.testing.assert_allclose(labels[found == part].sum(0) / labels.sum(0), share, atol=0.12)


def test_a_tag_of_three_groups_comes_into_each_part() -> None:
    labels = np.zeros((60, 3), dtype=bool)
    labels[:, 0] = True
    labels[[3, 20, 41], 1] = True
    labels[[5, 6, 7], 2] = True
    found = partition([str(i) for i in range(60)], labels, PARTS, 0)
    assert set(found[labels[:, 1]]) == set(found[labels[:, 2]]) == {0, 1, 2}


def test_many_rare_tags_do_not_starve_training() -> None:
    """Two hundred tags of two clips each: they cannot all be everywhere, and training keeps the most."""
    labels = np.repeat(np.eye(200, dtype=bool), 2, axis=0)
    found = partition([str(i) for i in range(400)], labels, PARTS, 0)
    assert (found == 0).mean() >= 0.55


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="2 groups cannot be split into 3 parts"):
        partition(["a", "a", "b"], np.ones((3, 1), dtype=bool), PARTS, 0)
    assert set(partition(["a", "a", "b"], np.ones((3, 1), dtype=bool), (0.5, 0, 0.5), 0)) == {0, 2}


@pytest.mark.parametrize("parts", [(0.8, 0.1), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5), ()])
def test_shares_that_are_none_are_refused(parts: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="no shares"):
        partition(["a", "b", "c"], np.ones((3, 1), dtype=bool), parts, 0)
