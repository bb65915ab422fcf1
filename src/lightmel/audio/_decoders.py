"""The decoders: mono float32 blocks at a file's own rate, from libsndfile or FFmpeg.

They are internals of `lightmel.audio`. Both give the mean of the channels (FFmpeg's own downmix is louder
by the root of two) and what decodes, whatever frame count the header gives.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt
import soundfile

from ..errors import AudioError, MissingExtraError, nearest
from ._mp3 import Mend, MendedFile, find_mend
from ._opus import first_page_back, is_opus

_BLOCK = 131_072
"""Samples, all channels together, that are decoded at a time."""
_MPEG1_SR = 32_000

log = logging.getLogger("lightmel")


class Decoder(Protocol):
    """One open file: what its header gives, and its mono blocks from a sample on (in samples of the file).

    `claimed` is the header's number of samples, None where it gives none; `seeks` is whether a part can be
    read without decoding all that is before it.
    """

    label: str
    sr: int
    channels: int
    claimed: int | None
    format: str
    decoder: str
    seeks: bool
    position: int

    def blocks(self, first: int, most: int | None) -> Iterator[npt.NDArray[np.float32]]:
        """Yield mono blocks of at most `most` samples together, from sample `first` on.

        `position` counts what was decoded.
        """

    def close(self) -> None:
        """Let go of the file."""


def open_decoder(file: Any) -> Decoder:
    """Open `file` with libsndfile, or with FFmpeg where that refuses."""
    label, target = checked(file)
    try:
        opened = SndfileDecoder(label, target)
        if opened.claimed != 0:
            return opened
        opened.close()
        refusal = "its header counts no samples"
    except soundfile.LibsndfileError as error:
        refusal = str(error.error_string).rstrip(".")
    except _RefusedError as error:
        refusal = str(error)
    except TypeError:  # soundfile's answer to a name that ends in .raw
        refusal = "headerless sound: rate and channels are not known"
    if _is_text(target):
        raise AudioError(f"{label}: holds text, not sound, whatever its name says.")
    return FFmpegDecoder(label, target, refusal)


def checked(file: Any) -> tuple[str, Path | BinaryIO]:
    """Return what to call `file` in messages, and `file` itself if there is anything to read in it."""
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        label = str(path).encode("utf-8", "backslashreplace").decode()
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise AudioError(f"{label}: is a folder. Name the files in it.")
            if not stat.S_ISREG(status.st_mode):
                raise AudioError(f"{label}: is no regular file. Save the sound in one.")
            with path.open("rb") as handle:
                empty = not handle.read(1)
        except (FileNotFoundError, NotADirectoryError):
            raise AudioError(_missing(path, label)) from None
        except PermissionError:
            raise AudioError(f"{label}: may not be read by this user. Check its permissions.") from None
        except (OSError, ValueError) as error:
            raise AudioError(f"{label}: cannot be opened ({error}).") from None
        if empty:
            raise AudioError(f"{label}: is empty (0 bytes). Fetch or export it again.")
        return label, path
    if all(hasattr(file, name) for name in ("read", "seek", "tell")):
        label = f"<{type(file).__name__}>"
        try:
            seekable = not hasattr(file, "seekable") or file.seekable()
            binary = seekable and isinstance(file.read(0), bytes)
            size = file.seek(0, io.SEEK_END) if binary else 0
        except (OSError, ValueError) as error:
            raise AudioError(f"{label}: cannot be read ({error}).") from None
        if binary and size:
            return label, file
        reason = "is empty (0 bytes)" if binary else "gives text: open it with mode 'rb'"
        raise AudioError(f"{label}: {reason if seekable else 'cannot seek: read it into io.BytesIO first'}.")
    raise AudioError(
        f"A {type(file).__name__} is no file: give a path or a binary file object. Arrays and tensors go "
        "through audio.from_array, with their sample rate; bytes go into io.BytesIO."
    )


class _RefusedError(Exception):
    """A file that libsndfile opens, but would not play to the end; the text is the reason."""


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A SoundFile that is read from front to back.

    Where `seekable` is true, soundfile seeks after each block to where it already is. In MP3 files of low
    bit rate that empties the bit reservoir, and the next frame comes out wrong; in FLAC files without a
    length it fails at the end. `seek` itself works all the same.
    """

    def seekable(self) -> bool:
        return False


def _inspect(file: BinaryIO) -> tuple[Mend | None, float | None]:
    """Return how to mend an MP3 file's length, and where libsndfile would stop in an Opus file."""
    return find_mend(file), first_page_back(file) if is_opus(file) else None


