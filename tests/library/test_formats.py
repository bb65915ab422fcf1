"""Every format: the fields that players read are written, and nothing else becomes another."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
from mutagen import id3

from lightmel import audio
from lightmel.library import WriteConfig, undo, write_tags

Song = Callable[..., Path]
Record = Callable[..., dict[str, Any]]
Fields = Callable[[Path], dict[str, str]]

ID3, VORBIS = ["mp3", "tta", "wav", "aiff", "dsf"], ["flac", "ogg", "opus"]
FORMATS = [*ID3, *VORBIS, "m4a", "wma", "wv"]
CASES = [
    *((suffix, kind) for suffix in FORMATS for kind in ("", "bare")),
    *(("mp3", kind) for kind in ("v2.3", "ID3v1", "APEv2")),
]
SILENT = {"dsf"}
"""Formats that are not decoded here: their bytes are compared."""
OWN = "----:com.apple.iTunes:"


def names(suffix: str, kind: str = "") -> list[str]:
    """What the format calls genre, mood and our three fields, as mutagen names them."""
    ours = ["LIGHTMEL_GENRE", "LIGHTMEL_MOOD", "LIGHTMEL_MODEL"]
    if suffix in ID3:
        mood = "TXXX:MOOD" if kind == "v2.3" else "TMOO"
        return ["TCON", mood, *(f"TXXX:{name}" for name in ours)]
    if suffix in VORBIS:
        return ["genre", "mood", *(name.lower() for name in ours)]
    if suffix == "m4a":
        return ["\xa9gen", *(OWN + name for name in ["MOOD", *ours])]
    return (["WM/Genre", "WM/Mood"] if suffix == "wma" else ["Genre", "Mood"]) + ours


def texts(path: Path, name: str) -> list[str]:
    """The separate values of a field."""
    value = mutagen.File(path).tags[name]
    if isinstance(value, id3.TextFrame):
        return [str(text) for text in value.text]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in value]


def sound(path: Path) -> np.ndarray:
    if path.suffix[1:] in SILENT:
        data = path.read_bytes()
        return np.frombuffer(data[data.index(b"data") :][: 12 + 2 * 4096], np.uint8)
    return audio.load(path, 44_100)


@pytest.mark.parametrize(("suffix", "kind"), CASES)
def test_fields_are_written_and_taken_back(
    suffix: str, kind: str, song: Song, record: Record, fields: Fields, tmp_path: Path
) -> None:
    path = song(suffix, kind)
    before, wave, size = fields(path), sound(path), path.stat().st_size
    journal = tmp_path / "undo.jsonl"
    (change,) = write_tags([record(path)], apply=True, journal=journal)
    assert (change.error, change.changes) == ("", True)
    genre, mood, *ours = names(suffix, kind)
    assert texts(path, genre) == ["jazz", "hip hop"]
    assert texts(path, mood) == ["happy"]
    assert [texts(path, name) for name in ours] == [
        ["jazz=0.71", "hip hop=0.49"],
        ["happy=0.40"],
        ["a-model 1.2"],
    ]
    after = fields(path)
    own = {name.casefold() for name in (genre, mood, *ours)}
    assert {name: text for name, text in after.items() if name.casefold() not in own} == before
    np.testing.assert_array_equal(sound(path), wave)
    (change,) = undo(journal)
    assert change.error == ""
    assert fields(path) == before
    np.testing.assert_array_equal(sound(path), wave)
    if kind in ("bare", "ID3v1") and suffix in [*ID3, "wv"]:
        assert path.stat().st_size == size


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_there_is_kept_unless_it_is_to_be_written_over(
    suffix: str, song: Song, record: Record, fields: Fields, tmp_path: Path
) -> None:
    path, journal = song(suffix), tmp_path / "undo.jsonl"
    (change,) = write_tags([record(path)], WriteConfig(moods=0), apply=True, journal=journal)
    mine, genre = fields(path), names(suffix)[0]
    other = record(path, tags={"rock": 0.9, "sad": 0.8}, thresholds={"rock": 0.5, "sad": 0.5}, verified={})
    (change,) = write_tags([other], apply=True, journal=journal)
    assert [(field.name, field.kept) for field in change.fields[:2]] == [("genre", True), ("mood", False)]
    assert texts(path, genre) == ["jazz", "hip hop"]
    assert "LIGHTMEL_GENRE" not in [field.name for field in change.fields]
    (change,) = write_tags([other], WriteConfig(overwrite=True), apply=True, journal=journal)
    assert texts(path, genre) == ["rock"]
    journal_2 = tmp_path / "second.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal_2.write_text(lines[0] + "".join(lines[2:]))
    undo(journal_2)
    assert fields(path) == mine
    undo(journal)
    assert not {genre, *names(suffix)}.intersection(fields(path))


@pytest.mark.parametrize("suffix", FORMATS)
def test_without_apply_no_byte_changes(suffix: str, song: Song, record: Record) -> None:
    path = song(suffix)
    before = path.read_bytes(), path.stat().st_mtime_ns
    (change,) = write_tags([record(path)])
    assert change.changes
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("suffix", [s for s in FORMATS if s not in ("dsf", "tta")])
def test_a_second_time_nothing_is_left_to_do(suffix: str, song: Song, record: Record, tmp_path: Path) -> None:
    path = song(suffix)
    write_tags([record(path)], apply=True, journal=tmp_path / "undo.jsonl")
    data = path.read_bytes()
    (change,) = write_tags([record(path)], apply=True, journal=tmp_path / "undo.jsonl")
    assert not change.changes
    assert path.read_bytes() == data


def test_ape_and_musepack_by_their_bytes(song: Song, record: Record, tmp_path: Path) -> None:
    """No encoder of these is at hand: a header of each, noise, and an APE tag and an ID3v1 tag behind it."""
    for suffix, head in (("ape", b"MAC \x96\x0f\0\0"), ("mpc", b"MPCKSH\x0e"), ("mpc", b"MP+\x07")):
        path, noise = tmp_path / f"noise.{suffix}", head + bytes(range(7, 250)) * 40
        path.write_bytes(noise)
        tags = mutagen.apev2.APEv2()
        tags["Title"], tags["Cover Art (Front)"] = "A title", mutagen.apev2.APEValue(b"x\0\xff", 1)
        tags.save(path)
        v1 = b"TAG" + bytes(124) + b"\xff"
        path.write_bytes(path.read_bytes() + v1)
        before = path.read_bytes()
        journal = tmp_path / f"{suffix}{len(head)}.jsonl"
        (change,) = write_tags([record(path)], apply=True, journal=journal)
        assert change.error == ""
        data = path.read_bytes()
        assert data.startswith(noise)
        assert data.endswith(v1)
        found = mutagen.apev2.APEv2(io.BytesIO(data[:-128]))
        assert list(found["Genre"]) == ["jazz", "hip hop"]
        assert found["Title"] == "A title"
        undo(journal)
        assert path.read_bytes() == before


def test_a_genre_in_an_old_tag_beside_counts(song: Song, record: Record, tmp_path: Path) -> None:
    path = song("mp3", "ID3v1")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([17]))  # Rock
    (change,) = write_tags([record(path)])
    assert (change.fields[0].old, change.fields[0].kept) == (("Rock",), True)
    path.write_bytes(data[:-1] + bytes([12]))  # "Other", which nobody chose
    (change,) = write_tags([record(path)])
    assert change.fields[0].changes


def test_where_only_id3v1_was_the_title_comes_along(song: Song, record: Record, tmp_path: Path) -> None:
    """FFmpeg reads no ID3v1 where there is ID3v2: it would lose the title."""
    import av

    path = song("mp3", "ID3v1")
    before = path.read_bytes()
    write_tags([record(path)], apply=True, journal=tmp_path / "undo.jsonl")
    with av.open(str(path)) as file:
        found = {name.lower(): text for name, text in file.metadata.items()}
        assert found["title"] == "Old title"
        assert found["genre"].startswith("jazz")
    assert path.read_bytes().endswith(before[-128:])
    undo(tmp_path / "undo.jsonl")
    assert path.read_bytes() == before


def test_an_ape_tag_beside_id3_is_written_over_too(song: Song, record: Record, tmp_path: Path) -> None:
    """Some programs prefer it: they would show the old genre for ever."""
    path = song("mp3", "APEv2")
    tags = mutagen.apev2.APEv2(path)
    tags["Genre"] = "Polka"
    tags.save()
    (change,) = write_tags([record(path)])
    assert change.fields[0].kept
    write_tags([record(path)], WriteConfig(overwrite=True), apply=True, journal=tmp_path / "undo.jsonl")
    assert list(mutagen.apev2.APEv2(path)["Genre"]) == texts(path, "TCON") == ["jazz", "hip hop"]
    undo(tmp_path / "undo.jsonl")
    assert mutagen.apev2.APEv2(path)["Genre"] == "Polka"
    assert "TCON" not in mutagen.File(path).tags


@pytest.mark.parametrize("name", ["TXXX:Mood", "TMOO"])
def test_a_mood_of_id3v2_3_in_another_place_counts(
    name: str, song: Song, record: Record, tmp_path: Path
) -> None:
    path = song("mp3", "bare")
    tags = id3.ID3()
    frame = id3.TMOO(encoding=0, text=["calm"]) if name == "TMOO" else id3.TXXX(desc="Mood", text=["calm"])
    tags.add(frame)
    tags.save(path)
    data = bytearray(path.read_bytes())
    data[3] = 3  # what some programs write: sizes below 128 look alike
    path.write_bytes(data)
    (change,) = write_tags([record(path)])
    assert change.kind == "ID3v2.3"
    assert (change.fields[1].old, change.fields[1].kept) == (("calm",), True)
    write_tags([record(path)], WriteConfig(overwrite=True), apply=True, journal=tmp_path / "undo.jsonl")
    raw = id3.ID3(path, translate=False)
    moods = [frame for key, frame in raw.items() if "moo" in key.lower() and "LIGHTMEL" not in key]
    assert [frame.text for frame in moods] == [["happy"]]
    assert moods[0].FrameID == "TXXX"
    undo(tmp_path / "undo.jsonl")
    assert id3.ID3(path, translate=False)[name].text == ["calm"]


def test_the_genre_of_a_wav_file_may_be_in_its_info(song: Song, record: Record) -> None:
    path = song("wav", "bare")
    data = path.read_bytes()
    info = b"INFOIGNR" + (5).to_bytes(4, "little") + b"Rock\0\0"
    data += b"LIST" + len(info).to_bytes(4, "little") + info
    path.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    (change,) = write_tags([record(path)])
    assert (change.fields[0].old, change.fields[0].kept) == (("Rock",), True)
