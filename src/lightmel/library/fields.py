"""The fields of a sound file that players read, whatever its format calls them.

ID3 and APE tags are edited as bytes (`id3`, `ape`); Vorbis comments, MP4 and ASF by mutagen, in a copy of
the file, and what that must not have changed is compared afterwards. Which program reads what stands, with
sources, in ``docs/how-to/tags-in-files.md``.
"""

from __future__ import annotations

import shutil
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from ..audio import id3_size
from ..errors import MissingExtraError
from . import ape, id3
from .id3 import UnreadableError

GENRE, MOOD = "genre", "mood"
SCORES = {GENRE: "LIGHTMEL_GENRE", MOOD: "LIGHTMEL_MOOD"}
MODEL = "LIGHTMEL_MODEL"

Values: TypeAlias = dict[str, tuple[str, ...]]
"""Texts by the name of a field."""
Pieces: TypeAlias = list[bytes | tuple[int, int]]
"""What a file is put together from: bytes, and parts of the old one from a byte up to another."""

_CHUNK = 1 << 20


class Fields(ABC):
    """The fields of one file.

    Attributes
    ----------
    path
        Of the file.
    kind
        What its fields are, in a word: ``ID3v2.4``.
    notes
        What was odd about them.
    """

    kind = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.changes: Values = {}

    @abstractmethod
    def name(self, field: str) -> str:
        """Return the name under which this format has ``"genre"``, ``"mood"`` or a field of ours."""

    @abstractmethod
    def get(self, name: str) -> tuple[str, ...]:
        """Return the texts of a field of this name; `UnreadableError` where that is broken."""

    @abstractmethod
    def write(self, target: Path) -> None:
        """Write the changed file to `target`; `UnreadableError` where that would lose something."""

    def others(self, field: str) -> list[str]:
        """Return other names under which the file has `field` now."""
        return []

    def elsewhere(self, field: str) -> tuple[str, ...]:
        """Return the texts of `field` in a place that is read and never written, such as an ID3v1 tag."""
        return ()

    def now(self, field: str) -> tuple[str, ...]:
        """Return the texts of `field` that a program would show."""
        for name in (self.name(field), *self.others(field)):
            if found := self.get(name):
                return found
        return self.elsewhere(field)

    def spread(self, field: str, values: tuple[str, ...]) -> Values:
        """Return what is to be put under which names, so that all programs find `values`."""
        return {self.name(field): values, **dict.fromkeys(self.others(field), ())}

    def companions(self) -> Values:
        """Return what must be put beside any field that is put."""
        return {}

    def put(self, name: str, values: tuple[str, ...]) -> None:
        """Note a change, which `write` writes."""
        self.changes[name] = values


class _Spliced(Fields):
    """Fields that are bytes between other bytes: of the file, only they are written anew."""

    @abstractmethod
    def pieces(self) -> Pieces:
        """Return what the changed file is put together from."""

    def write(self, target: Path) -> None:
        parts = self.pieces()
        with self.path.open("rb") as source, target.open("wb") as copy:
            for part in parts:
                if isinstance(part, bytes):
                    copy.write(part)
                else:
                    _copy(source, copy, *part)


class _Id3(_Spliced):
    """A file with an ID3v2 tag, wherever that lies."""

    def __init__(self, path: Path, tag: id3.Tag) -> None:
        super().__init__(path)
        self.tag = tag
        self.kind = f"ID3v2.{tag.version}"

    def name(self, field: str) -> str:
        if field == GENRE:
            return "TCON"
        if field == MOOD and self.tag.version == 4:
            return "TMOO"
        # ID3v2.3 has no mood of its own. A frame of another spelling is the one that some program reads.
        wanted = f"TXXX:{'MOOD' if field == MOOD else field}"
        return next(iter(self.tag.names(wanted)), wanted)

    def others(self, field: str) -> list[str]:
        if field != MOOD:
            return []
        names = self.tag.names("TMOO") + self.tag.names("TXXX:MOOD")
        return [name for name in names if name != self.name(MOOD)]

    def get(self, name: str) -> tuple[str, ...]:
        return self.tag.get(name)

    def put(self, name: str, values: tuple[str, ...]) -> None:
        super().put(name, values)
        self.tag.put(name, values)


