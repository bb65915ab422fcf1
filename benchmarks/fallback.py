"""What it costs when FFmpeg decodes instead of libsndfile, and what importing it costs.

``python benchmarks/fallback.py [--seconds 180] [--formats mp3 ogg opus flac] [--rounds 7]``

The file is a stereo one, made here: tones under noise. Every round decodes it to 16 kHz mono with each
decoder, one after the other; the figures are medians over the rounds, and of FFmpeg's time in units of
libsndfile's, round by round. The clock is the processor time of this process, and all of it is on one thread.
"import" is the time on the wall of ``import av`` in a process of its own that has NumPy already.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

from lightmel.audio._decoders import open_part
from lightmel.audio._layout import Part
from lightmel.audio._notes import Notes
from lightmel.audio._read import decoded

SR = 16_000
FORMATS = {
    "mp3": {"bitrate_mode": "CONSTANT", "compression_level": 0.6},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "flac": {},
}
DECODERS = {"libsndfile": Part(), "ffmpeg": Part(refusal="to compare")}
IMPORT = "import numpy, time; start = time.perf_counter(); import av; print(time.perf_counter() - start)"


def write(path: Path, seconds: float) -> Path:
    """Write stereo tones under noise, a second at a time: libsndfile's Vorbis does not take long ones."""
    sr = 48_000 if path.suffix == ".opus" else 44_100
    generator = np.random.default_rng(0)
    time = np.arange(sr)[:, None] / sr
    tones = 0.3 * np.sin(2 * np.pi * time * [220, 330]) * (0.2 + 0.8 * np.abs(np.sin(3 * time)))
    with soundfile.SoundFile(path, "w", sr, 2, **FORMATS[path.suffix[1:]]) as file:
        for _ in range(round(seconds)):
            file.write(tones + 0.05 * generator.standard_normal(tones.shape))
    return path


def timed(path: Path, part: Part) -> float:
    """Return the processor time of one decode, in seconds."""
    start = process_time()
    with closing(open_part(str(path), path, part, Notes(None))) as decoder:
        for _ in decoded(decoder, SR, 0):
            pass
    return process_time() - start


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"{options.seconds:g} s of stereo to mono at {SR} Hz, median of {options.rounds}")
    print("format  libsndfile ms  FFmpeg ms  FFmpeg/libsndfile")
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        for suffix in options.formats:
            path = write(Path(name, f"long.{suffix}"), options.seconds)
            for part in DECODERS.values():
                timed(path, part)
            rounds = [{n: timed(path, part) for n, part in DECODERS.items()} for _ in range(options.rounds)]
            own, other = (median(row[n] for row in rounds) for n in DECODERS)
            ratio = median(row["ffmpeg"] / row["libsndfile"] for row in rounds)
            print(f"{suffix:6}  {own * 1000:13.0f}  {other * 1000:9.0f}  {ratio:17.2f}", flush=True)
    times = [
        float(subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True).stdout)
        for _ in range(options.rounds)
    ]
    print(f"import: {median(times) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
