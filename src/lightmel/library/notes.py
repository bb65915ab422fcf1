"""What is noted of a file when it is tagged, by which a later run knows whether it has changed."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from ..errors import AudioError
from .albums import album_fields

_BLOCK = 1 << 20


def describe(path: str, digest: str, *, sha256: bool) -> dict[str, Any]:
    """Return what is noted of a file, by which a later run knows whether it has changed.

    Raises
    ------
    AudioError
        If it has gone.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a name as it is
        found: dict[str, Any] = {
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "tagger": digest,
        }
        if sha256:
            found["sha256"] = digest_of(path)
    except OSError as error:
        raise AudioError(f"{path}: it cannot be read: {error.strerror or error}.") from None
    return found | album_fields(path)


def digest_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes."""
    found = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123 - a name as it is
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
