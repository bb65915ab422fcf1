"""What libsndfile leaves out of an MP3 file, and views of the file of which it plays all.

libsndfile plays no more frames than the Xing header counts and, where there is none, no more than it
estimates from the first frame's bit rate. For a file of variable bit rate without that header the estimate
can drop most of the music; of files put end to end everything behind the first is lost. It ends where more
than a kilobyte of something else stands between two frames (a tag, a page of HTML, a sector that went bad),
and where rate or channels change. Stepping through the frame headers, at a small part of the cost of
decoding, gives the frames that there are: runs of one rate and number of channels, each of which is a file
of its own with the right count, and nothing between its frames.

The header fields are those of ISO/IEC 11172-3 and 13818-3; Xing's are frames and bytes behind flags.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
from array import array
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from ._id3 import id3_size
from ._pieces import Piece, Stretch

_MPEG1, _LAYER3, _MONO = 3, 1, 3
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_OTHERS = (
    *(b"OggS", b"fLaC", b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"caff"),
    *(
        b"\x1aE\xdf\xa3",
        b"\x30\x26\xb2\x75",
        b"wvpk",
        b"riff",
        b"FLV\x01",
        b"TTA1",
        b"#!AM",
    ),  # Matroska, ASF, others
)
"""How files of other formats begin: bytes that look like a frame are found in any of them."""
_SEARCH = 65_536
"""Bytes looked through for the first frame where something else stands in its place."""
_WINDOW = 1 << 18
_IN_A_ROW = 3
"""Frames of one kind, one behind the other, that are no chance: in noise every 10^13th byte begins such."""
_SYNC = re.compile(rb"\xff(?=[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef])")
_AT_END = 4_096
"""Bytes behind the last frame that are let pass: half a frame, a tag that nobody knows."""
EVERY = 64
"""Frames from one whose place is kept to the next such."""


class Frame(NamedTuple):
    """The header of one layer III frame: its length in bytes, samples, rate in Hz and side information.

    All but the length are the same in all frames of a run; the side information tells mono from stereo.
    """

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


class Run(NamedTuple):
    """So many frames of one rate and number of channels, in stretches without anything between them.

    `marks` are the places of the first and of every `EVERY`-th frame behind it, counted in the bytes of the
    stretches; `lengths` are those of its frames by their headers, each of which is there once; `whole` is
    whether all of the last frame is there.
    """

    first: Frame
    frames: int
    stretches: list[Stretch]
    marks: array[int]
    lengths: dict[bytes, int]
    whole: bool


class Frames(NamedTuple):
    """The runs of a file, and what else stands between frames: ``(second, bytes)``, tags left out.

    `plain` is whether nothing but one ID3v2 tag stands before the first of them. Of what else may stand
    there, libsndfile makes one thing where it has the file's name, and another where it has an open file.
    `stop` is where a file of another format begins behind them; None if none does.
    """

    runs: list[Run]
    strange: list[tuple[float, int]]
    plain: bool
    stop: int | None = None


class _Reader:
    """Bytes of a file at any place, read a window at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        self.base, self.window = 0, b""

    def offset(self, position: int, length: int) -> int:
        """Return where `position` is in `window`, with `length` bytes behind it if the file has them."""
        at = position - self.base
        if at < 0 or at + length > len(self.window):
            self._file.seek(position)
            self.base, self.window = position, self._file.read(max(length, _WINDOW))
            at = 0
        return at

    def at(self, position: int, length: int) -> bytes:
        """Return `length` bytes from `position` on, fewer at the end of the file."""
        at = self.offset(position, length)
        return self.window[at : at + length]

    def beside(self, position: int, length: int) -> bytes:
        """Return the same, but leave the window where it is."""
        at = position - self.base
        if at + length <= len(self.window):
            return self.window[at : at + length]
        self._file.seek(position)
        return self._file.read(length)


