"""Albums: which files are one, and the tags of the whole."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._each import attempt
from ..errors import LightmelError
from ..inference import Tagging
from .lines import tagging_record

By: TypeAlias = Literal["album", "folder"]
_DISC = re.compile(r"(cd|disc|disk|dvd|side|vol(ume)?)[ ._-]*[0-9a-d]{1,2}\b.*", re.IGNORECASE)
"""The name of a folder that holds a part of an album."""


def album_fields(path: str) -> dict[str, str]:
    """Return album and album artist from a file's fields, where there are any and mutagen is installed."""
    try:
        import mutagen
    except ImportError:
        return {}
    # Whatever mutagen makes of a broken file: it has no album, then.
    file = attempt(path, mutagen.File, path, easy=True)
    if file is None or isinstance(file, LightmelError):
        return {}
    found = {}
    for ours, names in (("album", ("album", "WM/AlbumTitle")), ("album_artist", _ARTISTS)):
        for name in names:
            values = attempt(path, _values, file, name)
            if not isinstance(values, LightmelError) and values:
                found[ours] = values
                break
    return found


_ARTISTS = ("albumartist", "album artist", "WM/AlbumArtist")


def _values(file: Any, name: str) -> str:
    """Return the first text of a field, or an empty one."""
    try:
        values = file.get(name) or [""]
    except (KeyError, ValueError, TypeError):  # a name that this format cannot have
        return ""
    return str(values[0] if isinstance(values, list) else values).strip()


def folder_of(path: str) -> str:
    """Return the folder of a file's album: that which it lies in, or above it for one such as ``CD 2``."""
    folder = Path(path).parent
    return str(folder.parent if _DISC.fullmatch(folder.name) else folder)


def albums(records: Iterable[Mapping[str, Any]], by: By) -> Iterator[dict[str, Any]]:
    """Yield the record of each album: the mean of its files' scores, weighted by their lengths.

    Parameters
    ----------
    records
        Those of files, all of one tagger and with all its tags; failures are left out.
    by
        ``"folder"``: files in one folder are an album. ``"album"``: those of one album by their fields (and
        of one album artist, or else one folder), and of one folder where they have none.
    """
    found: dict[tuple[str, ...], _Album] = {}
    like: Mapping[str, Any] = {}  # what the records of one tagger share
    tags: tuple[str, ...] = ()
    for record in records:
        if "error" in record:
            continue
        if not like:
            like, tags = record, tuple(sorted(record["tags"]))
        own = record["file"]
        name, artist = own.get("album", "") if by == "album" else "", own.get("album_artist", "")
        folder = folder_of(record["path"])
        key = (name, artist) if name and artist else (name, "", folder)
        if key not in found:
            found[key] = _Album(
                name or Path(folder).name or folder, artist if name else "", folder, np.zeros(len(tags))
            )
        found[key].add(record, tags)
    for album in sorted(found.values(), key=lambda album: (album.folder, album.name)):
        yield album.record(by, tags, like)


@dataclass
class _Album:
    """What has been added up of an album; little, for there may be many."""

    name: str
    artist: str
    folder: str
    total: NDArray[np.float64]
    seconds: float = 0.0
    weight: float = 0.0
    files: int = 0
    sounds: Counter[str] = field(default_factory=Counter)

    def add(self, record: Mapping[str, Any], tags: tuple[str, ...]) -> None:
        seconds = float(record["seconds"])
        weight = max(seconds, 1e-3)  # of an instant, too
        self.weight += weight
        self.total += weight * np.array([record["tags"][tag] for tag in tags])
        self.seconds += seconds
        self.files += 1
        self.sounds[sys.intern(record["sound"])] += round(seconds)
        self.folder = min(self.folder, folder_of(record["path"]))  # whatever came first

    def record(self, by: By, tags: tuple[str, ...], like: Mapping[str, Any]) -> dict[str, Any]:
        plain = {
            **like,
            "tags": dict(zip(tags, (self.total / self.weight).tolist(), strict=True)),
            "seconds": self.seconds,
            "padded": False,
            "notes": [],
            "parts": [],
            "sound": self.sounds.most_common(1)[0][0],
        }
        made = tagging_record("", Tagging.from_dict(plain))
        del made["path"]
        artist = {"album_artist": self.artist} if self.artist else {}
        return {"album": self.name, "by": by, **artist, "folder": self.folder, "files": self.files, **made}
