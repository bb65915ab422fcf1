from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel.audio import _opus as opus

Tone = Callable[..., np.ndarray]


def page(
    granule: int, packets: list[bytes], flags: int = 0, serial: int = 7, open_end: bool = False
) -> bytes:
    """Write an Ogg page; its checksum is zero, since nothing here reads it."""
    lacing = b""
    for packet in packets:
        lacing += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    if open_end:
        lacing = lacing[:-1]
    return (
        struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, 0, 0, len(lacing))
        + lacing
        + b"".join(packets)
    )


HEADERS = page(0, [b"OpusHead" + bytes(11)], 2) + page(0, [b"OpusTags" + bytes(8)])
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
    assert opus.packet_samples(bytes(packet)) == 48 * milliseconds


def test_the_page_that_goes_back() -> None:
    good = HEADERS + page(9_600, [FRAME] * 10) + page(19_200, [FRAME] * 10) + page(30_000, [FRAME] * 10)
    late = page(39_000, [FRAME] * 10)
    last = page(39_500, [FRAME] * 10, flags=4)
    assert opus.first_page_back(io.BytesIO(good)) is None
    assert opus.first_page_back(io.BytesIO(good + page(39_600, [FRAME] * 10) + last)) is None
    assert opus.first_page_back(io.BytesIO(good + late)) == 30_000 / 48_000
    assert opus.first_page_back(io.BytesIO(good + last + late)) is None  # behind the last page
    assert opus.first_page_back(io.BytesIO(good + page(1, [FRAME] * 10, serial=8))) is None
    assert opus.first_page_back(io.BytesIO(good + page(-1, []))) is None
    assert opus.first_page_back(io.BytesIO(b"")) is None


def test_a_packet_over_two_pages_counts_where_it_ends() -> None:
    long = FRAME + bytes(300)
    start = HEADERS + page(9_600, [FRAME] * 10) + page(10_560, [FRAME, long[:255]], open_end=True)
    assert opus.first_page_back(io.BytesIO(start + page(11_520, [long[255:]], flags=1))) is None
    assert opus.first_page_back(io.BytesIO(start + page(11_519, [long[255:]], flags=1))) == 10_560 / 48_000


def test_a_file_that_ends_within_a_page_has_no_page_that_goes_back() -> None:
    long = FRAME + bytes(300)
    data = HEADERS + page(9_600, [FRAME] * 10) + page(10_560, [long]) + page(20_160, [FRAME] * 10)
    for end in range(len(data)):
        assert opus.first_page_back(io.BytesIO(data[:end])) is None


def test_written_files_play_to_the_end(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "tone.opus"
    soundfile.write(path, tone(5.0, 48_000), 48_000, format="OGG", subtype="OPUS")
    with path.open("rb") as file:
        assert opus.is_opus(file)
        assert opus.first_page_back(file) is None
    soundfile.write(path, tone(1.0), 44_100, format="OGG", subtype="VORBIS")
    with path.open("rb") as file:
        assert not opus.is_opus(file)


def test_it_is_where_libsndfile_stops(shared: Path) -> None:
    path = shared / "music" / "odd" / "refused_by_libsndfile.opus"
    with path.open("rb") as file:
        seconds = opus.first_page_back(file)
    assert seconds is not None
    with soundfile.SoundFile(path) as sound:
        sound.read(round((seconds - 0.1) * sound.samplerate))
        with pytest.raises(soundfile.LibsndfileError):
            sound.read(2 * sound.samplerate)