def find_frames(file: BinaryIO) -> Frames | None:
    """Return the frames of an MP3 file; None where it is none, or is of a free bit rate.

    It reads every byte once, or twice where something else stands between frames.
    """
    file.seek(0)
    reader = _Reader(file)
    if _is_other(reader, 0):
        return None
    position = _skip_tags(reader, 0)
    if _is_free_format(reader.at(position, 4)):
        return None
    start = _next_frame(reader, position, min(position + _SEARCH, reader.size))
    if start is None:
        return None
    found = Frames([], [], start == _tag_length(reader, 0))
    position, seconds = start, 0.0
    while position < reader.size:
        run, position = _run(reader, position, seconds, found.strange)
        found.runs.append(run)
        seconds += run.frames * run.first.samples / run.first.sr
        if position < reader.size and _is_other(reader, position):
            return found._replace(stop=position)
    return found


def begins(file: BinaryIO, place: int) -> bool:
    """Return whether an MP3 file, or another behind ID3 tags, begins at a place of `file`."""
    reader = _Reader(file)
    position = _skip_tags(reader, place)
    return _in_a_row(reader, position) or (position > place and _is_other(reader, position))


def behind_tags(file: BinaryIO, place: int) -> int:
    """Return the first place behind the ID3 and APE tags that begin at a place of `file`."""
    return _skip_tags(_Reader(file), place)


def _is_other(reader: _Reader, position: int) -> bool:
    """Return whether a file of another format begins there."""
    head = reader.at(position, 8)
    return head[:4] in _OTHERS or head[4:] == b"ftyp"


def _run(reader: _Reader, position: int, seconds: float, strange: list[tuple[float, int]]) -> tuple[Run, int]:
    """Follow the frames from `position` on; return them, and where a frame of another kind, or none, follows.

    `position` is that of a frame, so that there is always one.
    """
    first = parse_frame(reader.at(position, 4))
    assert first is not None
    kind, count, begin, stretches = first[1:], 0, position, list[Stretch]()
    marks, earlier = array("Q"), 0  # bytes of the stretches before this one
    lengths: dict[bytes, int] = {}
    window, at = b"", 0
    while True:
        if at + 4 > len(window):
            at = reader.offset(position, 4)
            window = reader.window
        base = position - at
        with contextlib.suppress(KeyError):
            while True:
                length = lengths[window[at : at + 4]]
                if count % EVERY == 0:
                    marks.append(earlier + base + at - begin)
                count += 1
                at += length
        position = base + at
        if at + 4 > len(window) and position + 4 <= reader.size:
            continue
        frame = parse_frame(window[at : at + 4])
        if frame is not None and frame[1:] == kind:
            lengths[window[at : at + 4]] = frame.length
            continue
        stretches.append(Stretch(begin, min(position, reader.size)))
        untagged = _skip_tags(reader, position)
        if _is_other(reader, untagged):
            return Run(first, count, stretches, marks, lengths, position <= reader.size), untagged
        following = _next_frame(reader, untagged, reader.size)
        skipped = (reader.size if following is None else following) - untagged
        if skipped > (_AT_END if following is None else 0):
            strange.append((seconds + count * first.samples / first.sr, skipped))
        if following is None:
            return Run(first, count, stretches, marks, lengths, position <= reader.size), reader.size
        frame = parse_frame(reader.at(following, 4))
        if frame is None or frame[1:] != kind:
            return Run(first, count, stretches, marks, lengths, whole=True), following
        window, at = b"", 0  # the search may have moved the reader's window
        earlier += stretches[-1].stop - begin
        begin = position = following


def _is_free_format(header: bytes) -> bool:
    return parse_frame(header) is None and _with_bit_rate(header) is not None


def _with_bit_rate(header: bytes) -> Frame | None:
    """Read a header of a free bit rate as if it had one."""
    if len(header) < 4 or header[2] >> 4:
        return None
    return parse_frame(bytes((*header[:2], header[2] | 0x10, header[3])))


def _skip_tags(reader: _Reader, position: int) -> int:
    """Return the first position behind the ID3v2, ID3v1 and APEv2 tags that begin at `position`."""
    while length := _tag_length(reader, position):
        position += length
    return position


