"""The time of imports in a fresh interpreter, over that of an empty one: medians of several runs.

Run: ``python benchmarks/import_time.py [runs]``. ``import lightmel`` is to stay under 0.1 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

CODES = {
    "nothing": "pass",
    "import lightmel": "import lightmel",
    "names of tags as well": "import lightmel; from lightmel import vocabularies; vocabularies.read('mtat')",
    "sound, without torch": "import lightmel.audio",
    "lightmel.tag, with torch": "import lightmel; lightmel.tag",
    "lightmel --help": "import sys; sys.argv = ['lightmel', '--help']; from lightmel.cli import main; main()",
}


def seconds(code: str) -> float:
    """Return the time a new interpreter takes for `code`, from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the medians; the empty interpreter's is taken off all but its own."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    times: dict[str, list[float]] = {name: [] for name in CODES}
    for run in range(runs + 1):
        for name, code in CODES.items():  # in turn, so that a busy minute slows all of them
            took = seconds(code)
            if run:  # the first fills the disk's cache
                times[name].append(took)
    empty = statistics.median(times["nothing"])
    print(f"{'median of ' + str(runs):<28}{'seconds':>8}{'least':>8}")
    for name, took in times.items():
        base = 0.0 if name == "nothing" else empty
        print(f"{name:<28}{statistics.median(took) - base:8.3f}{min(took) - base:8.3f}")


if __name__ == "__main__":
    main()
