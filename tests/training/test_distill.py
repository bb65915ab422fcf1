from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import lightmel
from lightmel.errors import AudioError, ConfigError
from lightmel.tagger import Tagger
from lightmel.training import distill as room
from lightmel.training.distill import (
    DistillConfig,
    Track,
    distill,
    distillation_loss,
    draw_segments,
    find_tracks,
    read_bank,
    render,
    split_groups,
    to_int16,
)
from lightmel.training.recipe import make_student, read_tracks
from lightmel.training.trainer import TrainConfig

SR = 16_000
CONFIG = DistillConfig(mel="16k-mel16-x4-db", seconds=0.5, step=0.5, excerpt=3.0, batch=16, holdout=0.25)
TRAINING = TrainConfig(epochs=2, lr=5e-3)
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


def small(seed: int = 0) -> Any:
    mel = lightmel.MelConfig.from_slug(CONFIG.mel)
    return lightmel.build_musicnn(
        mel.input_shape(CONFIG.seconds),
        3,
        variant="pons",
        timbre=[(0.9, 3, 4), (0.4, 3, 4)],
        temporal=[(5, 4)],
        width=8,
        dense=16,
        dropout=0.2,
        generator=torch.Generator().manual_seed(seed),
    )


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
        whole = room.audio.load(track.path, SR)
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


# Segments


@pytest.fixture
def bank() -> room.Bank:
    clean = [np.full(n, 100 * (i + 1), dtype=np.int16) for i, n in enumerate((24_000, 5_000, 24_000, 5_000))]
    return room.Bank(clean, [w + 1 for w in clean], 2)


def test_segments_lie_within_their_clips(bank: room.Bank) -> None:
    segments = draw_segments(bank, CONFIG, 8_000, np.random.default_rng(0))
    plain = segments[segments["other"] < 0]
    assert [(s["clip"], s["start"]) for s in plain] == [
        (0, 0), (0, 8_000), (0, 16_000), (1, 0), (2, 0), (2, 16_000), (3, 0)
    ]  # fmt: skip
    mixed = segments[segments["other"] >= 0]
    assert len(mixed) == round(CONFIG.mixtures * len(plain))
    assert all(m["clip"] != m["other"] for m in mixed)
    for clip, start in (
        (m[c], m[s]) for m in mixed for c, s in (("clip", "start"), ("other", "other_start"))
    ):
        assert 0 <= start <= max(0, len(bank.clean[clip]) - 8_000)


def test_rendering_mixes_and_takes_the_coded_sound_where_asked(bank: room.Bank) -> None:
    rows = [(0, 100, -1, 0, 0.0), (0, 0, 2, 0, 0.5), (1, 0, -1, 0, 0.0)]
    segments = np.array(rows, dtype=room._SEGMENT)
    waves = 32768 * render(bank, segments, 8_000, np.array([True, False, False])).numpy()
    assert waves.shape == (3, 8_000)
    assert np.allclose(waves[0], 101)
    assert np.allclose(waves[1], 100 + 0.5 * 300)
    assert np.allclose(waves[2, :5_000], 200)
    assert np.allclose(waves[2, 5_000:], 0)


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


# Distillation


def test_a_student_learns_its_teacher(music: Path, teacher: Tagger) -> None:
    train, held = split_groups(find_tracks(music), CONFIG.holdout)
    config, training = replace(CONFIG, step=0.25), TrainConfig(epochs=14, lr=1e-2)
    student, history = distill([teacher], train, config, training, student=small())
    losses = [line["loss"] for line in history]
    assert losses[-1] < 0.75 * losses[0]
    assert student.tags == teacher.tags
    assert student.config.slug == CONFIG.mel
    pairs = [[t.taggram(track.path).scores for t in (student, teacher)] for track in held]
    own, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    untrained = Tagger(small(), student.description)
    first = np.concatenate([untrained.taggram(track.path).scores for track in held])
    assert np.abs(own - theirs).mean() < 0.6 * np.abs(first - theirs).mean(), "on sound it never heard"


