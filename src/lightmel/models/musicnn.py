"""MUSICNN: musically motivated first filters, then a few wide convolutions over time.

Pons, Nieto, Prockup, Schmidt, Ehmann, Serra, "End-to-end learning for music audio tagging at scale",
ISMIR 2018, in the form that Ferraro et al. (EUSIPCO 2020) trained, in the form of the public checkpoints
of Won et al. (SMC 2020), and in that of Pons and Serra's own (ISMIR 2019 late-breaking), which is the second
with ReLU before normalisation and temporal filters along every band. The filters' heights are parts of the
*bands*, as the paper's text has them; the paper's code feeds its network transposed, so that they lie over
the frames there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigError, nearest
from .base import EPS, TaggingNetwork, check_eps, drawn, unusual, whole_numbers
from .fast import FoldedConvolution, Layer, PeakFilters, pad_same, rearrange

Timbre = Sequence[tuple[float, int, int]]
"""Timbre filters: (height as a part of the bands, length in frames, how many)."""
Temporal = Sequence[tuple[int, int]]
"""Temporal filters: (length in frames, how many)."""

VARIANTS = ("paper", "pons")
WIDTHS: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "full"): {
        "timbre": [(part, n, 32 * k) for part in (0.9, 0.4) for n, k in ((7, 2), (3, 4), (1, 8))],
        "temporal": [(n, 32) for n in (32, 64, 128, 165)],
        "width": 512,
        "dense": 500,
    },
    ("paper", "small"): {
        "timbre": [(part, n, 8 * k) for part in (0.9, 0.4) for n, k in ((7, 2), (3, 4), (1, 8))],
        "temporal": [(n, 8) for n in (32, 64, 128, 165)],
        "width": 128,
        "dense": 200,
    },
    ("pons", "full"): {
        "timbre": [(0.7, 7, 204), (0.4, 7, 204)],
        "temporal": [(129, 51), (65, 51), (33, 51)],
        "width": 64,
        "dense": 200,
    },
    ("pons", "small"): {
        "timbre": [(0.9, 7, 64), (0.4, 7, 64)],
        "temporal": [(65, 16), (33, 16)],
        "width": 128,
        "dense": 200,
    },
}


class _SignedConv2d(nn.Conv2d):
    """A convolution that can negate its filters: ``sign`` is 1 or -1 for each of them."""

    def forward(self, x: torch.Tensor, sign: torch.Tensor | None = None) -> torch.Tensor:
        if sign is None:
            return super().forward(x)
        bias = None if self.bias is None else self.bias * sign
        return F.conv2d(x, self.weight * sign[:, None, None, None], bias)


class _TimbreFilters(nn.Module):
    """Tall filters, batch normalisation and ReLU in either order, maximum over the bands left.

    ``(batch, 1, n_mels, frames) -> (batch, filters, frames)``. Normalisation and ReLU are monotone in each
    channel, so that in evaluation the maximum is taken before both: the same values at a fraction of the
    memory traffic. A channel of negative scale needs the minimum instead, which is the maximum of the negated
    filter, negated. No branch depends on the weights, so that the graph is the same for all of them.
    """

    def __init__(self, height: int, length: int, filters: int, relu_first: bool, eps: float) -> None:
        super().__init__()
        self.conv = _SignedConv2d(1, filters, (height, length))
        self.bn = nn.BatchNorm2d(filters, eps)
        self.length = length
        self.relu_first = relu_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = pad_same(x, self.length)
        if self.training:  # the statistics need the whole map
            y = self.conv(x)
            y = self.bn(F.relu(y) if self.relu_first else y)
            peak = F.max_pool2d(y, (y.shape[2], 1))  # its backward pass costs a third of amax's
            return peak.squeeze(2) if self.relu_first else F.relu(peak.squeeze(2))
        one = torch.ones_like(self.bn.weight)
        sign = torch.where(self.bn.weight < 0, -one, one)
        y = self.conv(x, sign)
        # ONNX Runtime pools in the layout of its convolutions, and copies twice for a maximum along an axis;
        # torch pools four times as slowly.
        peak = F.max_pool2d(y, (y.shape[2], 1)) if torch.onnx.is_in_onnx_export() else y.amax(2, keepdim=True)
        peak = peak * sign[:, None, None]
        out: torch.Tensor = self.bn(F.relu(peak) if self.relu_first else peak).squeeze(2)
        return out if self.relu_first else F.relu(out)

    def rearranged(self, dtype: torch.dtype) -> Layer:
        return PeakFilters(self.conv, self.bn, None if self.relu_first else F.relu, dtype)


class _Convolution(nn.Module):
    """A convolution over time that keeps the length, with batch normalisation and ReLU in either order."""

    def __init__(self, channels: int, filters: int, length: int, relu_first: bool, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, filters, length)
        self.bn = nn.BatchNorm1d(filters, eps)
        self.length = length
        self.relu_first = relu_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(pad_same(x, self.length))
        out: torch.Tensor = self.bn(F.relu(y)) if self.relu_first else F.relu(self.bn(y))
        return out

    def rearranged(self, dtype: torch.dtype) -> Layer:
        return FoldedConvolution(self.conv, self.bn, None if self.relu_first else F.relu, dtype)


class Musicnn(TaggingNetwork):
    """The network that `build_musicnn` builds; see there."""

    architecture = "musicnn"

    def __init__(
        self,
        input_shape: tuple[int, int],
        n_tags: int,
        *,
        variant: str,
        timbre: Timbre,
        temporal: Temporal,
        width: int,
        dense: int,
        dropout: float,
        relu_first: bool,
        every_band: bool,
        eps: float,
    ) -> None:
        super().__init__(input_shape, n_tags)
        self.variant = variant
        self.timbre_filters = [(float(part), int(n), int(count)) for part, n, count in timbre]
        self.temporal_filters = [(int(n), int(count)) for n, count in temporal]
        self.width, self.dense_units, self.dropout_rate = int(width), int(dense), float(dropout)
        self.relu_first, self.every_band, self.eps = bool(relu_first), bool(every_band), float(eps)
        n_mels, _ = whole_numbers(input_shape, axes=2)
        # Its scale is the filters' to learn. Frozen, no gradient has to reach the input.
        self.input_norm = nn.BatchNorm2d(1, self.eps).requires_grad_(False)
        self.timbre = nn.ModuleList(
            _TimbreFilters(max(1, int(part * n_mels)), n, count, self.relu_first, self.eps)
            for part, n, count in self.timbre_filters
        )
        self.temporal = nn.ModuleList(
            _TimbreFilters(1, n, count, self.relu_first, self.eps)
            if self.every_band
            else _Convolution(1, count, n, self.relu_first, self.eps)
            for n, count in self.temporal_filters
        )
        front = sum(count for *_, count in self.timbre_filters) + sum(c for _, c in self.temporal_filters)
        self.middle = nn.ModuleList(
            _Convolution(c, self.width, 7, self.relu_first, self.eps) for c in (front, self.width, self.width)
        )
        pooled = self.width if variant == "paper" else front + 3 * self.width
        self.dropout = nn.Dropout(self.dropout_rate)
        self.dense = nn.Linear(2 * pooled, self.dense_units)
        self.dense_norm = nn.BatchNorm1d(self.dense_units, self.eps)
        self.embed_dim = self.dense_units
        self.head = nn.Linear(self.dense_units, self.n_tags)

    def spec(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_tags": self.n_tags,
            "variant": self.variant,
            "timbre": [list(t) for t in self.timbre_filters],
            "temporal": [list(t) for t in self.temporal_filters],
            "width": self.width,
            "dense": self.dense_units,
            "dropout": self.dropout_rate,
            **unusual(
                relu_first=(self.relu_first, self.variant == "paper"),
                every_band=(self.every_band, False),
                eps=(self.eps, EPS),
            ),
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self._features(self.timbre, self.temporal, self.middle, x)

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return `features` with the filters over the bands rearranged, which are most of the work."""
        # Of all rounding that of the long filters shows most; to spare it costs a fifth of the time.
        temporal = rearrange(self.temporal, torch.float32)
        return partial(self._features, rearrange(self.timbre, dtype), temporal, rearrange(self.middle, dtype))

    def _features(
        self, timbre: Iterable[Layer], temporal: Iterable[Layer], middle: Iterable[Layer], x: torch.Tensor
    ) -> torch.Tensor:
        x = self.input_norm(x[:, None])
        flat = x if self.every_band else x.mean(dim=2)
        front = torch.cat([f(x) for f in timbre] + [f(flat) for f in temporal], dim=1)
        first, second, third = middle
        r1 = first(front)
        r2 = second(r1) + r1
        if self.variant == "paper":
            halved = F.max_pool1d(r2, 2) if r2.shape[-1] > 1 else r2
            h = third(halved) + halved
            pooled = self.dropout(torch.cat([h.mean(dim=2), h.amax(dim=2)], dim=1))
        else:
            r3 = third(r2) + r2
            h = torch.cat([front, r1, r2, r3], dim=1)
            pooled = torch.cat([h.amax(dim=2), h.mean(dim=2)], dim=1)
        e = self.dense(pooled)
        e = self.dense_norm(F.relu(e)) if self.relu_first else F.relu(self.dense_norm(e))
        embedding: torch.Tensor = self.dropout(e)
        return embedding


