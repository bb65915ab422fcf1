from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel.audio import _mp3 as mp3
from lightmel.audio._layout import Layout, inspect
from lightmel.audio._pieces import PiecesFile, Stretch

Tone = Callable[..., np.ndarray]


def encode(wave: np.ndarray, sr: int, mode: str = "VARIABLE") -> bytes:
    memory = io.BytesIO()
    soundfile.write(memory, wave, sr, format="MP3", bitrate_mode=mode, compression_level=0.6)
    return memory.getvalue()


def without_first_frame(data: bytes) -> bytes:
    """Take the Xing header away, which old encoders never wrote."""
    frame = mp3.parse_frame(data[:4])
    assert frame is not None
    assert data[4 + frame.side_bytes :][:4] in (b"Xing", b"Info")
    return data[frame.length :]


def with_count(data: bytes, count: int) -> bytes:
    at = data.index(b"Xing" if b"Xing" in data[:200] else b"Info") + 8
    return data[:at] + struct.pack(">I", count) + data[at + 4 :]


@pytest.fixture(scope="module")
def quiet_then_loud(tone: Tone) -> np.ndarray:
    """Variable bit rate: an estimate from the first frames is far off for this."""
    wave = tone(12.0)
    wave[: 44_100 * 8] *= 1e-4
    return wave


@pytest.mark.parametrize("sr", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_are_counted_at_every_rate(sr: int, channels: int, tone: Tone) -> None:
    data = encode(tone(2.0, sr, channels), sr)
    frame = mp3.parse_frame(data[:4])
    assert frame is not None
    assert frame.sr == sr
    bare = io.BytesIO(without_first_frame(data))
    frames = mp3.find_frames(bare)
    assert frames is not None
    (run,) = frames.runs
    (count,) = struct.unpack_from(">I", data, 4 + frame.side_bytes + 8)
    assert run.frames == count
    head = mp3.playable(bare, run)[0]
    assert isinstance(head, bytes)
    assert struct.unpack_from(">I", head, 4 + frame.side_bytes + 8) == (count,)
    assert inspect(io.BytesIO(data)) == Layout()  # its own count is right: libsndfile gets it as it is


def test_a_file_without_a_count_is_read_to_its_end(tmp_path: Path, quiet_then_loud: np.ndarray) -> None:
    path = tmp_path / "bare.mp3"
    path.write_bytes(without_first_frame(encode(quiet_then_loud, 44_100)))
    assert abs(soundfile.info(path).duration - 12) > 1  # libsndfile alone
    seconds = audio.info(path).seconds
    assert seconds == pytest.approx(12.0, abs=0.1)
    loaded = audio.load(path, 44_100)
    assert len(loaded) == round(seconds * 44_100)
    whole = audio.load(io.BytesIO(encode(quiet_then_loud, 44_100)), 44_100)
    lag = 576  # the encoder's delay, which only the lost header held
    np.testing.assert_allclose(loaded[lag:][: len(whole)], whole, atol=1e-6)
    part = audio.excerpt(path, 16_000, 10.5, 1.0)
    np.testing.assert_allclose(part, audio.load(path, 16_000)[168_000:184_000], atol=1e-6)


@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_a_wrong_count(factor: float, tmp_path: Path, quiet_then_loud: np.ndarray) -> None:
    data = encode(quiet_then_loud, 44_100)
    path = tmp_path / "wrong.mp3"
    path.write_bytes(with_count(data, int(460 * factor)))
    expected = audio.load(io.BytesIO(data), 16_000)
    loaded = audio.load(path, 16_000)
    assert abs(len(loaded) - len(expected)) < 0.05 * 16_000  # a count that is too great hides the padding
    np.testing.assert_allclose(loaded[: len(expected) - 500], expected[:-500], atol=1e-6)


def test_files_put_end_to_end(tmp_path: Path, tone: Tone) -> None:
    one = encode(tone(3.0), 44_100)
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    path = tmp_path / "joined.mp3"
    path.write_bytes(tag + one + tag + one + b"TAG" + bytes(125))
    loaded = audio.load(path, 16_000)
    assert len(loaded) / 16_000 == pytest.approx(6.0, abs=0.15)
    np.testing.assert_allclose(loaded[:47_000], audio.load(io.BytesIO(one), 16_000)[:47_000], atol=1e-6)
    assert np.sqrt(np.mean(loaded[56_000:] ** 2)) > 0.05


def test_a_file_written_anew_is_inspected_anew(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "song.mp3"
    for seconds in (2.0, 5.0):
        path.write_bytes(without_first_frame(encode(tone(seconds), 44_100)))
        assert audio.info(path).seconds == pytest.approx(seconds, abs=0.1)


def test_tags_at_both_ends_change_nothing(
    tmp_path: Path, tone: Tone, caplog: pytest.LogCaptureFixture
) -> None:
    one = encode(tone(3.0), 44_100)
    tag = b"ID3\x03\x00\x00\x00\x00\x10\x00" + b"\xff\xfb\x90\x44" * 512
    path = tmp_path / "tagged.mp3"
    path.write_bytes(tag + one + b"TAG" + b"\xff" * 125)
    with caplog.at_level(logging.WARNING, "lightmel"):
        np.testing.assert_array_equal(audio.load(path, 16_000), audio.load(io.BytesIO(one), 16_000))
    assert not caplog.text


def test_pieces_read_as_one_file() -> None:
    pieces = [b"HEAD", Stretch(10, 30), b"", Stretch(40, 40), Stretch(30, 50)]
    view = PiecesFile(io.BytesIO(bytes(range(60))), pieces)
    expected = b"HEAD" + bytes(range(10, 50))
    assert view.read() == expected
    assert view.seek(-3, io.SEEK_END) == len(expected) - 3
    assert view.read(10) == expected[-3:]
    assert view.read(1) == b""
    for start in (0, 3, 4, 20):
        assert view.seek(start) == view.tell() == start
        assert view.read(6) == expected[start : start + 6]
    assert view.seek(-2, io.SEEK_CUR) == 24
    assert view.seekable()
    assert view.readable()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xfb\x90",
        b"ID3",
        b"RIFF" + bytes(60),
        b"\xff\xfb\x90\x44",
        b"\xff\xf1\x50\x80" * 200,
        b"\xff" * 500,
        b"\xff\xfb\x00\x44" + bytes(2_000) + (b"\xff\xfb\x90\x44" + bytes(413)) * 5,  # a free bit rate
    ],
)
def test_what_is_no_mp3_file_is_left_as_it_is(data: bytes) -> None:
    assert mp3.find_frames(io.BytesIO(data)) is None


