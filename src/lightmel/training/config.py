"""How to train, as data: what commands, files of runs and Python share. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from .._settings import check_plain, documented, setting
from ..errors import ConfigError

Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "onecycle", "plateau", "step"]
Precision = Literal["auto", "float32", "bfloat16"]
Trainable = Literal["all", "head"]
ClassWeights = Literal["none", "balanced"]


@documented
@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    The defaults are what the paper's code does for VGG-CNN at 12 kHz, and no more: at 16 kHz and for MUSICNN
    it trains otherwise, as `lightmel.training.RECIPES` has it.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    epochs: int = setting(13, "Passes over the data.")
    batch_size: int = setting(
        64, "Most examples in a step, over all processes; the steps of an epoch are of even size."
    )
    optimizer: Optimizer = setting("adam", "adam; or adamw, with decoupled weight decay.")
    lr: float = setting(1e-3, "Learning rate; with onecycle the highest one.")
    weight_decay: float = setting(0.0, "Weight decay of the optimizer.")
    schedule: Schedule = setting(
        "constant",
        "Learning rate over time: constant; onecycle, up and down once (Smith and Topin, 2018); plateau, a "
        "tenth after three epochs without a better validation PR AUC; step, a tenth every step_epochs.",
    )
    step_epochs: int = setting(100, "With the schedule step: epochs until the rate is divided by 10.")
    clip_norm: float = setting(
        0.0, "Largest norm of the gradients, which are scaled down to it; 0: no limit."
    )
    ema_decay: float = setting(
        0.0,
        "Highest decay of an exponential moving average of the weights, which is then what is validated and "
        "kept; it is lower at first, so that a short training is not averaged with its own beginning. 0: "
        "none.",
    )
    precision: Precision = setting(
        "auto",
        "Arithmetic of the network: float32; bfloat16 (mixed precision); auto, which is bfloat16 where a "
        "CUDA device has it and float32 elsewhere.",
    )
    patience: int = setting(0, "Stop after so many epochs without a better validation PR AUC; 0: never.")
    trainable: Trainable = setting(
        "all",
        "What learns: all of the network, or its head; the body then stays as it is, statistics included.",
    )
    class_weights: ClassWeights = setting(
        "none", "none; or balanced: a tag's true examples weigh false / true times as much, at most 50 times."
    )
    save_seconds: float = setting(
        300.0, "Seconds between two checkpoints within an epoch; the end of each epoch has one too."
    )
    seed: int = setting(0, "Seed of everything random.")

    def __post_init__(self) -> None:
        check_plain(self)
        if self.epochs < 1 or self.batch_size < 1 or not self.lr > 0:
            raise ConfigError(
                "epochs and batch_size are at least 1 and lr is above 0, "
                f"not {self.epochs}, {self.batch_size}, {self.lr}."
            )
        if self.step_epochs < 1:
            raise ConfigError(f"step_epochs is at least 1, not {self.step_epochs}.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay lies from 0 to below 1, not {self.ema_decay}.")
        for name in ("weight_decay", "clip_norm", "patience", "save_seconds", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is 0 or more, not {getattr(self, name)}.")


@documented
@dataclass(frozen=True)
class TaggerConfig:
    """What is trained on labelled clips.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    network: str = setting(
        "vgg-12k-mel96-x1-db",
        "The network and its input: vgg, vgg-small, musicnn, musicnn-small, musicnn-pons, "
        "musicnn-pons-small, mobilenet, samplecnn or samplecnn-small; then the slug of the input.",
    )
    segment_seconds: float = setting(
        0.0,
        "Seconds of sound in one pass of the network; 0: the paper's, 29.1 for vgg and 3 for musicnn, "
        "and 59,049 samples for samplecnn.",
    )
    excerpts: int = setting(1, "Random excerpts of each clip in an epoch.")
    augment: bool = setting(
        False, "Change level and spectrum (equalizer, low-pass) of the training clips at random."
    )

    def __post_init__(self) -> None:
        check_plain(self)
        if not self.segment_seconds >= 0 or self.excerpts < 1:
            raise ConfigError(
                "segment_seconds is 0 or more and excerpts at least 1, "
                f"not {self.segment_seconds} and {self.excerpts}."
            )


