from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightmel.checkpoint import weights_sha256
from lightmel.datasets import find_tracks
from lightmel.distillation import DISTILL_TRAINING, DistillConfig, distill
from lightmel.distillation.corpus import draw_segments, hold_out_tracks, read_corpus, render
from lightmel.distillation.student import CorpusExamples, distillation_loss
from lightmel.distillation.targets import at_rate
from lightmel.errors import ConfigError, StoppedError, TrainingError
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
    corpus = read_corpus(find_tracks(music)[:3], config, SR, np.random.default_rng(0))
    segments = draw_segments(corpus, config, SR // 2, np.random.default_rng(0))
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
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)
    distill([teacher], tracks, config, once, work=tmp_path)
    for change, what in (
        ({"student": "musicnn-small-16k-mel16-x4-log"}, "features, student"),
        ({"student": f"vgg-small-{SLUG}"}, "network, initial weights, student"),
        ({"tag_weight": 0.2}, "tag_weight"),
    ):
        with pytest.raises(TrainingError, match=f"holds a run that differs in {what}:"):
            distill([teacher], tracks, replace(config, **change), once, work=tmp_path)


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
    with pytest.raises(ConfigError, match=r"1 tracks give \d+ segments, fewer than a batch of 64"):
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
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        DistillConfig(**change)
