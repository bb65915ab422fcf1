"""The journal of what was written into files, from which every change can be taken back.

A line of JSON for each file, on the disk before the file is changed: its path, and the fields that change,
as they were and as they are to be. A kill between the two leaves a line whose change did not happen, which
`undo` sees.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from .._files import claim
from ..errors import DataError
from .fields import Values

if TYPE_CHECKING:
    from typing import Self

FORMAT = "lightmel-write-1"
_START = b'{"journal": '


@dataclass(frozen=True)
class Entry:
    """One change of one file: texts of fields, by the names that the format of the file has for them.

    `record` is where a run has noted what the file is like: the output, and the file's path there; None where
    it has not.
    """

    path: str
    before: Values
    after: Values
    record: tuple[str, str] | None = None


class Journal:
    """A journal that lines are added to, by one process at a time.

    Raises
    ------
    DataError
        If it cannot be written, is something else, or another process is writing it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self.path.open("ab+")
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            claim(self._file, DataError)
            self._file.seek(0)
            text = self._file.read()
            _parse(text, self.path)
            whole = text.rfind(b"\n") + 1
            self._file.truncate(whole)  # a line that a kill left unfinished
            if not whole:
                self._line({"journal": FORMAT})
        except OSError as error:
            self._file.close()
            raise _unwritable(self.path, error) from error
        except DataError:
            self._file.close()
            raise
        if new:
            sync_folder(self.path.parent)

    def add(self, entry: Entry) -> None:
        """Add a change that is about to be made; it is on the disk when this returns."""
        try:
            noted = {} if entry.record is None else {"record": entry.record}
            self._line({"path": entry.path, "before": entry.before, "after": entry.after, **noted})
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _line(self, document: dict[str, Any]) -> None:
        self._file.write(json.dumps(document, ensure_ascii=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_journal(path: str | os.PathLike[str]) -> list[Entry]:
    """Return the changes in a journal, in the order in which they were made.

    Raises
    ------
    DataError
        If it cannot be read or is something else.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    return _parse(text, Path(path))


def _parse(text: bytes, path: Path) -> list[Entry]:
    lines = text.split(b"\n")[:-1]  # what follows the last newline was not finished
    entries: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            if number == 1:
                if document["journal"] != FORMAT:
                    raise ValueError(f"its format is {document['journal']!r}, not {FORMAT!r}")
                continue
            before, after = _values(document["before"]), _values(document["after"])
            output, named = map(str, document.get("record", ("", "")))
            record = (output, named) if output else None
            entries.append(Entry(str(document["path"]), before, after, record))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{path} is no journal of `lightmel write`: line {number} cannot be read "
                f"({type(error).__name__}: {error})."
            ) from None
    if not lines and not text.startswith(_START[: len(text)]):
        raise DataError(f"{path} is no journal of `lightmel write`.")
    return entries


def _values(plain: dict[str, Sequence[str]]) -> Values:
    return {name: tuple(map(str, texts)) for name, texts in plain.items()}


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"The journal {path} cannot be written: {error.strerror or error}. Nothing is changed without it: "
        "name another one."
    )


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError:  # nor do some file systems sync them
        pass
    finally:
        os.close(descriptor)
