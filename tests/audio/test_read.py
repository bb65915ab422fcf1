from __future__ import annotations

import io
import logging
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightmel import audio

Tone = Callable[..., np.ndarray]
SNDFILE = ["wav", "flac", "ogg", "opus", "mp3", "aiff"]
FFMPEG = ["m4a", "aac", "wma", "mp4", "mkv"]
Write = Callable[..., Path]


def ffmpeg_mono(path: Path) -> tuple[np.ndarray, int]:
    """Decode with FFmpeg and average in float64: an independent reading."""
    import av

    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    blocks = [frame.to_ndarray() for frame in frames]
    channels = len(frames[0].layout.channels)
    if not frames[0].format.is_planar:
        blocks = [block.reshape(-1, channels).T for block in blocks]
    wave = np.concatenate(blocks, axis=1)
    scale = 1 if wave.dtype.kind == "f" else 2.0 ** (8 * wave.dtype.itemsize - 1)
    return wave.astype(np.float64).mean(axis=0) / scale, frames[0].sample_rate


# What is read


@pytest.mark.parametrize("suffix", SNDFILE + FFMPEG)
def test_every_format_gives_the_mean_of_its_channels(suffix: str, files: dict[str, Path]) -> None:
    expected, sr = ffmpeg_mono(files[suffix])
    info = audio.info(files[suffix])
    assert (info.sr, info.channels) == (sr, 2)
    assert info.decoder == ("libsndfile" if suffix in SNDFILE else "ffmpeg")
    assert info.seconds == pytest.approx(6.0, abs=0.5)
    loaded = audio.load(files[suffix], sr)
    assert loaded.dtype == np.float32
    assert loaded.shape == expected.shape
    # Opus decoders may dither by the last bit of 16; all others agree to float32 rounding.
    np.testing.assert_allclose(loaded, expected, atol=2e-4 if suffix == "opus" else 2e-6)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_a_lossless_file_resamples_as_soxr_does(suffix: str, files: dict[str, Path], tone: Tone) -> None:
    wave, sr = soundfile.read(files[suffix], dtype="float32")
    expected = soxr.resample((wave[:, 0] + wave[:, 1]) * np.float32(0.5), sr, 16_000, "HQ")
    np.testing.assert_array_equal(audio.load(files[suffix], 16_000), expected)
    assert np.abs(wave - tone(6.0)).max() < 1e-4


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a"])
def test_level_of_equal_channels_is_kept(suffix: str, tmp_path: Path, tone: Tone, write: Write) -> None:
    one = tone(2.0, channels=1)
    single, double = (write(tmp_path / f"{n}.{suffix}", np.repeat(one, n, axis=1)) for n in (1, 2))
    levels = [float(np.sqrt(np.mean(audio.load(path, 44_100) ** 2))) for path in (single, double)]
    assert levels[1] == pytest.approx(levels[0], rel=0.02)
    assert levels[0] == pytest.approx(float(np.sqrt(np.mean(one**2))), rel=0.05)


@pytest.mark.parametrize(("sr", "channels"), [(4_000, 1), (192_000, 2), (44_100, 8), (44_100, 3), (8_000, 6)])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_odd_rates_and_many_channels(
    sr: int, channels: int, suffix: str, tmp_path: Path, tone: Tone, write: Write
) -> None:
    wave = tone(1.0, sr, channels)
    path = write(tmp_path / f"odd.{suffix}", wave, sr, subtype="PCM_24")
    loaded = audio.load(path, 16_000)
    assert loaded.shape == (16_000,)
    expected = soxr.resample(wave.astype(np.float64).mean(axis=1), sr, 16_000, "HQ")
    np.testing.assert_allclose(loaded, expected, atol=1e-5)


def test_the_opus_file_that_libsndfile_refuses(shared: Path) -> None:
    path = shared / "music" / "odd" / "refused_by_libsndfile.opus"
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(path)
    assert audio.info(path).decoder == "ffmpeg"
    expected, sr = ffmpeg_mono(path)
    np.testing.assert_allclose(audio.load(path, sr), expected, atol=1e-6)
    assert len(audio.load(path, 16_000)) == round(len(expected) * 16_000 / sr)


def test_file_objects_are_read_from_their_first_byte(files: dict[str, Path]) -> None:
    for suffix in ("wav", "mp3", "m4a"):
        memory = io.BytesIO(files[suffix].read_bytes())
        memory.seek(100)
        np.testing.assert_array_equal(audio.load(memory, 16_000), audio.load(files[suffix], 16_000))
        assert not memory.closed
    with files["wav"].open("rb") as handle:
        np.testing.assert_array_equal(audio.load(handle, 16_000), audio.load(str(files["wav"]), 16_000))


def test_a_name_that_is_no_unicode(tmp_path: Path, tone: Tone, write: Write) -> None:
    source = write(tmp_path / "plain.wav", tone(0.5))
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    try:
        source.rename(path)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert len(audio.load(path, 16_000)) == 8_000
    assert audio.info(path).path.encode("ascii")  # printable on any terminal


def test_frames_of_more_channels_than_pyav_can_count() -> None:
    """It reads pointers behind the last of more than eight, which ends the process for some damaged AAC."""
    import av

    from lightmel.audio import _ffmpeg

    wave = np.random.default_rng(0).uniform(-1, 1, (1, 16 * 1_024)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="flt", layout="hexadecagonal")
    frame.sample_rate = 16_000
    (planar,) = av.AudioResampler("fltp", "hexadecagonal", 16_000).resample(frame)
    assert planar.format.is_planar
    (readable,) = _ffmpeg._with_readable_planes(planar)
    np.testing.assert_array_equal(_ffmpeg._planar(readable), wave.reshape(-1, 16).T)


