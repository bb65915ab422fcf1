"""Distillation: a small student learns its teachers' scores on music without labels.

The student sees augmented sound (level, equalizer, low-pass, noise, MP3), while its target stays the
teachers' score of the clean sound. The corpus is enlarged by clips at other speeds and mixtures of two clips,
which the teachers score as they are: window by window, so that a student's segment may begin anywhere between
two windows and be as long as several.
"""

from __future__ import annotations

import logging
import math
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
from .._steady import steady
from ..checkpoint import Description
from ..datasets import Track, find_tracks
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
from .corpus import Corpus, draw_windows, read_corpus, render, step_samples
from .start import check_start, start_from
from .targets import at_rate, blend, cached_logits, columns_of, of_waves, student_tags

log = logging.getLogger("lightmel")

_CODED = 0.2
"""Share of the segments that the student sees as MP3."""
_START_WINDOWS = 512
"""Windows from which the statistics of the input are taken where a student starts from another tagger."""


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
    """Segments of a corpus as the student's examples: augmented, with the teachers' logits as target.

    There is one for each window; it begins somewhere near it, and its target is interpolated between windows.
    """

    def __init__(
        self,
        corpus: Corpus,
        windows: NDArray[np.void],
        config: DistillConfig,
        sr: int,
        frontend: FrontendConfig,
        targets: torch.Tensor,
    ) -> None:
        self.corpus, self.windows, self.sr, self.labels = corpus, windows, sr, targets
        self.length = round(config.segment_seconds * sr)
        window = round(config.window * sr)
        self.step, self.jitter = step_samples(config, window), config.jitter
        # Steps from the first window of a segment to its last one.
        self.reach = (self.length - window) / self.step
        self.samples = frontend.n_samples(config.segment_seconds)
        _, first, count = np.unique(windows["wave"], return_index=True, return_counts=True)
        self.first, self.count = (np.repeat(of_wave, count) for of_wave in (first, count))
        self.identity: Mapping[str, Any] = {"features": frontend.slug, **asdict(config)}
        self.frontend = build_frontend(frontend)
        self.augment = Chain([*playback(WaveDomain(sr)), Noise(-90, -50, p=0.1)])

    def __len__(self) -> int:
        return len(self.windows)

    @torch.no_grad()
    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Return features and targets; see `lightmel.features.Examples`."""
        coded = rng.random(len(chosen)) < _CODED
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        segments, place = self._placed(chosen, rng.uniform(-0.5, 0.5, len(chosen)))
        waves = self.augment(render(self.corpus, segments, self.length, coded), generator)
        resampled = at_rate(waves, self.sr, self.frontend.config.sr, self.samples)[:, : self.samples]
        return self.frontend(resampled), self._targets(chosen, place)

    def _placed(
        self, chosen: NDArray[np.int64], offset: NDArray[np.float64]
    ) -> tuple[NDArray[np.void], NDArray[np.float64]]:
        """Return segments that begin near the windows, and where: in steps from the first of their clip."""
        first, last = self.first[chosen], self.count[chosen] - 1
        start = self.step * (chosen - first + self.jitter * offset)
        # Not before the first window, and not so late that the segment ends after the last one.
        start = np.clip(np.round(start), 0, np.maximum(0, np.floor((last - self.reach) * self.step)))
        segments = self.windows[first].copy()
        for name in ("start", "other_start"):
            segments[name] += start.astype(np.int32)
        return segments, start / self.step

    def _targets(self, chosen: NDArray[np.int64], place: NDArray[np.float64]) -> torch.Tensor:
        """Return the mean over the windows that fill the segments, each between its two neighbours."""
        first, last = self.first[chosen], self.count[chosen] - 1
        points = np.linspace(0, self.reach, 1 + math.ceil(self.reach))
        at = np.minimum(place[:, None] + points, last[:, None])
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, last[:, None])
        share = torch.from_numpy(at - low).float()[:, :, None]
        before, after = (self.labels[torch.from_numpy(first[:, None] + side)] for side in (low, high))
        return torch.lerp(before, after, share).mean(dim=1)


@steady
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
        Taggers, or what `lightmel.load` takes; the student learns the mean of their logits, tag by tag, each
        teacher's standardised over the music.
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
        If there is no teacher, no such student, a tag that no teacher knows, or another network to start
        from; if the tracks are too few for one batch.
    AudioError
        If none of the tracks can be read.
    TrainingError
        If training cannot go on; see `Trainer.fit`.
    StoppedError
        If it was stopped.
    """
    given = [teachers] if isinstance(teachers, (Tagger, str, os.PathLike)) else list(teachers)
    loaded = [
        (teacher if isinstance(teacher, Tagger) else load(teacher, device=device or "auto")).on_torch()
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
    tags = student_tags(loaded, config.vocabulary)
    network, frontend = build_named(config.student, config.segment_seconds, len(tags), generator)
    share = config.concept_share if config.vocabulary else 0.0
    columns_of([t.tags for t in loaded], tags, share > 0)  # what cannot be is refused before the work
    start = load(config.start) if config.start else None
    if start is not None:
        check_start(network, frontend, start)
    sr = audio.mp3_rate(config.sr or max(frontend.sr, *(t.config.sr for t in loaded)))
    length = round(config.window * sr)
    rng = np.random.default_rng(training.seed)
    corpus = read_corpus(tracks, config, sr, rng, callbacks.progress)
    windows = draw_windows(corpus, config, length, rng)
    log.info("%d clips, %d windows", corpus.plain, len(windows))
    if len(windows) < training.batch_size:
        raise ConfigError(
            f"{corpus.plain} tracks give {len(windows)} windows, fewer than a batch of "
            f"{training.batch_size}: more music is needed, or a smaller batch_size."
        )
    logits = cached_logits(loaded, corpus, windows, length, sr, kept, callbacks.progress)
    targets = of_waves(blend(logits, [t.tags for t in loaded], tags, share), windows, config.clip_share)
    if start is not None:
        some = windows[rng.permutation(len(windows))[:_START_WINDOWS]]
        start_from(network, frontend, start, render(corpus, some, length), sr)
    with torch.no_grad():
        network.head.bias.copy_(targets.mean(dim=0))
    loss = distillation_loss(targets, config.tag_weight)
    trainer = Trainer(network, training, loss=loss, device=device)
    examples = CorpusExamples(corpus, windows, config, sr, frontend, targets)
    run = None if kept is None else kept / f"run-{config.student}"
    result = fit_resumed(trainer, examples, None, run, callbacks)
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
