"""The middle of a file, excerpts at places that depend on its length, and slices of sound in blocks."""

from __future__ import annotations

import io
import logging
import math
import os
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmel import audio
from lightmel.audio import _excerpts, _read
from lightmel.errors import AudioError

Tone = Callable[..., np.ndarray]
SNDFILE = ["wav", "flac", "ogg", "opus", "mp3", "aiff"]
FFMPEG = ["m4a", "aac", "wma", "mp4", "mkv"]
SR = 16_000


# Slices of sound that comes in blocks


def in_blocks(samples: int, sizes: list[int]) -> Iterator[np.ndarray]:
    """Sample i has the value i; blocks of `sizes` in turn, empty ones too."""
    wave, at, turn = np.arange(samples, dtype=np.float32), 0, 0
    while at < samples:
        size = sizes[turn % len(sizes)] if any(sizes) else samples
        yield wave[at : at + size]
        at, turn = at + size, turn + 1


SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=5)


@given(st.integers(1, 200), st.integers(1, 30), SIZES, st.data())
def test_slices_are_those_of_the_whole(
    samples: int, length: int, sizes: list[int], data: st.DataObject
) -> None:
    if samples < length:
        return
    starts = sorted(data.draw(st.lists(st.integers(0, samples - length), max_size=8)))
    waves = list(_excerpts.slices(in_blocks(samples, sizes), length, starts))
    assert [wave.tolist() for wave in waves] == [list(range(s, s + length)) for s in starts]


def test_slices_beyond_the_end_are_left_out() -> None:
    waves = list(_excerpts.slices(in_blocks(100, [7]), 10, [0, 90, 91, 200]))
    assert [wave[0] for wave in waves] == [0, 90]


def test_nothing_is_read_after_the_last_slice() -> None:
    blocks = in_blocks(100, [10])
    assert [wave.tolist() for wave in _excerpts.slices(blocks, 5, [2, 12])] == [
        list(range(2, 7)),
        list(range(12, 17)),
    ]
    assert next(blocks)[0] == 20


def test_slicing_holds_a_slice_and_a_block_at_most() -> None:
    held = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal held
        for _ in range(300):
            held = max(held, tracemalloc.get_traced_memory()[0])
            yield np.zeros(1_000, dtype=np.float32)

    tracemalloc.start()
    count = sum(1 for _ in _excerpts.slices(blocks(), 2_000, [0, 250_000]))
    tracemalloc.stop()
    assert count == 2
    assert held < 100_000, "bytes; the sound has 1,200,000"


# Where excerpts begin


@given(st.integers(1, 10**9), st.data())
def test_as_much_is_left_before_the_middle_as_after_it(samples: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, samples))
    start = audio.middle_start(samples, length)
    after = samples - length - start
    assert start >= 0
    assert after >= 0
    assert abs(start - after) <= 1


@given(st.integers(1, 10**7), st.integers(1, 40), st.data())
def test_even_starts_are_those_of_won_et_al(samples: int, count: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, samples))
    hop = (samples - length) // count  # eval.py of sota-music-tagging-models, get_tensor
    starts = audio.even_starts(samples, length, count)
    assert starts == [i * hop for i in range(count)]
    assert starts[-1] + length <= samples


# The middle


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds that grow louder: whatever is cut from it shows where it was."""
    path = tmp_path_factory.mktemp("rising") / "rising.wav"
    ramp = np.linspace(0, 0.9, 4 * SR) * np.random.default_rng(0).uniform(-1, 1, 4 * SR)
    soundfile.write(path, ramp, SR, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("seconds", "first"), [(1.0, 24_000), (3.0, 8_000), (3.9999, 1), (4.0, 0), (29.1, 0)]
)
def test_seconds_are_taken_from_the_middle(seconds: float, first: int, rising: Path) -> None:
    wave, _ = soundfile.read(rising, dtype="float32")
    expected = wave[first:][: round(seconds * SR)]
    np.testing.assert_array_equal(audio.middle(rising, SR, seconds), expected)
    with rising.open("rb") as handle:
        np.testing.assert_array_equal(audio.middle(handle, SR, seconds), expected)


@pytest.mark.parametrize("suffix", SNDFILE)
@pytest.mark.parametrize("sr", [12_000, 16_000, 44_100])
def test_the_middle_is_that_of_the_whole(suffix: str, sr: int, files: dict[str, Path]) -> None:
    wave = audio.load(files[suffix], sr)
    first = audio.middle_start(len(wave), 2 * sr)
    middle = audio.middle(files[suffix], sr, 2.0)
    np.testing.assert_allclose(middle, wave[first : first + 2 * sr], rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", FFMPEG)
def test_the_middle_of_ffmpegs_formats_is_that_of_what_decodes(suffix: str, files: dict[str, Path]) -> None:
    wave = audio.load(files[suffix], SR)
    middle = audio.middle(files[suffix], SR, 2.0)
    assert len(middle) == 2 * SR
    center = audio.middle_start(len(wave), 2 * SR)
    near = np.lib.stride_tricks.sliding_window_view(wave[center - 8_000 : center + 8_500], 500)
    found = center - 8_000 + int(np.argmin(np.square(near - middle[:500]).sum(axis=1)))
    # A header may count an encoder's padding.
    assert abs(found - center) <= 0.15 * SR
    np.testing.assert_allclose(middle, wave[found : found + 2 * SR], rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_the_middle_is_refused_as_the_whole_is(suffix: str, files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        audio.middle(tmp_path / f"nothing.{suffix}", SR, 1.0)
    with pytest.raises(AudioError, match="no rate in Hz"):
        audio.middle(files[suffix], 16, 1.0)
    for seconds in (0, -1, math.nan, "x", None):
        with pytest.raises(AudioError, match="a positive number of seconds is wanted"):
            audio.middle(files[suffix], SR, seconds)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="less than one sample"):
        audio.middle(files[suffix], SR, 1e-9)
    text = tmp_path / f"text.{suffix}"
    text.write_text("la la la")
    with pytest.raises(AudioError, match="holds text"):
        audio.middle(text, SR, 1.0)


# Several excerpts


def evenly(count: int, length: int = SR) -> Callable[[int], list[int]]:
    return lambda samples: audio.even_starts(samples, length, count)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every opening of a file so far."""
    calls: list[str] = []

    def counted(file: Any, notes: Any) -> Any:
        calls.append(str(file))
        return _excerpts_open(file, notes)

    _excerpts_open = _excerpts.open_decoder
    monkeypatch.setattr(_excerpts, "open_decoder", counted)
    monkeypatch.setattr(_read, "open_decoder", counted)
    return calls


