from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel.datasets import Track, find_tracks, read_tracks
from lightmel.distillation import DistillConfig
from lightmel.distillation.corpus import (
    Corpus,
    draw_windows,
    hold_out_tracks,
    read_corpus,
    render,
    to_int16,
)
from lightmel.errors import AudioError, DataError

SR = 16_000
Rows = Callable[..., np.ndarray]

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
    train, held = hold_out_tracks(tracks, holdout)
    assert {t.group for t in train}.isdisjoint({t.group for t in held})
    assert sorted(train + held, key=tracks.index) == tracks
    assert len({t.group for t in held}) == max(1, round(holdout * 10))
    assert hold_out_tracks(tracks[::-1], holdout)[1] == [t for t in tracks[::-1] if t in held], (
        "whatever the order"
    )


def test_all_groups_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="All 1 groups would be held out: at least two are needed"):
        hold_out_tracks([Track(Path("a"), "one"), Track(Path("b"), "one")], 0.125)


def test_a_table_of_tracks(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("group,path,more\nA,x/1.wav,\nB,ü.mp3,3\n", encoding="utf-8")
    assert read_tracks(table) == [Track(tmp_path / "x/1.wav", "A"), Track(tmp_path / "ü.mp3", "B")]
    table.write_text("path\nx\n")
    with pytest.raises(DataError, match="no column 'group'"):
        read_tracks(table)
    table.write_text("path,group\nx,A\nx,B\n")
    with pytest.raises(DataError, match="x stands in the lines 2 and 3"):
        read_tracks(table)
    with pytest.raises(DataError, match=r"none\.csv"):
        read_tracks(tmp_path / "none.csv")


# Clips in memory


def test_a_corpus_holds_the_middle_of_each_track_clean_and_coded(music: Path, config: DistillConfig) -> None:
    tracks = find_tracks(music)[:4]
    corpus = read_corpus(tracks, config, SR, np.random.default_rng(0))
    assert corpus.plain == 4
    assert len(corpus.clean) == len(corpus.coded) == 8
    for track, wave in zip(tracks, corpus.clean, strict=False):
        whole = audio.load(track.path, SR)
        start = max(0, len(whole) - 3 * SR) // 2
        assert np.array_equal(wave, to_int16(whole[start : start + 3 * SR]))
    for clean, coded in zip(corpus.clean, corpus.coded, strict=True):
        assert len(clean) == len(coded)
        assert not np.array_equal(clean, coded)
        found = max(np.corrcoef(clean[: -late or None], coded[late:])[0, 1] for late in (0, 1_105))
        assert found > 0.8
    for plain, other in zip(corpus.clean[:4], corpus.clean[4:], strict=True):
        assert 1 / 1.2 < len(other) / len(plain) < 1 / 0.83


def test_a_broken_file_is_left_out_and_logged(
    music: Path, config: DistillConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracks = find_tracks(music)[:3]
    (tmp_path / "text.mp3").write_text("words")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), SR)
    bad = [Track(tmp_path / n, "bad") for n in ("text.mp3", "empty.wav", "none.wav", "missing.flac")]
    with caplog.at_level(logging.WARNING, "lightmel"):
        corpus = read_corpus([bad[0], tracks[0], *bad[1:], *tracks[1:]], config, SR, np.random.default_rng(0))
    assert corpus.plain == 3
    left_out = [r.getMessage() for r in caplog.records if r.getMessage().startswith("left out")]
    assert len(left_out) == 4
    for track in bad:
        assert any(track.path.name in message for message in left_out)
    with pytest.raises(AudioError, match="None of the 4 tracks"):
        read_corpus(bad, config, SR, np.random.default_rng(0))


def test_to_int16_clips_and_rounds() -> None:
    wave = np.array([-2, -1, 0, 0.5, 1, 2], dtype=np.float32)
    assert to_int16(wave).tolist() == [-32767, -32767, 0, 16384, 32767, 32767]


