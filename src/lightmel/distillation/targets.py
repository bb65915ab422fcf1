"""The targets of a student: its teachers' scores of each segment, as logits, kept on disk as they come."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from .. import audio
from .._files import write_whole
from ..errors import ConfigError, TrainingError
from ..inference import Tagger, TorchRuntime
from .corpus import Corpus, Progress, render

_TEACHER_BATCH = 4
"""Segments that a teacher scores at once: few, so that a large network's activations stay in the cache."""


def student_tags(teachers: Sequence[Tagger]) -> tuple[str, ...]:
    """Return the tags of all teachers, in their order; the first teacher's come first."""
    return tuple(dict.fromkeys(tag for teacher in teachers for tag in teacher.tags))


def teacher_logits(
    teachers: Sequence[Tagger], corpus: Corpus, segments: NDArray[np.void], length: int, sr: int
) -> Iterator[torch.Tensor]:
    """Yield the teachers' logits for the clean sound of `segments`, ``(a few, tags)`` at a time.

    The input of each teacher is of its own sample rate. A teacher whose segments are shorter than the
    student's scores several, back to back, the last one ending where the student's ends; one whose segments
    are longer scores its own length, with the student's in the middle. Scores are averaged over a teacher's
    segments, then over the teachers that have a tag.

    Parameters
    ----------
    teachers, corpus, segments
        The taggers, the clips, and the segments of these to score.
    length
        Samples of a student's segment at the corpus's rate.
    sr
        The corpus's rate in Hz.
    """
    places = {tag: i for i, tag in enumerate(student_tags(teachers))}
    for at in range(0, len(segments), _TEACHER_BATCH):
        part = segments[at : at + _TEACHER_BATCH]
        found: list[list[torch.Tensor]] = [[] for _ in places]
        for teacher in teachers:
            own = teacher.segment_samples
            context = -(-own * sr // teacher.config.sr)
            waves = at_rate(render(corpus, part, length, context=context), sr, teacher.config.sr, own)
            last = waves.shape[1] - own if context < length else 0  # resampling may round one up
            starts = sorted({min(i, last) for i in range(0, last + own, own)})
            logits = mean_logits([logits_of(teacher, waves[:, s : s + own]) for s in starts])
            for column, tag in zip(logits.unbind(1), teacher.tags, strict=True):
                found[places[tag]].append(column)
        yield torch.stack([mean_logits(columns) for columns in found], dim=1)


def logits_of(teacher: Tagger, waves: torch.Tensor) -> torch.Tensor:
    """Return a teacher's logits ``(batch, tags)`` of waves of its rate and length.

    Raises
    ------
    ConfigError
        If another runtime than PyTorch runs it: scores alone have lost digits.
    """
    if not isinstance(teacher.runtime, TorchRuntime):
        raise ConfigError(
            f"{teacher.name} is not run by PyTorch: a teacher is a .safetensors file or a name."
        )
    return teacher.runtime.logits(waves)


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


def cached_logits(
    teachers: Sequence[Tagger],
    corpus: Corpus,
    segments: NDArray[np.void],
    length: int,
    sr: int,
    work: Path | None,
    progress: Progress | None,
) -> torch.Tensor:
    """Return what `teacher_logits` yields as one tensor, from `work` where it was computed before.

    A stop costs only the last few segments.

    Raises
    ------
    TrainingError
        If `work` cannot be written.
    """
    digest = hashlib.sha256(f"{length} {sr}".encode() + segments.tobytes())
    for wave in corpus.clean:
        digest.update(wave.tobytes())
    for teacher in teachers:  # by network and input: name and version are free to choose
        network = teacher.network
        what = teacher.config.slug, teacher.segment_samples, teacher.tags, network.spec()
        digest.update(repr(what).encode())
        for key, tensor in network.state_dict().items():
            digest.update(key.encode() + tensor.numpy().tobytes())
    file = work / f"teacher-{digest.hexdigest()[:16]}.npy" if work is not None else None
    if file is not None and file.exists():
        return torch.from_numpy(np.load(file))
    # One array for all passes: a piece kept of each would lie between the large buffers of the next ones, and
    # keep the heap from using their room again.
    targets = torch.empty(len(segments), len(student_tags(teachers)))
    with _Scores(file, targets) as scores:
        for part in teacher_logits(teachers, corpus, segments[scores.done :], length, sr):
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
    """The teachers' scores as they come, in memory and on disk, so that a stop costs only the last few.

    Attributes
    ----------
    done
        Number of segments that are scored.
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
