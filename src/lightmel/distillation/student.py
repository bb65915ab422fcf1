"""Distillation: a small student learns its teachers' scores on music without labels.

The student sees augmented sound (level, equalizer, low-pass, noise, MP3), while its target stays the
teachers' score of the clean sound. The corpus is enlarged by clips at other speeds and mixtures of two clips,
which the teachers score as they are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from .. import audio
from ..checkpoint import Description
from ..errors import ConfigError
from ..features import Batch
from ..frontends import FrontendConfig, build_frontend
from ..inference import Tagger, load
from ..models import TaggingNetwork, build_named
from ..training import (
    NO_CALLBACKS,
    Callbacks,
    Chain,
    Loss,
    Noise,
    TrainConfig,
    Trainer,
    TrainResult,
    WaveDomain,
    fit_resumed,
    playback,
)
from .config import DISTILL_TRAINING, DistillConfig
from .corpus import Corpus, Track, draw_segments, find_tracks, read_corpus, render
from .targets import at_rate, cached_logits, student_tags

log = logging.getLogger("lightmel")

_CODED = 0.2
"""Share of the segments that the student sees as MP3."""


def distillation_loss(targets: torch.Tensor, tag_weight: float) -> Loss:
    """Return the loss between logits and the teacher's logits: cross-entropy, and a squared error a tag.

    The squared error is measured in the spread of each tag over `targets` ``(segments, tags)``: cross-entropy
    alone hardly notices a tag whose scores are all small.
    """
    spread = targets.std(dim=0).clamp(min=1e-3)

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        soft = F.binary_cross_entropy_with_logits(logits, target.sigmoid())
        return soft + tag_weight * ((logits - target) / spread.to(logits.device)).square().mean()

    return loss


class CorpusExamples:
    """Segments of a corpus as the student's examples: augmented, with the teachers' logits as target."""

    def __init__(
        self,
        corpus: Corpus,
        segments: NDArray[np.void],
        config: DistillConfig,
        sr: int,
        frontend: FrontendConfig,
        targets: torch.Tensor,
    ) -> None:
        self.corpus, self.segments, self.sr, self.labels = corpus, segments, sr, targets
        self.length = round(config.segment_seconds * sr)
        self.samples = frontend.n_samples(config.segment_seconds)
        self.identity: Mapping[str, Any] = {"features": frontend.slug, **asdict(config)}
        self.frontend = build_frontend(frontend)
        self.augment = Chain([*playback(WaveDomain(sr)), Noise(-90, -50, p=0.1)])

    def __len__(self) -> int:
        return len(self.segments)

    @torch.no_grad()
    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Return features and targets; see `lightmel.features.Examples`."""
        coded = rng.random(len(chosen)) < _CODED
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        waves = self.augment(render(self.corpus, self.segments[chosen], self.length, coded), generator)
        resampled = at_rate(waves, self.sr, self.frontend.config.sr, self.samples)[:, : self.samples]
        return self.frontend(resampled), self.labels[torch.from_numpy(chosen)]


def distill(
    teachers: Tagger | str | os.PathLike[str] | Sequence[Tagger | str | os.PathLike[str]],
    tracks: str | os.PathLike[str] | Sequence[Track],
    config: DistillConfig | None = None,
    training: TrainConfig = DISTILL_TRAINING,
    *,
    work: str | os.PathLike[str] | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    device: str | None = None,
) -> tuple[Tagger, TrainResult[TaggingNetwork]]:
    """Train a student on music, and return it with the history of its training.

    Parameters
    ----------
    teachers
        Taggers, or what `lightmel.load` takes; the student learns the mean of their scores, tag by tag.
    tracks
        The music: a folder, or the training tracks alone; the caller keeps the held-out ones.
    config, training
        What the student is and is trained on, and how.
    work
        A folder for the teachers' scores, which are then computed once, and for checkpoints: the same
        call goes on where the last one was stopped.
    callbacks
        Functions to call as it goes on.
    device
        Where the student is trained, as in `lightmel.Trainer`, and where teachers that are given by name are
        loaded to.

    Raises
    ------
    ConfigError
        If there is no teacher, no such student, or the tracks are too few for one batch.
    AudioError
        If none of the tracks can be read.
    TrainingError
        If training cannot go on; see `Trainer.fit`.
    StoppedError
        If it was stopped.
    """
    given = [teachers] if isinstance(teachers, (Tagger, str, os.PathLike)) else list(teachers)
    loaded = [
        teacher if isinstance(teacher, Tagger) else load(teacher, device=device or "auto")
        for teacher in given
    ]
    if not loaded:
        raise ConfigError("Distillation needs a teacher: the name or the file of a tagger.")
    if training.patience or training.schedule == "plateau":
        raise ConfigError(
            "patience and the schedule plateau need validation data, and distillation has none."
        )
    if training.trainable != "all" or training.class_weights != "none":
        raise ConfigError(
            "A student learns scores, with all of its network: no trainable=head, no class_weights."
        )
    if isinstance(tracks, (str, os.PathLike)):
        tracks = find_tracks(Path(tracks))
    config, kept = config or DistillConfig(), None if work is None else Path(work)
    generator = torch.Generator().manual_seed(training.seed)
    tags = student_tags(loaded)
    network, frontend = build_named(config.student, config.segment_seconds, len(tags), generator)
    sr = audio.mp3_rate(max(frontend.sr, *(t.config.sr for t in loaded)))
    length = round(config.segment_seconds * sr)
    rng = np.random.default_rng(training.seed)
    corpus = read_corpus(tracks, config, sr, rng, callbacks.progress)
    segments = draw_segments(corpus, config, length, rng)
    log.info("%d clips, %d segments", corpus.plain, len(segments))
    if len(segments) < training.batch_size:
        raise ConfigError(
            f"{corpus.plain} tracks give {len(segments)} segments, fewer than a batch of "
            f"{training.batch_size}: more music is needed, or a smaller batch_size."
        )
    targets = cached_logits(loaded, corpus, segments, length, sr, kept, callbacks.progress)
    with torch.no_grad():
        network.head.bias.copy_(targets.mean(dim=0))
    loss = distillation_loss(targets, config.tag_weight)
    trainer = Trainer(network, training, loss=loss, device=device)
    examples = CorpusExamples(corpus, segments, config, sr, frontend, targets)
    result = fit_resumed(trainer, examples, None, None if kept is None else kept / "run", callbacks)
    description = Description(
        name="student",
        version="1",
        license="not stated",
        config=frontend,
        tags=tags,
        segment_samples=frontend.n_samples(config.segment_seconds),
        provenance={
            "teachers": [f"{t.name} {t.description.version}" for t in loaded],
            "distillation": asdict(config),
            "training": asdict(training),
        },
    )
    return Tagger(result.network, description), result