def test_an_interrupted_reading_does_not_go_on_to_the_end(
    config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        read_corpus(tracks, config, SR, np.random.default_rng(0), interrupted)
    assert len(asked) < 30


# Windows, and segments of sound


@pytest.fixture
def corpus() -> Corpus:
    clean = [np.full(n, 100 * (i + 1), dtype=np.int16) for i, n in enumerate((24_000, 5_000, 24_000, 5_000))]
    return Corpus(clean, [w + 1 for w in clean], 2)


def test_windows_of_a_clip_follow_each_other(corpus: Corpus, config: DistillConfig) -> None:
    windows = draw_windows(corpus, config, 8_000, np.random.default_rng(0))
    plain = windows[windows["other"] < 0]
    assert [(w["clip"], w["start"]) for w in plain] == [
        (0, 0), (0, 8_000), (0, 16_000), (1, 0), (2, 0), (2, 8_000), (2, 16_000), (3, 0)
    ]  # fmt: skip
    assert np.array_equal(plain["wave"], plain["clip"])
    finer = replace(config, step_seconds=0.15, mixtures=0.0)
    windows = draw_windows(corpus, finer, 8_000, np.random.default_rng(0))
    first = windows[windows["clip"] == 0]["start"]
    assert first.tolist() == list(range(0, 24_000 - 8_000 + 1, 2_400))


@pytest.mark.parametrize("mixtures", [0.0, 0.3, 1.0, 4.0])
def test_there_are_so_many_windows_of_mixtures(
    corpus: Corpus, config: DistillConfig, mixtures: float
) -> None:
    config = replace(config, mixtures=mixtures)
    windows = draw_windows(corpus, config, 8_000, np.random.default_rng(0))
    assert (windows["other"] < 0).sum() == 8
    assert (windows["other"] >= 0).sum() == round(8 * mixtures)


@pytest.mark.parametrize("window_seconds", [0.0, 0.25])
def test_windows_of_a_mixture_follow_each_other_in_both_clips_until_one_ends(
    config: DistillConfig, window_seconds: float
) -> None:
    rng = np.random.default_rng(1)
    lengths = (5_000, 900, 4_321, 1_000, 300)
    clean = [np.zeros(n, dtype=np.int16) for n in lengths]
    config = replace(config, step_seconds=0.05, mixtures=6.0, window_seconds=window_seconds)
    length = 1_000 if not window_seconds else 500
    windows = draw_windows(Corpus(clean, clean, 5), config, length, rng)
    waves = windows["wave"]
    assert (np.diff(waves) >= 0).all(), "what belongs together lies together"
    assert set(np.diff(waves)) == {0, 1}
    mixed = [windows[waves == wave] for wave in range(5, waves.max() + 1)]
    assert len(mixed) > 20
    for i, own in enumerate(mixed):
        first = own[0]
        assert len({(w["clip"], w["other"], w["gain"]) for w in own}) == 1
        assert first["clip"] != first["other"]
        assert -12 <= 20 * np.log10(first["gain"]) <= 3
        both = (("clip", "start"), ("other", "other_start"))
        for clip, start in both:
            samples = lengths[first[clip]]
            assert np.array_equal(own[start], first[start] + 100 * np.arange(len(own)))
            assert 0 <= first[start] <= max(0, (samples - length) // 2)
            assert own[-1][start] + length <= max(samples, length)
        left = min(lengths[first[clip]] - first[start] for clip, start in both)
        if i < len(mixed) - 1:  # the last one ends where there are enough
            assert len(own) == max(0, left - length) // 100 + 1
    assert max(len(own) for own in mixed) > 15


def test_rendering_mixes_and_takes_the_coded_sound_where_asked(corpus: Corpus, rows: Rows) -> None:
    segments = rows((0, 100, -1, 0, 0.0), (0, 0, 2, 0, 0.5), (1, 0, -1, 0, 0.0))
    waves = 32768 * render(corpus, segments, 8_000, np.array([True, False, False])).numpy()
    assert waves.shape == (3, 8_000)
    assert np.allclose(waves[0], 101)
    assert np.allclose(waves[1], 100 + 0.5 * 300)
    assert np.allclose(waves[2], 200), "what is too short is repeated, as the tagger repeats it"


def test_a_longer_context_has_the_students_segment_in_its_middle_where_the_clip_allows(
    config: DistillConfig,
) -> None:
    rng = np.random.default_rng(0)
    # Longer than the context, between the two, shorter than the segment.
    clean = [rng.integers(-15_000, 15_000, n).astype(np.int16) for n in (400, 300, 90, 70, 30)]
    corpus, length, context = Corpus(clean, clean, len(clean)), 50, 130
    config = replace(config, segment_seconds=1.0, step_seconds=0.3, mixtures=3.0)
    segments = draw_windows(corpus, config, length, rng)
    assert len(segments) > 100
    own = render(corpus, segments, length).numpy()
    around = render(corpus, segments, length, context=context).numpy()
    for segment, wave, wide in zip(segments, own, around, strict=True):
        found = [i for i in range(context - length + 1) if np.array_equal(wide[i : i + length], wave)]
        samples, start = len(clean[segment["clip"]]), int(segment["start"])
        if samples >= context:
            assert found == [start - min(max(start - 40, 0), samples - context)]
        else:
            assert start in found
