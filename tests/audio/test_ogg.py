from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel.audio import _ogg as ogg
from lightmel.audio._layout import Layout, inspect

Tone = Callable[..., np.ndarray]


class Writer:
    """Writes Ogg pages, numbered from zero in each stream, with their checksums."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def __call__(
        self, granule: int, packets: list[bytes], flags: int = 0, serial: int = 7, open_end: bool = False
    ) -> bytes:
        lacing = b""
        for packet in packets:
            lacing += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
        if open_end:
            lacing = lacing[:-1]
        number = self.numbers.get(serial, 0)
        self.numbers[serial] = number + 1

        def written(checksum: int) -> bytes:
            fields = (b"OggS", 0, flags, granule, serial, number, checksum, len(lacing))
            return struct.pack("<4sBBqIIIB", *fields) + lacing + b"".join(packets)

        return written(ogg.checksum(written(0)))


def headers(page: Writer) -> bytes:
    return page(0, [b"OpusHead" + bytes(11)], 2) + page(0, [b"OpusTags" + bytes(8)])


def stop(data: bytes) -> float | None:
    (recording,) = ogg.find_recordings(io.BytesIO(data))
    assert not recording.broken
    return recording.stop


FRAME = bytes([184, 1, 2])  # CELT, 20 ms: 960 samples


@pytest.mark.parametrize(
    ("packet", "milliseconds"),
    [
        ([0], 10), ([8], 20), ([16], 40), ([24], 60), ([96], 10), ([104], 20),
        ([128], 2.5), ([136], 5), ([144], 10), ([152], 20), ([248], 20), ([249], 40), ([250], 40),
        ([251, 3], 60), ([131, 48], 120), ([251], 0), ([], 0),
    ],
)  # fmt: skip
def test_length_of_packets(packet: list[int], milliseconds: float) -> None:
    """RFC 6716, table 2, and its frame count codes."""
    assert ogg.packet_samples(bytes(packet)) == 48 * milliseconds


def test_the_checksum_is_that_of_written_files(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "tone.ogg"
    soundfile.write(path, tone(1.0), 44_100)
    data = path.read_bytes()
    first = data[: data.index(b"OggS", 4)]
    assert ogg.checksum(first[:22] + bytes(4) + first[26:]) == int.from_bytes(first[22:26], "little")


def test_the_page_that_goes_back() -> None:
    page = Writer()
    good = headers(page) + b"".join(page(g, [FRAME] * 10) for g in (9_600, 19_200, 30_000))
    numbers = dict(page.numbers)

    def more(granule: int, packets: list[bytes], **how: int) -> bytes:
        page.numbers = dict(numbers)
        return good + page(granule, packets, **how)

    assert stop(good) is None
    assert stop(more(39_600, [FRAME] * 10) + page(39_700, [FRAME] * 10, flags=4)) is None
    assert stop(more(39_000, [FRAME] * 10)) == 30_000 / 48_000
    assert stop(more(39_000, [FRAME] * 10, flags=4) + page(39_100, [FRAME] * 10)) is None  # behind the last
    assert stop(more(1, [FRAME] * 10, serial=8)) is None
    assert stop(more(-1, [])) is None
    assert ogg.find_recordings(io.BytesIO(b"")) == []


def test_a_packet_over_two_pages_counts_where_it_ends() -> None:
    long = FRAME + bytes(300)
    for granule, expected in ((11_520, None), (11_519, 10_560 / 48_000)):
        page = Writer()
        data = headers(page) + page(9_600, [FRAME] * 10)
        data += page(10_560, [FRAME, long[:255]], open_end=True)
        assert stop(data + page(granule, [long[255:]], flags=1)) == expected


def test_wherever_a_file_ends_no_page_goes_back() -> None:
    page, long = Writer(), FRAME + bytes(300)
    data = headers(page) + page(9_600, [FRAME] * 10) + page(10_560, [long]) + page(20_160, [FRAME] * 10)
    for end in range(len(data)):
        for recording in ogg.find_recordings(io.BytesIO(data[:end])):
            assert recording.stop is None
            assert not recording.broken
    assert not recording.whole


@pytest.mark.parametrize("kind", ["changed", "missing", "something between"])
def test_where_pages_are_missing(kind: str) -> None:
    page = Writer()
    pages = [headers(page), *(page(960 * i, [FRAME]) for i in range(1, 6))]
    pages[3] = {
        "changed": pages[3][:-1] + b"?",
        "missing": b"",
        "something between": pages[3] + b"OggS?" * 9,
    }[kind]
    (recording,) = ogg.find_recordings(io.BytesIO(b"".join(pages)))
    assert recording.broken == [2 * 960 if kind != "something between" else 3 * 960]
    assert recording.whole
    assert recording.stop is None


def test_recordings_behind_one_another() -> None:
    parts = []
    for serial in (3, 3, 9):
        page = Writer()
        parts.append(
            page(0, [b"OpusHead" + bytes(11)], 2, serial)
            + page(0, [b"OpusTags" + bytes(8)], 0, serial)
            + page(960, [FRAME], 4, serial)
        )
    found = ogg.find_recordings(io.BytesIO(b"".join(parts)))
    length = len(parts[0])
    assert [(r.begin, r.end) for r in found] == [(i * length, (i + 1) * length) for i in range(3)]
    assert [r.broken for r in found] == [[]] * 3


def test_pages_that_lie_about_their_length_take_no_time() -> None:
    """Each of these headers claims 65 kB, all of which overlap; the bytes that are read are counted."""

    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    lie = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 7, 0, 0, 255) + b"\xff" * 30
    file = Counting(lie * 10_000)
    ogg.find_recordings(file)
    assert file.count < 10 * len(lie) * 10_000


def test_written_files_play_to_the_end(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "tone.opus"
    soundfile.write(path, tone(5.0, 48_000), 48_000, format="OGG", subtype="OPUS")
    assert inspect_file(path) == Layout()
    soundfile.write(path, tone(1.0), 44_100, format="OGG", subtype="VORBIS")
    assert inspect_file(path) == Layout()


def inspect_file(path: Path) -> Layout:
    with path.open("rb") as file:
        return inspect(file)


def test_it_is_where_libsndfile_stops(shared: Path) -> None:
    path = shared / "music" / "odd" / "refused_by_libsndfile.opus"
    with path.open("rb") as file:
        (recording,) = ogg.find_recordings(file)
    seconds = recording.stop
    assert seconds is not None
    with soundfile.SoundFile(path) as sound:
        sound.read(round((seconds - 0.1) * sound.samplerate))
        with pytest.raises(soundfile.LibsndfileError):
            sound.read(2 * sound.samplerate)
