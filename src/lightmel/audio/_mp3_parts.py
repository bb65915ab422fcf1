"""A part of an MP3 file as a small file of its own, so that nothing else of it is read or decoded.

libmpg123, which libsndfile decodes with, walks through all frames before it seeks, and a decoder that begins
anywhere needs more than the frames that are asked for. What a frame decodes to depends on little before it:

- on the bit reservoir, up to 511 bytes of the main data of the frames before it, 255 in MPEG-2 (ISO/IEC
  11172-3 and 13818-3, 2.4.2.7, `main_data_begin`);
- on the granule before it, which its transform overlaps with;
- on 480 samples before it, which the filter bank still holds, and these on the granule before them.

So a part begins with a silent frame that carries the reservoir, and with few frames whose sound is thrown
away.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import BinaryIO, NamedTuple, cast

from ._mp3 import EVERY, Run, first_frame, holds_info, info_frame, parse_frame
from ._pieces import Piece, PiecesFile

DELAY = 529
"""Samples that a decoder drops at the beginning of a file whose header counts its frames: its own delay."""
_MPEG1_SAMPLES = 1_152
_RESERVOIR, _RESERVOIR_MPEG2 = 511, 255
_BEFORE, _BEFORE_MPEG2 = 1, 2
"""Frames that are decoded before the first that counts: two granules."""
_HEADER = 4
_LARGEST = 14
"""Index of the highest bit rate: its frames have room for the reservoir at every sample rate."""


class Frames(NamedTuple):
    """Where the frames of an MP3 file are that libsndfile plays as one.

    Parameters
    ----------
    run
        All of them.
    ahead
        Frames that hold no sound: 1 where the first one is Xing's, else 0.
    claimed, dropped
        Samples that the header of the file gives, and those that its decoder drops before the first of them.
    """

    run: Run
    ahead: int
    claimed: int
    dropped: int

    @property
    def complete(self) -> bool:
        """Whether all samples that the header gives are there."""
        there = (self.run.frames - self.ahead) * self.run.first.samples - self.dropped
        return self.run.whole and self.claimed <= there


def frames_of(file: BinaryIO, run: Run, pieces: Sequence[Piece]) -> Frames | None:
    """Return where the frames are of a run that is played as `pieces`; None where its header is odd.

    The header is Xing's, with LAME's fields behind it or without; which samples are dropped is libmpg123's
    way to read it.
    """
    own = first_frame(file, run)
    head = pieces[0] if isinstance(pieces[0], bytes) else own
    frame = parse_frame(head[:_HEADER])
    if frame is None or any(head[_HEADER + 2 : _HEADER + frame.side_bytes]):
        return None
    at = _HEADER + frame.side_bytes + 4
    flags, count = struct.unpack_from(">2I", head, at)
    lame = at + 4 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    delay = padding = 0
    if len(head) > lame and head[lame]:
        if len(head) < lame + 24:
            return None
        both = int.from_bytes(head[lame + 21 : lame + 24], "big")
        delay, padding = both >> 12, both & 0xFFF
    return Frames(
        run,
        int(holds_info(own, run.first)),
        count * frame.samples - delay - max(padding, DELAY),
        delay + DELAY,
    )


class Part(NamedTuple):
    """Frames that hold some samples of a file.

    Parameters
    ----------
    data, frames
        The frames, and how many they are.
    before
        Samples that they decode to before the first that is wanted.
    """

    data: bytes
    frames: int
    before: int


def part_of_frames(file: BinaryIO, frames: Frames, start: int, stop: int) -> Part | None:
    """Return the frames of samples `start` to `stop`, as far as they go; None where there are none at all.

    `file` is left where it was.
    """
    samples, mpeg1 = frames.run.first.samples, frames.run.first.samples == _MPEG1_SAMPLES
    before = _BEFORE if mpeg1 else _BEFORE_MPEG2
    first = max(0, (start + frames.dropped) // samples - before) + frames.ahead
    behind = min(-(-(stop + frames.dropped) // samples) + frames.ahead, frames.run.frames)
    if first + before >= behind:
        return None
    place = file.tell()
    data, reservoir = _read(file, frames, first, behind, _RESERVOIR if mpeg1 else _RESERVOIR_MPEG2)
    file.seek(place)
    if reservoir is None:
        first = frames.ahead
    else:
        first -= 1
        data = _silent_frame(data[:_HEADER], reservoir) + data
    return Part(data, behind - first, start + frames.dropped - (first - frames.ahead) * samples)


def joined(frames: Frames, parts: Sequence[Part]) -> tuple[bytes, list[int]]:
    """Return an MP3 file of parts one behind the other, and where in its sound the wanted samples begin.

    Each begins with all that it needs, so that none depends on the one before it.
    """
    counts = list(accumulate((part.frames for part in parts), initial=0))
    data = b"".join(part.data for part in parts)
    places = [
        count * frames.run.first.samples + part.before - DELAY
        for count, part in zip(counts[:-1], parts, strict=True)
    ]
    return info_frame(data[:_HEADER], counts[-1]) + data, places


def _read(file: BinaryIO, frames: Frames, first: int, behind: int, size: int) -> tuple[bytes, bytes | None]:
    """Return the bytes of frames `first` to before `behind`, and the reservoir before them.

    Where all frames before them hold less than `size` bytes of main data, the reservoir is None, and what is
    returned begins with the first frame of all.
    """
    run = frames.run
    single = len(run.stretches) == 1
    view = file if single else cast(BinaryIO, PiecesFile(file, run.stretches))
    base = run.stretches[0].start if single else 0
    last = -(-behind // EVERY)
    end = run.marks[last] if last < len(run.marks) else sum(b - a for a, b in run.stretches)
    for mark in range(first // EVERY, -1, -1):
        view.seek(base + run.marks[mark])
        data = view.read(end - run.marks[mark])
        number = mark * EVERY
        places = _places(data, run.lengths, behind - number)
        if len(places) <= behind - number:
            raise OSError("it has changed while it was read")
        least, held, size_held = frames.ahead if mark == 0 else 0, list[bytes](), 0
        for i in range(first - number - 1, least - 1, -1):
            checksum = 0 if data[places[i] + 1] & 1 else 2
            held.append(data[places[i] + _HEADER + checksum + run.first.side_bytes : places[i + 1]])
            size_held += len(held[-1])
            if size_held >= size:
                return data[places[first - number] : places[-1]], b"".join(reversed(held))[-size:]
    return data[places[least] : places[-1]], None


def _places(data: bytes, lengths: Mapping[bytes, int], count: int) -> list[int]:
    """Return where `count` frames are in `data`, and where the last one ends; fewer where there are fewer."""
    places, at = [0], 0
    with contextlib.suppress(KeyError):
        for _ in range(count):
            at += lengths[data[at : at + _HEADER]]
            places.append(at)
    return places


def _silent_frame(header: bytes, reservoir: bytes) -> bytes:
    """Return a frame like the one of `header` that decodes to silence, and ends with `reservoir`."""
    header = bytes((header[0], header[1] | 1, header[2] & 0x0C | _LARGEST << 4, header[3] & 0xCF))
    frame = parse_frame(header)
    assert frame is not None  # only fields that stay legal were changed
    return header.ljust(frame.length - len(reservoir), b"\0") + reservoir
