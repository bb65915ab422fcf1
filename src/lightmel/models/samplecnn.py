"""SampleCNN: filters of three samples over the wave itself, and pools of three in between.

Lee, Park, Kim, Nam, "Sample-level deep convolutional neural networks for music auto-tagging using raw
waveforms", SMC 2017: its model 3^9 for 59,049 samples, and the same pools, as far as they fit, for every
other length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError, ShapeError, nearest
from .base import TaggingNetwork, drawn, whole_numbers
from .fast import InPieces, Layer, PooledConvolution, rearrange
from .pooling import fitted

LENGTH = 59_049
"""Samples of the paper's input, 3^10."""
STRIDE = 3
"""Length and stride of the first filters, in samples; the paper's pools, in frames."""

WIDTHS: dict[str, tuple[int, int, int]] = {"full": (128, 256, 512), "small": (32, 64, 128)}
"""Filters of the first layers, the middle ones and the last: the paper's, and a quarter of them."""


class _Block(nn.Module):
    """Convolution over three frames, batch normalisation, ReLU, maximum pooling.

    The first one of a network has a stride in place of a pool, and no zeros at the ends; the last one sees a
    single frame.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        *,
        length: int = 3,
        stride: int = 1,
        padding: int = 0,
        pool: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, filters, length, stride, padding)
        self.bn = nn.BatchNorm1d(filters)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool1d(F.relu(self.bn(self.conv(x))), self.pool)

    def rearranged(self, dtype: torch.dtype) -> Layer:
        return PooledConvolution(self.conv, self.bn, F.relu, dtype, pool=self.pool)


class SampleCnn(TaggingNetwork):
    """The network that `build_samplecnn` builds; see there."""

    architecture = "samplecnn"

    def __init__(
        self,
        input_shape: Sequence[int],
        n_tags: int,
        *,
        widths: Sequence[int],
        pools: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__(input_shape, n_tags)
        self.widths, self.pools = tuple(map(int, widths)), tuple(map(int, pools))
        self.dropout_rate = float(dropout)
        self.first = _Block(1, self.widths[0], length=STRIDE, stride=STRIDE)
        self.blocks = nn.ModuleList(
            _Block(channels, filters, padding=1, pool=pool)
            for channels, filters, pool in zip(self.widths, self.widths[1:], self.pools, strict=False)
        )
        self.embed_dim = self.widths[-1]
        self.last = _Block(self.embed_dim, self.embed_dim, length=1)
        self.dropout = nn.Dropout(self.dropout_rate)
        self.head = nn.Linear(self.embed_dim, self.n_tags)

    def spec(self) -> dict[str, Any]:
        """Return the architecture and every argument of `build_samplecnn` that gives this network again."""
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_tags": self.n_tags,
            "widths": list(self.widths),
            "pools": list(self.pools),
            "dropout": self.dropout_rate,
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last layer makes of the single frame that the pools leave: ``(batch, filters)``."""
        embedding: torch.Tensor = self.dropout(self._features(self._layers(), x))
        return embedding

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return `features` with the normalisations in the filters and the pools before ReLU."""
        largest = max(self.widths[:2]) * (self.input_shape[1] // STRIDE)
        return InPieces(partial(self._features, rearrange(self._layers(), dtype)), largest * dtype.itemsize)

    def _layers(self) -> list[nn.Module]:
        return [self.first, *self.blocks, self.last]

    def _features(self, layers: Iterable[Layer], x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            x = layer(x)
        return x.flatten(1).float()


def build_samplecnn(
    input_shape: Sequence[int],
    n_tags: int = 50,
    *,
    size: Literal["full", "small"] = "full",
    widths: Sequence[int] | None = None,
    pools: Sequence[int] | None = None,
    dropout: float = 0.5,
    generator: torch.Generator | None = None,
) -> SampleCnn:
    """Build SampleCNN for waves of `input_shape` ``(1, samples)``; it returns logits.

    Filters of three samples, every three samples; then blocks of a convolution over three frames, batch
    normalisation, ReLU and maximum pooling, until one frame is left; a layer on that, which is the embedding,
    with dropout; one dense layer.

    Parameters
    ----------
    input_shape
        One row and the samples of one segment, what a front end such as ``16k-wave`` makes.
    n_tags
        Outputs.
    size
        ``"full"``: the paper's 128, 256 and 512 filters; ``"small"``: a quarter of each.
    widths
        Filters of the first layer and of each block, in place of `size`'s.
    pools
        Frames that each block's pool takes. Left out, there are so many blocks that pools of three come
        nearest to what the wave needs, nine for the paper's 59,049 samples, and the last of them are changed
        as `pooling.fitted` has it. A saved model carries its own, so that it loads the same whatever becomes
        of the rule.
    dropout
        Part of the embedding that training drops.
    generator
        Draws the initial weights; without one, torch's global generator does.

    Raises
    ------
    ConfigError
        For a size that does not exist, or a dropout that is no part.
    ShapeError
        For an input that is no wave of three samples or more, not as many widths as layers, or pools that do
        not end at a single frame.
    """
    if size not in WIDTHS:
        known = " and ".join(repr(name) for name in WIDTHS)
        raise ConfigError(f"SampleCNN has the sizes {known}, not {size!r}.{nearest(str(size), WIDTHS)}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout is a part of the units, from 0 to less than 1, not {dropout!r}.")
    rows, samples = whole_numbers(input_shape, axes=2)
    frames = samples // STRIDE
    if rows != 1 or frames < 1:
        raise ShapeError(
            f"SampleCNN takes a wave, (1, samples) with {STRIDE} samples or more, not {(rows, samples)}: put "
            "it behind a front end such as 16k-wave."
        )
    own = _pools(frames) if pools is None else tuple(pools)
    if not own or min(own) < 1 or frames // math.prod(own) != 1:
        raise ShapeError(
            f"The pools of SampleCNN bring the {frames} frames of {samples} samples to a single one, as "
            f"{_pools(frames)} do; {own} do not."
        )
    filters = _widths(size, len(own)) if widths is None else tuple(widths)
    if len(filters) != 1 + len(own) or min(filters) < 1:
        raise ShapeError(
            f"SampleCNN has a width from 1 on for its first layer and for each of its {len(own)} blocks, not "
            f"{filters}."
        )
    return drawn(
        lambda: SampleCnn((rows, samples), n_tags, widths=filters, pools=own, dropout=dropout), generator
    )


def _pools(frames: int) -> tuple[int, ...]:
    return fitted(frames, (STRIDE,) * max(1, round(math.log(frames, STRIDE))))


def _widths(size: str, blocks: int) -> tuple[int, ...]:
    """Return the filters of the first layer and of each block, the paper's for nine of them."""
    low, middle, high = WIDTHS[size]
    return (low, *[low] * min(2, blocks - 1), *[middle] * max(0, blocks - 3), high)
