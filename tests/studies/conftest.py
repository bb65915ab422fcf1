"""A small study: clips of two kinds of tones, and a grid of four tiny networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

GRID = """
name = "tiny"
seeds = [0, 1]

[training]
epochs = 8
lr = 1e-2
batch_size = 4

[learning]
segment_seconds = 0.5

[networks.vgg]
widths = [4, 4, 8, 8]

[[points]]
networks = ["vgg"]
inputs = ["16k-mel8-x{1,2}-db"]
"""


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 24 clips of a second: low and high tones, in three splits."""
    folder = tmp_path_factory.mktemp("clips")
    lines = ["path,tags,split,group"]
    for i in range(24):
        rng = np.random.default_rng(i)
        pitch = (200, 3000)[i % 2] * (1 + 0.1 * rng.random())
        wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000)
        soundfile.write(folder / f"{i}.wav", wave + 0.05 * rng.standard_normal(16_000), 16_000)
        split = "train" if i < 12 else "valid" if i < 16 else "test"
        lines.append(f"{i}.wav,{('low', 'high')[i % 2]},{split},{i}")
    table = folder / "clips.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(scope="session")
def grid_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid, as a file."""
    file = tmp_path_factory.mktemp("grid") / "tiny.toml"
    file.write_text(GRID)
    return file
