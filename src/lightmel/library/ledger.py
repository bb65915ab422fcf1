"""The output of a folder run: a line of JSON for each file, from which the next run knows what is done.

Lines are appended, whole ones only. A file that is tagged again gets a new line, and the old one goes when
the run ends; until then the last one counts. What a run needs to know of a line stands at its start, before
the scores, which are not read: 100,000 lines take seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from .._files import claimed, replacing
from ..errors import DataError
from ..inference import SCHEMA
from .lines import to_line

ALBUM = b'{"album": '
"""How the lines of albums begin, which are made anew of the others."""
_REST = b', "schema": '
"""What follows the part of a line that is read. No text in a line holds it: quotes are escaped there."""
_MODEL = b', "model": '
_SYNC_SECONDS = 5.0
_NEW = "Name another file for --out, or remove this one."


@dataclass(frozen=True, slots=True)
class Known:
    """What a line says of its file.

    Attributes
    ----------
    number
        Of the line, from 0.
    size, mtime_ns
        Of the file, when it was tagged; -1 where the line does not say.
    sha256
        Of its bytes, if that was wanted.
    tagger
        Digest of the tagger and its settings; empty where the line does not say.
    failed
        Whether it could not be tagged.
    """

    number: int
    size: int = -1
    mtime_ns: int = -1
    sha256: str = ""
    tagger: str = ""
    failed: bool = False


class Ledger:
    """The lines of an output, by the absolute paths of their files; for one process at a time.

    Attributes
    ----------
    known
        What the last line of each file says.
    albums_are_current
        Whether there are lines of albums, and none of a file behind them.
    albums_by
        What files were taken for an album by, where there are any.
    models
        The name of a tagger for each digest of one and its settings.

    Parameters
    ----------
    path
        Of the output, which is made if it is missing. A line that a kill left unfinished is cut off.

    Raises
    ------
    DataError
        If it cannot be read or written, or is something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._open()

    def _open(self) -> None:
        self.known: dict[str, Known] = {}
        self.models: dict[str, str] = {}
        self.albums_are_current = False
        self.albums_by = ""
        self._albums: list[int] = []
        self._lines = self._stale = 0
        self._synced = time.monotonic()
        try:
            self._file: BinaryIO = self.path.open("ab+", buffering=0)
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            self._read()
        except OSError as error:
            self._file.close()
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        except DataError:
            self._file.close()
            raise

    def _read(self) -> None:
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    if number == 0 and not (
                        b'{"path": '.startswith(line[:9]) or line.startswith(b'{"path": ')
                    ):
                        raise DataError(f"{self.path} is no output of `lightmel tag --out`. {_NEW}")
                    break
                end += len(line)
                self._lines += 1
                if line.startswith(ALBUM):
                    self._albums.append(number)
                    if not self.albums_are_current:
                        self.albums_by = self._by(number, line)
                    self.albums_are_current = True
                    continue
                key, known = self._parsed(number, line)
                self.albums_are_current = False
                if not known.failed and known.tagger not in self.models:
                    self.models[known.tagger] = _model(line)
                self._stale += key in self.known
                self.known[key] = known
        if end != self._file.seek(0, os.SEEK_END):
            self._file.truncate(end)

    def _by(self, number: int, line: bytes) -> str:
        try:
            return str(json.loads(line)["by"])
        except (ValueError, KeyError, RecursionError):
            raise self._spoiled(number) from None

    def _parsed(self, number: int, line: bytes) -> tuple[str, Known]:
        head, rest, tail = line.partition(_REST)
        try:
            found = json.loads(head + b"}" if rest else line)
            schema = int(tail[: tail.find(b",")]) if rest else found["schema"]
            path, own = found["path"], found.get("file", {})
            known = Known(
                number,
                int(own.get("size", -1)),
                int(own.get("mtime_ns", -1)),
                str(own.get("sha256", "")),
                sys.intern(str(own.get("tagger", ""))),
                "error" in found or tail.find(b', "error": {', 0, 20) >= 0,
            )
            key = key_of(path)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._spoiled(number) from None
        if schema > SCHEMA:
            raise DataError(
                f"{self.path}, line {number + 1} has schema {schema}, and this lightmel knows {SCHEMA}: a "
                f"newer one has written it. Take that, or name another file for --out."
            )
        if schema < SCHEMA:  # of an older lightmel: to be tagged again
            known = Known(number, failed=known.failed)
        return key, known

    def add(self, record: Mapping[str, Any]) -> None:
        """Append the record of a file; a kill loses none that was.

        Raises
        ------
        DataError
            If that fails, as on a full disk; what is there is kept.
        """
        key, known = self._parsed(self._lines, line := to_line(record))
        self._append(line)
        self._stale += key in self.known
        self.known[key] = known
        self._lines += 1
        self.albums_are_current = False

    def _append(self, line: bytes) -> None:
        try:
            end = self._file.seek(0, os.SEEK_END)
            try:
                left = memoryview(line)
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                self._file.truncate(end)
                raise
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def lines(self) -> Iterator[bytes]:
        """Yield the line that counts of each file, in the order of the output."""
        numbers = {known.number for known in self.known.values()}
        with self.path.open("rb") as file:
            yield from (line for number, line in enumerate(file) if number in numbers)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of the files, whole."""
        for line in self.lines():
            yield json.loads(line)

    def tidy(self, drop: Iterable[str] = (), albums: Iterable[Mapping[str, Any]] | None = None) -> None:
        """Write the output anew, whole or not at all: without old lines, and with those of albums at its end.

        Parameters
        ----------
        drop
            Keys of files whose lines go.
        albums
            Their records; None leaves the albums as they are, unless lines of files are newer.

        Raises
        ------
        DataError
            If that fails; the output is then as it was.
        """
        gone = [key for key in drop if self.known.pop(key, None)]
        keep_albums = albums is None and self.albums_are_current and not gone
        if not (self._stale or gone or albums is not None or (self._albums and not keep_albums)):
            return
        numbers = {known.number for known in self.known.values()}
        if keep_albums:
            numbers.update(self._albums)
        self._file.close()  # Windows replaces no open file
        try:
            with replacing(self.path, DataError) as new, self.path.open("rb") as old:
                for number, line in enumerate(old):
                    if number in numbers:
                        new.write(line)
                for album in albums or ():
                    new.write(to_line(album))
        finally:
            self._open()

    def _spoiled(self, number: int) -> DataError:
        return DataError(
            f"{self.path}, line {number + 1} is no line of `lightmel tag`: it is no output of ours, or "
            f"something has spoiled it. {_NEW}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def unwritable(path: Path, error: OSError) -> DataError:
    """Return the error for a file of a run that cannot be written any more."""
    return DataError(
        f"{path} cannot be written: {error.strerror or error}. What is in it is kept: run the same again to "
        "go on."
    )


def note_anew(
    path: str | os.PathLike[str], files: Mapping[str, tuple[os.stat_result, os.stat_result]]
) -> None:
    """Let the lines of an output say what files are like now, whose fields have been written since.

    Without it they would be tagged again, though their sound is the same. A file that was another than its
    line says, before, is to be tagged again, and its line stays.

    Parameters
    ----------
    path
        Of the output.
    files
        What they were like before, and are like now, by their paths as the lines have them.

    Raises
    ------
    DataError
        If another process is writing the output, or it cannot be written; it is then as it was.
    """
    with claimed(path, DataError), replacing(path, DataError) as new, Path(path).open("rb") as old:
        for line in old:
            new.write(_noted_anew(line, files))


def _noted_anew(line: bytes, files: Mapping[str, tuple[os.stat_result, os.stat_result]]) -> bytes:
    head, rest, tail = line.partition(_REST)
    found = json.loads(head + b"}") if rest and head.startswith(b'{"path": ') else {}
    before, now = files.get(found.get("path", ""), (None, None))
    own = dict(found.get("file", {}))
    if before is None or now is None or (own.get("size"), own.get("mtime_ns")) != _of(before):
        return line
    own["size"], own["mtime_ns"] = _of(now)
    own.pop("sha256", None)
    return to_line({**found, "file": own}).removesuffix(b"}\n") + rest + tail


def _of(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def key_of(path: str | os.PathLike[str]) -> str:
    """Return what a file goes by: its absolute path, so that ``Music`` and ``/home/me/Music`` are one."""
    return os.path.abspath(path)  # noqa: PTH100 - follow no links


def _model(line: bytes) -> str:
    """Return the name of the tagger in a line, read from its end, where it stands."""
    at = line.rfind(_MODEL)
    try:
        return str(json.JSONDecoder().raw_decode(line[at + len(_MODEL) :].decode("utf-8", "replace"))[0])
    except ValueError:
        return ""
