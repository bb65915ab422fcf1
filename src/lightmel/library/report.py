"""A page about a library: what it is made of, what is uncertain, what failed, and a search over its files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from .._files import at_home, check_target, write_whole
from .._pages import filled
from ..errors import DataError
from ..vocabularies import MUSIC, category, concept
from .records import Line, Records, no_line, read_lines

SECTIONS = {
    "genre": "Genres",
    "mood": "Moods",
    "instrument": "Instruments",
    "voice": "Voices",
    "era": "Eras",
}
"""Categories that have a section, and its title."""
_GENRE = "genre"
_BARS = 15
"""Of a section, before the others are folded away."""
_UNCERTAIN = 25
_FAILURES = 200
_ALBUMS = 100
"""In sight; the others are folded away."""
_WORDS = 3
"""Of a category, for an album."""
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""What must not stand in a script of a page as it is."""


class _Row(NamedTuple):
    """What the page has of a file."""

    seconds: float
    sound: str
    best: dict[str, tuple[str, ...]]
    guess: str
    score: float
    error: str


class _Album(NamedTuple):
    """What the page has of an album."""

    name: str
    artist: str
    folder: str
    files: int
    row: _Row


def write_report(records: Records, html: str | os.PathLike[str], *, title: str = "") -> int:
    """Write one page of HTML about the records of a library, and return of how many files it tells.

    It needs nothing beside it and no network. A file counts for each concept that its record has in a
    category; for the best one alone, where its tagger has no thresholds. The least certain files are the
    music whose best genre has the lowest score. Albums, where the records have any, are a table.

    Parameters
    ----------
    records
        Lines of ``lightmel tag``: a file of them, or as dictionaries. Of several for one file the last one
        counts.
    html
        The page to write.
    title
        Of the page; else the name of the records.

    Raises
    ------
    DataError
        If the records cannot be read, or the page cannot be written.
    """
    target = at_home(html)
    check_target(target, (), DataError)
    is_file = isinstance(records, (str, os.PathLike))
    if is_file and target.exists() and Path(records).exists() and target.samefile(records):  # type: ignore[arg-type]
        raise DataError(f"{target} holds the records: name another file for the page.")
    rows: dict[str, _Row] = {}
    albums: list[_Album] = []
    taggers: Counter[str] = Counter()
    for line in read_lines(records):
        try:
            if line.path is None:
                albums.append(_album(line))
                continue
            rows[line.path] = _row(line)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise no_line(line.where, f"{type(error).__name__}: {error}") from None
        if line.tagging is not None:
            taggers[f"{line.tagging.model} {line.tagging.version}".strip()] += 1
    name = title or (Path(records).name if is_file else "A library")  # type: ignore[arg-type]
    page = _page(name, rows, albums, taggers)
    write_whole(target, page.encode("utf-8", "backslashreplace"), DataError)
    return len(rows)


def _album(line: Line) -> _Album:
    record = line.record
    return _Album(
        str(record["album"]),
        str(record.get("album_artist", "")),
        str(record["folder"]),
        int(record["files"]),
        _row(line),
    )


def _row(line: Line) -> _Row:
    if (tagging := line.tagging) is None:
        return _Row(0.0, "", {}, "", 0.0, line.record["error"]["message"])
    few = None if tagging.thresholds else 1
    best: dict[str, tuple[str, ...]] = {}
    categories = line.record.get("categories", {})
    if not isinstance(categories, Mapping):
        raise TypeError(f"categories are words and scores by their names, not {categories!r:.200}")
    for name, own in categories.items():
        if isinstance(own, str):  # "unknown"
            best[name] = ()
            continue
        if not isinstance(own, Mapping):
            raise TypeError(f"a category is scores by words, not {own!r:.200}")
        ranked = sorted(own, key=lambda word: -own[word]) if few else own
        best[name] = tuple(ranked)[:few]
    guess, score = "", 0.0
    for tag, value in zip(tagging.tags, tagging.scores, strict=True):
        if value > score and _about(tag)[0] == _GENRE:
            guess, score = _about(tag)[1], value
    return _Row(tagging.seconds, tagging.sound, best, guess, score, "")


@cache
def _about(tag: str) -> tuple[str, str]:
    return category(tag), concept(tag)


def _page(name: str, rows: Mapping[str, _Row], albums: Sequence[_Album], taggers: Counter[str]) -> str:
    tagged = {path: row for path, row in rows.items() if not row.error}
    seconds = sum(row.seconds for row in tagged.values())
    failures = {path: row.error for path, row in rows.items() if row.error}
    return filled(
        __package__,
        "report.html",
        title=escape(name),
        files=f"{len(rows):,}",
        hours=f"{seconds / 3600:,.1f}",
        failed=f"{len(failures):,}",
        taggers=escape(", ".join(tagger for tagger, _ in taggers.most_common())) or "nothing",
        sections="\n".join(
            [_section(title, what, tagged) for what, title in SECTIONS.items()] + [_sounds(tagged)]
        ),
        albums=_albums(albums),
        uncertain=_uncertain(tagged),
        failures=_failures(failures),
        data=_data(rows),
    )


