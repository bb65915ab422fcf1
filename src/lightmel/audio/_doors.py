"""Open files of other people's making, read as a file is: whole reads, places in bytes, and errors kept."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Door(io.RawIOBase):
    """A view of an open file, which stays open.

    A file object may give less than it is asked for, or nothing at all; may not say where a seek has led, as
    ``mmap`` does; and may raise anything: what is behind it may be compressed, or far away. Here a read ends
    at the end of the file only, and whatever is raised becomes an OSError.

    Parameters
    ----------
    file
        What has ``read``, ``seek`` and ``tell``.
    keeps
        Raise nothing, keep it as `failure`, and be at an end: where C reads, what is raised on the way would
        be printed and forgotten, a Ctrl-C as well, and the file would end there.
    """

    def __init__(self, file: Any, *, keeps: bool = False) -> None:
        self._file, self._keeps = file, keeps
        self.failure: BaseException | None = None

    def check(self) -> None:
        """Raise what was kept."""
        if self.failure is not None:
            raise self.failure

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        place: int = self._asked(self._file.tell, 0)
        return place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte and return its position."""
        self._asked(partial(self._file.seek, offset, whence), 0)
        return self.tell()

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` as far as the file goes; a short count means the end."""
        out = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(out):
            data = self._asked(partial(self._read, len(out) - filled), b"")
            if not data:
                break
            out[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def _asked(self, question: Callable[[], Any], otherwise: Any) -> Any:
        if self.failure is not None and self._keeps:
            return otherwise
        try:
            return question()
        except BaseException as error:
            self.failure = error if isinstance(error, OSError) or not isinstance(error, Exception) else None
            if self.failure is None:
                self.failure = OSError(f"{type(error).__name__}: {error}")
                self.failure.__cause__ = error
            if self._keeps:
                return otherwise
            raise self.failure from error

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if data is None:
            raise OSError("it has nothing to read at the moment: read it into io.BytesIO first")
        return bytes(data)
