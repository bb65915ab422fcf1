"""Sound output: mono blocks become a WAV, FLAC or Ogg file, written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import soundfile

from .._each import printable
from .._files import at_home, is_folder, replacing
from ..errors import AudioError
from ._ogg import renumber
from ._sndfile import for_libsndfile
from ._waves import Wave

WRITTEN = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}
"""Container and codec by suffix."""
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_SERIAL = 0x6C6D
"""Number of the stream in an Ogg file. libsndfile takes it from the clock, so that no two were alike."""
_BLOCK = 65_536
"""Samples that an encoder gets at once: what Vorbis makes of a sound depends on it."""


@contextmanager
def writing(path: str | os.PathLike[str], sr: int) -> Iterator[Callable[[Wave], None]]:
    """Give a function that writes blocks of mono sound to `path`, which is there at the end or not at all.

    The same blocks make the same bytes.

    Parameters
    ----------
    path
        The file; its suffix says what it is: .wav and .flac of 16 bits, .ogg (Vorbis) or .opus.
    sr
        Rate in Hz.

    Yields
    ------
    A function of float32 samples ``(samples,)``; what is louder than ±1 is clipped.

    Raises
    ------
    AudioError
        If its folder is not there, the file cannot be written, or its suffix or rate are none of these.
    """
    target = at_home(path)
    shown = printable(str(target))
    suffix = target.suffix.lower()
    if suffix not in WRITTEN:
        raise AudioError(f"{shown}: sound is written as {', '.join(WRITTEN)}: name the file so.")
    if suffix == ".opus" and sr not in OPUS_RATES:
        rates = ", ".join(f"{rate:,}" for rate in OPUS_RATES)
        raise AudioError(f"{shown}: Opus has no {sr:,} Hz, only {rates}: write a .flac or an .ogg.")
    if not is_folder(target.parent):
        raise AudioError(f"{shown}: there is no folder {printable(str(target.parent))}: make it first.")
    if is_folder(target):
        raise AudioError(f"{shown} is a folder: name the file in it.")
    container, codec = WRITTEN[suffix]
    with replacing(target, AudioError) as file:
        try:
            name = for_libsndfile(file.name)
            with soundfile.SoundFile(name, "w", sr, 1, codec, format=container) as sound:
                held = np.empty(0, np.float32)

                def write(block: Wave) -> None:
                    nonlocal held
                    held = np.concatenate((held, block))
                    whole = len(held) // _BLOCK * _BLOCK
                    for start in range(0, whole, _BLOCK):
                        sound.write(held[start : start + _BLOCK])
                    held = held[whole:]

                yield write
                sound.write(held)
        except soundfile.LibsndfileError as error:
            # The library says "System error" of a full disk. A block takes no more than two bytes a sample.
            full = shutil.disk_usage(target.parent).free < 2 * _BLOCK
            why = os.strerror(errno.ENOSPC) + "." if full else error.error_string
            raise AudioError(f"{shown} cannot be written: {why}") from error
        if container == "OGG":
            renumber(file.name, _SERIAL)
