"""How many songs an hour, and where the time goes: the figures of docs/performance.md.

    python benchmarks/rates.py MUSIC [--rounds 7] [--files 60] [--write]

MUSIC is a folder of whole tracks, MP3 above all. One thread a process throughout. Processor times and their
ratios are medians over the rounds, in which each contender runs once and finds each file as if it were new; a
library is run as a user runs it, ``lightmel tag FOLDER --out``, in a process of its own, on copies of the
tracks. The MP3 of five minutes is made of the tracks, at 192 kbit/s.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

import lightmel
from lightmel import audio, hub
from lightmel.audio._layout import inspect_once
from lightmel.evaluation import markdown
from lightmel.frontends import build_arrays
from lightmel.inference import Tagger, cut

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_SR, _FIVE_MINUTES = 44_100, 300
MARKS = "<!-- rates: made by benchmarks/rates.py -->", "<!-- rates: end -->"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def decode(path: Path) -> None:
    """Read all samples of a file as they are."""
    with soundfile.SoundFile(path) as file:
        while len(file.read(65_536, dtype="float32")):
            pass


def frames(tagger: Tagger, path: Path) -> None:
    """Do all that tagging does but the network."""
    frontend, length = build_arrays(tagger.config), tagger.segment_samples
    for segment in cut(audio.stream(path, tagger.config.sr), length, length):
        frontend(segment.wave[None])


def stages(tagger: Tagger, paths: Sequence[Path], rounds: int) -> list[tuple[str, str, str]]:
    """Return what each stage adds, as times real time and as a share of the whole."""
    contenders: dict[str, Callable[[Path], object]] = {
        "decoding": decode,
        "mono, resampling, looking for damage": lambda p: [len(b) for b in audio.stream(p, tagger.config.sr)],
        "front end": lambda p: frames(tagger, p),
        "network and the rest": tagger.tag,
    }
    times = measured(contenders, paths, rounds)
    seconds = sum(tagger.tag(path).seconds for path in paths)
    whole, before, rows = median(times["network and the rest"]), 0.0, []
    for name, taken in times.items():
        rows.append(
            (
                name,
                f"{1e3 * (median(taken) - before) / seconds:.3f}",
                f"{(median(taken) - before) / whole:.0%}",
            )
        )
        before = median(taken)
    return rows


def measured(
    contenders: dict[str, Callable[[Path], object]], paths: Sequence[Path], rounds: int
) -> dict[str, list[float]]:
    """Return the processor times of each contender over all files, a round each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            inspect_once.cache_clear()  # a library has each file once
            start = process_time()
            for path in paths:
                run(path)
            if number:  # the first warms up
                times[name].append(process_time() - start)
    return times


def speeds(paths: Sequence[Path], rounds: int) -> list[tuple[str, ...]]:
    """Return the rates of some taggers, and of parts of files, against decoding alone."""
    default, cheap = lightmel.load(), lightmel.load(hub.cheapest())
    contenders: dict[str, Callable[[Path], object]] = {
        "decoding to 16 kHz alone": lambda p: [len(b) for b in audio.stream(p, 16_000)],
        "the default": default.tag,
        "the cheapest": cheap.tag,
        "the default, a tenth": lambda p: default.tag(p, coverage=0.1),
        "the cheapest, a tenth (--fast)": lambda p: cheap.tag(p, coverage=0.1),
    }
    times = measured(contenders, paths, rounds)
    seconds = sum(default.tag(path).seconds for path in paths)
    alone = times["decoding to 16 kHz alone"]
    return [
        (
            name,
            f"{seconds / median(taken):,.0f}",
            f"{3_600 * seconds / median(taken) / 240:,.0f}",
            f"{median(a / b for a, b in zip(alone, taken, strict=True)):.2f}",
        )
        for name, taken in times.items()
    ]


