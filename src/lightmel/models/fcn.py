"""FCN-5, the fully convolutional network of the public checkpoints.

Choi, Fazekas, Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, in the
form of Won, Ferraro, Bogdanov, Serra, "Evaluation of CNN-based automatic music tagging models", SMC 2020.
It is here to run their weights; its pools are fixed, so that the input shape is too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ShapeError
from .base import TaggingNetwork, drawn, whole_numbers
from .fast import InPieces, Layer, PooledBlock, rearrange

FILTERS = (64, 128, 128, 128, 64)
POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))


class _Block(nn.Module):
    """3x3 convolution, batch normalisation, ReLU, maximum pooling (frequency, time)."""

    def __init__(self, channels: int, filters: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, padding=1)
        self.bn = nn.BatchNorm2d(filters)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.relu(self.bn(self.conv(x))), self.pool)

    def rearranged(self, dtype: torch.dtype) -> Layer:
        return PooledBlock(self.conv, self.bn, F.relu, dtype, pool=self.pool, stride=self.pool)


class Fcn(TaggingNetwork):
    """The network that `build_fcn` builds; see there."""

    architecture = "fcn"
    embed_dim = FILTERS[-1]

    def __init__(self, input_shape: tuple[int, int], n_tags: int) -> None:
        super().__init__(input_shape, n_tags)
        mels, frames = whole_numbers(input_shape, axes=2)
        for freq, time in POOLS:
            mels, frames = mels // freq, frames // time
        if (mels, frames) != (1, 1):
            raise ShapeError(
                f"FCN's pools leave {mels}x{frames} of an input of {self.input_shape}, and it needs exactly "
                f"1x1, as (96, 1813) gives."
            )
        self.input_norm = nn.BatchNorm2d(1).requires_grad_(False)
        channels = (1, *FILTERS[:-1])
        self.blocks = nn.ModuleList(_Block(c, f, p) for c, f, p in zip(channels, FILTERS, POOLS, strict=True))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(self.embed_dim, self.n_tags)

    def spec(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_tags": self.n_tags,
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = self.dropout(self._features(self.blocks, x))
        return embedding

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return `features` with the normalisations in the filters and the pools before ReLU."""
        largest = FILTERS[0] * math.prod(self.input_shape)
        return InPieces(partial(self._features, rearrange(self.blocks, dtype)), largest * dtype.itemsize)

    def _features(self, blocks: Iterable[Layer], x: torch.Tensor) -> torch.Tensor:
        x = self.input_norm(x[:, None])
        for block in blocks:
            x = block(x)
        return x.flatten(1).float()


def build_fcn(
    input_shape: tuple[int, int] = (96, 1813), n_tags: int = 50, *, generator: torch.Generator | None = None
) -> Fcn:
    """Build FCN-5 for mels of `input_shape` ``(n_mels, n_frames)``; it returns logits.

    Raises
    ------
    ShapeError
        If its pools do not end at 1x1 on that shape.
    """
    return drawn(lambda: Fcn(input_shape, n_tags), generator)
