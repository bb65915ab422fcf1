"""Pools that bring an input to 1x1: the paper's tables, and a rule for every other shape.

The rule of Ferraro et al. (EUSIPCO 2020) in words: change the later layers first, match the pool to the
input, pad only where nothing fits. Bands and frames are independent, so everything here is about one axis
at a time, and about whole numbers only.

Pools floor, and ``floor(floor(s / a) / b) == floor(s / (a * b))``. So pools bring an axis of size ``s`` to
exactly 1 if and only if their product ``P`` satisfies ``P <= s < 2 P``; then no layer on the way falls
below 1 either. Such pools exist for every size from 1 on (a last pool of ``s``, or ones alone for a single
frame), hence nothing ever needs padding, and nothing here pads.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from ..errors import ShapeError

PAPER_FREQ_POOLS: dict[int, tuple[int, ...]] = {
    128: (2, 4, 4, 4),
    96: (2, 4, 3, 4),
    48: (2, 4, 3, 2),
    32: (2, 2, 3, 2),
    24: (2, 2, 3, 2),
    16: (2, 2, 2, 2),
    8: (2, 2, 2, 1),
}
"""The paper's pools over frequency, by the number of mel bands."""

PAPER_TIME_POOLS: dict[int, tuple[int, ...]] = {
    1366: (4, 5, 8, 8),  # 12 kHz x1, x2, x3, x4, x5, x10
    683: (4, 5, 8, 4),
    456: (4, 5, 8, 2),
    342: (4, 5, 8, 2),
    274: (4, 5, 8, 1),
    137: (4, 5, 4, 1),
    1820: (4, 5, 9, 10),  # 16 kHz x1, x2, x3, x4, x5, x10
    910: (4, 5, 9, 5),
    607: (4, 5, 9, 3),
    455: (4, 5, 9, 2),
    364: (4, 5, 9, 2),
    182: (4, 5, 9, 1),
}
"""The paper's pools over time, by the number of frames of a clip of 29.1 s."""

LEFT_OVER = Fraction(1, 8)
"""The part of an axis that flooring may leave over before one more layer is changed (or a single unit)."""


