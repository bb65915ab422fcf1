"""What reproducing the paper on MagnaTagATune takes: the table of docs/how-to/reproduce-the-paper.md.

    python benchmarks/reproduce.py MUSIC [--clips 12] [--rounds 3] [--write]

MUSIC is a folder of whole tracks. Excerpts of them become clips as MagnaTagATune has them (29.1 s, MP3,
16 kHz, mono, 32 kbit/s), of which features are computed; and a few steps of both networks are run. Bytes
are arithmetic: from the layout of a feature store, and from the parameters of the networks. Times of one
processor core are measured on those clips and steps, as medians of processor time on one thread, and
multiplied. Times of a GPU are arithmetic on assumptions, `GPU_MACS` and `GPU_STEP`, and not measured.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from time import process_time

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits

from lightmel import PAPER_CONFIGS, MelConfig, audio
from lightmel.datasets.magnatagatune import COUNTS
from lightmel.evaluation import markdown
from lightmel.features import build_store
from lightmel.features.layout import Layout
from lightmel.models import Row, build_named, paper_cost
from lightmel.training.recipes import RECIPES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "reproduce-the-paper.md"
MARKS = "<!-- reproduce: made by benchmarks/reproduce.py -->", "<!-- reproduce: end -->"

CLIPS = 25_877
"""With sound, in the archives; the protocol leaves out what has no annotations or does not decode."""
CLIP_SECONDS, MP3_BYTES = 29.1, 4_000
"""Length of a clip, and bytes a second of an MP3 of 32 kbit/s."""
SPLITS = COUNTS["full"]
SEEDS = 3
NETWORKS = {"vgg": "VGG-CNN", "musicnn": "MUSICNN"}
EXAMPLE = "16k-mel48-x2-db"
MEASURED = ("16k-mel96-x1-db", "16k-mel48-x2-db", "16k-mel48-x10-db")
"""Inputs of which steps are run; the seconds a multiply-accumulate of the others lie between theirs."""
BATCH = 2
"""Examples in a measured step; the optimizer is measured by itself, since it takes as long for 32."""

BACKWARD = 2
"""Multiply-accumulates of a backward pass for each of the forward pass: for inputs, and for weights."""
GPU_MACS = 20e12
"""Multiply-accumulates a second that the GPU sustains, an assumption: about a quarter of 156 TFLOP/s, which
the maker of an A100 gives as its peak in TF32, at two operations each."""
GPU_STEP = 5e-3
"""Seconds that a step of a training takes on it at least, however small the network: an assumption, too."""


@dataclass(frozen=True)
class Rates:
    """What was measured, in seconds of one core.

    Attributes
    ----------
    feature
        A clip of features from its MP3, by sample rate.
    derive
        A clip of features from those of half the hop.
    train, forward
        Of each network, seconds for each multiply-accumulate of a forward pass, by such multiply-accumulates.
    optimizer
        Of each network, a step of Adam.
    """

    feature: Mapping[int, float]
    derive: float
    train: Mapping[str, Mapping[int, float]]
    forward: Mapping[str, Mapping[int, float]]
    optimizer: Mapping[str, float]


# Measured.


def timed(run: Callable[[], object], rounds: int) -> float:
    """Return the median of the processor times of some rounds, after one that warms up."""
    times = []
    for number in range(rounds + 1):
        start = process_time()
        run()
        if number:
            times.append(process_time() - start)
    return median(times)


def as_mtat(paths: Sequence[Path], folder: Path, count: int) -> dict[str, Path]:
    """Write clips as MagnaTagATune has them."""
    made = {}
    for i in range(count):
        clip = folder / f"{i:03}.mp3"
        wave = audio.middle(paths[i % len(paths)], 16_000, CLIP_SECONDS)
        soundfile.write(
            clip,
            np.resize(wave, round(CLIP_SECONDS * 16_000)),
            16_000,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="CONSTANT",
            compression_level=audio.MP3_32K,
        )
        made[clip.name] = clip
    return made


def measure_features(paths: Sequence[Path], count: int, rounds: int) -> tuple[dict[int, float], float]:
    """Return the seconds of a clip from its sound, by sample rate, and of one that is derived."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = as_mtat(paths, folder, count)
        numbers = iter(range(1_000_000))

        def build(config: MelConfig) -> Path:
            out = folder / f"store-{next(numbers)}"
            build_store(out, clips, config, excerpt_seconds=CLIP_SECONDS, workers=0)
            return out

        feature = {
            sr: timed(lambda sr=sr: build(MelConfig(sr, 96, 1, "db")), rounds) / count
            for sr in (12_000, 16_000)
        }
        base = build_store(
            build(MelConfig(16_000, 96, 1, "db")),
            clips,
            MelConfig(16_000, 96, 1, "db"),
            workers=0,
            excerpt_seconds=CLIP_SECONDS,
        )
        twice = MelConfig(16_000, 96, 2, "db")
        derive = timed(lambda: base.derive(folder / f"store-{next(numbers)}", twice), rounds) / count
    return feature, derive


