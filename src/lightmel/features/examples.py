"""Labelled examples: random excerpts of features for training, all segments of a clip for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, ShapeError
from .store import Features

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Augment: TypeAlias = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""From features ``(batch, rows, frames)`` to augmented ones, with random numbers from the generator."""


class Examples(Protocol):
    """A source of training batches.

    Attributes
    ----------
    labels
        ``(examples, tags)``, float32.
    identity
        What must be the same, beside the labels, when a training is resumed: plain data by name.
    """

    labels: torch.Tensor
    identity: Mapping[str, Any]

    def __len__(self) -> int: ...

    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Return inputs ``(batch, rows, n_frames)`` and targets ``(batch, tags)`` of the examples `chosen`.

        All random numbers come from `rng`. A thread of its own calls it.
        """
        ...


class FeatureExamples:
    """Clips of a feature store, or of features in memory, with their labels.

    In training a clip gives one random excerpt of `n_frames`; in evaluation, all of it. A shorter clip is
    repeated.

    Parameters
    ----------
    features
        Store, or features in memory.
    rows
        Rows of the clips in `features`.
    labels
        ``(clips, tags)``: from 0 to 1.
    n_frames
        Frames of one input of the network, and the step from one evaluated segment to the next.
    augment
        Augmentation of training batches; segments for evaluation are not augmented.

    Raises
    ------
    ShapeError
        If rows and labels differ in number.
    DataError
        If there are no clips, a row that `features` does not have, or labels that are not finite.
    """

    def __init__(
        self,
        features: Features,
        rows: Sequence[int] | NDArray[np.int64],
        labels: NDArray[np.bool_] | NDArray[np.floating],
        n_frames: int,
        *,
        augment: Augment | None = None,
    ) -> None:
        self.features = features
        self.rows = np.asarray(rows, dtype=np.int64)
        self.labels = torch.from_numpy(np.array(labels, dtype=np.float32))
        self.n_frames = int(n_frames)
        self.augment = augment
        if self.labels.ndim != 2 or len(self.labels) != len(self.rows):
            raise ShapeError(
                f"{len(self.rows)} clips want labels (clips, tags), not {tuple(self.labels.shape)}."
            )
        if not len(self.rows):
            raise DataError("There are no clips to learn from or to evaluate on.")
        if not bool(torch.isfinite(self.labels).all()):
            clip, tag = (int(i) for i in torch.nonzero(~torch.isfinite(self.labels))[0])
            raise DataError(f"The label of clip {clip}, tag {tag} is {float(self.labels[clip, tag])}.")
        outside = self.rows[(self.rows < 0) | (self.rows >= len(features))]
        if len(outside):
            raise DataError(f"There is no row {outside[0]}: the {len(features)} clips have rows from 0 on.")
        self.identity: Mapping[str, Any] = {
            "features": features.config.slug,
            "frames": self.n_frames,
            "clips": features.fingerprint(self.rows),
            "augmentation": getattr(augment, "identity", augment is not None),
        }

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        rows = self.rows[chosen]
        last = np.maximum(self.features.frames[rows] - self.n_frames, 0)
        starts = rng.integers(last + 1)
        x = torch.from_numpy(self.features.excerpts(rows, starts, self.n_frames))
        if self.augment is not None:
            x = self.augment(x, torch.Generator().manual_seed(int(rng.integers(2**62))))
        return x, self.labels[torch.from_numpy(chosen)]

    def segments(self, clip: int) -> torch.Tensor:
        """Return all of a clip, ``(segments, rows, n_frames)``; the last segment ends where the clip ends.

        Segments begin `n_frames` frames apart. That is slightly more than in `Tagger.tag`, where they are as
        many samples apart as a segment has.
        """
        row = self.rows[clip]
        last = max(int(self.features.frames[row]) - self.n_frames, 0)
        starts = np.unique(np.minimum(np.arange(0, last + self.n_frames, self.n_frames), last))
        return torch.from_numpy(self.features.excerpts(np.full(len(starts), row), starts, self.n_frames))
