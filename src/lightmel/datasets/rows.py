"""The one reader of tables: CSV and TSV files, with the line in every complaint."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path, PurePosixPath

from ..errors import DataError, nearest
from .annotation_files import text


class Rows:
    """The rows of a table as text, and their lines for those who look for a mistake.

    Cells are stripped; rows without any text are left out.

    Parameters
    ----------
    file
        CSV or TSV in UTF-8 with a header, or its ``.gz``.
    key
        The column that tells the delimiter, tab, comma or semicolon: the one that makes it appear.
    delimiter
        Where it is known.

    Attributes
    ----------
    header, rows, lines
        Names of the columns; the cells; the line of the file that each row ends on.

    Raises
    ------
    DataError
        If it is no such table; the message names file and line.
    """

    def __init__(self, file: Path, key: str = "path", delimiter: str | None = None) -> None:
        self.file = file
        if not file.is_file():
            raise DataError(f"There is no table {file}.")
        content = text(file)
        try:
            delimiter = delimiter or _delimiter(content, key)
        except csv.Error as error:
            raise DataError(f"{file}, line 1: {error}. Save it again as CSV in UTF-8.") from error
        rows = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        try:
            self.header = [name.strip() for name in next(rows, [])]
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
        """Return a column by its name."""
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
    """Return what makes the column `key` in the header appear, or else the most columns."""
    header = io.StringIO(content, newline=None).readline()  # of any line end, an old Mac's too
    found = {d: [name.strip() for name in next(csv.reader([header], delimiter=d), [])] for d in "\t,;"}
    return max(found, key=lambda d: (key in found[d], len(found[d])))


def unique_paths(table: Rows, base: Path, cells: list[str]) -> list[str]:
    """Return paths as they are written with forward slashes, once each.

    Parameters
    ----------
    table
        Where they are from.
    base
        The folder that they are relative to.
    cells
        The column of the paths.

    Raises
    ------
    DataError
        If there are none, one is empty, or two are the same file, however they are spelled.
    """
    if not cells:
        raise DataError(f"{table.file} has a header and no clips.")
    first: dict[str, int] = {}
    root = base.absolute()
    paths = []
    for cell, line in zip(cells, table.lines, strict=True):
        if not cell:
            raise DataError(f"{table.file}, line {line}: the path is empty.")
        path = str(PurePosixPath(cell.replace("\\", "/")))  # ./a/b.mp3 and a\b.mp3 are a/b.mp3
        file = os.path.normpath(root / path)  # b/../a.mp3 is a.mp3, too
        if file in first:
            raise DataError(
                f"{table.file}: {file} stands in the lines {first[file]} and {line}. Each clip has one row; "
                "several tags go into one list."
            )
        first[file] = line
        paths.append(path)
    return paths
