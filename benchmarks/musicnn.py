"""musicnn beside lightmel: how long each takes to tag whole tracks.

    python benchmarks/musicnn.py MUSIC --python PYTHON [--rounds 7]

MUSIC is a folder of tracks. PYTHON is the interpreter of an environment that has musicnn 0.1.0, which
lightmel neither needs nor installs; it asks for a NumPy that is older than any TensorFlow that can still be
had, and works with a newer one::

    python -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install --no-deps musicnn==0.1.0
    ENVIRONMENT/bin/pip install "tensorflow-cpu==2.15.*" "numpy<2" librosa

Each tagger is a process of its own on one thread, warm. They take turns, file by file; figures are processor
times, and ratios medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import lightmel
from lightmel import audio, hub
from lightmel.evaluation import markdown

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
ASKED = """
import resource, sys
from time import process_time
out, sys.stdout = sys.stdout, sys.stderr
{}
for line in sys.stdin:
    start = process_time()
    tag(line[:-1])
    took = process_time() - start
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, file=out, flush=True)
"""
MUSICNN = """
from functools import partial
from musicnn.extractor import extractor
tag = partial(extractor, model="MTT_musicnn", extract_features=False)
"""
OURS = """
import lightmel
tag = lightmel.load({!r}).tag
"""


class Process:
    """A tagger in a process of its own.

    Parameters
    ----------
    python
        Its interpreter.
    code
        What gives it a function ``tag`` of a path.
    options
        Of the interpreter.
    """

    def __init__(self, python: str, code: str, *options: str) -> None:
        self._process = subprocess.Popen(
            [python, *options, "-c", ASKED.format(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            text=True,
        )

    def tag(self, path: Path) -> tuple[float, float]:
        """Return the processor time that a file took, and the process's peak memory so far in MB."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path.resolve()}\n")
        self._process.stdin.flush()
        seconds, memory = self._process.stdout.readline().split()
        return float(seconds), float(memory)

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("music", type=Path)
    parser.add_argument("--python", required=True, help="of an environment with musicnn")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    paths = audio.find(options.music)
    seconds = sum(lightmel.tag(path, coverage=0.01).seconds for path in paths)
    taggers = {
        # Isolated, so that it does not import this file for the package of the same name.
        "musicnn 0.1.0, MTT_musicnn": Process(options.python, MUSICNN, "-I"),
        "lightmel, the default": Process(sys.executable, OURS.format("default")),
        "lightmel, the cheapest": Process(sys.executable, OURS.format(hub.cheapest())),
    }
    times: dict[str, list[float]] = {name: [] for name in taggers}
    memory = dict.fromkeys(taggers, 0.0)
    for number in range(options.rounds + 1):
        taken = dict.fromkeys(taggers, 0.0)
        for path in paths:
            for name, tagger in taggers.items():
                took, memory[name] = tagger.tag(path)
                taken[name] += took
        if number:  # the first warms up
            for name, took in taken.items():
                times[name].append(took)
    for tagger in taggers.values():
        tagger.close()
    theirs = next(iter(times.values()))
    rows = [
        (
            name,
            f"{seconds / median(taken):,.0f}",
            f"{median(a / b for a, b in zip(theirs, taken, strict=True)):.1f}",
            f"{memory[name]:.0f}",
        )
        for name, taken in times.items()
    ]
    print(f"{len(paths)} tracks, {seconds:.0f} s; medians of {options.rounds}\n")
    print(markdown(("", "x real time", "of musicnn's rate", "MB at the most"), rows))


if __name__ == "__main__":
    main()
