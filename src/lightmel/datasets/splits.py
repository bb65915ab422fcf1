"""Splitting clips by groups, which are never divided: with their labels, or by the groups' names alone.

`stratify` brings rare tags into every part where that is possible; with further clips it splits anew.
`hold_out` orders groups by a hash of their names; with further groups only the border may move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


def stratify(
    groups: Sequence[str], labels: NDArray[np.bool_], shares: Sequence[float], split_seed: int
) -> NDArray[np.int64]:
    """Return the part of each clip, an index into `shares`; a group is never divided.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011) over groups: the rarest tag is dealt out
    first, its largest groups first, each to the part that still wants most of that tag. A part that would
    otherwise be left without a tag goes first, as long as it does not take more than twice its share.
    The result depends on nothing but the arguments; the order of the clips does not matter.

    Parameters
    ----------
    groups
        Group of each clip.
    labels
        ``(clips, tags)``.
    shares
        Shares of the parts, which sum to 1. A part with a share of 0 gets no clips.
    split_seed
        Seed of the order in which groups of one size are dealt out.

    Raises
    ------
    DataError
        If the shares do not sum to 1 or one is negative, so is the seed, or there are fewer groups than
        parts.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    if wanted.ndim != 1 or not (wanted >= 0).all() or abs(wanted.sum() - 1) > 1e-6:
        raise DataError(f"{tuple(shares)} are no shares that sum to 1.")
    if split_seed < 0:
        raise DataError(f"split_seed is 0 or more, not {split_seed}.")
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    used = [i for i, share in enumerate(wanted) if share > 0]
    if len(names) < len(used):
        raise DataError(
            f"{len(names)} groups cannot be split into {len(used)} parts. Add clips of other groups, give "
            "the split of each clip in a column, or ask for fewer parts (a share of 0)."
        )
    counts = np.zeros((len(names), labels.shape[1]), dtype=np.int64)
    np.add.at(counts, member, labels)
    deal = _Deal(counts, np.bincount(member, minlength=len(names)), wanted, used)
    order = np.random.default_rng(split_seed).permutation(len(names))
    order = order[np.argsort(-deal.sizes[order], kind="stable")]
    while (left := np.flatnonzero(deal.holders)).size:
        tag = int(left[np.argmin(deal.holders[left])])
        for group in order[deal.has[order, tag]]:
            if deal.part[group] < 0:
                deal.give(int(group), tag)
    for group in order:
        if deal.part[group] < 0:
            deal.give(int(group), None)
    return deal.part[member]


def hold_out(groups: Iterable[str], share: float, split_seed: int = 0) -> set[str]:
    """Return the groups that are held out: `share` of them, rounded, and at least one.

    They are the groups whose names have the smallest hashes; their order does not matter. With further groups
    others may be held out: a model must be evaluated on the groups that it was trained without.

    Parameters
    ----------
    groups
        Names of groups, in which a name may be repeated.
    share
        Share of the groups.
    split_seed
        Seed of the hashes; another number holds out other groups.

    Raises
    ------
    DataError
        If all groups would be held out.
    """
    names = sorted(set(groups), key=lambda g: hashlib.sha256(f"{split_seed}{g}".encode()).digest())
    held = set(names[: max(1, round(share * len(names)))])
    if len(held) == len(names):
        raise DataError(
            f"All {len(names)} groups would be held out: at least two are needed (folders of music, or the "
            "column 'group' of a table)."
        )
    return held


class _Deal:
    """The state of a split: the part of each group so far, and what each part still needs."""

    def __init__(
        self,
        counts: NDArray[np.int64],
        sizes: NDArray[np.int64],
        shares: NDArray[np.float64],
        used: list[int],
    ) -> None:
        self.counts, self.sizes, self.shares, self.used = counts, sizes, shares, used
        self.has = counts > 0
        self.holders = self.has.sum(axis=0)  # groups with a tag that have no part yet
        self.part = np.full(len(sizes), -1, dtype=np.int64)
        self.wanted = shares * sizes.sum()
        self.wanted_tags = shares[:, None] * counts.sum(axis=0)
        self.got = np.zeros(self.wanted_tags.shape, dtype=np.bool_)
        self.empty = set(used)
        self.left = len(sizes)

    def give(self, group: int, tag: int | None) -> None:
        """Give a group to the part that needs it most, first of all because of `tag`."""
        rows = self.has[group]
        # A tag is urgent if the groups left that have it are no more than the parts that lack it.
        lacking = (~self.got[self.used]).sum(axis=0)
        urgent = rows & (self.holders <= lacking)

        def need(part: int) -> tuple[float, ...]:
            overfull = self.wanted[part] <= -self.shares[part] * self.sizes.sum()
            return (
                0 if overfull else int((urgent & ~self.got[part]).sum()),
                self.wanted[part] > 0,
                0 if tag is None else self.wanted_tags[part, tag],
                self.wanted[part],
            )

        chosen = max(self.empty if self.left <= len(self.empty) else self.used, key=need)
        self.part[group] = chosen
        self.wanted[chosen] -= self.sizes[group]
        self.wanted_tags[chosen] -= self.counts[group]
        self.got[chosen] |= rows
        self.holders -= rows
        self.empty.discard(chosen)
        self.left -= 1
