"""Fields that are broken already survive, byte for byte, or the file is refused by a sentence."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import pytest
from mutagen import id3

from lightmel import audio
from lightmel.library import WriteConfig, undo, write_tags
from lightmel.library.id3 import Tag

Song = Callable[..., Path]
Record = Callable[..., dict[str, Any]]


def frame(name: bytes, body: bytes, flags: bytes = b"\0\0", *, bits: int = 8) -> bytes:
    size = len(body)
    digits = bytes(size >> bits * place & (1 << bits) - 1 for place in (3, 2, 1, 0))
    return name + digits + flags + body


def tag(version: int, body: bytes, flags: int = 0) -> bytes:
    digits = bytes(len(body) >> 7 * place & 127 for place in (3, 2, 1, 0))
    return b"ID3" + bytes([version, 0, flags]) + digits + body


def written(path: Path, record: Record, **config: Any) -> Any:
    (change,) = write_tags(
        [record(path)], WriteConfig(**config), apply=True, journal=path.with_suffix(".jsonl")
    )
    return change


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param((b"WXXX", b"\0"), id="a link of one null byte"),
        pytest.param((b"TIT2", b"\x09what encoding"), id="an encoding that there is not"),
        pytest.param((b"TALB", b"\1\xff\xfe\xd8"), id="half a character"),
        pytest.param((b"XYZ1", b"\0\1\2\xff\xfe"), id="a frame that nobody knows"),
        pytest.param((b"APIC", b"\0image/png"), id="a cover without end"),
        pytest.param((b"COMM", b""), id="an empty comment"),
    ],
)
def test_a_broken_frame_survives(
    version: int, broken: tuple[bytes, bytes], song: Song, record: Record
) -> None:
    path = song("mp3", "bare")
    sound = path.read_bytes()
    name, body = broken
    bad = frame(name, body, bits=7 if version == 4 else 8)
    good = frame(b"TPE1", b"\0Somebody")
    if version == 2:
        bad, good = name[:3] + bytes([0, 0, len(body)]) + body, b"TP1\0\0\x09\0Somebody"
    path.write_bytes(tag(version, bad + good) + sound)
    assert written(path, record).error == ""
    data = path.read_bytes()
    assert data.endswith(sound)
    assert data[3] == version
    assert data[10:].startswith(bad + good)
    found = id3.ID3(path)
    assert found["TCON"].text == ["jazz", "hip hop"]
    assert found["TPE1"].text == ["Somebody"]
    undo(path.with_suffix(".jsonl"))
    assert path.read_bytes()[10:].startswith(bad + good + bytes(100))


def test_a_wrong_checksum_of_lame_stays(song: Song, record: Record) -> None:
    path = song("mp3", "bare")
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    assert at > 0
    data[at + 120 : at + 156] = b"LAME3.100" + bytes(25) + b"\xde\xad"
    path.write_bytes(data)
    assert written(path, record).error == ""
    assert path.read_bytes().endswith(data)


def test_two_id3_tags_one_behind_the_other(song: Song, record: Record) -> None:
    path = song("mp3", "bare")
    sound = path.read_bytes()
    second = tag(3, frame(b"TIT2", b"\0The second") + frame(b"TCON", b"\0Polka"))
    path.write_bytes(tag(4, frame(b"TIT2", b"\0The first")) + second + sound)
    change = written(path, record)
    assert change.error == ""
    assert "a second ID3 tag" in change.notes[0]
    assert path.read_bytes().endswith(second + sound)
    assert id3.ID3(path)["TIT2"].text == ["The first"]


def test_a_tag_of_version_3_that_is_unsynchronized(song: Song, record: Record) -> None:
    path = song("mp3", "bare")
    sound = path.read_bytes()
    body = frame(b"PRIV", b"x\0\xff\xe0\xff\0") + frame(b"TIT2", b"\0A title")
    scrambled = body.replace(b"\xff", b"\xff\0")
    path.write_bytes(tag(3, scrambled, 0x80) + sound)
    before = id3.ID3(path, translate=False)
    assert written(path, record).error == ""
    after = id3.ID3(path, translate=False)
    assert [after[key] for key in before] == list(before.values())
    assert after["TCON"].text == ["jazz", "hip hop"]


def test_sizes_as_itunes_once_wrote_them(song: Song, record: Record) -> None:
    path = song("mp3", "bare")
    sound = path.read_bytes()
    body = frame(b"PRIV", b"x\0" + bytes(range(256)) * 2) + frame(b"TIT2", b"\0A title")
    path.write_bytes(tag(4, body) + sound)
    assert written(path, record).error == ""
    found = id3.ID3(path)
    assert found["TIT2"].text == ["A title"]
    assert [frame.data for frame in found.getall("PRIV")] == [bytes(range(256)) * 2]


def test_an_extended_header_goes_and_the_fields_stay(song: Song, record: Record) -> None:
    path = song("mp3", "bare")
    sound = path.read_bytes()
    body = frame(b"TIT2", b"\0A title", bits=7)
    path.write_bytes(tag(4, b"\0\0\0\6\1\0" + body, 0x40) + sound)
    assert written(path, record).error == ""
    assert id3.ID3(path)["TIT2"].text == ["A title"]
    path.write_bytes(tag(3, b"\0\0\0\6\0\0\0\0\0\0" + frame(b"TIT2", b"\0A title"), 0x40) + sound)
    assert written(path, record).error == ""
    assert id3.ID3(path)["TIT2"].text == ["A title"]


def test_a_compressed_genre_is_read_and_an_encrypted_one_refused(song: Song, record: Record) -> None:
    import zlib

    path = song("mp3", "bare")
    sound = path.read_bytes()
    packed = struct.pack(">I", 5) + zlib.compress(b"\0Rock")
    path.write_bytes(tag(3, frame(b"TCON", packed, b"\0\x80")) + sound)
    assert written(path, record).fields[0].old == ("Rock",)
    path.write_bytes(tag(3, frame(b"TCON", b"\1abc", b"\0\x40")) + sound)
    data = path.read_bytes()
    assert "encrypted" in written(path, record).error
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("suffix", "spoil", "said"),
    [
        ("mp3", lambda data: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + data, "longer than the file"),
        ("mp3", lambda data: b"ID3\7\0\0\0\0\0\5" + bytes(5) + data, "version 2.7"),
        ("wav", lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:], "longer than it is"),
        ("wav", lambda data: data[:-500], "longer than it is"),
        ("aiff", lambda data: data[:-500], "longer than it is"),
        ("flac", lambda data: data[:30], "cannot be read"),
        ("m4a", lambda data: data[:60], "cannot be read"),
        ("ogg", lambda data: data[:70], "cannot be read"),
        ("wma", lambda data: data[:40], "cannot be read"),
        ("dsf", lambda data: data[:20] + b"\xff" * 8 + data[28:], "another length"),
        (
            "wv",
            lambda data: data + b"APETAGEX" + struct.pack("<4I", 2000, 99_999_999, 1, 0) + bytes(8),
            "longer",
        ),
        ("mkv", lambda data: b"\x1aE\xdf\xa3" + bytes(100), "no format"),
        ("aac", lambda data: b"\xff\xf1" + bytes(100), "no format"),
        ("txt", lambda data: b"", "no format"),
    ],
)
def test_a_file_that_is_broken_is_refused(
    suffix: str,
    spoil: Callable[[bytes], bytes],
    said: str,
    tmp_path: Path,
    record: Record,
    plain_files: dict[str, bytes],
) -> None:
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(spoil(plain_files.get(suffix, b"")))
    data = path.read_bytes()
    change = written(path, record)
    assert said in change.error
    assert path.read_bytes() == data
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "bad.jsonl"}


def test_comments_that_are_no_utf_8_are_not_lost(song: Song, record: Record) -> None:
    path = song("flac")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a comment", b"a comm\xffnt"))
    change = written(path, record)
    assert "comment is no text that can be read" in change.error
    assert b"a comm\xffnt" in path.read_bytes()


def test_a_field_that_mutagen_would_lose_is_seen(
    song: Song, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = song("m4a")
    data = path.read_bytes()
    save = mutagen.mp4.MP4.save

    def careless(self: Any, *arguments: Any, **options: Any) -> None:
        self.tags.pop("covr", None)
        save(self, *arguments, **options)

    monkeypatch.setattr(mutagen.mp4.MP4, "save", careless)
    assert "would not survive" in written(path, record).error
    assert path.read_bytes() == data


def test_texts_of_any_letters_round_trip() -> None:
    for version in (2, 3, 4):
        own = Tag(version)
        own.put("TCON", ["Füür", "日本", "a/b", "x;y"])
        own.put("TXXX:ΓΕΝΟΣ", ["ÿ", "\U0001f3b5"])
        data = own.to_bytes()
        assert audio.id3_size(data) == len(data)
        again = Tag.parse(data)
        assert again.get("TCON") == ("Füür", "日本", "a/b", "x;y")
        assert again.get("TXXX:ΓΕΝΟΣ") == ("ÿ", "\U0001f3b5")
        again.put("TCON", [])
        again.put("TXXX:ΓΕΝΟΣ", [])
        assert again.to_bytes() == b""


@pytest.mark.parametrize(
    "suffix", ["mp3", "flac", "ogg", "opus", "m4a", "wma", "wav", "aiff", "wv", "tta", "dsf"]
)
def test_broken_at_random_a_file_is_refused_or_comes_back(suffix: str, song: Song, record: Record) -> None:
    """No error but ours, no file half written, no copy left; what is written can be taken back."""
    whole, path = song(suffix).read_bytes(), song(suffix, name="broken")
    dice = random.Random(suffix)
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 2, 5))):
            at = dice.choice((dice.randrange(3000), len(data) - 1 - dice.randrange(3000)))
            if dice.random() < 0.7:
                data[at] = dice.randrange(256)
            else:
                del data[at : at + dice.randrange(1, 40)]
        path.write_bytes(data)
        journal = path.with_suffix(".jsonl")
        journal.unlink(missing_ok=True)
        if written(path, record).error:
            assert path.read_bytes() == data
        else:
            assert [change.error for change in undo(journal)] == [""]
        assert not list(path.parent.glob(".*"))
