from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel.errors import AudioError, LightmelError

Tone = Callable[..., np.ndarray]
Write = Callable[..., Path]


def refused(path: Any, *words: str, kind: type[LightmelError] = AudioError) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: audio.load(path, 16_000),
        lambda: next(audio.stream(path, 16_000)),
        lambda: audio.excerpt(path, 16_000, 0, 1),
        lambda: audio.middle(path, 16_000, 1),
    ]
    for call in calls:
        with pytest.raises(kind) as caught:
            call()
        for word in words:
            assert word in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_files(files: dict[str, Path]) -> None:
    refused(files["mp3"].parent / "tome.mp3", "tome.mp3: no such file", "Did you mean 'tone.mp3'?")
    refused("nowhere/at/all.mp3", "no such file, nor a folder nowhere/at")
    refused(files["mp3"] / "below.mp3", "no such file")
    with pytest.raises(AudioError, match="no such file"):
        audio.stream("nowhere.mp3", 16_000)  # at the call, not with the first block
    with pytest.raises(AudioError, match="no such file"):
        audio.info("nowhere.mp3")


def test_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    empty = tmp_path / "empty.mp3"
    empty.touch()
    refused(empty, "empty.mp3: is empty (0 bytes)")
    refused(io.BytesIO(), "is empty")
    refused("a\0b.mp3", "cannot be opened")
    refused("x" * 5_000 + ".mp3", "cannot be opened")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "is no regular file")


def test_a_file_that_may_not_be_read(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)  # chmod does not stop root, who runs many a CI
    refused(files["mp3"], "tone.mp3: may not be read by this user")


@pytest.mark.parametrize("name", ["song.mp3", "song.wav", "song.m4a", "song.raw", "song"])
def test_text_under_another_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(
        "#EXTM3U\nhttp://example.org/song.mp3\n" + "Grüße, これは音ではない。\n" * 200, encoding="utf-8"
    )
    refused(path, f"{name}: holds text, not sound")


@pytest.mark.parametrize("name", ["noise.mp3", "noise", "noise.opus"])
def test_bytes_that_are_no_sound(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x00\x01" + np.random.default_rng(1).bytes(20_000).replace(b"\xff", b"\x00"))
    refused(path, f"{name}: is no sound that can be read", "libsndfile", "FFmpeg")


def test_a_picture_has_no_sound(tmp_path: Path) -> None:
    import av

    path = tmp_path / "cover.png"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = "rgb24"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    refused(path, "holds no sound")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "ogg"])
def test_no_samples(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"none.{suffix}"
    soundfile.write(path, np.zeros((0, 2)), 44_100)
    refused(path, f"none.{suffix}: ")


def test_one_sample(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "one.wav", np.ones((1, 1), np.float32))
    with pytest.raises(AudioError, match="1 sample at 44100 Hz: too short for a single one at 16000 Hz"):
        audio.load(path, 16_000)
    assert audio.load(path, 44_100).shape == (1,)
    assert audio.load(write(tmp_path / "two.wav", np.ones((2, 1), np.float32)), 44_100).shape == (2,)
    assert audio.load(write(tmp_path / "low.wav", np.ones((1, 1), np.float32), 8_000), 16_000).shape == (2,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(bad: float, tmp_path: Path, tone: Tone, write: Write) -> None:
    wave = tone(3.0, 16_000)
    wave[40_000:40_010, 1] = bad
    path = write(tmp_path / "bad.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"bad\.wav: NaN or infinite samples from 2\.500 s on"):
        audio.load(path, 12_000)
    with pytest.raises(AudioError, match=r"from 2\.500 s on"):
        audio.excerpt(path, 12_000, 2.4, 0.3)
    assert np.isfinite(audio.excerpt(path, 12_000, 0, 1)).all()
    huge = write(tmp_path / "huge.wav", np.full((100, 2), 1e30, np.float32), 16_000, subtype="FLOAT")
    assert np.isfinite(audio.load(huge, 16_000)).all()


def test_pyav_is_imported_for_what_libsndfile_refuses_only(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(audio.load(files["mp3"], 16_000)) == 96_000
    text = tmp_path / "text.mp3"
    text.write_text("no sound")
    refused(text, "holds text")
    refused(tmp_path / "nothing.m4a", "no such file")
    with pytest.raises(ImportError):
        audio.load(files["m4a"], 16_000)


def test_objects_that_are_no_files(files: dict[str, Path]) -> None:
    refused(np.zeros(16_000), "A ndarray is no file", "audio.from_array")
    refused(None, "A NoneType is no file")
    refused(io.StringIO("text"), "gives text")
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        refused(pipe, "cannot seek")
    closed = io.BytesIO(b"x")
    closed.close()
    refused(closed, "cannot be read")


@pytest.mark.parametrize("sr", [0, -16_000, 16, 1e9, 16_000.5, math.nan, None, "16k", True, 500_000])
def test_rates_that_make_no_sense(sr: Any, files: dict[str, Path]) -> None:
    calls = [
        lambda: audio.load(files["wav"], sr),
        lambda: audio.stream(files["wav"], sr),
        lambda: audio.excerpt(files["wav"], sr, 0, 1),
        lambda: audio.from_array(np.zeros(100), 44_100, sr),
    ]
    for call in calls:
        with pytest.raises(AudioError, match=r"no rate in Hz between 2000 and 192000"):
            call()
    assert len(audio.load(files["wav"], np.int64(16_000))) == len(audio.load(files["wav"], 16_000.0))


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "x", None, 1e-9])
def test_times_that_make_no_sense(value: Any, files: dict[str, Path]) -> None:
    with pytest.raises(AudioError, match="block_seconds="):
        audio.stream(files["wav"], 16_000, value)
    with pytest.raises(AudioError, match="seconds="):
        audio.excerpt(files["wav"], 16_000, 0, value)
    if value not in (0, 1e-9):
        with pytest.raises(AudioError, match="start="):
            audio.excerpt(files["wav"], 16_000, value, 1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_an_excerpt_beyond_the_end(suffix: str, files: dict[str, Path]) -> None:
    for start in (6.5, 60, 1e6):
        with pytest.raises(AudioError, match=rf"tone\.{suffix}: nothing at .* s: it ends"):
            audio.excerpt(files[suffix], 16_000, start, 1)
    assert 0 < len(audio.excerpt(files[suffix], 16_000, 5.5, 10)) < 10_000
