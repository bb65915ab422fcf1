"""Damage that sound meets on its way to a listener, one small class each.

Every class validates in its constructor and, called with waves ``(batch, samples)`` and a generator,
draws one setting a wave and returns damaged waves of the same shape. Nothing here touches the global
random state: the same generator gives the same damage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from ..errors import ConfigError
from ..frontends.mel import MelConfig
from ..frontends.mel_torch import rescaled


class Response(Protocol):
    """A random zero-phase filter: amplitude ``(batch, bins)`` at `frequencies` ``(bins,)`` in Hz."""

    def __call__(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor: ...


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _amplitude(decibel: torch.Tensor) -> torch.Tensor:
    return torch.pow(10.0, decibel / 20)


class Gain:
    """Another level: uniform between `low` and `high` decibel."""

    def __init__(self, low: float, high: float) -> None:
        if not low <= high:
            raise ConfigError(f"Gain wants low <= high in decibel, not {low} and {high}.")
        self.low, self.high = low, high

    def __call__(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return _amplitude(_uniform((batch, 1), self.low, self.high, generator)).expand(-1, len(frequencies))


class Equaliser:
    """Other loudspeakers: a slope over the octaves and a few wide bells, each up to `decibel`."""

    def __init__(self, decibel: float, slope: float, bells: int = 3) -> None:
        if decibel < 0 or slope < 0 or bells < 0:
            raise ConfigError("Equaliser wants decibel, slope and bells of 0 or more.")
        self.decibel, self.slope, self.bells = decibel, slope, bells

    def __call__(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        octaves = torch.log2(frequencies.clamp(min=20) / 1000)
        curve = _uniform((batch, 1), -self.slope, self.slope, generator) * octaves
        for _ in range(self.bells):
            height = _uniform((batch, 1), -self.decibel, self.decibel, generator)
            centre = _uniform((batch, 1), float(octaves[0]), float(octaves[-1]), generator)
            width = _uniform((batch, 1), 0.4, 2.0, generator)
            curve = curve + height * torch.exp(-0.5 * ((octaves - centre) / width).square())
        return _amplitude(curve)


class LowPass:
    """A codec's or a radio's cut between `low` and `high` Hz, from gentle to sheer, in a part of them."""

    def __init__(self, low: float, high: float, probability: float = 1.0) -> None:
        if not 0 < low <= high or not 0 <= probability <= 1:
            raise ConfigError("LowPass wants 0 < low <= high in Hz and a probability between 0 and 1.")
        self.low, self.high, self.probability = low, high, probability

    def __call__(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        cut = torch.exp(_uniform((batch, 1), math.log(self.low), math.log(self.high), generator))
        steepness = _uniform((batch, 1), 4, 10, generator).exp2()  # of order 16 to 1024: the last is a wall
        response = torch.exp(
            -0.5 * torch.nn.functional.softplus(steepness * (frequencies.clamp(min=1) / cut).log())
        )
        keep = torch.rand((batch, 1), generator=generator) >= self.probability
        return torch.where(keep, torch.ones(()), response)


class Filters:
    """Apply several random responses at once, in the frequency domain.

    Parameters
    ----------
    sr
        Sample rate of the waves in Hz.
    responses
        What to draw; they multiply.
    """

    def __init__(self, sr: int, responses: Sequence[Response]) -> None:
        self.sr, self.responses = sr, tuple(responses)

    def __call__(self, waves: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return filtered waves ``(batch, samples)``; the ends wrap around, as the transform does."""
        batch, samples = waves.shape
        # The response is smooth: drawn on a coarse grid and interpolated, it costs nothing.
        coarse = torch.linspace(0, self.sr / 2, 513)
        amplitude = torch.ones(batch, len(coarse))
        for response in self.responses:
            amplitude = amplitude * response(batch, coarse, generator)
        spectrum = torch.fft.rfft(waves)
        fine = torch.nn.functional.interpolate(
            amplitude[:, None], size=spectrum.shape[-1], mode="linear", align_corners=True
        )[:, 0]
        filtered: torch.Tensor = torch.fft.irfft(spectrum * fine, n=samples)
        return filtered


class MelFilters:
    """Apply several random responses to mels that are already computed, such as a feature store's.

    A filter that hardly changes within a band multiplies the band's power by its own at the band's peak.

    Parameters
    ----------
    config
        What the mels are.
    responses
        What to draw; they multiply.
    """

    def __init__(self, config: MelConfig, responses: Sequence[Response]) -> None:
        self.config, self.responses = config, tuple(responses)
        self._peaks = torch.tensor(config.band_edges()[1:-1])

    @property
    def identity(self) -> str:
        """What it does, for a training that goes on."""
        return ", ".join(f"{type(r).__name__}{vars(r)}" for r in self.responses)

    def __call__(self, mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return what ``(batch, n_mels, frames)`` would be of filtered sound."""
        power = torch.ones(len(mel), self.config.n_mels)
        for response in self.responses:
            power = power * response(len(mel), self._peaks, generator).square()
        return rescaled(mel, power[:, :, None], self.config.log)


class Noise:
    """White noise at `low` to `high` decibel of full scale, in a part of them."""

    def __init__(self, low: float, high: float, probability: float) -> None:
        if not low <= high or not 0 <= probability <= 1:
            raise ConfigError("Noise wants low <= high in decibel and a probability between 0 and 1.")
        self.low, self.high, self.probability = low, high, probability

    def __call__(self, waves: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return noisy waves ``(batch, samples)``."""
        level = _amplitude(_uniform((len(waves), 1), self.low, self.high, generator))
        level = level * (torch.rand((len(waves), 1), generator=generator) < self.probability)
        return waves + level * torch.randn(waves.shape, generator=generator)
