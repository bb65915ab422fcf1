"""Reading published annotation files, plain or with ``.gz`` added, and comparing their contents."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import io
import logging
import zlib
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

_CHUNK = 1 << 20

log = logging.getLogger("lightmel")


def find(folder: Path, name: str) -> Path | None:
    """Return the file `name` below `folder`, plain or with ``.gz`` added, or nothing."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def require(folder: Path, name: str, source: str) -> Path:
    """Return the file `name` below `folder`, plain or with ``.gz`` added.

    Raises
    ------
    DataError
        If it is missing; the message names the `source` that it comes from.
    """
    found = find(folder, name)
    if found is None:
        raise DataError(
            f"There is neither {name} nor {name}.gz in {folder}. It comes from {source}; where the "
            "annotations lie apart from the sound, annotations=... names their folder."
        )
    return found


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unpacked if its name ends in ``.gz``.

    Raises
    ------
    DataError
        If it cannot be read, or is no whole gzip file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}. Fetch it again.") from error


def text(path: Path) -> str:
    """Return the text of a file, without a byte order mark, its line ends as they are.

    It is UTF-8; or UTF-16 where a byte order mark says so, as in Excel's "Unicode text".

    Raises
    ------
    DataError
        If it cannot be read or is neither.
    """
    with opened(path) as file:
        data = file.read()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise DataError(f"{path} is no whole UTF-16 ({error.reason}). Save it again as UTF-8.") from error
        raise DataError(
            f"{path} is not UTF-8 (byte {error.start}). Save it again as UTF-8; spreadsheets call it "
            "'CSV UTF-8'."
        ) from error


def array(path: Path) -> NDArray[Any]:
    """Return the array of a ``.npy`` file, unless it is an array of objects.

    Raises
    ------
    DataError
        If it cannot be read, or would have to be unpickled.
    """
    with opened(path) as file:
        data = io.BytesIO(file.read())
    try:
        found: NDArray[Any] = np.load(data, allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, TokenError, TypeError, MemoryError) as error:
        # NumPy parses the header as Python, and makes room for the shape that it gives.
        raise DataError(f"{path} is no plain .npy array: {error}.") from error
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents, unpacked."""
    digest = hashlib.sha256()
    with opened(path) as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def counted(name: str, protocol: str, splits: Mapping[str, Sized], published: Mapping[str, int]) -> str:
    """Return the name of a protocol, with the numbers of clips added where they are not the published ones.

    A warning in the log names both.
    """
    found = {part: len(split) for part, split in splits.items()}
    if found == published:
        return protocol
    there, known = ("/".join(str(n) for n in counts.values()) for counts in (found, published))
    log.warning(
        "%s (%s): the annotations list %s clips (%s), and the published ones %s. Unless they are a part on "
        "purpose, fetch them again.",
        name,
        protocol,
        there,
        "/".join(found),
        known,
    )
    return f"{protocol}, {there} clips"
