"""Sound files without labels, and the groups that must not be divided: a folder, or a table of both."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .. import audio
from .._files import at_home
from .rows import Rows, unique_paths


@dataclass(frozen=True)
class Track:
    """A sound file, and the group (album, artist, session) that it must not be split from."""

    path: Path
    group: str


def find_tracks(folder: str | os.PathLike[str]) -> list[Track]:
    """Return the sound files below `folder`, sorted; those of one folder are one group.

    Where all lie in one folder, each is a group of its own.

    Raises
    ------
    AudioError
        If there are none.
    """
    root = at_home(folder)
    tracks = [Track(p, str(p.parent.relative_to(root))) for p in audio.find(root)]
    if len({track.group for track in tracks}) > 1:
        return tracks
    return [Track(track.path, track.path.name) for track in tracks]


def read_tracks(table: str | os.PathLike[str], *, grouped: bool = True) -> list[Track]:
    """Read a CSV with the columns ``path`` (relative to it) and ``group`` (what must not be split).

    Parameters
    ----------
    table
        The file.
    grouped
        Whether there must be a column ``group``; where there need not and is none, each file is a group of
        its own. So is a file whose cell is empty.

    Raises
    ------
    DataError
        If it is no such table, a column is missing, or a path stands twice.
    """
    rows = Rows(table)
    folder = rows.file.parent
    paths = unique_paths(rows, folder)
    cells = rows.column("group") if grouped or "group" in rows.header else [""] * len(paths)
    return [Track(folder / path, cell or path) for path, cell in zip(paths, cells, strict=True)]
