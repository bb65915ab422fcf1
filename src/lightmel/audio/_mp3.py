"""The number of frames in an MP3 file, and a view of the file whose header has that number.

libsndfile plays no more frames than the Xing header counts and, where there is none, no more than it
estimates from the first frame's bit rate. For a file of variable bit rate without that header the estimate
can drop most of the music; of files put end to end everything behind the first is lost. Stepping through
the frame headers gives the right count, at a small part of the cost of decoding.

The header fields are those of ISO/IEC 11172-3 and 13818-3; Xing's are frames and bytes behind flags.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MPEG1, _LAYER3, _MONO = 3, 1, 3
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_OTHERS = (b"OggS", b"fLaC", b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"caff")
"""How files of other formats begin: bytes that look like a frame are found in any of them."""
_SEARCH = 65_536
"""Bytes looked through for the next frame where something else stands in its place."""


class Frame(NamedTuple):
    """The header of one layer III frame: its length in bytes, samples, rate in Hz and side information."""

    length: int
    samples: int
    sr: int
    side_bytes: int


@lru_cache(maxsize=1024)  # a file repeats a few headers many thousand times
def parse_frame(header: bytes) -> Frame | None:
    """Read the four bytes of a frame header; None where they are not one of layer III."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbits_index, sr_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version not in _RATES or layer != _LAYER3 or kbits_index in (0, 15) or sr_index == 3:
        return None
    mpeg1, mono = version == _MPEG1, header[3] >> 6 == _MONO
    sr = _RATES[version][sr_index]
    bits = 1_000 * (_KBITS_MPEG1 if mpeg1 else _KBITS_MPEG2)[kbits_index]
    side_bytes = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    return Frame((144 if mpeg1 else 72) * bits // sr + padding, 1_152 if mpeg1 else 576, sr, side_bytes)


class Mend(NamedTuple):
    """The correction of a file's frame count: `head` in place of all that is before byte `tail_start`."""

    head: bytes
    tail_start: int


class MendedFile(io.RawIOBase):
    """`file`, mended: seekable, read-only, nothing copied."""

    def __init__(self, file: BinaryIO, mend: Mend) -> None:
        self._file, (self._head, self._tail_start) = file, mend
        self._size = len(mend.head) + max(0, file.seek(0, io.SEEK_END) - mend.tail_start)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte and return its position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` as far as the file goes; a short count means the end."""
        out = memoryview(buffer).cast("B")
        data = self._head[self._position : self._position + len(out)]
        if len(data) < len(out):
            self._file.seek(self._tail_start + max(0, self._position - len(self._head)))
            data += self._file.read(len(out) - len(data))
        out[: len(data)] = data
        self._position += len(data)
        return len(data)


def find_mend(file: BinaryIO) -> Mend | None:
    """Return what puts the right number of frames into the first frame of an MP3 file.

    None where the file's own count covers all its frames, and where it is no MP3 file. A first frame that
    holds no count gets a frame with one in front of it; decoders that read it also drop their own delay of
    529 samples.
    """
    file.seek(0)
    if file.read(4) in _OTHERS:
        return None
    start = _next_frame(file, _skip_id3(file, 0))
    if start is None:
        return None
    file.seek(start)
    raw = file.read(4)
    frame = parse_frame(raw)
    assert frame is not None  # _next_frame has just read it
    first = raw + file.read(frame.length - 4)
    at = 4 + frame.side_bytes
    is_info = first[at : at + 4] in (b"Xing", b"Info")
    flags, count = struct.unpack_from(">2I", first, at + 4) if is_info else (0, 0)
    sound_start = start + frame.length if is_info else start
    true_count = _count_frames(file, sound_start, frame.sr)
    if is_info and flags & 1:
        if true_count <= count:
            return None
        head = first[: at + 8] + struct.pack(">I", true_count) + first[at + 12 :]
    else:
        head = _info_frame(raw, true_count)
    return Mend(head, sound_start)


def _info_frame(header: bytes, count: int) -> bytes:
    """Make a silent frame like the one of `header` that holds the number of frames that follow."""
    # No checksum, no padding, and index 9 (128 or 80 kbit/s): long enough for the fields at every rate.
    header = bytes((header[0], header[1] | 1, header[2] & 0x0C | 0x90, header[3]))
    frame = parse_frame(header)
    assert frame is not None  # only fields that stay legal were changed
    body = header + bytes(frame.side_bytes) + b"Xing" + struct.pack(">2I", 1, count)
    return body.ljust(frame.length, b"\0")


def _count_frames(file: BinaryIO, position: int, sr: int) -> int:
    """Count the frames from `position` to the end of the file, stepping over whatever lies between."""
    count = 0
    size = file.seek(0, io.SEEK_END)
    file.seek(position)
    while position < size:
        frame = parse_frame(file.read(4))
        if frame is not None and frame.sr == sr:
            count += 1
            position += frame.length
        else:
            following = _next_frame(file, _skip_id3(file, position))
            if following is None:
                break
            position = following
        file.seek(position)
    return count


def _skip_id3(file: BinaryIO, position: int) -> int:
    """Return the first position behind the ID3v2 tags that begin at `position`, if any do."""
    while True:
        file.seek(position)
        tag = file.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            return position
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        position += 10 + size + (10 if tag[5] & 0x10 else 0)


def _next_frame(file: BinaryIO, position: int) -> int | None:
    """Return where the next frame starts that another frame of its kind, or the end, follows."""
    file.seek(position)
    window = file.read(_SEARCH)
    at_end = len(window) < _SEARCH
    offset = window.find(b"\xff")
    while offset >= 0:
        frame = parse_frame(window[offset : offset + 4])
        if frame is not None:
            after = window[offset + frame.length : offset + frame.length + 4]
            following = parse_frame(after)
            if (following is not None and following.sr == frame.sr) or (
                at_end and offset + frame.length == len(window)
            ):
                return position + offset
        offset = window.find(b"\xff", offset + 1)
    return None
