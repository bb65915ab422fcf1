"""What our tags are called in a file: a table from tags to the user's own genre and mood names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from .._files import is_file
from ..errors import ConfigError, nearest
from ..vocabularies import VOCABULARIES, category, concept, folded, is_known, read
from .fields import GENRE, MOOD

MAPPINGS = ("beets", "id3")
"""Those that come along: beets' genre tree, and the genres of ID3v1."""

_OWN = "own"
"""The table of tags that are not ours."""
_SEPARATORS = ";\0\n\r"


@dataclass(frozen=True)
class Mapping:
    """Names for our tags.

    Attributes
    ----------
    names
        For ``"genre"`` and ``"mood"``: for each concept (`lightmel.vocabularies.concept`) its names in files,
        in order; none where it is to be left out. What is not there keeps its own name.
    own
        The same for tags of which we do not know what they are about; what is not there is neither.
    """

    names: Table[str, Table[str, tuple[str, ...]]] = field(default_factory=dict)
    own: Table[str, Table[str, tuple[str, ...]]] = field(default_factory=dict)

    def __call__(self, what: str, tag: str) -> tuple[str, ...]:
        """Return the names of a concept that is a genre or a mood."""
        return self.own.get(what, {}).get(folded(tag)) or self.names.get(what, {}).get(tag, (tag,))

    def places(self, tag: str) -> tuple[str, ...]:
        """Return what a tag is that we do not know: ``"genre"``, ``"mood"``, both or neither."""
        return tuple(what for what, names in self.own.items() if names.get(folded(tag)))

    def mentions(self, tag: str) -> bool:
        """Return whether it says anything of a tag that we do not know, if only that it is left out."""
        return any(folded(tag) in names for names in self.own.values())


def load_mapping(which: str | os.PathLike[str]) -> Mapping:
    """Read a mapping: one of `MAPPINGS`, or a file of TOML.

    The file has tables ``[genre]`` and ``[mood]``. In each, a tag of ours has a name, a list of names, or
    ``""`` where it is to be left out; tags that are not there keep their own names. Tables ``[own.genre]``
    and ``[own.mood]`` do the same for tags that are not ours, such as those of a fine-tuned tagger, and say
    thereby what they are.

    Raises
    ------
    ConfigError
        If there is no such file, it is no such TOML, or it names a tag or a table that there is not; the
        message has the nearest one.
    """
    if which in MAPPINGS:
        text = resources.files(__package__).joinpath("mappings", f"{which}.toml").read_text("utf-8")
        return _parse(text, f"{which}.toml")
    path = Path(which)
    if not is_file(path):
        known = " and ".join(MAPPINGS)
        raise ConfigError(
            f"There is no mapping {os.fspath(which)!r}: {known} come along, and any other is a file of TOML."
            f"{nearest(os.fspath(which), MAPPINGS)}"
        )
    try:
        return _parse(path.read_text("utf-8-sig"), os.fspath(which))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no mapping: its text is not UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from None


def _parse(text: str, file: str) -> Mapping:
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is not TOML: {error}.") from None
    names: dict[str, dict[str, tuple[str, ...]]] = {}
    own_names = _parse_own(tables.pop(_OWN, {}), file)
    for what, table in tables.items():
        if what not in (GENRE, MOOD) or not isinstance(table, dict):
            raise ConfigError(
                f"{file}: {what!r} is none of the tables of a mapping, [genre], [mood], [own.genre] and "
                f"[own.mood].{nearest(what, (GENRE, MOOD))}"
            )
        names[what] = {}
        for tag, own in table.items():
            known = _known(what)
            meaning = concept(tag)
            if folded(tag) not in known:
                raise ConfigError(
                    f"{file}: [{what}] has {tag!r}, which is no {what} of ours.{nearest(folded(tag), known)}"
                    f"{'' if is_known(tag) else f' A tag of your own stands in [{_OWN}.{what}].'}"
                )
            if meaning in names[what]:
                raise ConfigError(f"{file}: [{what}] has {meaning!r} twice, the second time as {tag!r}.")
            names[what][meaning] = _names(own, f"{file}: [{what}] {tag!r}")
    return Mapping(names, own_names)


def _parse_own(tables: Any, file: str) -> dict[str, dict[str, tuple[str, ...]]]:
    names: dict[str, dict[str, tuple[str, ...]]] = {}
    for what, table in tables.items() if isinstance(tables, dict) else [("", None)]:
        if what not in (GENRE, MOOD) or not isinstance(table, dict):
            raise ConfigError(
                f"{file}: {_OWN!r} has the tables [{_OWN}.genre] and [{_OWN}.mood], nothing else."
            )
        names[what] = {}
        for tag, own in table.items():
            if is_known(tag):
                raise ConfigError(
                    f"{file}: [{_OWN}.{what}] has {tag!r}, which is a tag of ours ({category(tag)}): only "
                    "others can be placed."
                )
            names[what][folded(tag)] = _names(own, f"{file}: [{_OWN}.{what}] {tag!r}")
    return names


def _known(what: str) -> list[str]:
    """Return all our tags of a category, and the concepts that they are."""
    tags = [tag for name in VOCABULARIES for tag in read(name) if category(tag) == what]
    return list(dict.fromkeys(folded(word) for tag in tags for word in (concept(tag), tag)))


def _names(own: object, where: str) -> tuple[str, ...]:
    names: list[str] = []
    for name in own if isinstance(own, list) else [own]:
        if not isinstance(name, str):
            raise ConfigError(f'{where} is a name, a list of names, or "" to leave it out, not {own!r}.')
        if any(sign in name for sign in _SEPARATORS):
            raise ConfigError(f"{where}: {name!r} is more than one name: several stand in a list.")
        names.append(name.strip())
    return tuple(dict.fromkeys(name for name in names if name))
