"""Train both networks on mixtures of notes, at several resolutions and seeds, and print their figures.

The clips are those of ``instrument_mixtures.py``. Each run is one file of figures, so that a study which was
interrupted goes on, and two can share the work by seeds::

    python examples/instrument_study.py mixtures/clips.csv results --seeds 0 1 2

The networks' input is the whole five seconds: a shorter excerpt may miss a note that its tags name. They are
narrow, so that a processor can train them; the widths stand below.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lightmel import MelConfig
from lightmel.datasets import Dataset, load_table
from lightmel.evaluation import ClipSet, Evaluation, Intervals, evaluate_examples, markdown
from lightmel.features import FeatureStore, build_store, label_features
from lightmel.models import build
from lightmel.training import TrainConfig, Trainer

SECONDS = 5.0
BANDS, HOPS = (96, 48), (1, 4)
NETWORKS: dict[str, dict[str, Any]] = {
    "vgg": {"widths": [16, 48, 96, 256]},
    "musicnn": {
        "variant": "pons",
        "timbre": [(0.9, 7, 16), (0.4, 7, 16)],
        "temporal": [(65, 4), (33, 4)],
        "width": 48,
        "dense": 100,
        "dropout": 0.2,
    },
}
TRAINING = TrainConfig(
    epochs=8, batch_size=32, optimizer="adamw", schedule="onecycle", lr=1e-2, weight_decay=0.01, clip_norm=1.0
)


def read_store(data: Dataset, folder: Path, bands: int, hop: int) -> FeatureStore:
    """Return the store of one resolution; only those of factor 1 are made from the sound."""
    config = MelConfig(16_000, bands, 1, "db")
    store = build_store(folder / config.slug, data.sources(), config)
    wanted = config.replace(hop_factor=hop)
    return store if hop == 1 else store.derive(folder / wanted.slug, wanted)


def run(data: Dataset, store: FeatureStore, name: str, training: TrainConfig) -> Evaluation:
    """Train one network, keep its best epoch by validation, and evaluate it on the test clips."""
    spec = {
        "architecture": name,
        "input_shape": store.config.input_shape(SECONDS),
        "n_tags": len(data.tags),
        **NETWORKS[name],
    }
    network = build(spec, generator=torch.Generator().manual_seed(training.seed))
    examples = label_features(data, store, network.input_shape[1]).examples
    result = Trainer(network, training).fit(examples["train"], examples["valid"])
    clips = ClipSet(data.name, data.protocol)
    return evaluate_examples(result.network, examples["test"], data.tags, clips, Intervals(resamples=200))


def table(found: Iterable[tuple[str, int, int, Evaluation]]) -> str:
    """Return means and standard deviations over the seeds, a line a resolution."""
    rows = []
    for key, group in itertools.groupby(found, lambda f: f[:3]):
        runs = [e for *_, e in group]
        measures = ([e.macro_roc_auc for e in runs], [e.macro_pr_auc for e in runs])
        spread = [f" ± {np.std(m, ddof=1):.3f}" if len(m) > 1 else "" for m in measures]
        figures = (f"{np.mean(m):.3f}{s}" for m, s in zip(measures, spread, strict=True))
        rows.append((key[0], str(key[1]), f"x{key[2]}", *figures, str(len(runs))))
    return markdown(("network", "bands", "hop", "ROC AUC", "PR AUC", "runs"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run what is not there yet, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", type=Path, help="clips.csv of instrument_mixtures.py")
    parser.add_argument("results", type=Path, help="folder of the figures; stores go there too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=TRAINING.epochs)
    parser.add_argument("--precision", default="auto", help="bfloat16 takes half the time on many processors")
    parser.add_argument("--threads", type=int, default=1, help="of torch, each run's")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    data = load_table(given.table)
    found = []
    for name, bands, hop in itertools.product(NETWORKS, BANDS, HOPS):
        store = read_store(data, given.results / "features", bands, hop)
        for seed in given.seeds:
            file = given.results / f"{name}-mel{bands}-x{hop}-seed{seed}.json"
            if not file.exists():
                training = replace(TRAINING, epochs=given.epochs, seed=seed, precision=given.precision)
                run(data, store, name, training).save(file)
                print(f"{file.stem}: ROC AUC {Evaluation.load(file).macro_roc_auc:.3f}", flush=True)
            found.append((name, bands, hop, Evaluation.load(file)))
    first = found[0][-1]
    print(f"\n{first.split} of {data.label}: {first.clips} clips, {len(data.tags)} instruments\n")
    print(table(found))


if __name__ == "__main__":
    main()
