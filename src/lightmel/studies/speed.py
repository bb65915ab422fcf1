"""How fast a candidate runs on this machine: its front end and its network, as times real time."""

from __future__ import annotations

from statistics import median
from time import process_time

import numpy as np

from .. import hub
from .._steady import steady
from ..errors import LightmelError
from ..inference import Runtime, load
from ..models import SEGMENT_SECONDS, build, parse_name
from .candidates import Candidate

_ROUNDS = 3
_WARM_UP = 1


@steady
def measured_speed(own: Candidate) -> tuple[float, str] | None:
    """Return seconds of sound for a second of one processor core's time, and how that was measured.

    What is timed is front end and network on noise, in batches as `lightmel tag` makes them; decoding is not.
    A tagger of the package runs as it always does, in ONNX Runtime; a network of the paper, which has no
    weights, in torch with random ones. Time is that of the processor, all threads together, so that other
    programs do not count; with more threads than one (``OMP_NUM_THREADS``) their waiting for each other does.

    Returns
    -------
    tuple or None
        None for a network of a study's own, of which only the study knows how it is built.
    """
    if hub.packaged(own.name) is not None:
        tagger = load(own.name, device="cpu")
        return _timed(tagger.runtime, tagger.segment_samples, tagger.config.sr), "measured here, ONNX Runtime"
    try:
        spec, config = parse_name(own.name)
        seconds = SEGMENT_SECONDS[spec["architecture"]]
        import torch

        network = build(
            {**spec, "input_shape": config.input_shape(seconds)}, generator=torch.Generator().manual_seed(0)
        )
    except (LightmelError, KeyError):
        return None
    from ..inference import TorchRuntime

    runtime = TorchRuntime(network, config)
    return _timed(runtime, config.n_samples(seconds), config.sr), "measured here, torch, random weights"


def _timed(runtime: Runtime, samples: int, sr: int) -> float:
    """Return seconds of sound for a second of the processor, the median of some rounds."""
    seconds = samples / sr
    at_once = max(1, int(runtime.batch_seconds // seconds))
    waves = np.random.default_rng(0).normal(scale=0.1, size=(at_once, samples)).astype(np.float32)
    times = []
    for number in range(_WARM_UP + _ROUNDS):
        start = process_time()
        runtime.run(waves)
        if number >= _WARM_UP:
            times.append(process_time() - start)
    return at_once * seconds / median(times)
