from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightmel.checkpoint import weights_sha256
from lightmel.datasets import find_tracks
from lightmel.distillation import DistillConfig, distill
from lightmel.distillation.corpus import Corpus, draw_segments, read_corpus
from lightmel.distillation.targets import mean_logits, student_tags, teacher_logits
from lightmel.errors import ConfigError, TrainingError
from lightmel.inference import Output, Tagger, TorchRuntime
from lightmel.training import Callbacks, TrainConfig

SR = 16_000
SLUG = "16k-mel16-x4-db"
Tiny = Callable[..., Tagger]
Rows = Callable[..., np.ndarray]

# Teachers' logits


UNIT = 0.05
"""Logits a second of `Clock`: where a sigmoid is nearly straight."""


class Clock(TorchRuntime):
    """Its logits tell when the middle of its input was, if the sound's level rises by 4,000 a second."""

    def logits(self, waves: torch.Tensor) -> torch.Tensor:
        middle, near = waves.shape[1] / 2, round(0.02 * self.sr)
        level = waves[:, round(middle - near) : round(middle + near)].mean(dim=1, keepdim=True)
        return UNIT * level * 32768 / 4_000 + torch.arange(self.n_tags)


def clock(tiny: Tiny, slug: str, seconds: float, tags: Sequence[str] = ("a", "b", "c")) -> Tagger:
    made = tiny(0, slug=slug, seconds=seconds, tags=tuple(tags))
    runtime = Clock(made.network, made.config)
    runtime.sr, runtime.n_tags = made.config.sr, len(tags)
    return Tagger(runtime, made.description)


def ramp(seconds: float, sr: int, slope: float = 4_000) -> np.ndarray:
    return np.round(slope * np.arange(round(seconds * sr)) / sr).astype(np.int16)


def logit(score: Any) -> Any:
    return np.log(score) - np.log1p(-score)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


