"""What a training step takes with the channels last, against channels first: one thread, in turns.

    python benchmarks/memory_format.py

The ratio is what counts; `memory_format` of a network says which of the two it is trained with.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from lightmel import MelConfig
from lightmel.models import build

BATCH, TAGS = 16, 50
NETWORKS: dict[str, dict[str, Any]] = {
    "vgg": {"size": "small"},
    "musicnn": {"size": "small"},
    "mobilenet": {},
}
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}


def stepper(name: str, shape: tuple[int, int], layout: str, half: bool) -> Callable[[], None]:
    """Return a function that takes one training step."""
    generator = torch.Generator().manual_seed(0)
    spec = {"architecture": name, "input_shape": shape, "n_tags": TAGS, **NETWORKS[name]}
    network = build(spec, generator=generator).train()
    network.lay_out(FORMATS[layout])
    optimizer = torch.optim.Adam(network.parameters())
    mel = torch.randn(BATCH, *shape, generator=generator)
    target = torch.randint(0, 2, (BATCH, TAGS), generator=generator).float()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(mel)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits.float(), target).backward()
        optimizer.step()

    return step


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each network and precision."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mel", default="16k-mel48-x2-db")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shape = MelConfig.from_slug(given.mel).input_shape(given.seconds)
    print(
        f"vgg and musicnn: the small ones; {given.mel}, {given.seconds:g} s, batches of {BATCH}, torch "
        f"{torch.__version__}\n"
    )
    print("| network | precision | channels first, ms | channels last, ms | ratio |")
    print("|---|---|---:|---:|---:|")
    for name in NETWORKS:
        for precision, half in (("float32", False), ("bfloat16", True)):
            steps = {layout: stepper(name, shape, layout, half) for layout in FORMATS}
            times: dict[str, list[float]] = {layout: [] for layout in FORMATS}
            for number in range(given.rounds + 1):
                for layout, step in steps.items():
                    before = time.process_time()
                    step()
                    if number:  # the first warms up
                        times[layout].append(1e3 * (time.process_time() - before))
            first, last = (statistics.median(times[layout]) for layout in ("first", "last"))
            ratio = statistics.median(b / a for a, b in zip(times["first"], times["last"], strict=True))
            print(f"| {name} | {precision} | {first:.1f} | {last:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
