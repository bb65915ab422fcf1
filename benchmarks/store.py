"""What a feature store takes and gives: bytes a clip, random excerpts a second, and a step of training.

``python benchmarks/store.py [--audio FOLDER] [--clips 48] [--rounds 11] [--clock cpu] [--check]``

Stores of three configurations and three types are built in a temporary folder, of synthetic clips or of
those below FOLDER, 29.1 s from the middle of each, as in the paper. Reading is compared with a plain loop
over one .npz file of float32 for each clip, the paper's way, and a step of training (MUSICNN small, batches
of 32) with the same step on features in memory. In each round every contender has its turn, one after
another, so that a busy neighbour slows all of them; the figures are medians over the rounds, a ratio's of
the ratios round by round. The clock is by default the processor time of this process, its threads included:
on one thread of an idle machine it is the time on the wall. The files lie in the system's cache after the
round that warms up. ``--check`` ends with an error if a step from a store takes more than 1.1 of a step from
memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lightmel import audio
from lightmel.features import FeatureExamples, Features, FeatureStore, MemoryFeatures, build_store
from lightmel.frontends import CLIP_SECONDS, MelConfig, StorageType
from lightmel.models import build_musicnn
from lightmel.training import TrainConfig, Trainer

CONFIGS = [MelConfig.from_slug(s) for s in ("16k-mel96-x1-db", "16k-mel48-x1-db", "16k-mel48-x4-db")]
DTYPES: tuple[StorageType, ...] = ("float32", "float16", "uint8")
SECONDS = 3.0  # of an excerpt, MUSICNN's
BATCH, EXCERPTS, TAGS = 32, 128, 50
STEPS = {1: 2, 4: 8}  # of training in a turn, by hop factor
AT_MOST = 1.1

Clock = Callable[[], float]


def synthetic(folder: Path, clips: int) -> None:
    """Write tones under noise, some loud and some soft."""
    sr = 16_000
    time = np.arange(round((CLIP_SECONDS + 1) * sr)) / sr
    for i in range(clips):
        rng = np.random.default_rng(i)
        wave = sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(80, 4_000, 3))
        wave = 0.1 * wave + rng.uniform(0.001, 0.2) * rng.standard_normal(len(time))
        soundfile.write(folder / f"{i:04d}.wav", wave, sr, subtype="PCM_16")


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int, clock: Clock
) -> dict[str, list[float]]:
    """Seconds that each contender took in each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(rounds + 1):
        order = list(contenders.items())
        for name, run in order if i % 2 else reversed(order):
            start = clock()
            run()
            if i > 0:
                times[name].append(clock() - start)
    return times


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """Return the median, over the rounds, of the time of `one` in that of `other`."""
    return median(a / b for a, b in zip(times[one], times[other], strict=True))


