"""Distillation: a small student learns a teacher's scores on a folder of music, without any labels.

The student hears damaged sound (level, equaliser, low-pass, noise, MP3), while its target stays the
teacher's score of the clean sound. To see more music than there is, clips are also played faster or
slower and mixed in pairs, and the teacher scores what comes out.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from .. import audio
from ..config import MelConfig
from ..encode import MP3_LEVELS, as_mp3, at_speed
from ..errors import AudioError, ConfigError
from ..frontend import MelFrontend
from ..models.base import TaggingNetwork
from ..models.musicnn import build_musicnn
from ..tagger import Tagger
from ..weights import Description
from .augment import Equaliser, Filters, Gain, LowPass, Noise
from .trainer import Batch, History, TrainConfig, fit

log = logging.getLogger("lightmel")

SUFFIXES = (".mp3", ".flac", ".ogg", ".opus", ".wav", ".aiff", ".aif", ".m4a")
_TEACHER_BATCH = 4
"""Few segments at a time: a large network's activations then stay near the processor."""

Wave = NDArray[np.int16]
_SEGMENT = np.dtype([("clip", "i4"), ("start", "i4"), ("other", "i4"), ("other_start", "i4"), ("gain", "f4")])


@dataclass(frozen=True)
class DistillConfig:
    """What the student is and what it hears.

    Parameters
    ----------
    mel
        Slug of the student's input.
    seconds
        Length of a segment; the teacher must score segments of the same length.
    step
        Seconds from one segment to the next.
    excerpt
        Seconds taken from the middle of each file.
    speeds
        A second version of each clip is played at a rate drawn between these; pitch moves along.
    mixtures
        Mixtures of two segments, as a multiple of the number of plain segments.
    holdout
        Part of the groups that is kept for testing.
    batch
        Segments a step.
    tag_weight
        Weight of the squared error of logits, each tag divided by its spread, so that rare tags count.
    seed
        Of everything random.
    """

    mel: str = "16k-mel48-x2-db"
    seconds: float = 3.0
    step: float = 1.5
    excerpt: float = 30.0
    speeds: tuple[float, float] = (0.84, 1.19)
    mixtures: float = 0.5
    holdout: float = 0.125
    batch: int = 64
    tag_weight: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        above = {"seconds": self.seconds, "step": self.step, "excerpt": self.excerpt, "batch": self.batch}
        for name, value in above.items():
            if not value > 0:
                raise ConfigError(f"{name} must be above 0, not {value}.")
        if self.batch < 2:
            raise ConfigError("batch must be at least 2: one segment has no statistics to normalise by.")
        if not 0 < self.speeds[0] <= self.speeds[1]:
            raise ConfigError(f"speeds are the slowest and the fastest, above 0, not {self.speeds}.")
        if not 0 < self.holdout < 1 or self.mixtures < 0 or self.tag_weight < 0:
            raise ConfigError(
                "holdout lies between 0 and 1, mixtures and tag_weight are 0 or more, "
                f"not {self.holdout}, {self.mixtures}, {self.tag_weight}."
            )


@dataclass(frozen=True)
class Track:
    """One file of the folder and the group (album, artist, session) that must not be split."""

    path: Path
    group: str


