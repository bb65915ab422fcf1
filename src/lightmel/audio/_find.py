"""Sound files below a folder, by their names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from .._each import printable
from .._files import at_home, is_file, is_folder
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
    below it that cannot be read, and of a link that leads nowhere, the log has a warning.

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
        for path in found:
            if path.suffix.lower() not in SUFFIXES:
                continue
            if is_file(path):
                paths.append(path)
            else:
                _say_dangling(path)
    paths.sort()
    if not paths and not empty:
        raise AudioError(f"There is no sound below {root}: it looks for {' '.join(SUFFIXES)}.")
    return paths


def _say(error: OSError) -> None:
    log.warning("%s: this folder cannot be read (%s) and is left out.", error.filename, error.strerror)


def _say_dangling(path: Path) -> None:
    """Say of a link by a sound's name that it leads nowhere, if it does."""
    if path.is_symlink() and not os.path.exists(path):  # noqa: PTH110 - never raises
        log.warning("%s: this link leads nowhere and is left out.", printable(str(path)))


def find_all(
    places: Iterable[str | os.PathLike[str]], exclude: Sequence[str] = ()
) -> Iterator[tuple[Path, OSError | None]]:
    """Yield the sound files among and below `places`, each once, in the order of their paths.

    Links are followed: to a file, and to a folder once, wherever it is met; a file that is found without a
    link goes by that name. Of one by a sound's name that leads nowhere the log has a warning. What
    `is_left_out` names is left out, as in `find`.

    Parameters
    ----------
    places
        Folders, and files of any name.
    exclude
        Patterns of the shell. One without a slash is for the names of files and folders (``"*.wav"``,
        ``"Podcasts"``), one with a slash for paths below a folder (``"Live/*.mp3"``, where ``*`` stands for
        slashes too).

    Yields
    ------
    tuple
        A file and None; or a folder that cannot be searched and why.

    Raises
    ------
    AudioError
        If there is no such place.
    """
    found: dict[str, Path] = {}
    failed: list[tuple[Path, OSError | None]] = []
    seen: set[str] = set()
    links: list[tuple[Path, Path]] = []
    for place in places:
        root = at_home(place)
        if root.is_file():
            found.setdefault(os.path.realpath(root), root)
        elif root.is_dir():
            links.append((root, root))
        else:
            raise AudioError(f"There is no file or folder {root}.")
    while links:
        # Each round searches what is there without a link, and notes the links for the next one.
        starts, links = links, []
        for start, root in starts:
            _walk(start, root, exclude, seen, found, links, failed)
    yield from failed
    for path in sorted(found.values()):
        yield path, None


def _walk(
    start: Path,
    root: Path,
    exclude: Sequence[str],
    seen: set[str],
    found: dict[str, Path],
    links: list[tuple[Path, Path]],
    failed: list[tuple[Path, OSError | None]],
) -> None:
    """Search one folder and those below it, as `find_all` does; links to files wait as those to folders."""
    if not is_folder(start):
        if is_file(start):  # a link that leads somewhere
            found.setdefault(os.path.realpath(start), start)
        else:
            _say_dangling(start)
        return
    waiting = [(start, os.path.realpath(start))]
    while waiting:
        place, real = waiting.pop()
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = list(os.scandir(place))
        except OSError as error:
            failed.append((place, error))
            continue
        for entry in entries:
            path = place / entry.name
            if is_left_out(entry.name) or _is_excluded(path, root, exclude):
                continue
            is_sound = path.suffix.lower() in SUFFIXES
            if entry.is_symlink():
                if is_sound or path.is_dir():
                    links.append((path, root))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((path, os.path.join(real, entry.name)))  # noqa: PTH118 - 100,000 times
            elif is_sound and entry.is_file(follow_symlinks=False):
                found.setdefault(os.path.join(real, entry.name), path)  # noqa: PTH118


def _is_excluded(path: Path, root: Path, exclude: Sequence[str]) -> bool:
    return any(
        fnmatchcase(path.relative_to(root).as_posix() if "/" in pattern else path.name, pattern.strip("/"))
        for pattern in exclude
    )
