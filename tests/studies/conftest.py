"""A small study: clips of two kinds of tones, and a grid of four tiny networks."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel.datasets import Track
from lightmel.distillation import ScoresConfig, score_music
from lightmel.evaluation import ClipScores, Evaluation, pr_auc, roc_auc
from lightmel.inference import Tagger
from lightmel.studies import grid_of, run_study

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


REPORTED = """
name = "reported"
title = "Small & quick: 100 % tones"
seeds = [0, 1]

[training]
epochs = 2
batch_size = 6

[learning]
segment_seconds = 0.5

[networks.narrow]
architecture = "musicnn"
variant = "pons"
timbre = [[0.9, 3, 3]]
temporal = [[5, 2]]
width = 4
dense = 6

[networks.wide]
architecture = "musicnn"
variant = "pons"
timbre = [[0.9, 3, 4]]
temporal = [[5, 2]]
width = 6
dense = 6

[[points]]
networks = ["narrow"]
inputs = ["16k-mel{96,48}-x{1,2,10}-db"]

[[points]]
networks = ["wide"]
inputs = ["16k-mel48-x1-db"]
storage = ["float32", "uint8"]
seeds = [0]
"""


@pytest.fixture(scope="session")
def labelled_study(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, three hop factors, two seeds of one of them, and quantised features of the other."""
    out = tmp_path_factory.mktemp("labelled") / "study"
    done = run_study(grid_of(tomllib.loads(REPORTED)), clips, out, jobs=0)
    assert (len(done.done), len(done.failed)) == (14, 0)
    return out


@pytest.fixture(scope="session")
def scores(clips: Path, tiny: Callable[..., Tagger], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two tiny teachers say of the clips, two clips to a group."""
    tracks = [Track(clips.parent / f"{i}.wav", f"group {i // 2}") for i in range(24)]
    splits = ["train" if i < 16 else "test" for i in range(24)]
    out = tmp_path_factory.mktemp("scores") / "scores"
    config = ScoresConfig(window_seconds=0.5, step_seconds=0.25, excerpt_seconds=1.0)
    teachers = [tiny(seed, tags=("voice", "strings", "low")) for seed in (3, 4)]
    score_music(teachers, tracks, splits, out, config)
    return out


@pytest.fixture(scope="session")
def human_table(clips: Path) -> Path:
    """Human annotations of the clips that are held out."""
    lines = ["path,voice,low", *(f"{i}.wav,{int(i % 4 == 0)},{int(i % 2 == 0)}" for i in range(12, 24))]
    table = clips.parent / "human.csv"
    table.write_text("\n".join(line for i, line in enumerate(lines) if i == 0 or i > 4) + "\n")
    return table


@pytest.fixture(scope="session")
def scored_study(scores: Path, human_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two inputs that learn the scores, measured against annotations too."""
    out = tmp_path_factory.mktemp("scored") / "study"
    plain = tomllib.loads(REPORTED)
    plain["points"] = [{"networks": ["narrow"], "inputs": ["16k-mel{96,48}-x{1,2}-db"], "seeds": [0]}]
    done = run_study(grid_of(plain), scores, out, tests={"human": human_table}, jobs=0)
    assert (len(done.done), len(done.failed)) == (4, 0)
    return out


WRITTEN_TAGS = ("rock", "guitar", "voice", "female voice")
WRITTEN = {
    "networks": {"vgg": {}},
    "points": [
        {"networks": ["vgg"], "inputs": ["16k-mel{96,48}-x{1,2,5,10}-db", "12k-mel{96,48}-x{1,2}-log"]}
    ],
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write the results of a study that nobody ran: `noise` of each slug and seed blurs what is true."""

    def write(
        noise: Callable[[str, int], float], seeds: tuple[int, ...] = (0,), dataset: str = "clips"
    ) -> Path:
        grid = grid_of({**WRITTEN, "seeds": list(seeds)}, "written")
        rng = np.random.default_rng(0)
        truth = rng.random((120, len(WRITTEN_TAGS))) < 0.4
        blur = rng.normal(size=truth.shape)
        for cell in grid.cells:
            folder = tmp_path / "runs" / cell.name
            folder.mkdir(parents=True)
            own = np.random.default_rng([cell.seed, 7]).normal(size=truth.shape)
            level = noise(cell.config.slug, cell.seed)
            scores = ClipScores(
                tuple(f"{i}.wav" for i in range(120)),
                WRITTEN_TAGS,
                truth,
                (truth + level * (blur + own)).astype(np.float32),
            )
            weights = f"{len(list((tmp_path / 'runs').iterdir())):064d}"
            (folder / "test.npz").write_bytes(scores.to_bytes(weights))
            evaluation = Evaluation(
                dataset=dataset,
                protocol="as written",
                split="test",
                model=cell.name,
                version="1",
                config=cell.config.slug,
                weights=weights,
                clips=120,
                positives={tag: int(n) for tag, n in zip(WRITTEN_TAGS, truth.sum(0), strict=True)},
                roc_auc=roc_auc(truth, scores.scores, WRITTEN_TAGS),
                pr_auc=pr_auc(truth, scores.scores, WRITTEN_TAGS),
            )
            result = {
                "format": 1,
                "weights": weights,
                "made_of": {**json.loads(json.dumps(cell.settings())), "data": "d", "tests": {}},
                "evaluations": {"test": evaluation.to_dict()},
                "agreement": None,
            }
            (folder / "result.json").write_text(json.dumps(result))
        plain = {
            "format": 1,
            "grid": "written",
            "title": "",
            "data": dataset,
            "kind": "labels",
            "tags": WRITTEN_TAGS,
            "tests": [],
            "source": "nothing",
            "reading": {},
            "cells": [cell.to_dict() for cell in grid.cells],
        }
        (tmp_path / "study.json").write_text(json.dumps(plain))
        return tmp_path

    return write
