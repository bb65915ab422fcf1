from __future__ import annotations

import io
import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch

from lightmel import audio
from lightmel.errors import AudioError, ShapeError

Tone = Callable[..., np.ndarray]
Write = Callable[..., Path]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_float_arrays(dtype: type, channels: int, tone: Tone) -> None:
    wave = tone(1.0, channels=channels).T.astype(dtype)
    expected = soxr.resample(wave.astype(np.float64).mean(axis=0), 44_100, 16_000, "HQ")
    mono = audio.from_array(wave, 44_100, 16_000)
    assert (mono.dtype, mono.shape) == (np.float32, (16_000,))
    np.testing.assert_allclose(mono, expected, atol=1e-6)
    np.testing.assert_array_equal(audio.from_array(torch.tensor(wave), 44_100, 16_000), mono)
    if channels == 1:
        np.testing.assert_array_equal(audio.from_array(wave[0].tolist(), 44_100, 16_000), mono)


def test_an_array_gives_what_its_file_gives(tmp_path: Path, tone: Tone, write: Write) -> None:
    wave = tone(2.0)
    path = write(tmp_path / "same.wav", wave, subtype="FLOAT")
    np.testing.assert_array_equal(audio.from_array(wave.T, 44_100, 16_000), audio.load(path, 16_000))


@pytest.mark.parametrize(
    ("dtype", "low", "zero", "high"),
    [
        (np.int8, -128, 0, 127),
        (np.int16, -32_768, 0, 32_767),
        (np.int32, -(2**31), 0, 2**31 - 1),
        (np.uint8, 0, 128, 255),
    ],
)
def test_integers_are_scaled_by_full_scale(dtype: type, low: int, zero: int, high: int) -> None:
    mono = audio.from_array(np.array([low, zero, high], dtype), 16_000, 16_000)
    bits = 8 * np.dtype(dtype).itemsize
    np.testing.assert_allclose(mono, [-1, 0, 1 - 2.0 ** (1 - bits)], atol=1e-7)


def test_tensors_of_every_kind(tone: Tone) -> None:
    wave = torch.tensor(tone(0.5).T)
    expected = audio.from_array(wave.numpy(), 44_100, 16_000)
    np.testing.assert_array_equal(audio.from_array(wave.clone().requires_grad_(), 44_100, 16_000), expected)
    np.testing.assert_allclose(audio.from_array(wave.bfloat16(), 44_100, 16_000), expected, atol=5e-3)
    turned = wave.T.contiguous().T
    np.testing.assert_array_equal(audio.from_array(turned, 44_100, 16_000), expected)


def test_tensors_that_are_not_what_lies_in_memory(tone: Tone) -> None:
    wave = torch.tensor(tone(0.5)[:, 0])
    expected = audio.from_array(wave, 16_000, 16_000)
    negated = torch._neg_view(-wave)
    assert negated.is_neg()
    kinds = [negated, torch.complex(wave, -wave).conj().imag, wave.to_sparse()]
    for tensor in kinds:
        np.testing.assert_array_equal(audio.from_array(tensor, 16_000, 16_000), expected)
    with pytest.raises(ShapeError, match="on the device 'meta' has a shape, and no samples"):
        audio.from_array(wave.to("meta"), 16_000, 16_000)


def test_bytes_are_refused_in_a_sentence() -> None:
    for data in (b"x" * 6_000_000, bytearray(6_000_000), memoryview(bytes(6_000_000))):
        with pytest.raises(ShapeError, match=r"frombuffer") as caught:
            audio.from_array(data, 16_000, 16_000)
        assert len(str(caught.value)) < 300


def test_the_input_is_left_as_it_was(tone: Tone) -> None:
    wave = tone(0.1, channels=1)[:, 0]
    before = wave.copy()
    mono = audio.from_array(wave, 16_000, 16_000)
    mono += 1
    np.testing.assert_array_equal(wave, before)


