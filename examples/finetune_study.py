"""Compare fine-tuning the first tagger with training the same network from scratch, on few clips.

For each seed, clips are drawn from the training part of ``instrument_mixtures.py``'s table. The first
tagger is fine-tuned on them, and the same network with fresh weights is trained on them in as many passes;
both are evaluated on the same test clips::

    python examples/finetune_study.py mixtures/clips.csv results

A run is one file of figures, so that a study which was interrupted goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import lightmel
from lightmel.datasets import Dataset, Split, load_table
from lightmel.evaluation import Evaluation, markdown
from lightmel.features import FeatureStore, build_store
from lightmel.training import FinetuneConfig, TaggerConfig, TrainConfig, finetune, train_tagger

TAGGER = "mtat-musicnn-small-16k-mel48-x2-db"
"""What is fine-tuned: the figures of docs/tutorials/fine-tune.md are this one's, whatever the default is."""
SCRATCH_NETWORK = "musicnn-pons-small-16k-mel48-x2-db"
"""The network of `TAGGER`."""


def some(data: Dataset, clips: int, seed: int) -> Dataset:
    """Return the data set with so many of its training clips."""
    train = data.train
    chosen = np.sort(np.random.default_rng(seed).choice(len(train), clips, replace=False))
    fewer = Split(
        tuple(train.paths[i] for i in chosen), train.labels[chosen], tuple(train.groups[i] for i in chosen)
    )
    return replace(data, splits={**data.splits, "train": fewer})


def tuned(data: Dataset, store: FeatureStore, seed: int) -> Evaluation | None:
    """Fine-tune the tagger."""
    return finetune(lightmel.load(TAGGER), data, store, FinetuneConfig(seed=seed)).evaluation


def scratch(data: Dataset, store: FeatureStore, seed: int) -> Evaluation | None:
    """Train the same network from fresh weights, as long and in the same way."""
    like = FinetuneConfig(seed=seed)
    what = TaggerConfig(
        SCRATCH_NETWORK, lightmel.load(TAGGER).segment_seconds, excerpts=like.excerpts, augment=like.augment
    )
    training = TrainConfig(
        epochs=like.head_epochs + like.epochs,
        batch_size=like.batch_size,
        optimizer="adamw",
        schedule="onecycle",
        lr=like.head_lr,
        clip_norm=1.0,
        seed=seed,
    )
    return train_tagger(data, store, what, training).evaluation


RUNS = {"fine-tuned": tuned, "from scratch": scratch}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run what is not there yet, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", type=Path, help="clips.csv of instrument_mixtures.py")
    parser.add_argument("results", type=Path, help="folder of the figures; the store goes there too")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_table(given.table)
    config = lightmel.load(TAGGER).config
    store = build_store(given.results / "features" / config.slug, data.sources(), config)
    found: dict[str, list[Evaluation]] = {how: [] for how in RUNS}
    for seed in given.seeds:
        for how, learn in RUNS.items():
            file = given.results / f"{how.replace(' ', '-')}-{given.clips}-seed{seed}.json"
            if not file.exists():
                evaluation = learn(some(data, given.clips, seed), store, seed)
                assert evaluation is not None
                evaluation.save(file)
                print(f"{file.stem}: ROC AUC {evaluation.macro_roc_auc:.3f}", flush=True)
            found[how].append(Evaluation.load(file))
    rows = [
        (str(seed), *(f"{e.macro_roc_auc:.3f} / {e.macro_pr_auc:.3f}" for e in pair))
        for seed, *pair in zip(given.seeds, *found.values(), strict=True)
    ]
    means = (
        f"{np.mean([e.macro_roc_auc for e in es]):.3f} / {np.mean([e.macro_pr_auc for e in es]):.3f}"
        for es in found.values()
    )
    print(f"\nROC AUC / PR AUC on test of {data.label}, {given.clips} training clips\n")
    print(markdown(("seed", *found), [*rows, ("mean", *means)]))


if __name__ == "__main__":
    main()
