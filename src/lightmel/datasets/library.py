"""A music folder whose files carry their genres: labels without a table, read by mutagen (extra ``write``).

What people and shops write into that field differs in spelling and order: "Rock; Pop", "rock/pop", "(17)",
"Hip-Hop" and "hip hop". Here each is a list of plain words.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._each import attempt, reason
from .._files import at_home
from ..errors import AudioError, DataError, LightmelError, MissingExtraError
from ..vocabularies import folded
from .dataset import Dataset
from .rows import composed
from .table import SHARES, Clips, dataset_of
from .tracks import find_tracks

NAME = "library"
CITATION = "Your own."
LICENSE = "That of your sound and of its genre fields."
SOURCE = "the genre fields of your files"
COUNTS: dict[str, dict[str, int]] = {}
"""No numbers of clips are published."""

MIN_FILES = 20
"""With fewer files a genre is left out."""
MOST_GENRES = 8
"""A field of more says nothing of the music."""
LONGEST = 50
"""Characters of a genre; a longer text is something else."""
NO_GENRE = {
    "",
    "genre",
    "misc",
    "miscellaneous",
    "n/a",
    "na",
    "no genre",
    "none",
    "other",
    "undefined",
    "unknown",
    "unknown genre",
}
"""What stands in the field where nobody knew; "other" is the number 12 of ID3v1, as many encoders write."""
_SEPARATORS = re.compile(r"[;,/|\\\0\n]")

log = logging.getLogger("lightmel")


def load_library(
    folder: str | os.PathLike[str],
    *,
    min_files: int = MIN_FILES,
    shares: Sequence[float] = SHARES,
    split_seed: int = 0,
) -> Dataset:
    """Read a music folder whose files carry genre fields: the genres are the tags, folders are the groups.

    Fields are read from ID3 (also its numbers, "(17)"), Vorbis comments and MP4. Several genres in one field
    may be separated by ``; , / |`` or a backslash; case, hyphens and underscores do not matter, so that tags
    are in small letters. What only says that nobody knew, such as "Other", is no genre.

    Files without a genre are left out: they are false examples of nothing. Files whose genres are all too
    rare are false examples of the rest. What is left out, and why, is counted in the log.

    Parameters
    ----------
    folder
        Searched at any depth. The files of a folder, such as an album, are one group, which no split divides;
        where all lie in one folder, each is its own.
    min_files
        Files that a genre needs; genres of fewer are left out.
    shares, split_seed
        As in `load_table`.

    Raises
    ------
    MissingExtraError
        If mutagen is not installed.
    DataError
        If there is no sound, no file has a genre that can be used, or no genre has enough files.
    """
    place = at_home(folder)
    if not place.is_dir():
        raise DataError(f"There is no folder {place}: a library is a folder of music.")
    read = _Reader()
    try:
        tracks = find_tracks(place)
    except AudioError as error:
        raise DataError(str(error)) from None
    paths, groups, lists = [], [], []
    odd: dict[str, str] = {}
    bare: list[str] = []
    for track in tracks:
        path = track.path.relative_to(place).as_posix()
        genres = attempt(track.path, lambda file: split_genres(read(file)), track.path)
        if isinstance(genres, LightmelError):
            odd[path] = reason(genres, track.path)
            continue
        if genres:
            paths.append(path)
            groups.append(track.group)
            lists.append(genres)
        else:
            bare.append(path)
    _tell(place, len(tracks), odd, bare)
    counts = Counter(genre for own in lists for genre in own)
    if not counts:
        raise DataError(
            f"{place}: none of its {len(tracks)} files has a genre that can be used. Write some into the "
            "files with a tag editor, or make a table of paths and tags."
        )
    tags = tuple(sorted(genre for genre, n in counts.items() if n >= min_files))
    few = [f"{genre} ({n})" for genre, n in counts.most_common() if n < min_files]
    if not tags:
        raise DataError(
            f"{place}: no genre has {min_files} files; there are {_listed(few)}. Ask for fewer "
            "with min_files=..., or add files."
        )
    if few:
        log.warning("%s: genres of fewer than %d files are left out: %s.", place, min_files, _listed(few))
    labels = np.array([[tag in own for tag in tags] for own in lists], dtype=np.bool_)
    clips = Clips(paths, tags, labels, groups, [])
    how = f"genre fields, {min_files} files or more"
    return dataset_of(place, clips, shares, split_seed, how, LICENSE, SOURCE, CITATION)


def split_genres(values: Sequence[str]) -> frozenset[str]:
    """Return the genres in the texts of a field, as folded names; none where they only say that nobody knew.

    Raises
    ------
    DataError
        If they are too many or too long for genres; the message says which.
    """
    values = [composed(value) for value in values]
    known = [value for value in values if folded(value) not in NO_GENRE]  # "n/a" is no "n" and "a"
    texts = [text.strip(" &+") for value in known for text in _SEPARATORS.split(value)]
    found = dict.fromkeys(name for text in texts if (name := folded(text)) not in NO_GENRE)
    if len(found) > MOST_GENRES:
        some = ", ".join(list(found)[:3])
        raise DataError(f"its genre field holds {len(found)} genres, {some} among them")
    if long := [name for name in found if len(name) > LONGEST]:
        raise DataError(f"its genre field holds no genre, but {long[0][:LONGEST]!r}...")
    return frozenset(found)


class _Reader:
    """Reads the texts of a file's genre field.

    Raises
    ------
    MissingExtraError
        If mutagen is not installed.
    """

    def __init__(self) -> None:
        try:
            import mutagen
            from mutagen.id3 import TCON
        except ImportError:
            raise MissingExtraError(
                'Genre fields are read by mutagen, which is not installed: pip install "lightmel[write]"'
            ) from None
        self._open: Any = mutagen.File
        self._numbers: Any = TCON
        self._failures = mutagen.MutagenError, OSError, LookupError, ValueError

    def __call__(self, path: Path) -> list[str]:
        """Return them, with the numbers of ID3v1 as words; `AudioError` where the file cannot be read."""
        try:
            tags: Any = getattr(self._open(path), "tags", None)
        except self._failures as error:
            raise AudioError(f"its fields cannot be read ({error})") from None
        if tags is None:
            return []
        if hasattr(tags, "getall"):  # ID3
            texts = [text for frame in tags.getall("TCON") for text in frame.text]
        else:
            texts = tags.get("\xa9gen" if type(tags).__name__ == "MP4Tags" else "genre", [])
        return [genre for text in texts for genre in self._numbers(encoding=3, text=[str(text)]).genres]


def _tell(place: Path, files: int, odd: dict[str, str], bare: Sequence[str]) -> None:
    if bare:
        log.warning(
            "%s: %d of %d files have no genre and are left out, %s among them.",
            place,
            len(bare),
            files,
            bare[0],
        )
    if odd:
        shown = "; ".join(f"{path}: {why}" for path, why in list(odd.items())[:5])
        more = f"; and {len(odd) - 5} more" if len(odd) > 5 else ""
        log.warning("%s: %d of %d files are left out: %s%s.", place, len(odd), files, shown, more)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
