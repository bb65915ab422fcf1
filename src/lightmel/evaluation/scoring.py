"""Scores of clips whose features are there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from .._steady import steady
from ..features import FeatureExamples
from ..models import TaggingNetwork

_SEGMENTS = 64
"""Segments in one pass of the network."""


@steady
@torch.inference_mode()
def score_clips(network: TaggingNetwork, examples: FeatureExamples) -> NDArray[np.float64]:
    """Return the scores of whole clips, ``(clips, tags)``: means over the scores of their segments.

    `network` is taken as it is: in evaluation mode, on whatever device.
    """
    device = next(network.parameters()).device
    totals = np.zeros((len(examples), network.n_tags))
    counts = np.zeros(len(examples))
    owners: list[int] = []
    waiting: list[torch.Tensor] = []

    def flush() -> None:
        scores = network(torch.cat(waiting).to(device)).double().sigmoid().cpu().numpy()
        np.add.at(totals, owners, scores)
        np.add.at(counts, owners, 1)
        owners.clear()
        waiting.clear()

    for clip in range(len(examples)):
        for part in torch.split(examples.segments(clip), _SEGMENTS):
            if owners and len(owners) + len(part) > _SEGMENTS:
                flush()
            waiting.append(part)
            owners += [clip] * len(part)
    flush()
    means: NDArray[np.float64] = totals / counts[:, None]
    return means