def test_the_same_command_gives_the_same_bytes(music: Path, teacher: Tagger, tmp_path: Path) -> None:
    tracks = find_tracks(music)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)  # the global random state is no part of the command
        student, _ = distill([teacher], tracks, replace(CONFIG, seed=seed), TRAINING, student=small())
        student.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_the_default_student_is_drawn_from_the_seed(music: Path, teacher: Tagger) -> None:
    once = TrainConfig(epochs=1)
    config = replace(CONFIG, excerpt=1.0, mixtures=0.0)
    first, second = (distill([teacher], find_tracks(music), config, once)[0] for _ in range(2))
    for (name, a), b in zip(
        first.network.state_dict().items(), second.network.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_teachers_scores_are_kept_and_used_again(
    music: Path, teacher: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = room.teacher_logits

    def counted(*args: Any) -> Any:
        asked.append(args)
        return real(*args)

    monkeypatch.setattr(room, "teacher_logits", counted)
    tracks, once = find_tracks(music), TrainConfig(epochs=1)

    def run(teacher: Tagger = teacher, tracks: Any = tracks, **change: Any) -> bytes:
        student, _ = distill(
            [teacher], tracks, replace(CONFIG, **change), once, cache=tmp_path / "new", student=small()
        )
        return b"".join(v.numpy().tobytes() for v in student.network.state_dict().values())

    first = run()
    assert run() == first
    assert len(asked) == 1
    assert len(list((tmp_path / "new").iterdir())) == 1
    assert run(batch=8) != first
    assert len(asked) == 1, "how it is trained does not matter to the teacher"
    run(seed=3)
    run(tracks=tracks[1:])
    other = Tagger(teacher.network.with_head(3, torch.Generator().manual_seed(1)), teacher.description)
    assert run(teacher=other) != first, "a name and a version do not make a teacher"
    assert len(asked) == 4


def test_several_teachers_are_averaged(music: Path, teacher: Tagger, tiny: Tiny) -> None:
    bank = read_bank(find_tracks(music)[:3], CONFIG, SR, np.random.default_rng(0))
    segments = draw_segments(bank, CONFIG, 8_000, np.random.default_rng(0))
    other = tiny(6)
    both, one, two = (
        torch.cat(list(room.teacher_logits(t, bank, segments, 8_000)))
        for t in ([teacher, other], [teacher], [other])
    )
    assert both.shape == (len(segments), 3)
    assert torch.allclose(both, (one + two) / 2, atol=1e-6)


def test_teachers_that_do_not_fit_are_refused(music: Path, teacher: Tagger, tiny: Tiny) -> None:
    tracks = find_tracks(music)
    others = [
        tiny(0, seconds=1.0),
        tiny(0, slug="12k-mel16-x4-db"),
        tiny(0, tags=("a", "b", "c")),
    ]
    for other in others:
        with pytest.raises(ConfigError, match="must agree"):
            distill([teacher, other], tracks, CONFIG, TRAINING)
    with pytest.raises(ConfigError, match="needs a teacher"):
        distill([], tracks, CONFIG, TRAINING)


def test_too_little_music_is_refused(music: Path, teacher: Tagger) -> None:
    with pytest.raises(ConfigError, match=r"1 tracks give \d+ segments, fewer than a batch of 64"):
        distill([teacher], find_tracks(music)[:1], replace(CONFIG, batch=64), TRAINING)


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 0},
        {"step": -1},
        {"excerpt": 0},
        {"batch": 1},
        {"speeds": (1.2, 0.8)},
        {"speeds": (0, 1)},
        {"holdout": 0},
        {"holdout": 1},
        {"mixtures": -1},
        {"seconds": float("nan")},
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
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
    assert loaded.description.provenance["teachers"] == ["teacher"]
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    for part in (
        "# mine",
        "CC0-1.0",
        "`teacher`",
        "4 clips of 2 groups",
        "lightmel distill music",
        CONFIG.mel,
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
