"""What each tagger of the package takes for a segment, run by ONNX Runtime and by torch, on one thread.

    python benchmarks/runtimes.py [--rounds 15] [--segments 8]

Front end and network are timed apart; a ratio is the median over the rounds, in which each runs once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import lightmel
from lightmel import hub
from lightmel.evaluation import markdown
from lightmel.frontends import build_arrays, build_frontend


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--segments", type=int, default=8, help="in one batch, as `tag` has them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1):
        for release in hub.releases():
            if release.where != "package":
                continue
            one, other = (
                lightmel.load(release.name),
                lightmel.load(release.name, device="cpu", runtime="torch"),
            )
            shape = options.segments, one.segment_samples
            waves = np.random.default_rng(0).normal(scale=0.1, size=shape).astype(np.float32)
            frontends = build_arrays(one.config), build_frontend(one.config)
            contenders: dict[str, Callable[[], object]] = {
                "front end, NumPy": partial(frontends[0], waves),
                "front end, torch": partial(frontends[1], torch.from_numpy(waves)),
                "all, ONNX Runtime": partial(one.runtime.run, waves),
                "all, torch": partial(other.runtime.run, waves),
            }
            times: dict[str, list[float]] = {name: [] for name in contenders}
            for number in range(options.rounds + 2):
                for name, run in contenders.items():
                    start = process_time()
                    for _ in range(5):
                        run()
                    if number > 1:  # the first two warm up
                        times[name].append((process_time() - start) / 5 / options.segments)
            own = {name: f"{1e3 * median(taken):.2f}" for name, taken in times.items()}
            pairs = zip(times["all, ONNX Runtime"], times["all, torch"], strict=True)
            rows.append((release.name, *own.values(), f"{median(a / b for a, b in pairs):.2f}"))
    print(f"ms a segment, {options.segments} at a time, medians of {options.rounds}\n")
    print(markdown(("", *contenders, "of torch"), rows))


if __name__ == "__main__":
    main()
