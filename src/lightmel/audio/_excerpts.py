"""Parts of a file: excerpts, its middle, several at places that depend on its length."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeGuard

import numpy as np

from ..errors import AudioError
from ._decoders import Decoder, SndfileDecoder, open_decoder
from ._notes import Notes
from ._read import Source, blocks_of, checked_blocks, decoded, rate_in_hz, seconds_of
from ._waves import Wave, resampled

_WARM_UP = 256
"""Samples, at the lower of both rates, after which what came before the excerpt has no effect in soxr HQ."""
_BLOCK_SECONDS = 10
_ROWS_SECONDS = 24
"""Excerpts that are decoded together lie behind one another in memory up to this length of all of them."""
_SHORT_SECONDS = 60
"""Excerpts up to this length are decoded several at a time, where a decoder does that."""


@dataclass(frozen=True)
class Excerpts:
    """Excerpts of one sound, and the samples that all of it has, at the rate that was asked for."""

    samples: int
    waves: Iterator[Wave]


def excerpt(path: Source, sr: int, start: float, seconds: float, *, notes: list[str] | None = None) -> Wave:
    """Return ``load(path, sr)[round(start * sr):][:round(seconds * sr)]`` without decoding all before it.

    libsndfile seeks; FFmpeg's formats are decoded from their beginning, since their seeking is not exact
    to the sample. What differs from the slice is rounding in float32.

    Parameters
    ----------
    path, sr, notes
        As in `stream`.
    start, seconds
        Where it begins and how long it is. It is shorter where the file ends first.

    Raises
    ------
    AudioError
        As `stream`, and if the file ends before `start`.
    """
    sr = rate_in_hz(sr, "sr")
    begin = round(seconds_of(start, "start", zero=True) * sr)
    with contextlib.closing(open_decoder(path, Notes(notes))) as decoder:
        return _cut(decoder, sr, begin, _length(sr, seconds))


def middle(path: Source, sr: int, seconds: float, *, notes: list[str] | None = None) -> Wave:
    """Return `seconds` from the middle of a file, or all of it where it is shorter, at `sr` Hz.

    The length is the header's if the sound goes on to there; otherwise the file is decoded to measure it.

    Raises
    ------
    AudioError
        As `stream`.
    """
    sr = rate_in_hz(sr, "sr")
    length = _length(sr, seconds)
    found = placed(path, sr, length, lambda samples: [middle_start(samples, length)], notes=notes)
    return next(found.waves)


def middle_start(samples: int, length: int) -> int:
    """Return where the middle `length` of `samples` samples begin."""
    return spread_starts(samples, length, 1)[0]


def spread_starts(samples: int, length: int, count: int) -> list[int]:
    """Return where `count` excerpts of `length` begin, each in the middle of its part of the sound.

    They overlap only where they are longer than the parts, and none reaches over an end.
    """
    middles = ((2 * i + 1) * samples // (2 * count) for i in range(count))
    return [min(max(middle - length // 2, 0), samples - length) for middle in middles]


def even_starts(samples: int, length: int, count: int) -> list[int]:
    """Return where `count` excerpts of `length` begin, evenly from the start, as in Won et al. (2020)."""
    return [i * ((samples - length) // count) for i in range(count)]


def placed(
    path: Source,
    sr: int,
    length: int,
    starts: Callable[[int], Sequence[int]],
    *,
    notes: list[str] | None = None,
) -> Excerpts:
    """Return excerpts of `length` samples from a file at `sr`, or all of it, once, where it is shorter.

    `starts` gives the rising places where they begin, from the number of samples that the file has. That
    number is the header's if the sound goes on to there, which counted frames or seeking tell; otherwise, and
    for what FFmpeg decodes, the file is decoded to count it. The waves are read one by one, as they are
    asked for.

    Raises
    ------
    AudioError
        As `stream`; some of it when the waves are read.
    """
    said = Notes(notes)
    decoder = open_decoder(path, said)
    with contextlib.ExitStack() as closing:
        closing.callback(decoder.close)
        samples = 0 if decoder.claimed is None else round(decoder.claimed * sr / decoder.sr)
        there = decoder.seeks and samples >= length
        if there and (_is_counted(decoder) or _is_there(decoder, sr, samples)):
            closing.pop_all()  # the excerpts come from the same one: it has found its way to the end by now
            return Excerpts(samples, _cuts(decoder, sr, starts(samples), length, samples))
        seeks = decoder.seeks
    samples = 0
    held: list[Wave] = []
    for block in blocks_of(path, sr, _BLOCK_SECONDS * sr, said):
        held = [*held, block] if samples < length else []  # short sound is the excerpt itself
        samples += len(block)
    if samples < length:
        return Excerpts(samples, iter([np.concatenate(held)]))
    if seeks:
        return Excerpts(samples, _cuts(open_decoder(path, said), sr, starts(samples), length, samples))
    return Excerpts(samples, slices(blocks_of(path, sr, _BLOCK_SECONDS * sr, said), length, starts(samples)))


def _cuts(decoder: Decoder, sr: int, starts: Sequence[int], length: int, samples: int) -> Iterator[Wave]:
    """Yield `length` samples from each of `starts` on, of `samples`."""
    with contextlib.closing(decoder):
        windows = [_window(decoder.sr, sr, start, length) for start in starts]
        # soxr does not begin a signal as it goes on after silence: only the first may begin with the sound.
        apart = all(window.first > 0 for window in windows[1:])
        within = all(start + length <= samples for start in starts)
        if apart and within and length <= _SHORT_SECONDS * sr and _is_counted(decoder):
            yield from _cuts_together(decoder, sr, windows, length)
            return
        for start in starts:
            yield _cut(decoder, sr, start, length)


def _cuts_together(
    decoder: SndfileDecoder, sr: int, windows: Sequence[_Window], length: int
) -> Iterator[Wave]:
    """Yield `length` samples from each of the windows, which are resampled as one signal."""
    period, out_period = _periods(decoder.sr, sr)
    margin = -(-_warm_up(decoder.sr, sr) // period)  # in periods, as are the sizes
    sizes = [-(-window.most // period) for window in windows]
    begins = list(accumulate((size + margin for size in sizes), initial=0))
    places = [begin * out_period + window.skip for begin, window in zip(begins[:-1], windows, strict=True)]

    def blocks() -> Iterator[Wave]:
        found = decoder.several([(w.first, size * period) for w, size in zip(windows, sizes, strict=True)])
        for window, size, wave in zip(windows, sizes, found, strict=True):
            yield from checked_blocks(decoder, [wave], window.first)
            # Of silence, as behind the end of the sound, where this is.
            yield np.zeros((size + margin) * period - len(wave), np.float32)

    return _rows(resampled(blocks(), decoder.sr, sr), length, places, max(1, _ROWS_SECONDS * sr // length))


def _rows(blocks: Iterable[Wave], length: int, starts: Sequence[int], most: int) -> Iterator[Wave]:
    """Yield `length` samples from each of `starts`, which do not overlap, of sound that comes in blocks.

    Up to `most` of them lie behind one another in memory, so that a batch of them is no copy.
    """
    rows = np.empty((0, length), np.float32)
    number = row = base = 0
    for block in blocks:
        while number < len(starts):
            if row == len(rows):
                rows, row = np.empty((min(most, len(starts) - number), length), np.float32), 0
            start = starts[number]
            begin, end = max(start, base), min(start + length, base + len(block))
            if begin < end:
                rows[row, begin - start : end - start] = block[begin - base : end - base]
            if end < start + length:
                break
            yield rows[row]
            number, row = number + 1, row + 1
        base += len(block)


def slices(blocks: Iterable[Wave], length: int, starts: Sequence[int]) -> Iterator[Wave]:
    """Yield `length` samples from each of the rising `starts` of sound that comes in blocks.

    It keeps no more than it needs for the next one, and stops reading after the last.
    """
    buffer, base, waiting = np.zeros(0, dtype=np.float32), 0, list(starts)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while waiting and waiting[0] + length <= base + len(buffer):
            start = waiting.pop(0)
            yield buffer[start - base : start - base + length]
        if not waiting:
            return
        drop = max(0, min(waiting[0], base + len(buffer)) - base)
        buffer, base = buffer[drop:], base + drop


def _is_counted(decoder: Decoder) -> TypeGuard[SndfileDecoder]:
    """Return whether all samples that the header gives are known to be there."""
    return isinstance(decoder, SndfileDecoder) and decoder.counted


def _is_there(decoder: Decoder, sr: int, samples: int) -> bool:
    """Return whether the sound goes on to the last of so many samples."""
    last = min(samples, sr // 100)
    try:
        return len(_cut(decoder, sr, samples - last, last)) == last
    except AudioError:  # nothing there: the header's length is wrong, or the file cannot be read at all
        return False


def _length(sr: int, seconds: float) -> int:
    length = round(seconds_of(seconds, "seconds") * sr)
    if length < 1:
        raise AudioError(f"seconds={seconds!r} is less than one sample at {sr} Hz.")
    return length


class _Window(NamedTuple):
    """What is decoded for an excerpt: `most` samples from `first` on; at `sr`, `skip` are before it."""

    first: int
    most: int
    skip: int


def _window(sr_in: int, sr: int, begin: int, length: int) -> _Window:
    """Return what is decoded at `sr_in` for `length` samples from sample `begin` on, both at `sr`."""
    # Both grids share a sample every `period` of the source: starting there keeps soxr's phase.
    period, out_period = _periods(sr_in, sr)
    warm_up = _warm_up(sr_in, sr)
    first = max(0, begin * period // out_period - warm_up) // period * period
    skip = begin - first // period * out_period
    return _Window(first, math.ceil((skip + length) * sr_in / sr) + warm_up, skip)


def _periods(sr_in: int, sr: int) -> tuple[int, int]:
    """Return the samples from one time that both rates share to the next, at either rate."""
    common = math.gcd(sr_in, sr)
    return sr_in // common, sr // common


def _warm_up(sr_in: int, sr: int) -> int:
    """Return the samples at `sr_in` that are resampled before those that count, and behind them."""
    return math.ceil(_WARM_UP * max(1, sr_in / sr)) if sr_in != sr else 0


def _cut(decoder: Decoder, sr: int, begin: int, length: int) -> Wave:
    """Return `length` samples from sample `begin` on, both at `sr`."""
    first, most, skip = _window(decoder.sr, sr, begin, length)
    parts, got = [], 0
    for part in decoded(decoder, sr, first, most):
        parts.append(part)
        got += len(part)
        if got >= skip + length:
            break
    if got <= skip:
        ends = f"it ends at {first / decoder.sr + got / sr:.2f} s" if got else "it ends before"
        raise AudioError(f"{decoder.label}: nothing at {begin / sr:g} s: {ends}. Choose an earlier start.")
    return np.concatenate(parts)[skip : skip + length].copy()
