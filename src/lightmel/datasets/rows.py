"""The reader of tables: CSV and TSV files, with file and line in every error.

People's tables come out of spreadsheets, pandas and R, from Windows, macOS and Linux. What these write in
place of nothing, before the header, or in two forms of one letter is read here, for every table alike.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from .._files import at_home
from ..errors import DataError, nearest
from .annotation_files import text

NEVER_A_TAG = frozenset(("nan", "-nan", "nat", "null", "<na>", "#n/a", "#na"))
"""What programs write in place of nothing, whatever its case; no word for music is among them."""
NOTHING = NEVER_A_TAG | {"none", "n/a"}
"""Cells that hold nothing, whatever their case; so does ``NA``, in capitals, which R writes."""

_DECLARED = re.compile(r'\s*"?sep=(.)"?[;,\t ]*(?:\r\n|\r|\n)', re.I)
"""The first line by which Excel is told the delimiter."""
_LINE_END = re.compile(r"\r\n|\r|\n")
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\]")
"""How an absolute path of Windows begins: with a drive, or a server."""


def composed(text: str) -> str:
    """Return a text in Unicode's composed form: macOS writes é as e and an accent, others as one letter."""
    return unicodedata.normalize("NFC", text)


def is_nothing(cell: str) -> bool:
    """Return whether a cell holds nothing, or what programs write in place of it."""
    return not cell or cell.casefold() in NOTHING or cell == "NA"


class Rows:
    """The rows of a table as text, and their lines in the file, for error messages.

    Cells are stripped and in Unicode's composed form; what stands for nothing (``NaN``, ``None``, ``null``,
    ``<NA>``, ``#N/A``) is an empty cell; rows without any text are left out.

    Parameters
    ----------
    file
        CSV or TSV with a header, or its ``.gz``: in UTF-8, or in UTF-16 with a byte order mark, as Excel's
        "Unicode text". A first line such as ``sep=;`` names the delimiter, for Excel and here.
    key
        A column of the header. The delimiter (tab, comma or semicolon) is the one with which it is found.
    delimiter
        The delimiter, if it is known.

    Attributes
    ----------
    header, rows, lines
        Names of the columns; cells of each row; line of the file on which each row ends.
    written
        Cells of each row as they stand in the file: in names of files every space counts.

    Raises
    ------
    DataError
        If it is no such table; the message names file and line.
    """

    def __init__(self, file: str | os.PathLike[str], key: str = "path", delimiter: str | None = None) -> None:
        self.file = file = at_home(file)
        if not file.is_file():
            raise DataError(f"There is no table {file}.")
        content = text(file)
        if "\0" in content:
            line = content[: content.index("\0")].count("\n") + 1
            raise DataError(f"{file}, line {line}: a NUL character. Save it again as CSV in UTF-8.")
        before = 0
        if (declared := _DECLARED.match(content)) is not None:
            delimiter = delimiter or declared[1]
            before = len(_LINE_END.findall(declared[0]))
            content = content[declared.end() :]
        try:
            delimiter = delimiter or _delimiter(content, composed(key))
        except csv.Error as error:
            raise DataError(f"{file}, line 1: {error}. Save it again as CSV in UTF-8.") from error
        rows = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
        self.rows: list[list[str]] = []
        self.written: list[list[str]] = []
        self.lines: list[int] = []
        try:
            first = next((row for row in rows if any(cell.strip() for cell in row)), [])
            self.header = [composed(name.strip()) for name in first]
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(self.header):
                    raise DataError(
                        f"{file}, line {before + rows.line_num}: {len(row)} cells in a table of "
                        f"{len(self.header)} columns. Put quotes around what holds the delimiter."
                    )
                self.rows.append([_read(cell) for cell in row])
                self.written.append(row)
                self.lines.append(before + rows.line_num)
        except csv.Error as error:
            line = before + rows.line_num
            raise DataError(f"{file}, line {line}: {error}. Look at the quotes there.") from error

    def column(self, name: str, parameter: str = "") -> list[str]:
        """Return the cells of a column; `parameter` is what it was named by, for the error.

        Raises
        ------
        DataError
            If there is no such column, or more than one; the message names the columns that there are.
        """
        place = self._place(name, parameter)
        return [row[place] for row in self.rows]

    def written_column(self, name: str) -> list[str]:
        """Return the cells of a column as they stand in the file; raises as `column`."""
        place = self._place(name, "")
        return [row[place] for row in self.written]

    def _place(self, name: str, parameter: str) -> int:
        wanted = composed(name.strip())
        if wanted not in self.header:
            there = ", ".join(repr(n) for n in self.header) or "none"
            way_out = f" Name one of them with {parameter}=..." if parameter and self.header else ""
            raise DataError(
                f"{self.file} has no column {name!r}; there are {there}.{nearest(name, self.header)}{way_out}"
            )
        if self.header.count(wanted) > 1:
            raise DataError(f"{self.file} has more than one column {name!r}. Rename one.")
        return self.header.index(wanted)


