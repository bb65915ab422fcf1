"""The files of a store, and how clips are added so that a kill at any moment costs only the last of them.

``store.json`` describes the features. ``features.bin`` holds them one after another. ``index.jsonl`` has a
line for each clip: its place and checksum, or why it failed; and its origin, which is size and modification
time of a file, or the checksum of the clip it was derived from. Of two lines with one key the later counts.

Data are on the disk before the line that names them is written. So whatever follows the last whole line, in
either file, is unfinished: a reader does not see it, and the next writer cuts it off.

A store of format 1 has ``mels.bin`` in place of ``features.bin``, and mel-spectrograms only. It is read, and
clips are added to it, in that format.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from .._files import write_whole
from ..errors import ConfigError, DataError
from ..frontends import FrontendConfig, StorageType, config_from_dict
from .layout import Bytes, Layout

if TYPE_CHECKING:
    from typing import Self

FORMAT, _FORMAT_1 = "lightmel-store-2", "lightmel-store-1"
DESCRIPTION, INDEX = "store.json", "index.jsonl"
FEATURES, _MELS = "features.bin", "mels.bin"

Origin: TypeAlias = tuple[int, ...]
"""What a clip was made of; another origin means other sound."""

_COMMIT_SECONDS = 2.0
"""A kill costs the clips of so many seconds; each commit waits for the disk twice."""


@dataclass(frozen=True)
class Description:
    """The features of a store: of `excerpt_seconds` from the middle of each file, or of all of it (None)."""

    config: FrontendConfig
    dtype: StorageType
    excerpt_seconds: float | None
    data_name: str = field(default=FEATURES, compare=False)
    """Name of the file of the data, which depends on the format."""

    @property
    def layout(self) -> Layout:
        """How the bytes of a clip are laid out."""
        return Layout(self.config.rows, self.dtype)

    def __str__(self) -> str:
        excerpt = self.excerpt_seconds
        length = "whole files" if excerpt is None else f"{excerpt:g} s from the middle"
        return f"{self.config.slug} as {self.dtype}, {length}"

    def to_json(self) -> str:
        """Return one line of JSON; `from_json` reads it back."""
        return json.dumps(
            {
                "format": FORMAT,
                "frontend": self.config.to_dict(),
                "dtype": self.dtype,
                "excerpt_seconds": self.excerpt_seconds,
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        """Read what `to_json` wrote; `ValueError`, `KeyError` or `TypeError` if it is something else."""
        document = json.loads(text)
        if document["format"] == _FORMAT_1:
            config = config_from_dict({"kind": "mel", **document["config"]})
            description = cls(config, document["dtype"], document["seconds"], _MELS)
        elif document["format"] == FORMAT:
            config = config_from_dict(document["frontend"])
            description = cls(config, document["dtype"], document["excerpt_seconds"])
        else:
            raise ValueError(
                f"its format is {document['format']!r}, and this version of lightmel reads {FORMAT!r} and "
                f"{_FORMAT_1!r}; a newer one may read it"
            )
        _ = description.layout  # raises where the dtype is unknown
        return description


@dataclass(frozen=True)
class Place:
    """The place of a clip in the data: `frames` frames from byte `offset` on, and their CRC-32."""

    offset: int
    frames: int
    crc32: int

    def holds(self, key: str, clip: Bytes) -> bool:
        """Whether these bytes, key and place are those that were written."""
        return self.crc32 == checksum(key, self.offset, self.frames, clip.data)


@dataclass
class Index:
    """The clips of a store by key, in the order they were added; why others failed; what each was made of."""

    clips: dict[str, Place] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    n_bytes: int = 0  # of the file, up to the end of its last whole line

    def add(self, key: str, entry: Place | str, origin: Origin | None) -> None:
        """Add a clip, or the reason why there is none; what was known of `key` is replaced."""
        self.clips.pop(key, None)
        self.failed.pop(key, None)
        self.origins.pop(key, None)
        if origin is not None:
            self.origins[key] = origin
        if isinstance(entry, Place):
            self.clips[key] = entry
        else:
            self.failed[key] = entry

    def __contains__(self, key: str) -> bool:
        return key in self.clips or key in self.failed


def checksum(key: str, offset: int, frames: int, clip: bytes | memoryview) -> int:
    """Return the CRC-32 of a clip's bytes, its key and its place, so that an altered index shows too."""
    return zlib.crc32(clip, zlib.crc32(json.dumps([key, offset, frames]).encode()))


def read_description(folder: Path) -> Description:
    """Return the description of the store in `folder`.

    Raises
    ------
    DataError
        If it is no store, or one of an unknown format or front end.
    """
    path = folder / DESCRIPTION
    try:
        return Description.from_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder} is no feature store: it has no {DESCRIPTION}. `lightmel features` makes one."
        ) from None
    except ConfigError as error:  # a front end that is not known here, say
        raise DataError(f"{path} cannot be read: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}): copy it anew, or build the store anew.") from error


