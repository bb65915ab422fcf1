"""What libsndfile is told."""

from __future__ import annotations

import os


def for_libsndfile(name: str | os.PathLike[str]) -> str | bytes:
    """Return a file's name as libsndfile opens it: its bytes, of which some may be no text.

    On Windows names are text, and bytes would be read in the code page of the machine.
    """
    return os.fspath(name) if os.name == "nt" else os.fsencode(name)
