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
        "The network and its input: vgg, vgg-small, musicnn, musicnn-small, musicnn-pons, "
        "musicnn-pons-small, mobilenet, samplecnn or samplecnn-small; then the slug of the input.",
    )
    segment_seconds: float = setting(3.0, "Seconds of sound in one pass of the student.")
    window_seconds: float = setting(
        0.0,
        "Seconds of sound that the teachers score at once; the target of a longer segment is the mean over "
        "its windows. 0: those of the segment.",
    )
    step_seconds: float = setting(1.5, "Seconds from one window to the next.")
    jitter: float = setting(
        1.0,
        "Segments begin up to half of this part of a step before or after a window, at random; their targets "
        "are interpolated. 0: they begin with a window.",
    )
    excerpt_seconds: float = setting(30.0, "Seconds from the middle of each file that are used.")
    sr: int = setting(
        0, "Sample rate in Hz at which the music is held; 0: the highest of student and teachers."
    )
    speeds: int = setting(1, "Other speeds of each clip.")
    slowest: float = setting(
        0.84,
        "Other speeds are drawn at random, and move the pitch along: the lowest one.",
    )
    fastest: float = setting(1.19, "The highest speed of these.")
    mixtures: float = setting(
        0.5,
        "Windows of mixtures of two clips, which the teachers score anew, as a multiple of the plain ones.",
    )
    clip_share: float = setting(
        0.0, "Share of the mean over all windows of a clip, or of a mixture, in the target of each of them."
    )
    vocabulary: str = setting(
        "",
        "What the student's tags are: `lightmel` for example; nothing: those of all teachers. Teachers take "
        "part in a tag by its name or by its concept.",
    )
    concept_share: float = setting(
        0.25,
        "With a vocabulary: share, in the target of a tag that teachers know by name, of those that know "
        "only its concept.",
    )
    start: str = setting(
        "",
        "Name or file of a tagger of the same network whose weights the student starts from; its input is "
        "normalised, band by band, to what they expect. Nothing: random weights.",
    )
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
        if not 0 <= self.window_seconds <= self.segment_seconds:
            raise ConfigError(
                f"window_seconds lies between 0 and segment_seconds, not {self.window_seconds}."
            )
        for name in ("jitter", "clip_share", "concept_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} lies between 0 and 1, not {getattr(self, name)}.")
        if self.sr < 0 or self.speeds < 0:
            raise ConfigError(f"sr and speeds are 0 or more, not {self.sr} and {self.speeds}.")
        if not 0 < self.slowest <= self.fastest:
            raise ConfigError(
                f"slowest is above 0 and fastest no less, not {self.slowest} and {self.fastest}."
            )
        if not 0 < self.holdout < 1 or self.mixtures < 0 or self.tag_weight < 0:
            raise ConfigError(
                "holdout lies between 0 and 1, mixtures and tag_weight are 0 or more, "
                f"not {self.holdout}, {self.mixtures}, {self.tag_weight}."
            )

    @property
    def window(self) -> float:
        """Seconds of sound in one window of the teachers."""
        return self.window_seconds or self.segment_seconds


@documented
@dataclass(frozen=True)
class ScoresConfig:
    """What teachers score, and what students learn from it.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    window_seconds: float = setting(3.0, "Seconds of sound that the teachers score at once.")
    step_seconds: float = setting(2.0, "Seconds from one window to the next.")
    excerpt_seconds: float = setting(30.0, "Seconds from the middle of each file that are used.")
    sr: int = setting(0, "Sample rate in Hz at which the music is held; 0: the highest of the teachers.")
    vocabulary: str = setting(
        "",
        "What the students' tags are: `lightmel` for example; nothing: those of all teachers. Teachers take "
        "part in a tag by its name or by its concept.",
    )
    concept_share: float = setting(
        0.25,
        "With a vocabulary: share, in the target of a tag that teachers know by name, of those that know "
        "only its concept.",
    )
    holdout: float = setting(
        0.125,
        "Share of the groups that is held out to measure students on; a table with a column `split` says "
        "itself what is train and what is test.",
    )
    split_seed: int = setting(0, "Seed of the choice of these groups; another number holds out others.")

    def __post_init__(self) -> None:
        check_plain(self)
        if not 0 < self.holdout < 1:
            raise ConfigError(f"holdout lies between 0 and 1, not {self.holdout}.")
        for name in ("window_seconds", "step_seconds", "excerpt_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}.")
        if self.sr < 0 or not 0 <= self.concept_share <= 1:
            raise ConfigError(
                f"sr is 0 or more and concept_share between 0 and 1, not {self.sr} and {self.concept_share}."
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