class Mpeg(_Id3):
    """MP3, and TTA: an ID3v2 tag at the start, perhaps an APE tag and an ID3v1 tag at the end."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            start = file.read(id3.HEADER)
            size = id3_size(start)
            rest = file.read(max(0, size - id3.HEADER))
            super().__init__(path, id3.Tag.parse(start + rest) if size else id3.Tag())
            self.length = file.seek(0, 2)
            file.seek(size)
            second = id3_size(file.read(id3.HEADER))
            self.ape = ape.Tag.find(file)
            file.seek(max(0, self.length - 128))
            self.v1 = id3.v1_fields(file.read(128))
        if not size:
            self.kind = "ID3v2.4, new"
        if second:
            self.notes.append("a second ID3 tag follows the first: it stays as it is, and programs ignore it")
        if self.ape.items:
            self.notes.append("it has an APE tag too, which some programs prefer")

    _APE = "APEv2:"

    def others(self, field: str) -> list[str]:
        """Return an APE tag's field too: it is changed where it is there, and not added."""
        beside = self._APE + _ape_key(field)
        return super().others(field) + ([beside] if self.get(beside) else [])

    def elsewhere(self, field: str) -> tuple[str, ...]:
        return self.v1.get("TCON", ()) if field == GENRE else ()

    def spread(self, field: str, values: tuple[str, ...]) -> Values:
        found = super().spread(field, values)
        return {name: values if name.startswith(self._APE) else own for name, own in found.items()}

    def companions(self) -> Values:
        """Return the fields of an ID3v1 tag where there is no ID3v2 tag yet.

        Programs that use FFmpeg read ID3v1 only where there is no ID3v2: without them they would lose the
        title.
        """
        return {} if self.tag.size else self.v1

    def get(self, name: str) -> tuple[str, ...]:
        if name.startswith(self._APE):
            return self.ape.get(name.removeprefix(self._APE))
        return super().get(name)

    def put(self, name: str, values: tuple[str, ...]) -> None:
        if name.startswith(self._APE):
            self.changes[name] = values
            self.ape.put(name.removeprefix(self._APE), values)
        else:
            super().put(name, values)

    def pieces(self) -> Pieces:
        tag = self.ape
        return [
            self.tag.to_bytes(),
            (self.tag.size, tag.start),
            tag.to_bytes() if tag.items else b"",
            (tag.end, self.length),
        ]


class Chunks(_Id3):
    """WAV and AIFF: an ID3v2 tag in a chunk of its own."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            form = file.read(12)
            self.order = "<" if form[:4] == b"RIFF" else ">"
            self.length = file.seek(0, 2)
            self.end = 8 + self._size(form[4:8])
            if self.end > self.length:
                raise UnreadableError("its first bytes say that it is longer than it is: repair it first")
            self.at: tuple[int, int] | None = None
            self.info: tuple[str, ...] = ()
            tag = id3.Tag()
            place = 12
            while place + 8 <= self.end:
                file.seek(place)
                head = file.read(8)
                size = self._size(head[4:])
                after = place + 8 + size + size % 2
                if place + 8 + size > self.end:
                    raise UnreadableError(
                        f"its chunk {head[:4].decode('latin-1')!r} is longer than the file: repair it first"
                    )
                if head[:4].lower() == b"id3 " and self.at is None:
                    data = file.read(size)
                    if not id3_size(data):
                        raise UnreadableError("its ID3 chunk holds no ID3 tag")
                    tag = id3.Tag.parse(data)
                    self.at = place, min(after, self.length)
                elif head[:4] == b"LIST":
                    self.info = _info_genre(file.read(size)) or self.info
                place = after
        super().__init__(path, tag)
        if self.at is None:
            self.kind = "ID3v2.4, new"

    def elsewhere(self, field: str) -> tuple[str, ...]:
        return self.info if field == GENRE else ()

    def pieces(self) -> Pieces:
        data = self.tag.to_bytes()
        chunk = b""
        if data:
            name = b"id3 " if self.order == "<" else b"ID3 "
            chunk = name + struct.pack(f"{self.order}I", len(data)) + data + bytes(len(data) % 2)
        start, end = self.at or (self.end, self.end)
        before: Pieces = [(8, start)]
        if start % 2 and self.at is None:  # the last chunk lacks the byte that makes it even
            before.append(b"\0")
        size = self.end - 8 + len(chunk) - (end - start) + len(before) - 1
        if size >= 1 << 32:
            raise UnreadableError("it would become longer than 4 GB, the most that its format can have")
        return [(0, 4), struct.pack(f"{self.order}I", size), *before, chunk, (end, self.length)]

    def _size(self, four: bytes) -> int:
        return int(struct.unpack(f"{self.order}I", four.rjust(4, b"\0"))[0])


class Dsf(_Id3):
    """DSF: an ID3v2 tag at the end, to which the header points."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            head = file.read(28)
            self.length = file.seek(0, 2)
            if len(head) < 28:
                raise UnreadableError("it is shorter than its header")
            _, total, pointer = struct.unpack_from("<3Q", head, 4)
            if total != self.length or pointer > self.length:
                raise UnreadableError("its header says that it has another length: repair it first")
            self.start = pointer or self.length
            file.seek(self.start)
            data = file.read()
        if data and not id3_size(data):
            raise UnreadableError("its header points to an ID3 tag where there is none")
        super().__init__(path, id3.Tag.parse(data) if data else id3.Tag())
        if not data:
            self.kind = "ID3v2.4, new"

    def pieces(self) -> Pieces:
        tag = self.tag.to_bytes()
        numbers = struct.pack("<2Q", self.start + len(tag), self.start if tag else 0)
        return [(0, 12), numbers, (28, self.start), tag]


