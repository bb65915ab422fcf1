"""Parts of MP3 files: the same samples as in the whole, from a file of few frames."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel.audio import _mp3 as mp3
from lightmel.audio import _mp3_parts as parts
from lightmel.audio._decoders import SndfileDecoder
from lightmel.audio._layout import inspect
from lightmel.audio._waves import CELL

Tone = Callable[..., np.ndarray]
ID3 = b"ID3\x04\x00\x00\x00\x00\x20\x00" + bytes(4_096)
STARTS = (0.0, 0.02, 0.31, 1.0, 2.345, 3.71)
LENGTH = 0.7


def encode(wave: np.ndarray, sr: int, mode: str = "VARIABLE", level: float = 0.6) -> bytes:
    memory = io.BytesIO()
    soundfile.write(memory, wave, sr, format="MP3", bitrate_mode=mode, compression_level=level)
    return memory.getvalue()


def without_first_frame(data: bytes) -> bytes:
    frame = mp3.parse_frame(data[:4])
    assert frame is not None
    return data[frame.length :]


def without_lame(data: bytes) -> bytes:
    """Keep Xing's count, and take away what LAME says of its delay."""
    frame = mp3.parse_frame(data[:4])
    assert frame is not None
    fields = 4 + frame.side_bytes + 120
    return data[:fields] + bytes(frame.length - fields) + data[frame.length :]


def free_format(data: bytes) -> bytes:
    """Take the bit rate out of every header: its frames are all as long as the first one's, and padding."""
    changed, at = bytearray(data), 0
    while (frame := mp3.parse_frame(data[at : at + 4])) is not None:
        changed[at + 2] &= 0x0F
        at += frame.length
    return bytes(changed)


def interrupted(data: bytes) -> bytes:
    """Put something else between two frames, which libmpg123 would not get over."""
    frame, at = mp3.parse_frame(data[:4]), 0
    for _ in range(100):
        assert frame is not None
        at += frame.length
        frame = mp3.parse_frame(data[at : at + 4])
    return data[:at] + b"<html>" * 400 + data[at:]


