"""Sound files of every format whose fields can be written, with fields and covers in them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightmel.inference import Tagging

pytest.importorskip("mutagen", reason="needs the extra write")

COVER = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9
FORMATS = ["mp3", "flac", "ogg", "opus", "m4a", "wma", "wav", "aiff", "wv", "tta", "dsf"]
V1 = b"TAG" + b"".join(part.ljust(30, b"\0") for part in (b"Old title", b"Somebody", b"An album"))
V1 += b"1987" + b"of old".ljust(28, b"\0") + b"\0\5" + bytes([255])
CODECS = {"wv": "wavpack", "tta": "tta"}


@pytest.fixture(scope="session")
def plain_files(
    tmp_path_factory: pytest.TempPathFactory, tone: Callable[..., np.ndarray], write: Callable[..., Path]
) -> dict[str, bytes]:
    """Two seconds of sound in each format, without fields, as bytes."""
    folder = tmp_path_factory.mktemp("plain")
    found = {}
    for suffix in FORMATS:
        path = folder / f"tone.{suffix}"
        if suffix == "dsf":
            path.write_bytes(dsf())
        else:
            options = {"codec": CODECS[suffix]} if suffix in CODECS else {}
            write(path, tone(2.0), **options)
            bare(path)
        found[suffix] = path.read_bytes()
    return found


def dsf() -> bytes:
    """A DSF file of one block a channel, as Sony describes the format."""
    data = bytes((np.arange(2 * 4096) * 73 % 256).astype(np.uint8))
    fmt = b"fmt " + struct.pack("<QIIIIIIQII", 52, 1, 0, 2, 2, 2_822_400, 1, 8 * 4096, 4096, 0)
    data_chunk = b"data" + struct.pack("<Q", 12 + len(data)) + data
    total = 28 + len(fmt) + len(data_chunk)
    return b"DSD " + struct.pack("<3Q", 28, total, 0) + fmt + data_chunk


def bare(path: Path) -> None:
    """Remove what the encoder has written into the fields."""
    import mutagen

    file: Any = mutagen.File(path)
    if file is not None and file.tags is not None:
        file.delete()


def dressed(path: Path, kind: str = "") -> None:
    """Put a title, a comment, an odd field of the user's and a cover into a file."""
    import mutagen
    from mutagen import apev2, asf, flac, id3, mp4

    if path.suffix in (".mp3", ".tta"):
        tags = id3.ID3()
        _id3(tags)
        if kind == "v2.3":
            tags.update_to_v23()
        tags.save(path, v2_version=3 if kind == "v2.3" else 4)
        return
    file: Any = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if path.suffix in (".wav", ".aiff", ".dsf"):
        _id3(file.tags)
    elif path.suffix == ".m4a":
        file["\xa9nam"], file["\xa9cmt"] = ["A title"], ["a comment"]
        file["----:com.apple.iTunes:OWN"] = [b"one", b"two"]
        file["covr"] = [mp4.MP4Cover(COVER, mp4.MP4Cover.FORMAT_PNG)]
        file["trkn"] = [(3, 9)]
    elif path.suffix == ".wma":
        file["Title"], file["Description"] = ["A title"], ["a comment"]
        file["OWN"] = ["one", "two"]
        picture = struct.pack("<BI", 3, len(COVER)) + "image/png\0\0".encode("utf-16-le") + COVER
        file["WM/Picture"] = [asf.ASFByteArrayAttribute(picture)]
    elif path.suffix == ".wv":
        file["Title"], file["Comment"], file["OWN"] = "A title", "a comment", ["one", "two"]
        file["Cover Art (Front)"] = apev2.APEValue(b"cover.png\0" + COVER, apev2.BINARY)
    else:
        file["title"], file["comment"], file["OWN"] = ["A title"], ["a comment"], ["one", "two"]
        if path.suffix == ".flac":
            picture = flac.Picture()
            picture.type, picture.mime, picture.data = 3, "image/png", COVER
            file.add_picture(picture)
    file.save()


def _id3(tags: Any) -> None:
    from mutagen import id3

    tags.add(id3.TIT2(encoding=0, text=["A title"]))
    tags.add(id3.TDRC(encoding=0, text=["1999-05-04"]))
    tags.add(id3.COMM(encoding=1, lang="eng", desc="", text=["a comment ♪"]))
    tags.add(id3.TXXX(encoding=0, desc="OWN", text=["one"]))
    tags.add(id3.APIC(encoding=0, mime="image/png", type=3, desc="", data=COVER))
    tags.add(id3.PRIV(owner="somebody", data=b"\0\1\2"))


@pytest.fixture
def song(tmp_path: Path, plain_files: dict[str, bytes]) -> Callable[..., Path]:
    """Make a file: of a suffix, with fields and a cover (also "v2.3"), "bare", or with "ID3v1" or "APEv2"."""
    from mutagen import apev2

    def make(suffix: str, kind: str = "", name: str = "a song") -> Path:
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(plain_files[suffix] + (V1 if kind == "ID3v1" else b""))
        if kind in ("", "v2.3", "APEv2"):
            dressed(path, kind)
        if kind == "APEv2":
            tags = apev2.APEv2()
            tags["Title"], tags["OWN"] = "A title", ["one", "two"]
            tags.save(path)
        return path

    return make


@pytest.fixture(scope="session")
def record() -> Callable[..., dict[str, Any]]:
    """Make a line of tags for a file: jazz and hip hop, happy; sad is below its threshold."""

    def make(path: Path | str, **changes: Any) -> dict[str, Any]:
        tagging = Tagging(
            tags=("jazz", "Hip-Hop", "happy", "sad", "guitar"),
            scores=(0.71, 0.49, 0.4, 0.3, 0.2),
            seconds=2.0,
            padded=False,
            model="a-model",
            version="1.2",
            license="MIT",
            thresholds=(0.5, 0.4, 0.3, 0.35, 0.1),
            sound="music",
        )
        return {"path": str(path), **tagging.to_dict(), **changes}

    return make


@pytest.fixture(scope="session")
def fields() -> Callable[[Path], dict[str, str]]:
    """Read every field of a file, and the bytes of every cover, by mutagen."""
    import mutagen

    def read(path: Path) -> dict[str, str]:
        file: Any = mutagen.File(path)
        tags = file.tags
        found = {key: repr(tags[key]) for key in (tags.keys() if tags is not None else ())}
        for at, picture in enumerate(getattr(file, "pictures", ())):
            found[f"picture {at}"] = repr((picture.type, picture.mime, picture.data))
        try:
            beside = mutagen.apev2.APEv2(path)
        except mutagen.apev2.APENoHeaderError:
            return found
        if isinstance(tags, mutagen.apev2.APEv2):
            return found
        return found | {f"APEv2 {key}": repr(beside[key]) for key in beside}

    return read
