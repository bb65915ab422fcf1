"""Where libsndfile will stop in an Ogg/Opus file, if it does not play it to the end.

It stops for good at a page (other than the last) whose time stamp is smaller than the one before it plus
the packets on it. FFmpeg writes such pages where it dropped or moved a few milliseconds, and other players
ignore them. The pages are read before decoding begins, so that such a file goes to FFmpeg from its start.

Pages are those of RFC 3533, packets those of RFC 6716, section 3.1; time is counted at 48 kHz.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_SILK, _HYBRID, _CELT = (480, 960, 1_920, 2_880), (480, 960), (120, 240, 480, 960)
_LAST_PAGE = 4
_NO_PACKET_ENDS = -1


class Page(NamedTuple):
    """One Ogg page: its stream, its flags, its time stamp, and the length of the packets that end on it."""

    serial: int
    flags: int
    granule: int
    samples: int


def is_opus(file: BinaryIO) -> bool:
    """Return whether a file begins as Ogg/Opus does."""
    file.seek(0)
    head = file.read(64)
    return head.startswith(b"OggS") and b"OpusHead" in head


def first_page_back(file: BinaryIO) -> float | None:
    """Return the time in seconds of the first page that libsndfile stops at; None if there is none."""
    previous: int | None = None
    serial: int | None = None
    for page in _pages(file):
        serial = page.serial if serial is None else serial
        if page.serial != serial or page.granule == _NO_PACKET_ENDS:
            continue
        if page.flags & _LAST_PAGE:
            return None
        if page.granule == 0:  # the two header pages
            continue
        if previous is not None and previous + page.samples > page.granule:
            return previous / 48_000
        previous = page.granule
    return None


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


def _pages(file: BinaryIO) -> Iterator[Page]:
    """Yield the pages from the first byte on, as long as one follows the other."""
    file.seek(0)
    carried = b""  # the first bytes of a packet that goes on from one page to the next
    while len(header := file.read(27)) == 27 and header[:4] == b"OggS":
        flags, granule, serial = struct.unpack_from("<BqI", header, 5)
        lacing = file.read(header[26])
        body = file.read(sum(lacing))
        if len(body) < sum(lacing):  # the file ends within the page
            return
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
        yield Page(serial, flags, granule, samples)
