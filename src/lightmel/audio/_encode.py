"""Sound as codecs and players change it: through an MP3, or played faster or slower."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

MP3_32K = 0.85
MP3_LEVELS = (0.7, 0.8, MP3_32K, 0.9)
"""libsndfile's compression levels: 56, 40, 32 and 24 kbit/s at 16 kHz mono."""
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Sample rates in Hz that MP3 has."""


def mp3_rate(sr: int) -> int:
    """Return the lowest rate that MP3 has and that is not below `sr`, or its highest."""
    return next((rate for rate in MP3_RATES if rate >= sr), MP3_RATES[-1])


def as_mp3(wave: NDArray[np.int16], sr: int, level: float) -> NDArray[np.int16]:
    """Return `wave` ``(samples,)`` coded by LAME at a constant bit rate and decoded, of the same length.

    At the lowest bit rates it is late by LAME's and the decoder's delay of 1,105 samples, as it is in every
    player: the header that holds the delay does not fit into so small a frame.

    Parameters
    ----------
    wave
        16-bit samples.
    sr
        Their rate in Hz, one that MP3 has.
    level
        libsndfile's compression level, 0 to 1: `MP3_LEVELS` has some.
    """
    with io.BytesIO() as file:
        soundfile.write(
            file,
            wave,
            sr,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="CONSTANT",
            compression_level=level,
        )
        file.seek(0)
        coded, _ = soundfile.read(file, dtype="int16")
    out = np.zeros_like(wave)
    out[: len(coded)] = coded[: len(wave)]
    return out


def at_speed(wave: NDArray[np.float32], sr: int, speed: float) -> NDArray[np.float32]:
    """Return `wave` ``(samples,)`` played `speed` times as fast, and higher or lower with it."""
    played: NDArray[np.float32] = soxr.resample(wave, sr * speed, sr)
    return played
