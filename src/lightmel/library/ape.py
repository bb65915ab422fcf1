"""APEv2 tags as they lie in a file, item after item: what is not changed stays as it is, byte for byte.

The format: https://wiki.hydrogenaud.io/index.php?title=APEv2_specification.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from .id3 import UnreadableError

MARK = b"APETAGEX"
_FRAME = 32
"""Bytes of a header, and of a footer."""
_HAS_HEADER, _IS_HEADER = 1 << 31, 1 << 29
_BINARY = 0b10
"""One of the bits that say what an item holds; text has none."""


@dataclass(frozen=True)
class Item:
    """An item: its key, its flags, and its value as it lies there."""

    key: str
    flags: int
    value: bytes


@dataclass
class Tag:
    """An APEv2 tag, and where it lies: from byte `start` to byte `end`, one and the same for a new one."""

    start: int
    end: int
    items: list[Item] = field(default_factory=list)
    version: int = 2000

    @classmethod
    def find(cls, file: BinaryIO) -> Tag:
        """Read the tag at the end of a file, before its ID3v1 tag; where there is none, an empty one."""
        file.seek(0)
        if file.read(8) == MARK:
            raise UnreadableError("its APE tag is at the start, where few programs look for one")
        length = file.seek(0, 2)
        end = length - 128 if _read(file, length - 128, 3) == b"TAG" else length
        if _read(file, end - 9, 9) == b"LYRICS200":  # Lyrics3: six digits of its size, and these letters
            digits = _read(file, end - 15, 6)
            end -= int(digits) + 15 if digits.isdigit() else 0
        foot = _read(file, end - _FRAME, _FRAME)
        if foot[:8] != MARK:
            return cls(end, end)
        version, size, count, flags = struct.unpack_from("<4I", foot, 8)
        start = end - size - (_FRAME if flags & _HAS_HEADER else 0)
        data = _read(file, end - size, size - _FRAME)
        if start < 0 or len(data) != size - _FRAME:
            raise UnreadableError("its APE tag is longer than the file")
        return cls(start, end, _items(data, count), version)

    def get(self, key: str) -> tuple[str, ...]:
        """Return the texts of an item; none where there is no such."""
        for item in self.items:
            if item.key.casefold() == key.casefold():
                if item.flags >> 1 & 3 == _BINARY:
                    raise UnreadableError(f"its APE item {item.key} is no text")
                try:
                    texts = item.value.decode("utf-8" if self.version >= 2000 else "latin-1").split("\0")
                except UnicodeDecodeError:
                    raise UnreadableError(f"its APE item {item.key} is not UTF-8") from None
                return tuple(text for text in texts if text)
        return ()

    def put(self, key: str, values: Sequence[str]) -> None:
        """Put an item of these texts in place of that of this key, or none where there are no texts."""
        places = [at for at, item in enumerate(self.items) if item.key.casefold() == key.casefold()]
        name = self.items[places[0]].key if places else key
        self.items = [item for at, item in enumerate(self.items) if at not in places]
        if values:
            try:
                text = "\0".join(values).encode("utf-8" if self.version >= 2000 else "ascii")
            except UnicodeEncodeError:
                raise UnreadableError(f"its APE tag is of version 1, which cannot hold {values}") from None
            self.items.insert(places[0] if places else len(self.items), Item(name, 0, text))

    def to_bytes(self) -> bytes:
        """Return the tag as it is to lie in the file; nothing where it has become empty."""
        if not self.items:
            return b""
        body = b"".join(
            struct.pack("<2I", len(item.value), item.flags) + item.key.encode("latin-1") + b"\0" + item.value
            for item in self.items
        )

        def frame(flags: int) -> bytes:
            numbers = struct.pack("<4I", self.version, len(body) + _FRAME, len(self.items), flags)
            return MARK + numbers + bytes(8)

        if self.version < 2000:  # APEv1 has no header
            return body + frame(0)
        return frame(_HAS_HEADER | _IS_HEADER) + body + frame(_HAS_HEADER)


def _items(data: bytes, count: int) -> list[Item]:
    items: list[Item] = []
    at = 0
    for _ in range(count):
        key_end = data.find(b"\0", at + 8)
        if key_end < 0:
            raise UnreadableError("its APE tag has fewer items than it says")
        length, flags = struct.unpack_from("<2I", data, at)
        if key_end + 1 + length > len(data):
            raise UnreadableError("its APE tag has an item that is longer than the tag")
        key = data[at + 8 : key_end].decode("latin-1")
        items.append(Item(key, flags, data[key_end + 1 : key_end + 1 + length]))
        at = key_end + 1 + length
    return items


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    if start < 0 or length < 0:
        return b""
    file.seek(start)
    return file.read(length)
