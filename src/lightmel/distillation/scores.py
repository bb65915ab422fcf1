"""Teachers' scores of music, kept in a folder: what any number of students learn from without the teachers.

The music is scored window by window, as in a distillation, and the logits of all teachers lie side by side. A
student then learns from stores of features, whose clips are those of the folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import audio
from .._each import attempt
from .._files import at_home, check_folder, relative, write_whole
from .._steady import steady
from ..datasets import Rows, Track, csv_text, find_tracks, read_tracks
from ..errors import AudioError, ConfigError, DataError, LightmelError, TrainingError
from ..features import Batch, Features
from ..inference import Tagger
from ..models import TaggingNetwork
from .config import DistillConfig, ScoresConfig
from .corpus import Corpus, Progress, draw_windows, hold_out_tracks, to_int16
from .targets import blend, cached_logits, columns_of, of_waves, student_tags

log = logging.getLogger("lightmel")

SCORES_DESCRIPTION, CLIPS, LOGITS = "scores.json", "clips.csv", "logits.npy"
_FORMAT = 1
_CLIPS_AT_ONCE = 64
"""Clips whose sound is in memory at once."""
_SEGMENTS_AT_ONCE = 64
"""Segments in one pass of a student."""


@dataclass(frozen=True)
class ScoredClip:
    """A clip of the music.

    Attributes
    ----------
    path
        Its file, relative to the folder of the scores, or a whole one.
    group, split
        What it must not be split from, and ``train`` or ``test``.
    windows
        How many there are of it.
    """

    path: str
    group: str
    split: str
    windows: int


class TeacherScores:
    """A folder of teachers' scores; `score_music` makes it, `open` reads it.

    Attributes
    ----------
    folder, config
        Where it lies, and what was scored.
    teachers, teacher_tags
        Names of the teachers, and the tags of each.
    tags
        Of the students.
    clips
        The music, in order.

    Raises
    ------
    DataError
        If there is none in the folder, or a damaged one.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            plain = json.loads((self.folder / SCORES_DESCRIPTION).read_text(encoding="utf-8"))
            if plain["format"] != _FORMAT:
                raise DataError(
                    f"{self.folder} holds scores of format {plain['format']}; this lightmel reads {_FORMAT}."
                )
            self.config = ScoresConfig(**plain["config"])
            self.teachers: tuple[str, ...] = tuple(plain["teachers"])
            self.teacher_tags: tuple[tuple[str, ...], ...] = tuple(map(tuple, plain["teacher_tags"]))
            self.tags: tuple[str, ...] = tuple(plain["tags"])
            with (self.folder / CLIPS).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                self.clips = tuple(
                    ScoredClip(row["path"], row["group"], row["split"], int(row["windows"]))
                    for row in csv.DictReader(file)
                )
            self._logits: NDArray[np.float16] = np.load(
                self.folder / LOGITS, mmap_mode="r", allow_pickle=False
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            raise DataError(f"{self.folder} holds no scores that can be read ({why}).") from error
        columns = sum(map(len, self.teacher_tags))
        if self._logits.shape != (self.n_windows, columns) or self._logits.dtype != np.float16:
            raise DataError(
                f"{self.folder / LOGITS} is damaged: {self._logits.dtype} of {self._logits.shape}, not "
                f"float16 of ({self.n_windows}, {columns}). Delete it and run the same command again."
            )

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> TeacherScores:
        """Read the scores in a folder."""
        return cls(folder)

    @property
    def n_windows(self) -> int:
        """Number of windows of all clips."""
        return sum(clip.windows for clip in self.clips)

    @property
    def label(self) -> str:
        """What they are, in a few words."""
        return f"scores of {', '.join(self.teachers)}"

    def sources(self) -> dict[str, Path]:
        """Return the sound file of every clip by its path, as sources of a feature store."""
        return {clip.path: self.folder / clip.path for clip in self.clips}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides what is learnt: logits, clips, tags and settings."""
        digest = hashlib.sha256()
        digest.update(repr((asdict(self.config), self.teacher_tags, self.tags, self.clips)).encode())
        digest.update(np.ascontiguousarray(self._logits).tobytes())
        return digest.hexdigest()

    def windows(self) -> NDArray[np.int64]:
        """Return clip and number in the clip of every window, ``(windows, 2)``."""
        counts = [clip.windows for clip in self.clips]
        owner = np.repeat(np.arange(len(counts)), counts)
        place = np.concatenate([np.arange(n) for n in counts])
        return np.stack([owner, place], axis=1)

    def targets(self, clip_share: float = 0.0) -> torch.Tensor:
        """Return the students' targets, logits ``(windows, tags)``: see `blend`."""
        share = self.config.concept_share if self.config.vocabulary else 0.0
        logits = torch.from_numpy(np.asarray(self._logits, dtype=np.float32))
        made = blend(logits, self.teacher_tags, self.tags, share)
        owners = np.zeros(self.n_windows, dtype=[("wave", "i4")])
        owners["wave"] = self.windows()[:, 0]
        return of_waves(made, owners, clip_share)


@steady
def score_music(
    teachers: Sequence[Tagger],
    tracks: Sequence[Track],
    splits: Sequence[str],
    folder: str | os.PathLike[str],
    config: ScoresConfig | None = None,
    progress: Progress | None = None,
) -> TeacherScores:
    """Score music with teachers, and keep it in a folder; the same call goes on where it was stopped.

    A file that cannot be read is logged and left out.

    Parameters
    ----------
    teachers
        The taggers, on PyTorch (`Tagger.on_torch`).
    tracks, splits
        The music, and ``train`` or ``test`` for each track.
    folder
        Where the scores go.
    config
        What is scored.
    progress
        Called with what is done, how much of it, and all of it.

    Raises
    ------
    ConfigError
        If there is no teacher, or a tag that none knows.
    AudioError
        If none of the tracks can be read.
    DataError
        If the folder holds other scores.
    TrainingError
        If the folder cannot be written.
    """
    config, folder = config or ScoresConfig(), Path(folder)
    if not teachers:
        raise ConfigError("Scoring needs a teacher: the name or the file of a tagger.")
    tags = student_tags(teachers, config.vocabulary)
    columns_of([t.tags for t in teachers], tags, bool(config.vocabulary) and config.concept_share > 0)
    sr = audio.mp3_rate(config.sr or max(t.config.sr for t in teachers))
    length = round(config.window_seconds * sr)
    drawing = DistillConfig(
        segment_seconds=config.window_seconds, step_seconds=config.step_seconds, speeds=0, mixtures=0.0
    )
    plain = {
        "format": _FORMAT,
        "config": asdict(config),
        "teachers": [f"{t.name} {t.description.version}" for t in teachers],
        "teacher_tags": [list(t.tags) for t in teachers],
        "tags": list(tags),
    }
    _check_folder(folder, plain)
    clips: list[ScoredClip] = []
    parts: list[NDArray[np.float16]] = []
    for first in range(0, len(tracks), _CLIPS_AT_ONCE):
        some = range(first, min(first + _CLIPS_AT_ONCE, len(tracks)))
        waves = []
        kept = []
        for i in some:
            found = attempt(tracks[i].path, _middle, tracks[i].path, sr, config.excerpt_seconds)
            if isinstance(found, LightmelError):
                log.warning("left out: %s", found)
            else:
                waves.append(found)
                kept.append(i)
        if waves:
            corpus = Corpus(waves, waves, len(waves))
            windows = draw_windows(corpus, drawing, length, np.random.default_rng(0))
            logits = cached_logits(teachers, corpus, windows, length, sr, folder / "parts", None)
            parts.append(logits.numpy().astype(np.float16))
            counts = np.bincount(windows["clip"], minlength=len(waves))
            clips += [
                ScoredClip(relative(tracks[i].path, folder), tracks[i].group, splits[i], int(n))
                for i, n in zip(kept, counts, strict=True)
            ]
        if progress is not None:
            progress("scoring", some.stop, len(tracks))
    if not clips:
        raise AudioError(f"None of the {len(tracks)} tracks could be read; the log says why, one by one.")
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate(parts))
    write_whole(folder / LOGITS, buffer.getvalue(), TrainingError)
    rows = [(clip.path, clip.group, clip.split, clip.windows) for clip in clips]
    text = csv_text([("path", "group", "split", "windows"), *rows])
    write_whole(folder / CLIPS, text.encode(errors="surrogateescape"), TrainingError)
    write_whole(folder / SCORES_DESCRIPTION, (json.dumps(plain, indent=1) + "\n").encode(), TrainingError)
    return TeacherScores.open(folder)