def find_tracks(folder: Path) -> list[Track]:
    """Return the sound files below `folder`, sorted; those of one folder are one group.

    Raises
    ------
    AudioError
        If there are none.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise AudioError(f"There is no sound below {folder}: it looks for {' '.join(SUFFIXES)}.")
    return [Track(p, str(p.parent.relative_to(folder))) for p in paths]


def split_groups(tracks: Sequence[Track], holdout: float) -> tuple[list[Track], list[Track]]:
    """Return training and held-out tracks; no group is split, and the same groups give the same parts.

    The groups with the smallest hashes are held out, whatever their order. More groups move the border:
    a student is to be judged by the part that it was trained without.
    """
    groups = sorted({t.group for t in tracks}, key=lambda g: hashlib.sha256(g.encode()).digest())
    held = set(groups[: max(1, round(holdout * len(groups)))])
    if len(held) == len(groups):
        raise ConfigError(
            f"All {len(groups)} groups would be held out: distillation needs at least two groups of tracks "
            f"(folders, or the column 'group' of a table)."
        )
    return [t for t in tracks if t.group not in held], [t for t in tracks if t.group in held]


def to_int16(wave: NDArray[np.float32]) -> Wave:
    """Return a wave of full scale 1 as 16-bit samples, clipped."""
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


@dataclass
class Bank:
    """Clips in memory, 16 bit: `clean`, and `coded` as MP3; plain clips first, then those at other speeds."""

    clean: list[Wave]
    coded: list[Wave]
    plain: int


def read_bank(tracks: Sequence[Track], config: DistillConfig, sr: int, rng: np.random.Generator) -> Bank:
    """Decode the middle of every track, plain and at another speed, clean and as MP3.

    A file that cannot be read is logged and left out.

    Raises
    ------
    AudioError
        If that leaves none.
    """
    seeds = rng.integers(2**32, size=len(tracks))

    def versions(track: Track, seed: int) -> list[tuple[Wave, Wave]]:
        own = np.random.default_rng(seed)
        try:
            spare = max(0.0, audio.info(track.path).seconds - config.excerpt)
            wave = audio.excerpt(track.path, sr, spare / 2, config.excerpt)
        except AudioError as error:
            log.warning("left out: %s", error)
            return []
        if not len(wave):
            log.warning("left out: %s holds no sound", track.path)
            return []
        speed = float(np.exp(own.uniform(*np.log(config.speeds))))
        clean = [to_int16(wave), to_int16(at_speed(wave, sr, speed))]
        return [(c, as_mp3(c, sr, own.choice(MP3_LEVELS))) for c in clean]

    with ThreadPoolExecutor(2) as pool:
        read = [v for v in pool.map(versions, tracks, seeds) if v]
    if not read:
        raise AudioError(f"None of the {len(tracks)} tracks could be read; the log says why, one by one.")
    pairs = [v[0] for v in read] + [v[1] for v in read]
    return Bank([c for c, _ in pairs], [m for _, m in pairs], len(read))


def draw_segments(
    bank: Bank, config: DistillConfig, length: int, rng: np.random.Generator
) -> NDArray[np.void]:
    """Return the segments to learn from: every `step` of the plain clips, as many mixtures, and more."""
    step = round(length * config.step / config.seconds)
    rows = []
    for clip, wave in enumerate(bank.clean):
        stride = step if clip < bank.plain else 2 * step
        rows += [(clip, start, -1, 0, 0.0) for start in range(0, max(1, len(wave) - length + 1), stride)]
    for _ in range(round(config.mixtures * len(rows))):
        clip, other = rng.choice(len(bank.clean), 2, replace=len(bank.clean) < 2)
        starts = [int(rng.integers(max(1, len(bank.clean[i]) - length + 1))) for i in (clip, other)]
        rows.append((clip, starts[0], other, starts[1], float(10 ** (rng.uniform(-12, 3) / 20))))
    return np.array(rows, dtype=_SEGMENT)


def render(bank: Bank, segments: NDArray[np.void], length: int, coded: NDArray[np.bool_]) -> torch.Tensor:
    """Return the waves ``(segments, length)`` of `segments`, from the MP3 versions where `coded`."""
    out = np.zeros((len(segments), length), dtype=np.float32)
    for row, segment, mp3 in zip(out, segments, coded, strict=True):
        waves = bank.coded if mp3 else bank.clean
        first = waves[segment["clip"]][segment["start"] : segment["start"] + length]
        row[: len(first)] = first
        if segment["other"] >= 0:
            second = waves[segment["other"]][segment["other_start"] : segment["other_start"] + length]
            row[: len(second)] += segment["gain"] * second
    return torch.from_numpy(out / 32768)


def teacher_logits(
    teachers: Sequence[Tagger], bank: Bank, segments: NDArray[np.void], length: int
) -> Iterator[torch.Tensor]:
    """Yield the mean of the teachers' logits for the clean sound, a batch at a time."""
    for at in range(0, len(segments), _TEACHER_BATCH):
        part = segments[at : at + _TEACHER_BATCH]
        waves = render(bank, part, length, np.zeros(len(part), dtype=bool))
        yield torch.stack([t.segment_logits(waves) for t in teachers]).mean(dim=0)


