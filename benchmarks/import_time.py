"""The time and memory of imports in a fresh interpreter: medians; times are those over an empty one's.

Run: ``python benchmarks/import_time.py [runs]``. ``import lightmel`` is to stay under 0.1 s.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

CODES = {
    "nothing": "pass",
    "import lightmel": "import lightmel",
    "names of tags as well": "import lightmel; from lightmel import vocabularies; vocabularies.read('mtat')",
    "sound, without torch": "import lightmel.audio",
    "lightmel.tag, the name": "import lightmel; lightmel.tag",
    "lightmel tag --sample": "import sys; sys.argv = ['lightmel', 'tag', '--sample']; "
    "from lightmel.cli import main; main()",
    "import torch": "import torch",
    "lightmel --help": "import sys; sys.argv = ['lightmel', '--help']; from lightmel.cli import main; main()",
}


def measured(code: str) -> tuple[float, float]:
    """Return the seconds that a new interpreter takes for `code`, from its start to its end, and its MB."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, code
    return time.perf_counter() - started, usage.ru_maxrss / 1_024


def main() -> None:
    """Print the medians; the empty interpreter's is taken off all but its own."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    times: dict[str, list[float]] = {name: [] for name in CODES}
    memory: dict[str, list[float]] = {name: [] for name in CODES}
    for run in range(runs + 1):
        for name, code in CODES.items():  # in turn, so that a busy minute slows all of them
            took, megabytes = measured(code)
            if run:  # the first fills the disk's cache
                times[name].append(took)
                memory[name].append(megabytes)
    empty = statistics.median(times["nothing"])
    print(f"{'median of ' + str(runs):<28}{'seconds':>8}{'least':>8}{'MB':>8}")
    for name, took in times.items():
        base = 0.0 if name == "nothing" else empty
        figures = statistics.median(took) - base, min(took) - base, statistics.median(memory[name])
        print("{:<28}{:8.3f}{:8.3f}{:8.0f}".format(name, *figures))


if __name__ == "__main__":
    main()
