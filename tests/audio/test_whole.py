"""A decoder that ends before the bytes do: all of a file is decoded, or what is left out is said."""

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

SR = 16_000
Tone = Callable[..., np.ndarray]
NOISE = np.random.default_rng(3)
HTML = (b"<html><body>404 Not Found</body></html>" * 60)[:2_048]
ID3V1 = b"TAG" + bytes(125)


def encode(wave: np.ndarray, sr: int, kind: str, **options: object) -> bytes:
    held = io.BytesIO()
    if kind == "OPUS":
        options = {"subtype": "OPUS", **options}
    soundfile.write(held, wave, sr, format="OGG" if kind == "OPUS" else kind, **options)
    return held.getvalue()


def id3v2(size: int) -> bytes:
    """A tag with a cover of random bytes, in which frame headers are found by chance."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + sizes + NOISE.bytes(size)


def put_in(data: bytes, between: bytes) -> bytes:
    return data[: len(data) // 2] + between + data[len(data) // 2 :]


def put_over(data: bytes, new: bytes) -> bytes:
    return data[: len(data) // 2] + new + data[len(data) // 2 + len(new) :]


def count_flac(data: bytes, count: int) -> bytes:
    return data[:21] + bytes([data[21] & 0xF0]) + count.to_bytes(4, "big") + data[26:]


def size_at(data: bytes, name: bytes, size: int, order: str) -> bytes:
    at = data.index(name) + 4
    return data[:at] + struct.pack(f"{order}I", size) + data[at + 4 :]


@pytest.fixture(scope="module")
def parts(tone: Tone, files: dict[str, Path]) -> dict[str, bytes]:
    """Six seconds in each format, and others that may stand behind them."""
    six, five, mono = tone(6.0), tone(5.0, seed=1), tone(5.0, 32_000, 1, seed=2)
    parts = {kind: encode(six, 44_100, kind) for kind in ("WAV", "FLAC", "AU", "AIFF", "OGG", "MP3")}
    parts |= {kind: encode(six, 44_100, kind) for kind in ("RF64", "CAF", "W64")}
    parts |= {suffix: files[suffix].read_bytes() for suffix in ("m4a", "aac", "wma", "mkv")}
    parts |= {f"{kind} of five": encode(five, 44_100, kind) for kind in ("WAV", "FLAC", "OGG", "MP3")}
    parts["MP3 at 32 kHz"] = encode(mono, 32_000, "MP3")
    parts["MP3 in mono"] = encode(six[:, :1], 44_100, "MP3")
    parts["Vorbis at 32 kHz"] = encode(mono, 32_000, "OGG")
    parts["OPUS"] = encode(tone(6.0, 48_000), 48_000, "OPUS")
    parts["OPUS of five"] = encode(tone(5.0, 48_000, 1, seed=1), 48_000, "OPUS")
    return parts


Make = Callable[[dict[str, bytes]], bytes]
ALL: dict[str, tuple[Make, float]] = {
    "MP3s of two rates": (lambda p: p["MP3"] + p["MP3 at 32 kHz"], 11.0),
    "MP3s of two rates, the lower first": (lambda p: p["MP3 at 32 kHz"] + p["MP3"], 11.0),
    "MP3s of one and two channels": (lambda p: p["MP3 in mono"] + p["MP3 of five"], 11.0),
    "three MP3s": (lambda p: p["MP3"] + p["MP3 at 32 kHz"] + p["MP3 of five"], 16.0),
    "MP3 with cover and tag, twice": (lambda p: 2 * (id3v2(300_000) + p["MP3"] + ID3V1), 12.05),
    "MP3 with random bytes at the end": (lambda p: p["MP3"] + NOISE.bytes(200), 6.0),
    "MP3 behind zeros": (lambda p: bytes(3_000) + p["MP3"], 6.0),
    "MP3 behind several tags": (lambda p: id3v2(300) + id3v2(5_000_000) + p["MP3"], 6.0),
    "Vorbis twice": (lambda p: 2 * p["OGG"], 12.0),
    "Vorbis and Vorbis": (lambda p: p["OGG"] + p["OGG of five"], 11.0),
    "Vorbis of two rates": (lambda p: p["OGG"] + p["Vorbis at 32 kHz"], 11.0),
    "Opus and Opus": (lambda p: p["OPUS"] + p["OPUS of five"], 11.0),
    "Opus and Vorbis": (lambda p: p["OPUS"] + p["OGG of five"], 11.0),
    "FLAC and FLAC": (lambda p: p["FLAC"] + p["FLAC of five"], 11.0),
    "FLAC twice": (lambda p: 2 * p["FLAC"], 12.0),
    "FLAC that counts one second": (lambda p: count_flac(p["FLAC"], 44_100), 6.0),
    "FLAC behind a tag": (lambda p: id3v2(3_000) + p["FLAC"], 6.0),
    "WAV and WAV": (lambda p: p["WAV"] + p["WAV of five"], 11.0),
    "WAV that counts one second": (lambda p: size_at(p["WAV"], b"data", 176_400, "<"), 6.0),
    "AU that counts one second": (lambda p: p["AU"][:8] + struct.pack(">I", 176_400) + p["AU"][12:], 6.0),
    "AIFF that counts one second": (lambda p: size_at(p["AIFF"], b"SSND", 176_408, ">"), 6.0),
    "AIFF twice": (lambda p: 2 * p["AIFF"], 12.0),
    "WAV whose size was not known, cut off": (
        lambda p: size_at(p["WAV"], b"data", 0x7FFFF000, "<")[: len(p["WAV"]) // 2],
        3.0,
    ),
}
LESS: dict[str, tuple[Make, float, str]] = {
    "MP3 with HTML in it": (lambda p: put_in(p["MP3"], HTML), 6.0, "bytes that are no sound are left out at"),
    "MP3 with zeros in it": (lambda p: put_over(p["MP3"], bytes(5_000)), 5.75, "bytes that are no sound"),
    "FLAC with a damaged frame": (lambda p: put_over(p["FLAC"], b"x" * 200), 6.0, "0.09 s do not decode"),
    "FLAC with two damaged frames": (
        lambda p: put_over(p["FLAC"][:-60_000] + b"x" * 9 + p["FLAC"][-59_991:], b"x" * 200),
        6.0,
        "silence stands in their place",
    ),
    "FLAC with HTML in it": (lambda p: put_in(p["FLAC"], HTML), 6.0, "silence stands in their place"),
    "Vorbis with HTML in it": (lambda p: put_in(p["OGG"], HTML), 5.7, "do not decode and are left out"),
    "Opus with a damaged page": (lambda p: put_over(p["OPUS"], b"x" * 99), 5.0, "1.00 s of it do not decode"),
    "WAV that was cut off": (lambda p: p["WAV"][: len(p["WAV"]) // 2], 3.0, "gives 1,058,400 bytes of sound"),
    "AIFF that was cut off": (lambda p: p["AIFF"][: len(p["AIFF"]) // 2], 3.0, "cut short: its header gives"),
    "AU that was cut off": (lambda p: p["AU"][: len(p["AU"]) // 2], 3.0, "cut short: its header gives"),
    "RF64 that was cut off": (lambda p: p["RF64"][: len(p["RF64"]) // 2], 3.0, "by its own account it has"),
    "CAF that was cut off": (lambda p: p["CAF"][: len(p["CAF"]) // 2], 3.0, "by its own account it has"),
    "Matroska that was cut off": (lambda p: p["mkv"][: len(p["mkv"]) // 2], 3.0, "by its own account it has"),
    "MP4 with noise behind it": (
        lambda p: p["m4a"] + b"\0" * 4 + NOISE.bytes(9_000),
        6.0,
        "bytes behind its end are no sound that is known",
    ),
    "Opus that was cut off": (lambda p: p["OPUS"][: len(p["OPUS"]) // 2], 3.0, "ends within a page"),
}


def agrees(data: bytes, tmp_path: Path) -> tuple[np.ndarray, list[str]]:
    """Return all of it and the notes, once the ways to read it have given the same."""
    path = tmp_path / "odd"
    path.write_bytes(data)
    notes: list[str] = []
    whole = audio.load(path, SR, notes=notes)
    for source in (data, io.BytesIO(data)):
        np.testing.assert_array_equal(audio.load(source, SR), whole)
    ignored: list[str] = []
    for start in np.linspace(0, len(whole) / SR - 1, 7):
        part = audio.excerpt(path, SR, float(start), 0.8, notes=ignored)
        np.testing.assert_allclose(part, whole[round(float(start) * SR) :][:12_800], atol=1e-6)
    length = 2 * SR
    found = audio.placed(path, SR, length, lambda n: audio.even_starts(n, length, 4), notes=ignored)
    assert found.samples == len(whole)
    for start, wave in zip(audio.even_starts(len(whole), length, 4), found.waves, strict=True):
        np.testing.assert_allclose(wave, whole[start : start + length], atol=1e-6)
    middle = audio.middle(path, SR, 2.0, notes=ignored)
    np.testing.assert_allclose(middle, whole[len(whole) // 2 - SR :][:length], atol=1e-6)
    assert set(notes) >= {note for note in ignored if "cut short" in note}
    return whole, notes


@pytest.mark.parametrize("name", ALL)
def test_all_of_it_is_decoded(name: str, parts: dict[str, bytes], tmp_path: Path) -> None:
    make, seconds = ALL[name]
    whole, notes = agrees(make(parts), tmp_path)
    assert len(whole) / SR == pytest.approx(seconds, abs=0.03)
    assert not notes
    for i in range(round(2 * seconds) - 1):  # nothing but the tones, which are never silent for so long
        assert np.abs(whole[i * SR // 2 :][: SR // 2]).max() > 0.02


KINDS = ("WAV", "FLAC", "AU", "AIFF", "OGG", "OPUS", "MP3", "RF64", "CAF", "W64", "m4a", "aac", "wma", "mkv")


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", [kind for kind in KINDS if kind != "aac"])
def test_files_of_all_formats_behind_one_another(first: str, second: str, parts: dict[str, bytes]) -> None:
    both, notes = parts[first] + parts[second], list[str]()
    whole = audio.load(both, SR, notes=notes)
    alone = [audio.load(parts[kind], SR) for kind in (first, second)]
    assert len(whole) / SR == pytest.approx(sum(map(len, alone)) / SR, abs=0.07)
    assert not notes
    power = [np.sqrt(np.mean(wave**2)) for wave in (whole[len(alone[0]) + 800 :], alone[1])]
    assert power[0] == pytest.approx(power[1], rel=0.05)  # it is no noise


@pytest.mark.parametrize("name", LESS)
def test_what_is_left_out_is_said(
    name: str, parts: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make, seconds, words = LESS[name]
    with caplog.at_level(logging.WARNING, "lightmel"):
        whole, notes = agrees(make(parts), tmp_path)
    assert len(whole) / SR == pytest.approx(seconds, abs=0.05)
    assert any(words in note for note in notes)
    assert len(notes) == len(set(notes))
    assert all(f"<{len(make(parts)):,} bytes>: {note}." in caplog.text for note in notes)
    assert "odd:" not in caplog.text  # with a list, nothing is said twice


@pytest.mark.parametrize(("suffix", "codec"), [("webm", "libopus"), ("mka", "flac")])
def test_what_ffmpeg_decodes_of_a_file_that_was_cut(
    suffix: str, codec: str, tone: Tone, write: Callable[..., Path], tmp_path: Path
) -> None:
    """FFmpeg ends without an error where the bytes do; the header tells how much there was."""
    sr = 48_000
    path = write(tmp_path / f"tone.{suffix}", tone(6.0, sr), sr, codec=codec)
    whole, notes = agrees(path.read_bytes(), tmp_path)
    assert len(whole) / SR == pytest.approx(6.0, abs=0.1)
    assert not notes
    half, notes = agrees(path.read_bytes()[: path.stat().st_size // 2], tmp_path)
    header = audio.info(path).seconds
    assert f"cut short: its header gives {header:.2f} s, {len(half) / SR:.2f} s decode" in notes


def test_the_place_of_a_packet_that_does_not_decode(
    tone: Tone, write: Callable[..., Path], tmp_path: Path
) -> None:
    """It is where its sound would be, and not where the block began that was being filled."""
    path = write(tmp_path / "tone.aac", tone(6.0))
    data = path.read_bytes()[: path.stat().st_size // 2]
    notes: list[str] = []
    there = len(audio.load(data, 44_100, notes=notes)) / 44_100
    assert notes == [f"left out: a packet does not decode at {there:.2f} s"]


def test_a_second_recording_is_what_it_is_alone(parts: dict[str, bytes]) -> None:
    for first, second in (("MP3", "MP3 at 32 kHz"), ("OGG", "Vorbis at 32 kHz"), ("OPUS", "OPUS of five")):
        both = audio.load(parts[first] + parts[second], 48_000)
        alone = audio.load(parts[second], 48_000)
        off = both[-len(alone) + 600 : -600] - alone[600:-600]
        assert np.abs(off).max() < 0.02 * np.abs(alone).max(), "but for a second resampling"


def test_a_damaged_frame_moves_nothing(parts: dict[str, bytes]) -> None:
    sound, notes = audio.load(parts["FLAC"], 44_100), list[str]()
    damaged = audio.load(put_over(parts["FLAC"], b"x" * 200), 44_100, notes=notes)
    differs = np.flatnonzero(damaged != sound)
    assert np.ptp(differs) < 4_096
    assert not damaged[differs].any()
    assert notes == [f"damaged at {differs[0] / 44_100:.2f} s: 0.09 s do not decode, and silence stands in "
                     "their place"]  # fmt: skip


def test_no_number_of_ours_is_quoted(parts: dict[str, bytes]) -> None:
    """A Xing header that counts one second of six, and the file ends after three."""
    data = bytearray(parts["MP3"])
    at = data.index(b"Xing" if b"Xing" in data[:200] else b"Info") + 8
    data[at : at + 4] = (38).to_bytes(4, "big")
    notes: list[str] = []
    assert len(audio.load(bytes(data[: len(data) // 2]), SR, notes=notes)) / SR == pytest.approx(3, abs=0.1)
    assert not notes


@pytest.mark.parametrize("size", [0, 2**31 - 1, 2**32 - 1])
def test_wav_files_of_unknown_size(size: int, parts: dict[str, bytes], tmp_path: Path) -> None:
    data = size_at(size_at(parts["WAV"], b"data", size, "<"), b"RIFF", size, "<")
    whole, notes = agrees(data, tmp_path)
    np.testing.assert_allclose(whole, audio.load(parts["WAV"], SR), atol=1e-6)
    assert not notes


def test_a_wav_file_with_other_things_behind_the_sound(parts: dict[str, bytes], tone: Tone) -> None:
    wanted = audio.load(parts["WAV"], SR)
    for behind in (b"LIST" + struct.pack("<I", 4_000) + bytes(4_000), ID3V1 * 20, bytes(5_000), b"x" * 900):
        np.testing.assert_array_equal(audio.load(parts["WAV"] + behind, SR), wanted)
    rf64 = encode(tone(6.0), 44_100, "RF64")
    np.testing.assert_array_equal(audio.load(rf64, SR), wanted)


def test_a_free_bit_rate(parts: dict[str, bytes]) -> None:
    """Frames of 320 kbit/s, but for their headers: those of a free bit rate have the same length."""
    data = encode(np.zeros((44_100 * 6, 2)), 44_100, "MP3", bitrate_mode="CONSTANT", compression_level=0.0)
    frames, at = [], 0
    while at + 4 <= len(data):
        length = 1_044 + (data[at + 2] >> 1 & 1)
        assert data[at + 2] >> 4 == 14
        padded = data[at : at + length].ljust(1_045, b"\0")
        frames.append(padded[:2] + bytes([padded[2] & 0x0D]) + padded[3:1_044])
        at += length
    notes: list[str] = []
    loaded = audio.load(b"".join(frames[1:]), SR, notes=notes)
    assert len(loaded) / SR == pytest.approx(6.0, abs=0.1)
    assert not notes


def test_the_files_that_were_refused(shared: Path) -> None:
    for name, samples in (
        ("music-free/lomiri_sounds/halo_pentatonic.opus", 175_638),
        ("music/odd/refused_by_libsndfile.opus", 480_163),
    ):
        notes: list[str] = []
        assert len(audio.load(shared / name, SR, notes=notes)) == samples
        assert not notes


def test_an_ogg_file_converted_to_opus(shared: Path, tmp_path: Path) -> None:
    """What `ffmpeg -i song.ogg song.opus` does, by its libraries; one page goes back as in FFmpeg 5.1."""
    import av

    from lightmel.audio import _ogg

    path = tmp_path / "song.opus"
    with (
        av.open(str(shared / "music" / "full" / "karissa_hobbs_lets_go_fishin.ogg")) as source,
        av.open(str(path), "w") as target,
    ):
        stream = target.add_stream("libopus", rate=48_000)
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=48_000, frame_size=960)
        for frame in source.decode(audio=0):
            if frame.time > 20:
                break
            for part in resampler.resample(frame):
                target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    whole, notes = agrees(path.read_bytes(), tmp_path)
    assert not notes
    data = bytearray(path.read_bytes())
    pages = [m for m in range(len(data) - 3) if data[m : m + 4] == b"OggS"][:9]
    begin, end = pages[7:9]
    data[begin + 6 : begin + 14] = (int.from_bytes(data[begin + 6 : begin + 14], "little") - 700).to_bytes(
        8, "little"
    )
    data[begin + 22 : begin + 26] = bytes(4)
    data[begin + 22 : begin + 26] = _ogg.checksum(bytes(data[begin:end])).to_bytes(4, "little")
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(data))
    again, notes = agrees(bytes(data), tmp_path)
    assert abs(len(again) - len(whole)) < 0.03 * SR
    assert not notes