class Ape(_Spliced):
    """WavPack, Monkey's Audio and Musepack: an APEv2 tag at the end."""

    kind = "APEv2"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            self.tag = ape.Tag.find(file)
            self.length = file.seek(0, 2)
            file.seek(max(0, self.length - 128))
            self.v1 = id3.v1_fields(file.read(128))

    def name(self, field: str) -> str:
        return _ape_key(field)

    def get(self, name: str) -> tuple[str, ...]:
        return self.tag.get(name)

    def elsewhere(self, field: str) -> tuple[str, ...]:
        return self.v1.get("TCON", ()) if field == GENRE else ()

    def put(self, name: str, values: tuple[str, ...]) -> None:
        super().put(name, values)
        self.tag.put(name, values)

    def pieces(self) -> Pieces:
        return [(0, self.tag.start), self.tag.to_bytes(), (self.tag.end, self.length)]


class _Edited(Fields):
    """Fields that mutagen reads and writes."""

    def __init__(self, path: Path, opener: Any) -> None:
        super().__init__(path)
        self.opener = opener
        self.tags = self._open(path).tags

    def write(self, target: Path) -> None:
        shutil.copyfile(self.path, target)
        before, file = self.rest(self._open(self.path)), self._open(target)
        if file.tags is None:
            file.add_tags()
        for name, values in self.changes.items():
            self.set(file.tags, name, values)
        self._guarded(file.save, target)
        if self.rest(self._open(target)) != before:
            raise UnreadableError("another field would not survive: the file was left as it is")

    @abstractmethod
    def set(self, tags: Any, name: str, values: Sequence[str]) -> None:
        """Put the texts of a field into mutagen's tags."""

    @abstractmethod
    def rest(self, file: Any) -> object:
        """Return everything of the file but the fields that change, to compare."""

    def _open(self, path: Path) -> Any:
        return self._guarded(self.opener, path)

    @staticmethod
    def _guarded(call: Any, *arguments: Any) -> Any:
        """Call mutagen; whatever it makes of a broken file is one error."""
        from mutagen import MutagenError

        try:
            return call(*arguments)
        except MutagenError as error:
            # An OSError that mutagen has wrapped: a full disk, say.
            if isinstance(cause := error.__cause__ or error.__context__, OSError):
                raise cause from None
            raise UnreadableError(f"its fields cannot be read ({error})") from None
        except (LookupError, ValueError, struct.error, OverflowError, TypeError) as error:
            raise UnreadableError(f"its fields cannot be read ({type(error).__name__}: {error})") from None


class Vorbis(_Edited):
    """FLAC, Ogg Vorbis, Opus, and others with Vorbis comments."""

    kind = "Vorbis comments"

    def __init__(self, path: Path, opener: Any) -> None:
        super().__init__(path, opener)
        for key, value in self.tags or ():
            if "�" in value or (key.startswith("unknown") and key[7:].isdigit()):
                raise UnreadableError(
                    f"its field {key} is no text that can be read, and would be lost: mend it first"
                )

    def name(self, field: str) -> str:
        wanted = field if field.startswith("LIGHTMEL") else field.upper()
        keys = [key for key, _ in self.tags or () if key.casefold() == wanted.casefold()]
        return keys[0] if keys else wanted

    def get(self, name: str) -> tuple[str, ...]:
        return tuple(value for value in (self.tags or {}).get(name, ()) if value)

    def set(self, tags: Any, name: str, values: Sequence[str]) -> None:
        if name in tags:
            del tags[name]
        if values:
            tags[name] = list(values)

    def rest(self, file: Any) -> object:
        changed = {name.casefold() for name in self.changes}
        fields = [(key, value) for key, value in file.tags or () if key.casefold() not in changed]
        # Of FLAC, the pictures, the cue sheet and other blocks; not the comments (4) and the padding (1).
        blocks = [(b.code, b.write()) for b in getattr(file, "metadata_blocks", ()) if b.code not in (1, 4)]
        vendor = getattr(self.tags, "vendor", None) and file.tags.vendor  # of a file without comments, none
        return fields, vendor, blocks


