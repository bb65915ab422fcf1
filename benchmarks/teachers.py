"""How fast other people's taggers score music on one thread, and what bfloat16 moves.

    python benchmarks/teachers.py [NAME_OR_FILE ...] [--rounds 15]

Without names they are the four of Pons and Serra, which are fetched where the cache lacks them. A segment is
scored whole: front end, network, head, a batch of segments of the sample at a time. Every round times each
contender once, by the processor's clock; a time is the median over the rounds. "As it is" is the network
before it is rearranged for a processor. The last columns compare logits over the segments of the sample.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import process_time

import numpy as np
import torch

import lightmel
from lightmel import audio, hub, sample
from lightmel.frontends import build_frontend
from lightmel.inference import Tagger, TorchRuntime

PRECISIONS = ("float32", "bfloat16")


def waves(tagger: Tagger) -> torch.Tensor:
    """Return segments of the sample, ``(segments, segment_samples)``, as many as a batch has."""
    sound = np.asarray(audio.load(sample.path(), tagger.config.sr)).reshape(-1)
    length = tagger.segment_samples
    count = max(1, int(tagger.runtime.batch_seconds / tagger.segment_seconds))
    starts = np.linspace(0, max(0, len(sound) - length), count).astype(int)
    sound = np.pad(sound, (0, max(0, length - len(sound))))
    return torch.from_numpy(np.stack([sound[at : at + length] for at in starts]).astype(np.float32))


def as_it_is(tagger: Tagger) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what scores waves with the network as it is."""
    network, frontend = tagger.network.eval(), build_frontend(tagger.config)

    @torch.inference_mode()
    def logits(sound: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network(frontend(sound))
        return found

    return logits


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME_OR_FILE")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    names = options.names or [name for name in hub.CHECKPOINTS if name.startswith("public:pons2019-")]
    torch.set_num_threads(1)
    print("| tagger | | ms a segment | x real time | logits move by at most | in the root mean square |")
    print("|---|---|---:|---:|---:|---:|")
    for name in names:
        contenders: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
        for precision in PRECISIONS:
            tagger = lightmel.load(name, device="cpu", precision=precision)
            assert isinstance(tagger.runtime, TorchRuntime)
            contenders[precision] = tagger.runtime.logits
        contenders = {"as it is": as_it_is(tagger)} | contenders
        sound = waves(tagger)
        times: dict[str, list[float]] = {contender: [] for contender in contenders}
        moved = {}
        for number in range(options.rounds + 1):
            for contender, score in contenders.items():
                start = process_time()
                moved[contender] = score(sound)
                if number:  # the first warms up
                    times[contender].append((process_time() - start) / len(sound))
        for contender, own in times.items():
            took, by = median(own), (moved[contender] - moved["as it is"]).abs()
            print(
                f"| {tagger.name} | {contender} | {1e3 * took:.1f} | {tagger.segment_seconds / took:.0f} "
                f"| {by.max():.2g} | {by.square().mean().sqrt():.2g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
