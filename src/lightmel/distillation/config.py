"""The settings of a distillation: the student, the music, the training. Nothing here needs torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .._settings import check_plain, documented, setting
from ..errors import ConfigError
from ..training import Signature, TrainConfig


@documented
@dataclass(frozen=True)
class DistillConfig:
    """What a student is, and what it is trained on.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    student: str = setting(
        "musicnn-pons-small-16k-mel48-x2-db",
        "The network and its input: vgg, vgg-small, musicnn, musicnn-small, musicnn-pons or musicnn-pons-"
        "small; then the slug of the input.",
    )
    segment_seconds: float = setting(3.0, "Seconds of sound in one pass of the student.")
    step_seconds: float = setting(1.5, "Seconds from one training segment to the next.")
    excerpt_seconds: float = setting(30.0, "Seconds from the middle of each file that are used.")
    slowest: float = setting(
        0.84,
        "Each clip is also used at another speed, drawn at random, which moves its pitch along: the lowest "
        "one.",
    )
    fastest: float = setting(1.19, "The highest speed of these.")
    mixtures: float = setting(0.5, "Segments that are mixtures of two, as a multiple of the plain ones.")
    holdout: float = setting(
        0.125, "Share of the groups (folders, or those of the table) that is held out to evaluate on."
    )
    split_seed: int = setting(0, "Seed of the choice of these groups; another number holds out others.")
    tag_weight: float = setting(
        0.1,
        "Weight, beside the cross-entropy, of the squared error of logits, each tag's divided by its spread,"
        " so that rare tags count.",
    )

    def __post_init__(self) -> None:
        check_plain(self)
        for name in ("segment_seconds", "step_seconds", "excerpt_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}.")
        if not 0 < self.slowest <= self.fastest:
            raise ConfigError(
                f"slowest is above 0 and fastest no less, not {self.slowest} and {self.fastest}."
            )
        if not 0 < self.holdout < 1 or self.mixtures < 0 or self.tag_weight < 0:
            raise ConfigError(
                "holdout lies between 0 and 1, mixtures and tag_weight are 0 or more, "
                f"not {self.holdout}, {self.mixtures}, {self.tag_weight}."
            )


DISTILL_TRAINING = TrainConfig(
    epochs=12,
    optimizer="adamw",
    lr=3e-3,
    weight_decay=0.01,
    schedule="onecycle",
    clip_norm=1.0,
    ema_decay=0.998,
)
"""How students are trained by default."""


@documented
@dataclass(frozen=True)
class MusicConfig:
    """Which files of the music are used, and what human annotations there are of them."""

    match: str = setting("*", "Only files of such a name, such as `*.opus`.")
    human_annotations: str = setting(
        "", "CSV to evaluate on: path, and a column for each tag with the share of annotators who gave it."
    )

    def __post_init__(self) -> None:
        check_plain(self)


UNSIGNED = Signature()
"""A student's signature where nothing is said: the name of its file, version 1, no license."""


@dataclass(frozen=True)
class StudentJob:
    """A distillation from a folder of music to a saved tagger with its card; see `make_student`.

    Attributes
    ----------
    music
        A folder of sound, whose folders are its groups, or a CSV of path and group.
    out
        The tagger's file; the card is the same name with ``.md``, figures and history with ``.json``.
    selection
        Which files of it, and the human annotations of them.
    distillation, training
        What the student is and is trained on, and how.
    signature
        Its name, version and license; an empty name is that of its file.
    command
        The command line of the job, for the card.
    work
        A folder for the teachers' scores and for checkpoints: the same job goes on where it was stopped.
    device
        Where the student is trained; as in `lightmel.Trainer`.
    """

    music: str | os.PathLike[str]
    out: str | os.PathLike[str]
    selection: MusicConfig = MusicConfig()
    distillation: DistillConfig = DistillConfig()
    training: TrainConfig = DISTILL_TRAINING
    signature: Signature = UNSIGNED
    command: str = ""
    work: str | os.PathLike[str] | None = None
    device: str | None = None
