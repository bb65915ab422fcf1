from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmel.datasets import hold_out, stratify
from lightmel.errors import DataError

SHARES = (0.8, 0.1, 0.1)


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
    found = stratify(groups, labels, SHARES, seed)
    assert set(found) == {0, 1, 2}
    assert all(len({p for g, p in zip(groups, found, strict=True) if g == name}) == 1 for name in groups)
    shuffled = rng.permutation(len(groups))
    again = stratify([groups[i] for i in shuffled], labels[shuffled], SHARES, seed)
    np.testing.assert_array_equal(again, found[shuffled])


def test_shares_are_kept_for_clips_and_for_each_tag() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((2_000, 8)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005]
    found = stratify([f"g{i % 500}" for i in range(2_000)], labels, SHARES, 0)
    for part, share in enumerate(SHARES):
        assert (found == part).mean() == pytest.approx(share, abs=0.02)
        np.testing.assert_allclose(labels[found == part].sum(0) / labels.sum(0), share, atol=0.12)


def test_a_tag_of_three_groups_comes_into_each_part() -> None:
    labels = np.zeros((60, 3), dtype=bool)
    labels[:, 0] = True
    labels[[3, 20, 41], 1] = True
    labels[[5, 6, 7], 2] = True
    found = stratify([str(i) for i in range(60)], labels, SHARES, 0)
    assert set(found[labels[:, 1]]) == set(found[labels[:, 2]]) == {0, 1, 2}


def test_many_rare_tags_do_not_starve_training() -> None:
    """Two hundred tags of two clips each: they cannot all be everywhere, and training keeps the most."""
    labels = np.repeat(np.eye(200, dtype=bool), 2, axis=0)
    found = stratify([str(i) for i in range(400)], labels, SHARES, 0)
    assert (found == 0).mean() >= 0.55


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="2 groups cannot be split into 3 parts"):
        stratify(["a", "a", "b"], np.ones((3, 1), dtype=bool), SHARES, 0)
    assert set(stratify(["a", "a", "b"], np.ones((3, 1), dtype=bool), (0.5, 0, 0.5), 0)) == {0, 2}


@pytest.mark.parametrize("shares", [(0.8, 0.1), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5), ()])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="no shares"):
        stratify(["a", "b", "c"], np.ones((3, 1), dtype=bool), shares, 0)


# By name alone

NAMES = [*(f"g{i}" for i in range(10)), "ünï/cödé"]


@pytest.mark.parametrize(
    ("share", "split_seed", "expected"),
    [
        (0.3, 0, {"g1", "g4", "g6"}),
        (0.3, 1, {"g2", "g5", "g8"}),
        (0.3, 7, {"g2", "g4", "ünï/cödé"}),
        (0.05, 0, {"g4"}),
        (0.9, 0, {f"g{i}" for i in range(10)}),
    ],
)
def test_the_same_groups_are_held_out_by_every_version(
    share: float, split_seed: int, expected: set[str]
) -> None:
    """Expected is what distillation held out before `hold_out` had a name of its own."""
    assert hold_out(NAMES, share, split_seed) == expected
    assert hold_out([*NAMES[::-1], *NAMES[3:]], share, split_seed) == expected


names = st.lists(st.text(), min_size=2, unique=True)


@given(names, st.floats(0, 0.49), st.integers(0, 9))
def test_the_share_is_of_groups_and_at_least_one(groups: list[str], share: float, split_seed: int) -> None:
    held = hold_out(groups, share, split_seed)
    assert held < set(groups)
    assert len(held) == max(1, round(share * len(groups)))


@given(names, st.text(), st.floats(0, 0.4), st.integers(0, 9))
def test_only_the_border_moves_when_share_or_groups_grow(
    groups: list[str], one_more: str, share: float, split_seed: int
) -> None:
    held = hold_out(groups, share, split_seed)
    assert held <= hold_out(groups, share + 0.05, split_seed)
    grown = hold_out([*groups, one_more], share, split_seed)
    others = grown - {one_more}
    assert others <= held or held <= others


@pytest.mark.parametrize(
    ("groups", "share"),
    [(["a"], 0.1), (["a", "a"], 0.5), ([], 0.1), (["a", "b"], 0.9), (["a", "b", "c"], 2.0)],
)
def test_holding_everything_out_is_refused(groups: list[str], share: float) -> None:
    with pytest.raises(
        DataError, match=rf"All {len(set(groups))} groups would be held out: .*the column 'group' of a table"
    ):
        hold_out(groups, share)
