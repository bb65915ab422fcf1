"""Embeddings of a library: a NumPy array that rows are appended to, and a list of their files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from .._files import replacing
from ..errors import DataError
from .ledger import key_of, unwritable

_HEADER = 128
"""Bytes before the first row, whatever the number of rows is."""


class Vectors:
    """A ``.npy`` file of float32 ``(files, embed_dim)``, and ``NAME.paths.jsonl``: a line for each row.

    A line is the file's path, as JSON; or null, once its file has gone. A row is written before its line, and
    what a kill left unfinished is cut off. Between two calls of `save`, the array says that it has fewer rows
    than there are.

    Raises
    ------
    DataError
        If the files cannot be read or written, are something else, or do not fit each other.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.list = self.path.with_name(f"{self.path.stem}.paths.jsonl")
        self._dim = 0
        self._rows: dict[str, int] = {}
        self._count = 0
        for here, gone in ((self.path, self.list), (self.list, self.path)):
            if gone.exists() or not here.exists() or not here.stat().st_size:
                continue
            raise DataError(
                f"{here} is there, and {gone}, which goes with it, is not: name other embeddings."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                self._paths: BinaryIO = stack.enter_context(self.list.open("ab+", buffering=0))
                self.path.touch()
                self._array: BinaryIO = stack.enter_context(self.path.open("rb+", buffering=0))
                self._read()
                stack.pop_all()  # they stay open
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _read(self) -> None:
        size = self._array.seek(0, os.SEEK_END)
        if size >= _HEADER:
            self._array.seek(0)
            try:
                if np.lib.format.read_magic(self._array) != (1, 0):
                    raise ValueError("another version")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(self._array)
                if fortran or dtype != np.dtype("<f4") or len(shape) != 2 or self._array.tell() != _HEADER:
                    raise ValueError(f"{dtype} of shape {shape}")
            except ValueError as error:
                raise DataError(
                    f"{self.path} holds no embeddings of ours ({error}): name another file."
                ) from None
            self._dim = shape[1]
        self._paths.seek(0)
        text = self._paths.read()
        lines = text.split(b"\n")[:-1]
        rows = (size - _HEADER) // (4 * self._dim) if self._dim else 0
        lines = lines[: max(rows, 0)]
        try:
            for row, line in enumerate(lines):
                path = json.loads(line)
                if path is not None:
                    self._rows[key_of(path)] = row
        except (ValueError, TypeError):
            raise DataError(f"{self.list}, line {row + 1} is no path: name other embeddings.") from None
        self._count = len(lines)
        self._paths.truncate(sum(len(line) + 1 for line in lines))
        self._array.truncate(self._at(self._count) if self._dim else 0)

    def _at(self, row: int) -> int:
        return _HEADER + 4 * self._dim * row

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def add(self, path: str, row: bytes) -> None:
        """Write the row of a file, in the place of an earlier one.

        Raises
        ------
        DataError
            If that fails, or it is of another length.
        """
        if not self._dim:
            self._dim = len(row) // 4
        if len(row) != 4 * self._dim:
            raise DataError(
                f"{self.path} has embeddings of {self._dim} numbers, and this tagger's have {len(row) // 4}: "
                "name another file."
            )
        key = key_of(path)
        own = self._rows.get(key, self._count)
        try:
            if not self._count:
                self._write_header()
            self._array.seek(self._at(own))
            _write(self._array, row)
            if own == self._count:
                _write(self._paths, json.dumps(path).encode() + b"\n")
                self._rows[key] = own
                self._count += 1
        except OSError as error:
            raise unwritable(self.path, error) from error

    def drop(self, keys: Iterable[str]) -> None:
        """Let rows go that are of no file any more: they are zero, and their lines null."""
        gone = {self._rows.pop(key) for key in keys if key in self._rows}
        if not gone:
            return
        lines = self.list.read_bytes().split(b"\n")[:-1]
        with replacing(self.list, DataError) as new:
            new.writelines((b"null" if row in gone else line) + b"\n" for row, line in enumerate(lines))
        try:
            self._paths.close()
            self._paths = self.list.open("ab+", buffering=0)
            for row in gone:
                self._array.seek(self._at(row))
                _write(self._array, bytes(4 * self._dim))
        except OSError as error:
            raise unwritable(self.path, error) from error

    def save(self) -> None:
        """Let the array say how many rows it has, and put all of it on the disk."""
        try:
            if self._dim:
                self._write_header()
            os.fsync(self._array.fileno())
            os.fsync(self._paths.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _write_header(self) -> None:
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self._count}, {self._dim}), }}"
        magic = np.lib.format.magic(1, 0)
        length = _HEADER - len(magic) - 2
        self._array.seek(0)
        _write(self._array, magic + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._array.close()
        self._paths.close()


def _write(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