@dataclass(frozen=True)
class PoolingPlan:
    """The pools of four layers for one input shape; building one checks that it ends at 1x1.

    Parameters
    ----------
    input_shape
        ``(n_mels, n_frames)``.
    freq, time
        Pool of each layer over bands and over frames.

    Raises
    ------
    ShapeError
        If a pool is below one or the pools do not end at exactly 1x1.
    """

    input_shape: tuple[int, int]
    freq: tuple[int, ...]
    time: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.freq) != len(self.time):
            raise ShapeError(
                f"Every layer pools over bands and over frames, but there are {len(self.freq)} pools over "
                f"bands and {len(self.time)} over frames."
            )
        axes = zip(("bands", "frames"), self.input_shape, (self.freq, self.time), strict=True)
        for name, size, pools in axes:
            if size < 1:
                raise ShapeError(f"An input needs at least one of its {name}, not {size}.")
            if any(pool < 1 for pool in pools):
                raise ShapeError(f"Pools over {name} must be at least 1, not {tuple(pools)}.")
            left = size // math.prod(pools)
            if left != 1:
                raise ShapeError(
                    f"Pools {tuple(pools)} over {size} {name} leave {left} of them, and the network needs "
                    f"exactly 1; {_axis_pools(size, name)} would fit."
                )

    @property
    def pools(self) -> tuple[tuple[int, int], ...]:
        """``(frequency, time)`` of each layer, as `torch.nn.functional.max_pool2d` takes it."""
        return tuple(zip(self.freq, self.time, strict=True))

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """``(bands, frames)`` that enter each layer, and last the 1x1 that leaves the last one."""
        sizes = [self.input_shape]
        for freq, time in self.pools:
            sizes.append((sizes[-1][0] // freq, sizes[-1][1] // time))
        return tuple(sizes)

    @property
    def left_over(self) -> tuple[int, int]:
        """Highest bands and last frames that no pool covers, because pools floor."""
        n_mels, n_frames = self.input_shape
        return n_mels - math.prod(self.freq), n_frames - math.prod(self.time)

    def explain(self) -> str:
        """Return a line on what is pooled, where the pools come from, and what flooring leaves over."""
        n_mels, n_frames = self.input_shape
        steps = " -> ".join(f"{bands}x{frames}" for bands, frames in self.sizes)
        bands_over, frames_over = self.left_over
        return (
            f"{steps}: bands by {_product(self.freq)} ({_origin(n_mels, self.freq, PAPER_FREQ_POOLS)}), "
            f"frames by {_product(self.time)} ({_origin(n_frames, self.time, PAPER_TIME_POOLS)}); "
            f"nothing padded, {_count(bands_over, 'band')} and {_count(frames_over, 'frame')} left over"
        )


def plan(input_shape: Sequence[int]) -> PoolingPlan:
    """Return the pools for mels of `input_shape` ``(n_mels, n_frames)``.

    A size of the paper gets the paper's pools. Any other starts from the paper's plan for the nearest size
    (by ratio) and changes as few of the last layers as make the axis end at 1 with at most an eighth of it,
    or one unit, left over. The last pool takes all that the others leave; among equal efforts the pools
    nearest to the paper's win, earlier layers first.

    Raises
    ------
    ShapeError
        If the shape is not two whole numbers from 1 on.

    Examples
    --------
    >>> plan((96, 1366)).pools
    ((2, 4), (4, 5), (3, 8), (4, 8))
    >>> plan((64, 1366)).freq
    (2, 4, 4, 2)
    """
    try:
        n_mels, n_frames = (operator.index(n) for n in input_shape)  # of NumPy's integers too
    except (TypeError, ValueError):
        n_mels = n_frames = 0
    if n_mels < 1 or n_frames < 1:
        raise ShapeError(
            f"An input shape is (n_mels, n_frames), two whole numbers from 1 on, not {input_shape}."
        )
    return PoolingPlan((n_mels, n_frames), _axis_pools(n_mels, "bands"), _axis_pools(n_frames, "frames"))


@lru_cache(maxsize=1024)
def _axis_pools(size: int, axis: str) -> tuple[int, ...]:
    known = PAPER_FREQ_POOLS if axis == "bands" else PAPER_TIME_POOLS
    return known[size] if size in known else fitted(size, known[_nearest_size(size, known)])


def fitted(size: int, paper: tuple[int, ...]) -> tuple[int, ...]:
    """Return the pools nearest to the paper's that bring an axis of `size` to 1, by the rule of `plan`."""
    allowed: Fraction = max(size * LEFT_OVER, Fraction(1))
    if math.prod(paper) <= size < 2 * math.prod(paper) and size - math.prod(paper) <= allowed:
        return paper
    layers = len(paper)
    for changed in range(1, layers + 1):
        kept = paper[: layers - changed]
        fitting = [pools for pools in _completions(size, kept, layers) if size - math.prod(pools) <= allowed]
        if fitting:
            return min(fitting, key=lambda pools: _distance(pools, paper))
    raise AssertionError("unreachable: (size, 1, 1, 1) leaves nothing over")


def _completions(size: int, kept: tuple[int, ...], layers: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to go on from the `kept` pools in which the last pool takes all that is left."""
    room = size // math.prod(kept)
    if room < 1:
        return
    if len(kept) == layers - 1:
        yield (*kept, room)
        return
    for pool in range(1, room + 1):
        yield from _completions(size, (*kept, pool), layers)


def _ratio(a: int, b: int) -> Fraction:
    return Fraction(max(a, b), min(a, b))


def _distance(pools: tuple[int, ...], paper: tuple[int, ...]) -> tuple[Fraction, ...]:
    """Order by the product of the layers' ratios, then by the first layer's, the second's and so on."""
    ratios = tuple(_ratio(p, q) for p, q in zip(pools, paper, strict=True))
    return math.prod(ratios, start=Fraction(1)), *ratios


def _nearest_size(size: int, known: dict[int, tuple[int, ...]]) -> int:
    return min(known, key=lambda other: (_ratio(size, other), other))


def _product(pools: tuple[int, ...]) -> str:
    return "*".join(str(pool) for pool in pools)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _origin(size: int, pools: tuple[int, ...], known: dict[int, tuple[int, ...]]) -> str:
    if known.get(size) == pools:
        return "the paper's"
    other = _nearest_size(size, known)
    if len(pools) != len(known[other]):
        return "given"
    changed = [str(i + 1) for i, (a, b) in enumerate(zip(pools, known[other], strict=True)) if a != b]
    if not changed:
        return f"the paper's for {other}"
    layers = f"layer {changed[0]}" if len(changed) == 1 else f"layers {', '.join(changed)}"
    return f"the paper's for {other} but for {layers}"
