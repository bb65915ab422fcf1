"""`Frontend`: a PyTorch module from waves to features, also for sound that comes in blocks."""

from __future__ import annotations

import math
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


class Framewise(Frontend):
    """A front end whose frames need some samples around their centres each, and nothing else of the sound.

    A child says how many with `before` and `after`, and computes `frames`.
    """

    config: Any
    hop: int
    """Samples from one frame's centre to the next."""
    before: int
    after: int
    """Frame i needs the samples from ``i * hop - before`` up to, not with, ``i * hop + after``."""

    def checked(self, wave: Tensor) -> Tensor:
        """Return `wave` in the precision it is computed in, or raise the reason why it cannot be used."""
        raise NotImplementedError

    def check_length(self, samples: int) -> None:
        """Raise `ShapeError` for too few samples."""
        raise NotImplementedError

    def frames(self, sound: Tensor, offset: int, first: int, stop: int) -> Tensor:
        """Return frames `first` to `stop` of sounds whose ``(rows, samples)`` from `offset` on are at hand.

        Where a frame reaches over an end of `sound`, that end is the sound's own.
        """
        raise NotImplementedError

    def forward(self, wave: Tensor) -> Tensor:
        """Compute the frames of whole sounds.

        Parameters
        ----------
        wave
            ``(..., samples)`` at `config.sr` Hz, floating point, full scale at 1.

        Returns
        -------
        Tensor
            ``(..., rows, n_frames)`` with ``n_frames = config.n_frames(samples)``.

        Raises
        ------
        ShapeError
            If `wave` is not a floating-point tensor, is on another device, or has too few samples.
        """
        wave = self.checked(wave)
        samples = wave.shape[-1]
        self.check_length(samples)
        rows = wave.reshape(math.prod(wave.shape[:-1]), samples)
        frames = self.frames(rows, 0, 0, self.config.n_frames(samples))
        return frames.reshape(*wave.shape[:-1], *frames.shape[1:])

    def stream(self) -> FramewiseStream:
        """Start a sound that arrives in blocks."""
        return FramewiseStream(self)

    def extra_repr(self) -> str:
        """Show the configuration where the module is printed."""
        slug: str = self.config.slug
        return slug


class FramewiseStream:
    """The frames of a sound that arrives in blocks of any size: `push` each one, then `flush`.

    All that is returned, put together along the last dimension, equals the front end's answer to the
    whole sound up to rounding. A frame is returned as soon as its last sample is there, and only samples that
    frames to come may need are kept. Made by the front end's `stream`; not for several threads at once.
    """

    def __init__(self, frontend: Framewise) -> None:
        self.frontend = frontend
        self._reset()

    def _reset(self) -> None:
        self._kept: Tensor | None = None  # the last samples, which frames to come may need
        self._offset = 0  # where in the sound they begin
        self._seen = 0
        self._done = 0

    def push(self, block: Tensor) -> Tensor:
        """Take the next ``(..., samples)``, return the frames ``(..., rows, k)`` that are now complete.

        k is 0 where a short block, even an empty one, completes none.

        Raises
        ------
        ShapeError
            If `block` is none that the front end takes, or differs from the blocks before it in
            anything but its length.
        """
        block = self.frontend.checked(block)
        kept = block[..., :0] if self._kept is None else self._kept
        for name, new, old in (
            ("shape", (*block.shape[:-1], "samples"), (*kept.shape[:-1], "samples")),
            ("precision", block.dtype, kept.dtype),
            ("device", block.device, kept.device),
        ):
            if new != old:
                raise ShapeError(
                    f"This stream began with blocks of {name} {old}, and now comes {new}: keep to one, "
                    "or start a stream for each sound."
                )
        hop, before, after = self.frontend.hop, self.frontend.before, self.frontend.after
        sound = torch.cat((kept, block), -1)
        self._seen += block.shape[-1]
        stop = max((self._seen - after) // hop + 1, self._done)
        frames = self._up_to(stop, sound)
        drop = min(max(stop * hop - before - self._offset, 0), sound.shape[-1])
        self._kept = sound[..., drop:].clone()  # a view would keep the whole block alive
        self._offset += drop
        return frames

    def flush(self) -> Tensor:
        """End the sound and return its last frames ``(..., rows, k)``; the next `push` begins another.

        Raises
        ------
        ShapeError
            If too few samples have come.
        """
        self.frontend.check_length(self._seen)
        assert self._kept is not None
        frames = self._up_to(self.frontend.config.n_frames(self._seen), self._kept)
        self._reset()
        return frames

    def _up_to(self, stop: int, sound: Tensor) -> Tensor:
        rows = sound.reshape(math.prod(sound.shape[:-1]), sound.shape[-1])
        frames = self.frontend.frames(rows, self._offset, self._done, stop)
        self._done = stop
        return frames.reshape(*sound.shape[:-1], *frames.shape[1:])


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