@pytest.mark.parametrize("rate", [None, 0, -1, 16, "fast", math.nan, math.inf, True, 1e7])
def test_an_array_without_a_sensible_rate(rate: Any) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        audio.from_array(np.zeros(100), rate, 16_000)


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (np.zeros(()), r"shape \(\): wanted is \(samples,\)"),
        (np.zeros((2, 2, 100)), r"shape \(2, 2, 100\): wanted is"),
        (np.zeros(0), "holds no samples"),
        (np.zeros((2, 0)), "holds no samples"),
        (np.zeros((0, 2)), "holds no samples"),
        ([], "holds no samples"),
        (np.zeros((16_000, 2)), r"looks like \(samples, channels\): transpose it"),
        (np.zeros((65, 64)), "transpose it"),
        (np.zeros((100, 16_000)), "at most 64 channels"),
        (np.zeros(100, bool), "true and false"),
        (np.zeros(100, complex), "A wave of complex128 is no sound: take the real part first"),
        (np.array([object()] * 3), "A wave of object is no sound: its items are not numbers"),
        (np.zeros(100, np.int64), "A wave of int64 is no sound: its full scale is not agreed on"),
        ([0, 1, 2], "full scale is not agreed on"),
        (np.zeros(100, np.uint16), "A wave of uint16 is no sound: its full scale is not agreed on"),
        (["a", "b"], "A wave of <U1 is no sound: its items are not numbers"),
        ([[0.0, 1.0], [0.0]], "no regular array"),
        ("song.mp3", "audio.load reads files"),
        (None, "A wave of object is no sound"),
    ],
)
def test_arrays_that_are_no_wave(wave: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        audio.from_array(wave, 16_000, 16_000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_the_first_sample_that_is_not_finite_is_named(bad: float, kind: Callable[..., Any]) -> None:
    wave = np.zeros((2, 100))
    wave[1, 7] = wave[1, 50] = bad
    with pytest.raises(AudioError, match=rf"wave\[1, 7\] is {bad}: samples must be finite"):
        audio.from_array(kind(wave), 16_000, 16_000)
    with pytest.raises(AudioError, match=rf"wave\[7\] is {bad}"):
        audio.from_array(kind(wave[1]), 16_000, 16_000)


def test_samples_too_large_for_float32() -> None:
    for wave in (np.full(100, 1e300), np.full((2, 100), 3e38, np.float32)):
        with pytest.raises(AudioError, match="cannot be computed with"):
            audio.from_array(wave, 16_000, 16_000)


def test_tensors_of_odd_kinds_are_the_sound_that_they_stand_for() -> None:
    wave = torch.sin(torch.arange(1_600) / 10)
    wanted = audio.from_array(wave, 16_000, 16_000)
    for kind in (
        wave.to_sparse(),
        torch._neg_view(-wave),  # negated when it is looked at
        torch.complex(wave, -wave).conj().imag,
        wave.clone().requires_grad_(),
        wave.double().to_sparse().requires_grad_(),
    ):
        np.testing.assert_array_equal(audio.from_array(kind, 16_000, 16_000), wanted)


@pytest.mark.parametrize(
    ("wave", "said"),
    [
        (
            torch.zeros(9, device="meta"),
            "A tensor on the device 'meta' has a shape, and no samples: give those.",
        ),
        (torch.zeros(9, dtype=torch.complex64).conj(), "A wave of complex64 is no sound: take the real part"),
        (b"x" * 3_000_000, "3,000,000 bytes are no array: a file's go to audio.load"),
        (bytearray(3_000_000), "3,000,000 bytes are no array: a file's go to audio.load"),
        (io.BytesIO(b"RIFF"), "A BytesIO is no array: audio.load reads open files."),
        ("x" * 3_000_000, "'xxx"),
        (
            np.ma.array(np.zeros(9), mask=np.arange(9) == 3),
            "An array with masked samples has gaps: fill them",
        ),
        (socket.socket(), "A wave of object is no sound"),
    ],
    ids=["meta", "conjugated", "bytes", "bytearray", "open file", "path", "masked", "socket"],
)
def test_what_is_no_array_is_a_sentence(wave: object, said: str) -> None:
    with pytest.raises(ShapeError) as refused:
        audio.from_array(wave, 16_000, 16_000)
    assert str(refused.value).startswith(said)
    assert len(str(refused.value)) < 300


def test_one_sample_of_an_array() -> None:
    assert audio.from_array([0.5], 16_000, 16_000).tolist() == [0.5]
    with pytest.raises(AudioError, match="1 sample at 44100 Hz: too short"):
        audio.from_array([0.5], 44_100, 16_000)
    assert len(audio.from_array(np.ones(3, np.float32), 44_100, 16_000)) == 1
