"""The decoders: mono float32 blocks at a file's own rate, from libsndfile or FFmpeg.

They are internals of `lightmel.audio`. All give the mean of the channels (FFmpeg's own downmix is louder
by the root of two) and what decodes, whatever frame count the header gives.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import soundfile

from .._each import printable
from ..errors import AudioError, nearest
from ._doors import Door
from ._ffmpeg import FFmpegDecoder
from ._layout import Layout, Part, inspect, inspect_once
from ._mp3_parts import Part as FramesPart
from ._mp3_parts import joined, part_of_frames
from ._notes import Notes
from ._pieces import PiecesFile
from ._sndfile import for_libsndfile
from ._waves import CELL, Mixer, Wave, part_of, resampled

_BLOCK = 10 * CELL
"""Samples that are decoded at a time; fewer of more than two channels."""
_LONGEST_NAME = 4_096
_MPEG1_SR = 32_000
_FLAC_BLOCK = 4_096
_MOST_GAPS = 100
TOGETHER = 1 << 20
"""Samples of an MP3 file whose frames are held at a time: whole cells, 24 s at 44.1 kHz."""
_LEFT_OUT = 0.5
"""Seconds by which headers are off without anything being wrong: encoders' padding."""


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

    def blocks(self, first: int, most: int | None) -> Iterator[Wave]:
        """Yield mono blocks of at most `most` samples together, from sample `first` on.

        `position` counts what was decoded.
        """

    def close(self) -> None:
        """Let go of the file."""


def open_decoder(file: Any, notes: Notes) -> Decoder:
    """Open `file` with libsndfile, or with FFmpeg where that refuses, or its parts one by one."""
    label, target = checked(file)
    try:
        layout = _inspected(target)
        for note in layout.notes:
            notes.add(label, note)
        if len(layout.parts) == 1:
            try:
                return open_part(label, target, layout.parts[0], notes)
            except AudioError as error:  # an M4A without its end, say, where its index stands
                cut = next((note for note in layout.notes if note.startswith("cut short")), None)
                raise error if cut is None else AudioError(f"{error} It is {cut}. Fetch it again.") from None
        return ChainDecoder(label, target, layout, notes)
    except (OSError, ValueError) as error:  # it may vanish at any time, or be closed
        raise unreadable(target, label, error) from None


def open_part(label: str, target: Path | BinaryIO, part: Part, notes: Notes) -> Decoder:
    """Open a part of a file with libsndfile, or with FFmpeg where that refuses."""
    if part.refusal is not None:
        return FFmpegDecoder(label, _bytes_of(target, part), part.refusal, notes)
    try:
        opened = SndfileDecoder(label, target, part, notes)
        if opened.claimed != 0 and not opened.format.startswith("RAW "):
            return opened
        opened.close()
        refusal = "its header counts no samples"
    except soundfile.LibsndfileError as error:
        refusal = str(error.error_string).rstrip(".")
        if "does not exist" in refusal:  # what it says of a file in which it finds no MP3 frames
            refusal = "it finds nothing that it can play"
    except TypeError:  # soundfile's answer to a name that ends in .raw
        refusal = "headerless sound: rate and channels are not known"
    else:
        if opened.format.startswith("RAW "):  # guessed from the name alone
            refusal = "no header that it knows"
    if _is_text(target):
        raise AudioError(f"{label}: holds text, not sound, whatever its name says.")
    return FFmpegDecoder(label, _bytes_of(target, part), refusal, notes)


def _bytes_of(target: Path | BinaryIO, part: Part) -> BinaryIO:
    """Return a part as a file without a name; closing it closes what was opened here."""
    own = target.open("rb") if isinstance(target, Path) else None
    file = cast(BinaryIO, own or target)
    view = PiecesFile.whole(file) if part.pieces is None else PiecesFile(file, part.pieces)
    view.owned = own
    return cast(BinaryIO, view)