def _tag_length(reader: _Reader, position: int) -> int:
    """Return the length in bytes of the tag that begins at `position`; 0 if none does, or not all of it."""
    tag = reader.at(position, 32)
    if size := id3_size(tag):
        length = size
    elif tag[:3] == b"TAG":
        length = 227 if tag[:4] == b"TAG+" else 128
    elif tag[:8] == b"APETAGEX" and len(tag) == 32:
        # Its size counts what follows the header; of a footer, nothing does.
        length = 32 + (int.from_bytes(tag[12:16], "little") if tag[23] & 0x20 else 0)
    else:
        return 0
    return length if position + length <= reader.size else 0


def _next_frame(reader: _Reader, position: int, limit: int) -> int | None:
    """Return the first place from `position` to before `limit` where frames of one kind begin.

    That is, some in a row, or fewer that the end of the file or a tag follows.
    """
    while position < limit:
        at = reader.offset(position, min(_SEARCH, reader.size - position))
        stop = min(len(reader.window), at + limit - position)
        for match in _SYNC.finditer(reader.window, at, min(stop + 2, len(reader.window))):
            if match.start() < stop and _in_a_row(reader, reader.base + match.start()):
                return reader.base + match.start()
        following = reader.base + stop
        if following >= reader.size:
            return None
        # A header may lie across the border.
        position = max(position + 1, following - 3) if following < limit else limit
    return None


def _in_a_row(reader: _Reader, position: int) -> bool:
    """Return whether frames of one kind follow each other from `position` on."""
    kind: tuple[int, ...] | None = None
    for _ in range(_IN_A_ROW):
        header = reader.beside(position, 4)
        frame = parse_frame(header)
        if frame is None or kind not in (None, frame[1:]):
            return kind is not None and (position == reader.size or header[:3] in (b"TAG", b"ID3", b"APE"))
        kind = frame[1:]
        position += frame.length
    return True


def playable(file: BinaryIO, run: Run) -> list[Piece]:
    """Return the run as a file whose header counts all its frames.

    A first frame that holds no count gets a frame with one in front of it; decoders that read it also drop
    their own delay of 529 samples.
    """
    start, stop = run.stretches[0]
    first, at = first_frame(file, run), 4 + run.first.side_bytes
    is_info = holds_info(first, run.first)
    flags, count = struct.unpack_from(">2I", first, at + 4) if is_info else (0, 0)
    true_count = run.frames - is_info
    if is_info and flags & 1:
        if true_count <= count and len(run.stretches) == 1:
            return list[Piece](run.stretches)
        sizes = struct.pack(">I", max(count, true_count))
        if flags & 2:
            sizes += struct.pack(">I", sum(end - begin for begin, end in run.stretches))
        head = first[: at + 8] + sizes + first[at + 8 + len(sizes) :]
    else:
        head = info_frame(first[:4], true_count)
    rest = Stretch(start + run.first.length if is_info else start, stop)
    return [head, rest, *run.stretches[1:]]


def first_frame(file: BinaryIO, run: Run) -> bytes:
    """Return the bytes of the first frame of a run."""
    file.seek(run.stretches[0].start)
    return file.read(run.first.length)


def holds_info(first: bytes, frame: Frame) -> bool:
    """Return whether a first frame holds Xing's fields and no sound."""
    at = 4 + frame.side_bytes
    return first[at : at + 4] in (b"Xing", b"Info") and len(first) >= at + 16


def info_frame(header: bytes, count: int) -> bytes:
    """Make a silent frame like the one of `header` that holds the number of frames that follow."""
    # No checksum, no padding, and index 9 (128 or 80 kbit/s): long enough for the fields at every rate.
    header = bytes((header[0], header[1] | 1, header[2] & 0x0C | 0x90, header[3]))
    frame = parse_frame(header)
    assert frame is not None  # only fields that stay legal were changed
    body = header + bytes(frame.side_bytes) + b"Xing" + struct.pack(">2I", 1, count)
    return body.ljust(frame.length, b"\0")