@pytest.mark.parametrize("sr", [16_000, 44_100])
@pytest.mark.parametrize("slug", ["12k-mel16-x4-db", "16k-mel16-x4-db", "44.1k-mel16-x4-db"])
@pytest.mark.parametrize("seconds", [0.2, 0.5, 2.0], ids=["shorter", "equal", "longer"])
def test_a_teacher_of_any_rate_and_length_scores_the_time_of_the_students_segment(
    tiny: Tiny, rows: Rows, sr: int, slug: str, seconds: float
) -> None:
    starts = [0.0, 0.35, 2.0, 3.117, 7.5]  # of segments of half a second in a clip of eight
    corpus = Corpus([ramp(8, sr)], [ramp(8, sr)], 1)
    segments = rows(*((0, round(s * sr), -1, 0, 0.0) for s in starts))
    (found,) = (
        torch.cat(list(teacher_logits([clock(tiny, slug, seconds)], corpus, segments, sr // 2, sr)))
        .numpy()
        .T[:1]
    )
    for start, said in zip(starts, found, strict=True):
        if seconds == 0.2:  # three segments, the last one ending where the student's ends
            times = start + np.array([0.1, 0.3, 0.4])
        elif seconds == 0.5:
            times = np.array([start + 0.25])
        else:  # the student's in the middle, as far as the clip reaches
            times = np.array([min(max(start + 0.25, 1.0), 7.0)])
        # Half a millisecond: the two rates' samples do not fall on each other; 16 bits round the level.
        assert said / UNIT == pytest.approx(logit(sigmoid(UNIT * times).mean()) / UNIT, abs=5e-4)


def test_several_teachers_are_averaged_tag_by_tag_at_the_same_time(tiny: Tiny, rows: Rows) -> None:
    teachers = [
        clock(tiny, "12k-mel16-x4-db", 0.2, ("a", "b", "c")),
        clock(tiny, "16k-mel16-x4-db", 0.5, ("c", "d", "a")),
        clock(tiny, "44.1k-mel16-x4-db", 2.0, ("e", "a", "f")),
    ]
    assert student_tags(teachers) == ("a", "b", "c", "d", "e", "f")
    sr = 44_100
    corpus = Corpus([ramp(8, sr)], [ramp(8, sr)], 1)
    starts = np.array([1.5, 3.3, 4.0, 5.25, 2.0])
    segments = rows(*((0, round(s * sr), -1, 0, 0.0) for s in starts))
    found = torch.cat(list(teacher_logits(teachers, corpus, segments, sr // 2, sr))).numpy()
    middle = UNIT * (starts + 0.25)
    places = {"a": (0, 2, 1), "b": (1,), "c": (2, 0), "d": (1,), "e": (0,), "f": (2,)}
    for column, own in zip(found.T, places.values(), strict=True):
        expected = logit(np.mean([sigmoid(middle + place) for place in own], axis=0))
        # The short teacher's three segments have their middle 1/60 s late, and it is one of three at most.
        assert np.abs(column - expected).max() < UNIT * 0.02


def test_mixtures_are_scored_anew_and_both_sounds_are_on_time(tiny: Tiny, rows: Rows) -> None:
    sr = 44_100
    clean = [ramp(8, sr), ramp(6, sr, -2_000), ramp(1.2, sr, -2_000)]  # the last is repeated for two seconds
    corpus = Corpus(clean, clean, 3)
    segments = rows(
        (0, 2 * sr, 1, 3 * sr, 0.5),
        (0, 0, 1, 3 * sr, 1.0),
        (0, 4 * sr, 2, round(0.3 * sr), 1.0),
        (2, round(0.3 * sr), 0, 4 * sr, 1.0),
    )
    first, other = np.array([2.25, 1.0, 4.25, -0.275]), np.array([3.25, 4.0, 0.55, 4.25])
    first[3], slope = 0.55, np.array([-0.5, -0.5, -0.5, 1.0])
    expected = first * np.array([1, 1, 1, -0.5]) + np.array([0.5, 1, 1, 1]) * slope * other
    # In the fourth the clip itself is repeated: the teacher's middle is then a second from its beginning.
    expected[3] = -0.5 * 1.0 + (4.0 - 0.3 + 1.0)
    (found,) = (
        torch.cat(list(teacher_logits([clock(tiny, SLUG, 2.0)], corpus, segments, sr // 2, sr))).numpy().T[:1]
    )
    assert found / UNIT == pytest.approx(expected, abs=1e-3)


def test_a_mixture_has_the_teachers_score_of_the_mixture(
    music: Path, teacher: Tagger, config: DistillConfig
) -> None:
    corpus = read_corpus(find_tracks(music)[:4], config, SR, np.random.default_rng(0))
    segments = draw_segments(corpus, config, SR // 2, np.random.default_rng(0))
    found = torch.cat(list(teacher_logits([teacher], corpus, segments, SR // 2, SR)))
    mixed = np.flatnonzero(segments["other"] >= 0)
    assert len(mixed) > 5
    apart = []
    for i in mixed:
        s = segments[i]
        one, two = (
            np.resize(corpus.clean[s[c]][s[at] : s[at] + SR // 2], SR // 2) / 32768
            for c, at in (("clip", "start"), ("other", "other_start"))
        )
        waves = torch.from_numpy(np.stack([one, two, one + s["gain"] * two]).astype(np.float32))
        alone, other, both = teacher.runtime.logits(waves)
        torch.testing.assert_close(found[i], both, atol=1e-3, rtol=0)
        apart.append(float((found[i] - (alone + other) / 2).abs().max()))
    assert np.median(apart) > 0.05, "which is not that of its parts"


def test_the_mean_of_logits_is_that_of_the_scores() -> None:
    logits = torch.tensor([[-12.0, 0.0, 3.0, 30.0], [4.0, 0.0, -1.0, 40.0]])
    expected = logits.double().sigmoid().mean(dim=0)
    torch.testing.assert_close(mean_logits(list(logits)).double().sigmoid(), expected)
    assert torch.isfinite(mean_logits([torch.tensor([-90.0]), torch.tensor([-95.0])])).all()


def test_a_teacher_that_pytorch_does_not_run_is_refused(tiny: Tiny, rows: Rows) -> None:
    made = tiny(0)

    class Other:
        device, precision, batch_seconds, n_tags, embed_dim = "cpu", "float32", 60.0, 3, 1
        weights = ""

        def run(self, waves: np.ndarray) -> Output:
            raise AssertionError("its scores have lost digits")

    teacher = Tagger(Other(), made.description)
    corpus = Corpus([ramp(1, SR)], [ramp(1, SR)], 1)
    with pytest.raises(ConfigError, match=r"tiny-0 is not run by PyTorch: a teacher is a \.safetensors file"):
        list(teacher_logits([teacher], corpus, rows((0, 0, -1, 0, 0.0)), SR // 2, SR))


# Logits on disk


def test_teachers_scores_are_kept_and_used_again(
    music: Path,
    teacher: Tagger,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    asked: list[Any],
) -> None:
    tracks, once = find_tracks(music)[:6], replace(training, epochs=1)
    work = tmp_path / "new" / "work"

    def run(who: Tagger = teacher, on: Any = tracks, how: TrainConfig = once, **change: Any) -> str:
        return weights_sha256(distill([who], on, replace(config, **change), how, work=work)[0].network)

    first = run()
    (kept,) = work.glob("teacher-*.npy")
    assert np.load(kept).shape == (len(asked[0][2]), 3)
    assert run() == first
    assert len(asked) == 1
    for file in (work / "run").glob("*"):  # checkpoint and history: train anew on the same scores
        file.unlink()
    assert run(how=replace(once, batch_size=8)) != first
    assert len(asked) == 1, "how it is trained does not matter to the teacher"
    renamed = Tagger(teacher.network, replace(teacher.description, name="another", version="9"))
    run(renamed, how=replace(once, batch_size=8))
    assert len(asked) == 1, "a name and a version do not make a teacher"

    other = Tagger(teacher.network.with_head(3, torch.Generator().manual_seed(1)), teacher.description)
    for change in ({"who": other}, {"on": tracks[1:]}, {"mixtures": 0.25}, {"how": replace(once, seed=3)}):
        before = len(asked)
        with pytest.raises(TrainingError, match=r"differs in .*the labels of the training data"):
            run(**change)
        assert len(asked) == before + 1, change
    assert len(list(work.glob("teacher-*.npy"))) == 5


def test_scores_of_other_segments_or_outputs_are_not_taken_for_these(
    music: Path, tiny: Tiny, config: DistillConfig, training: TrainConfig, tmp_path: Path, asked: list[Any]
) -> None:
    """With the same weights, music and starts of segments, and yet other scores."""
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)
    config = replace(config, mixtures=0.0, excerpt_seconds=1.9, slowest=1.0, fastest=1.0)

    def score(teachers: Sequence[Tagger], config: DistillConfig = config) -> None:
        for file in (tmp_path / "run").glob("*"):
            file.unlink()
        distill(teachers, tracks, config, once, work=tmp_path)

    made = tiny(5)
    score([made, tiny(6)])
    score([made, tiny(6)], replace(config, segment_seconds=0.45))
    assert np.array_equal(asked[0][2], asked[1][2])
    shorter = replace(made.description, segment_samples=7_950)
    assert made.config.n_frames(7_950) == made.config.n_frames(8_000)
    score([Tagger(made.network, shorter), tiny(6)])
    score([made, tiny(6, tags=("drums", "strings", "voice"))])
    assert len(asked) == 4
    assert len(list(tmp_path.glob("teacher-*.npy"))) == 4


def test_scoring_that_was_stopped_goes_on_where_it_was(
    music: Path,
    teacher: Tagger,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    asked: list[Any],
) -> None:
    tracks, once = find_tracks(music)[:6], replace(training, epochs=1)
    whole = weights_sha256(distill([teacher], tracks, config, once)[0].network)
    total = len(asked[0][2])

    def interrupt(what: str, done: int, _: int) -> None:
        if what == "scoring" and done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill([teacher], tracks, config, once, work=tmp_path, callbacks=Callbacks(on_progress=interrupt))
    (part,) = tmp_path.glob("teacher-*.part")
    scored = part.stat().st_size // 12
    assert total // 2 <= scored < total
    with part.open("ab") as file:
        file.write(b"torn")  # a kill leaves part of a row
    assert weights_sha256(distill([teacher], tracks, config, once, work=tmp_path)[0].network) == whole
    assert len(asked[-1][2]) == total - scored
    assert not list(tmp_path.glob("*.part"))
