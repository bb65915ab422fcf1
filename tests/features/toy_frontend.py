"""Front ends of the tests' own: the extremes of each block of samples, exact on any number of threads."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import ClassVar

import torch

from lightmel.errors import ConfigError
from lightmel.frontends import Frontend, FrontendConfig


@dataclass(frozen=True)
class ToyConfig(FrontendConfig):
    """Largest and smallest sample of every `skip`-th block."""

    kind: ClassVar[str] = "toy"
    slug_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<sr>\d+)-toy-(?P<block>\d+)-(?P<skip>\d+)")

    sr: int = 16_000
    block: int = 100
    skip: int = 1

    @property
    def slug(self) -> str:
        return f"{self.sr}-{self.kind}-{self.block}-{self.skip}"

    @classmethod
    def from_slug(cls, slug: str) -> ToyConfig:
        match = cls.slug_pattern.fullmatch(slug)
        if match is None:
            raise ConfigError(f"{slug!r} is no toy.")
        return cls(int(match["sr"]), int(match["block"]), int(match["skip"]))

    def shape(self, n_samples: int) -> tuple[int, int]:
        blocks = -(-n_samples // self.block)
        return 2, -(-blocks // self.skip)

    def thinned(self, keep: int) -> FrontendConfig:
        return dataclasses.replace(self, skip=self.skip * keep)

    def thinning(self, other: FrontendConfig) -> int | None:
        keep = getattr(other, "skip", 0) // self.skip
        return keep if keep > 1 and self.thinned(keep) == other else None


class ToyFrontend(Frontend):
    """Computes a `ToyConfig`."""

    config: ToyConfig

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        block = self.config.block
        blocks = torch.nn.functional.pad(wave, (0, -wave.shape[-1] % block)).unflatten(-1, (-1, block))
        return torch.stack([blocks.amax(-1), blocks.amin(-1)], -2)[..., :: self.config.skip]


class ToyStream:
    """Gives the blocks that are complete at once; for a `skip` of 1."""

    def __init__(self, frontend: ToyFrontend) -> None:
        self._frontend = frontend
        self._rest = torch.zeros(0)

    def push(self, block: torch.Tensor) -> torch.Tensor:
        wave = torch.cat([self._rest, block], -1)
        whole = wave.shape[-1] // self._frontend.config.block * self._frontend.config.block
        self._rest = wave[..., whole:]
        return self._frontend(wave[..., :whole]) if whole else wave.new_empty(2, 0)

    def flush(self) -> torch.Tensor:
        rest, self._rest = self._rest, torch.zeros(0)
        return self._frontend(rest) if len(rest) else rest.new_empty(2, 0)


@dataclass(frozen=True)
class RigidConfig(ToyConfig):
    """A toy of which no frames can be left out, and whose stream need not wait for the whole sound."""

    kind: ClassVar[str] = "rigid"
    slug_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<sr>\d+)-rigid-(?P<block>\d+)-(?P<skip>\d+)")

    thinned = FrontendConfig.thinned
    thinning = FrontendConfig.thinning


class RigidFrontend(ToyFrontend):
    """Computes a `RigidConfig`."""

    def stream(self) -> ToyStream:
        return ToyStream(self)


class TallFrontend(ToyFrontend):
    """Gives a row more than its configuration says."""

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        rows = super().forward(wave)
        return torch.cat([rows, rows[:1]])


class DeepFrontend(ToyFrontend):
    """Gives a dimension more."""

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return super().forward(wave)[None]


class TurnedFrontend(ToyFrontend):
    """Gives complex numbers."""

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return super().forward(wave) * 1j


@dataclass(frozen=True)
class TallConfig(ToyConfig):
    """Of `TallFrontend`."""

    kind: ClassVar[str] = "tall"


@dataclass(frozen=True)
class DeepConfig(ToyConfig):
    """Of `DeepFrontend`."""

    kind: ClassVar[str] = "deep"


@dataclass(frozen=True)
class TurnedConfig(ToyConfig):
    """Of `TurnedFrontend`."""

    kind: ClassVar[str] = "turned"
