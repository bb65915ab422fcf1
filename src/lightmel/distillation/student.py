"""Distillation: a small student learns a teacher's scores on a folder of music, without any labels.

The student hears damaged sound (level, equaliser, low-pass, noise, MP3), while its target stays the
teacher's score of the clean sound. To see more music than there is, clips are also played faster or
slower and mixed in pairs, and the teacher scores what comes out.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from .. import audio
from .._files import write_whole
from ..audio._encode import mp3_rate
from ..checkpoint.safetensors import Description
from ..errors import ConfigError, StoppedError, TrainingError
from ..features.examples import Batch
from ..frontends.mel import MelConfig
from ..frontends.mel_torch import MelFrontend
from ..inference.tagger import Tagger
from ..models.base import TaggingNetwork
from ..models.named import build_named
from ..training.augment import Equaliser, Filters, Gain, LowPass, Noise
from ..training.config import TrainConfig
from ..training.run import Line, Loss, TrainResult
from ..training.trainer import Trainer
from .config import DISTILL_TRAINING, DistillConfig
from .corpus import Bank, Progress, Track, draw_segments, read_bank, render

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("lightmel")

_TEACHER_BATCH = 4
"""Few segments at a time: a large network's activations then stay near the processor."""
_CODED = 0.2
"""Part of the segments that the student hears from an MP3."""


def student_tags(teachers: Sequence[Tagger]) -> tuple[str, ...]:
    """Return the tags of all teachers, in their order; the first teacher's come first."""
    return tuple(dict.fromkeys(tag for teacher in teachers for tag in teacher.tags))