class Mp4(_Edited):
    """MP4: ``©gen``, and fields under ``com.apple.iTunes``."""

    kind = "MP4"
    _OURS = "----:com.apple.iTunes:"

    def name(self, field: str) -> str:
        if field == GENRE:
            return "\xa9gen"
        wanted = self._OURS + (field.upper() if field == MOOD else field)
        return next((key for key in self.tags or () if key.casefold() == wanted.casefold()), wanted)

    def get(self, name: str) -> tuple[str, ...]:
        found = (self.tags or {}).get(name, ())
        try:
            texts = [text if isinstance(text, str) else bytes(text).decode() for text in found]
        except UnicodeDecodeError:
            raise UnreadableError(f"its field {name} is not UTF-8") from None
        return tuple(text for text in texts if text)

    def set(self, tags: Any, name: str, values: Sequence[str]) -> None:
        tags.pop(name, None)
        if values:
            plain = name.startswith("\xa9")
            tags[name] = list(values) if plain else [value.encode() for value in values]

    def rest(self, file: Any) -> object:
        return {key: repr(own) for key, own in (file.tags or {}).items() if key not in self.changes}


class Asf(_Edited):
    """ASF, which WMA files are."""

    kind = "ASF"

    def name(self, field: str) -> str:
        return {GENRE: "WM/Genre", MOOD: "WM/Mood"}.get(field, field)

    def get(self, name: str) -> tuple[str, ...]:
        return tuple(text for own in (self.tags or {}).get(name, ()) if (text := str(own)))

    def set(self, tags: Any, name: str, values: Sequence[str]) -> None:
        tags[name] = list(values)

    def rest(self, file: Any) -> object:
        rest = [(key, repr(own), own.language, own.stream) for key, own in file.tags]
        return sorted(row for row in rest if row[0] not in self.changes)


def require_mutagen() -> None:
    """Raise `MissingExtraError` where mutagen is missing."""
    try:
        import mutagen  # noqa: F401 - whether it is there
    except ImportError:
        raise MissingExtraError(
            'Fields are written by mutagen, which is not installed: pip install "lightmel[write]"'
        ) from None


def open_fields(path: Path) -> Fields:
    """Return the fields of a file, by what it holds and not by its name.

    Raises
    ------
    UnreadableError
        If it is of no format whose fields are known here, or they are broken.
    OSError
        If it cannot be read.
    """
    from mutagen.asf import ASF
    from mutagen.flac import FLAC
    from mutagen.mp4 import MP4

    with path.open("rb") as file:
        start = file.read(64)
        size = id3_size(start)
        file.seek(size)
        behind = file.read(64) if size else start
    if behind[:4] == b"fLaC":
        return Vorbis(path, FLAC)
    if start[:4] == b"OggS":
        return Vorbis(path, _ogg(start))
    if start[:4] in (b"RIFF", b"FORM") and start[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        return Chunks(path)
    if start[:4] == b"DSD ":
        return Dsf(path)
    if behind[:4] in (b"wvpk", b"MAC ", b"MPCK") or behind[:3] == b"MP+":
        return Ape(path)
    if start[4:8] == b"ftyp":
        return Mp4(path, MP4)
    if start[:16] == bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"):
        return Asf(path, ASF)
    synced = len(behind) > 1 and behind[0] == 0xFF and behind[1] & 0xE0 == 0xE0
    layer = synced and behind[1] >> 1 & 3  # 0 is AAC, which has no tag that programs agree on
    if size or behind[:4] == b"TTA1" or layer or (not synced and path.suffix.lower() in (".mp3", ".mp2")):
        return Mpeg(path)
    raise UnreadableError("it is of no format whose fields can be written: see `lightmel write --help`")


def _ogg(start: bytes) -> Any:
    from mutagen.oggflac import OggFLAC
    from mutagen.oggopus import OggOpus
    from mutagen.oggspeex import OggSpeex
    from mutagen.oggvorbis import OggVorbis

    kinds: Mapping[bytes, Any] = {
        b"\x01vorbis": OggVorbis,
        b"OpusHead": OggOpus,
        b"\x7fFLAC": OggFLAC,
        b"Speex   ": OggSpeex,
    }
    for mark, kind in kinds.items():
        if mark in start:
            return kind
    raise UnreadableError("it is Ogg, but neither Vorbis nor Opus, FLAC or Speex")


def _ape_key(field: str) -> str:
    return field.capitalize() if field in (GENRE, MOOD) else field


def _info_genre(chunk: bytes) -> tuple[str, ...]:
    """Return the genre in a chunk ``LIST`` of a WAV file, which is read and never written."""
    at = 4
    while chunk[:4] == b"INFO" and at + 8 <= len(chunk):
        (size,) = struct.unpack_from("<I", chunk, at + 4)
        if chunk[at : at + 4] == b"IGNR":
            text = chunk[at + 8 : at + 8 + size].partition(b"\0")[0].decode("latin-1").strip()
            return (text,) if text else ()
        at += 8 + size + size % 2
    return ()


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    left = end - start
    while left > 0 and (data := source.read(min(_CHUNK, left))):
        target.write(data)
        left -= len(data)
