"""How long the networks of a study take on this machine, measured one beside the other."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from .. import checkpoint
from .._files import write_whole
from .._steady import steady
from ..errors import ConfigError, DataError, LightmelError, MissingExtraError
from ..inference import load
from .results import TIMES, Point, read_results

FORMAT = 1
LEAST_ROUNDS = 7
_WARM_UP = 2
_LEAST_SECONDS = 0.02
"""A measurement takes at least this long: as many passes as that takes."""

Progress = Callable[[str, int, int], None]


@steady
def measure_times(
    folder: str | os.PathLike[str],
    *,
    rounds: int = 9,
    script: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Measure how long the network of each point of a study takes for one segment, and write it beside.

    A trained network of each point runs on one thread in ONNX Runtime, as inference does, or in PyTorch, on
    as many threads as it has, where the extra ``export`` is missing or a network has no graph. In each round
    every point has its turn, so that a machine that gets slower does so for all; the median of the rounds
    counts. Time is that of the processor, all threads together, so that other programs hardly count. The
    front end is not part of it.

    Parameters
    ----------
    folder, script
        As in `read_results`.
    rounds
        How often each is measured, at least 7.
    progress
        Called with what is done, how much of it, and all of it.

    Returns
    -------
    Path
        Of the file, ``times.json``: the processor and, for each point, milliseconds for a segment of so many
        seconds, and what ran it.

    Raises
    ------
    ConfigError
        If there are too few rounds.
    DataError
        As `read_results`, or if the file cannot be written.
    WeightsError
        If a trained tagger cannot be read.
    """
    if rounds < LEAST_ROUNDS:
        raise ConfigError(f"rounds is at least {LEAST_ROUNDS}, not {rounds}.", names=("rounds",))
    results = read_results(folder, script=script)
    tell = progress or (lambda what, done, total: None)
    passes: dict[str, Callable[[], object]] = {}
    ran_by: dict[str, str] = {}
    for i, point in enumerate(results.points):
        tell("exporting", i, len(results.points))
        ran_by[point.name], passes[point.name] = _pass(point)
    times: dict[str, list[float]] = {name: [] for name in passes}
    often = {name: _how_often(run) for name, run in passes.items()}
    for number in range(_WARM_UP + rounds):
        tell("measuring", number, _WARM_UP + rounds)
        for name, run in passes.items():
            start = process_time()
            for _ in range(often[name]):
                run()
            if number >= _WARM_UP:
                times[name].append((process_time() - start) / often[name])
    plain = {
        "format": FORMAT,
        "processor": processor(),
        "rounds": rounds,
        "points": {
            point.name: {
                "milliseconds": 1000 * median(times[point.name]),
                "segment_seconds": point.cell.segment_seconds,
                "runtime": ran_by[point.name],
                "weights": point.runs[0].weights,
            }
            for point in results.points
        },
    }
    target = results.folder / TIMES
    write_whole(target, (json.dumps(plain, indent=1) + "\n").encode(), DataError)
    return target


def processor() -> str:
    """Return the name of this machine's processor, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def _pass(point: Point) -> tuple[str, Callable[[], object]]:
    """Return what runs the network of a point, and a pass of one segment of noise through it."""
    tagger = load(str(point.runs[0].tagger), device="cpu", runtime="torch")
    network = tagger.network.eval()
    shape = (1, *network.input_shape)
    given = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    try:
        with tempfile.TemporaryDirectory(prefix="lightmel-times-") as folder:
            file = Path(folder) / "network.onnx"
            checkpoint.export(file, network, tagger.description)
            session = checkpoint.read_graph(file).session
        return "onnx", lambda: session.run(None, {checkpoint.FEATURES: given})
    except (MissingExtraError, LightmelError):
        import torch

        features = torch.from_numpy(given)

        def run() -> Any:
            with torch.inference_mode():
                return network(features)

        return "torch", run


def _how_often(run: Callable[[], object]) -> int:
    """Return how many passes one measurement has."""
    start, passes = process_time(), 0
    while process_time() - start < _LEAST_SECONDS:
        run()
        passes += 1
    return passes
