"""What a student is and how it learns, as data. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .._settings import check_plain, documented, setting
from ..errors import ConfigError
from ..training import Signature, TrainConfig


@documented
@dataclass(frozen=True)
class DistillConfig:
    """What a student is, and what it is taught on.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    student: str = setting(
        "musicnn-pons-small-16k-mel48-x2-db",
        "Network and input: vgg or musicnn; then pons, small or neither; then the slug of its input.",
    )
    segment_seconds: float = setting(3.0, "Length of its segments.")
    step_seconds: float = setting(1.5, "Seconds from one segment to the next.")
    excerpt_seconds: float = setting(30.0, "Seconds taken from the middle of each file.")
    slowest: float = setting(
        0.84, "A second version of each clip is played at a rate drawn from here on; pitch moves along."
    )
    fastest: float = setting(1.19, "Up to here.")
    mixtures: float = setting(0.5, "Mixtures of two segments, as a multiple of the number of plain segments.")
    holdout: float = setting(0.125, "Share of the groups that is kept for testing.")
    split_seed: int = setting(0, "Another number holds out other groups.")
    tag_weight: float = setting(
        0.1, "Weight of the squared error of logits, each tag divided by its spread, so that rare tags count."
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
"""How students are trained, where nothing else is said."""


@documented
@dataclass(frozen=True)
class MusicConfig:
    """Which of the music is taken, and what is known about it."""

    match: str = setting("*", "Only files of such a name, such as '*.opus'.")
    human_annotations: str = setting(
        "", "CSV of path and one column a tag (the share of listeners that gave it), to evaluate on."
    )

    def __post_init__(self) -> None:
        check_plain(self)


@dataclass(frozen=True)
class StudentJob:
    """A distillation from a folder of music to a saved tagger with its card; see `make_student`.

    Attributes
    ----------
    music
        A folder of sound, whose folders are its groups, or a CSV of path and group.
    out
        The tagger's file; the card is the same name with ``.md``, figures and history with ``.json``.
    which
        Which of the music.
    distillation, training
        What the student is, what it is taught on, and how it learns.
    signature
        What it is called and how its weights may be used; an empty name is that of its file.
    command
        The command that made it, for the card.
    work
        A folder for the teachers' scores and for checkpoints: the same job goes on where it was stopped.
    device
        Where the student is trained; as in `lightmel.Trainer`.
    """

    music: Path
    out: Path
    which: MusicConfig = MusicConfig()
    distillation: DistillConfig = DistillConfig()
    training: TrainConfig = DISTILL_TRAINING
    signature: Signature = Signature()
    command: str = ""
    work: Path | None = None
    device: str | None = None
