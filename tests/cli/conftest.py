from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import lightmel
from lightmel.errors import AudioError, LightmelError
from lightmel.inference import Tagging

TAGGING = Tagging(
    tags=("guitar", "slow", "female vocalists", "classical", "strings", "rock", "opera"),
    scores=(0.912, 0.5, 0.433, 0.2, 0.1, 0.01, 0.0),
    seconds=30.04,
    padded=False,
    model="a-model",
    version="1.2",
    license="CC0-1.0",
)


class FakeTagger:
    """For what the command line itself does; what it says about real sound is tested with real taggers."""

    name = "a-model"
    device = "cpu"
    description = SimpleNamespace(thresholds=(), exclusive=False)

    def __init__(self, answers: dict[str, Tagging | LightmelError]) -> None:
        self.answers = answers

    def tag_many(
        self, paths: Iterable[str], *, errors: str, coverage: float = 1.0
    ) -> Iterator[Tagging | LightmelError]:
        assert errors == "return"
        for path in paths:
            yield self.answers.get(path, TAGGING)


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner(env={"COLUMNS": "80", "TERM": "xterm-256color", "FORCE_COLOR": None, "NO_COLOR": None})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tagging | LightmelError]:
    """Make `lightmel.load` give a fake tagger; a test fills in what it answers to which path."""
    given: dict[str, Tagging | LightmelError] = {"bad.mp3": AudioError("bad.mp3: it is not sound.")}

    def load(name: str, *, device: str, precision: str) -> Any:
        assert (name, device, precision) == ("default", "auto", "float32")
        return FakeTagger(given)

    monkeypatch.setitem(vars(lightmel), "load", load)
    return given


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    """Return the file of a real tagger, small and untrained."""
    import torch

    from lightmel import MelConfig, Tagger, build_musicnn
    from lightmel.checkpoint import Description

    config = MelConfig(16_000, 16, 4, "db")
    seconds = 1.0
    network = build_musicnn(
        config.input_shape(seconds),
        n_tags=3,
        variant="pons",
        size="small",
        generator=torch.Generator().manual_seed(5),
    )
    description = Description(
        name="small",
        version="1",
        license="CC0-1.0",
        config=config,
        tags=("guitar", "drums", "voice"),
        segment_samples=config.n_samples(seconds),
    )
    path = tmp_path / "small.safetensors"
    Tagger(network, description).save(path)
    return path