@documented
@dataclass(frozen=True)
class FinetuneConfig:
    """How a tagger is fine-tuned: its head alone first, then all of it at a lower rate.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    head_epochs: int = setting(20, "Passes over the data in which only the new head learns.")
    head_lr: float = setting(3e-3, "Highest learning rate while only the head learns.")
    epochs: int = setting(
        20, "Passes after those in which all of the network learns; 0: the body stays as it is."
    )
    lr: float = setting(1e-3, "Highest learning rate while all of the network learns.")
    batch_size: int = setting(32, "Most examples in a step.")
    excerpts: int = setting(4, "Random excerpts of each clip in a pass.")
    augment: bool = setting(
        True, "Change level and spectrum (equalizer, low-pass) of the training clips at random."
    )
    patience: int = setting(
        0, "Stop a stage after so many epochs without a better validation PR AUC; 0: never."
    )
    class_weights: ClassWeights = setting(
        "none", "none; or balanced: a tag's true clips weigh false / true times as much, at most 50 times."
    )
    seed: int = setting(0, "Seed of everything random.")
    keep_tags: bool = setting(
        False,
        "Keep the tags of the tagger that is started from, beside the new ones. So that their scores stay as "
        "they are, only the new head learns then, whatever epochs says. A new tag takes the place of an old "
        "one of its name.",
    )
    embeddings: bool = setting(
        False,
        "Learn from the embeddings of whole clips alone: a logistic regression for each tag, in seconds once "
        "the embeddings are computed. Of the other settings, keep_tags, class_weights, folds and seed count.",
    )
    folds: int = setting(
        0,
        "Cross-validate, for few clips: so many taggers, 3 or more, are trained, each tested on a part of "
        "the clips, by group; the one that is kept learns from all clips but a part for validation. 0: one "
        "tagger, by the splits of the data.",
    )

    def __post_init__(self) -> None:
        check_plain(self)
        if self.head_epochs < 1 or self.epochs < 0 or self.batch_size < 2 or self.excerpts < 1:
            raise ConfigError(
                "head_epochs and excerpts are at least 1, epochs 0 or more and batch_size at least 2, "
                f"not {self.head_epochs}, {self.excerpts}, {self.epochs}, {self.batch_size}."
            )
        if not (self.head_lr > 0 and self.lr > 0):
            raise ConfigError(f"head_lr and lr are above 0, not {self.head_lr} and {self.lr}.")
        for name in ("patience", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is 0 or more, not {getattr(self, name)}.")
        if self.folds not in (0, *range(3, 101)):
            raise ConfigError(f"folds is 0, for none, or from 3 to 100, not {self.folds}.")

    @property
    def stages(self) -> tuple[TrainConfig, ...]:
        """The two trainings of a network that it stands for, the first alone, or none, by `embeddings`."""
        if self.embeddings:
            return ()
        shared = TrainConfig(
            optimizer="adamw",
            schedule="onecycle",
            clip_norm=1.0,
            batch_size=self.batch_size,
            patience=self.patience,
            class_weights=self.class_weights,
            seed=self.seed,
        )
        head = replace(shared, trainable="head", epochs=self.head_epochs, lr=self.head_lr)
        if self.keep_tags or not self.epochs:
            return (head,)
        return head, replace(shared, epochs=self.epochs, lr=self.lr)

    @property
    def passes(self) -> int:
        """Passes over the data in all of its trainings, those of a cross-validation included."""
        return sum(stage.epochs for stage in self.stages) * (1 + self.folds)


@documented
@dataclass(frozen=True)
class Signature:
    """Name, version and license of a new tagger."""

    name: str = setting("", "Name that the tagger signs its scores with; empty: that of its file.")
    version: str = setting("1", "Version that the tagger signs its scores with.")
    license: str = setting(
        "",
        "License of the tagger's weights; empty: that of the tagger it was fine-tuned from, or else not "
        "stated.",
    )

    def __post_init__(self) -> None:
        check_plain(self)


class Stoppable(Protocol):
    """A training that is about to begin: `lightmel.Trainer` is one."""

    @property
    def running(self) -> bool:
        """Whether it is at work."""

    def stop(self) -> None:
        """Let it end after its step."""


@dataclass(frozen=True)
class Callbacks:
    """Functions that a training calls as it goes on; each may be None.

    Attributes
    ----------
    on_start
        Called with each training before it begins; its `stop` ends it.
    on_epoch
        Called with each line of the history.
    on_step
        Called with the steps that are done and all steps.
    on_progress
        Called with what is being done, how much of it is done, and all of it.
    """

    on_start: Callable[[Stoppable], None] | None = None
    on_epoch: Callable[[dict[str, float]], None] | None = None
    on_step: Callable[[int, int], None] | None = None
    on_progress: Callable[[str, int, int], None] | None = None

    def progress(self, what: str, done: int, total: int) -> None:
        """Call `on_progress`, if there is one."""
        if self.on_progress is not None:
            self.on_progress(what, done, total)

    def replace(self, **changes: Any) -> Callbacks:
        """Return a copy with some of them changed."""
        return replace(self, **changes)


NO_CALLBACKS = Callbacks()