def read_index(folder: Path, description: Description) -> Index:
    """Return the index of a store; an unfinished last line is left out.

    Raises
    ------
    DataError
        If a line is damaged, or the data are shorter than the index says.
    """
    index = Index()
    try:
        # The index is read first: a writer may add to both in between, and data without a line do no harm.
        text = (folder / INDEX).read_bytes() if (folder / INDEX).exists() else b""
        data = folder / description.data_name
        size = data.stat().st_size if data.exists() else 0
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error
    *lines, torn = text.split(b"\n")
    index.n_bytes = len(text) - len(torn)
    for number, line in enumerate(lines, 1):
        try:
            entry = _entry(json.loads(line))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(
                f"{folder / INDEX}, line {number} is damaged: cut the file before that line and build again, "
                "which makes the clips that are then missing."
            ) from None
        index.add(*entry)
    end = max((p.offset + description.layout.n_bytes(p.frames) for p in index.clips.values()), default=0)
    if end > size:
        raise DataError(
            f"{data} has {size} bytes where its index names {end}: copy the store anew, or delete "
            "it and build it anew."
        )
    return index


def _entry(line: dict[str, Any]) -> tuple[str, Place | str, Origin | None]:
    key, origin = line["key"], tuple(line["origin"]) if "origin" in line else None
    if not all(type(n) is int for n in origin or ()):
        raise ValueError
    if isinstance(key, str) and "failed" in line:
        return key, str(line["failed"]), origin
    numbers = line["offset"], line["frames"], line["crc32"]
    if not isinstance(key, str) or not all(type(n) is int and n >= 0 for n in numbers) or not numbers[1]:
        raise ValueError
    return key, Place(*numbers), origin


class Appender:
    """Adds clips to a store: a new one, or one that was left unfinished. One writer at a time.

    Use it in a ``with``: what was added is on the disk when it ends, also by an error.

    Attributes
    ----------
    index
        The clips that the store holds.

    Raises
    ------
    DataError
        If `folder` holds another store or other files, another process is writing to it, or it cannot
        be written.
    """

    def __init__(self, folder: Path, description: Description) -> None:
        self.folder, self.layout = folder, description.layout
        self._lines: list[bytes] = []
        self._committed = time.monotonic()
        with contextlib.ExitStack() as stack, self._writing():
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / DESCRIPTION).exists():
                description = self._described(description)
            else:
                self._refuse_others()
            self._data = stack.enter_context((folder / description.data_name).open("ab", buffering=0))
            self._lock()  # before the description is written: of two writers that begin at once, one goes on
            if (folder / DESCRIPTION).exists():  # another writer may have begun since
                self._described(description)
            else:
                write_whole(folder / DESCRIPTION, description.to_json().encode() + b"\n", DataError)
            self._lines_file = stack.enter_context((folder / INDEX).open("ab", buffering=0))
            self.index = read_index(folder, description)
            places = self.index.clips.values()
            self._end = max((p.offset + self.layout.n_bytes(p.frames) for p in places), default=0)
            self._data.truncate(self._end)
            self._lines_end = self.index.n_bytes
            self._lines_file.truncate(self._lines_end)
            self._files = stack.pop_all()

    def add(self, key: str, frames: int, clip: bytes, origin: Origin | None = None) -> None:
        """Add the bytes of a clip, with what it was made of."""
        place = Place(self._end, frames, checksum(key, self._end, frames, clip))
        with self._writing():
            try:
                _write(self._data.fileno(), clip)
            except OSError:
                self._data.truncate(self._end)  # makes room for the lines of the clips before it
                raise
        self._end += len(clip)
        self._note(key, place, {"offset": place.offset, "frames": frames, "crc32": place.crc32}, origin)

    def fail(self, key: str, reason: str, origin: Origin | None = None) -> None:
        """Add the reason why there is no clip."""
        self._note(key, reason, {"failed": reason}, origin)

    def _note(self, key: str, entry: Place | str, fields: dict[str, object], origin: Origin | None) -> None:
        self.index.add(key, entry, origin)
        if origin is not None:
            fields["origin"] = origin
        self._lines.append(json.dumps({"key": key, **fields}).encode() + b"\n")
        if time.monotonic() - self._committed >= _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write what was added to the disk: the data first, then the lines that name them."""
        with self._writing():
            if self._lines:
                os.fsync(self._data.fileno())
                self._lines_file.truncate(self._lines_end)  # a failed attempt may have left a part of a line
                lines = b"".join(self._lines)
                _write(self._lines_file.fileno(), lines)
                os.fsync(self._lines_file.fileno())
                self._lines, self._lines_end = [], self._lines_end + len(lines)
        self._committed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._files:
            self.commit()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.folder} cannot be written: {error.strerror or error}. What was done is kept: make "
                "room or mend it, and run the same again to go on."
            ) from error

    def _refuse_others(self) -> None:
        """Refuse a folder of other files than those that a writer leaves when it is killed at once."""
        for path in self.folder.iterdir():
            begun = path.name in (FEATURES, _MELS) and not path.stat().st_size
            if not begun and not path.name.startswith(f".{DESCRIPTION}."):
                raise DataError(f"{self.folder} holds files, but no feature store: choose an empty folder.")

    def _described(self, wanted: Description) -> Description:
        """Return the description of the store that is there, if it is the one that is wanted."""
        found = read_description(self.folder)
        if found != wanted:
            raise DataError(
                f"{self.folder} is a store of other features ({found}; wanted: {wanted}): choose another "
                "folder, or delete this one."
            )
        return found

    def _lock(self) -> None:
        """Keep other writers out as long as this process lives, except on Windows and some network drives."""
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._data.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"Another process is writing to {self.folder}: wait until it is done.") from None
        except OSError:
            return


def _write(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a single call may write only a part, for example when the disk is nearly full."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