def _section(title: str, what: str, rows: Mapping[str, _Row]) -> str:
    files: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    unknown = 0
    for row in rows.values():
        found = row.best.get(what)
        if found is None:
            continue
        unknown += not found
        for word in found:
            files[word] += 1
            seconds[word] += round(row.seconds)
    if not files and not unknown:
        return ""
    most = max(files.values(), default=0)
    bars = [_bar(word, count, seconds[word], most) for word, count in files.most_common()]
    rest = bars[_BARS:]
    folded = f"<details><summary>{len(rest)} more</summary>{''.join(rest)}</details>" if rest else ""
    note = f"<p class='note'>{unknown:,} of {len(rows):,} files: unknown</p>" if unknown else ""
    return f"<section><h2>{title}</h2>{''.join(bars[:_BARS])}{folded}{note}</section>"


def _sounds(rows: Mapping[str, _Row]) -> str:
    """Return a section of what is no music, if there is any."""
    files = Counter(row.sound for row in rows.values())
    if not set(files) - {MUSIC, "unknown"}:
        return ""
    seconds: Counter[str] = Counter()
    for row in rows.values():
        seconds[row.sound] += round(row.seconds)
    most = max(files.values())
    bars = (_bar(word, count, seconds[word], most) for word, count in files.most_common())
    return f"<section><h2>Music or not</h2>{''.join(bars)}</section>"


def _bar(word: str, files: int, seconds: float, most: int) -> str:
    text = escape(word)
    return (
        f"<button class='bar' type='button' data-word=\"{text}\"><span class='word'>{text}</span>"
        f"<span class='track'><span class='fill' style='width:{100 * files / most:.2f}%'></span></span>"
        f"<span class='count'>{files:,}</span><span class='hours'>{seconds / 3600:,.1f} h</span></button>"
    )


def _albums(albums: Sequence[_Album]) -> str:
    """Return a section of the albums, if there are any, by folder."""
    if not albums:
        return ""
    head = (
        "<table><thead><tr><th>Album</th><th>Genres</th><th>Moods</th><th class='number'>Files</th>"
        "<th class='number'>Minutes</th></tr></thead><tbody>"
    )
    rows = [_album_row(album) for album in sorted(albums, key=lambda album: (album.folder, album.name))]
    first, rest = "".join(rows[:_ALBUMS]), "".join(rows[_ALBUMS:])
    more = f"<details><summary>{len(rows) - _ALBUMS:,} more</summary>{head}{rest}</tbody></table></details>"
    title = f"<h2>Albums</h2><p class='note'>{len(rows):,}; the means of their files.</p>"
    return f"<section class='wide'>{title}{head}{first}</tbody></table>{more if rest else ''}</section>"


def _album_row(album: _Album) -> str:
    by = f" <span class='note'>{escape(album.artist)}</span>" if album.artist else ""
    genres, moods = (
        escape(", ".join(album.row.best.get(what, ())[:_WORDS])) or "<span class='note'>unknown</span>"
        for what in (_GENRE, "mood")
    )
    return (
        f"<tr><td>{escape(album.name)}{by}</td><td>{genres}</td><td>{moods}</td>"
        f"<td class='number'>{album.files:,}</td><td class='number'>{album.row.seconds / 60:,.0f}</td></tr>"
    )


def _uncertain(rows: Mapping[str, _Row]) -> str:
    known = [
        (row.score, path, row.guess) for path, row in rows.items() if row.guess and row.sound in _MUSICAL
    ]
    if not known:
        return "<p class='note'>Nothing to rank: no record has scores of genres.</p>"
    cells = (
        f"<tr><td>{_name(path)}</td><td>{escape(guess)}</td><td class='number'>{score:.2f}</td></tr>"
        for score, path, guess in sorted(known)[:_UNCERTAIN]
    )
    return (
        "<table><thead><tr><th>File</th><th>Best guess</th><th class='number'>Score</th></tr></thead>"
        f"<tbody>{''.join(cells)}</tbody></table>"
    )


_MUSICAL = (MUSIC, "unknown")


def _failures(failures: Mapping[str, str]) -> str:
    if not failures:
        return "<p class='note'>None.</p>"
    cells = (
        f"<tr><td>{_name(path)}</td><td>{escape(why)}</td></tr>"
        for path, why in sorted(failures.items())[:_FAILURES]
    )
    more = len(failures) - _FAILURES
    rest = f"<p class='note'>and {more:,} more, which the search finds: failed</p>" if more > 0 else ""
    head = "<thead><tr><th>File</th><th>Why</th></tr></thead>"
    return f"<table>{head}<tbody>{''.join(cells)}</tbody></table>{rest}"


def _name(path: str) -> str:
    return f"<span class='path'>{escape(path)}</span>"


def _data(rows: Mapping[str, _Row]) -> str:
    """Return what the search looks through, as a script of JSON can hold it."""
    words: dict[str, int] = {}
    files = []
    for path, row in sorted(rows.items()):
        own = [word for what in SECTIONS for word in row.best.get(what, ())]
        if row.sound not in ("", *_MUSICAL):
            own.insert(0, row.sound)
        numbers = [words.setdefault(word, len(words)) for word in dict.fromkeys(own)]
        files.append([path, round(row.seconds), numbers, row.error])
    text = json.dumps({"words": list(words), "files": files}, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_UNSAFE)
