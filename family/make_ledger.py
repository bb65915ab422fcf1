"""Write the ledger of the music that the family is trained on, or check the one that is there.

One row a clip of ``music`` (rows with ``nc`` = 0), ``music-free``, ``not-music`` and ``instruments``: title,
artist, licence and where it is stated, origin, group, whether it is trained on, and why not. Where a table
says "per file", the licence is read from that Debian package, which is fetched (3 GB in all; a few texts of
it are kept)::

    python family/make_ledger.py --cache ledger_cache
    python family/make_ledger.py --check

Both read ``../shared`` beside the checkout, or the folder that ``--shared`` names. The same tables and
packages give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from ledger import LEDGER, LICENSES, OPEN, Row, parts, permitted, read_licenses, read_rows
from lightmel.datasets import Rows
from lightmel.errors import DataError, LightmelError, nearest
from packages import Package

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared"
SUMMARY = HERE / "LEDGER.md"
PLAN = HERE / "statements.toml"
TABLES = {
    "music": "tracks.csv",
    "music-free": "tracks.csv",
    "not-music": "tracks.csv",
    "instruments": "notes.csv",
}
PER_FILE = re.compile(r"\(per file: copyright file of (\S+)\)")
DEBIAN = re.compile(r"Debian (?P<package>\S+) (?P<version>\S+): /?(?P<path>.*)")

INTRODUCTION = """\
Written by `python family/make_ledger.py` from the tables of the folder of shared data and from the Debian
packages they name; do not edit. One row a clip is in `ledger.csv`: title, artist, the holder named by the
statement of the licence, licence, where it is stated, origin, group. `licenses.csv` says what each licence
allows; only what allows commercial use and changes is trained on. Licences are quoted as the sources state
them; this is no legal opinion.

Not in the ledger at all: the clips of `music` with `nc` = 1, and its four full-length tracks, of which the
clips are in it."""
REACH = """\
How far the statement reaches that covers a clip: a paragraph or entry that names the file or its folder, or
one for the whole package, whose holder need not be the file's author. The last matching paragraph of a
copyright file holds, as its specification says; a list or a licence text beside the music comes before it."""
ATTRIBUTION = """\
These people made the music. Every clip was cut, mixed to one channel, resampled to 16 kHz and encoded anew.
Titles and origins are in `ledger.csv`; in brackets whom the statement of the licence names, where that is
another name."""


def cells(shared: Path, folder: str) -> list[dict[str, str]]:
    """Return the rows of a folder's table that are clips under a licence that may be free.

    Of ``music`` these are the rows with ``nc`` = 0 without the four full-length tracks: those are for
    benchmarks of speed, and the clips cut from them are in the table.
    """
    table = Rows(shared / folder / TABLES[folder])
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    return [row for row in rows if row.get("nc", "0") == "0" and row.get("kind") != "full"]


def unfree_groups(shared: Path) -> set[str]:
    """Return the groups of ``music`` with a clip that is never trained on."""
    table = Rows(shared / "music" / TABLES["music"])
    return {group for group, nc in zip(table.column("group"), table.column("nc"), strict=True) if nc == "1"}


def spdx(words: str, plan: Mapping[str, Any], where: str) -> str:
    """Return the SPDX expression of a licence as a source spells it; a DataError if it is not known."""
    known = read_licenses()
    if words in plan["spelling"]:
        return str(plan["spelling"][words])
    if all(key in known for alternative in parts(words) for key in alternative):
        return words
    raise DataError(
        f"{where}: no licence is known as {words!r}.{nearest(words, plan['spelling'])} Add it to {PLAN.name}."
    )


def by_table(cell: str, where: str, plan: Mapping[str, Any]) -> tuple[str, str]:
    """Return licence and place of its statement from a cell such as ``CC BY 3.0 (README.md)``."""
    if cell in plan["whole"]:
        return plan["whole"][cell], cell
    license = spdx(re.split(r" \(|;", cell)[0].strip(), plan, where)
    place = re.fullmatch(r"[^(]* \((.*)\)", cell)
    folder = where.partition("/")[0]
    return license, place[1] if place else f"{folder}/{TABLES[folder]}: {cell}"


def by_package(
    row: Mapping[str, str], packages: Mapping[str, Package], plan: Mapping[str, Any]
) -> dict[str, str]:
    """Return what a Debian package says about the file that a clip was cut from."""
    origin = DEBIAN.fullmatch(row["origin"])
    if origin is None:
        raise DataError(f"{row['path']}: its origin {row['origin']!r} names no file of a Debian package.")
    package, path = packages[origin["package"]], origin["path"]
    title, artist = package.authors.get(path, ("", ""))
    found = {"title": row["title"] or title, "artist": row["artist"] or artist}
    statement, refusal = package.statement(path), package.refusal(path, row["title"])
    if statement is None:
        return {**found, "license": OPEN, "reason": "no statement in the package covers the file"}
    found |= {"holder": statement.holder, "stated": statement.stated}
    if refusal:
        return {**found, "license": OPEN, "reason": f"licence open: {refusal}"}
    return {**found, "license": spdx(statement.license, plan, statement.stated)}


def note(row: Mapping[str, str], plan: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a note of an instrument, which has no title, artist and group of its own."""
    source = row["source"]
    holder = next((who for key, who in plan["instruments"].items() if source.startswith(key)), None)
    if holder is None:
        raise DataError(
            f"{PLAN.name} does not say whose the notes of {source} are. Add it under [instruments]."
        )
    pitch = f", MIDI note {row['pitch']}" if row["pitch"] else ""
    return {
        "title": row["instrument"].replace("_", " ") + pitch,
        "artist": holder,
        "group": f"notes/{source}",
    }


