"""Music, a teacher and settings that are small enough to distil in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lightmel.distillation import DistillConfig, corpus, targets
from lightmel.inference import Tagger, TorchRuntime
from lightmel.training import TrainConfig

SR = 16_000


def piece(seed: int, seconds: float) -> np.ndarray:
    """A tone that comes and goes over noise: enough for scores to differ."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SR)) / SR
    tone = np.sin(2 * np.pi * rng.uniform(100, 4_000) * time) * (
        np.sin(2 * np.pi * rng.uniform(0.2, 1) * time) > 0
    )
    return (0.3 * rng.random() * tone + 0.2 * rng.random() * rng.standard_normal(len(time))).astype(
        np.float32
    )


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight groups of two pieces: longer and shorter than the excerpt, in three formats, one in stereo."""
    folder = tmp_path_factory.mktemp("music")
    for group in range(8):
        (folder / f"album{group}").mkdir()
        for n in range(2):
            wave = piece(10 * group + n, (4.0, 2.2)[n])
            suffix = ("wav", "flac", "ogg")[(group + n) % 3]
            shape = np.stack([wave, wave], axis=1) if group == 0 else wave
            soundfile.write(folder / f"album{group}" / f"{n}.{suffix}", shape, SR)
    return folder


@pytest.fixture(scope="session")
def teacher(tiny: Callable[..., Tagger]) -> Tagger:
    """A random network whose scores differ from sound to sound."""
    made = tiny(5)
    network = made.network
    with torch.no_grad():
        network.input_norm.running_mean.fill_(-30)
        network.input_norm.running_var.fill_(400)
        network.head.weight.mul_(6)
    return Tagger(network, replace(made.description, name="teacher"))


class Clock(TorchRuntime):
    """Its logits tell when the middle of its input was, if the sound's level rises by 4,000 a second."""

    unit: float
    sr: int

    def logits(self, waves: torch.Tensor) -> torch.Tensor:
        middle, near = waves.shape[1] / 2, round(0.02 * self.sr)
        level = waves[:, round(middle - near) : round(middle + near)].mean(dim=1, keepdim=True)
        return self.unit * level * 32768 / 4_000 + torch.arange(self.n_tags)


@pytest.fixture(scope="session")
def clock(tiny: Callable[..., Tagger]) -> Callable[..., Tagger]:
    """Make a teacher of this input and length whose first logit is the time of its middle, times `unit`."""

    def make(slug: str, seconds: float, unit: float, tags: tuple[str, ...] = ("a", "b", "c")) -> Tagger:
        made = tiny(0, slug=slug, seconds=seconds, tags=tags)
        runtime = Clock(made.network, made.config)
        runtime.sr, runtime.unit = made.config.sr, unit
        return Tagger(runtime, made.description)

    return make


@pytest.fixture(scope="session")
def ramp() -> Callable[..., np.ndarray]:
    """Make a wave, 16 bit, whose level rises by `slope` a second, beginning with that of the time `begin`."""

    def make(seconds: float, sr: int, slope: float = 4_000, begin: float = 0.0) -> np.ndarray:
        return np.round(slope * (begin + np.arange(round(seconds * sr)) / sr)).astype(np.int16)

    return make


@pytest.fixture(scope="session")
def config() -> DistillConfig:
    """Segments of half a second, of excerpts of three."""
    return DistillConfig(
        student="musicnn-small-16k-mel16-x4-db",
        segment_seconds=0.5,
        step_seconds=0.5,
        excerpt_seconds=3.0,
        holdout=0.25,
    )


@pytest.fixture(scope="session")
def training() -> TrainConfig:
    """Two epochs."""
    return TrainConfig(epochs=2, batch_size=16, lr=5e-3)


@pytest.fixture(scope="session")
def rows() -> Callable[..., np.ndarray]:
    """Make windows of ``(clip, start, other clip or -1, its start, its gain)``, each of a wave of its own."""

    def make(*windows: tuple[int, int, int, int, float]) -> np.ndarray:
        return np.array([(*window, i) for i, window in enumerate(windows)], dtype=corpus._SEGMENT)

    return make


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The arguments of each call for teachers' scores."""
    calls: list[Any] = []
    real = targets.teacher_logits

    def counted(*args: Any) -> Any:
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(targets, "teacher_logits", counted)
    return calls
