from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import lightmel
from lightmel import audio
from lightmel.distillation import corpus as bank_room
from lightmel.distillation import student as room
from lightmel.distillation.config import DISTILL_TRAINING, DistillConfig
from lightmel.distillation.corpus import (
    Bank,
    Track,
    draw_segments,
    find_tracks,
    read_bank,
    render,
    split_groups,
    to_int16,
)
from lightmel.distillation.recipe import make_student, read_tracks
from lightmel.distillation.student import (
    BankExamples,
    distill,
    distillation_loss,
    mean_logits,
    student_tags,
    teacher_logits,
)
from lightmel.errors import AudioError, ConfigError, StoppedError, TrainingError, WeightsError
from lightmel.inference.tagger import Tagger
from lightmel.models.named import build_named
from lightmel.training.config import TrainConfig

SR = 16_000
SLUG = "16k-mel16-x4-db"
CONFIG = DistillConfig(student=f"musicnn-small-{SLUG}", seconds=0.5, step=0.5, excerpt=3.0, holdout=0.25)
TRAINING = TrainConfig(epochs=2, batch=16, lr=5e-3)
Tiny = Callable[..., Tagger]


def piece(seed: int, seconds: float) -> np.ndarray:
    """A tone that comes and goes over noise: enough for scores to differ."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SR)) / SR
    tone = np.sin(2 * np.pi * rng.uniform(100, 4_000) * time) * (
        np.sin(2 * np.pi * rng.uniform(0.2, 1) * time) > 0
    )
    return (0.3 * rng.random() * tone + 0.2 * rng.random() * rng.standard_normal(len(time))).astype(
        np.float32
    )


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight groups of two pieces: longer and shorter than the excerpt, in three formats, one in stereo."""
    folder = tmp_path_factory.mktemp("music")
    for group in range(8):
        (folder / f"album{group}").mkdir()
        for n in range(2):
            wave = piece(10 * group + n, (4.0, 2.2)[n])
            suffix = ("wav", "flac", "ogg")[(group + n) % 3]
            shape = np.stack([wave, wave], axis=1) if group == 0 else wave
            soundfile.write(folder / f"album{group}" / f"{n}.{suffix}", shape, SR)
    return folder


@pytest.fixture(scope="session")
def teacher(tiny: Tiny) -> Tagger:
    """A random network whose scores differ from sound to sound."""
    made = tiny(5)
    with torch.no_grad():
        made.network.input_norm.running_mean.fill_(-30)
        made.network.input_norm.running_var.fill_(400)
        made.network.head.weight.mul_(6)
    return Tagger(made.network, replace(made.description, name="teacher"))


def weights(tagger: Tagger) -> bytes:
    return b"".join(v.numpy().tobytes() for v in tagger.network.state_dict().values())


def rows(*segments: tuple[int, int, int, int, float]) -> np.ndarray:
    """Segments as ``(clip, start, other clip or -1, its start, its gain)``."""
    return np.array(list(segments), dtype=bank_room._SEGMENT)


# Tracks and groups


def test_tracks_are_found_below_the_folder_by_group(music: Path, tmp_path: Path) -> None:
    tracks = find_tracks(music)
    assert len(tracks) == 16
    assert tracks == sorted(tracks, key=lambda t: t.path)
    assert {t.group for t in tracks} == {f"album{i}" for i in range(8)}
    with pytest.raises(AudioError, match=r"no sound below .*\.mp3"):
        find_tracks(tmp_path)


@pytest.mark.parametrize("holdout", [0.01, 0.125, 0.5, 0.9])
def test_no_group_is_split_and_every_track_is_somewhere(holdout: float) -> None:
    tracks = [Track(Path(f"{g}/{n}"), f"g{g}") for g in range(10) for n in range(g + 1)]
    train, held = split_groups(tracks, holdout)
    assert {t.group for t in train}.isdisjoint({t.group for t in held})
    assert sorted(train + held, key=tracks.index) == tracks
    assert len({t.group for t in held}) == max(1, round(holdout * 10))
    assert split_groups(tracks[::-1], holdout)[1] == [t for t in tracks[::-1] if t in held], (
        "whatever the order"
    )


