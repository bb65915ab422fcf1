"""The pages of an Ogg file: where libsndfile stops, what went bad, and where another recording begins.

libsndfile plays the first of several recordings that lie behind one another. In Opus it stops for good at a
page (other than the last) whose time stamp is smaller than the one before it plus the packets on it. FFmpeg
writes such pages where it dropped or moved a few milliseconds, and other players ignore them. The pages are
read before decoding begins, so that such a recording goes to FFmpeg from its start. A page whose checksum
is wrong is dropped by every decoder, and one may be missing; then what follows is nearer to the beginning
than the time stamps by which one seeks.

Pages are those of RFC 3533, packets those of RFC 6716, section 3.1; time is counted at 48 kHz.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ._ends import begins

_SILK, _HYBRID, _CELT = (480, 960, 1_920, 2_880), (480, 960), (120, 240, 480, 960)
_GOES_ON, _FIRST_PAGE, _LAST_PAGE = 1, 2, 4
_NO_PACKET_ENDS = -1
_OPUS_SR = 48_000
_HEADER = 27
_WINDOW = 4_096
_TWICE = 4
"""How often the bytes of a file may be read in search of whole pages: headers that lie make them overlap."""


class Page(NamedTuple):
    """One Ogg page: its place in bytes, its stream, its flags, its time stamp and number.

    `samples` is the length of the packets that end on it, were they Opus; `head` is its first bytes.
    """

    start: int
    stop: int
    serial: int
    flags: int
    granule: int
    number: int
    samples: int
    head: bytes


@dataclass
class Recording:
    """One of the recordings that lie behind one another in a file: its bytes, and what is odd in it.

    `sr` is the rate of its time stamps, where that is known. `stop` is where libsndfile would stop, in
    seconds, None where it plays all that is there; `broken` are the places where pages are missing, as the
    last time stamps before them; it is not `whole` if the file ends within a page.
    """

    begin: int
    end: int
    sr: int | None = None
    stop: float | None = None
    broken: list[int] = field(default_factory=list)
    whole: bool = True


def is_ogg(file: BinaryIO) -> bool:
    """Return whether a file begins as Ogg does."""
    file.seek(0)
    return file.read(4) == b"OggS"


def find_recordings(file: BinaryIO) -> list[Recording]:
    """Return the recordings of an Ogg file, in order, up to where another format begins."""
    found: list[Recording] = []
    state = _Following()
    size = file.seek(0, io.SEEK_END)
    stop = 0
    for page in _pages(file, size):
        broken = page.start > stop
        if page.flags & _FIRST_PAGE and not state.heading:
            found.append(Recording(page.start if found else 0, size))
            if len(found) > 1:
                found[-2].end = page.start
            state = _Following()
        elif not found:  # it begins in the middle of one
            found.append(Recording(0, size))
        state.see(page, found[-1], broken)
        stop = page.stop
    if found and stop < size:
        if begins(file, stop):
            found[-1].end = stop
            return found
        file.seek(stop)
        found[-1].whole = file.read(4) != b"OggS"
    return found


class _Following:
    """What is to be known of the pages before, of one recording."""

    def __init__(self) -> None:
        self.heading = False
        self._serial: int | None = None
        self._opus = self._ended = False
        self._granule: int | None = None
        self._number = -1

    def see(self, page: Page, recording: Recording, broken: bool) -> None:
        """Take note of a page; `broken` is whether something stands before it that is none."""
        self.heading = bool(page.flags & _FIRST_PAGE)
        if self._serial is None:
            self._serial, self._number = page.serial, page.number - 1
            recording.sr, self._opus = _rate(page.head)
        if page.serial != self._serial:
            return
        missing, self._number = page.number != self._number + 1, page.number
        if (broken or missing) and not self.heading:
            recording.broken.append(self._granule or 0)
        if page.granule == _NO_PACKET_ENDS:
            return
        if self._opus and not self._ended and page.granule > 0:  # the two header pages have zero
            back = self._granule is not None and self._granule + page.samples > page.granule
            if page.flags & _LAST_PAGE:
                self._ended = True
            elif back and recording.stop is None and self._granule is not None:
                recording.stop = self._granule / _OPUS_SR
        self._granule = page.granule or self._granule


def _rate(head: bytes) -> tuple[int | None, bool]:
    """Return the rate of a stream's time stamps, where known, and whether it is Opus."""
    if head.startswith(b"OpusHead"):
        return _OPUS_SR, True
    if head.startswith(b"\x01vorbis") and len(head) >= 16:
        return int.from_bytes(head[12:16], "little") or None, False
    return None, False


