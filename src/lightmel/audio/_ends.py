"""Where a file of any kind ends, and whether another one begins there.

Recordings are joined by `cat`, by download managers and by voice recorders, whatever they are; a decoder
plays the first one and is done, or plays the bytes of the second one as noise. Every format has its own way
to say how long it is; all of them begin with something that is not found by chance.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import BinaryIO, TypeAlias

from . import _mp3

Step: TypeAlias = Callable[[bytes, int], int]
"""From the first bytes of a part, and how many there are up to the end, to its length; 0 where it is none."""

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
_HEAD = 64
_WINDOW = 1 << 20
_MOST = 1_000_000
"""Boxes or chunks of one file; headers that lie may claim any number of empty ones."""
_LATER = re.compile(
    rb"fLaC[\x00\x80]\x00\x00\x22|OggS\x00[\x02\x06]|RIFF.{4}(?:WAVE|AVI )|RF64.{4}WAVE|FORM.{4}AIF[FC]"
    rb"|\x00\x00.{2}ftyp|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66|caff\x00\x01|wvpk|ID3[\x02-\x04]"
    rb"|FLV\x01|riff\x2e\x91|\.snd\x00|TTA1|#!AMR|\xff[\xf1-\xf3\xf9-\xfb]",
    re.S,
)


def begins(file: BinaryIO, place: int) -> bool:
    """Return whether a file of sound of some kind begins at a place of `file`."""
    file.seek(place)
    head = file.read(_HEAD)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return head[8:12] in (b"WAVE", b"AVI ")
    if head[:4] == b"FORM":
        return head[8:12] in (b"AIFF", b"AIFC", b"8SVX")
    if head[:4] == b".snd":
        return len(head) >= 24 and 24 <= int.from_bytes(head[4:8], "big") <= 1 << 16
    if head[4:8] == b"ftyp":
        return 8 <= int.from_bytes(head[:4], "big") <= 1 << 12
    if head[:4] == b"OggS":
        return head[4:5] == b"\0" and bool(head[5:6] and head[5] & 2)
    if head[:4] == _EBML:
        return b"matroska" in head or b"webm" in head
    if head[:3] == b"ID3" or head[:1] == b"\xff":
        return _mp3.begins(file, place) or _frames_of_aac(file, place)
    return (
        head.startswith((_ASF, _W64, b"caff\x00\x01", b"#!AMR", b"FLV\x01", b"TTA1"))
        or re.match(rb"fLaC[\x00\x80]\x00\x00\x22", head) is not None
        or (head[:4] == b"wvpk" and head[9:10] == b"\x04")
    )


def find_next(file: BinaryIO, place: int) -> int | None:
    """Return the first place from `place` on where a file of some kind begins."""
    file.seek(place)
    window, base = file.read(_WINDOW), place
    while window:
        for match in _LATER.finditer(window):
            if begins(file, base + match.start()):
                return base + match.start()
        base += max(1, len(window) - 15)
        file.seek(base)
        window = file.read(_WINDOW)
        if len(window) < 16:
            return None
    return None


def find_end(file: BinaryIO) -> int | None:
    """Return where a file ends that says so by its own structure; None where none is known.

    It is before the end of `file` where the boxes, chunks, blocks or tags of the format stop there, and
    behind it where the last one is not all there.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD)
    if head[4:8] == b"ftyp":
        return _steps(file, size, 0, _box)
    if head[:4] == _EBML:
        return _steps(file, size, 0, _element)
    if head.startswith(_ASF):
        return _steps(file, size, 0, _object)
    if head[:5] == b"caff\0":
        return _steps(file, size, 8, _chunk)
    if head[:4] == b"wvpk":
        return _steps(file, size, 0, _block, looks=False)
    if head[:4] == b"FLV\x01":
        return _steps(file, size, 13, _tag, looks=False)
    if _frames_of_aac(file, 0):
        return _steps(file, size, 0, _frame_of_aac, looks=False)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _steps(file, size, 0, _riff)
    if head.startswith(_W64):
        return _counted(int.from_bytes(head[16:24], "little"), size)
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        return _counted(8 + int.from_bytes(head[20:28], "little"), size)
    return None


def _counted(end: int, size: int) -> int:
    return end if _HEAD < end < 1 << 60 else size


def _steps(file: BinaryIO, size: int, place: int, length: Step, *, looks: bool = True) -> int:
    """Step from one part of a file to the next, until there is none or another file begins.

    Whether one begins is not looked for where all parts of a file begin as its first one does.
    """
    for count in range(_MOST):
        file.seek(place)
        head = file.read(24)
        found = length(head, size - place)
        if found <= 0 or (looks and count and begins(file, place)):
            return place
        place += found
        if place >= size:
            return place if looks else size  # what has no count of the whole has no more than there is
    return size


def _box(head: bytes, left: int) -> int:
    """MP4: a size, a name of four letters; 1: the size follows; 0: to the end."""
    if len(head) < 8 or not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in head[4:8]):
        return 0
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
        return length if length >= 16 else 0
    return left if length == 0 else length if length >= 8 else 0


def _element(head: bytes, left: int) -> int:
    """Matroska: an identifier, and a size in as many bytes as its first one says; all ones: not known."""
    if head[:4] not in (_EBML, _SEGMENT) and head[:1] != b"\xec":  # the last is a gap
        return 0
    at = 1 if head[:1] == b"\xec" else 4
    if len(head) <= at or not head[at]:
        return 0
    width = 9 - head[at].bit_length()
    number = int.from_bytes(head[at : at + width], "big") & (1 << 7 * width) - 1
    return left if number == (1 << 7 * width) - 1 else at + width + number


def _object(head: bytes, left: int) -> int:
    """ASF: sixteen bytes that nobody else has, and a size with all of it."""
    length = int.from_bytes(head[16:24], "little")
    return length if len(head) == 24 and 24 <= length < 1 << 60 else 0


def _chunk(head: bytes, left: int) -> int:
    """CAF: a name, a size of eight bytes; -1: to the end."""
    if len(head) < 12 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
        return 0
    length = int.from_bytes(head[4:12], "big", signed=True)
    return left if length < 0 else 12 + length


def _block(head: bytes, left: int) -> int:
    """WavPack: its name, and the size of what follows."""
    return 8 + int.from_bytes(head[4:8], "little") if head[:4] == b"wvpk" else 0


def _tag(head: bytes, left: int) -> int:
    """Flash: a kind, three bytes of size, seven of others, and the size again behind it."""
    return 15 + int.from_bytes(head[1:4], "big") if len(head) >= 11 and head[0] in (8, 9, 18) else 0


def _riff(head: bytes, left: int) -> int:
    """AVI: one list behind the other, each of at most a gigabyte."""
    if head[:4] != b"RIFF" or head[8:11] != b"AVI":
        return 0
    length = 8 + int.from_bytes(head[4:8], "little")
    return length + length % 2


def _frames_of_aac(file: BinaryIO, place: int) -> bool:
    """Return whether three frames of AAC lie behind one another."""
    for _ in range(3):
        file.seek(place)
        length = _frame_of_aac(file.read(7), 0)
        if not length:
            return False
        place += length
    return True


def _frame_of_aac(head: bytes, left: int) -> int:
    """ADTS: twelve ones, and thirteen bits of length with all of it."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0