def rows(shared: Path, cache: Path) -> Iterator[Row]:
    """Yield a row of the ledger for each clip, in any order."""
    plan = tomllib.loads(PLAN.read_text(encoding="utf-8"))
    licenses, unfree = read_licenses(), unfree_groups(shared)
    packages = dict(wanted(shared, plan, cache))
    for folder in TABLES:
        for row in cells(shared, folder):
            where = f"{folder}/{row['path']}"
            own = {k: row.get(k, "") for k in ("title", "artist", "origin", "group")}
            own |= {"path": where, "holder": "", "reason": ""}
            own |= note(row, plan) if folder == "instruments" else {}
            if PER_FILE.search(row["licence"]):
                own |= {"license": OPEN, "stated": "", **by_package(row, packages, plan)}
            else:
                own["license"], own["stated"] = by_table(row["licence"], where, plan)
            if own["group"] in unfree:
                own["reason"] = f"group {own['group']} also has clips with nc = 1, which are held out"
            elif not own["reason"] and not permitted(own["license"], licenses):
                own["reason"] = "the licence does not allow commercial use and changes"
            yield Row(**own, used="refused" if own["reason"] else "train")


def wanted(shared: Path, plan: Mapping[str, Any], cache: Path) -> Iterator[tuple[str, Package]]:
    """Yield each package that a table sends to, read from the cache or fetched."""
    versions: dict[str, str] = {}
    for row in (row for folder in TABLES for row in cells(shared, folder)):
        sent, origin = PER_FILE.search(row["licence"]), DEBIAN.fullmatch(row["origin"])
        if sent and origin:
            versions[sent[1]] = origin["version"]
    for name, version in sorted(versions.items()):
        if name not in plan["package"]:
            raise DataError(
                f"{PLAN.name} has no package {name}. Read where it states its licences, and add it."
            )
        yield name, Package(name, plan["package"][name], version, cache)


