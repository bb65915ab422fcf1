"""What is in a file, before the first block is decoded: which parts, who decodes each, what is left out.

libsndfile plays many files to a point only, and cannot say so beforehand. An excerpt is to be the same slice
of the whole whether all of it is decoded or little; so what differs from an ordinary file is found here, by
looking at bytes: in time and memory that grow with the file's size at most, a small part of decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from . import _headers, _mp3, _ogg
from ._pieces import Piece, Stretch

MOST_PARTS = 1_000
"""Recordings of one file that are decoded; each is opened for itself."""


class Part(NamedTuple):
    """A part of a file that is opened for itself.

    Parameters
    ----------
    pieces
        Where it is in the file; None: the file is the part.
    refusal
        Why libsndfile would not play it to its end; None if it does.
    steady
        Whether a place that is sought is that of a whole decode.
    """

    pieces: Sequence[Piece] | None = None
    refusal: str | None = None
    steady: bool = True


class Layout(NamedTuple):
    """The parts of a file, in order, and what is to be said of what is in none of them."""

    parts: tuple[Part, ...] = (Part(),)
    notes: tuple[str, ...] = ()


def inspect(file: BinaryIO) -> Layout:
    """Return the parts of a file; of a file that is none of those that are known here, all of it is one."""
    if _ogg.is_ogg(file):
        return _of_recordings(_ogg.find_recordings(file))
    files = _headers.find_files(file)
    if files is not None:
        return _limited([Part(pieces) for pieces in files], [])
    frames = _mp3.find_frames(file)
    return Layout() if frames is None else _of_frames(file, frames)


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
        parts.append(Part(None if as_it_is else pieces))
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
