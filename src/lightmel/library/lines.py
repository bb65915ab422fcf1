"""Lines of JSON: what stands in one for a file, and how it is written.

`lightmel tag --json` writes them, and an output of `tag_folder` is made of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .._each import reason
from ..errors import LightmelError
from ..inference import SCHEMA, Tagging

DIGITS = 5
"""Of a score; those behind them differ from one processor to another."""
BY_TAG = ("thresholds", "verified")
"""Fields of a line that have a value for each of its tags."""
_LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x7f\x85\u2028\u2029"}


def to_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of JSON in UTF-8, with the line feed at its end.

    What is no character of UTF-8, in a name that is no text, and what some programs take for the end of a
    line are written as JSON's escapes.
    """
    text = json.dumps(record, allow_nan=False, ensure_ascii=False).translate(_LINE_ENDS)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def tagging_record(
    path: str, tagging: Tagging, chosen: Sequence[tuple[str, float]] | None = None
) -> dict[str, Any]:
    """Return the record of a file: what `Tagging.to_dict` gives, rounded.

    Parameters
    ----------
    path
        Of the file.
    tagging
        Its tags.
    chosen
        Tags and scores that are kept, where not all are.
    """
    plain = tagging.to_dict()
    plain |= {what: _rounded(plain[what]) for what in ("tags", "thresholds")}
    plain["seconds"] = round(plain["seconds"], 3)
    plain["categories"] = {
        name: _rounded(own) if isinstance(own, dict) else own for name, own in plain["categories"].items()
    }
    if chosen is not None:
        shown = _rounded(dict(chosen))
        few = {what: {tag: own for tag, own in plain[what].items() if tag in shown} for what in BY_TAG}
        plain |= {"tags": shown, **few}
    return {"path": path, **plain}


def error_record(path: str, error: LightmelError) -> dict[str, Any]:
    """Return the record of a file that could not be tagged."""
    return failure_record(path, type(error).__name__, reason(error, path))


def failure_record(path: str, kind: str, message: str) -> dict[str, Any]:
    """Return the record of a file that failed with an error of that kind."""
    return {"path": path, "schema": SCHEMA, "error": {"type": kind, "message": message}}


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {tag: float(f"{score:.{DIGITS}g}") for tag, score in scores.items()}
