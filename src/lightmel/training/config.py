"""How to train, as data: what commands, files of runs and Python share. Nothing here needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, get_type_hints

from ..errors import ConfigError, check_choices

Optimiser = Literal["adam", "adamw"]
Schedule = Literal["constant", "onecycle", "plateau"]
Precision = Literal["auto", "float32", "bfloat16"]
Part = Literal["all", "head"]
ClassWeights = Literal["none", "balanced"]


def _plain_numbers(config: Any) -> None:
    """Make the numbers of a frozen dataclass Python's own, as a checkpoint or JSON takes no others.

    Raises
    ------
    ConfigError
        If one is none, is not finite, or is not whole where it must be.
    """
    for name, kind in get_type_hints(type(config)).items():
        if kind not in (int, float):
            continue
        value = getattr(config, name)
        if not isinstance(value, Real) or not math.isfinite(value) or (kind is int and value % 1):
            raise ConfigError(f"{name} is a {'whole' if kind is int else 'finite'} number, not {value!r}.")
        object.__setattr__(config, name, kind(value))


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are the paper's for VGG-CNN at 12 kHz: Adam, 13 epochs, batches of 64.

    Parameters
    ----------
    epochs
        Passes over the data.
    batch
        Examples a step, over all processes; an epoch's last steps share what is left evenly.
    optimiser
        adam, or adamw with decoupled weight decay.
    lr
        Learning rate; the highest one of onecycle.
    weight_decay
        Of the optimiser.
    schedule
        constant; onecycle (Smith and Topin, 2018); plateau: a tenth after three epochs without a better
        validation PR AUC.
    clip_norm
        Gradients are scaled down to this norm; 0 leaves them.
    average
        Highest decay of the exponential moving average of the weights, which is then what is judged and
        kept. It begins lower, so that a short training is not averaged with its own beginning. 0: none.
    precision
        bfloat16 runs the network in mixed precision; auto does so where a CUDA device has it.
    patience
        Stop after so many epochs without a better validation PR AUC; 0: never.
    part
        all, or only the head: the body then stays as it is, statistics included.
    class_weights
        balanced weighs a tag's true examples by false / true, at most 50.
    save_seconds
        Write a checkpoint so often, beside that at each epoch's end.
    seed
        Of everything random.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    epochs: int = 13
    batch: int = 64
    optimiser: Optimiser = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    clip_norm: float = 0.0
    average: float = 0.0
    precision: Precision = "auto"
    patience: int = 0
    part: Part = "all"
    class_weights: ClassWeights = "none"
    save_seconds: float = 300.0
    seed: int = 0

    def __post_init__(self) -> None:
        _plain_numbers(self)
        check_choices(self)
        if self.epochs < 1 or self.batch < 1 or not self.lr > 0:
            raise ConfigError(
                "epochs and batch are at least 1 and lr is above 0, "
                f"not {self.epochs}, {self.batch}, {self.lr}."
            )
        if not 0 <= self.average < 1:
            raise ConfigError(f"average is a decay from 0 to below 1, not {self.average}.")
        for name in ("weight_decay", "clip_norm", "patience", "save_seconds", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is 0 or more, not {getattr(self, name)}.")


@dataclass(frozen=True)
class TaggerConfig:
    """What is trained on labelled clips.

    Parameters
    ----------
    network
        Network and input: vgg or musicnn; then pons, small or neither; then the slug of its input.
    seconds
        What it hears at once; 0 is the paper's: 29.1 for vgg, 3 for musicnn.
    excerpts
        Random excerpts of each clip in an epoch.
    augment
        Let it hear other levels, equalisers and low-passes, drawn anew each time.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    network: str = "vgg-12k-mel96-x1-db"
    seconds: float = 0.0
    excerpts: int = 1
    augment: bool = False

    def __post_init__(self) -> None:
        _plain_numbers(self)
        if not self.seconds >= 0 or self.excerpts < 1:
            raise ConfigError(
                f"seconds is 0 or more and excerpts at least 1, not {self.seconds} and {self.excerpts}."
            )


@dataclass(frozen=True)
class FinetuneConfig:
    """How a tagger learns other tags: its head alone first, then all of it at a lower rate.

    Parameters
    ----------
    head_epochs
        Passes in which only the new head learns.
    head_lr
        Highest learning rate of these.
    epochs
        Passes in which everything learns; 0 keeps the body as it is.
    lr
        Highest learning rate of these.
    batch
        Examples a step.
    excerpts
        Random excerpts of each clip in a pass.
    augment
        Let it hear other levels, equalisers and low-passes, drawn anew each time.
    patience
        Stop after so many epochs without a better validation PR AUC; 0: never.
    class_weights
        balanced weighs a tag's true clips by false / true, at most 50.
    seed
        Of everything random.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    head_epochs: int = 20
    head_lr: float = 3e-3
    epochs: int = 20
    lr: float = 1e-3
    batch: int = 32
    excerpts: int = 4
    augment: bool = True
    patience: int = 0
    class_weights: ClassWeights = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        _plain_numbers(self)
        check_choices(self)
        if self.head_epochs < 1 or self.epochs < 0 or self.batch < 2 or self.excerpts < 1:
            raise ConfigError(
                "head_epochs and excerpts are at least 1, epochs 0 or more and batch at least 2, "
                f"not {self.head_epochs}, {self.excerpts}, {self.epochs}, {self.batch}."
            )
        if not (self.head_lr > 0 and self.lr > 0):
            raise ConfigError(f"head_lr and lr are above 0, not {self.head_lr} and {self.lr}.")
        for name in ("patience", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is 0 or more, not {getattr(self, name)}.")

    @property
    def stages(self) -> tuple[TrainConfig, ...]:
        """The two trainings that it stands for, or the first alone."""
        shared = TrainConfig(
            optimiser="adamw",
            schedule="onecycle",
            clip_norm=1.0,
            batch=self.batch,
            patience=self.patience,
            class_weights=self.class_weights,
            seed=self.seed,
        )
        head = replace(shared, part="head", epochs=self.head_epochs, lr=self.head_lr)
        return (head, replace(shared, epochs=self.epochs, lr=self.lr)) if self.epochs else (head,)
