from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmel import vocabularies
from lightmel.checkpoint import weights_sha256
from lightmel.datasets import find_tracks
from lightmel.distillation import DISTILL_TRAINING, DistillConfig, distill
from lightmel.distillation import student as room
from lightmel.distillation.corpus import (
    Corpus,
    draw_windows,
    hold_out_tracks,
    read_corpus,
    render,
)
from lightmel.distillation.student import CorpusExamples, distillation_loss
from lightmel.distillation.targets import at_rate, teacher_logits
from lightmel.errors import ConfigError, LightmelError, StoppedError, TrainingError
from lightmel.frontends import MelConfig
from lightmel.inference import Tagger
from lightmel.models import build_named
from lightmel.training import Callbacks, TrainConfig

SR = 16_000
SLUG = "16k-mel16-x4-db"
Tiny = Callable[..., Tagger]

# The loss


def test_the_loss_is_least_at_the_teachers_logits() -> None:
    targets = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 1.0, 5.0])
    loss = distillation_loss(targets, 0.1)
    best = float(loss(targets, targets))
    for shift in (-0.5, 0.01, 1.0):
        assert float(loss(targets + shift, targets)) > best
    off = [float(loss(targets + 0.1 * torch.eye(3)[i], targets)) - best for i in range(3)]
    assert off[0] > off[1] > off[2], "a tag of little spread is held to it more closely"


def test_a_constant_tag_does_not_blow_up() -> None:
    targets = torch.full((10, 2), -4.0)
    assert torch.isfinite(distillation_loss(targets, 0.1)(targets, targets))


# The student's examples