def measure_steps(name: str, slug: str, rounds: int) -> tuple[float, float, float]:
    """Return the seconds of learning from an example, of a forward pass of it, and of a step of Adam."""
    row = paper_cost(name, MelConfig.from_slug(slug))
    network, config = build_named(f"{name}-{slug}", row.seconds, 50, torch.Generator().manual_seed(0))
    shape = (BATCH, *config.input_shape(row.seconds))
    mel = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))
    target = torch.full((BATCH, 50), 0.5)
    adam = torch.optim.Adam(network.parameters())

    def learn() -> None:
        network.zero_grad()
        F.binary_cross_entropy_with_logits(network(mel), target).backward()

    network.train()
    train, optimizer = timed(learn, rounds), timed(adam.step, rounds)
    network.eval()
    with torch.inference_mode():
        forward = timed(lambda: network(mel), rounds)
    return train / BATCH, forward / BATCH, optimizer


def measure(paths: Sequence[Path], count: int, rounds: int) -> Rates:
    """Return all that is measured."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        feature, derive = measure_features(paths, count, rounds)
        found = {name: [measure_steps(name, slug, rounds) for slug in MEASURED] for name in NETWORKS}
    macs = {n: [paper_cost(n, MelConfig.from_slug(slug)).cost.macs for slug in MEASURED] for n in NETWORKS}
    train, forward = (
        {n: {m: times[i] / m for m, times in zip(macs[n], found[n], strict=True)} for n in NETWORKS}
        for i in (0, 1)
    )
    return Rates(feature, derive, train, forward, {n: median(f[2] for f in found[n]) for n in NETWORKS})


# Computed.


@dataclass(frozen=True)
class Work:
    """One training: its steps, examples, and whole clips that are scored, in examples.

    A training validates after each epoch, and scores validation and test clips at its end.
    """

    row: Row
    steps: int
    examples: int
    scored: int


def work_of(name: str, config: MelConfig) -> Work:
    """Return what a training by the paper's recipe does."""
    row, recipe = paper_cost(name, config), RECIPES[f"paper-{name}"]
    epochs, batch = recipe.settings["epochs"], recipe.batch_size(f"{name}-{config.slug}")
    segments = math.ceil(config.input_shape(CLIP_SECONDS)[1] / config.input_shape(row.seconds)[1])
    clips = epochs * SPLITS["valid"] + SPLITS["valid"] + SPLITS["test"]
    return Work(row, epochs * math.ceil(SPLITS["train"] / batch), epochs * SPLITS["train"], segments * clips)


def per_mac(rates: Mapping[int, float], macs: int) -> float:
    """Return the seconds for each multiply-accumulate of a network of `macs`, between those measured."""
    known = sorted(rates)
    return float(np.interp(math.log(macs), [math.log(m) for m in known], [rates[m] for m in known]))


def core_seconds(name: str, work: Work, rates: Rates) -> float:
    """Return the seconds of one core for a training."""
    macs = work.row.cost.macs
    return (
        macs * work.examples * per_mac(rates.train[name], macs)
        + macs * work.scored * per_mac(rates.forward[name], macs)
        + work.steps * rates.optimizer[name]
    )


def gpu_seconds(work: Work) -> float:
    """Return the seconds of the assumed GPU for a training."""
    macs = work.row.cost.macs
    learning = (1 + BACKWARD) * macs * work.examples / GPU_MACS
    return max(learning, work.steps * GPU_STEP) + macs * work.scored / GPU_MACS


def store_bytes(configs: Sequence[MelConfig], dtype: str) -> int:
    """Return the bytes of stores of all clips, without their index."""
    return sum(
        CLIPS * Layout(c.n_mels, dtype).n_bytes(c.input_shape(CLIP_SECONDS)[1])  # type: ignore[arg-type]
        for c in configs
    )


