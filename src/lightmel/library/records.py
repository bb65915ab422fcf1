"""From lines of tags to what is to stand in the fields of each file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..errors import ConfigError, DataError
from ..inference import Tagging
from ..vocabularies import is_known
from . import mapping as mappings
from .config import WriteConfig
from .fields import GENRE, MOOD, Values

Records: TypeAlias = str | os.PathLike[str] | Iterable[Mapping[str, Any]]
"""A file of JSON lines, as `lightmel tag --json` writes them, or such lines as dictionaries."""


@dataclass(frozen=True)
class Wanted:
    """What is to stand in the fields of a file.

    Attributes
    ----------
    fields
        Texts for ``"genre"`` and ``"mood"``, where there are any.
    scores
        For each of these, the texts of the field of ours beside it: ``jazz=0.49``.
    model
        Name and version of the tagger.
    why_not
        Why there is nothing to write: ``"speech"``, say; else empty.
    unplaced
        Tags that hold, and of which nobody says whether they are a genre or a mood.
    noted
        Whether the record says what the file was like when it was tagged.
    """

    fields: Values
    scores: Values
    model: str
    why_not: str = ""
    unplaced: tuple[str, ...] = ()
    noted: bool = False


def read_records(
    records: Records, config: WriteConfig, mapping: mappings.Mapping | None = None
) -> dict[str, Wanted]:
    """Return what the fields of each file are to be; of several lines for one file the last one counts.

    Raises
    ------
    DataError
        If a line is no tagging and no failure; the message names it.
    ConfigError
        If a tagger has no thresholds, and `WriteConfig.above` sets none either.
    """
    mapping = mapping or mappings.Mapping()
    wanted: dict[str, Wanted] = {}
    for line in read_lines(records):
        if line.path is None:  # the mean of files that have lines of their own
            continue
        wanted.pop(line.path, None)
        if line.tagging is None:
            wanted[line.path] = Wanted({}, {}, "", "it could not be tagged")
            continue
        wanted[line.path] = replace(
            _wanted(line.tagging, config, mapping), noted=isinstance(line.record.get("file"), dict)
        )
    return wanted


def _wanted(tagging: Tagging, config: WriteConfig, mapping: mappings.Mapping) -> Wanted:
    model = f"{tagging.model} {tagging.version}".strip()
    if tagging.is_music is False:
        return Wanted({}, {}, model, tagging.sound)
    if not (tagging.thresholds or config.above):
        raise ConfigError(
            f"{tagging.model} has no thresholds of its own, which would tell what holds: say from which "
            "score on, with --above 0.3 for example."
        )
    found = tagging.by_category(len(tagging.tags), None if tagging.thresholds else config.above)
    others = {
        tag: score for tag, score in found.get("other", ()) if score >= config.above and not is_known(tag)
    }
    unplaced = tuple(tag for tag in others if not mapping.mentions(tag))
    fields: Values = {}
    scores: Values = {}
    for what, most in ((GENRE, config.genres), (MOOD, config.moods)):
        names: dict[str, None] = {}
        own = []
        placed = [(tag, score) for tag, score in others.items() if what in mapping.places(tag)]
        ranked = found.get(what, ())
        if placed:
            ranked = tuple(sorted([*ranked, *placed], key=lambda pair: -pair[1]))
        for tag, score in ranked:
            new = [name for name in mapping(what, tag) if name not in names][: most - len(names)]
            if new and score >= config.above:
                names.update(dict.fromkeys(new))
                own.append(f"{tag}={score:.2f}")
        if names:
            fields[what] = tuple(names)
            scores[what] = tuple(own)
    why = ""
    if not fields:
        if found.get(GENRE) or found.get(MOOD) or len(unplaced) < len(others):
            why = "the mapping or the limits leave nothing"
        elif unplaced:
            why = "of its tags nobody says whether they are genres or moods"
        else:
            why = "no genre and no mood reaches its threshold"
    return Wanted(fields, scores, model, why, unplaced)


class Line(NamedTuple):
    """A line of `lightmel tag`, of which what it says has been looked at.

    Attributes
    ----------
    where
        The words for where it is.
    path
        Of its file; None for an album.
    record
        The line itself.
    tagging
        Its tags; None for a file that could not be tagged.
    """

    where: str
    path: str | None
    record: Mapping[str, Any]
    tagging: Tagging | None


def read_lines(records: Records) -> Iterator[Line]:
    """Yield the lines of files and albums.

    Raises
    ------
    DataError
        If one is no tagging and no failure; the message names it.
    """
    for where, record in _documents(records):
        path = record.get("path")
        is_album = path is None and "album" in record
        if not is_album and (not isinstance(path, str) or not path):
            raise no_line(where, f"its path is a text of a letter or more, not {path!r}")
        if not is_album and "error" in record:
            error = record["error"]
            if not isinstance(error, Mapping) or not isinstance(error.get("message"), str):
                raise no_line(where, f"its error has a message, which is a text, not {error!r:.200}")
            yield Line(where, path, record, None)
            continue
        try:
            tagging = Tagging.from_dict(record)
        except DataError as error:
            raise no_line(where, str(error).rstrip(".")) from None
        yield Line(where, path, record, tagging)


def no_line(where: str, why: str) -> DataError:
    """Return the error for a line that says something else than ours do."""
    return DataError(f"{where} is no line of `lightmel tag`: {why}.")


def _documents(records: Records) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the records as they are, each with the words for where it is."""
    if not isinstance(records, (str, os.PathLike)):
        for number, record in enumerate(records, 1):
            if not isinstance(record, Mapping):
                raise DataError(f"Record {number} is no dictionary, but {type(record).__name__}.")
            yield f"Record {number}", record
        return
    path = Path(records)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    if not line.endswith(b"\n"):  # whoever writes it has not finished, or was killed
                        return
                    raise DataError(f"{where} is no JSON: {_WANTED}") from None
                if not isinstance(record, dict):
                    raise DataError(f"{where} is no JSON object: {_WANTED}")
                yield where, record
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None


_WANTED = "lines of `lightmel tag --json` are wanted."
