"""The constant-Q front end beside librosa's: how far their magnitudes lie apart, and what each takes.

``python -P benchmarks/constant_q.py [FILE ...] [--config 16k-cqt84-x2-db] [--seconds 30] [--rounds 7]``
(``-P``: librosa's numba imports a module `coverage`, and there is another one in this folder.)

Of noise that begins and ends at once, and of every FILE. Differences are parts of the largest magnitude: with
and without the entries that librosa leaves out of its filters (``sparsity``). Times are medians, on one
thread, of rounds in which each computes the noise once, in processor time of this process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import librosa
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from lightmel import audio
from lightmel.frontends import CqtConfig, CqtFrontend, build_arrays


def librosa_cqt(wave: np.ndarray, config: CqtConfig, sparsity: float = 0.01) -> np.ndarray:
    """Compute librosa's magnitudes, by default as librosa has it by default."""
    found: np.ndarray = librosa.cqt(
        wave,
        sr=config.sr,
        hop_length=config.hop_length,
        fmin=config.fmin,
        n_bins=config.n_bins,
        bins_per_octave=config.bins_per_octave,
        tuning=0.0,
        sparsity=sparsity,
    )
    return np.abs(found)


def compare(name: str, wave: np.ndarray, config: CqtConfig) -> None:
    """Print how far the magnitudes of a sound lie from librosa's."""
    features = CqtFrontend(config.replace(log="log"))(torch.from_numpy(wave)).numpy().astype(np.float64)
    own = np.sqrt((10.0**features - 1) / 10_000)
    apart = []
    for sparsity in (0.0, 0.01):
        theirs = librosa_cqt(wave, config, sparsity)
        common = min(own.shape[1], theirs.shape[1])
        apart.append(np.abs(own[:, :common] - theirs[:, :common]).max() / theirs.max())
    print(f"{config.slug}  {name:30.30}  {apart[0]:.1e} from librosa, {apart[1]:.1e} from its sparse filters")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--config", default="16k-cqt84-x2-db")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = CqtConfig.from_slug(arguments.config)
    samples = arguments.seconds * config.sr
    wave = np.random.default_rng(0).standard_normal(samples, dtype=np.float32) * np.float32(0.1)
    frontend, arrays = CqtFrontend(config), build_arrays(config)
    contenders: dict[str, Callable[[], object]] = {
        "librosa": lambda: librosa_cqt(wave, config),
        "lightmel": lambda: frontend(torch.from_numpy(wave)),
        "without torch": lambda: arrays(wave[None]),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    with threadpool_limits(1), torch.inference_mode():
        compare("noise", wave, config)
        for file in arguments.files:
            compare(file.stem, audio.load(file, config.sr)[:samples], config)
        for i in range(arguments.rounds + 1):
            for name, run in contenders.items():
                start = process_time()
                run()
                if i:  # the first round warms up
                    times[name].append(process_time() - start)
    for name, values in times.items():
        print(f"{config.slug}  {arguments.seconds} s  {name:13}  {1000 * median(values):7.1f} ms")


if __name__ == "__main__":
    main()