def duration(seconds: float) -> str:
    """Return a time in a unit that is easily read, two digits of it."""
    for unit, length in (("years", 365.25 * 86_400), ("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{rounded(seconds / length)} {unit}"
    return f"{rounded(seconds)} s"


def size(n_bytes: float) -> str:
    """Return bytes in a unit that is easily read, two digits of them."""
    return f"{rounded(n_bytes / 1e9)} GB" if n_bytes >= 1e9 else f"{rounded(n_bytes / 1e6)} MB"


def rounded(value: float) -> str:
    """Return two digits of a number, without an exponent."""
    digits = max(0, 1 - math.floor(math.log10(value))) if value else 0
    whole = round(value, 1 - math.floor(math.log10(value))) if value else 0
    return f"{whole:,.{digits}f}"


def table(rates: Rates) -> str:
    """Return the table: a row for each step."""
    one = MelConfig.from_slug(EXAMPLE)
    bases = [c for c in PAPER_CONFIGS if c.hop_factor == 1]
    built = sum(CLIPS * rates.feature[c.sr] for c in bases)
    derived = CLIPS * rates.derive * (len(PAPER_CONFIGS) - len(bases))
    processors = "runs on processors"
    rows = [
        ("the sound, as archives and unpacked", size(2 * CLIPS * CLIP_SECONDS * MP3_BYTES), "", ""),
        (
            f"features of {EXAMPLE}",
            size(store_bytes([one], "float32")),
            duration(CLIPS * rates.feature[one.sr]),
            processors,
        ),
        (
            f"features of all {len(PAPER_CONFIGS)}: {len(bases)} from the sound, the rest derived",
            f"{size(store_bytes(PAPER_CONFIGS, 'float32'))}"
            f" (float16: {size(store_bytes(PAPER_CONFIGS, 'float16'))},"
            f" uint8: {size(store_bytes(PAPER_CONFIGS, 'uint8'))})",
            duration(built + derived),
            processors,
        ),
    ]
    for name, title in NETWORKS.items():
        work = work_of(name, one)
        rows.append(
            (
                f"{title} on {EXAMPLE}, one training",
                size(4 * work.row.cost.parameters),
                duration(core_seconds(name, work, rates)),
                duration(gpu_seconds(work)),
            )
        )
    disk, core, gpu = 0.0, 0.0, 0.0
    for name, title in NETWORKS.items():
        works = [work_of(name, c) for c in PAPER_CONFIGS]
        bits = SEEDS * sum(4 * w.row.cost.parameters for w in works)
        cores = SEEDS * sum(core_seconds(name, w, rates) for w in works)
        gpus = SEEDS * sum(map(gpu_seconds, works))
        disk, core, gpu = disk + bits, core + cores, gpu + gpus
        what = f"{title}: {len(works)} x {SEEDS} trainings"
        rows.append((what, size(bits), duration(cores), duration(gpus)))
    count = len(PAPER_CONFIGS) * len(NETWORKS) * SEEDS
    rows.append((f"**all {count} trainings**", size(disk), duration(core), duration(gpu)))
    return markdown(("step", "disk", "one core, from measured rates", "one GPU, computed"), rows)


def notes(rates: Rates) -> str:
    """Return what was measured, in a sentence each."""
    lines = [
        f"- A clip from its MP3: {1e3 * mean(rates.feature.values()):.0f} ms; derived from another's frames: "
        f"{1e3 * rates.derive:.2f} ms."
    ]
    for name, title in NETWORKS.items():
        low, high = (f(rates.train[name].values()) for f in (min, max))
        lines.append(
            f"- {title}, forward and backward: {1e-9 / high:.1f} to {1e-9 / low:.1f} GMAC of the forward "
            f"pass a second; a step of Adam: {1e3 * rates.optimizer[name]:.0f} ms."
        )
    lines.append(
        f"- The GPU is an assumption: {GPU_MACS / 1e12:g}e12 multiply-accumulates a second, a backward pass "
        f"that costs {BACKWARD} forward passes, and {1e3 * GPU_STEP:g} ms for a step at least. Nothing was "
        "measured on one."
    )
    return "\n".join(lines)


def page_with(page: str, text: str) -> str:
    """Return the page with `text` between its marks."""
    start, end = (page.index(mark) for mark in MARKS)
    return f"{page[: start + len(MARKS[0])]}\n\n{text}\n\n{page[end:]}"


def main() -> None:
    """Parse, measure, print; write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("music", type=Path)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    given = parser.parse_args()
    rates = measure(audio.find(given.music), given.clips, given.rounds)
    text = f"{table(rates)}\n\n{notes(rates)}"
    print(text)
    if given.write:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
