"""What tagging a part of each file saves, and what it costs in truth.

    python benchmarks/excerpts.py MUSIC [--model default] [--rounds 7]

MUSIC holds ``human_tags.csv``, whose clips the scores are compared with, and whole tracks in ``full``, which
show the speed and how far scores move. Times are those of the processor, ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

import lightmel
from lightmel import audio
from lightmel.datasets import TRUE_SHARE, read_human_annotations
from lightmel.evaluation import macro, markdown, pr_auc, roc_auc, shared_top
from lightmel.inference import Tagger

COVERAGES = (1.0, 0.5, 0.25, 0.1, 0.05)
MIN_POSITIVES = 3


def scores(tagger: Tagger, paths: list[Path], coverage: float) -> np.ndarray:
    """Return ``(files, tags)``."""
    found = [tagger.tag(path, coverage=coverage) for path in paths]
    return np.array([[tagging[tag] for tag in tagger.tags] for tagging in found])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("music", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    tagger = lightmel.load(options.model, device="cpu")
    tracks = audio.find(options.music / "full")
    human = read_human_annotations(options.music / "human_tags.csv")
    clips = list(human)
    tags = [tag for tag in tagger.tags if any(tag in shares for shares in human.values())]
    columns = [tagger.tags.index(tag) for tag in tags]
    truth = np.array([[human[clip].get(tag, 0.0) >= TRUE_SHARE for tag in tags] for clip in clips])
    times: dict[float, list[float]] = {coverage: [] for coverage in COVERAGES}
    with threadpool_limits(1):
        for number in range(options.rounds + 1):
            for coverage in COVERAGES:
                start = process_time()
                scores(tagger, tracks, coverage)
                if number:  # the first warms up
                    times[coverage].append(process_time() - start)
    whole = {"tracks": scores(tagger, tracks, 1.0), "clips": scores(tagger, clips, 1.0)}
    rows = []
    for coverage in COVERAGES:
        few = {"tracks": scores(tagger, tracks, coverage), "clips": scores(tagger, clips, coverage)}
        measured = [
            macro(of(truth, few["clips"][:, columns], tags, MIN_POSITIVES)) for of in (roc_auc, pr_auc)
        ]
        ratio = median(a / b for a, b in zip(times[1.0], times[coverage], strict=True))
        rows.append(
            (
                f"{coverage:g}",
                f"{ratio:.1f}",
                f"{np.abs(few['tracks'] - whole['tracks']).mean():.4f}",
                f"{shared_top(few['tracks'], whole['tracks']):.1f}",
                f"{np.abs(few['clips'] - whole['clips']).mean():.4f}",
                f"{shared_top(few['clips'], whole['clips']):.1f}",
                *(f"{value:.3f}" for value in measured),
            )
        )
    print(f"{tagger.name}: {len(tracks)} tracks, {len(clips)} clips; medians of {options.rounds}\n")
    head = (
        "coverage",
        "speed",
        "tracks: change",
        "of top 5",
        "clips: change",
        "of top 5",
        "ROC AUC",
        "PR AUC",
    )
    print(markdown(head, rows))


if __name__ == "__main__":
    main()
