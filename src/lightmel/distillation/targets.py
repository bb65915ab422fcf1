"""The targets of a student: its teachers' logits of each window of music, kept on disk as they come."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from .. import audio, vocabularies
from .._files import claim, write_whole
from ..errors import ConfigError, TrainingError
from ..inference import Tagger, TorchRuntime
from .corpus import Corpus, Progress, render

Columns: TypeAlias = list[list[int]]
"""Of the teachers' logits side by side: those of one meaning, for each teacher that has any."""
_TEACHER_BATCH = 4
"""Windows that a teacher scores at once: few, so that a large network's activations stay in the cache."""


def student_tags(teachers: Sequence[Tagger], vocabulary: str = "") -> tuple[str, ...]:
    """Return the student's tags: those of a vocabulary, or of all teachers, the first one's first.

    Raises
    ------
    ConfigError
        If there is no such vocabulary.
    """
    if vocabulary:
        return vocabularies.read(vocabulary)
    return tuple(dict.fromkeys(tag for teacher in teachers for tag in teacher.tags))


def teacher_logits(
    teachers: Sequence[Tagger], corpus: Corpus, windows: NDArray[np.void], length: int, sr: int
) -> Iterator[torch.Tensor]:
    """Yield the teachers' logits for the clean sound of `windows`, ``(a few, columns)`` at a time.

    The columns are the first teacher's tags, then the second's and so on. The input of each teacher is of its
    own sample rate. A teacher whose segments are shorter than a window scores several, back to back, the last
    one ending where the window ends, and gives the mean of their scores; one whose segments are shorter by
    less than a tenth scores the middle of the window; one whose segments are longer scores its own length,
    with the window in the middle.

    Parameters
    ----------
    teachers, corpus, windows
        The taggers, the clips, and the parts of these to score.
    length
        Samples of a window at the corpus's rate.
    sr
        The corpus's rate in Hz.
    """
    for at in range(0, len(windows), _TEACHER_BATCH):
        part = windows[at : at + _TEACHER_BATCH]
        found: list[torch.Tensor] = []
        for teacher in teachers:
            own = teacher.segment_samples
            context = -(-own * sr // teacher.config.sr)
            waves = at_rate(render(corpus, part, length, context=context), sr, teacher.config.sr, own)
            last = waves.shape[1] - own if context < length else 0  # resampling may round one up
            starts = sorted({min(i, last) for i in range(0, last + own, own)})
            if last < own / 10:  # a second one would see the same sound again
                starts = [last // 2]
            found.append(mean_logits([logits_of(teacher, waves[:, s : s + own]) for s in starts]))
        yield torch.cat(found, dim=1)


def blend(
    logits: torch.Tensor, teachers: Sequence[Sequence[str]], tags: Sequence[str], concept_share: float = 0.0
) -> torch.Tensor:
    """Return the targets ``(windows, tags)``: for each tag the mean of the teachers that know it.

    Each column is standardised over the windows first, because teachers trained on other labels differ in how
    high they score; the mean has spread and mean of the logits of those that know the tag by its name.

    Parameters
    ----------
    logits
        ``(windows, columns)``, as `teacher_logits` yields them.
    teachers
        The tags of each teacher.
    tags
        Of the student.
    concept_share
        Share of those that know a tag by its concept only; where nobody has its name, they are all there is.
        With 0, names alone count.

    Raises
    ------
    ConfigError
        If nobody knows a tag.
    """
    mean, spread = logits.mean(dim=0), logits.std(dim=0, correction=0)
    standard = (logits - mean) / spread.clamp(min=1e-6)
    targets = torch.empty(len(logits), len(tags), dtype=torch.float32)
    for i, (by_name, by_concept) in enumerate(columns_of(teachers, tags, concept_share > 0)):
        share = concept_share if by_concept else 0.0
        mixed = (1 - share) * _mean_column(standard, by_name)
        if by_concept:
            mixed = mixed + share * _mean_column(standard, by_concept)
        scale = mixed.std(correction=0).clamp(min=1e-6)
        home = torch.stack([torch.stack([mean[c].mean(), spread[c].mean()]) for c in by_name]).mean(dim=0)
        targets[:, i] = mixed / scale * home[1] + home[0]
    return targets


def columns_of(
    teachers: Sequence[Sequence[str]], tags: Sequence[str], concepts: bool
) -> list[tuple[Columns, Columns]]:
    """Return for each tag the columns of the teachers that know it by name, and by concept only.

    Where nobody has its name, those that know its concept take the place of the others.

    Raises
    ------
    ConfigError
        If nobody knows a tag.
    """
    ends = np.cumsum([len(own) for own in teachers])
    found = []
    for tag in tags:
        by_name: Columns = []
        by_concept: Columns = []
        for end, own in zip(ends, teachers, strict=True):
            first = int(end) - len(own)
            named, meant = ([first + i for i in places] for places in vocabularies.known_as(tag, own))
            if named:
                by_name.append(named)
            elif concepts and meant:
                by_concept.append(meant)
        if not by_name:
            by_name, by_concept = by_concept, []
        if not by_name:
            raise ConfigError(
                f"None of the teachers knows the tag {tag!r}: leave it out, or add one that does."
            )
        found.append((by_name, by_concept))
    return found


def _mean_column(standard: torch.Tensor, columns: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the mean over teachers of the mean over the columns of each."""
    return torch.stack([standard[:, list(own)].mean(dim=1) for own in columns]).mean(dim=0)


def of_waves(targets: torch.Tensor, windows: NDArray[np.void], share: float) -> torch.Tensor:
    """Return the targets with this `share` of the mean over all windows of their clip or mixture."""
    if not share:
        return targets
    wave = torch.from_numpy(windows["wave"].astype(np.int64))
    sums = torch.zeros(int(wave.max()) + 1, targets.shape[1], dtype=targets.dtype).index_add_(
        0, wave, targets
    )
    counts = torch.bincount(wave, minlength=len(sums)).clamp(min=1)
    return (1 - share) * targets + share * (sums / counts[:, None])[wave]


def logits_of(teacher: Tagger, waves: torch.Tensor) -> torch.Tensor:
    """Return a teacher's logits ``(batch, tags)`` of waves of its rate and length.

    Raises
    ------
    ConfigError
        If another runtime than PyTorch runs it: scores alone have lost digits (`Tagger.on_torch`).
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
    windows: NDArray[np.void],
    length: int,
    sr: int,
    work: Path | None,
    progress: Progress | None,
) -> torch.Tensor:
    """Return what `teacher_logits` yields as one tensor, from `work` where it was computed before.

    They are kept as float16, so that a stop costs only the last few windows and a run that goes on has the
    same targets as one that was not stopped.

    Raises
    ------
    TrainingError
        If `work` cannot be written, or a teacher gives logits that float16 does not hold.
    """
    digest = hashlib.sha256(f"{length} {sr}".encode() + windows.tobytes())
    for wave in corpus.clean:
        digest.update(wave.tobytes())
    for teacher in teachers:  # by network and input: name and version are free to choose
        network = teacher.network
        what = (
            teacher.config.slug,
            teacher.segment_samples,
            teacher.tags,
            teacher.runtime.precision,
            network.spec(),
        )
        digest.update(repr(what).encode())
        for key, tensor in network.state_dict().items():
            digest.update(key.encode() + tensor.numpy().tobytes())
    file = work / f"teacher-{digest.hexdigest()[:16]}.npy" if work is not None else None
    columns = sum(len(t.tags) for t in teachers)
    if file is not None and file.exists():
        return _read(file, (len(windows), columns))
    # One array for all passes: a piece kept of each would lie between the large buffers of the next ones, and
    # keep the heap from using their room again.
    targets = torch.empty(len(windows), columns, dtype=torch.float16)
    with _Scores(file, targets) as scores:
        for part in teacher_logits(teachers, corpus, windows[scores.done :], length, sr):
            scores.add(_half(part, teachers))
            if progress is not None:
                progress("scoring", scores.done, len(windows))
    if file is not None:
        buffer = io.BytesIO()
        np.save(buffer, targets.numpy())
        write_whole(file, buffer.getvalue(), TrainingError)
        scores.forget()
    return targets.float()


def _half(logits: torch.Tensor, teachers: Sequence[Tagger]) -> torch.Tensor:
    """Return logits as float16; `TrainingError` where a teacher gives what that does not hold."""
    held = logits.half()
    for teacher, own in zip(teachers, torch.split(held, [len(t.tags) for t in teachers], dim=1), strict=True):
        if not own.isfinite().all():
            raise TrainingError(
                f"{teacher.name} gives logits that are not finite, or too large for float16: no student can "
                "learn them. Leave this teacher out."
            )
    return held


def _read(file: Path, shape: tuple[int, int]) -> torch.Tensor:
    """Return kept scores; `TrainingError` if they are damaged, or of other music than the name says."""
    try:
        held = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TrainingError(
            f"{file} is damaged ({error}): delete it, and the music is scored anew."
        ) from error
    if held.shape != shape or held.dtype != np.float16 or not np.isfinite(held).all():
        raise TrainingError(
            f"{file} holds scores {held.shape} of {held.dtype}; wanted are finite ones, {shape} of float16. "
            "It was made for other music or is damaged: delete it, and the music is scored anew."
        )
    return torch.from_numpy(held).float()


class _Scores:
    """The teachers' scores as they come, in memory and on disk, so that a stop costs only the last few.

    Attributes
    ----------
    done
        Number of windows that are scored.
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
                try:
                    claim(self._out, TrainingError)  # two would append to each other's windows
                except TrainingError:
                    self._out.close()
                    raise
                row = 2 * self._targets.shape[1]
                # Whole passes only: how many windows share one may show in the last digit.
                self.done = self._path.stat().st_size // row // _TEACHER_BATCH * _TEACHER_BATCH
                self._out.truncate(self.done * row)
                self._out.seek(0)
                held = np.frombuffer(self._out.read(), np.float16).reshape(self.done, self._targets.shape[1])
                self._targets[: self.done] = torch.from_numpy(held.copy())
        return self

    def add(self, part: torch.Tensor) -> None:
        """Add the scores of the next windows."""
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
