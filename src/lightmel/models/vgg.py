"""VGG-CNN: four blocks of 3x3 convolutions over the mel-spectrogram as over a picture.

Choi, Fazekas, Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016, with the
filters and pools of Ferraro, Bogdanov, Serra, Yoon, EUSIPCO 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError, ShapeError, nearest
from .base import TaggingNetwork, initialize
from .pooling import N_LAYERS, PoolingPlan, plan

WIDTHS: dict[str, tuple[int, ...]] = {
    "full": (128, 384, 768, 2048),
    "small": (32, 96, 192, 512),
}
"""Filters of the four blocks: the paper's, and a quarter of them (a sixteenth of the work)."""


class _Block(nn.Module):
    """3x3 convolution that keeps the size, batch normalisation, ELU, maximum pooling (frequency, time)."""

    def __init__(self, channels: int, filters: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, padding=1)
        self.bn = nn.BatchNorm2d(filters)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.elu(self.bn(self.conv(x))), self.pool)


class Vgg(TaggingNetwork):
    """The network that `build_vgg` builds; see there."""

    architecture = "vgg"
    memory_format = torch.channels_last  # `benchmarks/memory_format.py`

    def __init__(
        self, input_shape: tuple[int, int], n_tags: int, *, widths: Sequence[int], pooling: PoolingPlan
    ) -> None:
        super().__init__(input_shape, n_tags)
        self.widths = tuple(int(width) for width in widths)
        self.pooling = pooling
        if len(self.widths) != N_LAYERS or len(pooling.pools) != N_LAYERS or min(self.widths) < 1:
            raise ShapeError(
                f"VGG has four blocks: it wants four widths, each at least 1, and four pools, not widths "
                f"{self.widths} and pools {pooling.pools}."
            )
        self.embed_dim = self.widths[-1]
        self.input_norm = nn.BatchNorm2d(1)
        channels = (1, *self.widths[:-1])
        self.blocks = nn.ModuleList(
            _Block(c, f, p) for c, f, p in zip(channels, self.widths, pooling.pools, strict=True)
        )
        self.head = nn.Linear(self.embed_dim, self.n_tags)

    def spec(self) -> dict[str, Any]:
        """Return the architecture and every argument of `build_vgg` that gives this network again."""
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_tags": self.n_tags,
            "widths": list(self.widths),
            "pools": [list(pool) for pool in self.pooling.pools],
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the 1x1 that the last block leaves, ``(batch, filters)``."""
        x = self.input_norm(x[:, None])
        for block in self.blocks:
            x = block(x)
        return x.flatten(1)


def build_vgg(
    input_shape: tuple[int, int],
    n_tags: int = 50,
    *,
    size: Literal["full", "small"] = "full",
    widths: Sequence[int] | None = None,
    pools: Sequence[tuple[int, int]] | None = None,
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
    generator
        Draws the initial weights, and nothing else is drawn; without one, torch's global generator does.

    Raises
    ------
    ConfigError
        For a size that does not exist.
    ShapeError
        For an input shape that is not two positive numbers, other than four widths, or pools that do not
        end at 1x1.
    """
    if size not in WIDTHS:
        known = " and ".join(repr(name) for name in WIDTHS)
        raise ConfigError(f"VGG has the sizes {known}, not {size!r}.{nearest(str(size), WIDTHS)}")
    pooling = plan(input_shape)
    if pools is not None:
        freq, time = (tuple(int(pool[axis]) for pool in pools) for axis in (0, 1))
        pooling = PoolingPlan(pooling.input_shape, freq, time)
    filters = WIDTHS[size] if widths is None else widths
    device = torch.get_default_device()
    with torch.device("meta"):  # the layers' own initialization would draw from the global generator
        model = Vgg(pooling.input_shape, n_tags, widths=filters, pooling=pooling)
    model.to_empty(device=device)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    initialize(model, generator)
    return model