def test_the_student_sees_augmented_sound_of_its_own_rate_and_its_target_is_the_teachers(
    music: Path, config: DistillConfig
) -> None:
    config = replace(config, jitter=0.0)
    corpus = read_corpus(find_tracks(music)[:3], config, SR, np.random.default_rng(0))
    segments = draw_windows(corpus, config, SR // 2, np.random.default_rng(0))
    mel = MelConfig.from_slug("12k-mel16-x4-db")
    targets = torch.arange(2.0 * len(segments)).view(-1, 2)
    examples = CorpusExamples(corpus, segments, config, SR, mel, targets)
    chosen = np.array([4, 0, 7])
    seen, target = examples.batch(chosen, np.random.default_rng(3))
    assert seen.shape == (3, *mel.input_shape(0.5))
    assert torch.equal(target, targets[[4, 0, 7]])
    again, _ = examples.batch(chosen, np.random.default_rng(3))
    other, _ = examples.batch(chosen, np.random.default_rng(4))
    assert torch.equal(seen, again)
    assert not torch.allclose(seen, other, atol=1)
    clean = at_rate(render(corpus, segments[chosen], SR // 2), SR, 12_000, 6_000)[:, :6_000]
    off = (seen - examples.frontend(clean)).flatten(1)
    assert (off.abs().mean(dim=1) > 0.5).all(), "augmented"
    for augmented, plain in zip(seen, examples.frontend(clean), strict=True):
        assert np.corrcoef(augmented.flatten(), plain.flatten())[0, 1] > 0.7, "and yet the same sound"


class Bare:
    """A front end that leaves the sound as it is."""

    config = MelConfig(SR, 16, 4)

    def __call__(self, waves: torch.Tensor) -> torch.Tensor:
        return waves


def bare(corpus: Corpus, windows: np.ndarray, config: DistillConfig, targets: torch.Tensor) -> CorpusExamples:
    """The student's examples as sound that is not augmented."""
    examples = CorpusExamples(corpus, windows, config, SR, Bare.config, targets)
    examples.frontend, examples.augment = Bare(), lambda waves, _: waves  # type: ignore[assignment]
    return examples


LENGTHS = [
    # Segments, windows, steps, jitter: as long as a window or several steps longer; overlapping or not.
    (0.5, 0.0, 0.25, 1.0),
    (0.5, 0.5, 0.7, 1.0),
    (0.5, 0.5, 0.25, 0.0),
    (1.3, 0.5, 0.25, 1.0),
    (1.37, 0.5, 0.25, 0.5),
    (1.5, 0.5, 0.5, 0.0),
    (1.7, 0.4, 0.6, 1.0),
]


@pytest.mark.parametrize(("segment", "window", "step", "jitter"), LENGTHS, ids=str)
def test_a_segments_target_is_that_of_the_time_it_covers(
    clock: Tiny,
    ramp: Callable[..., np.ndarray],
    config: DistillConfig,
    segment: float,
    window: float,
    step: float,
    jitter: float,
) -> None:
    """The teacher tells the time of a window's middle, so that interpolation is exact, also of mixtures."""
    config = replace(
        config,
        segment_seconds=segment,
        window_seconds=window,
        step_seconds=step,
        jitter=jitter,
        mixtures=1.0,
    )
    clean = [ramp(4, SR), ramp(3.3, SR, -1_500), ramp(5, SR, 900, begin=2)]
    corpus, length = Corpus(clean, clean, 3), round(config.window * SR)
    windows = draw_windows(corpus, config, length, np.random.default_rng(5))
    teacher = clock(SLUG, config.window, 1.0)
    targets = torch.cat(list(teacher_logits([teacher], corpus, windows, length, SR)))
    examples = bare(corpus, windows, config, targets)
    assert len(examples) == len(windows)
    # Too short a mixture for a segment of this length has no time of its own.
    waves, long = windows["wave"], []
    for wave in np.unique(waves):
        own = np.flatnonzero(waves == wave)
        samples = windows["start"][own[-1]] - windows["start"][own[0]] + length
        long += own.tolist() if samples >= examples.length else []
    chosen = np.array(long)
    assert (windows["other"][chosen] >= 0).sum() > 2
    sound, target = examples.batch(chosen, np.random.default_rng(7))
    assert sound.shape == (len(chosen), round(segment * SR))
    covered = sound.mean(dim=1) * 32768 / 4_000  # seconds on the clock
    # 16 bits round the level to a quarter of a millisecond, whose mean over a segment is much less.
    assert (target[:, 0] - covered).abs().max() < 3e-4
    assert (target[:, 2] - covered - 2).abs().max() < 3e-4
    plain = windows["other"][chosen] < 0
    begun = sound[plain, 0].numpy() * 32768 / 4_000
    offset = begun - windows["start"][chosen][plain] / SR
    first = windows["clip"][chosen][plain] == 0
    off = np.abs(offset[first])
    free = off[: len(off) // 3]  # those that do not have to begin earlier to end within the clip
    assert free.max() <= jitter * step / 2 + 1e-3
    assert (free.max() > 1e-3) == (jitter > 0)


@settings(max_examples=40)
@given(st.data())
def test_no_segment_leaves_its_clip(data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 30), "window")
    config = DistillConfig(
        window_seconds=window / 100,
        segment_seconds=(window + data.draw(st.integers(0, 60), "more")) / 100,
        step_seconds=data.draw(st.integers(1, 50), "step") / 100,
        jitter=data.draw(st.floats(0, 1), "jitter"),
        mixtures=data.draw(st.floats(0, 2), "mixtures"),
    )
    seed = data.draw(st.integers(0, 99), "seed")
    lengths = data.draw(st.lists(st.integers(1, 200), min_size=1, max_size=4), "lengths")
    clean = [np.zeros(n, dtype=np.int16) for n in lengths]
    corpus = Corpus(clean, clean, len(clean))
    sr = 100
    windows = draw_windows(corpus, config, window, np.random.default_rng(seed))
    targets = torch.arange(float(len(windows)))[:, None]
    examples = CorpusExamples(corpus, windows, config, sr, Bare.config, targets)
    seen: list[np.ndarray] = []

    def watched(_: Corpus, segments: np.ndarray, length: int, coded: object) -> torch.Tensor:
        assert length == round(config.segment_seconds * sr)
        seen.append(segments)
        return torch.zeros(len(segments), examples.samples)

    examples.sr, examples.frontend, examples.augment = SR, Bare(), lambda waves, _: waves  # type: ignore[assignment]
    chosen = np.arange(len(windows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "render", watched)
        _, target = examples.batch(chosen, np.random.default_rng(seed))
    (segments,) = seen
    for window_, segment, value in zip(windows, segments, target[:, 0].tolist(), strict=True):
        for name in ("clip", "other", "gain", "wave"):
            assert segment[name] == window_[name]
        own = np.flatnonzero(windows["wave"] == window_["wave"])
        first, last = windows[own[0]], windows[own[-1]]
        moved = segment["start"] - first["start"]
        assert moved >= 0
        assert segment["other_start"] - first["other_start"] == moved
        left = last["start"] - first["start"] + window
        assert moved + examples.length <= left or moved == 0, "too short a clip is taken from its beginning"
        assert own[0] <= value <= own[-1], "its target is of windows of its own clip"


def test_a_clip_that_is_shorter_than_a_segment_has_the_mean_of_its_windows(config: DistillConfig) -> None:
    config = replace(config, segment_seconds=2.0, window_seconds=0.5, step_seconds=0.25, mixtures=0.0)
    clean = [np.zeros(round(s * SR), dtype=np.int16) for s in (1.0, 0.3)]
    corpus = Corpus(clean, clean, 2)
    windows = draw_windows(corpus, config, SR // 2, np.random.default_rng(0))
    assert windows["clip"].tolist() == [0, 0, 0, 1]
    examples = bare(corpus, windows, config, torch.tensor([[1.0], [4.0], [7.0], [-9.0]]))
    _, target = examples.batch(np.arange(4), np.random.default_rng(0))
    # Seven places a quarter of a second apart: those after the third are the third's.
    assert target[:, 0].tolist() == pytest.approx([(1 + 4 + 5 * 7) / 7] * 3 + [-9])


# Distillation


def test_a_student_learns_its_teacher(music: Path, teacher: Tagger, config: DistillConfig) -> None:
    train, held = hold_out_tracks(find_tracks(music), config.holdout)
    config, training = replace(config, step_seconds=0.25), replace(DISTILL_TRAINING, epochs=8, batch_size=16)
    student, result = distill([teacher], train, config, training)
    losses = [line["loss"] for line in result.history]
    assert losses[-1] < 0.75 * losses[0]
    assert student.tags == teacher.tags
    assert student.config.slug == SLUG
    pairs = [[t.taggram(track.path).scores for t in (student, teacher)] for track in held]
    own, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    network, _ = build_named(config.student, config.segment_seconds, 3, torch.Generator().manual_seed(0))
    untrained = Tagger(network, student.description)
    first = np.concatenate([untrained.taggram(track.path).scores for track in held])
    assert np.abs(own - theirs).mean() < 0.6 * np.abs(first - theirs).mean(), "on sound it was not trained on"


def test_the_same_call_gives_the_same_bytes(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    tracks = find_tracks(music)[:6]
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)  # the global random state is no part of the call
        student, _ = distill([teacher], tracks, config, replace(training, seed=seed))
        student.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_student_of_several_teachers_of_other_rates_has_the_tags_of_all(
    music: Path, teacher: Tagger, tiny: Tiny, config: DistillConfig, training: TrainConfig
) -> None:
    others = [
        tiny(1, slug="12k-mel16-x4-db", seconds=0.3, tags=("drums", "choir", "harp")),
        tiny(2, slug="44.1k-mel16-x4-db", seconds=0.8, tags=("harp", "voice", "flute")),
    ]
    config = replace(config, student="vgg-small-12k-mel16-x4-log")
    student, result = distill([teacher, *others], find_tracks(music)[:6], config, training)
    assert student.tags == ("voice", "strings", "drums", "choir", "harp", "flute")
    assert student.config.slug == "12k-mel16-x4-log"
    assert student.segment_seconds == 0.5
    assert len(result.history) == 2
    assert student.description.provenance["teachers"] == ["teacher 1", "tiny-1 1", "tiny-2 1"]
    student.tag(find_tracks(music)[0].path)


@pytest.mark.parametrize("schedule", ["patience", "plateau", "head", "balanced"])
def test_what_means_nothing_to_a_student_is_refused_at_once(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, schedule: str
) -> None:
    changes: dict[str, Any] = {
        "patience": {"patience": 3},
        "plateau": {"schedule": "plateau"},
        "head": {"trainable": "head"},
        "balanced": {"class_weights": "balanced"},
    }[schedule]
    with pytest.raises(ConfigError, match=r"patience|trainable=head"):
        distill([teacher], find_tracks(music), config, replace(training, **changes))


@pytest.mark.parametrize("at", [1, 5, 7])
def test_a_stopped_distillation_goes_on_with_the_same_call_to_the_same_weights(
    music: Path, teacher: Tagger, config: DistillConfig, tmp_path: Path, asked: list[Any], at: int
) -> None:
    tracks, config = find_tracks(music)[:6], replace(config, excerpt_seconds=2.0)
    training = replace(DISTILL_TRAINING, epochs=3, batch_size=16)
    whole, result = distill([teacher], tracks, config, training)
    asked.clear()
    trainers: list[Any] = []
    steps: list[tuple[int, int]] = []

    def on_step(done: int, total: int) -> None:
        steps.append((done, total))
        if done == at and len(trainers) == 1:
            trainers[0].stop()

    def run() -> tuple[Tagger, Any]:
        callbacks = Callbacks(on_start=trainers.append, on_step=on_step)
        return distill([teacher], tracks, config, training, work=tmp_path, callbacks=callbacks)

    with pytest.raises(StoppedError):
        run()
    assert steps == [(i + 1, 15) for i in range(at)]
    student, resumed = run()
    assert steps[at:] == [(i + 1, 15) for i in range(at, 15)]
    assert len(asked) == 1
    assert weights_sha256(student.network) == weights_sha256(whole.network)
    assert [line["loss"] for line in resumed.history] == [line["loss"] for line in result.history]


def test_another_student_does_not_go_on_with_this_ones_weights(
    music: Path,
    teacher: Tagger,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    asked: list[Any],
) -> None:
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)
    distill([teacher], tracks, config, once, work=tmp_path)
    for change, what in (
        ({"tag_weight": 0.2}, "tag_weight"),
        ({"jitter": 0.5}, "jitter"),
        ({"clip_share": 0.5}, "initial weights, clip_share, the labels of the training data"),
    ):
        with pytest.raises(TrainingError, match=f"holds a run that differs in {what}:"):
            distill([teacher], tracks, replace(config, **change), once, work=tmp_path)
    assert len(asked) == 1


def test_another_student_is_trained_on_the_same_scores_beside_this_one(
    music: Path,
    teacher: Tagger,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    asked: list[Any],
) -> None:
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)
    made = {}
    names = (config.student, "musicnn-small-16k-mel16-x4-log", f"vgg-small-{SLUG}", f"mobilenet-{SLUG}")
    for name in names + names[:1]:
        tagger, _ = distill([teacher], tracks, replace(config, student=name), once, work=tmp_path)
        digest = weights_sha256(tagger.network)
        assert made.setdefault(name, digest) == digest
    assert len(set(made.values())) == len(names)
    assert len(asked) == 1


def test_windows_of_students_of_any_length_are_scored_once(
    music: Path,
    teacher: Tagger,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    asked: list[Any],
) -> None:
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)
    config = replace(config, window_seconds=0.5, step_seconds=0.25)
    slugs = (SLUG, "12k-mel16-x4-db", "16k-mel16-x4-log")
    for slug, seconds in zip(slugs, (0.5, 1.2, 2.0), strict=True):
        own = replace(config, student=f"vgg-small-{slug}", segment_seconds=seconds, sr=SR)
        tagger, _ = distill([teacher], tracks, own, once, work=tmp_path)
        assert tagger.segment_seconds == seconds
        assert tagger.config.slug == slug
    assert len(asked) == 1


def test_a_student_of_a_vocabulary_has_its_tags(
    music: Path, tiny: Tiny, config: DistillConfig, training: TrainConfig
) -> None:
    tags = vocabularies.read("mtat")
    plain = [tag.replace(" ", "_").upper() for tag in tags[::-1]]  # in another order and spelling
    teachers = [
        Tagger(tiny(seed).network.with_head(len(own), torch.Generator().manual_seed(seed)), description)
        for seed, own in ((1, plain), (2, ["Female singing", "zither", "Rock music"]))
        for description in [replace(tiny(seed).description, tags=tuple(own))]
    ]
    config, once = replace(config, vocabulary="mtat"), replace(training, epochs=1)
    tracks = find_tracks(music)[:4]
    student, _ = distill(teachers, tracks, config, once)
    assert student.tags == tags
    assert student.description.provenance["distillation"]["vocabulary"] == "mtat"
    alone, _ = distill(teachers[:1], tracks, config, once)
    by_name, _ = distill(teachers, tracks, replace(config, concept_share=0.0), once)
    digests = [weights_sha256(tagger.network) for tagger in (student, alone, by_name)]
    assert digests[1] == digests[2] != digests[0], "the second knows two of its tags by their concept"


def test_what_cannot_be_is_refused_before_the_music_is_read(
    music: Path, teacher: Tagger, tiny: Tiny, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    told: list[str] = []
    callbacks = Callbacks(on_progress=lambda what, *_: told.append(what))
    tiny(0).save(tmp_path / "other.safetensors")
    for change, message in (
        ({"vocabulary": "mtatt"}, "No tag vocabulary 'mtatt'.*Did you mean 'mtat'"),
        ({"vocabulary": "mtat"}, "None of the teachers knows the tag 'guitar'"),
        ({"start": str(tmp_path / "other.safetensors")}, "The student cannot start from tiny-0"),
        ({"start": "no-such-tagger"}, "no tagger 'no-such-tagger'"),
    ):
        with pytest.raises(LightmelError, match=message):
            distill([teacher], music, replace(config, **change), training, callbacks=callbacks)
    assert not told


def test_no_teacher_is_refused(music: Path, config: DistillConfig, training: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="needs a teacher"):
        distill([], find_tracks(music), config, training)


def test_an_unknown_student_is_refused(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig
) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        distill([teacher], find_tracks(music), replace(config, student=f"vgg-smal-{SLUG}"), training)


def test_too_little_music_is_refused(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig
) -> None:
    with pytest.raises(ConfigError, match=r"1 tracks give \d+ windows, fewer than a batch of 64"):
        distill([teacher], find_tracks(music)[:1], config, replace(training, batch_size=64))


@pytest.mark.parametrize(
    "change",
    [
        {"segment_seconds": 0},
        {"step_seconds": -1},
        {"excerpt_seconds": 0},
        {"slowest": 1.2, "fastest": 0.8},
        {"slowest": 0},
        {"tag_weight": -0.1},
        {"holdout": 0},
        {"holdout": 1},
        {"mixtures": -1},
        {"segment_seconds": float("nan")},
        {"window_seconds": -1.0},
        {"window_seconds": 3.5},
        {"window_seconds": float("nan")},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"clip_share": 1.5},
        {"concept_share": -0.5},
        {"concept_share": float("nan")},
        {"sr": -1},
        {"speeds": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        DistillConfig(**change)
