"""Sound files below a folder, by their names."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import AudioError

SUFFIXES = (
    ".mp3",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".wav",
    ".aiff",
    ".aif",
    ".m4a",
    ".aac",
    ".wma",
    ".webm",
)
"""The suffixes of sound files, in small or capital letters."""


def find(folder: str | os.PathLike[str], *, empty: bool = False) -> list[Path]:
    """Return the sound files below `folder`, at any depth, sorted by their paths.

    Parameters
    ----------
    folder
        Where to look.
    empty
        Whether it may hold none.

    Raises
    ------
    AudioError
        If there are none, unless it may be `empty`; if there is no such folder.
    """
    root = Path(folder)
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not root.is_dir():
        raise AudioError(f"There is no folder {root}.")
    if not paths and not empty:
        raise AudioError(f"There is no sound below {root}: it looks for {' '.join(SUFFIXES)}.")
    return paths