def split_music(
    music: str | os.PathLike[str], config: ScoresConfig | None = None
) -> tuple[list[Track], list[str]]:
    """Return the tracks of a folder or a table of path and group, and ``train`` or ``test`` for each.

    A table's column ``split`` says it, and a group that is on both sides is logged; elsewhere groups are held
    out.

    Raises
    ------
    AudioError, DataError
        If there are none, the table cannot be read, or its column says something else.
    """
    config, place = config or ScoresConfig(), at_home(music)
    if place.is_dir():
        tracks = find_tracks(place)
    else:
        tracks, rows = read_tracks(place), Rows(place)
        if "split" in rows.header:
            splits = rows.column("split")
            for line, split in zip(rows.lines, splits, strict=True):
                if split not in ("train", "test"):
                    raise DataError(f"{rows.file}, line {line}: split is train or test, not {split!r}.")
            sides = {
                name: {track.group for track, split in zip(tracks, splits, strict=True) if split == name}
                for name in ("train", "test")
            }
            if both := sides["train"] & sides["test"]:
                log.warning(
                    "%s: %d groups, %r among them, have clips in train and in test: what is measured will be "
                    "too good.",
                    rows.file,
                    len(both),
                    min(both),
                )
            return tracks, splits
    _, held = hold_out_tracks(tracks, config.holdout, config.split_seed)
    names = {track.path for track in held}
    return tracks, ["test" if track.path in names else "train" for track in tracks]


