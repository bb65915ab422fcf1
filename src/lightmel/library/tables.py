"""The records of a library as a table: CSV or Parquet, made of the lines of JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from .._files import replacing
from ..errors import DataError, MissingExtraError
from ..vocabularies import CATEGORIES

_PLAIN = ("path", "error", "seconds", "sound", "model", "version", "license")
_LISTS = ("notes", *CATEGORIES)
_BATCH = 2_000
"""Rows of Parquet that are held in memory."""
_BETWEEN = "; "
TABLES = (".csv", ".parquet")
"""What the names of tables end in."""


def check_table(path: Path) -> None:
    """Raise `MissingExtraError` if pyarrow is needed to write `path`, and missing."""
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401 - whether it is there
        except ImportError:
            raise MissingExtraError(
                'Parquet is written by pyarrow, which is not installed: pip install "lightmel[parquet]"; or '
                "take .csv."
            ) from None


def write_table(path: Path, lines: Iterable[bytes], tags: Sequence[str]) -> None:
    """Write a row for each line, whole or not at all.

    The columns are path, error, seconds, sound, tagger, notes, the best concepts of each category (as the
    line has them), and the score of each tag, which is empty where a line has none. In CSV, what is a list is
    joined by semicolons.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    rows = (_row(json.loads(line)) for line in lines)
    with replacing(path, DataError) as file:
        if path.suffix == ".csv":
            _write_csv(file, rows, tags)
        else:
            _write_parquet(file, rows, tags)


def _row(record: dict[str, Any]) -> dict[str, Any]:
    categories = record.get("categories", {})
    row = {name: record.get(name) for name in _PLAIN}
    row["error"] = record["error"]["message"] if "error" in record else None
    row["notes"] = record.get("notes", [])
    for name in CATEGORIES:
        best = categories.get(name, ())
        row[name] = [] if isinstance(best, str) else list(best)  # "unknown" is none
    row["tags"] = record.get("tags", {})
    return row


def _write_csv(file: BinaryIO, rows: Iterator[dict[str, Any]], tags: Sequence[str]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
    writer = csv.writer(text)
    writer.writerow((*_PLAIN, *_LISTS, *tags))
    for row in rows:
        lists = (_BETWEEN.join(row[name]) for name in _LISTS)
        writer.writerow((*(row[name] for name in _PLAIN), *lists, *(row["tags"].get(tag) for tag in tags)))
    text.flush()
    text.detach()


def _write_parquet(file: BinaryIO, rows: Iterator[dict[str, Any]], tags: Sequence[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {name: pa.float64() if name == "seconds" else pa.string() for name in _PLAIN}
    kinds |= dict.fromkeys(_LISTS, pa.list_(pa.string()))
    # A tag may be called as another column is.
    columns = {tag: tag if tag not in kinds else f"tag: {tag}" for tag in tags}
    schema = pa.schema([*kinds.items(), *((name, pa.float32()) for name in columns.values())])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _BATCH)):
            table = {name: [_text(row[name]) for row in batch] for name in kinds}
            table |= {name: [row["tags"].get(tag) for row in batch] for tag, name in columns.items()}
            writer.write_table(pa.table(table, schema))


def _text(value: Any) -> Any:
    """Return a value whose texts are UTF-8, as Parquet's are."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
