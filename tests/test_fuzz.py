"""Every parser of bytes that people own meets damaged ones: it ends, and raises nothing but our own errors.

pytest tries 1,000 inputs a parser, always the same. ``python tests/test_fuzz.py --inputs 20000 [--parsers mp3
ogg] [--seed 0]`` tries more and prints inputs, seconds, crashes, hangs and the most memory; what failed is
kept in ``--keep FOLDER``. A parser that reads more than so many times the size of its input is taken to hang
(as is one that takes more than ten seconds there: here no clock decides).
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import io
import os
import pickle
import signal
import struct
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel.audio import _headers, _layout, _mp3, _ogg
from lightmel.errors import LightmelError

SR = 8_000
INPUTS = 1_000
READS, FREE = 60, 1 << 21
"""Bytes that may be read: so many times the input, and windows that are larger than it."""


class Hung(Exception):  # noqa: N818
    """It reads on and on."""


class Bounded(io.BytesIO):
    """Bytes that can be read so often; then they end, which ends a decoder in C as well."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.left = READS * len(data) + FREE

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.left -= len(data) + 1
        return data if self.left > 0 else b""

    def readinto(self, buffer: Any) -> int:
        size = super().readinto(buffer)
        self.left -= size + 1
        return size if self.left > 0 else 0


