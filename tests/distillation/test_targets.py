from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightmel import vocabularies
from lightmel.checkpoint import weights_sha256
from lightmel.datasets import find_tracks
from lightmel.distillation import DistillConfig, distill
from lightmel.distillation.corpus import Corpus, draw_windows, read_corpus
from lightmel.distillation.targets import blend, mean_logits, of_waves, student_tags, teacher_logits
from lightmel.errors import ConfigError, TrainingError
from lightmel.inference import Output, Tagger
from lightmel.training import Callbacks, TrainConfig

SR = 16_000
SLUG = "16k-mel16-x4-db"
Tiny = Callable[..., Tagger]
Clock = Callable[..., Tagger]
Rows = Callable[..., np.ndarray]
Ramp = Callable[..., np.ndarray]

# Teachers' logits

UNIT = 0.05
"""Logits a second of a `clock`: where a sigmoid is nearly straight."""


def logit(score: Any) -> Any:
    return np.log(score) - np.log1p(-score)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


@pytest.mark.parametrize("sr", [16_000, 44_100])
@pytest.mark.parametrize("slug", ["12k-mel16-x4-db", "16k-mel16-x4-db", "44.1k-mel16-x4-db"])
@pytest.mark.parametrize("seconds", [0.2, 0.5, 2.0], ids=["shorter", "equal", "longer"])
def test_a_teacher_of_any_rate_and_length_scores_the_time_of_the_students_segment(
    clock: Clock, ramp: Ramp, rows: Rows, sr: int, slug: str, seconds: float
) -> None:
    starts = [0.0, 0.35, 2.0, 3.117, 7.5]  # of segments of half a second in a clip of eight
    corpus = Corpus([ramp(8, sr)], [ramp(8, sr)], 1)
    segments = rows(*((0, round(s * sr), -1, 0, 0.0) for s in starts))
    (found,) = (
        torch.cat(list(teacher_logits([clock(slug, seconds, UNIT)], corpus, segments, sr // 2, sr)))
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


@pytest.mark.parametrize(
    ("seconds", "begins"), [(0.47, [0.015]), (0.44, [0.0, 0.06]), (0.25, [0.0, 0.25]), (0.7, [-0.1])]
)
def test_a_window_is_scored_as_often_as_a_teachers_segment_needs(
    tiny: Tiny, ramp: Ramp, rows: Rows, seconds: float, begins: list[float]
) -> None:
    """Once, in its middle, where a second segment would see hardly anything else."""
    teacher, corpus = tiny(0, seconds=seconds), Corpus([ramp(4, SR)], [ramp(4, SR)], 1)
    real, seen = teacher.runtime.logits, []

    def watched(waves: torch.Tensor) -> torch.Tensor:
        seen.append(waves[:, 0] * 32768 / 4_000)
        return real(waves)

    teacher.runtime.logits = watched
    windows = rows((0, SR, -1, 0, 0.0), (0, 2 * SR, -1, 0, 0.0))
    (found,) = teacher_logits([teacher], corpus, windows, SR // 2, SR)
    assert found.shape == (2, 3)
    assert [times.tolist() for times in seen] == [
        pytest.approx([1 + begin, 2 + begin], abs=5e-4) for begin in begins
    ]


def test_several_teachers_score_the_same_time_side_by_side(clock: Clock, ramp: Ramp, rows: Rows) -> None:
    teachers = [
        clock("12k-mel16-x4-db", 0.2, UNIT, ("a", "b", "c")),
        clock("16k-mel16-x4-db", 0.5, UNIT, ("c", "d", "a")),
        clock("44.1k-mel16-x4-db", 2.0, UNIT, ("e", "a", "f")),
    ]
    assert student_tags(teachers) == ("a", "b", "c", "d", "e", "f")
    sr = 44_100
    corpus = Corpus([ramp(8, sr)], [ramp(8, sr)], 1)
    starts = np.array([1.5, 3.3, 4.0, 5.25, 2.0])
    windows = rows(*((0, round(s * sr), -1, 0, 0.0) for s in starts))
    found = torch.cat(list(teacher_logits(teachers, corpus, windows, sr // 2, sr))).numpy()
    assert found.shape == (5, 9)
    middle = UNIT * (starts + 0.25)
    for column, place in zip(found.T, (0, 1, 2) * 3, strict=True):
        # The short teacher's three segments have their middle 1/60 s late.
        assert np.abs(column - middle - place).max() < UNIT * 0.02


def test_mixtures_are_scored_anew_and_both_sounds_are_on_time(clock: Clock, ramp: Ramp, rows: Rows) -> None:
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
        torch.cat(list(teacher_logits([clock(SLUG, 2.0, UNIT)], corpus, segments, sr // 2, sr))).numpy().T[:1]
    )
    assert found / UNIT == pytest.approx(expected, abs=1e-3)


def test_a_mixture_has_the_teachers_score_of_the_mixture(
    music: Path, teacher: Tagger, config: DistillConfig
) -> None:
    corpus = read_corpus(find_tracks(music)[:4], config, SR, np.random.default_rng(0))
    segments = draw_windows(corpus, config, SR // 2, np.random.default_rng(0))
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


# What is made of them


def drawn(rows: int, *means_and_spreads: tuple[float, float], seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    columns = [mean + spread * rng.standard_normal(rows) for mean, spread in means_and_spreads]
    return torch.tensor(np.stack(columns, axis=1), dtype=torch.float32)


def blended(share: float, by_name: list[list[np.ndarray]], by_concept: list[list[np.ndarray]]) -> np.ndarray:
    """The rule in NumPy: each teacher's columns standardised and averaged, then those of the teachers."""

    def standard(x: np.ndarray) -> np.ndarray:
        return (x - x.mean()) / x.std()

    def mean(teachers: list[list[np.ndarray]]) -> np.ndarray:
        return np.mean([np.mean([standard(c) for c in own], axis=0) for own in teachers], axis=0)

    mixed = mean(by_name) if not by_concept else (1 - share) * mean(by_name) + share * mean(by_concept)
    spread = np.mean([np.mean([c.std() for c in own]) for own in by_name])
    return standard(mixed) * spread + np.mean([np.mean([c.mean() for c in own]) for own in by_name])


def test_a_single_teachers_logits_stay_as_they_are() -> None:
    logits = drawn(50, (-3, 0.5), (0, 2), (7, 0.01))
    tags = ("guitar", "piano", "rock")
    torch.testing.assert_close(blend(logits, [tags], tags), logits, rtol=1e-4, atol=1e-5)
    swapped = blend(logits, [tags], ("rock", "guitar"))
    torch.testing.assert_close(swapped, logits[:, [2, 0]], rtol=1e-4, atol=1e-5)


def test_teachers_that_know_a_tag_by_name_are_averaged_each_by_its_own_spread() -> None:
    logits = drawn(200, (-3, 0.5), (0, 2), (4, 1), (-9, 3), (1, 1))
    teachers = [("guitar", "piano"), ("Guitar", "rock"), ("hip-hop",)]
    tags = ("guitar", "piano", "rock", "Hip_Hop")
    found = blend(logits, teachers, tags).numpy()
    columns = list(logits.numpy().T)
    expected = [blended(0, [[columns[0]], [columns[2]]], []), columns[1], *columns[3:]]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-4, atol=1e-4)
    # The mean has the teachers' spread, which the mean of two unlike columns has not.
    assert found[:, 0].std() == pytest.approx(0.75, rel=0.1)
    assert found[:, 0].mean() == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_teachers_that_know_only_a_tags_concept_have_a_share(share: float) -> None:
    assert {vocabularies.concept(tag) for tag in ("female vocal", "woman", "Female singing")} == {
        "female vocal"
    }
    teachers = [("woman", "female vocal", "rock"), ("Female singing", "rock"), ("female vocal", "woman")]
    logits = drawn(300, (-3, 0.5), (0, 2), (4, 1), (-9, 3), (1, 1), (2, 0.3), (-1, 0.7))
    columns = list(logits.numpy().T)
    found = blend(logits, teachers, ("female vocal", "Female singing", "rock"), share).numpy()
    expected = [
        # The first and the third have the name; what else of that concept they have does not count.
        blended(share, [[columns[1]], [columns[5]]], [[columns[3]]]),
        # The first and the third have two tags of that concept each.
        blended(share, [[columns[3]]], [[columns[0], columns[1]], [columns[5], columns[6]]]),
        blended(share, [[columns[2]], [columns[4]]], []),
    ]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-4, atol=1e-4)


def test_where_nobody_has_the_name_the_concept_is_all_there_is() -> None:
    logits = drawn(300, (-3, 0.5), (0, 2), (4, 1))
    teachers, columns = [("woman", "rock"), ("Female singing",)], list(logits.numpy().T)
    found = blend(logits, teachers, ("female vocal",), 0.25).numpy()[:, 0]
    np.testing.assert_allclose(found, blended(0, [[columns[0]], [columns[2]]], []), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="None of the teachers knows the tag 'female vocal'"):
        blend(logits, teachers, ("female vocal",), 0.0)


def test_a_tag_that_no_teacher_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="knows the tag 'zither': leave it out, or add one that does"):
        blend(drawn(9, (0, 1)), [("guitar",)], ("guitar", "zither"), 0.25)


def test_a_constant_column_is_no_division_by_zero() -> None:
    logits = torch.stack([torch.full((20,), -4.0), torch.arange(20.0)], dim=1)
    found = blend(logits, [("rock",), ("rock",)], ("rock",))
    assert torch.isfinite(found).all()
    assert torch.equal(found[:, 0].argsort(), torch.arange(20))


def test_a_share_of_the_mean_over_all_windows_of_a_wave(rows: Rows) -> None:
    windows = rows(*[(0, 0, -1, 0, 0.0)] * 6)
    windows["wave"] = [0, 0, 0, 1, 4, 4]
    targets = torch.tensor([[1.0, 10], [2, 20], [6, 0], [5, 5], [0, 1], [8, 3]])
    means = torch.tensor([[3.0, 10]] * 3 + [[5, 5]] + [[4, 2]] * 2)
    torch.testing.assert_close(of_waves(targets, windows, 0.3), 0.7 * targets + 0.3 * means)
    torch.testing.assert_close(of_waves(targets, windows, 1.0), means)
    assert torch.equal(of_waves(targets, windows, 0.0), targets)


def test_a_teacher_that_pytorch_does_not_run_is_refused(tiny: Tiny, ramp: Ramp, rows: Rows) -> None:
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
    assert np.load(kept).dtype == np.float16
    assert run() == first
    assert len(asked) == 1
    for file in work.glob("run-*/*"):  # checkpoint and history: train anew on the same scores
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
        for file in tmp_path.glob("run-*/*"):
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
    scored = part.stat().st_size // 6  # float16 for each of three tags
    assert total // 2 <= scored < total
    with part.open("ab") as file:
        file.write(b"torn")  # a kill leaves part of a row
    assert weights_sha256(distill([teacher], tracks, config, once, work=tmp_path)[0].network) == whole
    assert len(asked[-1][2]) == total - scored
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("logit", [70_000.0, float("nan")])
def test_logits_that_float16_does_not_hold_are_not_kept(
    music: Path,
    teacher: Tagger,
    clock: Clock,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    logit: float,
) -> None:
    odd = clock("16k-mel16-x4-db", 0.5, 1.0)
    odd.runtime.logits = lambda waves: torch.full((len(waves), 3), logit)  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match=f"{odd.name} gives logits .* Leave this teacher out"):
        distill([teacher, odd], find_tracks(music)[:4], config, training, work=tmp_path)
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize("how", ["cut", "other music", "not finite", "text", "empty"])
def test_scores_on_disk_that_are_damaged_are_refused(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path, how: str
) -> None:
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)
    distill([teacher], tracks, config, once, work=tmp_path)
    (kept,) = tmp_path.glob("teacher-*.npy")
    held = np.load(kept)
    match how:
        case "cut":
            kept.write_bytes(kept.read_bytes()[:-7])
        case "other music":
            np.save(kept, held[1:])
        case "not finite":
            held[3, 1] = np.inf
            np.save(kept, held)
        case "text":
            kept.write_text("scores")
        case _:
            kept.write_bytes(b"")
    with pytest.raises(TrainingError, match=rf"{kept.name} .*delete it"):
        distill([teacher], tracks, config, once, work=tmp_path)


def test_two_processes_do_not_score_into_one_file(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    tracks, once = find_tracks(music)[:4], replace(training, epochs=1)

    def interrupt(what: str, done: int, _: int) -> None:
        if what == "scoring" and done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill([teacher], tracks, config, once, work=tmp_path, callbacks=Callbacks(on_progress=interrupt))
    (part,) = tmp_path.glob("teacher-*.part")
    held = part.read_bytes()
    code = (
        "import sys; from lightmel._files import claim; from lightmel.errors import TrainingError\n"
        "file = open(sys.argv[1], 'a+b'); claim(file, TrainingError); print('claimed', flush=True)\n"
        "sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"claimed\n"
        with pytest.raises(TrainingError, match=rf"{part.name} is being written by another process"):
            distill([teacher], tracks, config, once, work=tmp_path)
        assert part.read_bytes() == held
    finally:
        other.kill()
        other.communicate()
    distill([teacher], tracks, config, once, work=tmp_path)  # a killed one leaves nothing behind
    assert not list(tmp_path.glob("*.part"))
