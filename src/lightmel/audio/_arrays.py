"""Arrays and tensors as sound."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError, ShapeError
from ._notes import Notes
from ._read import LARGEST, MAX_SOURCE_SR, MIN_SOURCE_SR, rate_in_hz, too_short
from ._waves import Mixer, Wave, resampled

MAX_CHANNELS = 64
_FULL_SCALE = {"int8": 2.0**7, "uint8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}


def from_array(wave: Any, sr_in: int | None, sr: int, *, notes: list[str] | None = None) -> Wave:
    """Return the sound of an array or tensor as mono float32 at `sr`, shape (samples,).

    Parameters
    ----------
    wave
        NumPy array, tensor or list of shape (samples,) or (channels, samples), 64 channels at most.
        Floats are taken as they are; int8, int16 and int32 are divided by their full scale, uint8 is
        centred at 128 first.
    sr_in
        Rate of `wave` in Hz. It is required: an array has none of its own.
    sr
        Rate of the result in Hz.
    notes
        As in `stream`: what is said of a file's channels is said of these.

    Raises
    ------
    ShapeError
        If the shape or the type is not one of these; the message says which is wanted.
    AudioError
        If a rate is missing or makes no sense, or a sample is not finite (the message gives its index).
    """
    if sr_in is None:
        raise AudioError("An array needs its sample rate, in Hz: none was given, and none is assumed.")
    sr_in = rate_in_hz(sr_in, "The array's sample rate", MIN_SOURCE_SR, MAX_SOURCE_SR)
    sr = rate_in_hz(sr, "sr")
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
    mixer = Mixer()
    mono = mixer.mix(floats)
    if not np.abs(mono).max() <= LARGEST:
        raise AudioError(
            f"Samples up to {np.abs(array).max():.3g} cannot be computed with: scale them to ±1."
        )
    out = np.concatenate([np.empty(0, np.float32), *resampled([mono], sr_in, sr)])
    if not len(out):
        raise AudioError(too_short("The array", mono.size, sr_in, sr))
    mixer.say(Notes(notes), "The array", sr_in)
    return out


def _as_numpy(wave: Any) -> npt.NDArray[Any]:
    """Return an array of a type that sound comes in."""
    if isinstance(wave, (str, os.PathLike)):
        raise ShapeError(f"{os.fspath(wave)[:200]!r} is no array: audio.load reads files.")
    if isinstance(wave, (bytes, bytearray, memoryview)):
        raise ShapeError(
            f"{len(wave):,} bytes are no array: a file's go to audio.load, raw samples through "
            "numpy.frombuffer, which is told their type."
        )
    if hasattr(wave, "read"):  # which may have a detach, too
        raise ShapeError(f"A {type(wave).__name__} is no array: audio.load reads open files.")
    if getattr(wave, "is_meta", False):
        raise ShapeError("A tensor on the device 'meta' has a shape, and no samples: give those.")
    if np.ma.is_masked(wave):
        raise ShapeError("An array with masked samples has gaps: fill them, with wave.filled(0) say.")
    try:
        array = np.asarray(_of_tensor(wave) if is_tensor(wave) else wave)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, or tensors of an odd kind
        why = " ".join(str(error).split())[:200]
        raise ShapeError(f"The wave is no regular array ({why}): give (samples,).") from None
    if array.size and array.dtype.kind != "f" and array.dtype.name not in _FULL_SCALE:
        unscaled = "its full scale is not agreed on: give the type it was recorded in, int16 say, or floats"
        hint = {
            "i": unscaled,
            "u": unscaled,
            "b": "true and false are no samples",
            "c": "take the real part first, or go back from the spectrum to the wave",
        }.get(array.dtype.kind, "its items are not numbers of one type")
        raise ShapeError(
            f"A wave of {array.dtype} is no sound: {hint}. Floats, int8, int16, int32 and uint8 are."
        )
    return array


def is_tensor(wave: object) -> bool:
    """Return whether something is a tensor of PyTorch, which this room does not import."""
    return hasattr(wave, "detach") and hasattr(wave, "dtype")  # a socket has a detach, too


def _of_tensor(wave: Any) -> npt.NDArray[Any]:
    """Return the numbers of a tensor."""
    wave = wave.detach()
    if wave.is_quantized:
        wave = wave.dequantize()
    # What is sparse, or conjugated or negated when it is looked at, has no memory that NumPy could share.
    wave = wave.to_dense().cpu().resolve_conj().resolve_neg()
    try:
        array: npt.NDArray[Any] = wave.numpy()
    except TypeError:  # bfloat16 has no counterpart in NumPy
        array = wave.float().numpy()
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
