"""Sources: a path, a file's bytes, an open file are the same sound, and no more of it is read than needed."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import lightmel
from lightmel import audio
from lightmel.errors import AudioError, ConfigError, ShapeError
from lightmel.inference import Tagger

SR = 16_000
ScoresOf = Callable[..., np.ndarray]
Sound = Callable[..., np.ndarray]
Wav = Callable[..., Path]


# Ways to give a file


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "m4a"])
def test_a_file_is_the_same_sound_however_it_is_given(
    suffix: str, model: Tagger, files: dict[str, Path]
) -> None:
    path = files[suffix]
    data = path.read_bytes()
    for segments in ("all", "center", 5):
        wanted = model.tag(path, segments=segments)
        with path.open("rb") as file:
            sources = (str(path), data, bytearray(data), memoryview(data), file, io.BytesIO(data))
            for source in sources:
                assert model.tag(source, segments=segments) == wanted
                assert lightmel.tag(source, model=model, segments=segments) == wanted
            assert not file.closed
    taggram, embedding = model.taggram(path), model.embed(path)
    for source in (data, io.BytesIO(data)):
        assert np.array_equal(model.taggram(source).scores, taggram.scores)
        assert np.array_equal(model.embed(source), embedding)


def test_an_open_file_is_read_from_its_first_byte_and_again(model: Tagger, files: dict[str, Path]) -> None:
    wanted = model.tag(files["wav"])
    with files["wav"].open("rb") as file:
        file.seek(1_000)
        assert model.tag(file) == wanted
        assert model.tag(file) == wanted
        assert not file.closed


def test_many_files_may_be_given_in_any_way(model: Tagger, files: dict[str, Path]) -> None:
    data = files["flac"].read_bytes()
    wanted = model.tag(files["flac"])
    found = list(model.tag_many([files["flac"], data, io.BytesIO(data), memoryview(data)]))
    assert found == [wanted] * 4
    for one in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        with pytest.raises(ConfigError, match="tag_many takes several sources, not one file: tag"):
            model.tag_many(one)  # type: ignore[arg-type]


def test_a_rate_beside_a_file_is_refused(model: Tagger, files: dict[str, Path]) -> None:
    path = files["wav"]
    data = path.read_bytes()
    with path.open("rb") as file:
        for source, label in (
            (path, str(path)),
            (str(path), str(path)),
            (data, "A file's bytes"),
            (bytearray(data), "A file's bytes"),
            (memoryview(data), "A file's bytes"),
            (file, "An open file"),
            (io.BytesIO(data), "An open file"),
        ):
            for call in (model.tag, model.taggram, model.embed):
                with pytest.raises(ConfigError) as refused:
                    call(source, 44_100)
                said = f"{label} knows its own sample rate: sr is for arrays only."
                assert (
                    str(refused.value).removesuffix(
                        " Raw samples become one by numpy.frombuffer, which is told their type."
                    )
                    == said
                )
                assert (label == "A file's bytes") <= ("frombuffer" in str(refused.value))


# What is no sound


class Pipe(io.BytesIO):
    """A stream that cannot go back, as what another program writes."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation("seek")


class OnlyRead:
    """An object that reads and does no more."""

    def read(self, size: int = -1) -> bytes:
        return b""


