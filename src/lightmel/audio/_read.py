"""The one door to sound: files, arrays and tensors become mono float32 at the rate that is asked for.

libsndfile (soundfile) decodes .wav .flac .ogg .opus .mp3 .aiff; what it refuses goes to FFmpeg (PyAV, the
extra ``ffmpeg``). Mono is the mean of the channels and the resampler is soxr HQ, whoever decodes.
`load` is the concatenation of `stream`, so a long file and a short one walk the same path.

Neither a header's frame count nor its length in seconds is believed: what decodes is what is heard.
A file that is damaged half-way gives what decodes, and a warning in ``logging.getLogger("lightmel")``.
libmpg123, inside libsndfile, may print notes on odd MP3 frames to stderr by itself.

Every function opens the file anew, so threads may call them at the same time.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from ..errors import AudioError, ShapeError
from ..frontends.mel import MAX_SR, MIN_SR
from ._decoders import Decoder, checked, mean_of_channels, open_decoder

Wave: TypeAlias = npt.NDArray[np.float32]
Source: TypeAlias = "str | os.PathLike[str] | BinaryIO"

MIN_SOURCE_SR, MAX_SOURCE_SR = 1_000, 768_000
"""Rates in Hz outside of which sound is taken for a mistake (kHz for Hz, say)."""
MAX_CHANNELS = 64
_WARM_UP = 256
"""Samples, of the lower of both rates, after which soxr HQ has forgotten what it did not hear."""
_FULL_SCALE = {"int8": 2.0**7, "uint8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about itself before anything is decoded.

    `seconds` is the header's claim (for MP3 files the frames were counted), not a number where it makes
    none; `sr` is in Hz; `format` is the decoder's own name; `decoder` is "libsndfile" or "ffmpeg".
    """

    path: str
    sr: int
    channels: int
    seconds: float
    format: str
    decoder: str


def info(path: Source) -> AudioInfo:
    """Return what the header of a sound file claims.

    Raises
    ------
    AudioError
        If the file cannot be read as sound; the message says why, and what to do.
    MissingExtraError
        If only FFmpeg may read it and PyAV is not installed.
    """
    with contextlib.closing(open_decoder(path)) as decoder:
        seconds = math.nan if decoder.claimed is None else decoder.claimed / decoder.sr
        return AudioInfo(
            decoder.label, decoder.sr, decoder.channels, seconds, decoder.format, decoder.decoder
        )


def stream(path: Source, sr: int, block_seconds: float = 10.0) -> Iterator[Wave]:
    """Yield the sound of a file in blocks, in memory that does not grow with the file.

    Parameters
    ----------
    path
        A file, or a binary file object that can seek (it is read from its first byte, and stays open).
    sr
        Rate of the result in Hz, 2,000 to 192,000.
    block_seconds
        Length of a block. Every block but the last has this length; none is empty.

    Yields
    ------
    Mono float32 of shape (samples,), in the range of the file's own full scale, -1 to 1.

    Raises
    ------
    AudioError
        If the file cannot be read as sound, is too short for a single sample at `sr`, or holds samples
        that are not finite (the message gives the time). A file that is not there raises at the call,
        the rest with the block it concerns.
    MissingExtraError
        If only FFmpeg may read it and PyAV is not installed.
    """
    sr = _rate(sr, "sr", MIN_SR, MAX_SR)
    size = round(_positive(block_seconds, "block_seconds") * sr)
    if size < 1:
        raise AudioError(f"block_seconds={block_seconds!r} is less than one sample at {sr} Hz.")
    checked(path)
    return _stream(path, sr, size)


def load(path: Source, sr: int) -> Wave:
    """Return the whole sound of a file, shape (samples,): the concatenation of `stream`, and its errors."""
    return np.concatenate(list(stream(path, sr)))


def excerpt(path: Source, sr: int, start: float, seconds: float) -> Wave:
    """Return ``load(path, sr)[round(start * sr):][:round(seconds * sr)]`` without decoding all before it.

    libsndfile seeks; FFmpeg's formats are decoded from their beginning, since their seeking is not exact
    to the sample. What differs from the slice is rounding in float32.

    Parameters
    ----------
    path, sr
        As in `stream`.
    start, seconds
        Where it begins and how long it is. It is shorter where the file ends first.

    Raises
    ------
    AudioError
        As `stream`, and if the file ends before `start`.
    """
    sr = _rate(sr, "sr", MIN_SR, MAX_SR)
    begin = round(_positive(start, "start", zero=True) * sr)
    length = round(_positive(seconds, "seconds") * sr)
    if length < 1:
        raise AudioError(f"seconds={seconds!r} is less than one sample at {sr} Hz.")
    with contextlib.closing(open_decoder(path)) as decoder:
        # Both grids share a sample every `period` of the source: starting there keeps soxr's phase.
        common = math.gcd(decoder.sr, sr)
        period, out_period = decoder.sr // common, sr // common
        warm_up = math.ceil(_WARM_UP * max(1, decoder.sr / sr)) if period != out_period else 0
        first = max(0, begin * period // out_period - warm_up) // period * period
        skip = begin - first // period * out_period
        most = math.ceil((skip + length) * decoder.sr / sr) + warm_up
        parts, got = [], 0
        for part in _heard(decoder, sr, first, most):
            parts.append(part)
            got += len(part)
            if got >= skip + length:
                break
    if got <= skip:
        raise AudioError(
            f"{decoder.label}: nothing at {start:g} s: it ends at {(first / decoder.sr + got / sr):.2f} s. "
            "Choose an earlier start."
            if got
            else f"{decoder.label}: nothing at {start:g} s: it ends before. Choose an earlier start."
        )
    return np.concatenate(parts)[skip : skip + length].copy()


def from_array(wave: Any, sr_in: int | None, sr: int) -> Wave:
    """Return the sound of an array or tensor as mono float32 at `sr`, shape (samples,).

    Parameters
    ----------
    wave
        NumPy array, tensor or list of shape (samples,) or (channels, samples), 64 channels at most.
        Floats are taken as they are; int8, int16 and int32 are divided by their full scale, uint8 is
        centred at 128 first.
    sr_in
        Rate of `wave` in Hz. It is required: an array does not know its own.
    sr
        Rate of the result in Hz.

    Raises
    ------
    ShapeError
        If the shape or the type is not one of these; the message says which is wanted.
    AudioError
        If a rate is missing or makes no sense, or a sample is not finite (the message gives its index).
    """
    if sr_in is None:
        raise AudioError("An array needs its sample rate, in Hz: none was given, and none is assumed.")
    sr_in = _rate(sr_in, "The array's sample rate", MIN_SOURCE_SR, MAX_SOURCE_SR)
    sr = _rate(sr, "sr", MIN_SR, MAX_SR)
    array = _as_numpy(wave)
    channels = array if array.ndim == 2 else array[None]
    _check_shape(array.shape, channels)
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            index = np.unravel_index(int(np.argmin(finite)), array.shape)
            where = ", ".join(str(i) for i in index)
            raise AudioError(f"wave[{where}] is {array[index]}: samples must be finite. Mend or cut them.")
        with np.errstate(over="ignore"):
            floats = channels.astype(np.float32, copy=False)
    else:
        scale = np.float32(1 / _FULL_SCALE[array.dtype.name])
        floats = channels.astype(np.float32)
        if array.dtype == np.uint8:
            floats -= 128
        floats *= scale
    mono = mean_of_channels(floats)
    if not np.isfinite(mono).all():
        raise AudioError(f"Samples up to {np.abs(array).max():.3g} do not fit float32: scale them to ±1.")
    out = np.concatenate([np.empty(0, np.float32), *_resampled([mono], sr_in, sr)])
    if not len(out):
        raise AudioError(_too_short("The array", mono.size, sr_in, sr))
    return out


def _stream(path: Source, sr: int, size: int) -> Iterator[Wave]:
    """Cut what is heard into blocks of `size` samples."""
    with contextlib.closing(open_decoder(path)) as decoder:
        heard = _heard(decoder, sr, 0)
        held: list[Wave] = []
        count = 0
        some = False
        for part in heard:
            while count + len(part) >= size:
                taken = size - count
                yield np.concatenate([*held, part[:taken]])
                held, count, part, some = [], 0, part[taken:], True
            if len(part):
                held.append(part)
                count += len(part)
        if held:
            yield np.concatenate(held)
        elif not some:
            raise AudioError(_too_short(decoder.label, decoder.position, decoder.sr, sr))


def _heard(decoder: Decoder, sr: int, first: int, most: int | None = None) -> Iterator[Wave]:
    """Yield the decoder's sound at `sr`, checked: `most` of its own samples from `first` on."""
    _rate(decoder.sr, f"{decoder.label}: its sample rate", MIN_SOURCE_SR, MAX_SOURCE_SR)
    return _resampled(_finite(decoder, first, most), decoder.sr, sr)


def _finite(decoder: Decoder, first: int, most: int | None) -> Iterator[Wave]:
    """Pass blocks on as long as every sample in them is finite."""
    position = first
    for block in decoder.blocks(first, most):
        with np.errstate(over="ignore", invalid="ignore"):  # a sum is the quickest first look
            suspicious = not np.isfinite(block.sum())
        if suspicious and not (finite := np.isfinite(block)).all():
            seconds = (position + int(np.argmin(finite))) / decoder.sr
            raise AudioError(
                f"{decoder.label}: NaN or infinite samples from {seconds:.3f} s on. Write the file anew "
                "without them."
            )
        yield block
        position += len(block)


def _resampled(blocks: Iterable[Wave], sr_in: int, sr: int) -> Iterator[Wave]:
    """Resample a sequence of blocks as the one signal it is: round(samples * sr / sr_in) come out."""
    if sr_in == sr:
        yield from blocks
        return
    resampler = soxr.ResampleStream(sr_in, sr, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _as_numpy(wave: Any) -> npt.NDArray[Any]:
    """Return an array of a type that sound comes in; a tensor is known by its ``detach``."""
    if isinstance(wave, (str, bytes, os.PathLike)):
        raise ShapeError(f"{wave!r} is no array: audio.load reads files.")
    if hasattr(wave, "detach"):
        wave = wave.detach().cpu()
        try:
            wave = wave.numpy()
        except TypeError:  # bfloat16 has no counterpart in NumPy
            wave = wave.float().numpy()
    try:
        array = np.asarray(wave)
    except (TypeError, ValueError) as error:  # ragged lists
        raise ShapeError(f"The wave is no regular array ({error}): give (samples,).") from None
    if array.size and array.dtype.kind != "f" and array.dtype.name not in _FULL_SCALE:
        unscaled = "its full scale is not agreed on: give the type it was recorded in, int16 say, or floats"
        hint = {
            "i": unscaled,
            "u": unscaled,
            "b": "true and false are no samples",
            "c": "take the real part first, or go back from the spectrum to the wave",
        }.get(array.dtype.kind, "its items are not numbers of one type")
        raise ShapeError(
            f"A wave of {array.dtype} cannot be heard: {hint}. Floats, int8, int16, int32 and uint8 can."
        )
    return array


def _check_shape(shape: tuple[int, ...], channels: npt.NDArray[Any]) -> None:
    wanted = f"wanted is (samples,) or (channels, samples) with at most {MAX_CHANNELS} channels"
    if len(shape) not in (1, 2):
        raise ShapeError(f"A wave of shape {shape}: {wanted}.")
    if channels.size == 0:
        raise ShapeError(f"A wave of shape {shape} holds no samples: {wanted}.")
    if len(channels) > MAX_CHANNELS:
        looks_turned = channels.shape[1] <= MAX_CHANNELS
        advice = " It looks like (samples, channels): transpose it (wave.T)." if looks_turned else ""
        raise ShapeError(f"A wave of shape {shape}: {wanted}.{advice}")


def _rate(value: Any, what: str, low: int, high: int) -> int:
    """Return a sample rate as an int, or refuse it."""
    rate = -1
    if not isinstance(value, (bool, np.bool_)):
        with contextlib.suppress(TypeError):
            rate = operator.index(value)
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            rate = int(value)
    if not low <= rate <= high:
        raise AudioError(f"{what}: {value!r} is no rate in Hz between {low} and {high}.")
    return rate


def _positive(value: Any, what: str, *, zero: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise AudioError(f"{what}={value!r}: a {'' if zero else 'positive '}number of seconds is wanted.")
    return number


def _too_short(label: str, samples: int, sr_in: int, sr: int) -> str:
    plural = "" if samples == 1 else "s"
    return f"{label}: {samples} sample{plural} at {sr_in} Hz: too short for a single one at {sr} Hz."
