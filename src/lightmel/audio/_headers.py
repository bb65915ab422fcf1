"""Headers that count too few samples, and files of one recording behind another: WAV, AIFF, AU, FLAC.

libsndfile plays what the header counts. A recorder that broke off, or a program that joined files, leaves
counts that are too small. What stands behind the counted sound is a tag or a chunk, another file, or more of
the sound; each looks different.

Of FLAC, the frames at the end and at some places between are looked for by the fields and checksums of their
headers (RFC 9639, section 9.1). Of the others, the chunks are stepped through.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ._ends import begins, find_next
from ._id3 import HEADER, id3_size
from ._pieces import Piece, Stretch

_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF)
"""Sizes by which recorders say that they did not know; libsndfile then plays to the end."""
_STREAMED = 0x7FFF0000
"""Sizes from which on they mean the same: each program has its own largest number."""
_FORMS = (b"WAVE", b"AIFF", b"AIFC", b"8SVX")
_MOST_CHUNKS = 10_000
_LITTLE = 1_024
"""Bytes behind the sound that are no more of it: a tag that nobody knows, zeros up to a border."""
_AU_HEADER = 24
_TAGS = (b"TAG", b"ID3", b"APE", b"LYR")
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FLAC_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_FLAC_PLACES = 5
_FLAC_WINDOW = 65_536
_BLOCK_SIZES = {1: 192, **{n: 576 << n - 2 for n in range(2, 6)}, **{n: 256 << n - 8 for n in range(8, 16)}}


class Files(NamedTuple):
    """Files that lie one behind the other, with headers that count all there is; their `notes`.

    `stop` is where a file of another format begins behind them; it may be the end of all.
    """

    files: list[list[Piece]]
    stop: int
    notes: list[str]


def find_files(file: BinaryIO) -> Files | None:
    """Return the files that lie one behind the other in `file`.

    None where libsndfile plays all of it as it is, which is the rule, and where it is no such file.
    """
    size = file.seek(0, io.SEEK_END)
    found: list[list[Piece]] = []
    notes: list[str] = []
    start = 0
    while start < size and len(found) < _MOST_CHUNKS:
        file.seek(start)
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RIFX", b"FORM") and head[8:] in _FORMS:
            pieces, stop = _chunks(file, head, start, size, notes)
        elif head[:4] == b".snd" and len(head) == 12:
            pieces, stop = _au(file, head, start, size, notes)
        else:
            break
        found.append(pieces)
        start = stop
    if not found:
        return _flac(file, size)
    return None if found == [[Stretch(0, size)]] and not notes else Files(found, start, notes)


def _chunks(file: BinaryIO, head: bytes, start: int, size: int, notes: list[str]) -> tuple[list[Piece], int]:
    """Step through the chunks of a WAV or AIFF file; return its pieces and where another one begins."""
    order = "<" if head[:4] == b"RIFF" else ">"
    position, sound, frames = start + 12, None, None
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        chunk = file.read(12)
        if len(chunk) < 8:
            break
        name, length = chunk[:4], struct.unpack(f"{order}I", chunk[4:8])[0]
        if sound is not None:
            if begins(file, position):
                return [Stretch(start, position)], position
            if not _is_chunk(name, length, size - position - 8):
                return _longer(file, order, start, sound, frames, position, size), size
        if name == b"COMM":
            frames = position + 10
        if name in (b"data", b"SSND"):
            if length in _UNKNOWN or position + 8 + length >= size:
                _say_if_cut(length, size - position - 8, notes)
                break
            sound = position
        position += 8 + length + length % 2
    return [Stretch(start, size)], size


def _say_if_cut(length: int, left: int, notes: list[str]) -> None:
    """Say what is missing of sound that a header counts, if it does count it."""
    if length - left > _LITTLE and length < _STREAMED:
        notes.append(f"cut short: its header gives {length:,} bytes of sound, and {left:,} of them are there")


def _is_chunk(name: bytes, length: int, left: int) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name) and length <= left + 1


def _longer(
    file: BinaryIO, order: str, start: int, sound: int, frames: int | None, position: int, size: int
) -> list[Piece]:
    """Return a file whose sound goes on to the end, if what is at `position`, right behind it, is sound."""
    file.seek(sound + 4)
    length = struct.unpack(f"{order}I", file.read(4))[0]
    file.seek(position)
    behind = file.read(_LITTLE)
    directly = position - (sound + 8 + length) in (0, 1)
    if not directly or len(behind) < _LITTLE or behind[:3] in _TAGS or not any(behind):
        return [Stretch(start, size)]
    longer = min(size - sound - 8, 0xFFFFFFFE)
    pieces: list[Piece] = [
        Stretch(start, start + 4),
        struct.pack(f"{order}I", min(size - start - 8, 0xFFFFFFFE)),
    ]
    at = start + 8
    if frames is not None and at < frames < sound:  # AIFF counts twice
        file.seek(frames)
        counted = struct.unpack(">I", file.read(4))[0]
        scaled = counted * (longer - 8) // max(1, length - 8)
        pieces += [Stretch(at, frames), struct.pack(">I", min(scaled, 0xFFFFFFFE))]
        at = frames + 4
    return [*pieces, Stretch(at, sound + 4), struct.pack(f"{order}I", longer), Stretch(sound + 8, size)]


def _au(file: BinaryIO, head: bytes, start: int, size: int, notes: list[str]) -> tuple[list[Piece], int]:
    """Return the pieces of an AU file, and where another one begins; it has nothing behind its sound."""
    offset, length = struct.unpack(">2I", head[4:])
    end = start + offset + length
    if offset < _AU_HEADER:  # libsndfile reads from one place and seeks from the other
        return [
            Stretch(start, start + 4),
            struct.pack(">2I", _AU_HEADER, 0xFFFFFFFF),
            Stretch(start + 12, size),
        ], size
    if (length == _UNKNOWN[-1] or end + _LITTLE > size) and not begins(file, min(end, size)):
        _say_if_cut(length, size - start - offset, notes)
        return [Stretch(start, size)], size
    if begins(file, end):
        return [Stretch(start, end)], end
    return [Stretch(start, start + 8), b"\xff" * 4, Stretch(start + 12, size)], size


class _Info(NamedTuple):
    """What the first block of a FLAC file gives: its place, block and frame size, and count of samples."""

    start: int
    block: int
    most: int
    total: int


class _Frame(NamedTuple):
    """The header of a FLAC frame: its first sample, and how many it has."""

    first: int
    samples: int


def _flac(file: BinaryIO, size: int) -> Files | None:
    """Return the files within a FLAC file that libsndfile would not play to its end; None if it does."""
    info = _flac_info(file)
    if info is None or info.total == 0:
        return None
    length = min(1 << 20, 2 * info.most + 64 if info.most else _FLAC_WINDOW)
    ends, frames = [], list[_Frame]()
    for i in range(1, _FLAC_PLACES + 1):
        place = info.start + (size - info.start) * i // _FLAC_PLACES - (length if i == _FLAC_PLACES else 0)
        file.seek(max(info.start, place))
        frames = list(_flac_frames(file.read(length), info.block))
        if frames:
            ends.append(frames[-1].first + frames[-1].samples)
    stop = None if frames else find_next(file, info.start + 42)
    if stop is not None and not _is_flac(file, stop):
        return Files([[Stretch(0, stop)]], stop, [])
    if stop is None and ends and ends == sorted(ends) and ends[-1] <= info.total:
        return None
    starts = [0, *_flac_starts(file, info.start + 42)]
    if len(starts) == 1:
        if not ends or ends[-1] <= info.total or ends != sorted(ends):
            return None
        file.seek(info.start + 21)
        count = (file.read(1)[0] & 0xF0) << 32 | min(ends[-1], (1 << 36) - 1)
        at = info.start + 21
        return Files([[Stretch(0, at), count.to_bytes(5, "big"), Stretch(at + 5, size)]], size, [])
    return Files([[Stretch(a, b)] for a, b in zip(starts, [*starts[1:], size], strict=True)], size, [])


def _is_flac(file: BinaryIO, place: int) -> bool:
    file.seek(place)
    return file.read(4) == b"fLaC"


def _flac_info(file: BinaryIO) -> _Info | None:
    """Read the first block of a FLAC file, which a tag may stand before."""
    file.seek(0)
    start = id3_size(file.read(HEADER))
    file.seek(start)
    head = file.read(42)
    if len(head) < 42 or not _FLAC.match(head):
        return None
    least, block = struct.unpack(">2H", head[8:12])
    total = int.from_bytes(head[21:26], "big") & (1 << 36) - 1
    return _Info(start, block if least == block else 0, int.from_bytes(head[15:18], "big"), total)


def _flac_starts(file: BinaryIO, position: int) -> Iterator[int]:
    """Yield where other FLAC files begin behind `position`."""
    file.seek(position)
    window, base = file.read(1 << 20), position
    while window:
        for match in _FLAC.finditer(window):
            yield base + match.start()
        more = file.read(1 << 20)
        if not more:
            return
        base += max(0, len(window) - 7)
        window = window[-7:] + more


def _flac_frames(window: bytes, block: int) -> Iterator[_Frame]:
    """Yield the frames in a window that continue a frame before them; of the last two, both are sure."""
    known: dict[int, None] = {}  # where a frame would have to begin, to go on
    for match in _FLAC_SYNC.finditer(window):
        frame = _flac_frame(window[match.start() : match.start() + 17], block)
        if frame is None:
            continue
        if frame.first in known:
            yield frame
        known[frame.first + frame.samples] = None


def _flac_frame(header: bytes, block: int) -> _Frame | None:
    """Read the header of a frame; None if its checksum is wrong. `block` is the fixed block size, if any."""
    if len(header) < 17:
        return None
    size_code, sr_code, channels = header[2] >> 4, header[2] & 15, header[3] >> 4
    if not size_code or sr_code == 15 or channels > 10 or header[3] & 1:
        return None
    ones = 8 - (header[4] ^ 0xFF).bit_length()
    if ones == 1 or ones > 7:
        return None
    length = max(1, ones)
    number = header[4] & (0x7F >> ones)
    for byte in header[5 : 4 + length]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + length
    samples = _BLOCK_SIZES.get(size_code, 0)
    if not samples:
        samples = int.from_bytes(header[at : at + size_code - 5], "big") + 1
        at += size_code - 5
    at += {12: 1, 13: 2, 14: 2}.get(sr_code, 0)
    if _crc8(header[:at]) != header[at]:
        return None
    varies = header[1] & 1
    return _Frame(number if varies else number * (block or samples), samples)


def _crc8(data: bytes) -> int:
    """Return the checksum of a frame header: polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc
