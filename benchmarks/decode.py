"""The speed of decoding files to 16 kHz mono, on one thread, and the memory that it takes.

``python benchmarks/decode.py [--seconds 300] [--formats mp3 flac] [--rounds 7] [--memory 1 10 60]``

The file is a long stereo one, made here: tones under noise. Every round times each contender once, one
after another, so that a busy neighbour slows all of them; the figures are medians over the rounds, and
of each contender's time in units of lightmel's, round by round. "naive" is soundfile.read, mean(axis=1)
and soxr.resample; ``librosa.load`` is the usual one call. Both hold the whole file, at its own rate.
"excerpts" are ten of 3 s, spread over the file, in units of lightmel's whole decode.

The clock is by default the processor time of this process: on one thread of an idle machine it is the
time on the wall, and on a busy one it leaves out the others' turns.

The memory (Linux only) is the most that the process held while it decoded a WAV file of so many minutes,
less what it held before: a process each, since a process never shrinks again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import librosa
import numpy as np
import soundfile
import soxr
from threadpoolctl import threadpool_limits

from lightmel import audio

SR, FILE_SR = 16_000, 44_100
FORMATS = {
    "mp3": {"bitrate_mode": "CONSTANT", "compression_level": 0.6},
    "flac": {},
    "ogg": {},
    "wav": {},
}
PEAK = """
import re, sys
from pathlib import Path
from lightmel import audio
def peak():  # in kilobytes; getrusage would count the process that started this one
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
path, how = sys.argv[1:]
next(audio.stream(path, 16_000))
before = peak()
samples = len(audio.load(path, 16_000)) if how == "load" else sum(map(len, audio.stream(path, 16_000)))
print((peak() - before) / 1e3)
"""


def write(path: Path, seconds: float, **options: object) -> Path:
    """Write stereo tones under noise, ten seconds at a time."""
    generator = np.random.default_rng(0)
    time = np.arange(10 * FILE_SR)[:, None] / FILE_SR
    tones = 0.3 * np.sin(2 * np.pi * time * [220, 330]) * (0.2 + 0.8 * np.abs(np.sin(time)))
    with soundfile.SoundFile(path, "w", FILE_SR, 2, **options) as file:
        for _ in range(round(seconds / 10)):
            file.write(tones + 0.05 * generator.standard_normal(tones.shape))
    return path


def stream(path: Path) -> None:
    """Decode as the tagger does."""
    for _ in audio.stream(path, SR):
        pass


def naive(path: Path) -> None:
    """Read, average, resample: all at once."""
    wave, sr = soundfile.read(path, dtype="float32", always_2d=True)
    soxr.resample(wave.mean(axis=1), sr, SR, "HQ")


def by_librosa(path: Path) -> None:
    """One call, with its own defaults but for the rate."""
    librosa.load(path, sr=SR)


def excerpts(path: Path) -> None:
    """Take ten excerpts of three seconds."""
    seconds = audio.info(path).seconds
    for start in np.linspace(0, seconds - 4, 10):
        audio.excerpt(path, SR, float(start), 3)


def timed(contender: Callable[[Path], None], path: Path, clock: Callable[[], float]) -> float:
    """Return how long one call takes, in seconds."""
    start = clock()
    contender(path)
    return clock() - start


def speed(folder: Path, formats: list[str], seconds: float, rounds: int, clock: Callable[[], float]) -> None:
    """Print the table of times and ratios."""
    contenders = {"stream": stream, "naive": naive, "librosa": by_librosa, "excerpts": excerpts}
    print(f"{seconds:g} s of stereo at {FILE_SR} Hz to mono at {SR} Hz, median of {rounds}")
    print("format  stream ms  x real time  naive/stream  librosa/stream  excerpts/stream")
    for suffix in formats:
        path = write(folder / f"long.{suffix}", seconds, **FORMATS[suffix])
        for contender in contenders.values():
            contender(path)
        times = [{n: timed(c, path, clock) for n, c in contenders.items()} for _ in range(rounds)]
        own = median(row["stream"] for row in times)
        ratios = [median(row[n] / row["stream"] for row in times) for n in ("naive", "librosa", "excerpts")]
        print(
            f"{suffix:6}  {own * 1000:9.0f}  {seconds / own:11.0f}  {ratios[0]:12.2f}  {ratios[1]:14.2f}"
            f"  {ratios[2]:15.2f}",
            flush=True,
        )
        path.unlink()


def memory(folder: Path, minutes: list[float]) -> None:
    """Print how the peak grows with the file."""
    print("\nminutes  stream MB  load MB  samples at the file's rate, MB")
    for length in minutes:
        path = write(folder / "long.wav", 60 * length)
        peaks = [
            float(
                subprocess.run(
                    [sys.executable, "-c", PEAK, path, how], capture_output=True, check=True
                ).stdout
            )
            for how in ("stream", "load")
        ]
        whole = length * 60 * FILE_SR * 2 * 4 / 1e6
        print(f"{length:7g}  {peaks[0]:9.1f}  {peaks[1]:7.1f}  {whole:30.1f}", flush=True)
        path.unlink()


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=["mp3", "flac"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="cpu")
    parser.add_argument("--memory", type=float, nargs="*", default=[1.0, 10.0, 60.0], metavar="MINUTES")
    options = parser.parse_args()
    clock = process_time if options.clock == "cpu" else perf_counter
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        speed(Path(name), options.formats, options.seconds, options.rounds, clock)
        if Path("/proc/self/status").exists():
            memory(Path(name), options.memory)


if __name__ == "__main__":
    main()
