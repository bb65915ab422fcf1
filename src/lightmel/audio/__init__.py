"""Sound input: files, arrays and tensors become mono float32 at the rate that is asked for.

libsndfile (soundfile) decodes .wav .flac .ogg .opus .mp3 .aiff; what it refuses goes to FFmpeg (PyAV, which
is imported then). Mono is the mean of the channels and the resampler is soxr HQ with either decoder.
`load` is the concatenation of `stream`, so that long files and short ones take the same path.

A file is as long as what decodes, whatever frame count or length in seconds its header gives. Recordings
that lie behind one another in a file come one after another, at the highest of their rates. What does not
decode is left out, or is silence where the file says how long it was; sentences on that go into the list
``notes`` of the caller, or else into ``logging.getLogger("lightmel")`` as warnings. libmpg123, inside
libsndfile, may print notes on odd MP3 frames to stderr by itself.

Every function opens the file anew, so threads may call them at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from ._rates import MAX_SR, MIN_SR

if TYPE_CHECKING:
    from ._arrays import MAX_CHANNELS, from_array
    from ._encode import MP3_32K, MP3_LEVELS, as_mp3, at_speed, mp3_rate
    from ._excerpts import Excerpts, even_starts, excerpt, middle, middle_start, placed, spread_starts
    from ._find import SUFFIXES, find, find_all, is_left_out
    from ._id3 import id3_size
    from ._read import AudioInfo, Source, info, load, stream
    from ._waves import Wave

__all__ = [
    "MAX_CHANNELS",
    "MAX_SR",
    "MIN_SR",
    "MP3_32K",
    "MP3_LEVELS",
    "SUFFIXES",
    "AudioInfo",
    "Excerpts",
    "Source",
    "Wave",
    "as_mp3",
    "at_speed",
    "even_starts",
    "excerpt",
    "find",
    "find_all",
    "from_array",
    "id3_size",
    "info",
    "is_left_out",
    "load",
    "middle",
    "middle_start",
    "mp3_rate",
    "placed",
    "spread_starts",
    "stream",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("MP3_32K", "MP3_LEVELS", "as_mp3", "at_speed", "mp3_rate"), "_encode"),
        **dict.fromkeys(
            ("Excerpts", "even_starts", "excerpt", "middle", "middle_start", "placed", "spread_starts"),
            "_excerpts",
        ),
        **dict.fromkeys(("SUFFIXES", "find", "find_all", "is_left_out"), "_find"),
        "id3_size": "_id3",
        **dict.fromkeys(("AudioInfo", "Source", "info", "load", "stream"), "_read"),
        "Wave": "_waves",
        **dict.fromkeys(("MAX_CHANNELS", "from_array"), "_arrays"),
    },
)
