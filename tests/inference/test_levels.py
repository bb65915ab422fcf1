"""What the samples themselves say: levels, and how far the spectrum reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr

from lightmel import audio
from lightmel.inference.levels import Levels

SR = 16_000


def of(wave: np.ndarray, rate: int = SR) -> Levels:
    levels = Levels(rate)
    for start in range(0, len(wave), 10 * rate):
        levels.add(wave[start : start + 10 * rate])
    return levels


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).normal(size=44_100 * 5)).astype(np.float32)


@pytest.mark.parametrize("seconds", [1, 5])
@pytest.mark.parametrize("rate", [12_000, 16_000, 32_000])
def test_sound_that_was_at_a_telephones_rate_is_told_whatever_rate_it_was_brought_to(
    noise: np.ndarray, rate: int, seconds: int
) -> None:
    telephone = soxr.resample(noise[: seconds * 44_100], 44_100, 8_000)
    wave = soxr.resample(soxr.resample(telephone, 8_000, 44_100), 44_100, rate)
    assert of(wave, rate).reach == pytest.approx(4_000, abs=150)
    (note,) = of(wave, rate).notes(44_100)
    assert "as in a telephone's sound, though it is sampled at 44100 Hz" in note
    whole = soxr.resample(noise[: seconds * 44_100], 44_100, rate)
    assert of(whole, rate).notes(44_100) == []
    assert of(whole, rate).reach > 0.9 * rate / 2


def test_sixteen_bits_do_not_hide_it(noise: np.ndarray) -> None:
    telephone = soxr.resample(soxr.resample(noise, 44_100, 8_000), 8_000, 44_100)
    wave = soxr.resample(np.round(telephone * 32_767) / np.float32(32_767), 44_100, SR)
    assert of(wave).reach == pytest.approx(4_000, abs=150)


def test_a_source_of_a_low_rate_is_said_once(noise: np.ndarray) -> None:
    wave = soxr.resample(soxr.resample(noise, 44_100, 8_000), 8_000, SR)
    assert of(wave).notes(8_000) == [
        "sampled at 8000 Hz: there is nothing above 4000 Hz, and the model's input reaches up to 8000 Hz"
    ]


@pytest.mark.parametrize(
    "wave",
    [np.zeros(SR), np.zeros(10), np.full(SR, 1e-5), np.full(SR, np.inf), np.full(SR, 1e38)],
    ids=["silence", "ten", "dither", "infinite", "huge"],
)
def test_nothing_is_said_of_a_spectrum_that_is_not_there(wave: np.ndarray) -> None:
    with np.errstate(all="raise"):
        assert of(wave.astype(np.float32)).reach == SR / 2


def test_samples_scaled_for_something_else() -> None:
    wave = np.array([0.0, -20_000.0, 3.0], np.float32)
    assert of(wave).notes(SR) == [
        "samples up to 20000, where full scale is 1: 16-bit samples are divided by 32768"
    ]


def test_music_is_not_taken_for_a_telephone(shared: Path) -> None:
    told = []
    for path in audio.find(shared / "music-free")[::40]:
        wave = audio.middle(path, SR, 10.0)
        if of(wave).notes(44_100):
            told.append(path.name)
    assert told == []
