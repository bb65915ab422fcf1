"""The speed of the front end: decibel mels of lightmel, librosa and plain torch.stft, on one thread.

``python benchmarks/frontend.py [--seconds 30 600] [--rounds 15] [--clock cpu] [--check]``

Every round times each contender once, one after another, so that a busy neighbour slows all of them; the
figures are medians over the rounds (more of them for short sounds), and of one contender's ratio to
another, round by round. The clock is by default the processor time of this process: on one thread of an
idle machine it is the time on the wall, and on a busy one it leaves out the others' turns. ``--check``
ends with an error unless lightmel has at least 2.7 times librosa's rate, and hop factor 10 takes at most
.18 of the time of hop factor 1.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import librosa
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from lightmel import MelConfig, MelFrontend
from lightmel.frontends import mel_filter_bank

X1 = MelConfig(16_000, 96, 1, "db")
X10 = X1.replace(hop_factor=10)
FASTER_THAN_LIBROSA, X10_OF_X1 = 2.7, 0.18


def librosa_mel(wave: np.ndarray, config: MelConfig) -> np.ndarray:
    """Compute the same numbers with librosa, on the frames that both have."""
    power = librosa.feature.melspectrogram(
        y=wave,
        sr=config.sr,
        n_fft=512,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        center=True,
        pad_mode="constant",
        power=2,
    )
    return np.asarray(librosa.power_to_db(power, ref=1, amin=1e-10, top_db=None))


def stft_mel(config: MelConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """Write it the obvious way: one torch.stft, one product with the whole filter bank."""
    bank, window = mel_filter_bank(config).float(), torch.hann_window(512)

    def mel(wave: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(
            wave, 512, config.hop_length, window=window, pad_mode="constant", return_complex=True
        )
        return 10 * torch.log10((bank @ spectrum.abs().square()).clamp_min(1e-10))

    return mel


def interleaved(
    contenders: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return the seconds that each contender took in each round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if i > 0:
                times[name].append(clock() - start)
    return times


def keep_freed_memory() -> None:
    """Tell glibc to hand no freed memory back to the system while this process measures.

    Otherwise the contender that frees last pays for returning what another one used, and the next one for
    getting it again: up to 1 ms, on top of any of them. Without glibc nothing is changed.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(mmap_threshold, 32 << 20)  # what glibc itself comes to with arrays of this size
        mallopt(trim_threshold, 1 << 30)


def measure(seconds: int, rounds: int, clock: Callable[[], float]) -> bool:
    """Print the table for `seconds` of noise; return whether both bounds are kept."""
    wave = np.random.default_rng(0).standard_normal(seconds * X1.sr, dtype=np.float32) * np.float32(0.1)
    tensor = torch.from_numpy(wave)
    x1, x10, plain = MelFrontend.from_config(X1), MelFrontend.from_config(X10), stft_mel(X1)
    theirs = librosa_mel(wave, X1)
    assert np.abs(x1(tensor).numpy()[:, : theirs.shape[1]] - theirs).max() < 1e-3, "not the same work"

    times = interleaved(
        {
            "librosa x1": lambda: librosa_mel(wave, X1),
            "librosa x10": lambda: librosa_mel(wave, X10),
            "torch.stft x1": lambda: plain(tensor),
            "lightmel x1": lambda: x1(tensor),
            "lightmel x10": lambda: x10(tensor),
        },
        max(rounds, 1200 // seconds),
        clock,
    )

    def ratio(one: str, other: str) -> float:
        return median(a / b for a, b in zip(times[one], times[other], strict=True))

    for name, values in times.items():
        print(
            f"{seconds:5d} s  {name:14s} {1000 * median(values):9.2f} ms"
            f"  {ratio('librosa x1', name):6.2f} times librosa x1's rate"
        )
    rate, part = ratio("librosa x1", "lightmel x1"), ratio("lightmel x10", "lightmel x1")
    print(f"{seconds:5d} s  lightmel: {rate:.2f} times librosa's rate at x1; x10 takes {part:.3f} of x1")
    return rate >= FASTER_THAN_LIBROSA and part <= X10_OF_X1


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[30, 600])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    with threadpool_limits(1), torch.inference_mode():
        clock = process_time if arguments.clock == "cpu" else perf_counter
        kept = [measure(seconds, arguments.rounds, clock) for seconds in arguments.seconds]
    if arguments.check and not all(kept):
        sys.exit(f"Not kept: {FASTER_THAN_LIBROSA} times librosa's rate, x10 at most {X10_OF_X1} of x1.")


if __name__ == "__main__":
    main()