@pytest.fixture
def by_frames(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Let nothing but frames be decoded from now on."""

    def refused(*_: Any) -> Iterator[np.ndarray]:
        raise AssertionError("the file itself is decoded")

    return lambda: monkeypatch.setattr(SndfileDecoder, "_mixed", refused)


def compare(data: bytes | Path, sr: int, by_frames: Callable[[], Any]) -> None:
    """Compare parts with the whole: in MPEG-2 every other frame is added up in another order."""
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    whole, resampled = (audio.load(source, rate, notes=[]) for rate in (sr, 12_000))
    by_frames()
    end = len(whole) / sr
    for start in (*STARTS, end - LENGTH, end - 0.02):
        part = audio.excerpt(source, sr, start, LENGTH, notes=[])
        expected = whole[round(start * sr) :][: round(LENGTH * sr)]
        np.testing.assert_allclose(part, expected, rtol=0, atol=2e-7)
        part = audio.excerpt(source, 12_000, start, LENGTH, notes=[])
        expected = resampled[round(start * 12_000) :][: round(LENGTH * 12_000)]
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sr", [8_000, 11_025, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("mode", "level"), [("VARIABLE", 0.5), ("CONSTANT", 0.0), ("CONSTANT", 0.99)])
def test_parts_are_those_of_the_whole(
    sr: int, channels: int, mode: str, level: float, tone: Tone, by_frames: Callable[[], Any]
) -> None:
    """At the highest constant rate and at the lowest, where the reservoir goes back over most frames."""
    compare(encode(tone(5.0, sr, channels), sr, mode, level), sr, by_frames)


@pytest.mark.parametrize("alike", [0.0, 0.9, 1.0])
def test_joint_stereo_is_no_other(alike: float, tone: Tone, by_frames: Callable[[], Any]) -> None:
    wave = tone(5.0)
    wave[:, 1] += np.float32(alike) * (wave[:, 0] - wave[:, 1])
    data = encode(wave, 44_100, "AVERAGE", 0.8)
    modes = {data[stretch + 3] >> 6 for stretch in _places(data)}
    assert modes == {1}, "joint stereo"
    compare(data, 44_100, by_frames)


def _places(data: bytes) -> Iterator[int]:
    at = 0
    while (frame := mp3.parse_frame(data[at : at + 4])) is not None:
        yield at
        at += frame.length


@pytest.mark.parametrize("change", [without_first_frame, without_lame, interrupted])
@pytest.mark.parametrize("sr", [22_050, 44_100])
@pytest.mark.parametrize("tagged", [False, True])
def test_whatever_header_it_has(
    change: Callable[[bytes], bytes], sr: int, tagged: bool, tone: Tone, by_frames: Callable[[], Any]
) -> None:
    data = change(encode(tone(5.0, sr), sr, "AVERAGE"))
    compare(ID3 * tagged + data + (b"TAG" + bytes(125)) * tagged, sr, by_frames)


def test_a_file_is_read_by_its_name_too(tmp_path: Path, tone: Tone, by_frames: Callable[[], Any]) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(ID3 + encode(tone(5.0), 44_100))
    compare(path, 44_100, by_frames)


@pytest.mark.parametrize("count", [120, 10_000])
def test_a_wrong_count_is_no_other(count: int, tone: Tone, by_frames: Callable[[], Any]) -> None:
    data = bytearray(encode(tone(5.0), 44_100))
    at = data.index(b"Xing") + 8
    data[at : at + 4] = count.to_bytes(4, "big")
    whole = audio.load(bytes(data), 44_100, notes=[])
    by_frames()
    for start in STARTS:
        part = audio.excerpt(bytes(data), 44_100, start, LENGTH, notes=[])
        np.testing.assert_array_equal(part, whole[round(start * 44_100) :][: round(LENGTH * 44_100)])


def test_a_free_bit_rate_is_decoded_as_before(tone: Tone) -> None:
    """Its frames are not looked for; what libmpg123 makes of it is the same slice."""
    data = free_format(encode(tone(5.0), 44_100, "CONSTANT", 0.5))
    (part,) = inspect(io.BytesIO(data)).parts
    assert part.frames is None
    whole = audio.load(data, 44_100, notes=[])
    assert len(whole) > 4 * 44_100
    for start in STARTS:
        found = audio.excerpt(data, 44_100, start, LENGTH, notes=[])
        np.testing.assert_allclose(found, whole[round(start * 44_100) :][: len(found)], rtol=0, atol=1e-5)


def test_long_parts_are_put_together(
    tone: Tone, monkeypatch: pytest.MonkeyPatch, by_frames: Callable[[], Any]
) -> None:
    monkeypatch.setattr("lightmel.audio._decoders.TOGETHER", 2 * CELL)
    data = encode(tone(5.0), 44_100)
    whole = audio.load(data, 44_100)
    by_frames()
    np.testing.assert_array_equal(audio.excerpt(data, 44_100, 0.5, 4.0), whole[22_050:][: 4 * 44_100])


def test_an_open_file_is_left_where_it_was(tone: Tone) -> None:
    """Whole decodes and parts of one open file may take turns."""
    data = encode(tone(5.0), 44_100)
    whole = audio.load(data, 44_100)
    file = io.BytesIO(data)
    blocks = audio.stream(file, 44_100, 1.0)
    first = next(blocks)
    (part,) = inspect(file).parts
    assert part.frames is not None
    file.seek(1_234)
    assert parts.part_of_frames(file, part.frames, 100_000, 110_000) is not None
    assert file.tell() == 1_234
    np.testing.assert_array_equal(first, whole[:44_100])


class Counted(io.BytesIO):
    """A file in memory that counts what is read of it."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_a_part_is_little_of_a_long_file(tone: Tone) -> None:
    data = encode(np.tile(tone(5.0), (12, 1)), 44_100, "CONSTANT", 0.4)
    file = Counted(data)
    frames = _frames(file)
    file.read_bytes = 0
    part = parts.part_of_frames(file, frames, 2_000_000, 2_000_000 + 44_100)
    assert part is not None
    assert part.before < 5 * 1_152
    assert len(part.data) < len(data) / 60 * 1.2 + 2_500
    assert file.read_bytes < 2.5 * len(data) * 64 * 1_152 / 44_100 / 60 + len(part.data)


def _frames(file: BinaryIO) -> parts.Frames:
    (part,) = inspect(file).parts
    assert part.frames is not None
    return part.frames


@pytest.mark.parametrize("checksum", [False, True])
def test_the_reservoir_is_what_frames_hold_behind_their_headers(checksum: bool) -> None:
    """Of frames at 32 kbit/s, eight; a checksum of two bytes lies before the side information."""
    header = bytes((0xFF, 0xFA if checksum else 0xFB, 0x10, 0xC4))
    frame = mp3.parse_frame(header)
    assert frame is not None
    skipped = 4 + 2 * checksum + frame.side_bytes
    generator = np.random.default_rng(0)
    mains = [generator.bytes(frame.length - skipped) for _ in range(150)]
    data = b"".join(header + bytes(skipped - 4) + main for main in mains)
    file = io.BytesIO(data)
    found = parts.part_of_frames(file, _frames(file), 100 * 1_152, 101 * 1_152)
    assert found is not None
    silent = mp3.parse_frame(found.data[:4])
    assert silent is not None
    first = data.index(found.data[silent.length :]) // frame.length
    assert first == 100 - 1
    assert found.data[: silent.length].endswith(b"".join(mains[:first])[-511:])


def test_a_file_that_shrinks_is_refused(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(encode(tone(5.0), 44_100))
    with path.open("rb") as file:
        frames = _frames(file)
        with path.open("r+b") as other:
            other.truncate(20_000)
        with pytest.raises(OSError, match="it has changed while it was read"):
            parts.part_of_frames(file, frames, 180_000, 190_000)


@pytest.mark.parametrize("sr", [12_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("together", [3 * CELL, 1 << 20])
def test_excerpts_are_decoded_together(
    sr: int,
    together: int,
    tone: Tone,
    monkeypatch: pytest.MonkeyPatch,
    by_frames: Callable[[], Any],
) -> None:
    """From the first sample to the last, beside one another and over one another."""
    monkeypatch.setattr("lightmel.audio._decoders.TOGETHER", together)
    data = encode(tone(5.0), 44_100)
    whole = audio.load(data, sr)
    by_frames()
    for length, count in ((sr // 2, 4), (sr // 10, 7), (2 * sr, 5), (len(whole), 1)):
        starts = np.linspace(0, len(whole) - length, count).astype(int).tolist()
        found = audio.placed(data, sr, length, lambda _, starts=starts: starts)
        assert found.samples == len(whole)
        waves = list(found.waves)
        assert len(waves) == count
        for start, wave in zip(starts, waves, strict=True):
            np.testing.assert_allclose(wave, whole[start : start + length], rtol=0, atol=1e-6)


def test_what_frames_alone_do_not_give_comes_from_the_file(
    tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(tone(5.0), 44_100)
    whole = audio.load(data, 16_000)
    real, calls = SndfileDecoder._decoded, list[int]()

    def broken(self: SndfileDecoder, spans: Any) -> Iterator[np.ndarray]:
        calls.append(len(spans))
        for i, block in enumerate(real(self, spans)):
            if i == 1:
                return
            yield block

    monkeypatch.setattr(SndfileDecoder, "_decoded", broken)
    starts = [10_000, 30_000, 50_000]
    found = audio.placed(data, 16_000, 8_000, lambda _: starts)
    for start, wave in zip(starts, found.waves, strict=True):
        np.testing.assert_allclose(wave, whole[start : start + 8_000], rtol=0, atol=1e-6)
    assert calls[0] == 3


def test_a_last_frame_that_is_cut_off_is_no_part_of_it(tone: Tone) -> None:
    data = encode(tone(5.0), 44_100, "CONSTANT")[:-100]
    whole = audio.load(data, 16_000, notes=[])
    found = audio.placed(data, 16_000, 8_000, lambda samples: [0, samples - 8_000], notes=[])
    assert found.samples == len(whole)
    for start, wave in zip((0, len(whole) - 8_000), found.waves, strict=True):
        np.testing.assert_allclose(wave, whole[start:][:8_000], rtol=0, atol=1e-6)


def test_excerpts_that_are_decoded_together_lie_behind_one_another(tone: Tone) -> None:
    data = encode(tone(5.0), 44_100)
    waves = list(audio.placed(data, 16_000, 8_000, lambda _: [5_000, 20_000, 60_000]).waves)
    places = [wave.__array_interface__["data"][0] for wave in waves]
    assert places == [places[0] + i * 8_000 * 4 for i in range(3)]
