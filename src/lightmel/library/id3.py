"""ID3v2 tags as they lie in a file, frame after frame: what is not changed stays as it is, byte for byte.

A frame that nobody can read, in an encoding or a version that is wrong, is none of our business and is kept.
mutagen drops such frames when it saves, and writes all others anew.

The format: https://id3.org/id3v2.4.0-structure, https://id3.org/id3v2.3.0 and https://id3.org/id3v2-00.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..audio import id3_size
from ..errors import DataError

HEADER = 10
_PADDING = 1024
"""Zero bytes behind a tag that has to grow: the next editor need not move the sound."""
_NAME = re.compile(rb"[A-Z][A-Z0-9]{2}[A-Z0-9 \0]?")
_SHORT = {"TCON": "TCO", "TXXX": "TXX"}
"""Frames of ID3v2.2 by their later names."""
_UNSYNC, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10


class UnreadableError(DataError):
    """Fields that cannot be read, or not be written without loss; the text is the reason."""


@dataclass(frozen=True)
class Frame:
    """A frame: its four letters, or three in ID3v2.2; the two bytes of flags; the rest as it lies there."""

    name: str
    flags: bytes
    body: bytes


@dataclass
class Tag:
    """An ID3v2 tag.

    Attributes
    ----------
    version
        2, 3 or 4.
    frames
        In the order of the file.
    tail
        What follows from the first byte on that begins no frame, where it is more than zero bytes.
    size
        Bytes that it takes in its file, header included; 0 for a new one.
    unsynchronized
        Whether all frames of a tag of version 4 are said to be unsynchronized.
    """

    version: int = 4
    frames: list[Frame] = field(default_factory=list)
    tail: bytes = b""
    size: int = 0
    unsynchronized: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Tag:
        """Read the tag at the start of `data`; `UnreadableError` where that cannot be followed."""
        size = id3_size(data)
        version, flags = data[3], data[5]
        if version not in (2, 3, 4):
            raise UnreadableError(f"its ID3 tag is of version 2.{version}, which nobody has described")
        body = data[HEADER:size]
        if len(body) < size - HEADER:
            raise UnreadableError("its ID3 tag is longer than the file")
        if version == 2 and flags & _EXTENDED:
            raise UnreadableError("its ID3 tag is compressed, which ID3v2.2 never described")
        if version == 4 and flags & _FOOTER:
            body = body[:-HEADER]
        if version < 4 and flags & _UNSYNC:
            body = _synchronized(body)
        if version > 2 and flags & _EXTENDED and not _NAME.fullmatch(body[:4]):
            # It holds a checksum of the frames, which we change, and the size of the padding. Some programs
            # set the flag and write none.
            body = body[_number(body[:4], 7) :] if version == 4 else body[4 + _number(body[:4], 8) :]
        frames, tail = _frames(body, version, 7 if version == 4 else 8)
        if version == 4 and tail:  # iTunes once wrote sizes as ID3v2.3 has them
            others, rest = _frames(body, version, 8)
            if len(rest) < len(tail):
                frames, tail = others, rest
        return cls(version, frames, tail, size, version == 4 and bool(flags & _UNSYNC))

    def get(self, name: str) -> tuple[str, ...]:
        """Return the texts of the first frame ``TCON``, or ``TXXX:MOOD``; none where there is no such."""
        for frame in self.frames:
            if self._name(frame) == name:
                return self._texts(frame)[1]
        return ()

    def names(self, name: str) -> list[str]:
        """Return the names under which there are such frames: for ``TXXX:MOOD`` also ``TXXX:mood``."""
        found = [own for own in map(self._name, self.frames) if own.casefold() == name.casefold()]
        return list(dict.fromkeys(found))

    def put(self, name: str, values: Sequence[str]) -> None:
        """Put one frame of these texts in place of all of that name, or none where there are no texts."""
        places = [at for at, frame in enumerate(self.frames) if self._name(frame) == name]
        self.frames = [frame for at, frame in enumerate(self.frames) if at not in places]
        if values:
            self.frames.insert(places[0] if places else len(self.frames), self._frame(name, values))

    def to_bytes(self) -> bytes:
        """Return the tag as it is to lie in the file; nothing where it has become empty."""
        if not self.frames and not self.tail:
            return b""
        short = self.version == 2
        parts = []
        for frame in self.frames:
            length = _digits(len(frame.body), 7 if self.version == 4 else 8, 3 if short else 4)
            parts.append(frame.name.encode("latin-1") + length + (b"" if short else frame.flags) + frame.body)
        body = b"".join(parts) + self.tail
        if not self.tail:
            room = self.size - HEADER
            body += bytes((room if len(body) <= room else len(body) + _PADDING) - len(body))
        if len(body) >= 1 << 28:
            raise UnreadableError("its ID3 tag would become longer than 256 MB, the most that there is")
        flags = _UNSYNC if self.unsynchronized else 0
        return b"ID3" + bytes((self.version, 0, flags)) + _digits(len(body), 7, 4) + body

    def _name(self, frame: Frame) -> str:
        name = next((long for long, short in _SHORT.items() if short == frame.name), frame.name)
        if name != "TXXX":
            return name
        try:
            return f"TXXX:{self._texts(frame)[0]}"
        except UnreadableError:
            return name

    def _texts(self, frame: Frame) -> tuple[str, tuple[str, ...]]:
        """Return the description, of a ``TXXX``, and the texts of a frame."""
        body = self._plain(frame)
        codec = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}.get(body[0] if body else -1)
        if codec is None:
            raise UnreadableError(f"its {frame.name} frame has no encoding that there is")
        raw = body[1:]
        if codec.startswith("utf-16"):
            raw = raw[: len(raw) // 2 * 2]
        if codec == "utf-16" and raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            codec = "utf-16-le"  # without a mark it is what Windows writes
        try:
            texts = [text.removeprefix("\ufeff") for text in raw.decode(codec).split("\0")]
        except UnicodeDecodeError:
            raise UnreadableError(f"its {frame.name} frame is not in the encoding that it names") from None
        what = texts.pop(0) if frame.name in ("TXXX", "TXX") else ""
        return what, tuple(text for text in texts if text)

    def _plain(self, frame: Frame) -> bytes:
        """Return the body of a frame without what its flags say was done to it."""
        body = frame.body
        if self.version == 2:
            return body
        how = frame.flags[1]
        if self.version == 3:
            encrypted, packed, skip = how & 0x40, how & 0x80, (4 if how & 0x80 else 0) + bool(how & 0x20)
        else:
            encrypted, packed, skip = how & 0x04, how & 0x08, bool(how & 0x40) + (4 if how & 0x01 else 0)
            if how & 0x02 or self.unsynchronized:
                body = body[:skip] + _synchronized(body[skip:])
        if encrypted:
            raise UnreadableError(f"its {frame.name} frame is encrypted")
        try:
            return zlib.decompress(body[skip:]) if packed else body[skip:]
        except zlib.error:
            raise UnreadableError(f"its {frame.name} frame is compressed, and broken") from None

    def _frame(self, name: str, values: Sequence[str]) -> Frame:
        kind, _, what = name.partition(":")
        texts = [what, *values] if kind == "TXXX" else list(values)
        try:
            body = b"\0" + b"\0".join(text.encode("latin-1") for text in texts)
        except UnicodeEncodeError:
            if self.version == 4:
                body = b"\3" + b"\0".join(text.encode() for text in texts)
            else:
                body = b"\1" + b"\0\0".join(b"\xff\xfe" + text.encode("utf-16-le") for text in texts)
        return Frame(_SHORT[kind] if self.version == 2 else kind, b"\0\0", body)


def v1_fields(last: bytes) -> dict[str, tuple[str, ...]]:
    """Return the fields of an ID3v1 tag, the last 128 bytes of a file, as frames of ID3v2.4.

    Its genre 12, "Other", is none: many encoders write it where nobody has said anything.
    """
    if len(last) != 128 or last[:3] != b"TAG":
        return {}
    parts = {"TIT2": last[3:33], "TPE1": last[33:63], "TALB": last[63:93], "TDRC": last[93:97]}
    found = {name: part.partition(b"\0")[0].decode("latin-1").strip() for name, part in parts.items()}
    if last[125] == 0 and last[126]:
        found["TRCK"] = str(last[126])
    genre = v1_genre(last[127])
    return {name: (text,) for name, text in {**found, "TCON": genre}.items() if text}


def v1_genre(number: int) -> str:
    """Return the name of a genre of ID3v1, as mutagen has them; empty for none and for "Other"."""
    from mutagen.id3 import TCON

    return "" if number == 12 or number >= len(TCON.GENRES) else str(TCON.GENRES[number])


def _frames(body: bytes, version: int, bits: int) -> tuple[list[Frame], bytes]:
    """Return the frames of a tag, and what follows them if it is more than zero bytes."""
    letters, head = (3, 6) if version == 2 else (4, HEADER)
    frames, at = [], 0
    while at + head <= len(body) and _NAME.fullmatch(body[at : at + letters]):
        length = _number(body[at + letters : at + 2 * letters], bits)
        if at + head + length > len(body):
            break
        flags = b"\0\0" if version == 2 else body[at + 8 : at + HEADER]
        name = body[at : at + letters].decode("latin-1")
        frames.append(Frame(name, flags, body[at + head : at + head + length]))
        at += head + length
    tail = body[at:]
    return frames, tail if tail.strip(b"\0") else b""


def _number(digits: bytes, bits: int) -> int:
    number = 0
    for digit in digits:
        number = number << bits | digit & (1 << bits) - 1
    return number


def _digits(number: int, bits: int, count: int) -> bytes:
    return bytes(number >> bits * place & (1 << bits) - 1 for place in reversed(range(count)))


def _synchronized(data: bytes) -> bytes:
    """Undo the unsynchronization: a zero byte that was put in after each byte of ones."""
    return data.replace(b"\xff\0", b"\xff")
