"""The training loop: AdamW, one cycle of the learning rate, clipped gradients, averaged weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import ConfigError, LightmelError
from ..models.base import TaggingNetwork

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
History: TypeAlias = list[dict[str, float]]
Network = TypeVar("Network", bound=TaggingNetwork)


class TrainingError(LightmelError):
    """Training that cannot go on; the message says at which step and why."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Parameters
    ----------
    epochs
        Passes over the data.
    lr
        Highest learning rate of the one-cycle schedule (Smith and Topin, 2018).
    weight_decay
        AdamW's decoupled decay.
    clip_norm
        Gradients are scaled down to this norm.
    average
        Highest decay of the exponential moving average of the weights, which is what is kept. It begins
        lower, so that a short training is not averaged with its own beginning.
    """

    epochs: int = 12
    lr: float = 3e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average: float = 0.998

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.lr <= 0 or self.clip_norm <= 0 or not 0 <= self.average < 1:
            raise ConfigError(
                "TrainConfig wants epochs >= 1, lr > 0, clip_norm > 0 and 0 <= average < 1, "
                f"not {self.epochs}, {self.lr}, {self.clip_norm}, {self.average}."
            )


def fit(
    network: Network,
    epoch_batches: Callable[[int], Iterable[Batch]],
    steps_per_epoch: int,
    loss: Loss,
    config: TrainConfig,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Network, History]:
    """Train `network` and return the averaged network, in evaluation mode, and the history.

    Parameters
    ----------
    network
        Trained in place.
    epoch_batches
        Called with the epoch (from 0), yields ``(mel[batch, n_mels, n_frames], target)``.
    steps_per_epoch
        Batches in each epoch; the learning rate follows them.
    loss
        ``loss(logits, target)``, a scalar.
    config
        How to train.
    on_epoch
        Called after each epoch with its line of the history: epoch, loss, lr, seconds.
    generator
        Seeds what the network drops out; without one, torch's global generator does. The global random
        state is afterwards what it was.

    Raises
    ------
    ConfigError
        If an epoch has no steps.
    TrainingError
        If the loss is not finite; the message says at which step.
    """
    if steps_per_epoch < 1:
        raise ConfigError(
            "An epoch without a single step trains nothing: give more data, or smaller batches."
        )
    with torch.random.fork_rng(devices=[]):  # dropout knows no other generator than the global one
        if generator is not None:
            seed = int(torch.randint(2**62, (1,), generator=generator))
            torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        return _fit(network, epoch_batches, steps_per_epoch, loss, config, on_epoch)


def _fit(
    network: Network,
    epoch_batches: Callable[[int], Iterable[Batch]],
    steps_per_epoch: int,
    loss: Loss,
    config: TrainConfig,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> tuple[Network, History]:
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.lr, total_steps=config.epochs * steps_per_epoch, pct_start=0.15
    )
    averaged = AveragedModel(network, multi_avg_fn=_moving_average(config.average), use_buffers=True)
    history: History = []
    step = 0
    for epoch in range(config.epochs):
        network.train()
        started, total, count = time.perf_counter(), 0.0, 0
        for mel, target in epoch_batches(epoch):
            value = loss(network(mel), target)
            if not torch.isfinite(value):
                raise TrainingError(
                    f"The loss is {value.item()} at step {step}, epoch {epoch}; try a lower lr."
                )
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimiser.step()
            schedule.step()
            averaged.update_parameters(network)
            total, count, step = total + value.item() * len(mel), count + len(mel), step + 1
        line = {
            "epoch": float(epoch),
            "loss": total / max(count, 1),
            "lr": float(schedule.get_last_lr()[0]),
            "seconds": time.perf_counter() - started,
        }
        history.append(line)
        if on_epoch is not None:
            on_epoch(line)
    return cast(Network, averaged.module).eval(), history


def _moving_average(highest: float) -> Callable[[Any, Any, Any], None]:
    """Return an exponential moving average for `AveragedModel`, of decay (1 + n) / (10 + n) at first."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        decay = min(highest, (1 + float(count)) / (10 + float(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]

    return update
