"""Sound whose segments differ, and a tiny tagger: as an object, and as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel.inference import Tagger, Tagging

SR = 16_000


@pytest.fixture(scope="session")
def sound() -> Callable[..., np.ndarray]:
    """Make noise whose level and color change, so that no segment is like another."""

    def make(seconds: float, seed: int = 0, sr: int = SR) -> np.ndarray:
        rng = np.random.default_rng(seed)
        wave = rng.standard_normal(round(seconds * sr)) * np.linspace(0.02, 0.3, round(seconds * sr))
        return (np.cumsum(wave) % 1 - 0.5 + 0.1 * wave).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def scores_of() -> Callable[[Tagging, tuple[str, ...]], np.ndarray]:
    """Return the scores of a tagging in the order of `tags`."""

    def scores(tagging: Tagging, tags: tuple[str, ...]) -> np.ndarray:
        return np.array([tagging[tag] for tag in tags])

    return scores


@pytest.fixture(scope="session")
def model(tiny: Callable[..., Tagger]) -> Tagger:
    """A tiny tagger."""
    return tiny(0)


@pytest.fixture
def saved(tmp_path: Path, model: Tagger) -> Path:
    """The file of `model`."""
    path = tmp_path / "tiny.safetensors"
    model.save(path)
    return path


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    """Write a wave ``(samples,)`` or ``(samples, channels)`` as a file, and return its path."""

    def write(wave: np.ndarray, sr: int = SR, name: str = "sound.wav", subtype: str = "FLOAT") -> Path:
        soundfile.write(tmp_path / name, wave, sr, subtype=subtype)
        return tmp_path / name

    return write