def build_musicnn(
    input_shape: tuple[int, int],
    n_tags: int = 50,
    *,
    variant: Literal["paper", "pons"] = "paper",
    size: Literal["full", "small"] = "full",
    timbre: Timbre | None = None,
    temporal: Temporal | None = None,
    width: int | None = None,
    dense: int | None = None,
    dropout: float = 0.5,
    relu_first: bool | None = None,
    every_band: bool = False,
    eps: float = EPS,
    generator: torch.Generator | None = None,
) -> Musicnn:
    """Build MUSICNN for mels of `input_shape` ``(n_mels, n_frames)``; it returns logits.

    Parameters
    ----------
    input_shape
        Bands and frames of one segment; ``config.input_shape(3.0)`` is the paper's three seconds.
    n_tags
        Outputs.
    variant
        ``"paper"``: as Ferraro et al. trained it: ReLU before normalisation, a pool of 2 in time before
        the third convolution, its output alone pooled, dropout before the dense layer too. ``"pons"``:
        the shape of the public checkpoints: ReLU after normalisation, no pool, every layer's output pooled.
    size
        ``"full"`` or ``"small"``; `timbre`, `temporal`, `width` and `dense` replace its numbers one by one.
    timbre
        ``(part of the bands, frames, filters)`` of each timbre layer.
    temporal
        ``(frames, filters)`` of each temporal layer; lengths in frames stay fixed for every hop.
    width, dense
        Filters of the three middle convolutions; units of the dense layer, which is the embedding.
    dropout
        Part of the units that training drops.
    relu_first
        Whether every ReLU comes before its normalisation; left out, as `variant` has it.
    every_band
        Whether the temporal filters run along every band, with the maximum over the bands afterwards, as in
        Pons and Serra's own checkpoints; else they run on the mean over the bands.
    eps
        What every normalisation adds to the variance.
    generator
        Draws the initial weights; without one, torch's global generator does.

    Raises
    ------
    ConfigError
        For a variant or size that does not exist, or an `eps` that is not above 0.
    ShapeError
        For an input shape that is not two positive numbers.
    """
    if (variant, size) not in WIDTHS:
        known = sorted({w for pair in WIDTHS for w in pair})
        hint = nearest(size if variant in VARIANTS else variant, known)
        raise ConfigError(
            f"MUSICNN has the variants 'paper' and 'pons' and the sizes 'full' and 'small', "
            f"not ({variant!r}, {size!r}).{hint}"
        )
    given = {"timbre": timbre, "temporal": temporal, "width": width, "dense": dense}
    shape = WIDTHS[variant, size] | {name: value for name, value in given.items() if value is not None}
    numbers = [number for layer in (*shape["timbre"], *shape["temporal"]) for number in layer]
    if not shape["timbre"] or not shape["temporal"] or min(numbers) <= 0:
        raise ConfigError(
            "MUSICNN has timbre and temporal layers, one of each at least, of numbers above 0, not "
            f"{shape['timbre']} and {shape['temporal']}."
        )
    check_eps(eps)
    return drawn(
        lambda: Musicnn(
            input_shape,
            n_tags,
            variant=variant,
            dropout=dropout,
            relu_first=variant == "paper" if relu_first is None else relu_first,
            every_band=every_band,
            eps=eps,
            **shape,
        ),
        generator,
    )
