"""Augmentations: random changes of waves or of features, one small module each.

Each is called as ``augmentation(x, generator)``: waves ``(batch, samples)`` or features ``(batch, rows,
frames)``, and whoever draws. A setting is drawn for each row of the batch, and applied with probability `p`;
the same generator gives the same batch, and nothing touches the global random state. `Chain` applies several
in turn.

Gain, equalizer and low-pass are filters: they draw an amplitude at some frequencies, and a `Domain` says at
which, and how waves or features are filtered by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import nn

from ..errors import ConfigError, ShapeError
from ..frontends import CqtConfig, FrontendConfig, MelConfig, rescaled


class Domain(Protocol):
    """What is filtered: waves, or features of them.

    Attributes
    ----------
    frequencies
        ``(bins,)`` in Hz, at which an amplitude is wanted.
    """

    frequencies: torch.Tensor

    def response(self, amplitude: torch.Tensor) -> torch.Tensor:
        """Return what `filtered` takes for zero-phase filters of `amplitude` ``(batch, bins)``.

        Those of several filters are multiplied.
        """

    def filtered(self, x: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        """Return `x` filtered."""


class WaveDomain:
    """Waves of a sample rate `sr` in Hz, filtered in the frequency domain; the ends wrap around."""

    def __init__(self, sr: int) -> None:
        # The amplitude is smooth: drawn on a coarse grid and interpolated, it costs nothing.
        self.frequencies = torch.linspace(0, sr / 2, 513, dtype=torch.float32)

    def response(self, amplitude: torch.Tensor) -> torch.Tensor:
        """Return the amplitude: it multiplies the spectrum."""
        return amplitude

    def filtered(self, x: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        """Return waves ``(batch, samples)``."""
        spectrum = torch.fft.rfft(x)
        fine = torch.nn.functional.interpolate(
            response[:, None], size=spectrum.shape[-1], mode="linear", align_corners=True
        )[:, 0]
        filtered: torch.Tensor = torch.fft.irfft(spectrum * fine, n=x.shape[1])
        return filtered


class MelDomain:
    """Log-mels, a feature store's for example: what they would be of filtered sound; constant-Q spectra, too.

    A filter that hardly changes within a band multiplies the band's power by its own at the band's peak.

    Raises
    ------
    ConfigError
        For a front end that makes neither.
    """

    def __init__(self, config: FrontendConfig) -> None:
        if not isinstance(config, (MelConfig, CqtConfig)):
            raise ConfigError(
                f"Features of {config.slug} cannot be filtered, only mel-spectrograms and constant-Q spectra "
                "can: train without augmentation (augment=False)."
            )
        self._log = config.log
        self.frequencies = torch.tensor(config.band_edges()[1:-1], dtype=torch.float32)

    def response(self, amplitude: torch.Tensor) -> torch.Tensor:
        """Return the power: it multiplies that of the bands."""
        return amplitude.square()

    def filtered(self, x: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        """Return mels ``(batch, n_mels, frames)``."""
        return rescaled(x, response[:, :, None], self._log)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float32)


def _amplitude(decibel: torch.Tensor) -> torch.Tensor:
    return torch.pow(10.0, decibel / 20)


class Augmentation(nn.Module):
    """A change that is applied with probability `p`.

    Raises
    ------
    ConfigError
        If `p` is no probability.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"{type(self).__name__} wants a probability p between 0 and 1, not {p}.")
        self.p = p

    def forward(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the augmented batch."""
        raise NotImplementedError

    def chosen(self, batch: int, generator: torch.Generator) -> torch.Tensor | None:
        """Draw which rows are changed, ``(batch, 1)``; None where all are, and nothing is drawn."""
        return (
            torch.rand((batch, 1), generator=generator, dtype=torch.float32) < self.p if self.p < 1 else None
        )

    @property
    def identity(self) -> str:
        """What it does, for a training that is resumed."""
        own = {
            k: v for k, v in vars(self).items() if not k.startswith("_") and k not in ("training", "domain")
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in sorted(own.items()))})"


class Filter(Augmentation):
    """A random filter of a `domain`."""

    def __init__(self, domain: Domain, p: float = 1.0) -> None:
        super().__init__(p)
        self.domain = domain

    def draw(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return amplitudes ``(batch, bins)`` at `frequencies` ``(bins,)`` in Hz."""
        raise NotImplementedError

    def amplitude(self, batch: int, generator: torch.Generator) -> torch.Tensor:
        """Draw amplitudes ``(batch, bins)`` for the domain's frequencies; 1 where nothing is changed."""
        drawn = self.draw(batch, self.domain.frequencies, generator)
        chosen = self.chosen(batch, generator)
        return drawn if chosen is None else torch.where(chosen, drawn, 1.0)

    def forward(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.domain.filtered(x, self.domain.response(self.amplitude(len(x), generator)))


class Gain(Filter):
    """Another level: uniform between `low` and `high` decibel."""

    def __init__(self, domain: Domain, low: float, high: float, p: float = 1.0) -> None:
        super().__init__(domain, p)
        if not low <= high:
            raise ConfigError(f"Gain wants low <= high in decibel, not {low} and {high}.")
        self.low, self.high = low, high

    def draw(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return _amplitude(_uniform((batch, 1), self.low, self.high, generator)).expand(-1, len(frequencies))


class Equalizer(Filter):
    """Other loudspeakers: a slope over the octaves and a few wide bells, each up to `decibel`."""

    def __init__(self, domain: Domain, decibel: float, slope: float, bells: int = 3, p: float = 1.0) -> None:
        super().__init__(domain, p)
        if decibel < 0 or slope < 0 or bells < 0:
            raise ConfigError("Equalizer wants decibel, slope and bells of 0 or more.")
        self.decibel, self.slope, self.bells = decibel, slope, bells

    def draw(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        octaves = torch.log2(frequencies.clamp(min=20) / 1000)
        curve = _uniform((batch, 1), -self.slope, self.slope, generator) * octaves
        for _ in range(self.bells):
            height = _uniform((batch, 1), -self.decibel, self.decibel, generator)
            center = _uniform((batch, 1), float(octaves[0]), float(octaves[-1]), generator)
            width = _uniform((batch, 1), 0.4, 2.0, generator)
            curve = curve + height * torch.exp(-0.5 * ((octaves - center) / width).square())
        return _amplitude(curve)


class LowPass(Filter):
    """A codec's or a radio's cut between `low` and `high` Hz, from gentle to steep."""

    def __init__(self, domain: Domain, low: float, high: float, p: float = 1.0) -> None:
        super().__init__(domain, p)
        if not 0 < low <= high:
            raise ConfigError("LowPass wants 0 < low <= high in Hz.")
        self.low, self.high = low, high

    def draw(self, batch: int, frequencies: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        cut = torch.exp(_uniform((batch, 1), math.log(self.low), math.log(self.high), generator))
        steepness = _uniform((batch, 1), 4, 10, generator).exp2()  # of order 16 to 1024: the last is a wall
        return torch.exp(
            -0.5 * torch.nn.functional.softplus(steepness * (frequencies.clamp(min=1) / cut).log())
        )


class Noise(Augmentation):
    """White noise on waves, at `low` to `high` decibel of full scale."""

    def __init__(self, low: float, high: float, p: float = 1.0) -> None:
        super().__init__(p)
        if not low <= high:
            raise ConfigError(f"Noise wants low <= high in decibel, not {low} and {high}.")
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if x.ndim != 2:
            raise ShapeError(f"Noise is added to waves (batch, samples), not to {tuple(x.shape)}.")
        level = _amplitude(_uniform((len(x), 1), self.low, self.high, generator))
        chosen = self.chosen(len(x), generator)
        if chosen is not None:
            level = level * chosen
        return x + level * torch.randn(x.shape, generator=generator, dtype=x.dtype)


class Chain(Augmentation):
    """Several augmentations in turn. Filters that follow each other in one domain are applied at once."""

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        for domain, run in groupby(self.steps, key=lambda step: getattr(step, "domain", None)):
            if domain is None:
                for step in run:
                    x = step(x, generator)
                continue
            response = torch.ones(len(x), len(domain.frequencies), dtype=x.dtype)
            for step in run:
                assert isinstance(step, Filter)
                response = response * domain.response(step.amplitude(len(x), generator))
            x = domain.filtered(x, response)
        return x

    @property
    def identity(self) -> str:
        return ", ".join(step.identity for step in self.steps if isinstance(step, Augmentation))


def playback(domain: Domain) -> list[Augmentation]:
    """Return what changes sound between recording and playback: level, loudspeakers, a codec's cut."""
    return [Gain(domain, -12, 6), Equalizer(domain, 3, 1.5, 2), LowPass(domain, 3_000, 8_000, p=0.25)]


PLAYBACK_IDENTITY = Chain(playback(WaveDomain(16_000))).identity
"""Of that chain, in any domain."""
