from __future__ import annotations

import gzip
import io
import math
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel._each import printable
from lightmel.audio import _decoders
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


@pytest.mark.parametrize("name", ["noise.mp3", "noise", "noise.opus", "noise.m4a", "noise.au", "noise.vox"])
@pytest.mark.parametrize("seed", range(4))
def test_bytes_that_are_no_sound(name: str, seed: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x00\x01" + np.random.default_rng(seed).bytes(20_000 << seed))
    refused(path, f"{name}: is no sound", "libsndfile")
    with pytest.raises(AudioError) as caught:
        audio.info(path)
    assert "exist" not in str(caught.value)
    refused(path.read_bytes(), "bytes>: is no sound", "libsndfile")


@pytest.mark.parametrize(
    "name", ["words.au", "words.snd", "words.vox", "words.gsm", "words.raw", "words.wav"]
)
@pytest.mark.parametrize("words", ["These are words.\n" * 300, ".snd is how such a file begins.\n" * 300])
def test_text_is_not_decoded_as_raw_sound(name: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(words)
    refused(path, f"{name}: holds text, not sound")


# Names


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("suffix", ["m4a", "wav", "mp3", "wma"])
@pytest.mark.parametrize(
    "name",
    [
        *("04.23:50.{}", "pipe:0", "pipe:", "http:x.{}", "http://x.{}", "file:x.{}", "concat:a|b.{}", "-"),
        *(
            "data:,x.{}",
            "fd:0",
            "crypto:x.{}",
            "subfile,,start,0,end,9,,:x.{}",
            "a\nb.{}",
            "a\tb.{}",
            "%03d.{}",
        ),
        "caf\udce9.{}",
    ],
)
def test_every_name_is_that_of_a_file(name: str, suffix: str, files: dict[str, Path], here: Path) -> None:
    wanted = audio.load(files[suffix], 16_000)
    path = Path(name.format(suffix))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(files[suffix].read_bytes())
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    np.testing.assert_array_equal(audio.load(str(path), 16_000), wanted)
    np.testing.assert_array_equal(audio.load(here / path, 16_000), wanted)
    assert audio.info(str(path)).path == printable(str(path))
    path.write_bytes(b"")
    refused(str(path), "is empty")  # on one line, whatever is in the name


def test_a_link_that_leads_nowhere_names_where_to(here: Path) -> None:
    link = here / "song.mp3"
    try:
        link.symlink_to("gone.mp3")
    except OSError:
        pytest.skip("no links here")
    refused(link, "song.mp3: is a link to gone.mp3, and there is no such file.")
    link.with_name("other.mp3").touch()
    with pytest.raises(AudioError) as caught:
        audio.load(link, 16_000)
    assert "Did you mean" not in str(caught.value)
    refused(link.with_name("son.mp3"), "son.mp3: no such file.")
    with pytest.raises(AudioError) as caught:
        audio.load(link.with_name("son.mp3"), 16_000)
    assert "song.mp3" not in str(caught.value), "it leads nowhere either"


@pytest.mark.parametrize("suffix", ["mp3", "m4a"])
def test_a_file_that_vanishes_is_missed_and_no_package(
    suffix: str, files: dict[str, Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = here / f"song.{suffix}"
    real = _decoders._inspected

    def vanishing(*given: Any) -> Any:
        layout = real(*given)
        path.unlink()
        return layout

    monkeypatch.setattr(_decoders, "_inspected", vanishing)
    path.write_bytes(files[suffix].read_bytes())
    with pytest.raises(AudioError, match=rf"song\.{suffix}: no such file") as caught:
        audio.load(path, 16_000)
    assert "pip" not in str(caught.value)


# What a file may not make FFmpeg open

PLAYLISTS = {
    "concat": b"ffconcat version 1.0\nfile '%s'\n",
    "hls": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:6,\n%s\n#EXT-X-ENDLIST\n",
    "hls over http": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:6,\nhttp://127.0.0.1:9%s\n#EXT-X-ENDLIST\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=%s\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 49170 RTP/AVP 0\n",
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    b'<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>%s</BaseURL>'
    b"</Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_no_file_leads_to_another(kind: str, files: dict[str, Path], here: Path) -> None:
    """What follows is no text, so that FFmpeg is asked."""
    data = PLAYLISTS[kind] % os.fsencode(files["wav"]) + b"\n#\xff\xfe"
    path = here / "list.m4a"
    path.write_bytes(data)
    refused(path, "list.m4a: is no sound that can be read", "FFmpeg")
    refused(data, "is no sound that can be read", "FFmpeg")


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
    refused(files["m4a"], "tone.m4a: takes FFmpeg, which is not installed", "pip install av")


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


class Odd:
    """A file object of somebody's own: what it does with the bytes of a file is up to `how`."""

    def __init__(self, data: bytes, how: str, after: int = 0) -> None:
        self.file, self.how, self.left = io.BytesIO(data), how, after

    def read(self, size: int = -1) -> Any:
        self.left -= 1
        if self.left < 0 and self.how in ("raises", "has nothing", "is interrupted"):
            if self.how == "has nothing":
                return None
            raise KeyboardInterrupt if self.how == "is interrupted" else RuntimeError("the tape broke")
        return self.file.read(min(size, 700) if self.how == "gives little" and size > 0 else size)

    def seek(self, place: int, whence: int = 0) -> int | None:
        at = self.file.seek(place, whence)
        return None if self.how == "does not say where" else at

    def tell(self) -> int:
        return self.file.tell()


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "m4a"])
@pytest.mark.parametrize("how", ["gives little", "does not say where"])
def test_file_objects_that_do_less_than_a_file(how: str, suffix: str, files: dict[str, Path]) -> None:
    data = files[suffix].read_bytes()
    np.testing.assert_array_equal(audio.load(Odd(data, how), 16_000), audio.load(data, 16_000))


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "m4a"])
@pytest.mark.parametrize("after", [2, 6, 9, 12])
def test_what_a_file_object_raises_is_raised_wherever_it_is_read(
    after: int, suffix: str, files: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """C reads it too, prints what is raised, and takes it for the end."""
    data = files[suffix].read_bytes()
    reads = Odd(data, "counts")
    audio.load(reads, 16_000)
    if -reads.left <= after:
        pytest.skip("it is read less often")
    with pytest.raises(AudioError, match=r"^<Odd>: cannot be read \(RuntimeError: the tape broke\)"):
        audio.load(Odd(data, "raises", after), 16_000)
    with pytest.raises(AudioError, match=r"^<Odd>: cannot be read \(it has nothing to read"):
        audio.load(Odd(data, "has nothing", after), 16_000)
    with pytest.raises(KeyboardInterrupt):
        audio.load(Odd(data, "is interrupted", after), 16_000)
    assert "Traceback" not in capfd.readouterr().err


def test_compressed_and_mapped_files(files: dict[str, Path], tmp_path: Path) -> None:
    data = files["mp3"].read_bytes()
    whole = audio.load(data, 16_000)
    packed = tmp_path / "tone.mp3.gz"
    packed.write_bytes(gzip.compress(data))
    with gzip.open(packed) as file:
        np.testing.assert_array_equal(audio.load(file, 16_000), whole)
    packed.write_bytes(gzip.compress(data)[:-900])
    with gzip.open(packed) as file, pytest.raises(AudioError, match=r"cannot be read \(EOFError"):
        audio.load(file, 16_000)
    with files["mp3"].open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        np.testing.assert_array_equal(audio.load(mapped, 16_000), whole)
        np.testing.assert_array_equal(audio.load(memoryview(bytes(mapped)[::-1])[::-1], 16_000), whole)


def test_bytes_that_are_a_name(files: dict[str, Path]) -> None:
    refused(os.fsencode(files["mp3"]), "these bytes are the name of a file", "os.fsdecode")


def test_a_file_without_its_end_says_that_it_is_cut(files: dict[str, Path], tmp_path: Path) -> None:
    """The index of an M4A stands at its end; without it nothing of the sound can be found."""
    data = files["m4a"].read_bytes()
    path = tmp_path / "cut.m4a"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        AudioError,
        match=r"no sound that can be read .* It is cut short: .* has [\d,]+ bytes.* Fetch it again",
    ):
        audio.info(path)