def five_minutes(paths: Sequence[Path], rounds: int) -> list[tuple[str, ...]]:
    """Return the rates of a tenth of an MP3 of five minutes, against all of it and against decoding it."""
    taggers = {"the default": lightmel.load(), "the cheapest": lightmel.load(hub.cheapest())}
    contenders: dict[str, Callable[[Path], object]] = {
        "decoding to 16 kHz alone": lambda p: [len(b) for b in audio.stream(p, 16_000)]
    }
    for name, tagger in taggers.items():
        contenders[name] = tagger.tag
        contenders[f"{name}, a tenth"] = partial(tagger.tag, coverage=0.1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "five.mp3"
        with soundfile.SoundFile(path, "w", _SR, 2, bitrate_mode="CONSTANT", compression_level=0.4) as file:
            left = _FIVE_MINUTES * _SR
            for wave in (wave for source in cycle(paths) for wave in audio.stream(source, _SR)):
                file.write(np.stack([wave, 0.9 * np.roll(wave, 20)], axis=1)[:left])
                left -= len(wave)
                if left <= 0:
                    break
        times = measured(contenders, [path], rounds)
    alone = times["decoding to 16 kHz alone"]
    rows = []
    for name, taken in times.items():
        whole = times.get(name.removesuffix(", a tenth"), taken)
        rows.append(
            (
                name,
                f"{_FIVE_MINUTES / median(taken):,.0f}",
                f"{median(a / b for a, b in zip(alone, taken, strict=True)):.2f}",
                f"{median(a / b for a, b in zip(whole, taken, strict=True)):.1f}"
                if whole is not taken
                else "",
            )
        )
    return rows


def library(paths: Sequence[Path], files: int) -> list[tuple[str, ...]]:
    """Return what a folder of copies takes with one and two processes, and again."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        music = Path(name) / "music"
        music.mkdir()
        for i in range(files):
            source = paths[i % len(paths)]
            shutil.copy(source, music / f"{i:03}{source.suffix}")
        hours = files * sum(lightmel.tag(p, coverage=0.01).seconds for p in paths) / len(paths) / 3_600
        for jobs in sorted({1, 2, len(os.sched_getaffinity(0))}):
            for options in ([], ["--fast"]):
                out = Path(name) / f"tags-{jobs}{''.join(options)}.jsonl"
                took, memory = run(["tag", str(music), "--out", str(out), "--jobs", str(jobs), *options])
                again, _ = run(["tag", str(music), "--out", str(out), "--jobs", str(jobs), *options])
                songs = f"{3_600 * hours / took * 3_600 / 240:,.0f}"
                rows.append(
                    (
                        f"{jobs}",
                        "".join(options) or "the default",
                        f"{took:.1f}",
                        songs,
                        f"{memory:.0f}",
                        f"{again:.2f}",
                    )
                )
    return rows


def run(arguments: Sequence[str]) -> tuple[float, float]:
    """Return seconds, and the memory in MB of the largest process, of a command."""
    began = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "lightmel", *arguments],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return perf_counter() - began, usage.ru_maxrss / 1_024


def main() -> None:
    """Parse, measure, print; write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("music", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    paths = audio.find(options.music)
    with threadpool_limits(1):
        parts = [
            markdown(
                ("", "x real time", "songs of 4 min an hour", "of decoding"), speeds(paths, options.rounds)
            ),
            markdown(
                ("an MP3 of five minutes", "x real time", "of decoding", "of all of it"),
                five_minutes(paths, options.rounds),
            ),
            markdown(
                ("the default, stage", "ms a second of sound", "share"),
                stages(lightmel.load(), paths, options.rounds),
            ),
            markdown(
                ("the cheapest, stage", "ms a second of sound", "share"),
                stages(lightmel.load(hub.cheapest()), paths, options.rounds),
            ),
        ]
    heads = (
        "processes",
        "tagger",
        "seconds",
        "songs of 4 min an hour",
        "MB of the largest process",
        "again, s",
    )
    parts.append(markdown(heads, library(paths, options.files)))
    text = "\n\n".join(parts)
    print(text)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        start, end = (page.index(mark) for mark in MARKS)
        PAGE.write_text(f"{page[: start + len(MARKS[0])]}\n\n{text}\n\n{page[end:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
