"""Sound that FFmpeg decodes, through PyAV, which is imported when the first such file is met.

FFmpeg is given an open file and never a name: it takes some names for protocols (``pipe:0``, ``http:x.m4a``)
and guesses formats from others. What it reads may not make it open anything else either: playlists and
descriptions of streams name files and addresses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import soxr

from ..errors import AudioError
from ._doors import Door
from ._notes import Notes
from ._waves import CELL, Mixer, Wave, part_of

_BLOCK = 131_072
"""Samples, all channels together, that are passed on at a time."""
_OPTIONS = {"protocol_whitelist": "none"}
"""No protocol has this name. The open file needs none."""
_PLANES = 8
_BAD_START = 20
"""Packets that do not decode, before the first that does, in what is no sound but was taken for some."""


class FFmpegDecoder:
    """A file read by FFmpeg, from its beginning only: PTS are exact to the sample in few formats.

    Where the rate changes on the way, what comes then is resampled to the first one.
    """

    decoder = "ffmpeg"
    seeks = False

    def __init__(self, label: str, file: BinaryIO, refusal: str, notes: Notes) -> None:
        import av

        self.label, self.position = label, 0
        self._notes = notes
        self._failures = av.error.FFmpegError
        with contextlib.ExitStack() as stack:
            stack.callback(file.close)
            file.seek(0)
            self._door = Door(file, keeps=True)
            try:
                self._container = cast(Any, av.open(self._door, metadata_errors="ignore", options=_OPTIONS))
            except self._failures as error:
                self._door.check()
                said = f"libsndfile: {refusal}; FFmpeg: {error.strerror}"
                raise AudioError(f"{label}: is no sound that can be read ({said}).") from None
            stack.callback(self._container.close)
            self._door.check()
            if not self._container.streams.audio:
                raise AudioError(f"{label}: holds no sound (FFmpeg finds no audio stream in it).")
            self._stream = self._container.streams.audio[0]
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise AudioError(f"{label}: is no sound: nothing in it decodes (libsndfile: {refusal}).")
            self._closing = stack.pop_all()
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
        self._closing.close()

    def blocks(self, first: int, most: int | None) -> Iterator[Wave]:
        """Yield mono blocks of at most `most` samples together, from sample `first` on."""
        mixer = Mixer()
        try:
            yield from part_of(self._waves(mixer), first, most)
        finally:
            mixer.say(self._notes, self.label, self.sr if most is None else None)

    def _waves(self, mixer: Mixer) -> Iterator[Wave]:
        """Yield all of it at the first frame's rate."""
        sr, resampler = self.sr, None
        for rate, channels in self._runs():
            if rate != sr:
                if resampler is not None:
                    yield self._counted(resampler.resample_chunk(np.empty(0, np.float32), last=True))
                sr, resampler = rate, None
                if sr != self.sr:
                    resampler = soxr.ResampleStream(sr, self.sr, 1, dtype="float32", quality="HQ")
            wave = mixer.mix(channels)
            yield self._counted(wave if resampler is None else resampler.resample_chunk(wave))
        if resampler is not None:
            yield self._counted(resampler.resample_chunk(np.empty(0, np.float32), last=True))

    def _runs(self) -> Iterator[tuple[int, Wave]]:
        """Yield rates and ``(channels, samples)``, whole cells as long as rate and channels stay."""
        held: list[Wave] = []
        rate, count = self.sr, 0
        frame = self._first
        while frame is not None:
            channels = _planar(frame)
            if held and (frame.sample_rate != rate or len(channels) != len(held[0])):
                yield rate, np.concatenate(held, axis=1)
                held, count = [], 0
            rate = frame.sample_rate
            held.append(channels)
            count += channels.shape[1]
            if count * len(channels) >= _BLOCK and count >= CELL:
                joined = np.concatenate(held, axis=1)
                whole = count // CELL * CELL
                yield rate, joined[:, :whole]
                held, count = [joined[:, whole:]], count - whole
            frame = next(self._frames, None)
        if count:
            yield rate, np.concatenate(held, axis=1)

    def _counted(self, wave: Wave) -> Wave:
        self.position += len(wave)
        return wave

    def _decode(self) -> Iterator[Any]:
        """Yield frames, leaving out packets that do not decode, as FFmpeg's own programs do."""
        left_out, reached, where, some = 0, 0.0, 0.0, False  # seconds
        try:
            for packet in self._container.demux(self._stream):
                self._door.check()
                try:
                    for decoded in packet.decode():
                        for frame in _with_readable_planes(decoded):
                            some = True
                            reached += frame.samples / frame.sample_rate
                            yield frame
                except (self._failures, ValueError):
                    where = where if left_out else reached
                    left_out += 1
                    if not some and left_out > _BAD_START:
                        return
        except self._failures as error:
            self._door.check()
            if some:
                self._notes.add(self.label, f"cut short: FFmpeg stops at {reached:.2f} s ({error.strerror})")
        if left_out and some:
            many = f"{left_out:,} packets do" if left_out > 1 else "a packet does"
            first = f"{', the first' if left_out > 1 else ''} at {where:.2f} s"
            self._notes.add(self.label, f"left out: {many} not decode{first}")


def _with_readable_planes(frame: Any) -> list[Any]:
    """Return a frame as PyAV can read it.

    It counts the planes of one with many channels beyond their end, and reads what is there. A damaged packet
    of AAC may claim any number.
    """
    if not frame.format.is_planar or len(frame.layout.channels) <= _PLANES:
        return [frame]
    import av

    resampler = av.AudioResampler(frame.format.packed.name, frame.layout, frame.sample_rate)
    return [*resampler.resample(frame), *resampler.resample(None)]


def _planar(frame: Any) -> Wave:
    """Return an FFmpeg frame as float32 of shape (channels, samples), full scale being 1."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, len(frame.layout.channels)).T
    with np.errstate(over="ignore"):
        floats: Wave = array.astype(np.float32, copy=False)
    if array.dtype.kind != "f":
        half = np.float32(1 << (8 * array.dtype.itemsize - 1))
        floats = (floats - half if array.dtype.kind == "u" else floats) / half
    return floats
