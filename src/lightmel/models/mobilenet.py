"""MobileNet: inverted residuals of depthwise convolutions, with squeeze and excitation.

Howard and others, "Searching for MobileNetV3", ICCV 2019 (the large one), in the form of Schmid, Koutini,
Widmer, "Efficient Large-Scale Audio Tagging Via Transformer-To-CNN Knowledge Distillation", ICASSP 2023: one
input channel, every width multiplied by one number, bands as height and frames as width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError, ShapeError
from .base import TaggingNetwork, drawn, whole_numbers
from .fast import FoldedConvolution2d, InPieces, Layer, rearrange

LEAST_BANDS, LEAST_FRAMES = 3, 2
"""What the strides leave of the input, where it has so many."""
EPSILON = 1e-3
"""Of every normalisation, as in the published weights."""


class Stage(NamedTuple):
    """One inverted residual, with the widths of the network whose multiplier is 1."""

    kernel: int
    expanded: int
    channels: int
    squeezed: bool
    hard: bool
    """Whether its activation is hard-swish; else ReLU."""
    strided: bool = False


STAGES: tuple[Stage, ...] = (
    Stage(3, 16, 16, False, False),
    Stage(3, 64, 24, False, False, strided=True),
    Stage(3, 72, 24, False, False),
    Stage(5, 72, 40, True, False, strided=True),
    Stage(5, 120, 40, True, False),
    Stage(5, 120, 40, True, False),
    Stage(3, 240, 80, False, True, strided=True),
    Stage(3, 200, 80, False, True),
    Stage(3, 184, 80, False, True),
    Stage(3, 184, 80, False, True),
    Stage(3, 480, 112, True, True),
    Stage(3, 672, 112, True, True),
    Stage(5, 672, 160, True, True, strided=True),
    Stage(5, 960, 160, True, True),
    Stage(5, 960, 160, True, True),
)
FIRST, LAST_FACTOR, DENSE = 16, 6, 1280
"""Channels of the first convolution; of the last, as a multiple of what enters it; units of the dense layer.
"""
SQUEEZE = 0.25
"""Part of the channels between the two layers of squeeze and excitation."""
N_STRIDES = 1 + sum(stage.strided for stage in STAGES)


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width` as a multiple of 8 that is not more than a tenth too small."""
    wanted = channels * width
    near = max(8, int(wanted + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wanted else near


def plan_strides(input_shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return ``(frequency, time)`` of the network's five strides for mels ``(n_mels, n_frames)``.

    The original halves both axes five times, until 128 bands are 4. An input of fewer bands is as coarse from
    the start as the original's is after some layers, so that the first strides are left out: both axes are
    halved as often as leaves three bands, five times at most, and time no more often than leaves two frames.

    Examples
    --------
    >>> plan_strides((48, 95))  # 16k-mel48-x2-db, three seconds
    ((1, 1), (2, 2), (2, 2), (2, 2), (2, 2))
    """
    bands, frames = whole_numbers(input_shape, axes=2)
    freq = min(N_STRIDES, _halvings(bands // LEAST_BANDS))
    time = min(freq, _halvings(frames - 1))  # an odd number is rounded up at each of them
    return tuple((1 + (i >= N_STRIDES - freq), 1 + (i >= N_STRIDES - time)) for i in range(N_STRIDES))


def _halvings(size: int) -> int:
    """Return how often a size can be halved, rounding down, before it is 0."""
    return max(0, size.bit_length() - 1)


class _Convolution(nn.Module):
    """Convolution without bias that keeps the size but for its stride, batch normalisation, activation."""

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        activation: type[nn.Module],
        *,
        stride: tuple[int, int] = (1, 1),
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.conv = nn.Conv2d(
            channels, filters, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(filters, eps=EPSILON)
        self.activation = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.activation(self.bn(self.conv(x)))
        return out

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return what the layer does, its normalisation in its filters."""
        return FoldedConvolution2d(self.conv, self.bn, self.activation, dtype)


class _SqueezeExcitation(nn.Module):
    """Each channel times a number between 0 and 1 that is drawn from the means of all of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = scaled(channels, SQUEEZE)
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate: torch.Tensor = self.excite(F.relu(self.squeeze(x.mean(dim=(2, 3))))).sigmoid()
        return x * gate[:, :, None, None]

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return what the layer does."""
        layer = copy.deepcopy(self).to(dtype)
        return layer.__call__


class _InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection; plus the input where it fits."""

    def __init__(self, channels: int, stage: Stage, width: float, stride: tuple[int, int]) -> None:
        super().__init__()
        expanded, filters = scaled(stage.expanded, width), scaled(stage.channels, width)
        activation = nn.Hardswish if stage.hard else nn.ReLU
        self.expand = (
            _Convolution(channels, expanded, 1, activation) if expanded != channels else nn.Identity()
        )
        self.depthwise = _Convolution(
            expanded, expanded, stage.kernel, activation, stride=stride, depthwise=True
        )
        self.squeeze_excitation = _SqueezeExcitation(expanded) if stage.squeezed else nn.Identity()
        self.project = _Convolution(expanded, filters, 1, nn.Identity)
        # By the original's stride, which its weights were trained with, and not by that of this input.
        self.residual = channels == filters and not stage.strided

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.project(self.squeeze_excitation(self.depthwise(self.expand(x))))
        return y + x if self.residual else y

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return what the block does."""
        parts = (self.expand, self.depthwise, self.squeeze_excitation, self.project)
        steps = rearrange([part for part in parts if not isinstance(part, nn.Identity)], dtype)
        return partial(_in_turn, steps, self.residual)


def _in_turn(steps: Sequence[Layer], residual: bool, x: torch.Tensor) -> torch.Tensor:
    y = x
    for step in steps:
        y = step(y)
    return y + x if residual else y


class MobileNet(TaggingNetwork):
    """The network that `build_mobilenet` builds; see there."""

    architecture = "mobilenet"
    memory_format = torch.channels_last  # `benchmarks/memory_format.py`

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_tags: int,
        *,
        width: float,
        strides: Sequence[tuple[int, int]],
        dropout: float,
    ) -> None:
        super().__init__(whole_numbers(input_shape, axes=2), n_tags)
        self.width, self.dropout_rate = float(width), float(dropout)
        self.strides = tuple((int(freq), int(time)) for freq, time in strides)
        if len(self.strides) != N_STRIDES or min(n for pair in self.strides for n in pair) < 1:
            raise ShapeError(
                f"MobileNet has {N_STRIDES} strides (frequency, time), each at least 1, not {self.strides}."
            )
        self.input_norm = nn.BatchNorm1d(self.input_shape[0])
        first, *others = self.strides
        channels = scaled(FIRST, self.width)
        self.first = _Convolution(1, channels, 3, nn.Hardswish, stride=first)
        left = iter(others)
        blocks = []
        for stage in STAGES:
            stride = next(left) if stage.strided else (1, 1)
            blocks.append(_InvertedResidual(channels, stage, self.width, stride))
            channels = scaled(stage.channels, self.width)
        self.blocks = nn.ModuleList(blocks)
        self.last = _Convolution(channels, LAST_FACTOR * channels, 1, nn.Hardswish)
        self.embed_dim = scaled(DENSE, self.width)
        self.dense = nn.Linear(LAST_FACTOR * channels, self.embed_dim)
        self.dropout = nn.Dropout(self.dropout_rate)
        self.head = nn.Linear(self.embed_dim, self.n_tags)

    def spec(self) -> dict[str, Any]:
        """Return the architecture and every argument of `build_mobilenet` that gives this network again."""
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_tags": self.n_tags,
            "width": self.width,
            "strides": [list(pair) for pair in self.strides],
            "dropout": self.dropout_rate,
        }

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean over bands and frames of the last convolution, ``(batch, channels)``."""
        x = self.first(self.input_norm(x)[:, None])
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.last(x).mean(dim=(2, 3))
        return out

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the units of the dense layer, ``(batch, embed_dim)``."""
        embedding: torch.Tensor = self.dropout(F.hardswish(self.dense(self.pooled(x))))
        return embedding

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return `features` with the normalisations in the filters, channels last."""
        steps = rearrange([self.first, *self.blocks, self.last], dtype)
        bands, frames = self.input_shape
        freq, time = self.strides[0]
        widest = scaled(STAGES[1].expanded, self.width)
        bytes_each = dtype.itemsize * widest * max(1, bands // freq) * max(1, frames // time)
        return InPieces(partial(self._rearranged, steps, dtype), bytes_each)

    def _rearranged(self, steps: Sequence[Layer], dtype: torch.dtype, x: torch.Tensor) -> torch.Tensor:
        y = self.input_norm(x)[:, None].to(dtype, memory_format=torch.channels_last)
        y = _in_turn(steps, False, y)
        return F.hardswish(self.dense(y.float().mean(dim=(2, 3))))


def build_mobilenet(
    input_shape: tuple[int, int],
    n_tags: int = 50,
    *,
    width: float = 0.4,
    strides: Sequence[tuple[int, int]] | None = None,
    dropout: float = 0.2,
    generator: torch.Generator | None = None,
) -> MobileNet:
    """Build a MobileNetV3 for mels of `input_shape` ``(n_mels, n_frames)``; it returns logits.

    Each band is normalised; a convolution, fifteen inverted residuals and a convolution follow; the mean over
    bands and frames goes through one dense layer, which is the embedding.

    Parameters
    ----------
    input_shape
        Bands and frames of one input.
    n_tags
        Outputs.
    width
        What the widths of the original, 16 to 960 channels, are multiplied by.
    strides
        ``(frequency, time)`` of the five layers that may have a stride. Left out, `plan_strides` finds them.
        A saved model carries its own, so that it loads the same whatever becomes of the rule.
    dropout
        Part of the embedding's units that training drops.
    generator
        Draws the initial weights, and nothing else is drawn; without one, torch's global generator does.

    Raises
    ------
    ConfigError
        For a width that is not above 0.
    ShapeError
        For an input shape that is not two positive numbers, or other than five strides.
    """
    if not 0 < width <= 8:
        raise ConfigError(f"MobileNet's width multiplies the original's channels, from 0 to 8, not {width}.")
    found = plan_strides(input_shape) if strides is None else strides
    return drawn(
        lambda: MobileNet(input_shape, n_tags, width=width, strides=found, dropout=dropout), generator
    )