def _frame_samples(toc: int) -> int:
    """Return the length of one frame of a packet that begins with the byte `toc`."""
    mode = toc >> 3
    if mode < 12:
        return _SILK[mode % 4]
    return _HYBRID[mode % 2] if mode < 16 else _CELT[mode % 4]


# Samples by first byte, for the packets of one or two frames; the others have their number in the second.
_SAMPLES = [_frame_samples(toc) * (1, 2, 2, 0)[toc & 3] for toc in range(256)]


def packet_samples(packet: bytes) -> int:
    """Return the length of a packet, from its first two bytes, in samples at 48 kHz."""
    if len(packet) > 1 and packet[0] & 3 == 3:
        return _frame_samples(packet[0]) * (packet[1] & 63)
    return _SAMPLES[packet[0]] if packet else 0


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ONES = 0xFFFFFFFF


def checksum(page: bytes) -> int:
    """Return the checksum of a page whose own field is zero.

    Ogg's polynomial is zlib's, with the bits of each byte and of the sum the other way round, and without
    the ones that zlib begins and ends with.
    """
    turned = zlib.crc32(page.translate(_TURNED), _ONES) ^ _ONES
    return int.from_bytes(turned.to_bytes(4, "little").translate(_TURNED), "big")


def renumber(path: str, serial: int) -> None:
    """Give every page of a file the stream number `serial`, and its checksum anew, where it lies."""
    with Path(path).open("r+b") as file:
        for page in _pages(file, file.seek(0, io.SEEK_END)):
            file.seek(page.start)
            old = file.read(page.stop - page.start)
            blank = old[:14] + serial.to_bytes(4, "little") + old[18:22] + bytes(4) + old[26:]
            file.seek(page.start)
            file.write(blank[:22] + checksum(blank).to_bytes(4, "little") + blank[26:])


def _pages(file: BinaryIO, size: int) -> Iterator[Page]:
    """Yield the pages whose checksums are right, stepping over whatever lies between them."""
    carried: dict[int, bytes] = {}  # the first bytes of packets that go on from one page to the next
    budget = _TWICE * size + (1 << 20)
    position, last = 0, -1
    while position < size and budget > 0:
        file.seek(position)
        header = file.read(_HEADER)
        if len(header) == _HEADER and header[:5] == b"OggS\0":
            lacing = file.read(header[26])
            length = sum(lacing)
            body = file.read(length)
            budget -= _HEADER + len(lacing) + len(body)
            blank = header[:22] + bytes(4) + header[26:]
            right = int.from_bytes(header[22:26], "little")
            if len(body) == length and checksum(blank + lacing + body) == right:
                flags, granule, serial, number = struct.unpack_from("<BqII", header, 5)
                begun = carried.pop(serial, b"") if flags & _GOES_ON else b""
                samples, rest = _samples(lacing, body, begun)
                if rest:
                    carried[serial] = rest
                    if len(carried) > 16:  # no file has so many streams at once
                        carried.clear()
                stop = position + _HEADER + len(lacing) + length
                yield Page(position, stop, serial, flags, granule, number, samples, body[:16])
                position = last = stop
                continue
        if position == last and begins(file, position):  # a file of another format
            return
        found, read = _find(file, position + 1)
        if found is None:
            return
        budget -= read
        position = found


def _samples(lacing: bytes, body: bytes, carried: bytes) -> tuple[int, bytes]:
    """Return the length of the packets that end on a page, and the first bytes of one that goes on."""
    samples = start = end = 0
    for size in lacing:
        end += size
        if size < 255:
            if carried:
                samples += packet_samples((carried + body[:1])[:2])
                carried = b""
            elif start < end:
                samples += _SAMPLES[body[start]] or packet_samples(body[start : min(end, start + 2)])
            start = end
    if start < end:  # the last packet goes on
        carried = (carried + body[start : start + 2])[:2]
    return samples, carried


def _find(file: BinaryIO, position: int) -> tuple[int | None, int]:
    """Return where the next page may begin, and how many bytes were read to find it."""
    read = 0
    while True:
        file.seek(position)
        window = file.read(_WINDOW)
        read += len(window)
        at = window.find(b"OggS")
        if at >= 0:
            return position + at, read
        if len(window) < _WINDOW:
            return None, read
        position += len(window) - 3