def as_csv(ledger: Iterable[Row]) -> str:
    """Return the ledger as CSV, sorted by path."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(sorted(ledger))
    return out.getvalue()


def summary(ledger: Iterable[Row]) -> str:
    """Return ``LEDGER.md``: counts by table, licence and package, what is refused, and whom to name."""
    ledger = sorted(ledger)
    licenses = read_licenses()
    free = [r for r in ledger if r.used == "train"]
    kinds = sorted({r.path.split("/")[0] for r in ledger})
    by = {use: Counter(r.path.split("/")[0] for r in ledger if r.used == use) for use in ("train", "refused")}
    names = Counter(r.license for r in free)
    text = [
        "# The music that the family is trained on",
        INTRODUCTION,
        f"**{len(free)} clips are trained on, {len(ledger) - len(free)} are refused**, in "
        f"{len({r.group for r in free})} groups.",
        _table(
            ("folder", "trained on", "refused"),
            [(k, by["train"][k], by["refused"][k]) for k in kinds],
        ),
        "## By licence",
        _table(
            ("licence", "name", "clips"),
            [(k, _names(k, licenses), n) for k, n in sorted(names.items(), key=lambda i: (-i[1], i[0]))],
        ),
        "## Packages read file by file",
        REACH,
        _table(("package", "named", "whole package", "refused"), list(_packages(ledger))),
        "## Refused",
        _table(("clip", "reason"), [(r.path, r.reason) for r in ledger if r.used == "refused"]),
        "## Attribution",
        ATTRIBUTION,
        *(
            f"**{k}**: {_people(r for r in free if r.license == k)}."
            for k in sorted(names)
            if any(licenses[one].attribution for alternative in parts(k) for one in alternative)
        ),
    ]
    return "\n\n".join(text) + "\n"


def _table(header: tuple[str, ...], body: Iterable[tuple[object, ...]]) -> str:
    lines = [header, ("---",) * len(header), *body]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def _names(expression: str, licenses: Mapping[str, Any]) -> str:
    return ", or ".join(" and ".join(licenses[key].name for key in a) for a in parts(expression))


def _packages(ledger: Iterable[Row]) -> Iterator[tuple[object, ...]]:
    """Yield counts of each package whose statements were read, which `stated` begins with."""
    read = [(m[1], r) for r in ledger if (m := re.match(r"(\S+ \S+): usr/share/", r.stated))]
    for package, group in groupby(sorted(read), key=lambda pair: pair[0]):
        of = [row for _, row in group]
        whole = sum(r.used == "train" and r.stated.endswith("(whole package)") for r in of)
        refused = sum(r.used == "refused" for r in of)
        yield package, len(of) - whole - refused, whole, refused


def _people(ledger: Iterable[Row]) -> str:
    people: Counter[str] = Counter()
    for row in ledger:
        names = (
            [row.artist, row.holder]
            if not row.stated.endswith("(whole package)")
            else [row.artist or row.holder]
        )
        first, *more = list(dict.fromkeys(name for name in names if name)) or ["author not named"]
        people[first + "".join(f" ({name})" for name in more)] += 1
    return ", ".join(f"{who} {n}" for who, n in sorted(people.items()))


def check(shared: Path, file: Path = LEDGER, summary_file: Path = SUMMARY) -> str:
    """Return what was checked of a ledger and its summary against the tables.

    Raises
    ------
    DataError
        If a clip has no licence or one that does not allow the use, if ledger and tables do not have the same
        clips, if a clip or a group that is held out is trained on, or if the summary is another ledger's.
    """
    ledger = read_rows(file)
    there = {f"{folder}/{row['path']}" for folder in TABLES for row in cells(shared, folder)}
    if wrong := sorted(there ^ {row.path for row in ledger}):
        raise DataError(
            f"{file} and the tables differ in {wrong[0]} and {len(wrong) - 1} more. Make it anew."
        )
    unfree = unfree_groups(shared)
    if held := [row.path for row in ledger if row.used == "train" and row.group in unfree]:
        raise DataError(f"{file}: {held[0]} is of a group that is held out. Make it anew.")
    if summary_file.read_text(encoding="utf-8") != summary(ledger):
        raise DataError(f"{summary_file} is not the summary of {file}. Make both anew.")
    free = sum(row.used == "train" for row in ledger)
    return f"{len(ledger)} clips, {free} trained on, each under a licence of {LICENSES.name} that allows it."


def main() -> None:
    """Write the ledger and its summary, or check them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shared", type=Path, default=SHARED, help="folder of music, music-free and the others"
    )
    parser.add_argument("--cache", type=Path, help="folder that keeps the texts of the Debian packages")
    parser.add_argument("--check", action="store_true", help="check the ledger that is there, write nothing")
    options = parser.parse_args()
    if not options.check and options.cache is None:
        parser.error("say with --cache where the texts of the Debian packages go, or --check")
    try:
        if not options.check:
            made = list(rows(options.shared, options.cache.resolve()))
            LEDGER.write_text(as_csv(made), encoding="utf-8")
            SUMMARY.write_text(summary(made), encoding="utf-8")
        print(check(options.shared))
    except LightmelError as error:
        raise SystemExit(f"make_ledger: {error}") from error


if __name__ == "__main__":
    main()
