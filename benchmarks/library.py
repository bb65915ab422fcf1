"""What a run over a large library costs beside the tagging: memory, and the start of a second run.

    python benchmarks/library.py [--files 10000 100000] [--folder FOLDER]

Files are of a few bytes, and the tagger is one that answers at once, with the record of the sample: all that
is measured is the search, the comparison with what is known, and the output. Each run is a process of its
own; memory is the most that it had resident, and the part of the package's import is shown by a run over ten
files. The output has the size of a real one, 14 kB a file: keep 2 GB free for 100,000 files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightmel
from lightmel import hub, sample
from lightmel.library import Counts, tag_folder, tagging_record
from lightmel.library import folder as folder_runs
from lightmel.library.worker import describe
from lightmel.workers import Handler

A_FOLDER = 12
"""Files of an album."""


def serve(settings: Mapping[str, Any]) -> Handler:
    """Answer with the record of the sample, whatever the file is."""
    record = json.loads(Path(settings["model"]).with_name("record.json").read_text())

    def answer(path: str) -> tuple[dict[str, Any], bytes]:
        noted = describe(path, settings["digest"], sha256=False)
        return {"record": {"path": path, "file": noted, **record}, "embedding": 0}, b""

    return answer


def make(folder: Path, count: int) -> None:
    """Make a library of small files, and what the tagger answers."""
    record = tagging_record("", lightmel.tag(sample.path()))
    del record["path"]
    (folder / "record.json").write_text(json.dumps(record))
    shutil.copy(str(hub.packaged("default")), folder / "tagger.safetensors")
    for number in range(count):
        album = folder / "music" / f"Artist {number // A_FOLDER // 8}" / f"Album {number // A_FOLDER}"
        if number % A_FOLDER == 0:
            album.mkdir(parents=True)
        (album / f"{number % A_FOLDER + 1:02} A song of some length.mp3").write_bytes(b"sound")


def measure(folder: Path, what: str) -> dict[str, Any]:
    """Run in a process of its own, and return seconds, memory and counts."""
    done = subprocess.run(
        [sys.executable, __file__, "--run", what, "--folder", str(folder)], capture_output=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(folder: Path, what: str) -> None:
    """Make one run, and print what it took."""
    import resource

    folder_runs._WORK = f"{Path(__file__).stem}:serve"
    start = time.perf_counter()
    first: list[float] = []
    counts: Counts = tag_folder(
        folder / "music",
        folder / "tags.jsonl",
        model=str(folder / "tagger.safetensors"),
        jobs=0,
        by="folder" if what == "albums" else None,
        on_file=lambda file: first.append(time.perf_counter() - start) if not first else None,
    )
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "start": first[0],
                "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
                "counts": [counts.tagged, counts.skipped],
            }
        )
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[10, 10_000, 100_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.folder, options.run)
        return
    print(f"{'files':>8} {'run':24} {'start, s':>9} {'all, s':>8} {'MB':>6}")
    for count in options.files:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            make(Path(name), count)
            for what, title in (
                ("first", "first, all are new"),
                ("second", "second, nothing is new"),
                ("albums", "with albums"),
                ("again", "again, with albums there"),
            ):
                if what == "again":
                    what = "albums"
                took = measure(Path(name), what)
                print(
                    f"{count:8,} {title:24} {took['start']:9.2f} {took['seconds']:8.2f} {took['MB']:6.0f}",
                    flush=True,
                )
            print(f"{'':8} output: {(Path(name) / 'tags.jsonl').stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
