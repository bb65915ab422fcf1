"""Finish what `family/train.py` trained: chances, thresholds, and the file that is shipped.

    python family/finish.py --work WORK --shared ../shared

Each ``WORK/weights/NAME.safetensors`` is calibrated on music that it was not trained on, the clips that
`family/quality.py` measures on, and written to ``src/lightmel/pretrained``; what learnt from music that is
not free goes to ``WORK/compared``. What is told from music are the groups of ``WORK/held-out.txt``. Files
that are there already are left as they are.
"""

from __future__ import annotations

import argparse
import csv
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from lightmel.checkpoint import read_description
from lightmel.datasets import Rows, Track
from lightmel.evaluation import CalibrationConfig, calibrate
from lightmel.inference import Tagger, load
from train import FILES, PACKAGE, PRECISION, teacher, weights

SOME = 6
"""Of so many clips one is scored twice, to see what float16 does."""


def tracks_of(folder: Path, wanted: set[str] | None = None) -> list[Track]:
    """Return the clips of a shared folder, or those of them whose paths are `wanted`, with their groups."""
    table = Rows(folder / "tracks.csv")
    pairs = zip(table.column("path"), table.column("group"), strict=True)
    return [Track(folder / path, group) for path, group in pairs if wanted is None or path in wanted]


def write_table(file: Path, tracks: list[Track]) -> Path:
    """Write a table of path and group, and return it."""
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(
            [("path", "group"), *((str(track.path), track.group) for track in tracks)]
        )
    return file


def rounding(tagger: Tagger, stored: Path, tracks: list[Track]) -> float:
    """Return by how much the score of a segment of these clips differs at most in a stored file."""
    half = load(stored)
    return max(
        float(np.abs(half.taggram(t.path).scores - tagger.taggram(t.path).scores).max()) for t in tracks
    )


def main() -> None:
    """Calibrate what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=PACKAGE)
    parser.add_argument("--only", default="*", help="a pattern of names")
    given = parser.parse_args()
    shared, work = given.shared.resolve(), given.work.resolve()
    music = tracks_of(shared / "music", set(Rows(shared / "music" / "genres.csv").column("path")))
    held = set((work / "held-out.txt").read_text(encoding="utf-8").splitlines())
    table = Rows(shared / "not-music" / "tracks.csv")
    spoken = {
        path
        for path, kind in zip(table.column("path"), table.column("kind"), strict=True)
        if "speech" in kind
    }
    noise = [t for t in tracks_of(shared / "not-music") if t.group in held]
    speech = [t for t in tracks_of(shared / "not-music", spoken) if t.group in held]
    teachers = [teacher(name, shared, PRECISION) for name in FILES]
    for path in sorted(weights(work).glob("*.safetensors")):
        out = given.out if path.stem.startswith("lightmel-") else work / "compared"
        if not fnmatch(path.stem, given.only) or (out / path.name).exists():
            continue
        out.mkdir(exist_ok=True)
        found = calibrate(
            path,
            music,
            shared / "music" / "human_tags.csv",
            not_music=[write_table(work / "not-music.csv", noise)],
            speech=[write_table(work / "speech.csv", speech)],
            teachers=teachers,
            config=CalibrationConfig(version=read_description(path).version),
        )
        found.save(out / path.name, "float16")
        print(f"{path.stem}\n{found.calibration.summary()}")
        moved = rounding(found.tagger, out / path.name, music[::SOME])
        print(f"stored as float16: no segment's score moved by more than {moved:.5f}")


if __name__ == "__main__":
    main()
