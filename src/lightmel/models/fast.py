"""The same numbers in less time: layers with frozen weights, rearranged for a processor.

A normalisation's scale goes into the filters before it, its sign included: the maximum of ``a * y`` is wanted
whatever the sign of ``a``, and for a ReLU before the normalisation ``a * relu(y) = s * relu(s * a * y)``, if
``s`` is that sign. So a maximum may come before all else, at a fraction of the memory traffic.

`benchmarks/teachers.py` measures what that is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import nn

Layer: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"

CACHE_BYTES = 2_000_000
"""What a step may write, so that the next one finds it in the processor's cache."""


class Rearrangeable(Protocol):
    """A layer that can be rearranged."""

    def rearranged(self, dtype: torch.dtype) -> Layer:
        """Return what the layer does, most of it computed in `dtype`."""


def rearrange(layers: Iterable[nn.Module], dtype: torch.dtype) -> list[Layer]:
    """Return what each of the layers, which are `Rearrangeable`, does."""
    return [cast(Rearrangeable, layer).rearranged(dtype) for layer in layers]


def pad_same(x: torch.Tensor, length: int) -> torch.Tensor:
    """Zero-pad the last axis so that a filter of `length` keeps its size; the odd one goes behind."""
    return F.pad(x, ((length - 1) // 2, length // 2))


class _Folded:
    """A convolution and its normalisation as filters, their bias, and what follows.

    Parameters
    ----------
    conv, norm
        Of the layer.
    activation
        What follows the normalisation; None for a ReLU before it. It must be monotone, so that it may follow
        a maximum.
    dtype
        What to compute in.
    """

    @torch.no_grad()
    def __init__(
        self,
        conv: nn.Conv1d | nn.Conv2d,
        norm: nn.BatchNorm1d | nn.BatchNorm2d,
        activation: Layer | None,
        dtype: torch.dtype,
    ) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - scale * norm.running_mean.double()
        bias = scale * conv.bias.double() if conv.bias is not None else torch.zeros_like(scale)
        self.dtype = dtype
        self.activation = activation
        self.weight = (conv.weight.double() * scale.reshape(-1, *[1] * (conv.weight.ndim - 1))).to(dtype)
        self.bias = (bias + shift if activation else bias).to(dtype)
        self.shift = shift.float()
        self.sign = torch.where(scale < 0, -1.0, 1.0).float()

    def finish(self, y: torch.Tensor) -> torch.Tensor:
        """Return what sums ``(batch, filters, ...)`` of products with `weight`, or their maxima, become."""
        if self.activation:
            return self.activation(y)
        sign, shift = (v.to(y.dtype).reshape(-1, *[1] * (y.ndim - 2)) for v in (self.sign, self.shift))
        return torch.addcmul(shift, y.mul_(sign).relu_(), sign)


class FoldedConvolution(_Folded):
    """A convolution over time that keeps the length, with its normalisation and activation.

    ``(batch, channels, frames) -> (batch, filters, frames)`` in float32. The parameters are `_Folded`'s.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer does."""
        x = pad_same(x.to(self.dtype), self.weight.shape[-1])
        return self.finish(F.conv1d(x, self.weight, self.bias).float())


class FoldedConvolution2d(_Folded):
    """A convolution over bands and frames, with its stride and groups, normalisation and activation.

    ``(batch, channels, n_mels, frames) -> (batch, filters, ...)`` in `dtype`, channels last. The parameters
    are `_Folded`'s.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: Layer, dtype: torch.dtype) -> None:
        super().__init__(conv, norm, activation, dtype)
        self.weight = self.weight.contiguous(memory_format=torch.channels_last)
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer does."""
        y = F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, groups=self.groups)
        return self.finish(y)


class PeakFilters(_Folded):
    """Filters over bands and frames, normalisation, activation, and the maximum over the bands left.

    ``(batch, 1, n_mels, frames) -> (batch, filters, frames)`` in float32. The parameters are `_Folded`'s.

    In float32 it is a convolution, a few bands at a time. In less it is the windows of all frames times one
    matrix at each place among the bands: there are fast matrix products of such numbers, and no convolution
    with a single input channel.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer does."""
        length = self.weight.shape[-1]
        x = pad_same(x.to(self.dtype), length)
        if self.dtype == torch.float32:
            return self.finish(torch.cat([self._by_convolution(one) for one in torch.split(x, 1)]))
        bytes_each = self.dtype.itemsize * x.shape[3] * (x.shape[2] * length + 2 * len(self.weight))
        pieces = torch.split(x, max(1, CACHE_BYTES // bytes_each))
        return self.finish(torch.cat([self._by_windows(piece) for piece in pieces]).float())

    def _by_convolution(self, x: torch.Tensor) -> torch.Tensor:
        filters, _, height, _ = self.weight.shape
        if height == 1:  # the bands as a batch: for one input of this size torch takes a slower way
            return F.conv1d(x[0, 0, :, None], self.weight[:, 0], self.bias).amax(dim=0, keepdim=True)
        places = x.shape[2] - height + 1
        step = max(1, CACHE_BYTES // (4 * filters * x.shape[3]))
        peaks = [
            F.conv2d(x[:, :, at : min(at + step, places) + height - 1], self.weight, self.bias).amax(dim=2)
            for at in range(0, places, step)
        ]
        return torch.stack(peaks).amax(dim=0)

    def _by_windows(self, x: torch.Tensor) -> torch.Tensor:
        filters, _, height, length = self.weight.shape
        bands, frames = x.shape[2], x.shape[3] - length + 1
        windows = x[:, 0].unfold(2, length, 1).transpose(1, 2).reshape(-1, bands * length)
        matrix = self.weight.flatten(1)
        peak: torch.Tensor | None = None
        for at in range(0, length * (bands - height) + 1, length):
            found = F.linear(windows[:, at : at + length * height], matrix, self.bias)
            peak = found if peak is None else torch.maximum(peak, found, out=peak)
        assert peak is not None
        return peak.reshape(len(x), frames, filters).transpose(1, 2)


class PooledConvolution(_Folded):
    """A convolution over time with its stride and padding, normalisation and activation, all after pooling.

    ``(batch, channels, frames) -> (batch, filters, ...)`` in `dtype`.

    Parameters
    ----------
    conv, norm, activation, dtype
        As of `_Folded`.
    pool
        Frames.
    """

    def __init__(
        self, conv: nn.Conv1d, norm: nn.BatchNorm1d, activation: Layer, dtype: torch.dtype, *, pool: int
    ) -> None:
        super().__init__(conv, norm, activation, dtype)
        self.stride, self.padding = conv.stride, conv.padding
        self.pool = pool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer does."""
        y = F.conv1d(x.to(self.dtype), self.weight, self.bias, stride=self.stride, padding=self.padding)
        return self.finish(F.max_pool1d(y, self.pool))


class PooledBlock(_Folded):
    """A 3x3 convolution that keeps the size, normalisation and activation, all after maximum pooling.

    ``(batch, channels, n_mels, frames) -> (batch, filters, ...)`` in `dtype`, channels last.

    Parameters
    ----------
    conv, norm, activation, dtype
        As of `_Folded`.
    pool, stride
        ``(frequency, time)``.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        norm: nn.BatchNorm2d,
        activation: Layer | None,
        dtype: torch.dtype,
        *,
        pool: tuple[int, int],
        stride: tuple[int, int],
    ) -> None:
        super().__init__(conv, norm, activation, dtype)
        self.weight = self.weight.contiguous(memory_format=torch.channels_last)
        # What a pool of a single band or frame leaves out need not be computed.
        self.skip = tuple(n if size == 1 else 1 for size, n in zip(pool, stride, strict=True))
        self.stride = tuple(1 if size == 1 else n for size, n in zip(pool, stride, strict=True))
        self.pool = pool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the block does."""
        x = x.to(self.dtype, memory_format=torch.channels_last)
        y = F.conv2d(x, self.weight, self.bias, stride=self.skip, padding=1)
        return self.finish(F.max_pool2d(y, self.pool, self.stride))


class InPieces:
    """A function of a batch, applied to a few of its inputs at a time, so that the cache holds what it makes.

    Parameters
    ----------
    function
        From ``(batch, ...)`` to ``(batch, ...)``.
    bytes_each
        What its largest step makes of one input.
    """

    def __init__(self, function: Layer, bytes_each: int) -> None:
        self._function = function
        self._at_once = max(1, CACHE_BYTES // bytes_each)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the function does."""
        return torch.cat([self._function(piece) for piece in torch.split(x, self._at_once)])
