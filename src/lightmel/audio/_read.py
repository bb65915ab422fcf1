"""Sound files from front to back: what the header gives, blocks at a rate that is asked for, all of it."""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from ..errors import AudioError
from ._decoders import Decoder, checked, open_decoder, unreadable
from ._notes import Notes
from ._rates import MAX_SR, MIN_SR
from ._waves import Wave, resampled

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"

LARGEST = 1e35
"""What follows, from resampling on, would overflow for larger samples."""
_ROOM = 1 << 20
"""Samples of a block for which there is room before they come."""
MIN_SOURCE_SR, MAX_SOURCE_SR = 1_000, 768_000
"""Rates in Hz outside of which a rate is taken for a mistake (kHz for Hz, say)."""


@dataclass(frozen=True)
class AudioInfo:
    """What is known of a file before it is decoded.

    `seconds` is the header's length (for MP3 files the frames were counted), NaN where it gives none; `sr` is
    in Hz; `format` is the decoder's own name for it; `decoder` is "libsndfile" or "ffmpeg".
    """

    path: str
    sr: int
    channels: int
    seconds: float
    format: str
    decoder: str


def info(path: Source, *, notes: list[str] | None = None) -> AudioInfo:
    """Return what the header of a sound file gives: rate, channels, length, format.

    Parameters
    ----------
    path, notes
        As in `stream`.

    Raises
    ------
    AudioError
        If the file cannot be read as sound; the message gives the reason, and what to do.
    """
    with contextlib.closing(open_decoder(path, Notes(notes))) as decoder:
        seconds = math.nan if decoder.claimed is None else decoder.claimed / decoder.sr
        return AudioInfo(
            decoder.label, decoder.sr, decoder.channels, seconds, decoder.format, decoder.decoder
        )


def stream(
    path: Source, sr: int, block_seconds: float = 10.0, *, notes: list[str] | None = None
) -> Iterator[Wave]:
    """Yield the sound of a file in blocks, in memory that does not grow with the file.

    Parameters
    ----------
    path
        A file, its bytes, or a binary file object that can seek (it is read from its first byte, and stays
        open).
    sr
        Rate of the result in Hz, 2,000 to 192,000.
    block_seconds
        Length of a block. Every block but the last has this length; none is empty.
    notes
        A list to which sentences on what is left out of the file, or is not as it was, are added, each once.
        Without one they are warnings in the log.

    Yields
    ------
    Mono float32 of shape (samples,), in the range of the file's own full scale, -1 to 1.

    Raises
    ------
    AudioError
        If the file cannot be read as sound, is too short for a single sample at `sr`, or holds samples
        that are not finite (the message gives the time). A file that is not there raises at the call,
        the rest with the block it concerns.
    """
    sr = rate_in_hz(sr, "sr")
    size = round(seconds_of(block_seconds, "block_seconds") * sr)
    if size < 1:
        raise AudioError(f"block_seconds={block_seconds!r} is less than one sample at {sr} Hz.")
    checked(path)
    return blocks_of(path, sr, size, Notes(notes))


def load(path: Source, sr: int, *, notes: list[str] | None = None) -> Wave:
    """Return the whole sound of a file, shape (samples,): the concatenation of `stream`, and its errors."""
    return np.concatenate(list(stream(path, sr, notes=notes)))


def blocks_of(path: Source, sr: int, size: int, notes: Notes) -> Iterator[Wave]:
    """Cut what decodes into blocks of `size` samples."""
    with contextlib.closing(open_decoder(path, notes)) as decoder:
        held = np.empty(min(size, _ROOM), np.float32)
        count = 0
        some = False
        for part in decoded(decoder, sr, 0):
            while len(part):
                taken = min(len(part), size - count)
                if count + taken > len(held):  # a long block: twice the room
                    held = np.concatenate([held, np.empty(max(taken, len(held)), np.float32)])[:size]
                held[count : count + taken] = part[:taken]
                count, part = count + taken, part[taken:]
                if count == size:
                    yield held
                    held, count, some = np.empty(min(size, _ROOM), np.float32), 0, True
        if count:
            yield held[:count]
        elif not some:
            raise AudioError(too_short(decoder.label, decoder.position, decoder.sr, sr))


def decoded(decoder: Decoder, sr: int, first: int, most: int | None = None) -> Iterator[Wave]:
    """Yield the decoder's sound at `sr`, checked: `most` of its own samples from `first` on."""
    rate_in_hz(decoder.sr, f"{decoder.label}: its sample rate", MIN_SOURCE_SR, MAX_SOURCE_SR)
    return resampled(checked_blocks(decoder, decoder.blocks(first, most), first), decoder.sr, sr)


def checked_blocks(decoder: Decoder, blocks: Iterable[Wave], position: int) -> Iterator[Wave]:
    """Pass on the blocks that a decoder gives from a place on, as long as every sample in them is finite."""
    for block in _readable(decoder, blocks):
        with np.errstate(invalid="ignore"):
            high, low = float(block.max(initial=0)), float(block.min(initial=0))
        if not (high <= LARGEST and low >= -LARGEST):  # of which nothing is true for NaN
            finite = np.isfinite(block)
            if not finite.all():
                seconds = (position + int(np.argmin(finite))) / decoder.sr
                raise AudioError(
                    f"{decoder.label}: NaN or infinite samples from {seconds:.3f} s on. Write the file anew "
                    "without them."
                )
            raise AudioError(
                f"{decoder.label}: samples up to {max(high, -low):.3g} cannot be computed with: scale them "
                "to ±1."
            )
        yield block
        position += len(block)


def _readable(decoder: Decoder, blocks: Iterable[Wave]) -> Iterator[Wave]:
    """Pass blocks on as long as the file can be read."""
    try:
        yield from blocks
    except (OSError, ValueError) as error:  # a network, a disk, a compressed file that was cut off
        raise unreadable(None, decoder.label, error) from error


def rate_in_hz(value: Any, what: str, low: int = MIN_SR, high: int = MAX_SR) -> int:
    """Return a sample rate as an int, or refuse it."""
    rate = -1
    if not isinstance(value, (bool, np.bool_)):
        with contextlib.suppress(TypeError):
            rate = operator.index(value)
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            rate = int(value)
    if not low <= rate <= high:
        raise AudioError(f"{what}: {value!r:.60} is no rate in Hz between {low} and {high}.")
    return rate


def seconds_of(value: Any, what: str, *, zero: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise AudioError(f"{what}={value!r}: a {'' if zero else 'positive '}number of seconds is wanted.")
    return number


def too_short(label: str, samples: int, sr_in: int, sr: int) -> str:
    plural = "" if samples == 1 else "s"
    return f"{label}: {samples} sample{plural} at {sr_in} Hz: too short for a single one at {sr} Hz."