def test_all_groups_cannot_be_held_out() -> None:
    with pytest.raises(ConfigError, match="at least two groups"):
        split_groups([Track(Path("a"), "one"), Track(Path("b"), "one")], 0.125)


def test_a_table_of_tracks(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("group,path,more\nA,x/1.wav,\nB,ü.mp3,3\n", encoding="utf-8")
    assert read_tracks(table) == [Track(tmp_path / "x/1.wav", "A"), Track(tmp_path / "ü.mp3", "B")]
    table.write_text("path\nx\n")
    with pytest.raises(ConfigError, match="no column group"):
        read_tracks(table)
    table.write_text("path,group\nx,A\nx,B\n")
    with pytest.raises(ConfigError, match="x more than once"):
        read_tracks(table)


# The bank of sound


def test_a_bank_holds_the_middle_of_each_track_clean_and_coded(music: Path) -> None:
    tracks = find_tracks(music)[:4]
    bank = read_bank(tracks, CONFIG, SR, np.random.default_rng(0))
    assert bank.plain == 4
    assert len(bank.clean) == len(bank.coded) == 8
    for track, wave in zip(tracks, bank.clean, strict=False):
        whole = audio.load(track.path, SR)
        start = max(0, len(whole) - 3 * SR) // 2
        assert np.array_equal(wave, to_int16(whole[start : start + 3 * SR]))
    for clean, coded in zip(bank.clean, bank.coded, strict=True):
        assert len(clean) == len(coded)
        assert not np.array_equal(clean, coded)
        found = max(np.corrcoef(clean[: -late or None], coded[late:])[0, 1] for late in (0, 1_105))
        assert found > 0.8
    for plain, other in zip(bank.clean[:4], bank.clean[4:], strict=True):
        assert 1 / 1.2 < len(other) / len(plain) < 1 / 0.83


def test_a_broken_file_is_left_out_and_logged(
    music: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracks = find_tracks(music)[:3]
    (tmp_path / "text.mp3").write_text("words")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), SR)
    bad = [Track(tmp_path / n, "bad") for n in ("text.mp3", "empty.wav", "none.wav", "missing.flac")]
    with caplog.at_level(logging.WARNING, "lightmel"):
        bank = read_bank([bad[0], tracks[0], *bad[1:], *tracks[1:]], CONFIG, SR, np.random.default_rng(0))
    assert bank.plain == 3
    left_out = [r.getMessage() for r in caplog.records if r.getMessage().startswith("left out")]
    assert len(left_out) == 4
    for track in bad:
        assert any(track.path.name in message for message in left_out)
    with pytest.raises(AudioError, match="None of the 4 tracks"):
        read_bank(bad, CONFIG, SR, np.random.default_rng(0))


def test_to_int16_clips_and_rounds() -> None:
    wave = np.array([-2, -1, 0, 0.5, 1, 2], dtype=np.float32)
    assert to_int16(wave).tolist() == [-32767, -32767, 0, 16384, 32767, 32767]


def test_an_interrupted_reading_does_not_go_on_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def slow(path: Path) -> Any:
        asked.append(path)
        time.sleep(0.01)
        raise AudioError("slow and not sound")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(audio, "info", slow)
    tracks = [Track(Path(f"{i}.wav"), "g") for i in range(300)]
    with pytest.raises(KeyboardInterrupt):
        read_bank(tracks, CONFIG, SR, np.random.default_rng(0), interrupted)
    assert len(asked) < 30


# Segments


@pytest.fixture
def bank() -> Bank:
    clean = [np.full(n, 100 * (i + 1), dtype=np.int16) for i, n in enumerate((24_000, 5_000, 24_000, 5_000))]
    return Bank(clean, [w + 1 for w in clean], 2)


