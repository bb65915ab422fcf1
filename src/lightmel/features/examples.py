"""What is learnt from: random excerpts of mels for training, all segments of a clip for judging."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, ShapeError
from ..models.base import TaggingNetwork
from .store import Mels

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Damage: TypeAlias = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Mels ``(batch, n_mels, frames)`` to such as damaged sound would give."""

_SEGMENTS = 64
"""Segments in one pass of the network when clips are judged."""


class Examples(Protocol):
    """What a training draws its batches from.

    Attributes
    ----------
    labels
        ``(examples, tags)``, float32.
    identity
        What a training that is resumed must find as it was, beside the labels: plain data by name.
    """

    labels: torch.Tensor
    identity: Mapping[str, Any]

    def __len__(self) -> int: ...

    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Return mels ``(batch, n_mels, n_frames)`` and targets ``(batch, tags)`` of the examples `chosen`.

        Whatever is random comes from `rng`. It is called in a thread of its own.
        """
        ...


class MelExamples:
    """Clips of a feature store, or of mels in memory, with their labels.

    In training a clip gives one random excerpt of `n_frames`; in judging, all of it. A shorter clip is
    repeated.

    Parameters
    ----------
    mels
        Where the mels are.
    rows
        Which clips of it.
    labels
        ``(clips, tags)``: 0 or 1, or anything between.
    n_frames
        What the network hears at once, and the step from one judged segment to the next.
    damage
        Changes training batches; judging hears the mels as they are.

    Raises
    ------
    ShapeError
        If rows and labels differ in number.
    DataError
        If there are no clips, a row that `mels` does not have, or labels that are not finite.
    """

    def __init__(
        self,
        mels: Mels,
        rows: Sequence[int] | NDArray[np.int64],
        labels: NDArray[np.bool_] | NDArray[np.floating],
        n_frames: int,
        *,
        damage: Damage | None = None,
    ) -> None:
        self.mels = mels
        self.rows = np.asarray(rows, dtype=np.int64)
        self.labels = torch.from_numpy(np.array(labels, dtype=np.float32))
        self.n_frames = int(n_frames)
        self.damage = damage
        if self.labels.ndim != 2 or len(self.labels) != len(self.rows):
            raise ShapeError(
                f"{len(self.rows)} clips want labels (clips, tags), not {tuple(self.labels.shape)}."
            )
        if not len(self.rows):
            raise DataError("There are no clips to learn from or to judge by.")
        if not bool(torch.isfinite(self.labels).all()):
            clip, tag = (int(i) for i in torch.nonzero(~torch.isfinite(self.labels))[0])
            raise DataError(f"The label of clip {clip}, tag {tag} is {float(self.labels[clip, tag])}.")
        outside = self.rows[(self.rows < 0) | (self.rows >= len(mels))]
        if len(outside):
            raise DataError(f"There is no row {outside[0]}: the {len(mels)} clips have rows from 0 on.")
        self.identity: Mapping[str, Any] = {
            "mels": mels.config.slug,
            "frames": self.n_frames,
            "clips": mels.fingerprint(self.rows),
            "damage": getattr(damage, "identity", damage is not None),
        }

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        rows = self.rows[chosen]
        last = np.maximum(self.mels.frames[rows] - self.n_frames, 0)
        starts = rng.integers(last + 1)
        mel = torch.from_numpy(self.mels.excerpts(rows, starts, self.n_frames))
        if self.damage is not None:
            mel = self.damage(mel, torch.Generator().manual_seed(int(rng.integers(2**62))))
        return mel, self.labels[torch.from_numpy(chosen)]

    def segments(self, clip: int) -> torch.Tensor:
        """Return all of a clip, ``(segments, n_mels, n_frames)``; the last ends where the clip ends.

        One begins `n_frames` frames after the one before. That is somewhat more than the samples that make
        so many frames, which is how far apart `Tagger.tag` cuts the sound.
        """
        row = self.rows[clip]
        last = max(int(self.mels.frames[row]) - self.n_frames, 0)
        starts = np.unique(np.minimum(np.arange(0, last + self.n_frames, self.n_frames), last))
        return torch.from_numpy(self.mels.excerpts(np.full(len(starts), row), starts, self.n_frames))


@torch.inference_mode()
def score_clips(network: TaggingNetwork, examples: MelExamples) -> NDArray[np.float64]:
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
