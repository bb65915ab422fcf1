from __future__ import annotations

import numpy as np
import pytest

from lightmel.audio import MP3_32K, MP3_LEVELS, as_mp3, at_speed, mp3_rate

SR = 16_000
DELAY = 1_105


def noise(samples: int) -> np.ndarray:
    white = np.random.default_rng(0).standard_normal(samples)
    return (4_000 * np.convolve(white, np.ones(8) / 8, "same")).astype(np.int16)


@pytest.mark.parametrize("level", MP3_LEVELS)
def test_an_mp3_sounds_alike_is_late_at_most_and_loses_its_top(level: float) -> None:
    wave = noise(3 * SR)
    coded = as_mp3(wave, SR, level)
    assert coded.shape == wave.shape
    assert coded.dtype == np.int16
    late = {d: np.corrcoef(wave[: -d or None], coded[d:])[0, 1] for d in (0, DELAY)}
    assert max(late.values()) > 0.95
    assert min(late.values()) < 0.1
    power = [np.abs(np.fft.rfft(w.astype(float))) ** 2 for w in (wave, coded)]
    top = slice(round(7_600 / SR * len(wave)), None)
    assert power[1][top].sum() < 0.01 * power[0][top].sum()


def test_worse_levels_are_worse() -> None:
    wave = noise(3 * SR)
    off = []
    for level in MP3_LEVELS:
        coded = as_mp3(wave, SR, level)
        errors = [np.square(wave[: -d or None].astype(float) - coded[d:]).mean() for d in (0, DELAY)]
        off.append(min(errors))
    assert off == sorted(off)
    assert MP3_32K in MP3_LEVELS


@pytest.mark.parametrize("samples", [1, 100, 1_151, 1_152, 20_001])
def test_any_length_is_kept(samples: int) -> None:
    assert as_mp3(noise(max(samples, 8))[:samples], SR, MP3_32K).shape == (samples,)


@pytest.mark.parametrize(
    ("sr", "rate"),
    [(2_000, 8_000), (8_000, 8_000), (16_000, 16_000), (16_001, 22_050), (48_000, 48_000), (96_000, 48_000)],
)
def test_the_rate_of_an_mp3_is_the_lowest_that_is_enough_or_the_highest(sr: int, rate: int) -> None:
    assert mp3_rate(sr) == rate
    assert as_mp3(noise(rate), rate, MP3_32K).shape == (rate,)


@pytest.mark.parametrize("speed", [0.84, 1.0, 1.19])
def test_speed_moves_length_and_pitch(speed: float) -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(2 * SR) / SR).astype(np.float32)
    played = at_speed(tone, SR, speed)
    assert played.dtype == np.float32
    assert len(played) == pytest.approx(2 * SR / speed, abs=1)
    peak = np.abs(np.fft.rfft(played * np.hanning(len(played)))).argmax() * SR / len(played)
    assert peak == pytest.approx(1_000 * speed, abs=1)