def test_segments_lie_within_their_clips(bank: Bank) -> None:
    segments = draw_segments(bank, CONFIG, 8_000, np.random.default_rng(0))
    plain = segments[segments["other"] < 0]
    assert [(s["clip"], s["start"]) for s in plain] == [
        (0, 0), (0, 8_000), (0, 16_000), (1, 0), (2, 0), (2, 8_000), (2, 16_000), (3, 0)
    ]  # fmt: skip
    mixed = segments[segments["other"] >= 0]
    assert len(mixed) == round(CONFIG.mixtures * len(plain))
    assert all(m["clip"] != m["other"] for m in mixed)
    for clip, start in (
        (m[c], m[s]) for m in mixed for c, s in (("clip", "start"), ("other", "other_start"))
    ):
        assert 0 <= start <= max(0, len(bank.clean[clip]) - 8_000)


def test_rendering_mixes_and_takes_the_coded_sound_where_asked(bank: Bank) -> None:
    segments = rows((0, 100, -1, 0, 0.0), (0, 0, 2, 0, 0.5), (1, 0, -1, 0, 0.0))
    waves = 32768 * render(bank, segments, 8_000, np.array([True, False, False])).numpy()
    assert waves.shape == (3, 8_000)
    assert np.allclose(waves[0], 101)
    assert np.allclose(waves[1], 100 + 0.5 * 300)
    assert np.allclose(waves[2], 200), "what is too short is repeated, as the tagger repeats it"


def test_a_longer_context_holds_what_the_student_hears_and_in_its_middle_where_the_clip_allows() -> None:
    rng = np.random.default_rng(0)
    # Longer than the context, between the two, shorter than the segment.
    clean = [rng.integers(-15_000, 15_000, n).astype(np.int16) for n in (400, 300, 90, 70, 30)]
    bank, length, context = Bank(clean, clean, len(clean)), 50, 130
    config = replace(CONFIG, seconds=1.0, step=0.3, mixtures=3.0)
    segments = draw_segments(bank, config, length, rng)
    assert len(segments) > 150
    own = render(bank, segments, length).numpy()
    around = render(bank, segments, length, context=context).numpy()
    for segment, heard, wide in zip(segments, own, around, strict=True):
        found = [i for i in range(context - length + 1) if np.array_equal(wide[i : i + length], heard)]
        samples, start = len(clean[segment["clip"]]), int(segment["start"])
        if samples >= context:
            assert found == [start - min(max(start - 40, 0), samples - context)]
        else:
            assert start in found


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


# What the teachers say


class Clock(Tagger):
    """Says when the middle of what it hears was, if the sound's level rises by 4,000 a second."""

    unit = 0.05
    """Logits a second: where a sigmoid is nearly straight."""

    def segment_logits(self, waves: torch.Tensor) -> torch.Tensor:
        assert waves.shape[1] == self.segment_samples
        middle, near = waves.shape[1] / 2, round(0.02 * self.config.sr)
        heard = waves[:, round(middle - near) : round(middle + near)].mean(dim=1, keepdim=True)
        return self.unit * heard * 32768 / 4_000 + torch.arange(len(self.tags))


def clock(tiny: Tiny, slug: str, seconds: float, tags: Sequence[str] = ("a", "b", "c")) -> Clock:
    made = tiny(0, slug=slug, seconds=seconds, tags=tuple(tags))
    return Clock(made.network, made.description)


def ramp(seconds: float, sr: int, slope: float = 4_000) -> np.ndarray:
    return np.round(slope * np.arange(round(seconds * sr)) / sr).astype(np.int16)


def logit(score: Any) -> Any:
    return np.log(score) - np.log1p(-score)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