@pytest.mark.parametrize("suffix", SNDFILE + FFMPEG)
@pytest.mark.parametrize("count", [1, 5])
def test_placed_excerpts_are_slices_of_the_whole(suffix: str, count: int, files: dict[str, Path]) -> None:
    whole = audio.load(files[suffix], SR)
    found = audio.placed(files[suffix], SR, SR, evenly(count))
    if suffix in SNDFILE:
        assert found.samples == len(whole)
    assert abs(found.samples - len(whole)) < 0.05 * SR  # FFmpeg's headers may count padding
    waves = list(found.waves)
    assert len(waves) == count
    for start, wave in zip(audio.even_starts(found.samples, SR, count), waves, strict=True):
        np.testing.assert_allclose(wave, whole[start : start + SR], rtol=0, atol=1e-5)


def test_ffmpegs_formats_are_decoded_once_for_all_excerpts(files: dict[str, Path], opened: list[str]) -> None:
    calls = []
    for count in (1, 12):
        opened.clear()
        found = audio.placed(files["m4a"], SR, SR, evenly(count))
        before = len(opened)
        assert len(list(found.waves)) == count
        assert len(opened) - before == 1
        calls.append(len(opened))
    assert calls[0] == calls[1]


def test_libsndfiles_formats_are_opened_once_and_read_one_excerpt_at_a_time(
    files: dict[str, Path], opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    real = _excerpts._cut

    def watched(decoder: Any, sr: int, begin: int, length: int) -> np.ndarray:
        cut.append(begin)
        return real(decoder, sr, begin, length)

    monkeypatch.setattr(_excerpts, "_cut", watched)
    found = audio.placed(files["flac"], SR, SR, evenly(5))
    cut.clear()  # of where the file ends
    for i, _ in enumerate(found.waves):
        assert len(cut) == i + 1
    assert cut == audio.even_starts(found.samples, SR, 5)
    assert len(opened) == 1


@pytest.mark.parametrize("suffix", ["flac", "m4a"])
@pytest.mark.parametrize("longer", [0, 1])
def test_of_a_shorter_file_there_is_all_of_it_once(suffix: str, longer: int, files: dict[str, Path]) -> None:
    whole = audio.load(files[suffix], SR)
    asked = []

    def starts(samples: int) -> list[int]:
        asked.append(samples)
        return [0]

    found = audio.placed(files[suffix], SR, len(whole) + longer, starts)
    (wave,) = found.waves
    np.testing.assert_allclose(wave, whole, rtol=0, atol=1e-5)
    assert found.samples == len(whole)
    assert set(asked) == (set() if longer else {len(whole)})


def test_file_objects_have_excerpts_too(files: dict[str, Path]) -> None:
    for suffix in ("flac", "mp3", "m4a"):
        memory = io.BytesIO(files[suffix].read_bytes())
        found, expected = (audio.placed(source, SR, SR, evenly(3)) for source in (memory, files[suffix]))
        assert found.samples == expected.samples
        for wave, wanted in zip(found.waves, expected.waves, strict=True):
            np.testing.assert_array_equal(wave, wanted)
        assert not memory.closed


# Headers with a wrong length


def flac_with_count(data: bytes, count: int) -> bytes:
    changed = bytearray(data)
    changed[21] &= 0xF0
    changed[22:26] = count.to_bytes(4, "big")
    return bytes(changed)


def wav_with_size(data: bytes, size: int) -> bytes:
    changed = bytearray(data)
    at = changed.index(b"data") + 4
    changed[4:8] = changed[at : at + 4] = size.to_bytes(4, "little")
    return bytes(changed)


def mp3_with_count(data: bytes, count: int) -> bytes:
    at = data.index(b"Xing" if b"Xing" in data[:200] else b"Info") + 8
    return data[:at] + struct.pack(">I", count) + data[at + 4 :]


WRONG: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "FLAC that counts ten times its samples": ("flac", lambda d: flac_with_count(d, 60 * 44_100)),
    "FLAC without a count": ("flac", lambda d: flac_with_count(d, 0)),
    "FLAC that was cut off": ("flac", lambda d: d[: len(d) * 2 // 5]),
    "WAV of 24 s by its header": ("wav", lambda d: wav_with_size(d, 4 * len(d))),
    "WAV of unknown length": ("wav", lambda d: wav_with_size(d, 0xFFFFFFFF)),
    "WAV that was cut off": ("wav", lambda d: d[: len(d) * 2 // 5]),
    "MP3 that counts ten times its frames": ("mp3", lambda d: mp3_with_count(d, 2_300)),
    "MP3 that was cut off": ("mp3", lambda d: d[: len(d) * 2 // 5]),
    "Opus that was cut off": ("opus", lambda d: d[: len(d) * 2 // 5]),
    "Matroska that was cut off": ("mkv", lambda d: d[: len(d) * 2 // 5]),
}


@pytest.fixture(params=list(WRONG))
def wrong(request: pytest.FixtureRequest, files: dict[str, Path], tmp_path: Path) -> Path:
    suffix, change = WRONG[request.param]
    path = tmp_path / f"wrong.{suffix}"
    path.write_bytes(change(files[suffix].read_bytes()))
    return path


def test_a_header_with_a_wrong_length_does_not_move_the_excerpts(wrong: Path) -> None:
    whole = audio.load(wrong, SR)
    found = audio.placed(wrong, SR, SR, evenly(3))
    assert found.samples == len(whole)
    waves = list(found.waves)
    for start, wave in zip(audio.even_starts(len(whole), SR, 3), waves, strict=True):
        np.testing.assert_allclose(wave, whole[start : start + SR], rtol=0, atol=1e-5)
    first = audio.middle_start(len(whole), SR)
    np.testing.assert_allclose(audio.middle(wrong, SR, 1.0), whole[first : first + SR], rtol=0, atol=1e-5)


def test_a_file_that_is_shorter_than_its_header_gives_all_of_it(wrong: Path) -> None:
    whole = audio.load(wrong, SR)
    np.testing.assert_allclose(audio.middle(wrong, SR, 6.5), whole, rtol=0, atol=1e-5)


def test_the_middle_of_a_torn_file_is_that_of_what_is_left(
    rising: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wave, sr = soundfile.read(rising, dtype="float32")
    torn = tmp_path / "torn.flac"
    soundfile.write(torn, wave, sr)
    os.truncate(torn, torn.stat().st_size * 2 // 5)
    with caplog.at_level(logging.WARNING, "lightmel"):
        left = audio.load(torn, sr)
    assert "torn.flac: cut short: libsndfile stops at" in caplog.text
    assert len(left) < 0.5 * len(wave)
    first = audio.middle_start(len(left), sr)
    np.testing.assert_array_equal(audio.middle(torn, sr, 1.0), left[first : first + sr])


@settings(max_examples=20)
@given(st.integers(1, 6 * 44_100), st.integers(1, 4))
def test_any_count_in_a_header_leaves_excerpts_in_place(count: int, excerpts: int) -> None:
    """A FLAC file of a second: too few samples are what libsndfile reads, too many are found out."""
    memory = io.BytesIO()
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, SR)
    soundfile.write(memory, wave, SR, format="FLAC")
    source = io.BytesIO(flac_with_count(memory.getvalue(), count))
    whole = audio.load(source, SR)
    length = min(2_000, len(whole))
    found = audio.placed(source, SR, length, evenly(excerpts, length))
    starts = audio.even_starts(found.samples, length, excerpts)
    assert starts[-1] + length <= len(whole)
    for start, got in zip(starts, found.waves, strict=True):
        np.testing.assert_allclose(got, whole[start : start + length], rtol=0, atol=1e-5)


@given(length=st.integers(1, 500), more=st.integers(0, 5_000), count=st.integers(1, 40))
def test_spread_excerpts_lie_in_the_sound_and_in_order(length: int, more: int, count: int) -> None:
    samples = length + more
    starts = audio.spread_starts(samples, length, count)
    assert len(starts) == count
    assert starts == sorted(starts)
    assert starts[0] >= 0
    assert starts[-1] + length <= samples
    if count * length <= samples // 2:  # no overlap, and as much before the first as behind the last
        assert all(b - a >= length for a, b in pairwise(starts))
        assert abs(starts[0] - (samples - length - starts[-1])) <= 1
    assert audio.spread_starts(samples, length, 1) == [audio.middle_start(samples, length)]
