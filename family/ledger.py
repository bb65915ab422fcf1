"""Read the ledger: which clips the taggers of the family may be trained on, and under which licences."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lightmel.datasets import Rows
from lightmel.errors import DataError, nearest

LEDGER = Path(__file__).with_name("ledger.csv")
LICENSES = Path(__file__).with_name("licenses.csv")
OPEN = "NOASSERTION"
"""The word of SPDX for a licence that nothing states; a clip under it is never trained on."""


class Track(NamedTuple):
    """A clip to train on, relative to the folder of shared data, and the group that is never split."""

    path: str
    group: str


class Row(NamedTuple):
    """One clip of the ledger, as its columns say; `holder` is who the statement of the licence names."""

    path: str
    title: str
    artist: str
    holder: str
    license: str
    stated: str
    origin: str
    group: str
    used: str
    reason: str


class License(NamedTuple):
    """What a licence allows: commercial use, changes; and whether it wants authors named."""

    name: str
    commercial: bool
    changes: bool
    attribution: bool


def read_licenses(file: str | os.PathLike[str] = LICENSES) -> dict[str, License]:
    """Return the licences of ``licenses.csv`` by SPDX identifier.

    Raises
    ------
    DataError
        If it is no such table.
    """
    table = Rows(file, "id")
    flags = [[cell == "yes" for cell in table.column(c)] for c in ("commercial", "changes", "attribution")]
    return {
        key: License(name, *allowed)
        for key, name, *allowed in zip(table.column("id"), table.column("name"), *flags, strict=True)
    }


def parts(expression: str) -> list[list[str]]:
    """Return the alternatives of an SPDX expression without brackets, each the licences that all hold."""
    return [alternative.split(" AND ") for alternative in expression.split(" OR ")]


def permitted(expression: str, licenses: Mapping[str, License]) -> bool:
    """Return whether a licence allows commercial use and changes: all of its parts in some alternative do.

    Raises
    ------
    DataError
        If a licence is not in the table.
    """
    for key in (key for alternative in parts(expression) for key in alternative):
        if key not in licenses:
            raise DataError(
                f"{key!r} is no licence of {LICENSES.name}.{nearest(key, licenses)} "
                "Add it there with what it allows, or correct it."
            )
    return any(
        all(licenses[key].commercial and licenses[key].changes for key in a) for a in parts(expression)
    )


def read_rows(file: str | os.PathLike[str] = LEDGER) -> list[Row]:
    """Return all clips of a ledger, those that are refused too.

    Raises
    ------
    DataError
        If it is no ledger: a column or a path is missing or twice, a row has no licence, one that
        ``licenses.csv`` does not have, or one under which its clip is not to be trained on, or is refused
        without a reason; the message names file and line.
    """
    table = Rows(file)
    licenses = read_licenses()
    found: list[Row] = []
    lines: dict[str, int] = {}
    for cells, line in zip(zip(*map(table.column, Row._fields), strict=True), table.lines, strict=True):
        row, where = Row(*cells), f"{file}, line {line}"
        if not row.path or not row.group:
            raise DataError(f"{where}: a clip without path or group. Make the ledger anew.")
        if row.path in lines:
            raise DataError(f"{where}: {row.path} is on line {lines[row.path]} too. Remove one.")
        if not row.license:
            raise DataError(
                f"{where}: {row.path} has no licence. Say which, and where it is stated, or refuse the clip "
                f"({OPEN} and a reason)."
            )
        try:
            free = permitted(row.license, licenses)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        if row.used not in ("train", "refused"):
            raise DataError(f"{where}: {row.path} is used as {row.used!r}; say 'train' or 'refused'.")
        if row.used == "train" and not (free and row.stated):
            why = "does not allow commercial use and changes" if not free else "is stated nowhere"
            raise DataError(f"{where}: the licence of {row.path}, {row.license}, {why}. Refuse the clip.")
        if row.used == "refused" and not row.reason:
            raise DataError(f"{where}: {row.path} is refused without a reason. Give it.")
        lines[row.path] = line
        found.append(row)
    return found


def read_ledger(file: str | os.PathLike[str] = LEDGER) -> list[Track]:
    """Return the clips that may be trained on, in the ledger's order.

    Parameters
    ----------
    file
        Ledger that ``make_ledger.py`` wrote.

    Raises
    ------
    DataError
        As `read_rows` does.
    """
    return [Track(row.path, row.group) for row in read_rows(file) if row.used == "train"]
