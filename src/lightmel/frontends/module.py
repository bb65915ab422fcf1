"""`Frontend`: a PyTorch module from waves to features, also for sound that comes in blocks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import ShapeError
from .base import FrontendConfig


class FrontendStream(Protocol):
    """The features of one sound that arrives in blocks."""

    def push(self, block: Tensor) -> Tensor:
        """Take the next ``(..., samples)``, return the frames ``(..., rows, k)`` that are now complete.

        k may be 0.
        """

    def flush(self) -> Tensor:
        """End the sound and return its last frames; the next `push` begins another."""


class Frontend(nn.Module):
    """Waves ``(..., samples)`` at ``config.sr`` Hz in, features ``(..., rows, frames)`` out.

    A child computes `forward` in float32 even under autocast, and overrides `stream` where it need not wait
    for the whole sound; where its constructor takes something else than a configuration, `from_config` too.
    It has no state between calls, so that threads may share it, and no weights: its configuration determines
    it.

    Parameters
    ----------
    config
        What it computes.
    """

    config: FrontendConfig

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_config(cls, config: Any) -> Frontend:
        """Build the front end that a configuration of its kind describes."""
        return cls(config)

    def forward(self, wave: Tensor) -> Tensor:
        """Return features ``(..., rows, frames)``, in number ``config.shape(samples)``."""
        raise NotImplementedError

    def stream(self) -> FrontendStream:
        """Start a sound that arrives in blocks."""
        return _Whole(self)


class _Whole:
    """A stream that keeps its blocks and computes everything at the end.

    It is right for every front end, but holds the whole sound.
    """

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._blocks: list[Tensor] = []

    def push(self, block: Tensor) -> Tensor:
        if self._blocks and block.shape[:-1] != self._blocks[0].shape[:-1]:
            raise ShapeError(
                f"This stream began with blocks of {tuple(self._blocks[0].shape[:-1])} sounds, and now come "
                f"{tuple(block.shape[:-1])}: keep to one, or start a stream for each sound."
            )
        self._blocks.append(block.clone())  # the caller may fill the same memory again
        return block.new_empty(*block.shape[:-1], self._frontend.config.rows, 0)

    def flush(self) -> Tensor:
        if not self._blocks:
            raise ShapeError("No samples have come: the front end needs at least one.")
        blocks, self._blocks = self._blocks, []
        features: Tensor = self._frontend(torch.cat(blocks, -1))
        return features


def check_wave(wave: Tensor, device: torch.device) -> None:
    """Refuse what is no sound for a front end that lies on `device`.

    Raises
    ------
    ShapeError
        If it is no tensor ``(..., samples)`` of real floating-point numbers, or lies elsewhere.
    """
    if not isinstance(wave, Tensor):
        raise ShapeError(
            f"The front end takes a torch.Tensor, not {type(wave).__name__}: "
            "pass torch.as_tensor(wave), floating point with full scale at 1."
        )
    if wave.dim() == 0:
        raise ShapeError("The front end takes (..., samples), not a single number.")
    if not wave.is_floating_point():
        raise ShapeError(
            f"The front end takes real floating-point samples with full scale at 1, not {wave.dtype}: "
            "divide integers by their full scale (16 bit: wave / 32768)."
        )
    if wave.device != device:
        raise ShapeError(
            f"The wave is on {wave.device}, the front end on {device}: move one of them with .to(device)."
        )


def no_autocast(device_type: str) -> AbstractContextManager[object]:
    """Switch autocast off: half precision has too few digits for the power of a spectrum."""
    if device_type != "meta" and torch.is_autocast_enabled(device_type):  # meta has no autocast
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