def _read(cell: str) -> str:
    plain = composed(cell.strip())
    return "" if is_nothing(plain) else plain


def _delimiter(content: str, key: str) -> str:
    """Return the delimiter with which the header has a column `key`, or else the most columns."""
    lines = io.StringIO(content, newline=None)  # which may end in \n, \r\n or \r
    header = next((line for line in lines if line.strip()), "")
    found = {d: [composed(n.strip()) for n in next(csv.reader([header], delimiter=d), [])] for d in "\t,;"}
    return max(found, key=lambda d: (key in found[d], len(found[d])))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows, the header among them, as the text of a CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def unique_paths(table: Rows, base: Path, column: str = "path", parameter: str = "") -> list[str]:
    """Return the paths of a table with forward slashes, and check that each names another file.

    A name that is written as no file has it is looked up below `base`: other Unicode forms of its letters,
    backslashes and spaces at its ends that are part of it. ``~`` is the home folder. Where there is no such
    file at all, the path is what was written, with forward slashes and without spaces at its ends.

    Parameters
    ----------
    table
        Table that they are from.
    base
        Folder that they are relative to.
    column, parameter
        Column of the paths, and what it was named by, for the error.

    Raises
    ------
    DataError
        If there are no paths, one is empty, one is an absolute path of Windows elsewhere, or two name the
        same file, in whatever spelling.
    """
    cells, written = table.column(column, parameter), table.written_column(column)
    if not cells:
        raise DataError(f"{table.file} has a header and no clips.")
    first: dict[str, int] = {}
    root = base.absolute()
    disk = _Disk(root)
    paths = []
    for cell, raw, line in zip(cells, written, table.lines, strict=True):
        if not cell:
            raise DataError(f"{table.file}, line {line}: the path is empty.")
        path = disk.path(raw)
        if os.name != "nt" and _OF_WINDOWS.match(raw.strip()) and not (root / path).exists():
            raise DataError(
                f"{table.file}, line {line}: {raw.strip()} is a path of Windows, which this machine has not. "
                "Write paths relative to the table, or to the folder that root=... names, with either slash."
            )
        file = os.path.normpath(root / path)  # a.mp3 also from b/../a.mp3
        if file in first:
            raise DataError(
                f"{table.file}: {file} stands in the lines {first[file]} and {line}. Each clip has one row; "
                "several tags go into one list."
            )
        first[file] = line
        paths.append(path)
    return paths


class _Disk:
    """Finds the files that cells mean below a folder.

    Plain names are not looked for: a table of a hundred thousand clips asks the disk for none of them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[Path, dict[str, str]] = {}

    def path(self, raw: str) -> str:
        """Return the path that a cell means; where there is no such file, the usual spelling of it."""
        plain = str(PurePosixPath(_stripped(raw).replace("\\", "/")))
        if raw.isascii() and "\\" not in raw and raw == raw.strip():
            return plain  # a/b.mp3 from ./a/b.mp3
        for spelling in self._spellings(raw):
            if (found := self._there(spelling)) is not None:
                return found
        return composed(plain)

    def _spellings(self, raw: str) -> Iterator[str]:
        if os.name != "nt":
            yield raw
        yield raw.replace("\\", "/")
        stripped = _stripped(raw)
        if os.name != "nt":
            yield stripped
        yield stripped.replace("\\", "/")

    def _there(self, spelling: str) -> str | None:
        """Return the path of the file that is spelled so but for Unicode's forms of its letters, if any."""
        path = PurePosixPath(spelling)
        try:
            if (self._root / path).exists():
                return str(path)
            folder, found = self._root, PurePosixPath()
            for part in path.parts:
                if part != ".." and not (folder / part).exists():
                    part = self._in(folder).get(composed(part), "")
                    if not part:
                        return None
                folder, found = folder / part, found / part
        except (OSError, ValueError):  # no name that a file could have
            return None
        return str(found)

    def _in(self, folder: Path) -> dict[str, str]:
        """Return the names in a folder by their composed form."""
        if folder not in self._names:
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            self._names[folder] = {composed(name): name for name in names}
        return self._names[folder]


def _stripped(cell: str) -> str:
    """Return a path without spaces at its ends, whose ``~`` is the home folder."""
    path = cell.strip()
    return str(at_home(path)) if path.startswith("~") else path
