"""The page on listening: what it plays and shows is there, small, and what the script makes."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from lightmel import PAPER_CONFIGS, MelConfig, audio

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Let no threads wait for each other, which takes fifty times as long beside a busy neighbour."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_listening", DOCS / "make_listening.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_is_as_the_script_makes_it(script: ModuleType) -> None:
    assert script.stale() == []


def test_the_page_plays_and_shows_each_file(script: ModuleType) -> None:
    page = script.PAGE.read_text(encoding="utf-8")
    named = re.findall(r'src="\.\./_static/([^"]+)"', page) + re.findall(
        r"\]\(\.\./listening/([^)]+)\)", page
    )
    assert sorted(named) == sorted(path.name for path in script.FOLDER.iterdir())
    assert len(named) == len(set(named)) == 1 + 3 * len(script.CONFIGS)
    assert len(script.CONFIGS) == 8
    assert {c.slug for c in PAPER_CONFIGS} >= set(script.CONFIGS)


def test_it_is_small(script: ModuleType) -> None:
    assert sum(path.stat().st_size for path in script.FOLDER.iterdir()) < script.MOST_BYTES


def test_each_pixel_is_a_number_of_the_mel_spectrogram(script: ModuleType) -> None:
    for slug in script.CONFIGS:
        config = MelConfig.from_slug(slug)
        mel = script.frames_of(config)
        levels = script.pixels((script.FOLDER / f"{slug}.svg").read_text(encoding="utf-8"))[::-1]
        assert levels.shape == mel.shape == config.input_shape(script.SECONDS)
        shown = mel.max() - script.BELOW * (1 - levels / (script.LEVELS - 1))
        inside = mel > mel.max() - script.BELOW
        assert np.abs(shown - mel)[inside].max() < 0.51 * script.BELOW / (script.LEVELS - 1) + 0.01


def test_the_sounds_are_as_long_and_as_loud_as_the_piece(script: ModuleType) -> None:
    piece = audio.load(script.FOLDER / "original.opus", script.SR)
    assert len(piece) == script.SECONDS * script.SR
    for path in script.FOLDER.glob("*.opus"):
        wave = audio.load(path, script.SR)
        assert len(wave) == len(piece)
        assert abs(10 * np.log10(np.square(wave).mean() / np.square(piece).mean())) < 2


def test_what_is_not_as_it_is_made_is_found(script: ModuleType, tmp_path: Path) -> None:
    names = ("16k-mel8-x1-db.svg", "16k-mel8-x1-db-noise.opus", "16k-mel16-x1-db.svg", "original.opus")
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        for name in names:
            shutil.copy(script.FOLDER / name, folder / name)
    assert script.differing(one, other) == []
    (other / "original.opus").unlink()
    shutil.copy(script.FOLDER / "16k-mel48-x1-db.svg", other / "16k-mel16-x1-db.svg")
    shutil.copy(script.FOLDER / "16k-mel48-x1-db-noise.opus", other / "16k-mel8-x1-db-noise.opus")
    assert script.differing(one, other) == sorted(names[1:])
