"""VGG-CNN: four blocks of 3x3 convolutions over the mel-spectrogram as over a picture.

Choi, Fazekas, Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, with the
filters and pools of Ferraro, Bogdanov, Serra, Yoon, EUSIPCO 2020; with arguments for the form of Pons and
Serra's public checkpoints (ISMIR 2019 late-breaking): five blocks, ReLU before normalisation, pools that
overlap.
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
from .base import EPS, TaggingNetwork, check_eps, drawn, unusual
from .fast import InPieces, Layer, PooledBlock, rearrange
from .pooling import PoolingPlan, plan

Pools = Sequence[tuple[int, int]]

WIDTHS: dict[str, tuple[int, ...]] = {
    "full": (128, 384, 768, 2048),
    "small": (32, 96, 192, 512),
}
"""Filters of the four blocks: the paper's, and a quarter of them (a sixteenth of the work)."""


class _Block(nn.Module):
    """3x3 convolution that keeps the size, batch normalisation, ELU, maximum pooling (frequency, time).

    Or ReLU before the normalisation, in place of ELU after it. ELU is monotone, so that the pool comes before
    it: the same numbers, and ELU, a third of the time of a small network, has fewer to do.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        pool: tuple[int, int],
        stride: tuple[int, int],
        relu_first: bool,
        eps: float,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, padding=1)
        self.bn = nn.BatchNorm2d(filters, eps)
        self.pool, self.stride = pool, stride
        self.relu_first = relu_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.relu_first:
            return F.max_pool2d(self.bn(F.relu(y)), self.pool, self.stride)
        return F.elu(F.max_pool2d(self.bn(y), self.pool, self.stride))

    def rearranged(self, dtype: torch.dtype) -> Layer:
        activation = None if self.relu_first else F.elu
        return PooledBlock(self.conv, self.bn, activation, dtype, pool=self.pool, stride=self.stride)


def pooled_sizes(input_shape: tuple[int, int], pools: Pools, strides: Pools) -> list[tuple[int, int]]:
    """Return ``(bands, frames)`` that enter each block, and last what leaves the last one."""
    sizes = [input_shape]
    for pool, stride in zip(pools, strides, strict=True):
        bands, frames = ((n - p) // step + 1 for n, p, step in zip(sizes[-1], pool, stride, strict=True))
        sizes.append((bands, frames))
    return sizes


class Vgg(TaggingNetwork):
    """The network that `build_vgg` builds; see there."""

    architecture = "vgg"
    memory_format = torch.channels_last  # `benchmarks/memory_format.py`

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_tags: int,
        *,
        widths: Sequence[int],
        pools: Pools,
        strides: Pools,
        relu_first: bool,
        eps: float,
    ) -> None:
        super().__init__(input_shape, n_tags)
        self.widths = tuple(int(width) for width in widths)
        self.pools, self.strides = _pairs(pools), _pairs(strides)
        self.relu_first, self.eps = bool(relu_first), float(eps)
        if not len(self.widths) == len(self.pools) == len(self.strides) or min(self.widths, default=0) < 1:
            raise ShapeError(
                f"Each block of VGG has a width, a pool and a stride: as many of each, the widths at least "
                f"1, not widths {self.widths}, pools {self.pools} and strides {self.strides}."
            )
        bands, frames = pooled_sizes(input_shape, self.pools, self.strides)[-1]
        self.embed_dim = self.widths[-1] * bands * frames
        self.input_norm = nn.BatchNorm2d(1, self.eps)
        channels = (1, *self.widths[:-1])
        self.blocks = nn.ModuleList(
            _Block(*numbers, self.relu_first, self.eps)
            for numbers in zip(channels, self.widths, self.pools, self.strides, strict=True)
        )
        self.head = nn.Linear(self.embed_dim, self.n_tags)

    def spec(self) -> dict[str, Any]:
        """Return the architecture and every argument of `build_vgg` that gives this network again."""
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_tags": self.n_tags,
            "widths": list(self.widths),
            "pools": [list(pool) for pool in self.pools],
            **unusual(
                strides=([list(stride) for stride in self.strides], [list(pool) for pool in self.pools]),
                relu_first=(self.relu_first, False),
                eps=(self.eps, EPS),
            ),
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last block leaves, flattened: ``(batch, filters)`` of 1x1."""
        return self._features(self.blocks, x)

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return `features` with the normalisations in the filters and the pools before the activations."""
        bands, frames = self.input_shape
        sizes = pooled_sizes((bands, frames), self.pools, self.strides)
        largest = max(width * math.prod(size) for width, size in zip(self.widths, sizes, strict=False))
        return InPieces(partial(self._features, rearrange(self.blocks, dtype)), largest * dtype.itemsize)

    def _features(self, blocks: Iterable[Layer], x: torch.Tensor) -> torch.Tensor:
        x = self.input_norm(x[:, None])
        for block in blocks:
            x = block(x)
        return x.flatten(1).float()


def _pairs(pools: Pools) -> tuple[tuple[int, int], ...]:
    return tuple((int(freq), int(time)) for freq, time in pools)


def build_vgg(
    input_shape: tuple[int, int],
    n_tags: int = 50,
    *,
    size: Literal["full", "small"] = "full",
    widths: Sequence[int] | None = None,
    pools: Pools | None = None,
    strides: Pools | None = None,
    relu_first: bool = False,
    eps: float = EPS,
    generator: torch.Generator | None = None,
) -> Vgg:
    """Build the paper's VGG-CNN for mels of `input_shape` ``(n_mels, n_frames)``; it returns logits.

    Batch normalisation of the input; four blocks of 3x3 convolution, batch normalisation, ELU and maximum
    pooling; one dense layer on the 1x1 that is left, which is the embedding.

    Parameters
    ----------
    input_shape
        Bands and frames of one input; ``config.input_shape()`` is the paper's clip of 29.1 s.
    n_tags
        Outputs.
    size
        ``"full"``: the paper's 128, 384, 768, 2048 filters; ``"small"``: a quarter of each.
    widths
        Filters of the four blocks, in place of `size`'s.
    pools
        ``(frequency, time)`` of each block. Left out, `pooling.plan` finds them: the paper's for its shapes.
        A saved model carries its own, so that it loads the same whatever becomes of the rule.
    strides
        ``(frequency, time)`` by which each block's pool moves on. Left out, each moves on by its size, and
        all together must end at 1x1. With strides of another size, so that pools overlap or leave gaps, they
        may leave more: channels, bands and frames, flattened in that order, are the embedding then.
    relu_first
        ReLU before each block's normalisation, in place of ELU after it.
    eps
        What every normalisation adds to the variance.
    generator
        Draws the initial weights, and nothing else is drawn; without one, torch's global generator does.

    Raises
    ------
    ConfigError
        For a size that does not exist, or an `eps` that is not above 0.
    ShapeError
        For an input shape that is not two positive numbers, not as many widths and strides as pools, pools
        that do not end at 1x1, or strided ones that leave nothing.
    """
    if size not in WIDTHS:
        known = " and ".join(repr(name) for name in WIDTHS)
        raise ConfigError(f"VGG has the sizes {known}, not {size!r}.{nearest(str(size), WIDTHS)}")
    check_eps(eps)
    pooling = plan(input_shape)
    shape, sizes = pooling.input_shape, pooling.pools if pools is None else _pairs(pools)
    steps = sizes if strides is None else _pairs(strides)
    if steps == sizes:
        freq, time = (tuple(pair[axis] for pair in sizes) for axis in (0, 1))
        PoolingPlan(shape, freq, time)  # which checks them
    elif min((n for pair in (*sizes, *steps) for n in pair), default=0) < 1 or (
        len(steps) == len(sizes) and min(pooled_sizes(shape, sizes, steps)[-1]) < 1
    ):
        raise ShapeError(
            f"Pools and strides are at least 1 and leave something of {shape}, unlike the pools {sizes} with "
            f"the strides {steps}."
        )
    filters = WIDTHS[size] if widths is None else widths
    return drawn(
        lambda: Vgg(
            shape, n_tags, widths=filters, pools=sizes, strides=steps, relu_first=relu_first, eps=eps
        ),
        generator,
    )
