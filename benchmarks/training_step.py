"""What a step of `Trainer` takes beside the bare step in it: forward, backward, optimizer, on one thread.

    python benchmarks/training_step.py [--rounds 7]

Beside the bare step a trainer draws excerpts, seeds dropout, checks that all is finite, clips gradients and
can average the weights. The smaller the network, the more that shows.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lightmel import MelConfig, TrainConfig, Trainer, build_musicnn
from lightmel.features import FeatureExamples, MemoryFeatures

CONFIG = MelConfig(16_000, 48, 2, "db")
TAGS = 50
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"timbre": [(0.9, 3, 4)], "temporal": [(3, 2)], "width": 4, "dense": 8},
    "small": {},
}
STEPS, BATCH = {"tiny": 100, "small": 10}, {"tiny": 2, "small": 16}


def network(size: str) -> Any:
    """Return a fresh network."""
    generator = torch.Generator().manual_seed(0)
    shape = CONFIG.input_shape(3.0)
    return build_musicnn(shape, TAGS, variant="pons", size="small", generator=generator, **SIZES[size])


def examples(size: str) -> FeatureExamples:
    """Return as many clips as the steps take."""
    rng = np.random.default_rng(0)
    rows, frames = CONFIG.input_shape(3.0)
    clips = {str(i): rng.standard_normal((rows, frames)) for i in range(STEPS[size] * BATCH[size])}
    labels = rng.random((len(clips), TAGS)) > 0.5
    return FeatureExamples(MemoryFeatures(CONFIG, clips), np.arange(len(clips)), labels, frames)


def bare(size: str, data: FeatureExamples) -> float:
    """Return the seconds of a bare step, the data drawn beforehand."""
    model = network(size).train()
    optimizer = torch.optim.Adam(model.parameters())
    mel, target = data.batch(np.arange(BATCH[size]), np.random.default_rng(0))
    start = process_time()
    for _ in range(STEPS[size]):
        value = F.binary_cross_entropy_with_logits(model(mel), target)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
    return (process_time() - start) / STEPS[size]


def trained(size: str, data: FeatureExamples, config: TrainConfig) -> float:
    """Return the seconds of a step of the trainer."""
    model = network(size)
    start = process_time()
    Trainer(model, config, device="cpu").fit(data)
    return (process_time() - start) / STEPS[size]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | batch | bare, ms | trainer, ms | of bare | with an average of the weights |")
    print("|---|---:|---:|---:|---:|---:|")
    for size in SIZES:
        data = examples(size)
        plain = TrainConfig(epochs=1, batch_size=BATCH[size], precision="float32", save_seconds=1e6)
        averaged = TrainConfig(
            epochs=1, batch_size=BATCH[size], precision="float32", save_seconds=1e6, ema_decay=0.99
        )
        rows = []
        for number in range(given.rounds + 1):
            row = bare(size, data), trained(size, data, plain), trained(size, data, averaged)
            if number:  # the first warms up
                rows.append(row)
        times = [1e3 * median(row[i] for row in rows) for i in (0, 1)]
        ratios = [median(row[i] / row[0] for row in rows) for i in (1, 2)]
        figures = " | ".join(f"{figure:.2f}" for figure in (*times, *ratios))
        print(f"| {size} | {BATCH[size]} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
