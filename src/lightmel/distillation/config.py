"""What a student is and how it learns, as data. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from ..training.config import TrainConfig, _plain_numbers


@dataclass(frozen=True)
class DistillConfig:
    """What a student is and what it hears.

    Parameters
    ----------
    student
        Network and input: vgg or musicnn; then pons, small or neither; then the slug of its input.
    seconds
        Length of its segments.
    step
        Seconds from one segment to the next.
    excerpt
        Seconds taken from the middle of each file.
    slowest, fastest
        A second version of each clip is played at a rate drawn between these; pitch moves along.
    mixtures
        Mixtures of two segments, as a multiple of the number of plain segments.
    holdout
        Part of the groups that is kept for testing.
    split
        Another number holds out other groups.
    tag_weight
        Weight of the squared error of logits, each tag divided by its spread, so that rare tags count.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    student: str = "musicnn-pons-small-16k-mel48-x2-db"
    seconds: float = 3.0
    step: float = 1.5
    excerpt: float = 30.0
    slowest: float = 0.84
    fastest: float = 1.19
    mixtures: float = 0.5
    holdout: float = 0.125
    split: int = 0
    tag_weight: float = 0.1

    def __post_init__(self) -> None:
        _plain_numbers(self)
        for name in ("seconds", "step", "excerpt"):
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
    optimiser="adamw",
    lr=3e-3,
    weight_decay=0.01,
    schedule="onecycle",
    clip_norm=1.0,
    average=0.998,
)
"""How students are trained, where nothing else is said."""