def distillation_loss(
    targets: torch.Tensor, tag_weight: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss between logits and the teacher's logits: cross-entropy, and a squared error a tag.

    Cross-entropy alone hardly hears a tag whose scores are all small. `targets` ``(segments, tags)`` give
    the spread of each tag that the squared error is measured in.
    """
    spread = targets.std(dim=0).clamp(min=1e-3)

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        soft = F.binary_cross_entropy_with_logits(logits, target.sigmoid())
        return soft + tag_weight * ((logits - target) / spread).square().mean()

    return loss


def distill(
    teachers: Sequence[Tagger],
    tracks: Sequence[Track],
    config: DistillConfig,
    training: TrainConfig,
    *,
    cache: Path | None = None,
    student: TaggingNetwork | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Tagger, History]:
    """Train a student on `tracks` and return it with the history of its training.

    Parameters
    ----------
    teachers
        Their logits are averaged; they must share tags, sample rate and segment length.
    tracks
        The training tracks; the held-out ones are for the caller to keep.
    config, training
        What it hears and how it learns.
    cache
        A folder for the teachers' scores, which are then computed once.
    student
        A network for ``config.mel``; without one, the small MUSICNN in the form of Pons.
    on_epoch
        Called with each line of the history.

    Raises
    ------
    ConfigError
        If there is no teacher, they do not agree with each other or with the configuration, or the
        tracks are too few for one batch.
    AudioError
        If none of the tracks can be read.
    """
    if not teachers:
        raise ConfigError("Distillation needs a teacher: the name or the file of a tagger.")
    mel = MelConfig.from_slug(config.mel)
    length = mel.n_samples(config.seconds)
    for teacher in teachers:
        if (teacher.config.sr, teacher.segment_samples, teacher.tags) != (mel.sr, length, teachers[0].tags):
            raise ConfigError(
                f"{teacher.name} scores {teacher.segment_samples} samples at {teacher.config.sr} Hz, the "
                f"student {length} at {mel.sr} Hz; they must agree, and teachers share tags."
            )
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    bank = read_bank(tracks, config, mel.sr, rng)
    segments = draw_segments(bank, config, length, rng)
    log.info("%d clips, %d segments", bank.plain, len(segments))
    if len(segments) < config.batch:
        raise ConfigError(
            f"{bank.plain} tracks give {len(segments)} segments, fewer than a batch of {config.batch}: "
            "more music is needed, or a smaller batch."
        )
    targets = _cached_logits(teachers, bank, segments, length, cache)
    frontend = MelFrontend.from_config(mel)
    n_tags = len(teachers[0].tags)
    network = student or build_musicnn(
        mel.input_shape(config.seconds), n_tags, variant="pons", size="small", generator=generator
    )
    with torch.no_grad():
        network.head.bias.copy_(targets.mean(dim=0))
    damage = Filters(mel.sr, (Gain(-12, 6), Equaliser(6, 3), LowPass(2_500, 8_000, 0.4)))
    noise = Noise(-90, -45, 0.2)

    def batches(_epoch: int) -> Iterator[Batch]:
        order = rng.permutation(len(segments))
        for at in range(0, len(order) - config.batch + 1, config.batch):
            chosen = order[at : at + config.batch]
            waves = render(bank, segments[chosen], length, rng.random(config.batch) < 0.35)
            # No yield inside no_grad: the training step would run without gradients too.
            with torch.no_grad():
                mel_batch = frontend(noise(damage(waves, generator), generator))
            yield mel_batch, targets[chosen]

    averaged, history = fit(
        network,
        batches,
        len(segments) // config.batch,
        distillation_loss(targets, config.tag_weight),
        training,
        on_epoch,
        generator=generator,
    )
    description = Description(
        name="student",
        version="1",
        licence="not stated",
        config=mel,
        tags=teachers[0].tags,
        segment_samples=length,
        provenance={
            "teachers": [t.name for t in teachers],
            "distillation": asdict(config),
            "training": asdict(training),
        },
    )
    return Tagger(averaged, description), history


def _cached_logits(
    teachers: Sequence[Tagger], bank: Bank, segments: NDArray[np.void], length: int, cache: Path | None
) -> torch.Tensor:
    digest = hashlib.sha256(segments.tobytes())
    for wave in bank.clean:
        digest.update(wave.tobytes())
    for teacher in teachers:  # by what they are: names and versions are given by people
        digest.update(teacher.config.slug.encode())
        for key, tensor in teacher.network.state_dict().items():
            digest.update(key.encode() + tensor.numpy().tobytes())
    file = cache / f"teacher-{digest.hexdigest()[:16]}.npy" if cache is not None else None
    if file is not None and file.exists():
        return torch.from_numpy(np.load(file))
    parts: list[torch.Tensor] = []
    for part in teacher_logits(teachers, bank, segments, length):
        parts.append(part)
        if len(parts) % 500 == 0:
            log.info("teacher: %d of %d segments", _TEACHER_BATCH * len(parts), len(segments))
    targets = torch.cat(parts)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".part")
        with partial.open("wb") as out:
            np.save(out, targets.numpy())
        partial.replace(file)  # a kill leaves no half file under the final name
    return targets