# One path: blocks, whole, parts


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["wav", "flac", "ogg", "mp3", "m4a"]),
    sr=st.sampled_from([8_000, 12_000, 16_000, 44_100]),
    block_seconds=st.floats(0.002, 8.0),
)
def test_load_is_the_blocks_of_any_size(
    suffix: str, sr: int, block_seconds: float, files: dict[str, Path]
) -> None:
    blocks = list(audio.stream(files[suffix], sr, block_seconds))
    size = round(block_seconds * sr)
    assert {len(block) for block in blocks[:-1]} <= {size}
    assert 0 < len(blocks[-1]) <= size
    np.testing.assert_array_equal(np.concatenate(blocks), audio.load(files[suffix], sr))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(SNDFILE + FFMPEG),
    sr=st.sampled_from([12_000, 16_000, 22_050, 44_100, 48_000]),
    start=st.floats(0, 5.9),
    seconds=st.floats(0.01, 3.0),
)
def test_an_excerpt_is_a_slice_of_the_whole(
    suffix: str, sr: int, start: float, seconds: float, files: dict[str, Path]
) -> None:
    whole = audio.load(files[suffix], sr)
    expected = whole[round(start * sr) :][: round(seconds * sr)]
    np.testing.assert_allclose(audio.excerpt(files[suffix], sr, start, seconds), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("sr", "channels", "mode"),
    [(22_050, 2, "CONSTANT"), (8_000, 1, "CONSTANT"), (44_100, 2, "VARIABLE"), (32_000, 1, "CONSTANT")],
)
def test_mp3_of_the_lowest_bit_rate(
    sr: int, channels: int, mode: str, tmp_path: Path, tone: Tone, write: Write
) -> None:
    """The bit reservoir reaches back dozens of frames: blocks and excerpts must not cut it off."""
    wave = tone(15.0, sr, channels)
    path = write(tmp_path / "low.mp3", wave, sr, bitrate_mode=mode, compression_level=0.99)
    whole = audio.load(path, sr)
    expected, _ = ffmpeg_mono(path)
    lag = len(expected) - len(whole)
    assert lag in (0, 529)  # the decoder's delay, where the file does not hold it
    np.testing.assert_allclose(whole, expected[lag:], atol=2e-6)
    for start in (0.3, 4.999, 8.0, 11.3):
        part = audio.excerpt(path, sr, start, 2.0)
        np.testing.assert_allclose(part, whole[round(start * sr) :][: 2 * sr], atol=1e-6)


def test_memory_does_not_grow_with_the_file(tmp_path: Path, tone: Tone) -> None:
    second = tone(10.0)
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / "long.wav"
        with soundfile.SoundFile(path, "w", 44_100, 2) as file:
            for _ in range(6 * minutes):
                file.write(second)
        tracemalloc.start()
        samples = sum(len(block) for block in audio.stream(path, 16_000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert samples == minutes * 60 * 16_000
    assert peaks[1] < 8e6
    assert peaks[1] < 1.2 * peaks[0]


def test_threads_read_what_one_reads(files: dict[str, Path]) -> None:
    names = ["mp3", "flac", "opus", "m4a"]
    alone = [audio.load(files[name], 16_000) for name in names]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: audio.load(files[name], 16_000), names * 4))
    for wave, expected in zip(together, alone * 4, strict=True):
        np.testing.assert_array_equal(wave, expected)


def test_the_room_needs_neither_torch_nor_pyav() -> None:
    code = "import sys, lightmel.audio; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Corrupt files, and headers that are wrong


def test_a_truncated_mp3_gives_what_decodes(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cut.mp3"
    path.write_bytes(files["mp3"].read_bytes()[: files["mp3"].stat().st_size // 2])
    with caplog.at_level(logging.WARNING, "lightmel"):
        loaded = audio.load(path, 16_000)
    assert "cut.mp3: cut short: its header gives 6.00 s" in caplog.text
    whole = audio.load(files["mp3"], 16_000)
    assert 2.5 < len(loaded) / 16_000 < 3.5
    np.testing.assert_allclose(loaded[:-200], whole[: len(loaded) - 200], atol=1e-6)


def test_a_corrupt_packet_is_left_out(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(files["mp4"].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2_000] = b"\xff" * 2_000
    path = tmp_path / "corrupt.mp4"
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "lightmel"):
        loaded = audio.load(path, 16_000)
    assert "packets do not decode" in caplog.text
    assert 4.0 < len(loaded) / 16_000 <= 6.1


def flac_with_count(path: Path, count: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = count.to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("count", [0, 44_100 * 60])
def test_a_flac_file_with_no_or_too_great_a_length(
    count: int, files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "wrong.flac"
    path.write_bytes(flac_with_count(files["flac"], count))
    seconds = audio.info(path).seconds
    assert math.isnan(seconds) if count == 0 else seconds == 60
    whole = audio.load(files["flac"], 16_000)
    np.testing.assert_array_equal(audio.load(path, 16_000), whole)
    np.testing.assert_allclose(audio.excerpt(path, 16_000, 4, 9), whole[64_000:], atol=1e-6)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_file_whose_recorder_never_wrote_its_length(
    size: int, files: dict[str, Path], tmp_path: Path
) -> None:
    data = bytearray(files["wav"].read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = size.to_bytes(4, "little")
    path = tmp_path / "piped.wav"
    path.write_bytes(data)
    np.testing.assert_allclose(audio.load(path, 16_000), audio.load(files["wav"], 16_000), atol=1e-6)
