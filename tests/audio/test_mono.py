"""Channels that cancel each other: where their mean is nearly silent, one of them is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightmel import audio
from lightmel.audio._waves import CELL

Tone = Callable[..., np.ndarray]
Write = Callable[..., Path]
SR = 44_100


def turned(wave: np.ndarray, begin: int = 0, end: int | None = None) -> np.ndarray:
    """Stereo whose right channel is the left one, turned over between two samples."""
    both = np.repeat(wave[:, :1], 2, axis=1)
    both[begin:end, 1] *= -1
    return both


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "m4a"])
def test_a_channel_is_taken_where_the_channels_cancel(
    suffix: str, tmp_path: Path, tone: Tone, write: Write
) -> None:
    wave = tone(6.0)
    path = write(tmp_path / f"turned.{suffix}", turned(wave), SR)
    single = audio.load(write(tmp_path / f"single.{suffix}", np.repeat(wave[:, :1], 2, axis=1), SR), SR)
    notes: list[str] = []
    loaded = audio.load(path, SR, notes=notes)
    assert np.sqrt(np.mean(loaded**2)) == pytest.approx(np.sqrt(np.mean(single**2)), rel=0.05)
    (note,) = notes
    assert note.startswith("its channels cancel each other for 6.")
    assert note.endswith("so that their mean is nearly silent: one channel is taken there")
    ordinary: list[str] = []
    audio.load(tmp_path / f"single.{suffix}", SR, notes=ordinary)
    assert not ordinary


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "m4a"])
def test_excerpts_are_slices_where_only_a_part_cancels(
    suffix: str, tmp_path: Path, tone: Tone, write: Write
) -> None:
    path = write(tmp_path / f"partly.{suffix}", turned(tone(9.0), 3 * SR, 6 * SR), SR)
    for sr in (16_000, SR):
        whole = audio.load(path, sr, notes=[])
        assert np.abs(whole[4 * sr : 5 * sr]).max() > 0.05
        for start in np.linspace(0.1, 8.0, 15):
            part = audio.excerpt(path, sr, float(start), 0.7, notes=[])
            np.testing.assert_allclose(part, whole[round(float(start) * sr) :][: round(0.7 * sr)], atol=1e-6)


@pytest.mark.parametrize(
    ("others", "offset", "note"),
    [
        ([-1.0], 0.0, True),
        ([-0.8, 0.0, 0.0], 0.0, True),
        ([-0.5, -0.5], 0.0, True),
        ([-1.0, 1.0, -1.0], 0.0, True),
        ([-1.0], 0.3, True),
        ([0.0], 0.0, False),
        ([0.0] * 7, 0.0, False),
        ([-0.5], 0.0, False),
    ],
)
@pytest.mark.parametrize("silent_first", [False, True])
def test_arrays_and_files_cancel_alike(
    others: list[float],
    offset: float,
    note: bool,
    silent_first: bool,
    tmp_path: Path,
    tone: Tone,
    write: Write,
) -> None:
    """Whichever channel is silent, and whatever constant is in all of them."""
    one = tone(2.0, channels=1)[:, 0] / 2
    wave = np.stack([*[0 * one] * silent_first, one, *(other * one for other in others)], 1) + offset
    path = write(tmp_path / "turned.wav", wave, SR, subtype="FLOAT")
    of_file, of_array = list[str](), list[str]()
    loaded = audio.load(path, SR, notes=of_file)
    np.testing.assert_array_equal(audio.from_array(wave.T.astype(np.float32), SR, SR, notes=of_array), loaded)
    assert of_array == of_file
    assert bool(of_file) == note
    if note:
        np.testing.assert_allclose(np.abs(loaded - np.float32(offset)), np.abs(one), atol=1e-6)


def test_noise_does_not_hide_that_channels_cancel(tone: Tone) -> None:
    one = tone(2.0, channels=1)[:, 0]
    noise = 0.2 * one.std() * np.random.default_rng(0).standard_normal(len(one))
    notes: list[str] = []
    loaded = audio.from_array(np.stack([one, noise - one]).astype(np.float32), SR, SR, notes=notes)
    np.testing.assert_array_equal(loaded, one.astype(np.float32))
    assert len(notes) == 1


def test_the_louder_channel_is_taken_if_it_is_much_louder(tmp_path: Path, tone: Tone, write: Write) -> None:
    wave = tone(2.0, channels=1)[:, 0]
    path = write(
        tmp_path / "three.wav", np.stack([wave, -3 * wave, 2.001 * wave], 1) / 4, SR, subtype="FLOAT"
    )
    np.testing.assert_array_equal(audio.load(path, SR, notes=[]), np.float32(-0.75) * wave)


def test_an_array_is_mixed_as_a_file_is(tmp_path: Path, tone: Tone, write: Write) -> None:
    wave = turned(tone(6.0), 2 * SR, 4 * SR)
    path = write(tmp_path / "partly.wav", wave, SR, subtype="FLOAT")
    of_file: list[str] = []
    of_array: list[str] = []
    mono = audio.from_array(wave.T, SR, 16_000, notes=of_array)
    np.testing.assert_allclose(mono, audio.load(path, 16_000, notes=of_file), atol=1e-6)
    assert of_array == of_file
    assert len(of_array) == 1


def test_channels_cancel_beside_a_silent_one_too(tmp_path: Path, tone: Tone, write: Write) -> None:
    wave = tone(2.0, channels=1)[:, 0]
    silent = np.zeros_like(wave)
    path = write(tmp_path / "four.wav", np.stack([silent, wave, -wave, silent], 1), SR, subtype="FLOAT")
    notes: list[str] = []
    np.testing.assert_array_equal(audio.load(path, SR, notes=notes), wave)
    assert len(notes) == 1


@pytest.mark.parametrize("channels", [6, 16, 64])
def test_one_channel_of_many_that_sounds_cancels_nothing(channels: int, tone: Tone) -> None:
    wave = np.zeros((channels, 2 * SR), np.float32)
    wave[0] = tone(2.0, channels=1)[:, 0]
    notes: list[str] = []
    np.testing.assert_allclose(audio.from_array(wave, SR, SR, notes=notes), wave[0] / channels, atol=1e-7)
    assert not notes


def test_silence_and_ordinary_stereo_stay_as_they_are(tmp_path: Path, tone: Tone, write: Write) -> None:
    for number, wave in enumerate(
        (np.zeros((SR, 2), np.float32), tone(2.0), turned(tone(2.0), 0, CELL // 2))
    ):
        path = write(tmp_path / f"{number}.wav", wave, SR, subtype="FLOAT")
        notes: list[str] = []
        np.testing.assert_allclose(audio.load(path, SR, notes=notes), wave.mean(axis=1), atol=1e-7)
        assert not notes