def _inspected(target: Path | BinaryIO) -> Layout:
    if not isinstance(target, Path):
        return inspect(target)
    status = target.stat()
    return inspect_once(target, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def checked(file: Any) -> tuple[str, Path | BinaryIO]:
    """Return what to call `file` in messages, and `file` itself if there is anything to read in it."""
    if isinstance(file, (bytes, bytearray, memoryview)):
        return _of_bytes(file)
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        label = printable(str(path))
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise AudioError(f"{label}: is a folder. Name the files in it.")
            if not stat.S_ISREG(status.st_mode):
                raise AudioError(f"{label}: is no regular file. Save the sound in one.")
            with path.open("rb") as handle:
                empty = not handle.read(1)
        except (OSError, ValueError) as error:
            raise unreadable(path, label, error) from None
        if empty:
            raise AudioError(f"{label}: is empty (0 bytes). Fetch or export it again.")
        return label, path
    if all(hasattr(file, name) for name in ("read", "seek", "tell")):
        label = f"<{type(file).__name__}>"
        door = file if isinstance(file, (io.BytesIO, Door)) or _is_of_system(file) else Door(file)
        try:
            seekable = not hasattr(file, "seekable") or file.seekable()
            binary = seekable and not isinstance(file.read(0), str)
            size = door.seek(0, io.SEEK_END) if binary else 0
        except (OSError, ValueError) as error:
            raise unreadable(file, label, error) from None
        if binary and size:
            return label, cast(BinaryIO, door)
        reason = "is empty (0 bytes)" if binary else "gives text: open it with mode 'rb'"
        raise AudioError(f"{label}: {reason if seekable else 'cannot seek: read it into io.BytesIO first'}.")
    raise AudioError(
        f"A {type(file).__name__} is no file: give a path, the bytes of a file or a binary file object. "
        "Arrays and tensors go through audio.from_array, with their sample rate."
    )


def _of_bytes(data: bytes | bytearray | memoryview) -> tuple[str, BinaryIO]:
    try:
        whole = bytes(data)  # whatever the order of a view
    except (BufferError, ValueError) as error:
        raise AudioError(f"These bytes cannot be read ({error}).") from None
    if not whole:
        raise AudioError("<0 bytes>: there is nothing in it. Fetch or export it again.")
    if len(whole) < _LONGEST_NAME and b"\0" not in whole and os.path.exists(whole):  # noqa: PTH110 - no text
        name = printable(os.fsdecode(whole))
        raise AudioError(
            f"{name}: these bytes are the name of a file, not what is in it: give os.fsdecode(...)."
        )
    return f"<{len(whole):,} bytes>", io.BytesIO(whole)


def _is_of_system(file: Any) -> bool:
    """Return whether the operating system reads a file: it reads as much as there is."""
    return isinstance(file, io.FileIO) or (
        isinstance(file, (io.BufferedReader, io.BufferedRandom)) and isinstance(file.raw, io.FileIO)
    )


def unreadable(target: Path | BinaryIO | None, label: str, error: Exception) -> AudioError:
    """Return what to say of a file that cannot be opened or read."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) and isinstance(target, Path):
        return AudioError(_missing(target, label))
    if isinstance(error, PermissionError):
        return AudioError(f"{label}: may not be read by this user. Check its permissions.")
    reason = getattr(error, "strerror", None) or error
    return AudioError(f"{label}: cannot be {'opened' if isinstance(target, Path) else 'read'} ({reason}).")


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A SoundFile that is read from front to back.

    Where `seekable` is true, soundfile seeks after each block to where it already is. In MP3 files of low
    bit rate that empties the bit reservoir, and the next frame comes out wrong; in FLAC files without a
    length it fails at the end. `seek` itself works all the same.
    """

    def seekable(self) -> bool:
        return False


class SndfileDecoder:
    """A file, or a part of one, read by libsndfile."""

    decoder = "libsndfile"

    def __init__(self, label: str, target: Path | BinaryIO, part: Part, notes: Notes) -> None:
        self.label = label
        self.position = 0
        self.seeks = part.steady
        self._notes = notes
        self._target, self._own_header = target, part.pieces is None
        self._door: Door | None = None  # where Python reads, and C asks it to
        self._closing = contextlib.ExitStack()
        with self._closing:
            self._source: Any = target
            if part.pieces is not None:
                self._source = self._closing.enter_context(contextlib.closing(_bytes_of(target, part)))
            elif isinstance(target, Path):
                # Without a detour through Python for each read; bytes, for names that are not UTF-8. A dash
                # alone would stand for the standard input.
                name = os.path.join(".", target) if str(target) == "-" else target  # noqa: PTH118
                self._source = for_libsndfile(name)
            self._file = self._closing.enter_context(self._open())
            self._closing = self._closing.pop_all()
        self.sr: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.format = f"{self._file.format} {self._file.subtype}"
        # libsndfile's largest number stands for "not known".
        self.claimed: int | None = None if self._file.frames >= 1 << 60 else self._file.frames
        size = max(1, 2 * _BLOCK // max(2, self.channels) // CELL) * CELL
        self._buffer: Wave = np.empty((size, self.channels), np.float32)
        # Only where both read the header alike is a sample where it is in a whole decode.
        known = part.frames is not None and part.frames.claimed == self.claimed
        self._frames = part.frames if known else None

    def _open(self) -> _Sequential:
        if not hasattr(self._source, "seek"):
            return _Sequential(self._source)
        self._source.seek(0)
        self._door = Door(self._source, keeps=True)
        try:
            return _Sequential(self._door)
        finally:
            self._door.check()

    def _reopen(self) -> None:
        self._file.close()
        self._file = self._closing.enter_context(self._open())

    @property
    def counted(self) -> bool:
        """Whether the samples that the header gives are known to be there, frame by frame."""
        return self._frames is not None and self._frames.complete

    def close(self) -> None:
        """Let go of the file."""
        self._closing.close()

    def blocks(self, first: int, most: int | None) -> Iterator[Wave]:
        """Yield mono blocks of at most `most` samples together, from sample `first` on."""
        begin = first // CELL * CELL
        # To the end of a cell, so that as much of the last one is there as in a whole decode.
        end = None if most is None else -(-(first + most) // CELL) * CELL
        mixer = Mixer()
        try:
            yield from part_of(self._from(mixer, begin, end), first - begin, most)
        finally:
            mixer.say(self._notes, self.label, self.sr if end is None else None)

    def _from(self, mixer: Mixer, begin: int, end: int | None) -> Iterator[Wave]:
        """Yield mono blocks from the cell that begins at `begin` on, up to `end`."""
        if self._frames is not None and end is not None and self.claimed is not None:
            for wave in self._of_frames(mixer, begin, min(end, self.claimed)):
                yield wave
                begin += len(wave)
            if begin >= min(end, self.claimed):
                return
        sought = self._seek(begin)
        yield from part_of(self._mixed(mixer, end), begin - sought, None)

    def _of_frames(self, mixer: Mixer, begin: int, end: int) -> Iterator[Wave]:
        """Yield the same from files of the frames around them: whole cells, as far as these decode."""
        for start in range(begin, end, TOGETHER):
            stop = min(start + TOGETHER, end)
            for wave in self._decoded([(start, stop)]):
                yield mixer.mix(wave)
                start += wave.shape[1]
            if start < stop:
                return

    def several(self, windows: Sequence[tuple[int, int]]) -> Iterator[Wave]:
        """Yield the mono samples of each window, ``(first, most)``, where frames are known and windows short.

        As many as there is room for are decoded together: opening takes as long as some tenths of a second
        of sound.
        """
        mixer, group, room = Mixer(), list[tuple[int, int]](), TOGETHER
        try:
            for first, most in windows:
                room -= most + 2 * CELL
                if room < 0 and group:
                    yield from self._group(mixer, group)
                    group, room = [], TOGETHER - most - 2 * CELL
                group.append((first, most))
            yield from self._group(mixer, group)
        finally:
            mixer.say(self._notes, self.label, None)

    def _group(self, mixer: Mixer, windows: Sequence[tuple[int, int]]) -> Iterator[Wave]:
        spans = [self._span(first, most) for first, most in windows]
        blocks = self._decoded(spans)
        for (first, most), (begin, end) in zip(windows, spans, strict=True):
            held, got = [np.empty(0, np.float32)], begin
            while got < end and (block := next(blocks, None)) is not None:
                held.append(mixer.mix(block))
                got += block.shape[1]
            if got < end:  # what frames alone do not give, the file itself may
                yield np.concatenate([held[0], *self.blocks(first, most)])
            else:
                whole = held[1] if len(held) == 2 else np.concatenate(held)
                yield whole[first - begin :][:most]

    def _span(self, first: int, most: int) -> tuple[int, int]:
        """Return the cells around a window, as far as the header counts."""
        end = -(-(first + most) // CELL) * CELL
        return first // CELL * CELL, end if self.claimed is None else min(end, self.claimed)

    def _decoded(self, spans: Sequence[tuple[int, int]]) -> Iterator[Wave]:
        """Yield ``(channels, samples)`` of spans, from a file of their frames alone, as far as it goes."""
        assert self._frames is not None
        parts = list[FramesPart]()
        own = self._target.open("rb") if isinstance(self._target, Path) else None
        with own or contextlib.nullcontext(cast(BinaryIO, self._target)) as file:
            for begin, end in spans:
                part = part_of_frames(file, self._frames, begin, end)
                if part is None:
                    break
                parts.append(part)
        if not parts:
            return
        data, places = joined(self._frames, parts)
        at, size = 0, len(self._buffer)
        with contextlib.suppress(soundfile.LibsndfileError), _Sequential(io.BytesIO(data)) as opened:
            for place, (begin, end) in zip(places, spans, strict=False):
                for start in range(at, place, size):
                    opened.read(out=self._buffer[: min(size, place - start)])
                for start in range(begin, end, size):
                    wanted = min(size, end - start)
                    if len(opened.read(out=self._buffer[:wanted])) < wanted:
                        return
                    yield self._buffer[:wanted].T
                at = place + end - begin

    def _mixed(self, mixer: Mixer, end: int | None) -> Iterator[Wave]:
        """Yield mono blocks from where it is, up to `end`; none but the last begins or ends within a cell."""
        buffer, size = self._buffer, len(self._buffer)
        silence = gaps = 0
        failed_at, some = -1, False
        while end is None or self.position < end:
            within = self.position % CELL
            room = CELL - within if within else size
            room = room if end is None else min(room, end - self.position)
            failure = None
            if silence:
                wave: Wave = np.zeros(min(silence, room), np.float32)
                silence -= len(wave)
            else:
                got, failure = self._read(buffer[:room])
                wave = mixer.mix(buffer[:got].T)
            self.position += len(wave)
            some = some or len(wave) > 0
            if len(wave):
                yield wave
            if failure is not None:
                again, failed_at, gaps = failed_at == self.position, self.position, gaps + 1
                resumed = self._resume(again) if gaps <= _MOST_GAPS else None
                if resumed is None:
                    self._say_where_it_stops(failure)
                    return
                silence = resumed - self.position
                if silence:
                    at = f"damaged at {self._seconds(self.position)}"
                    self._say(
                        f"{at}: {self._seconds(silence)} do not decode, and silence stands in their place"
                    )
            elif not len(wave):
                break
        else:
            return
        if self.position == 0:
            raise AudioError(f"{self.label}: nothing in it decodes. Fetch or export it again.")
        if some:  # else it was a place behind the end that was sought
            self._say_what_is_missing()

    def _read(self, buffer: Wave) -> tuple[int, str | None]:
        """Fill `buffer`; return how many samples decoded, and why no more of them if it failed."""
        buffer.fill(np.nan)  # what is still NaN after a failure was not decoded
        try:
            got = len(self._file.read(out=buffer))
            if self._door is not None:
                self._door.check()
            return got, None
        except soundfile.LibsndfileError as error:
            if self._door is not None:
                self._door.check()
            undecoded = np.isnan(buffer).all(axis=1)
            return int(np.argmax(undecoded)) if undecoded.any() else len(buffer), str(error.error_string)

    def _say_where_it_stops(self, reason: str) -> None:
        reason = reason.rstrip(".")
        if self.position == 0:
            raise AudioError(f"{self.label}: nothing in it decodes (libsndfile: {reason}).")
        left = 0 if self.claimed is None else self.claimed - self.position
        rest = f"{self._seconds(left)} behind that are" if left > 0 else "what comes behind that is"
        stop = self._seconds(self.position)
        self._say(f"cut short: libsndfile stops at {stop} ({reason}), and {rest} left out")

    def _say_what_is_missing(self) -> None:
        if self.claimed is None:
            return
        missing, there = self.claimed - self.position, self._seconds(self.position)
        if not self.seeks and missing > 0:
            self._say(f"{self._seconds(missing)} of it do not decode and are left out")
        elif missing > _LEFT_OUT * self.sr and self._own_header:
            self._say(f"cut short: its header gives {self._seconds(self.claimed)}, {there} decode")
        elif missing > _LEFT_OUT * self.sr:
            self._say(f"cut short: {there} of it decode")

    def _say(self, note: str) -> None:
        self._notes.add(self.label, note)

    def _seconds(self, samples: int) -> str:
        return f"{samples / self.sr:.2f} s"

    def _resume(self, again: bool) -> int | None:
        """Go to the first place behind a damaged frame of a FLAC file; None if there is none.

        That is where it stopped, if something stands between two frames that are whole; but not `again`.
        Its frames say where they belong, so that one that is sought comes out as in a whole decode: none is
        moved by those that are left out before it.
        """
        if self._file.format != "FLAC" or self.claimed is None:
            return None
        if not again and self._sought(self.position):
            return self.position
        bad, step = self.position, 0
        while True:
            step = step + _FLAC_BLOCK if step < 16 * _FLAC_BLOCK else 2 * step
            good = min(self.position + step, self.claimed - 1)
            if good <= bad:
                return None
            if self._sought(good):
                break
            bad = good
        while good - bad > 1:
            between = (good + bad) // 2
            good, bad = (between, bad) if self._sought(between) else (good, between)
        return good if self._sought(good) else None

    def _sought(self, place: int) -> bool:
        try:
            self._reopen()
            return bool(self._file.seek(place) == place)
        except soundfile.LibsndfileError:
            return False

    def _seek(self, first: int) -> int:
        """Go to the beginning of a cell before sample `first`, and return where that is."""
        goal = max(0, first // CELL * CELL - self._pre_roll()) // CELL * CELL
        if goal == 0 or not self.seeks:
            if self.position:
                self._reopen()
                self.position = 0
            return 0
        with contextlib.suppress(soundfile.LibsndfileError):
            if self._file.seek(goal) == goal:
                self.position = goal
                return goal
        self._reopen()  # it cannot: decode all that comes before
        self.position = 0
        return 0

    def _pre_roll(self) -> int:
        """Return the samples a decoder needs before it gives what it gives in a whole decode."""
        if self._file.format == "MP3":
            # The bit reservoir (511 bytes in MPEG-1, 255 in MPEG-2) reaches back furthest at the lowest
            # bit rates: nine frames of 1152 at 32 kbit/s, 51 of 576 at 8 kbit/s.
            return 16 * 1_152 if self.sr >= _MPEG1_SR else 64 * 576
        return 16_384 if self._file.format == "OGG" else 0


class ChainDecoder:
    """Recordings that lie one behind the other in a file, each of its own rate and number of channels.

    All come at the highest of their rates, one after another from the first on.
    """

    seeks = False

    def __init__(self, label: str, target: Path | BinaryIO, layout: Layout, notes: Notes) -> None:
        self.label, self.position = label, 0
        self._target, self._notes = target, notes
        self._parts: list[Part] = []
        sizes: list[tuple[int, int | None]] = []
        first_error: AudioError | None = None
        self.channels, self.format, self.decoder = 0, "", ""
        for i, part in enumerate(layout.parts):
            try:
                with contextlib.closing(open_part(label, target, part, notes)) as opened:
                    self._parts.append(part)
                    sizes.append((opened.sr, opened.claimed))
                    self.channels = max(self.channels, opened.channels)
                    self.format = self.format or opened.format
                    self.decoder = "ffmpeg" if "ffmpeg" in (self.decoder, opened.decoder) else "libsndfile"
            except AudioError as error:
                first_error = first_error or error
                self._leave_out(i)
        if not self._parts:
            assert first_error is not None
            raise first_error
        self.sr = max(sr for sr, _ in sizes)
        known = [round(count * self.sr / sr) for sr, count in sizes if count is not None]
        self.claimed = sum(known) if len(known) == len(sizes) else None

    def close(self) -> None:
        """Do nothing: parts are open while they are read."""

    def blocks(self, first: int, most: int | None) -> Iterator[Wave]:
        """Yield mono blocks of at most `most` samples together, from sample `first` on."""
        return part_of(self._all(), first, most)

    def _all(self) -> Iterator[Wave]:
        for i, part in enumerate(self._parts):
            try:
                with contextlib.closing(open_part(self.label, self._target, part, self._notes)) as opened:
                    for block in resampled(opened.blocks(0, None), opened.sr, self.sr):
                        self.position += len(block)
                        yield block
            except AudioError:
                self._leave_out(i)
        if self.position == 0:
            raise AudioError(f"{self.label}: nothing in it decodes. Fetch or export it again.")

    def _leave_out(self, index: int) -> None:
        self._notes.add(self.label, f"recording {index + 1} in it does not decode and is left out")


def _missing(path: Path, label: str) -> str:
    if path.is_symlink():
        return f"{label}: is a link to {printable(str(path.readlink()))}, and there is no such file."
    folder = path.parent
    try:
        with os.scandir(folder) as entries:  # a link that leads nowhere is no help
            names = [e.name for e in entries if not e.is_symlink() or os.path.exists(e.path)]  # noqa: PTH110 - never raises
    except OSError:
        return f"{label}: no such file, nor a folder {printable(str(folder))}."
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