@dataclass(frozen=True)
class Parser:
    """What is tried: whole inputs, and what reads one, given as bytes and in a file of its own."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]


# Whole inputs


def wave(seconds: float, sr: int = SR, channels: int = 1, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * sr))[:, None] / sr
    return 0.3 * np.sin(
        2 * np.pi * 440 * time * np.arange(1, channels + 1)
    ) + 0.1 * generator.standard_normal((len(time), channels))


def encoded(kind: str, *waves: tuple[np.ndarray, int], **options: Any) -> bytes:
    """Several recordings lie one behind the other."""
    parts = []
    for samples, sr in waves:
        held = io.BytesIO()
        soundfile.write(held, samples, sr, format=kind, **options)
        parts.append(held.getvalue())
    return b"".join(parts)


SHORT, OTHER, STEREO = (wave(0.6), SR), (wave(0.4, 12_000, seed=1), 12_000), (wave(0.5, SR, 2), SR)
TAG = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(range(128))


@cache
def mp3s() -> list[bytes]:
    one, other = (encoded("MP3", w, bitrate_mode="CONSTANT") for w in (SHORT, OTHER))
    return [
        one,
        one + other,
        TAG + one + b"TAG" + bytes(125),
        encoded("MP3", STEREO, bitrate_mode="VARIABLE"),
    ]


@cache
def oggs() -> list[bytes]:
    return [encoded("OGG", SHORT), encoded("OGG", SHORT, OTHER)]


@cache
def opuses() -> list[bytes]:
    one = encoded("OGG", SHORT, subtype="OPUS")
    return [one, one + encoded("OGG", OTHER, subtype="OPUS"), one + oggs()[0]]


@cache
def plain(*kinds: str) -> list[bytes]:
    return [encoded(kind, *waves) for kind in kinds for waves in ((SHORT,), (STEREO, OTHER))]


@cache
def coded() -> list[bytes]:
    """What FFmpeg alone reads."""
    import av

    found = []
    for suffix, codec in (("adts", "aac"), ("asf", "wmav2"), ("matroska", "aac"), ("mp4", "aac")):
        held = io.BytesIO()
        with av.open(held, "w", format=suffix) as container:
            stream = container.add_stream(codec, rate=16_000)
            stream.layout, stream.bit_rate = "mono", 64_000
            samples = wave(0.6, 16_000).astype(np.float32).T
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            fifo = av.AudioFifo()
            fifo.write(frame)
            while (part := fifo.read(stream.codec_context.frame_size or 1_024, partial=True)) is not None:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        found.append(held.getvalue())
    return found


@cache
def taggers() -> list[bytes]:
    import torch

    from lightmel.checkpoint import Description, save
    from lightmel.frontends import MelConfig
    from lightmel.models import build_musicnn

    config = MelConfig.from_slug("16k-mel16-x4-db")
    network = build_musicnn(
        config.input_shape(0.5),
        2,
        variant="pons",
        timbre=[(0.9, 1, 1)],
        temporal=[(5, 1)],
        width=1,
        dense=2,
        dropout=0.5,
        generator=torch.Generator().manual_seed(0),
    )
    description = Description(
        name="tiny",
        version="1",
        license="CC0-1.0",
        config=config,
        tags=("voice", "drums"),
        segment_samples=config.n_samples(0.5),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tiny.safetensors")
        save(path, network.eval(), description)
        return [path.read_bytes()]


STORE = b"\nSTORE\n"
"""Between the description and the index of a store, which are one input here."""


@cache
def stores() -> list[bytes]:
    from lightmel.features import build_store
    from lightmel.features.journal import DESCRIPTION, INDEX
    from lightmel.frontends import MelConfig

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {}
        for i in range(3):
            path = folder / f"{i}.wav"
            soundfile.write(path, wave(0.5, 16_000, seed=i), 16_000)
            sources[path.name] = path
        sources["none.wav"] = folder / "none.wav"
        build_store(folder / "store", sources, MelConfig.from_slug("16k-mel16-x4-db"), workers=0)
        return [
            (folder / "store" / DESCRIPTION).read_bytes() + STORE + (folder / "store" / INDEX).read_bytes()
        ]


@cache
def arrays() -> list[bytes]:
    found = []
    for array in (np.arange(12.0).reshape(3, 4), np.array(["one", "two"]), np.zeros((0, 3), np.uint8)):
        held = io.BytesIO()
        np.save(held, array)
        found.append(held.getvalue())
    return found


@cache
def pickles() -> list[bytes]:
    plain = {
        "ids": [1, 2, 3],
        "tags": ("rock", "früh"),
        "table": np.arange(6, dtype=np.float32).reshape(2, 3),
    }
    return [pickle.dumps(plain, protocol) for protocol in range(5)]


@cache
def tables() -> list[bytes]:
    rows = "path,tags,split\n" + "".join(f'{i}.wav,"rock;früh, spät",train\n' for i in range(9))
    return [rows.encode(), rows.replace(",", "\t").encode("utf-16"), ("\ufeff" + rows).encode()]


@cache
def joined() -> list[bytes]:
    """Files of several formats behind one another."""
    one = [plain("WAV")[0], plain("FLAC")[0], oggs()[0], mp3s()[0], *coded()]
    return [a + b for a, b in zip(one, [*one[3:], *one[:3]], strict=True)]


# What reads them


def frames(data: bytes, _: Path) -> None:
    file = Bounded(data)
    found = _mp3.find_frames(file)
    for run in found.runs if found else ():
        _mp3.playable(file, run)
        assert run.frames > 0
        assert all(a.stop <= b.start for a, b in pairwise(run.stretches))
    _ended(file)


def pages(data: bytes, _: Path) -> None:
    file = Bounded(data)
    found = _ogg.find_recordings(file)
    assert all(a.end == b.begin for a, b in pairwise(found))
    _ended(file)


def headers(data: bytes, _: Path) -> None:
    file = Bounded(data)
    _headers.find_files(file)
    _layout.inspect(file)
    _ended(file)


def decoding(data: bytes, _: Path) -> None:
    """All of it, and parts, which are slices of it: finite, and no more than the bytes can hold."""
    file, notes = Bounded(data), list[str]()
    whole = audio.load(file, SR, notes=notes)
    assert np.isfinite(whole).all()
    assert len(whole) < 20_000 * len(data) + 1_000_000
    if len(data) % 3 == 0 and file.left > 0:  # it takes longer than all of it
        part = audio.excerpt(file, SR, 0.7 * len(whole) / SR, 0.1, notes=notes)
        middle, start = audio.middle(file, SR, 0.1, notes=notes), audio.middle_start(len(whole), 800)
        bound = 1e-5 * max(1, float(np.abs(whole).max()))
        assert np.abs(part - whole[round(0.7 * len(whole)) :][:800]).max() < bound
        assert np.abs(middle - whole[max(0, start) :][:800]).max() < bound
    assert len(notes) == len(set(notes)) < 40
    _ended(file)


def tagger(data: bytes, path: Path) -> None:
    from lightmel import checkpoint

    path.write_bytes(data)
    checkpoint.read_description(path)
    checkpoint.read(path)


def store(data: bytes, path: Path) -> None:
    from lightmel.features import FeatureStore
    from lightmel.features.journal import DESCRIPTION, FEATURES, INDEX

    path.mkdir(exist_ok=True)
    description, _, index = data.partition(STORE)
    (path / DESCRIPTION).write_bytes(description)
    (path / INDEX).write_bytes(index)
    if not (path / FEATURES).exists():
        (path / FEATURES).write_bytes(bytes(4_096))
    FeatureStore.open(path)


def array(data: bytes, path: Path) -> None:
    from lightmel.datasets import annotation_files

    path.write_bytes(data)
    annotation_files.array(path)


def restricted(data: bytes, path: Path) -> None:
    from lightmel.datasets import pickles

    path.write_bytes(data)
    pickles.load(path)


def table(data: bytes, path: Path) -> None:
    from lightmel.datasets import load_table

    path.write_bytes(data)
    load_table(path)


def _ended(file: Bounded) -> None:
    if file.left <= 0:
        raise Hung


PARSERS = {
    "mp3 frames": Parser(mp3s, frames),
    "ogg pages": Parser(lambda: oggs() + opuses(), pages),
    "headers": Parser(lambda: plain("WAV", "AIFF", "AU", "FLAC") + mp3s(), headers),
    "ends": Parser(lambda: plain("RF64", "W64", "CAF") + coded(), headers),
    "formats": Parser(joined, decoding),
    "mp3": Parser(mp3s, decoding),
    "vorbis": Parser(oggs, decoding),
    "opus": Parser(opuses, decoding),
    "flac": Parser(lambda: plain("FLAC"), decoding),
    "wav": Parser(lambda: plain("WAV", "RF64"), decoding),
    "aiff, au": Parser(lambda: plain("AIFF", "AU"), decoding),
    "aac, wma": Parser(coded, decoding),
    "tagger": Parser(taggers, tagger),
    "store": Parser(stores, store),
    "array": Parser(arrays, array),
    "pickle": Parser(pickles, restricted),
    "table": Parser(tables, table),
}


# Damage


def damaged(seeds: list[bytes], rng: np.random.Generator) -> bytes:
    """One of the whole inputs after one to four accidents."""
    data = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(rng.integers(1, 5)):
        at = (
            int(rng.integers(len(data) + 1))
            if rng.random() < 0.7
            else int(rng.integers(min(len(data), 64) + 1))
        )
        length = int(2 ** rng.uniform(0, 11))
        accident = rng.integers(8)
        if accident == 0:
            del data[at:]
        elif accident == 1:
            data[at:at] = rng.bytes(length)
        elif accident == 2:
            del data[at : at + length]
        elif accident == 3:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 4))
        elif accident == 4:
            data[at : at + length] = rng.bytes(len(data[at : at + length]))
        elif accident == 5 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif accident == 6:
            width = int(rng.choice([1, 2, 4]))
            edge = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF])) * (0x01010101 if rng.random() < 0.5 else 1)
            data[at : at + width] = struct.pack("<I", edge)[:width]
        else:
            data[at:at] = seeds[rng.integers(len(seeds))][: 4 * length]
    return bytes(data)


def inputs(name: str, count: int, seed: int = 0) -> Iterator[bytes]:
    rng = np.random.default_rng([seed, *name.encode()])
    seeds = PARSERS[name].seeds()
    yield from seeds
    for _ in range(count - len(seeds)):
        yield damaged(seeds, rng)


def attempt(name: str, data: bytes, path: Path) -> BaseException | None:
    """Return what is raised, if that is none of our own errors."""
    try:
        PARSERS[name].read(data, path)
    except LightmelError as error:
        text = str(error)
        return AssertionError(f"an error of {len(text)} characters") if len(text) > 2_000 else None
    except Exception as error:  # this is what is looked for
        return error
    return None


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """C libraries comment on odd bytes."""
    yield
    capfd.readouterr()


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("quiet")
def test_damaged_bytes_end_in_an_error_of_ours_or_none(name: str, tmp_path: Path) -> None:
    failed = []
    for i, data in enumerate(inputs(name, INPUTS)):
        if (error := attempt(name, data, tmp_path / "input")) is not None:
            failed.append(f"input {i}: {''.join(traceback.format_exception(error)[-3:])}")
    assert not failed, f"{len(failed)} inputs fail, among them\n" + "\n".join(failed[:3])


@pytest.mark.parametrize("name", PARSERS)
def test_undamaged_bytes_are_read(name: str, tmp_path: Path) -> None:
    for data in PARSERS[name].seeds():
        if name != "table":  # its files are not there
            PARSERS[name].read(data, tmp_path / "input")


def main() -> None:
    """Try more, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parsers", nargs="*", choices=PARSERS, default=list(PARSERS))
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that fail")
    options = parser.parse_args()

    def late(*_: Any) -> None:
        raise Hung

    signal.signal(signal.SIGALRM, late)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # C libraries comment on odd bytes
    os.dup2(1, 2)
    faulthandler.enable(out)  # a crash in C ends this; the input is the last one in the folder
    if options.keep:
        options.keep.mkdir(exist_ok=True)
    titles = ("parser", "inputs", "seconds", "crashes", "hangs", "slowest s", "MB")
    print(_row(titles), file=out)
    for name in options.parsers:
        crashes = hangs = 0
        slowest, begun = 0.0, perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for i, data in enumerate(inputs(name, options.inputs, options.seed)):
                if options.keep:
                    (options.keep / "last").write_bytes(data)
                started = perf_counter()
                signal.alarm(10)
                error = attempt(name, data, Path(folder, "input"))
                signal.alarm(0)
                slowest = max(slowest, perf_counter() - started)
                if error is not None:
                    hangs += isinstance(error, Hung)
                    crashes += not isinstance(error, Hung)
                    if options.keep:
                        (options.keep / f"{name} {i}").write_bytes(data)
                        why = "".join(traceback.format_exception(error))
                        (options.keep / f"{name} {i}.txt").write_text(why)
        gc.collect()
        took, most = f"{perf_counter() - begun:.1f}", f"{_memory():.0f}"
        counts = (name, f"{options.inputs:,}", took, crashes, hangs, f"{slowest:.2f}", most)
        print(_row(counts), file=out)


def _row(cells: tuple[object, ...]) -> str:
    return f"{cells[0]!s:12}" + "".join(f"{cell!s:>10}" for cell in cells[1:])


def _memory() -> float:
    """Return the most memory that this process had, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
