"""What the samples themselves say: levels, and how far the spectrum reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr

from lightmel import audio
from lightmel.inference import Tagger
from lightmel.inference.levels import Levels, SoundingMean
from lightmel.inference.segments import Segment

SR = 16_000
UNSCALED = (
    ", where full scale is 1, and they were taken as they are: divide them by their full scale (32768 for "
    "numbers of 16 bits) and tag again"
)


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


@pytest.mark.parametrize("hz", [0, 60, 440, 1_000])
def test_a_low_tone_is_no_telephone(hz: float) -> None:
    wave = (0.3 * np.cos(2 * np.pi * hz * np.arange(5 * SR) / SR)).astype(np.float32)
    assert of(wave).notes(44_100) == []


def test_samples_scaled_for_something_else() -> None:
    wave = np.array([0.0, -20_000.0, 3.0], np.float32)
    assert of(wave).notes(SR) == [f"samples up to 20000{UNSCALED}"]


def test_music_is_not_taken_for_a_telephone(shared: Path) -> None:
    told = []
    for path in audio.find(shared / "music-free")[::40]:
        wave = audio.middle(path, SR, 10.0)
        if of(wave).notes(44_100):
            told.append(path.name)
    assert told == []


def test_silence_is_left_out_of_the_mean_unless_it_is_all_there_is(model: Tagger, noise: np.ndarray) -> None:
    loud = soxr.resample(noise, 44_100, SR)[: 4 * SR]
    silence = np.zeros(60 * SR, np.float32)
    alone, mostly = model.tag(loud, SR), model.tag(np.concatenate([loud, silence]), SR)
    assert mostly.scores == pytest.approx(alone.scores, abs=1e-6)
    assert "94% of it is silence, which the scores leave out" in mostly.notes
    np.testing.assert_allclose(
        model.embed(np.concatenate([silence, loud]), SR), model.embed(loud, SR), atol=1e-5
    )
    assert [note for note in model.tag(silence, SR).notes if "%" in note] == []
    assert len(set(model.tag(silence, SR).scores)) > 1
    little = model.tag(np.concatenate([loud, silence[: 2 * SR]]), SR)
    assert [note for note in little.notes if "%" in note] == []
    assert little.scores == pytest.approx(alone.scores, abs=1e-6)


def test_channels_of_an_array_that_cancel_are_noted(model: Tagger, noise: np.ndarray) -> None:
    turned = model.tag(np.stack([noise, -noise]), 44_100)
    assert turned.scores == pytest.approx(model.tag(noise, 44_100).scores, abs=1e-6)
    (note,) = turned.notes
    assert note.startswith("its channels cancel each other for 5.0 s")


def test_the_mean_over_sounding_segments() -> None:
    mean = SoundingMean(2)
    waves = [np.full(10, peak, np.float32) for peak in (0.5, 0.0, -0.5)]
    mean.add([Segment(0, 10, w) for w in waves[:2]], np.array([[1.0, 2.0], [100.0, 100.0]]))
    mean.add([Segment(0, 10, waves[2])], np.array([[3.0, 6.0]]))
    assert mean.value().tolist() == [2.0, 4.0]
    assert mean.silent == pytest.approx(1 / 3)
    assert [Segment(0, 10, w).peak for w in waves] == [0.5, 0.0, 0.5]


@pytest.mark.parametrize(
    ("gain", "offset", "said"),
    [
        (1.0, 0.0, []),
        (1.0, 0.04, []),
        (0.05, 0.0, []),
        (0.01, 0.0, ["very quiet: no sample is above 0.005 of full scale; louder, it gets other scores"]),
        (0.0001, 0.0, []),  # silence, which is said elsewhere
        (1.0, 0.2, ["its samples lie 0.20 above zero on average: without that offset it gets other scores"]),
        (1.0, -3.0, ["its samples lie 3.00 below zero on average: without that offset it gets other scores"]),
        (1.0, 40.0, [f"samples up to 40{UNSCALED}"]),
    ],
)
def test_quiet_sound_and_a_constant_offset_are_said(gain: float, offset: float, said: list[str]) -> None:
    wave = np.random.default_rng(1).uniform(-0.5, 0.5, 25 * SR)
    assert of((gain * wave + offset).astype(np.float32)).notes(SR) == said
