"""One source of sound at a model's rate: a file, its bytes, an open file, an array."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from numpy.typing import NDArray

from .. import audio
from .._each import printable
from ..errors import AudioError, ConfigError, ShapeError
from .levels import Levels
from .segments import Waves

if TYPE_CHECKING:
    import torch

Source: TypeAlias = "audio.Source | NDArray[Any] | torch.Tensor | Sequence[float]"
"""A path, the bytes of a file, an open binary file, or a wave ``(samples,)`` or ``(channels, samples)`` whose
rate is given beside it."""
_BLOCK_SECONDS = 10.0


class Share(float):
    """A share of a sound, above 0 and below 1."""


class Sound:
    """The sound of one source; it can be read more than once.

    Parameters
    ----------
    source, sr
        As in `lightmel.tag`.
    rate
        Hz, of all that is read.
    notes
        A list for what is left out of a file, as in `lightmel.audio.stream`.

    Attributes
    ----------
    label
        What messages call it.
    rate
        Hz, of all that is read.
    source_rate
        Hz, of the source.
    samples
        Of all of it, at `rate`; known when it has been read.
    levels
        Of what was read.

    Raises
    ------
    AudioError
        If the source cannot be read or used.
    ShapeError
        If it is none of these, or several.
    ConfigError
        If a rate is given beside a file, which knows its own.
    """

    def __init__(self, source: Source, sr: int | None, rate: int, notes: list[str] | None = None) -> None:
        self.rate, self.samples = rate, 0
        self.levels = Levels(rate)
        self._notes = notes
        self._file: audio.Source | None = None
        self._wave: Waves | None = None
        self.label = named(source)
        if isinstance(source, (str, os.PathLike)):
            self._file = Path(source)
        elif isinstance(source, (bytes, bytearray, memoryview)) or hasattr(source, "read"):
            self._file = cast(audio.Source, source)
        if self._file is None:
            _check_one_wave(source)
            self._wave = audio.from_array(source, sr, rate, notes=notes)
            self.source_rate = int(sr) if sr is not None else rate
            return
        if sr is not None:
            raw = isinstance(source, (bytes, bytearray, memoryview))
            hint = " Raw samples become one by numpy.frombuffer, which is told their type." if raw else ""
            raise ConfigError(f"{self.label} knows its own sample rate: sr is for arrays only.{hint}")
        self.source_rate = audio.info(self._file, notes=notes).sr

    def blocks(self, size: int | None = None) -> Iterator[Waves]:
        """Yield all of it in blocks, counting samples and noting levels.

        Parameters
        ----------
        size
            Samples of a block of a file; left out, `_BLOCK_SECONDS` of them.

        Raises
        ------
        AudioError
            If there is nothing in it.
        """
        self.samples = 0
        whole: Iterable[Waves | None] = (self._wave,)
        if self._file is not None:
            seconds = _BLOCK_SECONDS if size is None else size / self.rate
            whole = audio.stream(self._file, self.rate, seconds, notes=self._notes)
        for block in whole:
            if block is not None and len(block):
                self.samples += len(block)
                yield self._seen(block)
        if self.samples == 0:
            raise AudioError("There is no sound in it: zero samples.")

    def middle(self, length: int) -> Iterator[Waves]:
        """Yield the middle `length` samples; all of it where it is shorter."""
        return self._excerpts(length, None)

    def evenly(self, length: int, count: int | Share) -> Iterator[Waves]:
        """Yield `count` excerpts of `length` samples, evenly from the start; all of it, once, if shorter.

        For a share, there are as many as cover it, at least one, each in the middle of its part of the sound.
        """
        return self._excerpts(length, count)

    def _excerpts(self, length: int, count: int | Share | None) -> Iterator[Waves]:
        def starts(samples: int) -> Sequence[int]:
            if count is None:
                return [audio.middle_start(samples, length)]
            if isinstance(count, Share):  # with care: .1 of 30 s is one excerpt of 3 s
                enough = max(1, math.ceil(count * samples / length - 1e-9))
                return audio.spread_starts(samples, length, enough)
            return audio.even_starts(samples, length, count)

        if self._file is not None:
            found = audio.placed(self._file, self.rate, length, starts, notes=self._notes)
            self.samples, waves = found.samples, found.waves
        else:
            whole = self._wave
            assert whole is not None
            self.samples = len(whole)
            chosen = [0] if len(whole) < length else starts(len(whole))
            waves = (whole[start : start + length] for start in chosen)
        for wave in waves:
            yield self._seen(wave)

    def _seen(self, wave: Waves) -> Waves:
        self.levels.add(wave)
        return wave


def named(source: Source) -> str:
    """Return what messages call a source."""
    if isinstance(source, (str, os.PathLike)):
        return printable(str(Path(source)))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "A file's bytes"
    return "An open file" if hasattr(source, "read") else "A wave"


def _check_one_wave(source: object) -> None:
    """Refuse what can be neither an array nor a list of samples."""
    if isinstance(source, (list, tuple)) and any(_is_source(item) for item in source[:1]):
        raise ShapeError("This is several sources: give one. `Tagger.tag_many` takes several.")
    if not (isinstance(source, Sequence) or hasattr(source, "__array__") or hasattr(source, "dtype")):
        raise ShapeError(
            f"A {type(source).__name__} is no sound: give a path, the bytes of a sound file, an open binary "
            "file, or a wave with its sample rate."
        )


def _is_source(item: object) -> bool:
    return isinstance(item, (str, os.PathLike, bytes, bytearray, memoryview)) or hasattr(item, "read")