def _middle(path: Path, sr: int, seconds: float) -> NDArray[np.int16]:
    return to_int16(audio.middle(path, sr, seconds))


def _check_folder(folder: Path, plain: Mapping[str, Any]) -> None:
    check_folder(folder, DataError)
    file = folder / SCORES_DESCRIPTION
    if not file.exists():
        return
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # damaged, and written anew
    if there != plain:
        differing = ", ".join(key for key in plain if there.get(key) != plain[key])
        raise DataError(f"{folder} holds other scores ({differing}): name another folder.")


class WindowFrames:
    """The windows of the clips of a split, as segments of stored features.

    A segment that is longer than a window has it in its middle, as far as the clip reaches.

    Attributes
    ----------
    chosen
        Which of all windows of the scores they are.
    rows, place, last
        Of each window: the row of its clip in the features, its number in the clip, and that of the last.
    """

    def __init__(
        self, features: Features, scores: TeacherScores, n_frames: int, seconds: float, split: str
    ) -> None:
        row_of = {key: row for row, key in enumerate(features.keys)}
        windows, config = scores.windows(), scores.config
        usable = np.array([c.split == split and c.path in row_of for c in scores.clips])
        self.features, self.n_frames = features, n_frames
        self.chosen = np.flatnonzero(usable[windows[:, 0]])
        if not len(self.chosen):
            raise DataError(f"{scores.folder} holds no clips of {split} whose features are there.")
        owner, self.place = windows[self.chosen, 0], windows[self.chosen, 1]
        self.rows = np.array([row_of.get(c.path, -1) for c in scores.clips])[owner]
        self.last = np.array([c.windows - 1 for c in scores.clips])[owner]
        step = round(features.config.sr * config.step_seconds)
        self.step = (features.config.shape(101 * step)[1] - features.config.shape(step)[1]) / 100
        self.lead = self.step * (seconds - config.window_seconds) / 2 / config.step_seconds

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, which: NDArray[np.int64], at: NDArray[np.float64]) -> torch.Tensor:
        """Return segments ``(segments, rows, n_frames)`` that begin `at` so many steps into their clips."""
        rows = self.rows[which]
        room = np.maximum(self.features.frames[rows] - self.n_frames, 0)
        starts = np.clip(np.rint(at * self.step - self.lead), 0, room).astype(np.int64)
        return torch.from_numpy(self.features.excerpts(rows, starts, self.n_frames))


class StoredExamples:
    """Segments of stored features with the teachers' logits as target: a student's examples.

    There is one for each window of the training clips. As in a distillation it begins up to half of `jitter`
    of a step before or after its window, and its target is interpolated between windows.

    Parameters
    ----------
    features
        A store whose clips are those of the scores.
    scores, targets
        The music, and `TeacherScores.targets`.
    n_frames, seconds
        Of a segment.
    jitter
        See above.

    Raises
    ------
    DataError
        If there are no training clips.
    """

    def __init__(
        self,
        features: Features,
        scores: TeacherScores,
        targets: torch.Tensor,
        n_frames: int,
        seconds: float,
        jitter: float,
    ) -> None:
        self.windows, self.jitter = WindowFrames(features, scores, n_frames, seconds, "train"), jitter
        self.targets, self.labels = targets, targets[torch.from_numpy(self.windows.chosen)]
        self.identity: Mapping[str, Any] = {
            "features": features.config.slug,
            "frames": n_frames,
            "jitter": jitter,
            "scores": scores.digest,
            "clips": features.fingerprint(np.unique(self.windows.rows)),
        }

    def __len__(self) -> int:
        return len(self.windows)

    @torch.no_grad()
    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Return features and targets; see `lightmel.features.Examples`."""
        place, last = self.windows.place[chosen], self.windows.last[chosen]
        at = np.clip(place + self.jitter * rng.uniform(-0.5, 0.5, len(chosen)), 0, last)
        low = np.floor(at).astype(np.int64)
        first = self.windows.chosen[chosen] - place
        before, after = (
            self.targets[torch.from_numpy(first + side)] for side in (low, np.minimum(low + 1, last))
        )
        share = torch.from_numpy(at - low).float()[:, None]
        return self.windows.read(chosen, at), torch.lerp(before, after, share)


@steady
@torch.inference_mode()
def held_out_logits(
    network: TaggingNetwork, features: Features, scores: TeacherScores, n_frames: int, seconds: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return a student's logits of the windows that are held out, and which of all windows these are.

    Clips whose features are not there are left out.
    """
    placed = WindowFrames(features, scores, n_frames, seconds, "test")
    logits = [
        network(placed.read(part, placed.place[part].astype(np.float64))).float().numpy()
        for part in np.array_split(np.arange(len(placed)), -(-len(placed) // _SEGMENTS_AT_ONCE))
    ]
    return np.concatenate(logits), placed.chosen
