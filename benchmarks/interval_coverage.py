"""How often the interval of an evaluation holds the true value, by the number of test clips.

Clips of one tag each, four tags, with normal scores whose true ROC AUC is known. Run it as
``python benchmarks/interval_coverage.py``; it takes a minute or two.
"""

from __future__ import annotations

import argparse
from statistics import NormalDist

import numpy as np

from lightmel.evaluation import bootstrap

TAGS = 4
AUC = 0.85
CLIPS = (12, 20, 30, 40, 60, 100, 200, 400)


def coverage(clips: int, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the share of the intervals that hold the true value, and their mean width."""
    apart = np.sqrt(2) * NormalDist().inv_cdf(AUC)
    held, widths = [], []
    for _ in range(draws):
        truth = np.zeros((clips, TAGS), dtype=np.bool_)
        truth[np.arange(clips), rng.permutation(np.arange(clips) % TAGS)] = True
        scores = rng.normal(size=truth.shape) + apart * truth
        names = [str(i) for i in range(TAGS)]
        low, high = bootstrap(truth, scores, names, "roc_auc", rng, resamples=300)
        held.append(low <= AUC <= high)
        widths.append(high - low)
    return float(np.mean(held)), float(np.mean(widths))


def main() -> None:
    """Print a line for each number of clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=600, help="test sets for each number of clips")
    draws = parser.parse_args().draws
    rng = np.random.default_rng(0)
    print("clips  of 95 % intervals hold the value  mean width")
    for clips in CLIPS:
        share, width = coverage(clips, draws, rng)
        print(f"{clips:5}  {share:33.3f}  {width:10.3f}")


if __name__ == "__main__":
    main()
