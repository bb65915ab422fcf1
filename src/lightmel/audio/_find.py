"""Sound files below a folder, by their names."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from .._files import at_home, is_folder
from ..errors import AudioError

log = logging.getLogger("lightmel")

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

_CLUTTER = frozenset(
    ("@eadir", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found", "system volume information")
)
"""Folders of file systems, network drives and archives, in small letters: what is in them is no music."""


def is_left_out(name: str) -> bool:
    """Return whether a file or folder of that name is left out where folders are searched.

    Names that begin with a dot are: hidden files, macOS's ``._song.wav`` (AppleDouble: no sound, whatever its
    suffix says), ``.Trash-1000``. So are folders such as ``@eaDir`` and ``__MACOSX``.
    """
    return name.startswith(".") or name.casefold() in _CLUTTER


def find(folder: str | os.PathLike[str], *, empty: bool = False) -> list[Path]:
    """Return the sound files below `folder`, at any depth, sorted by their paths.

    What `is_left_out` names is left out at any depth; the name of `folder` itself may be any. Of a folder
    below it that cannot be read, the log has a warning.

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
    root = at_home(folder)
    if not is_folder(root):
        raise AudioError(f"There is no folder {root}.")
    paths = []
    for place, folders, files in os.walk(root, onerror=_say):
        folders[:] = [name for name in folders if not is_left_out(name)]
        found = (Path(place, name) for name in files if not is_left_out(name))
        paths += [path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()]
    paths.sort()
    if not paths and not empty:
        raise AudioError(f"There is no sound below {root}: it looks for {' '.join(SUFFIXES)}.")
    return paths


def _say(error: OSError) -> None:
    log.warning("%s: this folder cannot be read (%s) and is left out.", error.filename, error.strerror)