@lru_cache(maxsize=256)
def _inspect_once(path: Path, *_state: int) -> tuple[Mend | None, float | None]:
    """Inspect a file anew only if its state has changed: excerpts are often many of one file."""
    with path.open("rb") as file:
        return _inspect(file)


class SndfileDecoder:
    """A file read by libsndfile."""

    decoder = "libsndfile"
    seeks = True

    def __init__(self, label: str, target: Path | BinaryIO) -> None:
        self.label = label
        self.position = 0
        self._closing = contextlib.ExitStack()
        with self._closing:
            binary = self._closing.enter_context(target.open("rb")) if isinstance(target, Path) else target
            if isinstance(target, Path):
                status = os.fstat(binary.fileno())
                state = (status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
                mend, stop = _inspect_once(target, *state)
            else:
                mend, stop = _inspect(binary)
            if stop is not None:
                raise _RefusedError(f"a time stamp goes back at {stop:.2f} s, where it stops")
            self._source: Any = binary if mend is None else MendedFile(binary, mend)
            if self._source is binary and isinstance(target, Path):
                # Without a detour through Python for each read; bytes, for names that are not UTF-8.
                self._source = str(target) if os.name == "nt" else os.fsencode(target)
            self._file = self._closing.enter_context(self._open())
            self._closing = self._closing.pop_all()
        self.sr: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.format = f"{self._file.format} {self._file.subtype}"
        # libsndfile's largest number stands for "not known".
        self.claimed: int | None = None if self._file.frames >= 1 << 60 else self._file.frames

    def _open(self) -> _Sequential:
        if hasattr(self._source, "seek"):
            self._source.seek(0)
        return _Sequential(self._source)

    def close(self) -> None:
        """Let go of the file."""
        self._closing.close()

    def blocks(self, first: int, most: int | None) -> Iterator[npt.NDArray[np.float32]]:
        """Yield mono blocks of at most `most` samples together, from sample `first` on."""
        drop = self._seek(first)
        buffer = np.empty((max(1_024, _BLOCK // self.channels), self.channels), np.float32)
        while most is None or self.position < first + most:
            if most is not None:
                buffer = buffer[: first + most - self.position]
            buffer.fill(np.nan)  # what is still NaN after a failure was not decoded
            failure = None
            try:
                got = len(self._file.read(out=buffer))
            except soundfile.LibsndfileError as error:
                failure = error
                blank = np.isnan(buffer).any(axis=1)
                got = int(blank.argmax()) if blank.any() else len(buffer)
            self.position += got
            if got > drop:
                yield mean_of_channels(buffer[drop:got].T)
            drop = max(0, drop - got)
            if failure is not None:
                reason = str(failure.error_string).rstrip(".")
                if self.position == 0:
                    raise AudioError(f"{self.label}: nothing in it decodes (libsndfile: {reason}).") from None
                log.warning(
                    "%s: cut short: libsndfile stops at %.2f s (%s); the sound up to there is used.",
                    self.label,
                    self.position / self.sr,
                    reason,
                )
                return
            if not got:
                break
        else:
            return
        if self.position == 0:
            raise AudioError(f"{self.label}: nothing in it decodes. Fetch or export it again.")
        if self.claimed is not None and self.claimed - self.position > self.sr / 2:
            log.warning(
                "%s: cut short: its header gives %.2f s, %.2f s decode.",
                self.label,
                self.claimed / self.sr,
                self.position / self.sr,
            )

    def _seek(self, first: int) -> int:
        """Go to before sample `first`; return how many samples to drop until it comes."""
        goal = max(0, first - self._pre_roll())
        if goal == 0:
            return first
        with contextlib.suppress(soundfile.LibsndfileError):
            if self._file.seek(goal) == goal:
                self.position = goal
                return first - goal
        # It cannot: decode all that comes before.
        self._file.close()
        self._file = self._closing.enter_context(self._open())
        return first

    def _pre_roll(self) -> int:
        """Return the samples a decoder needs before it gives what it gives in a whole decode."""
        if self._file.format == "MP3":
            # The bit reservoir (511 bytes in MPEG-1, 255 in MPEG-2) reaches back furthest at the lowest
            # bit rates: nine frames of 1152 at 32 kbit/s, 51 of 576 at 8 kbit/s.
            return 16 * 1_152 if self.sr >= _MPEG1_SR else 64 * 576
        return 16_384 if self._file.format == "OGG" else 0


class FFmpegDecoder:
    """A file read by FFmpeg, from its beginning only: PTS are exact to the sample in few formats."""

    decoder = "ffmpeg"
    seeks = False

    def __init__(self, label: str, target: Path | BinaryIO, refusal: str) -> None:
        try:
            import av
        except ImportError:
            raise MissingExtraError(
                f"{label}: libsndfile does not read it ({refusal}). If it is sound, FFmpeg may: "
                'pip install "lightmel[ffmpeg]"'
            ) from None
        self.label, self.position = label, 0
        self._failures = av.error.FFmpegError
        if not isinstance(target, Path):
            target.seek(0)
        source = str(target) if isinstance(target, Path) else target
        try:
            self._container = cast(Any, av.open(source, metadata_errors="ignore"))
        except self._failures as error:
            raise AudioError(
                f"{label}: is no sound that can be read (libsndfile: {refusal}; FFmpeg: {error.strerror})."
            ) from None
        try:
            if not self._container.streams.audio:
                raise AudioError(f"{label}: holds no sound (FFmpeg finds no audio stream in it).")
            self._stream = self._container.streams.audio[0]
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise AudioError(f"{label}: holds no samples that decode (libsndfile: {refusal}).")
        except BaseException:
            self._container.close()
            raise
        # A codec's parameters may be wrong until it has decoded (HE-AAC doubles its rate).
        self.sr = int(self._first.sample_rate)
        self.channels = len(self._first.layout.channels)
        self.format = f"{self._container.format.name} {self._stream.codec_context.name}"
        seconds = self._container.duration / 1e6 if self._container.duration else None
        if self._stream.duration:
            seconds = float(self._stream.duration * self._stream.time_base)
        self.claimed = None if seconds is None else round(seconds * self.sr)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def blocks(self, first: int, most: int | None) -> Iterator[npt.NDArray[np.float32]]:
        """Yield mono blocks of at most `most` samples together, from sample `first` on."""
        held: list[npt.NDArray[np.float32]] = []
        count, drop = 0, first
        frame = self._first
        while frame is not None and (most is None or self.position < first + most):
            if frame.sample_rate != self.sr:
                log.warning(
                    "%s: its rate changes from %d to %d Hz at %.2f s; the sound up to there is used.",
                    self.label,
                    self.sr,
                    frame.sample_rate,
                    self.position / self.sr,
                )
                break
            self.position += frame.samples
            if frame.samples > drop:
                end = None if most is None else first + most - self.position + frame.samples
                held.append(mean_of_channels(_planar(frame))[drop:end])
                count += len(held[-1])
            drop = max(0, drop - frame.samples)
            if count * self.channels >= _BLOCK:
                yield np.concatenate(held)
                held, count = [], 0
            frame = next(self._frames, None)
        if held:
            yield np.concatenate(held)

    def _decode(self) -> Iterator[Any]:
        """Yield frames, leaving out packets that do not decode, as FFmpeg's own programs do."""
        left_out, where = 0, 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode()
                except self._failures:
                    where = where if left_out else self.position
                    left_out += 1
        except self._failures as error:
            log.warning(
                "%s: cut short: FFmpeg stops after %d samples (%s); the sound up to there is used.",
                self.label,
                self.position,
                error.strerror,
            )
        if left_out and self.position:
            log.warning(
                "%s: %d packets do not decode and are left out, the first at %.2f s.",
                self.label,
                left_out,
                where / self.sr,
            )


def mean_of_channels(channels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the mean over the first axis: by additions, ten times quicker than mean() on stereo.

    What is not finite passes without a warning: the callers look for it and name its place.
    """
    mono: npt.NDArray[np.float32] = channels[0].copy()
    with np.errstate(over="ignore", invalid="ignore"):
        for channel in channels[1:]:
            mono += channel
        if len(channels) > 1:
            mono /= np.float32(len(channels))
    return mono


def _planar(frame: Any) -> npt.NDArray[np.float32]:
    """Return an FFmpeg frame as float32 of shape (channels, samples), full scale being 1."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, len(frame.layout.channels)).T
    with np.errstate(over="ignore"):
        floats: npt.NDArray[np.float32] = array.astype(np.float32, copy=False)
    if array.dtype.kind != "f":
        half = np.float32(1 << (8 * array.dtype.itemsize - 1))
        floats = (floats - half if array.dtype.kind == "u" else floats) / half
    return floats


def _missing(path: Path, label: str) -> str:
    folder = path.parent
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names, not paths
    except OSError:
        return f"{label}: no such file, nor a folder {folder}."
    return f"{label}: no such file.{nearest(path.name, names)}"


def _is_text(target: Path | BinaryIO) -> bool:
    try:
        with target.open("rb") if isinstance(target, Path) else contextlib.nullcontext(target) as handle:
            handle.seek(0)
            head = handle.read(512)
    except OSError:  # whoever reads on says what it was
        return False
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