def draw(store: FeatureStore, n_frames: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and starts of as many random excerpts as a round reads."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(store), size=EXCERPTS)
    return rows, rng.integers(np.maximum(store.frames[rows] - n_frames, 0) + 1)


def from_store(
    store: FeatureStore, rows: NDArray[np.int64], starts: NDArray[np.int64], n_frames: int
) -> list[NDArray[np.float32]]:
    """Read all excerpts, a batch at a time."""
    cuts = range(0, EXCERPTS, BATCH)
    return [store.excerpts(rows[i : i + BATCH], starts[i : i + BATCH], n_frames) for i in cuts]


def from_npz(
    files: list[Path], rows: NDArray[np.int64], starts: NDArray[np.int64], n_frames: int
) -> list[NDArray[np.float32]]:
    """Read all excerpts, each from the file of its clip."""
    batches = []
    for i in range(0, EXCERPTS, BATCH):
        batch = []
        for row, start in zip(rows[i : i + BATCH], starts[i : i + BATCH], strict=True):
            with np.load(files[row]) as clip:
                batch.append(clip["features"][:, start : start + n_frames])
        batches.append(np.stack(batch))
    return batches


def reading(stores: list[FeatureStore], folder: Path, rounds: int, clock: Clock) -> None:
    """Print the rows of one configuration; `stores` are of all types, float32 first."""
    config, n_frames = stores[0].config, stores[0].config.input_shape(SECONDS)[1]
    files = [folder / f"{config.slug} {row}.npz" for row in range(len(stores[0]))]
    for file, features in zip(files, stores[0], strict=True):
        np.savez(file, features=features)
    rows, starts = draw(stores[0], n_frames)
    for mine, theirs in zip(
        from_store(stores[0], rows, starts, n_frames), from_npz(files, rows, starts, n_frames), strict=True
    ):
        assert np.array_equal(mine, theirs), "not the same work"
    contenders: dict[str, Callable[[], object]] = {
        store.dtype: lambda store=store: from_store(store, rows, starts, n_frames)  # type: ignore[misc]
        for store in stores
    }
    times = interleaved({**contenders, "npz": lambda: from_npz(files, rows, starts, n_frames)}, rounds, clock)
    npz = EXCERPTS / median(times["npz"])
    for store in stores:
        rate = EXCERPTS / median(times[store.dtype])
        print(
            f"| {config.slug} | {store.dtype} | {store.n_bytes / len(store):,.0f} | {rate:,.0f} | {npz:,.0f} "
            f"| {ratio(times, 'npz', store.dtype):.1f} |",
            flush=True,
        )


def epoch(features: Features, hop_factor: int) -> None:
    """Train for a few steps, from the same weights on the same excerpts."""
    shape = features.config.input_shape(SECONDS)
    network = build_musicnn(shape, TAGS, size="small", generator=torch.Generator().manual_seed(0))
    rows = np.arange(STEPS[hop_factor] * BATCH) % len(features)
    labels = np.random.default_rng(0).random((len(rows), TAGS)) < 0.1
    Trainer(network, TrainConfig(epochs=1, batch_size=BATCH), device="cpu").fit(
        FeatureExamples(features, rows, labels, shape[1])
    )


def training(config: MelConfig, stores: list[FeatureStore], rounds: int, clock: Clock) -> float:
    """Print what a step takes from each store of `config` and from memory; return the largest ratio."""
    memory = MemoryFeatures(config, dict(zip(stores[0].keys, stores[0], strict=True)))
    contenders: dict[str, Callable[[], object]] = {
        store.dtype: lambda store=store: epoch(store, config.hop_factor)  # type: ignore[misc]
        for store in stores
    }
    times = interleaved({**contenders, "memory": lambda: epoch(memory, config.hop_factor)}, rounds, clock)
    ratios = [ratio(times, store.dtype, "memory") for store in stores]
    steps = STEPS[config.hop_factor]
    for store, part in zip(stores, ratios, strict=True):
        mine, theirs = (1000 * median(times[name]) / steps for name in (store.dtype, "memory"))
        print(f"| {store.config.slug} | {store.dtype} | {mine:.1f} | {theirs:.1f} | {part:.3f} |", flush=True)
    return max(ratios)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clock = process_time if arguments.clock == "cpu" else perf_counter
    with threadpool_limits(1), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sound").mkdir()
        if not arguments.audio:
            synthetic(folder / "sound", arguments.clips)
        found = audio.find(arguments.audio or folder / "sound")[: arguments.clips]
        sources = {str(path): path for path in found}
        stores = {
            config: [
                build_store(
                    folder / f"{config.slug} {dtype}",
                    sources,
                    config,
                    dtype=dtype,
                    excerpt_seconds=CLIP_SECONDS,
                    workers=0,
                )
                for dtype in DTYPES
            ]
            for config in CONFIGS
        }
        print(
            f"Random excerpts of {SECONDS:g} s, {len(sources)} clips\n\n"
            "| configuration | type | bytes a clip | excerpts a second | from .npz | ratio |\n"
            "| --- | --- | ---: | ---: | ---: | ---: |"
        )
        for config in CONFIGS:
            reading(stores[config], folder, arguments.rounds, clock)
        print(
            f"\nA step of training, MUSICNN small, batches of {BATCH}\n\n"
            "| configuration | type | ms, from the store | ms, from memory | ratio |\n"
            "| --- | --- | ---: | ---: | ---: |"
        )
        worst = max(training(config, stores[config], arguments.rounds, clock) for config in CONFIGS[1:])
    if arguments.check and worst > AT_MOST:
        sys.exit(
            f"Not kept: a step from a store takes {worst:.2f} of one from memory, not {AT_MOST} at most."
        )


if __name__ == "__main__":
    main()
