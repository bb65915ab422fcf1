"""Several processes that train one network: their ranks, and batch statistics over all of them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """One process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that validates, writes and reports."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Return the sums of numbers over all processes."""
        if self.size == 1:
            return list(values)
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return [float(v) for v in total]

    def first(self, value: Value) -> Value:
        """Return what the first process has for `value`."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def is_first_process() -> bool:
    """Whether this is the first of the processes that train together, or the only one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined_world() -> Iterator[World]:
    """Join the processes that torchrun started, if it did.

    They stay together until they end: a group that met anew for each training would find the addresses of
    the last one in torchrun's store. A process group that is already there is used.
    """
    if not dist.is_available() or (int(os.environ.get("WORLD_SIZE", "1")) == 1 and not dist.is_initialized()):
        yield World()
        return
    if not dist.is_initialized():
        if torch.cuda.is_available():  # NCCL sends from the current device, and each process has its own
            torch.cuda.set_device(int(os.environ["RANK"]) % torch.cuda.device_count())
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(_part)
    yield World(dist.get_rank(), dist.get_world_size())


def _part() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over all processes; the gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class _SharedNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the statistics of all processes; `nn.SyncBatchNorm` wants a GPU for that."""

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - the parent's name
        pass

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the parent's name
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        x = input.float()
        over = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        sums = torch.cat([x.sum(over), x.new_full((1,), x.numel() / x.shape[1])])
        sums = _Sum.apply(sums)  # type: ignore[no-untyped-call]
        count = sums[-1].detach()
        mean = sums[:-1] / count
        # Not the mean square less the squared mean: of decibels that difference has lost its digits.
        centered = x - mean.view(shape)
        variance = _Sum.apply(centered.square().sum(over)) / count  # type: ignore[no-untyped-call]
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                # Without a momentum, torch keeps the mean over all batches.
                part = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, part)
                self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), part)
        scale = torch.rsqrt(variance + self.eps)
        if self.affine:
            scale = scale * self.weight
        y: torch.Tensor = centered * scale.view(shape)
        if self.affine:
            y = y + self.bias.view(shape)
        return y.to(input.dtype)


def _shared(layer: nn.modules.batchnorm._BatchNorm, kind: type[nn.modules.batchnorm._BatchNorm]) -> nn.Module:
    """Return a layer of `kind` with the very parameters and buffers of `layer`."""
    # On "meta" nothing is allocated for what is replaced at once.
    other = kind(
        layer.num_features,
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
        device="meta",
    )
    for name, parameter in layer.named_parameters():
        setattr(other, name, parameter)
    for name, buffer in layer.named_buffers():
        setattr(other, name, buffer)
    return other.train(layer.training)


@contextmanager
def shared_statistics(network: nn.Module, world: World) -> Iterator[None]:
    """Make the batch normalisations of `network` use the batch of all processes; restore them at the end."""
    swapped = []
    if world.size > 1:
        on_gpu = next(network.parameters()).device.type == "cuda"
        kind = nn.SyncBatchNorm if on_gpu else _SharedNorm
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.modules.batchnorm._BatchNorm):
                    swapped.append((parent, name, child))
                    setattr(parent, name, _shared(child, kind))
    try:
        yield
    finally:
        for parent, name, child in swapped:
            setattr(parent, name, child)
