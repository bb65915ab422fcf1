"""What is in a file, before the first block is decoded: which parts, who decodes each, what is left out.

libsndfile plays many files to a point only, and cannot say so beforehand. An excerpt is to be the same slice
of the whole whether all of it is decoded or little; so what differs from an ordinary file is found here, by
looking at bytes: in time and memory that grow with the file's size at most, a small part of decoding.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from . import _ends, _headers, _mp3, _mp3_parts, _ogg
from ._pieces import Piece, PiecesFile, Stretch

_LITTLE = 4_096
"""Bytes behind a file that are let pass: a tag that nobody knows, zeros up to a border."""
MOST_PARTS = 1_000
"""Recordings of one file that are decoded; each is opened for itself."""


@dataclass(frozen=True)
class Part:
    """A part of a file that is opened for itself.

    Parameters
    ----------
    pieces
        Where it is in the file; None: the file is the part.
    refusal
        Why libsndfile would not play it to its end; None if it does.
    steady
        Whether a place that is sought is that of a whole decode.
    frames
        Where the frames of an MP3 file are, if parts of it can be read from there.
    """

    pieces: Sequence[Piece] | None = None
    refusal: str | None = None
    steady: bool = True
    frames: _mp3_parts.Frames | None = field(default=None, compare=False)


class Layout(NamedTuple):
    """The parts of a file, in order, and what is to be said of what is in none of them."""

    parts: tuple[Part, ...] = (Part(),)
    notes: tuple[str, ...] = ()


def inspect(file: BinaryIO) -> Layout:
    """Return the parts of a file; of a file that is none of those that are known here, all of it is one."""
    size = file.seek(0, io.SEEK_END)
    parts: list[Part] = []
    notes: list[str] = []
    start = 0
    while len(parts) <= MOST_PARTS:
        view = file if start == 0 else cast(BinaryIO, PiecesFile(file, [Stretch(start, size)]))
        found, stop = _of_one_kind(view)
        notes += found.notes
        for part in found.parts:
            if part.pieces is not None:
                part = replace(part, pieces=[_moved(piece, start) for piece in part.pieces])
            elif start or (stop is not None and stop < size):
                part = replace(part, pieces=[Stretch(start, size if stop is None else start + stop)])
            parts.append(replace(part, frames=None) if start else part)
        if not stop or start + stop >= size:
            break
        start += stop
    if len(parts) == 1 and parts[0].pieces == [Stretch(0, size)]:
        parts = [replace(parts[0], pieces=None)]
    return _limited(parts, list(dict.fromkeys(notes)))


def _of_one_kind(file: BinaryIO) -> tuple[Layout, int | None]:
    """Return the parts of a file up to where one of another kind begins, and where that is, if one does."""
    size = file.seek(0, io.SEEK_END)
    if _ogg.is_ogg(file):
        recordings = _ogg.find_recordings(file)
        stop = recordings[-1].end if recordings else size
        return _of_recordings(recordings), None if stop == size else stop
    files = _headers.find_files(file)
    if files is not None:
        return Layout(tuple(Part(p) for p in files.files), tuple(files.notes)), files.stop
    end = _ends.find_end(file)
    if end is not None:
        if end > size + _LITTLE:
            cut = f"cut short: by its own account it has {end:,} bytes, and {size:,} of them are there"
            return Layout(notes=(cut,)), None
        end = _mp3.behind_tags(file, min(end, size))
        if end < size and _ends.begins(file, end):
            return Layout(), end
        return Layout(notes=_behind(file, end, size)), None
    frames = _mp3.find_frames(file)
    return (Layout(), None) if frames is None else (_of_frames(file, frames), frames.stop)


def _moved(piece: Piece, start: int) -> Piece:
    return piece if isinstance(piece, bytes) else Stretch(piece.start + start, piece.stop + start)


def _behind(file: BinaryIO, end: int, size: int) -> tuple[str, ...]:
    """Return what to say of bytes behind the end of a file, if they are many and not zeros."""
    file.seek(end)
    if size - end <= _LITTLE or not any(file.read(_LITTLE)):
        return ()
    return (f"{size - end:,} bytes behind its end are no sound that is known, and are left out",)


@lru_cache(maxsize=256)
def inspect_once(path: Path, *_state: int) -> Layout:
    """Inspect a file anew only if its state has changed: excerpts are often many of one file."""
    with path.open("rb") as file:
        return inspect(file)


def _limited(parts: list[Part], notes: list[str]) -> Layout:
    if len(parts) > MOST_PARTS:
        notes.append(f"more than {MOST_PARTS:,} recordings behind one another: those after them are left out")
    return Layout(tuple(parts[:MOST_PARTS]), tuple(notes))


def _of_recordings(recordings: list[_ogg.Recording]) -> Layout:
    parts: list[Part] = []
    notes: list[str] = []
    for i, recording in enumerate(recordings):
        refusal = None if recording.stop is None else f"a time stamp goes back at {recording.stop:.2f} s"
        pieces = None if len(recordings) == 1 else [Stretch(recording.begin, recording.end)]
        parts.append(Part(pieces, refusal, not recording.broken))
        of = f" in recording {i + 1}" if len(recordings) > 1 else ""
        if recording.broken:
            places = _places([b / recording.sr for b in recording.broken] if recording.sr else [], of)
            notes.append(f"damaged{places}: what does not decode there is left out")
        if not recording.whole:
            notes.append("cut off: it ends within a page, and what came behind that is not there")
    return _limited(parts or [Part()], notes)


def _of_frames(file: BinaryIO, frames: _mp3.Frames) -> Layout:
    parts: list[Part] = []
    for run in frames.runs[: MOST_PARTS + 1]:
        pieces = _mp3.playable(file, run)
        as_it_is = frames.plain and len(frames.runs) == 1 and pieces == run.stretches
        parts.append(Part(None if as_it_is else pieces, frames=_mp3_parts.frames_of(file, run, pieces)))
    notes = []
    if frames.strange:
        total = sum(count for _, count in frames.strange)
        notes.append(
            f"{total:,} bytes that are no sound are left out{_places([s for s, _ in frames.strange])}"
        )
    return _limited(parts, notes)


def _places(seconds: Sequence[float], of: str = "") -> str:
    if not seconds:
        return of
    if len(seconds) == 1:
        return f" at {seconds[0]:.2f} s{of}"
    return f" in {len(seconds):,} places, the first at {seconds[0]:.2f} s{of}"