@pytest.mark.parametrize(
    "header", ["fffbf044", "fffb0044", "fffb9c44", "ffea9044", "fffd9044", "fff19044", "00fb9044", "ff1b9044"]
)
def test_headers_that_are_none(header: str) -> None:
    assert mp3.parse_frame(bytes.fromhex(header)) is None


def test_a_header() -> None:
    # 128 kbit/s, 44.1 kHz, joint stereo: 144 * 128000 / 44100 = 417.96
    assert mp3.parse_frame(bytes.fromhex("fffb9044")) == mp3.Frame(417, 1_152, 44_100, 32)
    assert mp3.parse_frame(bytes.fromhex("fffb9244")) == mp3.Frame(418, 1_152, 44_100, 32)
    assert mp3.parse_frame(bytes.fromhex("ffe318c4")) == mp3.Frame(72, 576, 8_000, 9)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
    ],
)
def test_files_of_other_formats_have_no_frames(kind: str, subtype: str) -> None:
    """Of noise, many hold what looks like a frame and ends where the file ends."""
    for seed in range(40):
        noise = np.random.default_rng(seed).uniform(-1, 1, 3_000 + 160 * seed)
        memory = io.BytesIO()
        soundfile.write(memory, noise, 48_000, format=kind, subtype=subtype)
        assert mp3.find_frames(memory) is None
        assert inspect(memory) == Layout()


def test_the_length_of_an_id3_tag() -> None:
    header = bytes((3, 0, 0, 0, 0, 2, 1))
    assert audio.id3_size(b"ID3" + header) == 10 + (2 << 7 | 1)
    assert audio.id3_size(b"ID3" + bytes((4, 0, 0x10, 0, 0, 0, 5)) + bytes(9)) == 10 + 5 + 10, "a footer"
    assert audio.id3_size(b"ID3" + bytes((3, 0, 0x10, 0, 0, 0, 5))) == 15, "which ID3v2.3 has not"
    for none in (b"", b"ID3" + header[:-1], b"TAG" + header, b"ID3" + header[:-1] + b"\x80"):
        assert audio.id3_size(none) == 0
