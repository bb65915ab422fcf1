"""What tagging a song costs beside decoding it, on one thread, and what an excerpt saves.

    python benchmarks/tagging.py [--seconds 300] [--rounds 7] [--model default]

The file is a long stereo MP3, made here. Every round times each contender once; a ratio is the median over
the rounds, and times are those of the processor.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import soundfile
import torch
from threadpoolctl import threadpool_limits

import lightmel
from lightmel import audio

FILE_SR = 44_100


def write(path: Path, seconds: float) -> Path:
    """Write tones under noise whose loudness moves."""
    generator = np.random.default_rng(0)
    time = np.arange(10 * FILE_SR)[:, None] / FILE_SR
    tones = 0.3 * np.sin(2 * np.pi * time * [220, 330]) * (0.2 + 0.8 * np.abs(np.sin(time)))
    with soundfile.SoundFile(path, "w", FILE_SR, 2) as file:
        for _ in range(round(seconds / 10)):
            file.write(tones + 0.05 * generator.standard_normal(tones.shape))
    return path


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tagger = lightmel.load(options.model, device="cpu")
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        path = write(Path(name) / "song.mp3", options.seconds)
        contenders: dict[str, Callable[[], object]] = {
            "decode only": lambda: [len(block) for block in audio.stream(path, tagger.config.sr)],
            "tag, all of it": lambda: tagger.tag(path),
            "tag, 16 segments": lambda: tagger.tag(path, segments=16),
            "tag, the middle one": lambda: tagger.tag(path, segments="center"),
        }
        times: dict[str, list[float]] = {contender: [] for contender in contenders}
        for number in range(options.rounds + 1):
            for contender, run in contenders.items():
                start = process_time()
                run()
                if number:  # the first warms up
                    times[contender].append(process_time() - start)
    print(f"{tagger.name}, {options.seconds:g} s of stereo MP3, median of {options.rounds}\n")
    print("| | ms | x real time | of decoding alone |")
    print("|---|---:|---:|---:|")
    for contender, own in times.items():
        ratio = median(a / b for a, b in zip(own, times["decode only"], strict=True))
        took = median(own)
        print(f"| {contender} | {1e3 * took:.0f} | {options.seconds / took:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
