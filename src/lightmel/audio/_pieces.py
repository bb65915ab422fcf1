"""A file put together from stretches of another one and from bytes of ours, without a copy."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Stretch(NamedTuple):
    """The bytes of a file from `start` to before `stop`."""

    start: int
    stop: int


Piece: TypeAlias = bytes | Stretch


class PiecesFile(io.RawIOBase):
    """`pieces` of `file`, one behind the other: seekable, read-only; `file` stays open.

    It has no name, so that nobody guesses from one what is in it or where else to look. What it has `owned`
    is closed with it.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        self._file, self._pieces = file, pieces
        self.owned: BinaryIO | None = None
        lengths = [len(p) if isinstance(p, bytes) else max(0, p.stop - p.start) for p in pieces]
        self._ends = list(accumulate(lengths))
        self._position = 0

    @classmethod
    def whole(cls, file: BinaryIO) -> PiecesFile:
        """Return all of `file`."""
        return cls(file, [Stretch(0, file.seek(0, io.SEEK_END))])

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte and return its position."""
        end = self._ends[-1] if self._ends else 0
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        self._position = max(0, base + offset)
        return self._position

    def close(self) -> None:
        """Close it, and what it owns."""
        if self.owned is not None:
            self.owned.close()
        super().close()

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` as far as the file goes; a short count means the end."""
        out = memoryview(buffer).cast("B")
        filled = 0
        index = bisect_right(self._ends, self._position)
        while filled < len(out) and index < len(self._pieces):
            left = self._ends[index] - self._position
            if left <= 0:
                index += 1
                continue
            wanted = min(left, len(out) - filled)
            piece = self._pieces[index]
            if isinstance(piece, bytes):
                at = len(piece) - left
                data = piece[at : at + wanted]
            else:
                self._file.seek(piece.stop - left)
                data = self._file.read(wanted)
                if not data:  # the file has become shorter
                    break
            out[filled : filled + len(data)] = data
            filled += len(data)
            self._position += len(data)
        return filled