@pytest.mark.parametrize("sr", [16_000, 44_100])
@pytest.mark.parametrize("slug", ["12k-mel16-x4-db", "16k-mel16-x4-db", "44.1k-mel16-x4-db"])
@pytest.mark.parametrize("seconds", [0.2, 0.5, 2.0], ids=["shorter", "equal", "longer"])
def test_a_teacher_of_any_rate_and_length_hears_the_time_of_the_students_segment(
    tiny: Tiny, sr: int, slug: str, seconds: float
) -> None:
    starts = [0.0, 0.35, 2.0, 3.117, 7.5]  # of segments of half a second in a clip of eight
    bank = Bank([ramp(8, sr)], [ramp(8, sr)], 1)
    segments = rows(*((0, round(s * sr), -1, 0, 0.0) for s in starts))
    (found,) = (
        torch.cat(list(teacher_logits([clock(tiny, slug, seconds)], bank, segments, sr // 2, sr)))
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
        assert said / Clock.unit == pytest.approx(
            logit(sigmoid(Clock.unit * times).mean()) / Clock.unit, abs=5e-4
        )


def test_several_teachers_are_averaged_tag_by_tag_at_the_same_time(tiny: Tiny) -> None:
    teachers = [
        clock(tiny, "12k-mel16-x4-db", 0.2, ("a", "b", "c")),
        clock(tiny, "16k-mel16-x4-db", 0.5, ("c", "d", "a")),
        clock(tiny, "44.1k-mel16-x4-db", 2.0, ("e", "a", "f")),
    ]
    assert student_tags(teachers) == ("a", "b", "c", "d", "e", "f")
    sr = 44_100
    bank = Bank([ramp(8, sr)], [ramp(8, sr)], 1)
    starts = np.array([1.5, 3.3, 4.0, 5.25, 2.0])
    segments = rows(*((0, round(s * sr), -1, 0, 0.0) for s in starts))
    found = torch.cat(list(teacher_logits(teachers, bank, segments, sr // 2, sr))).numpy()
    middle = Clock.unit * (starts + 0.25)
    places = {"a": (0, 2, 1), "b": (1,), "c": (2, 0), "d": (1,), "e": (0,), "f": (2,)}
    for column, own in zip(found.T, places.values(), strict=True):
        expected = logit(np.mean([sigmoid(middle + place) for place in own], axis=0))
        # The short teacher's three segments have their middle 1/60 s late, and it is one of three at most.
        assert np.abs(column - expected).max() < Clock.unit * 0.02


def test_mixtures_are_scored_anew_and_both_sounds_are_on_time(tiny: Tiny) -> None:
    sr = 44_100
    clean = [ramp(8, sr), ramp(6, sr, -2_000), ramp(1.2, sr, -2_000)]  # the last is repeated for two seconds
    bank = Bank(clean, clean, 3)
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
        torch.cat(list(teacher_logits([clock(tiny, SLUG, 2.0)], bank, segments, sr // 2, sr))).numpy().T[:1]
    )
    assert found / Clock.unit == pytest.approx(expected, abs=1e-3)


def test_a_mixture_has_the_teachers_score_of_the_mixture(music: Path, teacher: Tagger) -> None:
    bank = read_bank(find_tracks(music)[:4], CONFIG, SR, np.random.default_rng(0))
    segments = draw_segments(bank, CONFIG, SR // 2, np.random.default_rng(0))
    found = torch.cat(list(teacher_logits([teacher], bank, segments, SR // 2, SR)))
    mixed = np.flatnonzero(segments["other"] >= 0)
    assert len(mixed) > 5
    apart = []
    for i in mixed:
        s = segments[i]
        one, two = (
            np.resize(bank.clean[s[c]][s[at] : s[at] + SR // 2], SR // 2) / 32768
            for c, at in (("clip", "start"), ("other", "other_start"))
        )
        waves = torch.from_numpy(np.stack([one, two, one + s["gain"] * two]).astype(np.float32))
        alone, other, both = teacher.segment_logits(waves)
        torch.testing.assert_close(found[i], both, atol=1e-3, rtol=0)
        apart.append(float((found[i] - (alone + other) / 2).abs().max()))
    assert np.median(apart) > 0.05, "which is not that of its parts"


def test_the_mean_of_logits_is_that_of_the_scores() -> None:
    logits = torch.tensor([[-12.0, 0.0, 3.0, 30.0], [4.0, 0.0, -1.0, 40.0]])
    expected = logits.double().sigmoid().mean(dim=0)
    torch.testing.assert_close(mean_logits(list(logits)).double().sigmoid(), expected)
    assert torch.isfinite(mean_logits([torch.tensor([-90.0]), torch.tensor([-95.0])])).all()


# What the student hears


def test_the_student_hears_its_own_rate_damaged_and_its_target_is_the_teachers(music: Path) -> None:
    bank = read_bank(find_tracks(music)[:3], CONFIG, SR, np.random.default_rng(0))
    segments = draw_segments(bank, CONFIG, SR // 2, np.random.default_rng(0))
    mel = lightmel.MelConfig.from_slug("12k-mel16-x4-db")
    targets = torch.arange(2.0 * len(segments)).view(-1, 2)
    examples = BankExamples(bank, segments, CONFIG, SR, mel, targets)
    chosen = np.array([4, 0, 7])
    heard, target = examples.batch(chosen, np.random.default_rng(3))
    assert heard.shape == (3, *mel.input_shape(0.5))
    assert torch.equal(target, targets[[4, 0, 7]])
    again, _ = examples.batch(chosen, np.random.default_rng(3))
    other, _ = examples.batch(chosen, np.random.default_rng(4))
    assert torch.equal(heard, again)
    assert not torch.allclose(heard, other, atol=1)
    clean = room.at_rate(render(bank, segments[chosen], SR // 2), SR, 12_000, 6_000)[:, :6_000]
    off = (heard - examples.frontend(clean)).flatten(1)
    assert (off.abs().mean(dim=1) > 0.5).all(), "damaged"
    for damaged, undamaged in zip(heard, examples.frontend(clean), strict=True):
        assert np.corrcoef(damaged.flatten(), undamaged.flatten())[0, 1] > 0.7, "and yet the same sound"


# Distillation


def test_a_student_learns_its_teacher(music: Path, teacher: Tagger) -> None:
    train, held = split_groups(find_tracks(music), CONFIG.holdout)
    config, training = replace(CONFIG, step=0.25), replace(DISTILL_TRAINING, epochs=8, batch=16)
    student, result = distill([teacher], train, config, training)
    losses = [line["loss"] for line in result.history]
    assert losses[-1] < 0.75 * losses[0]
    assert student.tags == teacher.tags
    assert student.config.slug == SLUG
    pairs = [[t.taggram(track.path).scores for t in (student, teacher)] for track in held]
    own, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    network, _ = build_named(config.student, config.seconds, 3, torch.Generator().manual_seed(0))
    untrained = Tagger(network, student.description)
    first = np.concatenate([untrained.taggram(track.path).scores for track in held])
    assert np.abs(own - theirs).mean() < 0.6 * np.abs(first - theirs).mean(), "on sound it never heard"


def test_the_same_call_gives_the_same_bytes(music: Path, teacher: Tagger, tmp_path: Path) -> None:
    tracks = find_tracks(music)[:6]
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)  # the global random state is no part of the call
        student, _ = distill([teacher], tracks, CONFIG, replace(TRAINING, seed=seed))
        student.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_student_of_several_teachers_of_other_rates_has_the_tags_of_all(
    music: Path, teacher: Tagger, tiny: Tiny
) -> None:
    others = [
        tiny(1, slug="12k-mel16-x4-db", seconds=0.3, tags=("drums", "choir", "harp")),
        tiny(2, slug="44.1k-mel16-x4-db", seconds=0.8, tags=("harp", "voice", "flute")),
    ]
    config = replace(CONFIG, student="vgg-small-12k-mel16-x4-log")
    student, result = distill([teacher, *others], find_tracks(music)[:6], config, TRAINING)
    assert student.tags == ("voice", "strings", "drums", "choir", "harp", "flute")
    assert student.config.slug == "12k-mel16-x4-log"
    assert student.segment_seconds == 0.5
    assert len(result.history) == 2
    assert student.description.provenance["teachers"] == ["teacher 1", "tiny-1 1", "tiny-2 1"]
    student.tag(find_tracks(music)[0].path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the teachers were asked to score."""
    calls: list[Any] = []
    real = room.teacher_logits

    def counted(*args: Any) -> Any:
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(room, "teacher_logits", counted)
    return calls


def test_teachers_scores_are_kept_and_used_again(
    music: Path, teacher: Tagger, tmp_path: Path, asked: list[Any]
) -> None:
    tracks, once = find_tracks(music)[:6], replace(TRAINING, epochs=1)
    work = tmp_path / "new" / "work"

    def run(who: Tagger = teacher, on: Any = tracks, how: TrainConfig = once, **change: Any) -> bytes:
        return weights(distill([who], on, replace(CONFIG, **change), how, work=work)[0])

    first = run()
    (kept,) = work.glob("teacher-*.npy")
    assert np.load(kept).shape == (len(asked[0][2]), 3)
    assert run() == first
    assert len(asked) == 1
    for file in (work / "run").glob("*"):  # checkpoint and history: train anew on the same scores
        file.unlink()
    assert run(how=replace(once, batch=8)) != first
    assert len(asked) == 1, "how it is trained does not matter to the teacher"
    renamed = Tagger(teacher.network, replace(teacher.description, name="another", version="9"))
    run(renamed, how=replace(once, batch=8))
    assert len(asked) == 1, "a name and a version do not make a teacher"

    other = Tagger(teacher.network.with_head(3, torch.Generator().manual_seed(1)), teacher.description)
    for change in ({"who": other}, {"on": tracks[1:]}, {"mixtures": 0.25}, {"how": replace(once, seed=3)}):
        before = len(asked)
        with pytest.raises(TrainingError, match=r"differs in .*the labels of the training data"):
            run(**change)
        assert len(asked) == before + 1, change
    assert len(list(work.glob("teacher-*.npy"))) == 5


def test_scores_of_other_segments_or_outputs_are_not_taken_for_these(
    music: Path, tiny: Tiny, tmp_path: Path, asked: list[Any]
) -> None:
    """With the same weights, music and starts of segments, and yet other scores."""
    tracks, once = find_tracks(music)[:4], replace(TRAINING, epochs=1)
    config = replace(CONFIG, mixtures=0.0, excerpt=1.9, slowest=1.0, fastest=1.0)

    def score(teachers: Sequence[Tagger], config: DistillConfig = config) -> None:
        for file in (tmp_path / "run").glob("*"):
            file.unlink()
        distill(teachers, tracks, config, once, work=tmp_path)

    made = tiny(5)
    score([made, tiny(6)])
    score([made, tiny(6)], replace(config, seconds=0.45))
    assert np.array_equal(asked[0][2], asked[1][2])
    shorter = replace(made.description, segment_samples=7_950)
    assert made.config.n_frames(7_950) == made.config.n_frames(8_000)
    score([Tagger(made.network, shorter), tiny(6)])
    score([made, tiny(6, tags=("drums", "strings", "voice"))])
    assert len(asked) == 4
    assert len(list(tmp_path.glob("teacher-*.npy"))) == 4


def test_scoring_that_was_stopped_goes_on_where_it_was(
    music: Path, teacher: Tagger, tmp_path: Path, asked: list[Any]
) -> None:
    tracks, once = find_tracks(music)[:6], replace(TRAINING, epochs=1)
    whole = weights(distill([teacher], tracks, CONFIG, once)[0])
    total = len(asked[0][2])

    def interrupt(what: str, done: int, _: int) -> None:
        if what == "scoring" and done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill([teacher], tracks, CONFIG, once, work=tmp_path, progress=interrupt)
    (part,) = tmp_path.glob("teacher-*.part")
    scored = part.stat().st_size // 12
    assert total // 2 <= scored < total
    with part.open("ab") as file:
        file.write(b"torn")  # a kill leaves part of a row
    assert weights(distill([teacher], tracks, CONFIG, once, work=tmp_path)[0]) == whole
    assert len(asked[-1][2]) == total - scored
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("schedule", ["patience", "plateau", "head", "balanced"])
def test_what_means_nothing_to_a_student_is_refused_at_once(
    music: Path, teacher: Tagger, schedule: str
) -> None:
    changes: dict[str, Any] = {
        "patience": {"patience": 3},
        "plateau": {"schedule": "plateau"},
        "head": {"part": "head"},
        "balanced": {"class_weights": "balanced"},
    }[schedule]
    with pytest.raises(ConfigError, match=r"patience|part=head"):
        distill([teacher], find_tracks(music), CONFIG, replace(TRAINING, **changes))


@pytest.mark.parametrize("at", [1, 5, 7])
def test_a_stopped_distillation_goes_on_with_the_same_call_to_the_same_weights(
    music: Path, teacher: Tagger, tmp_path: Path, asked: list[Any], at: int
) -> None:
    tracks, config = find_tracks(music)[:6], replace(CONFIG, excerpt=2.0)
    training = replace(DISTILL_TRAINING, epochs=3, batch=16)
    whole, result = distill([teacher], tracks, config, training)
    asked.clear()
    trainers: list[Any] = []
    steps: list[tuple[int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "training":
            steps.append((done, total))
            if done == at and len(trainers) == 1:
                trainers[0].stop()

    def run() -> tuple[Tagger, Any]:
        return distill(
            [teacher], tracks, config, training, work=tmp_path, on_start=trainers.append, progress=progress
        )

    with pytest.raises(StoppedError):
        run()
    assert steps == [(i + 1, 15) for i in range(at)]
    student, resumed = run()
    assert steps[at:] == [(i + 1, 15) for i in range(at, 15)]
    assert len(asked) == 1
    assert weights(student) == weights(whole)
    assert [line["loss"] for line in resumed.history] == [line["loss"] for line in result.history]


def test_another_student_does_not_go_on_with_this_ones_weights(
    music: Path, teacher: Tagger, tmp_path: Path
) -> None:
    tracks, once = find_tracks(music)[:4], replace(TRAINING, epochs=1)
    distill([teacher], tracks, CONFIG, once, work=tmp_path)
    for change, what in (
        ({"student": "musicnn-small-16k-mel16-x4-log"}, "mels, student"),
        ({"student": f"vgg-small-{SLUG}"}, "network, initial weights, student"),
        ({"tag_weight": 0.2}, "tag_weight"),
    ):
        with pytest.raises(TrainingError, match=f"holds a run that differs in {what}:"):
            distill([teacher], tracks, replace(CONFIG, **change), once, work=tmp_path)


def test_no_teacher_is_refused(music: Path) -> None:
    with pytest.raises(ConfigError, match="needs a teacher"):
        distill([], find_tracks(music), CONFIG, TRAINING)


def test_an_unknown_student_is_refused(music: Path, teacher: Tagger) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        distill([teacher], find_tracks(music), replace(CONFIG, student=f"vgg-smal-{SLUG}"), TRAINING)


def test_too_little_music_is_refused(music: Path, teacher: Tagger) -> None:
    with pytest.raises(ConfigError, match=r"1 tracks give \d+ segments, fewer than a batch of 64"):
        distill([teacher], find_tracks(music)[:1], CONFIG, replace(TRAINING, batch=64))


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 0},
        {"step": -1},
        {"excerpt": 0},
        {"slowest": 1.2, "fastest": 0.8},
        {"slowest": 0},
        {"tag_weight": -0.1},
        {"holdout": 0},
        {"holdout": 1},
        {"mixtures": -1},
        {"seconds": float("nan")},
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        DistillConfig(**change)


# The whole recipe


def test_from_a_folder_to_a_tagger_with_a_card(
    music: Path, teacher: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Track] = []
    real = room.read_bank

    def watched(tracks: Any, *rest: Any) -> Any:
        heard.extend(tracks)
        return real(tracks, *rest)

    monkeypatch.setattr(room, "read_bank", watched)
    people = tmp_path / "people.csv"
    _, held = split_groups(find_tracks(music), CONFIG.holdout)
    table = [f"{t.path},{float(i % 2)},{float(i % 3 == 0)},," for i, t in enumerate(held)]
    people.write_text("path,voice,strings,drums,other\n" + "\n".join(table) + "\n")
    out = tmp_path / "student.safetensors"
    student, report = make_student(
        music,
        out,
        [teacher],
        CONFIG,
        TRAINING,
        name="mine",
        version="3",
        licence="CC0-1.0",
        command="lightmel distill music",
        people=people,
    )
    assert {t.group for t in heard}.isdisjoint({t.group for t in held}), "held out is never heard"
    assert len(heard) + len(held) == 16
    assert (report.clips, report.groups) == (4, 2)
    loaded = lightmel.load(out)
    assert (loaded.name, loaded.description.version, loaded.description.licence) == ("mine", "3", "CC0-1.0")
    assert loaded.tag(held[0].path) == student.tag(held[0].path)
    measured = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert loaded.description.provenance["measured"] == measured
    assert loaded.description.provenance["teachers"] == ["teacher 1"]
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    for part in (
        "# mine",
        "CC0-1.0",
        "`teacher 1`",
        "4 clips of 2 groups",
        "lightmel distill music",
        SLUG,
    ):
        assert part in card
    figures = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert figures["report"] == measured
    assert len(figures["history"]) == 2


def test_without_people_nothing_is_said_about_them(music: Path, teacher: Tagger, tmp_path: Path) -> None:
    out = tmp_path / "student.safetensors"
    words = {"name": "mine", "version": "1", "licence": "none", "command": "x"}
    _, report = make_student(music, out, [teacher], CONFIG, replace(TRAINING, epochs=1), **words)
    assert report.to_dict()["people_student"] is None
    assert "people's tags" not in out.with_suffix(".md").read_text(encoding="utf-8")
    assert lightmel.load(out).name == "mine"
    with pytest.raises(ConfigError, match=r"is called '\*\.xyz'"):
        make_student(music, out, [teacher], CONFIG, TRAINING, match="*.xyz", **words)
    people = tmp_path / "people.csv"
    people.write_text("path,voice\nelsewhere.wav,1\n")
    told: list[str] = []
    with pytest.raises(
        ConfigError, match=r"people\.csv names none of the 4 held-out tracks, such as .*album"
    ):
        make_student(
            music,
            out,
            [teacher],
            CONFIG,
            TRAINING,
            people=people,
            progress=lambda what, *_: told.append(what),
            **words,
        )
    assert not told, "that can be seen before the work"
    with pytest.raises(WeightsError, match=r"overwritten by the \.json"):
        make_student(music, out.with_suffix(".json"), [teacher], CONFIG, TRAINING, **words)


def test_a_table_may_lie_elsewhere_and_name_music_from_anywhere(
    music: Path, teacher: Tagger, tmp_path: Path
) -> None:
    table = tmp_path / "tracks.csv"
    lines = [f"{t.path},{t.group}" for t in find_tracks(music)[:8]]
    table.write_text("path,group\n" + "\n".join(lines) + "\n")
    out = tmp_path / "student.safetensors"
    words = {
        "name": "mine",
        "version": "1",
        "licence": "none",
        "command": "lightmel distill dvo\udcf8\udce1k",
    }
    once = replace(TRAINING, epochs=1)
    make_student(tmp_path, out, [teacher], CONFIG, once, table=table, **words)
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "(clips): album" in card
    assert r"dvo\udcf8\udce1k" in card
    assert "0.wav" not in card
