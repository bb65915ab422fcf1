"""The reader of tables: CSV and TSV files, with file and line in every error."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path, PurePosixPath

from ..errors import DataError, nearest
from .annotation_files import text


class Rows:
    """The rows of a table as text, and their lines in the file, for error messages.

    Cells are stripped; rows without any text are left out.

    Parameters
    ----------
    file
        CSV or TSV in UTF-8 with a header, or its ``.gz``.
    key
        A column of the header. The delimiter (tab, comma or semicolon) is the one with which it is found.
    delimiter
        The delimiter, if it is known.

    Attributes
    ----------
    header, rows, lines
        Names of the columns; cells of each row; line of the file on which each row ends.

    Raises
    ------
    DataError
        If it is no such table; the message names file and line.
    """

    def __init__(self, file: str | os.PathLike[str], key: str = "path", delimiter: str | None = None) -> None:
        self.file = file = Path(file)
        if not file.is_file():
            raise DataError(f"There is no table {file}.")
        content = text(file)
        if "\0" in content:
            line = content[: content.index("\0")].count("\n") + 1
            raise DataError(f"{file}, line {line}: a NUL character. Save it again as CSV in UTF-8.")
        try:
            delimiter = delimiter or _delimiter(content, key)
        except csv.Error as error:
            raise DataError(f"{file}, line 1: {error}. Save it again as CSV in UTF-8.") from error
        rows = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        try:
            first = next((row for row in rows if any(cell.strip() for cell in row)), [])
            self.header = [name.strip() for name in first]
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(self.header):
                    raise DataError(
                        f"{file}, line {rows.line_num}: {len(row)} cells in a table of {len(self.header)} "
                        "columns. Put quotes around what holds the delimiter."
                    )
                self.rows.append([cell.strip() for cell in row])
                self.lines.append(rows.line_num)
        except csv.Error as error:
            raise DataError(f"{file}, line {rows.line_num}: {error}. Look at the quotes there.") from error

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Raises
        ------
        DataError
            If there is no such column, or more than one; the message names the columns that there are.
        """
        if name not in self.header:
            there = ", ".join(repr(n) for n in self.header) or "none"
            raise DataError(
                f"{self.file} has no column {name!r}; there are {there}.{nearest(name, self.header)}"
            )
        if self.header.count(name) > 1:
            raise DataError(f"{self.file} has more than one column {name!r}. Rename one.")
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def _delimiter(content: str, key: str) -> str:
    """Return the delimiter with which the header has a column `key`, or else the most columns."""
    lines = io.StringIO(content, newline=None)  # which may end in \n, \r\n or \r
    header = next((line for line in lines if line.strip()), "")
    found = {d: [name.strip() for name in next(csv.reader([header], delimiter=d), [])] for d in "\t,;"}
    return max(found, key=lambda d: (key in found[d], len(found[d])))


def unique_paths(table: Rows, base: Path, cells: list[str]) -> list[str]:
    """Return the paths of a table with forward slashes, and check that each names another file.

    Parameters
    ----------
    table
        Table that they are from.
    base
        Folder that they are relative to.
    cells
        Column of the paths.

    Raises
    ------
    DataError
        If there are no paths, one is empty, or two name the same file, in whatever spelling.
    """
    if not cells:
        raise DataError(f"{table.file} has a header and no clips.")
    first: dict[str, int] = {}
    root = base.absolute()
    paths = []
    for cell, line in zip(cells, table.lines, strict=True):
        if not cell:
            raise DataError(f"{table.file}, line {line}: the path is empty.")
        path = str(PurePosixPath(cell.replace("\\", "/")))  # a/b.mp3 from ./a/b.mp3 and a\b.mp3
        file = os.path.normpath(root / path)  # a.mp3 also from b/../a.mp3
        if file in first:
            raise DataError(
                f"{table.file}: {file} stands in the lines {first[file]} and {line}. Each clip has one row; "
                "several tags go into one list."
            )
        first[file] = line
        paths.append(path)
    return paths