def teacher_logits(
    teachers: Sequence[Tagger], bank: Bank, segments: NDArray[np.void], length: int, sr: int
) -> Iterator[torch.Tensor]:
    """Yield the teachers' logits for the clean sound of `segments`, ``(a few, tags)`` at a time.

    Each teacher hears sound of its own rate. One whose segments are shorter than the student's scores
    several, back to back, the last one ending where the student's ends; one whose segments are longer
    hears its own length, with the student's in the middle. Scores are averaged over a teacher's segments,
    then over the teachers that have a tag.

    Parameters
    ----------
    teachers, bank, segments
        Who scores what.
    length
        Samples of a student's segment at the bank's rate.
    sr
        The bank's rate in Hz.
    """
    places = {tag: i for i, tag in enumerate(student_tags(teachers))}
    for at in range(0, len(segments), _TEACHER_BATCH):
        part = segments[at : at + _TEACHER_BATCH]
        found: list[list[torch.Tensor]] = [[] for _ in places]
        for teacher in teachers:
            own = teacher.segment_samples
            context = -(-own * sr // teacher.config.sr)
            waves = at_rate(render(bank, part, length, context=context), sr, teacher.config.sr, own)
            last = waves.shape[1] - own if context < length else 0  # resampling may round one up
            starts = sorted({min(i, last) for i in range(0, last + own, own)})
            logits = mean_logits([teacher.segment_logits(waves[:, s : s + own]) for s in starts])
            for column, tag in zip(logits.unbind(1), teacher.tags, strict=True):
                found[places[tag]].append(column)
        yield torch.stack([mean_logits(columns) for columns in found], dim=1)


def mean_logits(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the logits of the mean of the scores that `logits` stand for."""
    if len(logits) == 1:
        return logits[0]
    stacked = torch.stack(list(logits))
    return F.logsigmoid(stacked).logsumexp(dim=0) - F.logsigmoid(-stacked).logsumexp(dim=0)


def at_rate(waves: torch.Tensor, sr: int, rate: int, samples: int) -> torch.Tensor:
    """Return waves ``(batch, samples)`` of rate `sr` at another `rate`, of at least so many `samples`."""
    if sr == rate:
        return waves
    played = torch.from_numpy(np.stack([audio.from_array(wave, sr, rate) for wave in waves.numpy()]))
    return F.pad(played, (0, max(0, samples - played.shape[1])))


def distillation_loss(targets: torch.Tensor, tag_weight: float) -> Loss:
    """Return the loss between logits and the teacher's logits: cross-entropy, and a squared error a tag.

    Cross-entropy alone hardly hears a tag whose scores are all small. `targets` ``(segments, tags)`` give
    the spread of each tag that the squared error is measured in.
    """
    spread = targets.std(dim=0).clamp(min=1e-3)

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        soft = F.binary_cross_entropy_with_logits(logits, target.sigmoid())
        return soft + tag_weight * ((logits - target) / spread.to(logits.device)).square().mean()

    return loss


class BankExamples:
    """Segments of a bank as a student hears them: damaged, while the target stays the teacher's."""

    def __init__(
        self,
        bank: Bank,
        segments: NDArray[np.void],
        config: DistillConfig,
        sr: int,
        mel: MelConfig,
        targets: torch.Tensor,
    ) -> None:
        self.bank, self.segments, self.sr, self.labels = bank, segments, sr, targets
        self.length, self.samples = round(config.seconds * sr), mel.n_samples(config.seconds)
        self.identity: Mapping[str, Any] = {"mels": mel.slug, **asdict(config)}
        self.frontend = MelFrontend.from_config(mel)
        self.damage = Filters(sr, (Gain(-12, 6), Equaliser(3, 1.5, 2), LowPass(3_000, 8_000, 0.25)))
        self.noise = Noise(-90, -50, 0.1)

    def __len__(self) -> int:
        return len(self.segments)

    @torch.no_grad()
    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Return mels and targets; see `Examples`."""
        coded = rng.random(len(chosen)) < _CODED
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        waves = render(self.bank, self.segments[chosen], self.length, coded)
        waves = self.noise(self.damage(waves, generator), generator)
        rate = self.frontend.config.sr
        heard = at_rate(waves, self.sr, rate, self.samples)[:, : self.samples]
        return self.frontend(heard), self.labels[torch.from_numpy(chosen)]


def distill(
    teachers: Sequence[Tagger],
    tracks: Sequence[Track],
    config: DistillConfig | None = None,
    training: TrainConfig = DISTILL_TRAINING,
    *,
    work: Path | None = None,
    on_start: Callable[[Trainer[TaggingNetwork]], None] | None = None,
    on_epoch: Callable[[Line], None] | None = None,
    progress: Progress | None = None,
) -> tuple[Tagger, TrainResult[TaggingNetwork]]:
    """Train a student on `tracks` and return it with the history of its training.

    Parameters
    ----------
    teachers
        Any taggers; the student learns the mean of their scores, tag by tag.
    tracks
        The training tracks; the held-out ones are for the caller to keep.
    config, training
        What it is, what it hears and how it learns.
    work
        A folder for the teachers' scores, which are then computed once, and for checkpoints: the same
        call goes on where the last one was stopped.
    on_start
        Called with the trainer before it begins; `Trainer.stop` ends it.
    on_epoch
        Called with each line of the history.
    progress
        Called with what is being done, how much of it is done, and all of it.

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
    if not teachers:
        raise ConfigError("Distillation needs a teacher: the name or the file of a tagger.")
    if training.patience or training.schedule == "plateau":
        raise ConfigError(
            "patience and the schedule plateau need validation data, and distillation has none."
        )
    if training.part != "all" or training.class_weights != "none":
        raise ConfigError("A student learns scores, with all of its network: no part=head, no class_weights.")
    config = config or DistillConfig()
    generator = torch.Generator().manual_seed(training.seed)
    tags = student_tags(teachers)
    network, mel = build_named(config.student, config.seconds, len(tags), generator)
    sr = mp3_rate(max(mel.sr, *(t.config.sr for t in teachers)))
    length = round(config.seconds * sr)
    rng = np.random.default_rng(training.seed)
    bank = read_bank(tracks, config, sr, rng, progress)
    segments = draw_segments(bank, config, length, rng)
    log.info("%d clips, %d segments", bank.plain, len(segments))
    if len(segments) < training.batch:
        raise ConfigError(
            f"{bank.plain} tracks give {len(segments)} segments, fewer than a batch of {training.batch}: "
            "more music is needed, or a smaller batch."
        )
    targets = _cached_logits(teachers, bank, segments, length, sr, work, progress)
    with torch.no_grad():
        network.head.bias.copy_(targets.mean(dim=0))
    trainer = Trainer(network, training, loss=distillation_loss(targets, config.tag_weight))
    if on_start is not None:
        on_start(trainer)
    result = trainer.fit(
        BankExamples(bank, segments, config, sr, mel, targets),
        folder=work / "run" if work is not None else None,
        resume=True,
        on_epoch=on_epoch,
        on_step=None if progress is None else lambda done, steps: progress("training", done, steps),
    )
    if result.stopped == "interrupted":
        raise StoppedError("Stopped in mid-training.")
    description = Description(
        name="student",
        version="1",
        licence="not stated",
        config=mel,
        tags=tags,
        segment_samples=mel.n_samples(config.seconds),
        provenance={
            "teachers": [f"{t.name} {t.description.version}" for t in teachers],
            "distillation": asdict(config),
            "training": asdict(training),
        },
    )
    return Tagger(result.network, description), result


def _cached_logits(
    teachers: Sequence[Tagger],
    bank: Bank,
    segments: NDArray[np.void],
    length: int,
    sr: int,
    work: Path | None,
    progress: Progress | None,
) -> torch.Tensor:
    digest = hashlib.sha256(f"{length} {sr}".encode() + segments.tobytes())
    for wave in bank.clean:
        digest.update(wave.tobytes())
    for teacher in teachers:  # by what they are: names and versions are given by people
        what = teacher.config.slug, teacher.segment_samples, teacher.tags, teacher.network.spec()
        digest.update(repr(what).encode())
        for key, tensor in teacher.network.state_dict().items():
            digest.update(key.encode() + tensor.numpy().tobytes())
    file = work / f"teacher-{digest.hexdigest()[:16]}.npy" if work is not None else None
    if file is not None and file.exists():
        return torch.from_numpy(np.load(file))
    # Written into one array: what is kept of each pass would lie between the large buffers of the next ones
    # and keep the heap from using their room again.
    targets = torch.empty(len(segments), len(student_tags(teachers)))
    with _Scores(file, targets) as scores:
        for part in teacher_logits(teachers, bank, segments[scores.done :], length, sr):
            scores.add(part)
            if progress is not None:
                progress("scoring", scores.done, len(segments))
    if file is not None:
        buffer = io.BytesIO()
        np.save(buffer, targets.numpy())
        write_whole(file, buffer.getvalue(), TrainingError)
        scores.forget()
    return targets


class _Scores:
    """The scores of a teacher as they come, on disk too: a stop costs none but the last few.

    Attributes
    ----------
    done
        Segments that are scored.
    """

    def __init__(self, file: Path | None, targets: torch.Tensor) -> None:
        self._targets, self.done = targets, 0
        self._path = file.with_suffix(".part") if file is not None else None
        self._out: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            with self._writing():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._out = self._path.open("a+b")
                row = 4 * self._targets.shape[1]
                # Whole passes only: how many segments share one may show in the last digit.
                self.done = self._path.stat().st_size // row // _TEACHER_BATCH * _TEACHER_BATCH
                self._out.truncate(self.done * row)
                self._out.seek(0)
                held = np.frombuffer(self._out.read(), np.float32).reshape(self.done, self._targets.shape[1])
                self._targets[: self.done] = torch.from_numpy(held.copy())
        return self

    def add(self, part: torch.Tensor) -> None:
        """Add the scores of the next segments."""
        self._targets[self.done : self.done + len(part)] = part
        self.done += len(part)
        if self._out is not None:
            with self._writing():
                self._out.write(part.numpy().tobytes())

    def forget(self) -> None:
        """Delete what was on disk."""
        assert self._path is not None
        self._path.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        if self._out is not None:
            with self._writing():
                self._out.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self._path} cannot be written: {error.strerror or error}. What was done is kept: make "
                "room or mend it, and run the same again to go on."
            ) from error
