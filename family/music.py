"""The music that the family is trained on: what the ledger allows, and phrases of single instruments.

    python family/music.py --shared ../shared --work WORK

writes ``WORK/music.csv`` (path, group), which `family/train.py` takes. Half of the groups of what is no music
is left out of it and named in ``WORK/held-out.txt``, so that the family can be evaluated on them.

``WORK/music-all.csv`` holds clips that are not free as well, all but those that the family is measured on: a
tagger that learns from it is for comparison only, and shows what freedom costs.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ledger import Row, Track, read_ledger
from lightmel.datasets import Rows, hold_out
from lightmel.errors import DataError
from phrases import write_phrases

PHRASES = 12
"""Of each instrument."""
NOTES, NOT_MUSIC = "instruments/", "not-music/"
"""Where in the shared data single notes lie, and what is no music."""
HELD_OUT = 0.5
"""Share of the groups of what is no music."""


def held_out_not_music(tracks: Sequence[Track | Row]) -> set[str]:
    """Return those groups of what is no music, among clips of the ledger, that nobody is trained on."""
    return set(hold_out([t.group for t in tracks if t.path.startswith(NOT_MUSIC)], HELD_OUT, 0))


def is_held_out(track: Track | Row, held: set[str]) -> bool:
    """Return whether a clip is of one of these groups."""
    return track.path.startswith(NOT_MUSIC) and track.group in held


def not_free(shared: Path) -> list[tuple[Path, str]]:
    """Return path and group of the clips of music that are not free, without those of measured groups."""
    table = Rows(shared / "music" / "tracks.csv")
    measured = set(Rows(shared / "music" / "genres.csv").column("path"))
    rows = list(zip(*(table.column(name) for name in ("path", "group", "nc")), strict=True))
    kept_back = {group for path, group, _ in rows if path in measured}
    return [
        (shared / "music" / path, group)
        for path, group, nc in rows
        if nc == "1" and group not in kept_back and not path.startswith("full/")
    ]


def collect(shared: Path, work: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """Return path and group of each clip to train on, phrases included, and the held-out groups."""
    tracks = read_ledger()
    held = held_out_not_music(tracks)
    found, notes = [], []
    for track in tracks:
        path = shared / track.path
        if not path.is_file():
            raise DataError(f"The ledger names {track.path}, and there is no such file in {shared}.")
        if track.path.startswith(NOTES):
            notes.append((path, path.parent.name))
        elif not is_held_out(track, held):
            found.append((path, track.group))
    found += write_phrases(notes, work / "phrases", PHRASES, np.random.default_rng(0))
    return found, sorted(held)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    found, held = collect(given.shared.resolve(), given.work.resolve())
    for name, rows in (("music.csv", found), ("music-all.csv", found + not_free(given.shared.resolve()))):
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([("path", "group"), *((str(path), group) for path, group in rows)])
        (given.work / name).write_text(table.getvalue(), encoding="utf-8")
    (given.work / "held-out.txt").write_text("".join(f"{g}\n" for g in held), encoding="utf-8")
    print(f"{len(found)} clips to train on, {len(held)} groups of what is no music held out")


if __name__ == "__main__":
    main()
