"""The one door to sound: files, arrays and tensors become mono float32 at the rate that is asked for."""

from __future__ import annotations

from ._encode import MP3_32K, MP3_LEVELS, as_mp3, at_speed, mp3_rate
from ._read import MAX_CHANNELS, AudioInfo, Source, Wave, excerpt, from_array, info, load, stream

__all__ = [
    "MAX_CHANNELS",
    "MP3_32K",
    "MP3_LEVELS",
    "AudioInfo",
    "Source",
    "Wave",
    "as_mp3",
    "at_speed",
    "excerpt",
    "from_array",
    "info",
    "load",
    "mp3_rate",
    "stream",
]