CLOSED = io.BytesIO(b"RIFF")
CLOSED.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "<0 bytes>: there is nothing in it"),
        (bytearray(), "<0 bytes>: there is nothing in it"),
        (memoryview(b""), "<0 bytes>: there is nothing in it"),
        (io.BytesIO(), "<BytesIO>: is empty"),
        (b"These are words. " * 200, "<3,400 bytes>: holds text, not sound"),
        (b"\x00\x01\xfe" * 999, "<2,997 bytes>: is no sound that can be read"),
        (io.StringIO("words"), "<StringIO>: gives text: open it with mode 'rb'"),
        (Pipe(b"RIFF" * 99), "<Pipe>: cannot seek: read it into io.BytesIO first"),
        (OnlyRead(), "A OnlyRead is no file: give a path, the bytes of a file or a binary file object"),
        (CLOSED, r"<BytesIO>: cannot be read \(I/O operation on closed file"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_holds_no_sound_is_refused_with_the_reason(model: Tagger, source: Any, message: str) -> None:
    for call in (model.tag, model.taggram, model.embed):
        with pytest.raises(AudioError, match=message):
            call(source)


@pytest.mark.parametrize("sr", [None, SR])
@pytest.mark.parametrize("source", [["a.mp3", "b.mp3"], (Path("a.mp3"),)])
def test_several_sources_are_told_where_to_go(model: Tagger, source: Any, sr: int | None) -> None:
    with pytest.raises(ShapeError, match="several sources: give one"):
        model.tag(source, sr)


@pytest.mark.parametrize("source", [None, 5, {"a": 1}, object()])
def test_what_is_no_source_is_told_what_is(model: Tagger, source: Any) -> None:
    with pytest.raises(ShapeError, match=rf"A {type(source).__name__} is no sound: give a path"):
        model.tag(source)


def test_a_file_opened_as_text_says_how_to_open_it(model: Tagger, tmp_path: Path) -> None:
    (tmp_path / "words.wav").write_text("words")
    with (tmp_path / "words.wav").open() as file, pytest.raises(AudioError, match="open it with mode 'rb'"):
        model.tag(file)  # type: ignore[arg-type]


# No more than needed


class Counting(io.BytesIO):
    """Counts the bytes that are read from it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        size = super().readinto(buffer)
        self.count += size
        return size


def _encoded(wave: np.ndarray, sr: int, format: str) -> bytes:  # noqa: A002 - as in soundfile
    held = io.BytesIO()
    soundfile.write(held, wave, sr, format=format)
    return held.getvalue()


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
@pytest.mark.parametrize("segments", ["center", 1, 4])
def test_a_part_is_read_and_not_the_whole(model: Tagger, sound: Sound, segments: Any, format: str) -> None:  # noqa: A002
    """A segment of half a second, or four of them, of two minutes; and each time 64 KB of the head."""
    data = _encoded(sound(120), SR, format)
    whole, part = Counting(data), Counting(data)
    tagging = model.tag(part, segments=segments)
    assert tagging.seconds == model.tag(whole).seconds == 120
    assert whole.count >= len(data) - 100
    assert part.count < 0.3 * len(data)


def test_a_part_of_an_array_is_that_part(model: Tagger, sound: Sound, scores_of: ScoresOf) -> None:
    wave, length = sound(7.3), model.segment_samples
    for segments, starts in _starts(len(wave), length).items():
        wanted = np.mean([scores_of(model.tag(wave[s : s + length], SR), model.tags) for s in starts], axis=0)
        found = model.tag(wave, SR, segments=segments)
        assert scores_of(found, model.tags) == pytest.approx(wanted, abs=1e-6)
        assert found.seconds == len(wave) / SR


def _starts(samples: int, length: int) -> dict[Any, list[int]]:
    """Where segments begin: in the middle, and evenly from the start as Won et al. (2020) have them."""
    even = {n: [i * ((samples - length) // n) for i in range(n)] for n in (1, 3, 16)}
    return {"center": [samples // 2 - length // 2], **even}


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_a_part_of_a_file_is_that_slice_of_the_whole(
    model: Tagger, files: dict[str, Path], scores_of: ScoresOf, suffix: str
) -> None:
    """At the places of the length that decodes, whatever FFmpeg's header gives."""
    path, length = files[suffix], model.segment_samples
    whole, info = audio.load(path, SR), audio.info(path)
    samples = len(whole)
    assert (round(info.seconds * SR) == samples) == (info.decoder == "libsndfile")
    for segments, starts in _starts(samples, length).items():
        wanted = np.mean(
            [scores_of(model.tag(whole[s : s + length], SR), model.tags) for s in starts], axis=0
        )
        found = model.tag(path, segments=segments)
        assert scores_of(found, model.tags) == pytest.approx(wanted, abs=1e-4)
        assert found.seconds == samples / SR
        assert not found.padded


# What is left out


@pytest.mark.parametrize("segments", ["all", "center", 3])
def test_what_is_left_out_is_in_the_notes(
    model: Tagger, files: dict[str, Path], caplog: pytest.LogCaptureFixture, segments: Any
) -> None:
    data = files["mp3"].read_bytes()
    page = b"<html>404 Not Found</html>" * 80
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = model.tag(data[: len(data) // 2] + page + data[len(data) // 2 :], segments=segments)
    (note,) = (n for n in found.notes if "left out" in n)
    assert note.startswith("2,080 bytes that are no sound are left out at 3.")
    assert note in found.to_dict()["notes"]
    assert not caplog.text
    assert not any("left out" in n for n in model.tag(data, segments=segments).notes)


def test_what_gives_no_notes_logs_what_is_left_out(
    model: Tagger, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    data = files["mp3"].read_bytes()
    torn = data[: len(data) // 2] + b"<html>404 Not Found</html>" * 80 + data[len(data) // 2 :]
    for call in (model.taggram, model.embed, model.embed_segments):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "lightmel"):
            call(torn)
        assert "bytes that are no sound are left out" in caplog.text


# Headers that lie


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
@pytest.mark.parametrize("segments", ["center", 3, 16])
def test_a_header_that_promises_more_than_there_is_is_not_believed(
    model: Tagger,
    sound: Sound,
    scores_of: ScoresOf,
    tmp_path: Path,
    segments: Any,
    format: str,  # noqa: A002
) -> None:
    """Of twenty seconds a third is there: what was asked for is placed in that."""
    data = _encoded(sound(20), SR, format)
    path = tmp_path / f"cut.{format.lower()}"
    path.write_bytes(data[: len(data) // 3])
    there, length = audio.load(path, SR), model.segment_samples
    assert 5 < len(there) / SR < 8
    starts = _starts(len(there), length)[segments]
    wanted = np.mean([scores_of(model.tag(there[s : s + length], SR), model.tags) for s in starts], axis=0)
    for source in (path, path.read_bytes()):
        found = model.tag(source, segments=segments)
        assert scores_of(found, model.tags) == pytest.approx(wanted, abs=1e-6)
        assert found.seconds == len(there) / SR
        assert not found.padded


@pytest.mark.parametrize("segments", ["center", 16])
def test_a_file_cut_to_less_than_a_segment_is_padded(
    model: Tagger, sound: Sound, tmp_path: Path, segments: Any
) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(_encoded(sound(20), SR, "WAV")[:8_044])
    found = model.tag(path, segments=segments)
    assert found.padded
    assert found == model.tag(path)
    assert found.seconds == audio.load(path, SR).size / SR == 0.25


def test_a_header_is_not_believed_where_the_end_is_missing_behind_what_was_asked_for(
    model: Tagger, sound: Sound, scores_of: ScoresOf, tmp_path: Path
) -> None:
    wave, length = sound(20), model.segment_samples
    data = _encoded(wave, SR, "FLAC")
    path = tmp_path / "cut.flac"
    path.write_bytes(data[: len(data) * 3 // 4])
    there = audio.load(path, SR)
    assert 14 < len(there) / SR < 16
    starts = _starts(len(there), length)
    for segments in ("center", 1):
        found = model.tag(path, segments=segments)
        (start,) = starts[segments]
        wanted = scores_of(model.tag(there[start : start + length], SR), model.tags)
        assert scores_of(found, model.tags) == pytest.approx(wanted, abs=1e-6)
        assert found.seconds == len(there) / SR
