"""What a tagger asks of whatever runs its network: waves in, scores and embeddings out, all of it NumPy."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

CPU_BATCH_SECONDS, ACCELERATOR_BATCH_SECONDS = 24.0, 240.0
"""Sound in one pass of the network: on a processor, enough that fetching its weights again after each stretch
of decoding weighs little, at some megabytes; elsewhere enough to keep the device busy."""


class Output(NamedTuple):
    """What a batch of waves gave.

    Attributes
    ----------
    scores
        ``(batch, tags)``, float64, between 0 and 1.
    embedding
        ``(batch, embed_dim)``, float32: what the network's last layer sees.
    """

    scores: NDArray[np.float64]
    embedding: NDArray[np.float32]


class Runtime(Protocol):
    """A front end and a network, ready to run on one device. Threads may share it.

    Attributes
    ----------
    device
        Where it runs: ``"cpu"``, ``"cuda:0"``, ``"mps"``.
    precision
        What the network computes in; the front end and the scores have their own.
    batch_seconds
        Sound in one call of `run`: what is fast on the device and stays small.
    n_tags, embed_dim
        Numbers of scores, and of an embedding.
    weights
        What tells the network's weights from others, for the record of an evaluation.
    """

    device: str
    precision: str
    batch_seconds: float
    n_tags: int
    embed_dim: int

    @property
    def weights(self) -> str:
        """Digest of the weights."""

    def run(self, waves: NDArray[np.float32]) -> Output:
        """Return scores and embeddings of waves ``(batch, segment_samples)`` at the front end's rate."""
