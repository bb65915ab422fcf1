"""Tag vocabularies, one tag a line in output order, and what each tag is about.

The order is that of the published label matrices, never a fresh sort: equal counts occur, and the
two public orders of MagnaTagATune's 50 differ. MTG-Jamendo's is sorted by code point, because the
public checkpoints were trained through scikit-learn's LabelBinarizer, which sorts.

``audioset-music`` holds the classes of AudioSet that tell something about a music folder, in the order of
their index among AudioSet's 527, and a few sounds that lie in such folders and are no music. AudioSet's
class names are by Google, licensed CC BY 4.0 (https://research.google.com/audioset/); here is a choice of
them. ``lightmel`` is the union that lightmel's own taggers give: the tags of ``mtat``, those of ``msd`` that
``mtat`` lacks, and a tag for each concept of ``audioset-music`` that neither has.

``tags.csv`` names for every tag of all of them its category and its concept, the plain word under which
tags of several vocabularies are one: "woman" and "Female singing" are both "female vocal".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import cache
from importlib import resources

from ..errors import ConfigError, nearest

__all__ = [
    "CATEGORIES",
    "MUSIC",
    "VOCABULARIES",
    "audioset_index",
    "category",
    "concept",
    "folded",
    "is_known",
    "known_as",
    "read",
    "same",
]

VOCABULARIES: tuple[str, ...] = ("mtat", "msd", "jamendo", "audioset-music", "lightmel")

CATEGORIES: tuple[str, ...] = (
    "genre",
    "mood",
    "instrument",
    "voice",
    "era",
    "tempo and dynamics",
    "use",
    "not music",
    "other",
)
"""What a tag may be about, in the order in which it is shown."""

MUSIC = "music"
"""Category and concept of AudioSet's class ``Music``: no tag, but the answer to "is it music?"."""


@cache
def read(name: str) -> tuple[str, ...]:
    """Return the tags of the vocabulary `name`, one of `VOCABULARIES`, in output order."""
    if name not in VOCABULARIES:
        raise ConfigError(
            f"No tag vocabulary {name!r}: there are {', '.join(VOCABULARIES)}.{nearest(name, VOCABULARIES)}"
        )
    if name == "audioset-music":
        return tuple(audioset_index())
    return _tags(_text(f"{name}.txt"), f"{name}.txt")


@cache
def audioset_index() -> dict[str, int]:
    """Return for each tag of ``audioset-music`` its index among AudioSet's 527 classes."""
    file = "audioset-music.csv"
    rows = _rows(_text(file), file, ("index", "tag"))
    tags = _once([tag for _, tag in rows], file)
    return dict(zip(tags, (int(index) for index, _ in rows), strict=True))


def category(tag: str) -> str:
    """Return what `tag` is about: one of `CATEGORIES`, or `MUSIC`; ``"other"`` for a tag that no one knows.

    Case, hyphens and underscores do not matter.
    """
    return _table().get(folded(tag), ("other", tag))[0]


def concept(tag: str) -> str:
    """Return the plain word that `tag` shares with tags of its meaning; an unknown tag is its own.

    Case, hyphens and underscores do not matter.
    """
    return _table().get(folded(tag), ("other", tag))[1]


def is_known(tag: str) -> bool:
    """Return whether `tag` is one of ours, or the word of a concept: else nobody knows what it is about."""
    return folded(tag) in _table()


def same(tag: str, other: str) -> bool:
    """Return whether two tags have the same name but for case, hyphens and underscores."""
    return folded(tag) == folded(other)


def known_as(tag: str, tags: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the places of `tag` among `tags` under its own name, and those of others of its concept."""
    by_name = [i for i, own in enumerate(tags) if same(own, tag)]
    meaning = concept(tag)
    return by_name, [i for i, own in enumerate(tags) if i not in by_name and concept(own) == meaning]


@cache
def _table() -> dict[str, tuple[str, str]]:
    """Return category and concept of every tag and of every concept's own word, by folded name."""
    return _parse(_text("tags.csv"), "tags.csv")


def _parse(text: str, file: str) -> dict[str, tuple[str, str]]:
    rows = _rows(text, file, ("tag", "category", "concept"))
    _once([tag for tag, _, _ in rows], file)
    found: dict[str, tuple[str, str]] = {}
    about: dict[str, str] = {}
    for tag, kind, meaning in rows:
        if kind not in (*CATEGORIES, MUSIC):
            raise ConfigError(f"{file}: {tag!r} has the category {kind!r}: there are {CATEGORIES}.")
        if found.setdefault(folded(tag), (kind, meaning)) != (kind, meaning):
            raise ConfigError(f"{file}: {tag!r} stands there twice, with other words beside it.")
        if about.setdefault(meaning, kind) != kind:
            raise ConfigError(f"{file}: the concept {meaning!r} is {about[meaning]} and {kind}: choose one.")
    for meaning, kind in about.items():  # a word such as "relaxing" need be no tag of any vocabulary
        if found.setdefault(folded(meaning), (kind, meaning)) != (kind, meaning):
            raise ConfigError(
                f"{file}: the concept {meaning!r} is also a tag, of another concept: rename one."
            )
    return found


def folded(tag: str) -> str:
    """Return the name by which tags are compared: small letters, spaces for hyphens and underscores."""
    return " ".join(tag.casefold().replace("-", " ").replace("_", " ").split())


def _text(file: str) -> str:
    return resources.files(__name__).joinpath(file).read_text(encoding="utf-8")


def _tags(text: str, file: str) -> tuple[str, ...]:
    return _once(text.splitlines(), file)


def _rows(text: str, file: str, columns: Sequence[str]) -> list[list[str]]:
    header, *rows = csv.reader(io.StringIO(text))
    if header != list(columns) or any(len(row) != len(columns) for row in rows):
        raise ConfigError(f"{file}: wanted is a table with the columns {', '.join(columns)} in every row.")
    return rows


def _once(tags: Sequence[str], file: str) -> tuple[str, ...]:
    twice = sorted({tag for tag in tags if tags.count(tag) > 1})
    if twice:
        raise ConfigError(f"{file}: each tag may stand once; {', '.join(twice)} stands more often.")
    return tuple(tags)
