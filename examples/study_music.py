"""Write the tables of the study on real music: what is trained on, what is held out, what it is measured by.

It takes a folder with ``music-free`` (clips to train on, ``tracks.csv`` with path and group) and ``music``
(clips to measure on: ``genres.csv``, ``human_tags.csv``, ``tracks.csv``)::

    python examples/study_music.py ../shared study-music

It writes ``music.csv`` (path, group, split) for ``lightmel study scores``, and ``human.csv`` and
``genres.csv`` (path and tags) for ``lightmel study run --test``. Paths are relative to the tables.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def read(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(table: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table."""
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *rows])


def make(shared: Path, out: Path) -> None:
    """Write the three tables."""
    out.mkdir(parents=True, exist_ok=True)

    def place(folder: str, path: str) -> str:
        return Path(os.path.relpath(shared / folder / path, out)).as_posix()

    genres = read(shared / "music" / "genres.csv")
    measured = {row["path"] for row in genres}
    rows = [
        (place("music-free", row["path"]), row["group"], "train")
        for row in read(shared / "music-free" / "tracks.csv")
    ]
    rows += [
        (place("music", row["path"]), row["group"], "test")
        for row in read(shared / "music" / "tracks.csv")
        if row["path"] in measured
    ]
    write(out / "music.csv", ("path", "group", "split"), rows)
    write(out / "genres.csv", ("path", "tags"), ((place("music", r["path"]), r["genre"]) for r in genres))
    human = read(shared / "music" / "human_tags.csv")
    tags = [name for name in human[0] if name not in ("path", "n_clips", "folders", "relation")]
    write(
        out / "human.csv",
        ("path", *tags),
        (
            (place("music", row["path"]), *(row[tag] for tag in tags))
            for row in human
            if row["path"] in measured
        ),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shared", type=Path, help="the folder with music-free and music")
    parser.add_argument("out", type=Path, help="where the tables go")
    given = parser.parse_args(arguments)
    make(given.shared, given.out)
    print(f"{given.out}: music.csv, genres.csv, human.csv")


if __name__ == "__main__":
    main()
