"""The examples do what they say, on notes that are made here."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from lightmel.datasets import MixtureConfig, make_mixtures

EXAMPLES = Path(__file__).parents[1] / "examples"
MakeNotes = Callable[[Path, dict[str, float], str], Path]
INSTRUMENTS = {"bell": 2_000.0, "drone": 90.0, "flute": 700.0, "organ": 330.0}
"""Hz, more than three semitones apart either way."""


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notes(make_notes: MakeNotes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_notes(tmp_path_factory.mktemp("notes"), INSTRUMENTS, "split_mixed")


@pytest.fixture(scope="module")
def mixtures(notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = MixtureConfig(train=48, valid=16, test=20, split_column="split_mixed")
    return make_mixtures(notes, tmp_path_factory.mktemp("mixtures"), config)


def test_tuned_taggers_are_compared_with_one_trained_from_scratch(
    mixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = example("finetune_study")
    monkeypatch.setattr(study, "BASES", {"default": study.BASES["default"]})
    real = study.FinetuneConfig
    short = {"head_epochs": 1, "epochs": 1, "excerpts": 1}
    monkeypatch.setattr(study, "FinetuneConfig", lambda **given: real(**(short | given)))
    monkeypatch.setattr(study.logging.getLogger("lightmel"), "level", 0)
    ways = ["--only", "all of default", "from scratch"]
    study.main([str(mixtures), str(tmp_path), "--clips", "12", "24", *ways, "--seeds", "3"])
    shown = capsys.readouterr().out
    assert "| all of default | 0." in shown
    assert "| from scratch   | 0." in shown
    assert "Better than a network trained from scratch:" in shown
    assert "own tags" not in shown, "the default knows not all of these instruments"
    few, many = (study.drawn(mixtures, n, 3) for n in (12, 24))
    assert set(few.train.paths) < set(many.train.paths)
    assert few.test.paths == many.test.paths == study.load_table(mixtures).test.paths
    assert len(many.train) == 24
    assert (few.train.labels.sum(axis=0) > 0).all()


@pytest.fixture(scope="module")
def genres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of a pitch and a rhythm a genre, two in each group."""
    folder = tmp_path_factory.mktemp("genres")
    labels, tracks = [("path", "genre")], [("path", "group")]
    time = np.arange(16_000 * 3) / 16_000
    rng = np.random.default_rng(0)
    for k, genre in enumerate(("classical", "electronic", "pop", "rock")):
        for i in range(10):
            pitch = 200 * 2 ** (1.3 * k) * rng.uniform(0.9, 1.1)
            sounding = (time * (2 + k)) % 1 < 0.5
            path = f"{genre}-{i}.flac"
            soundfile.write(folder / path, 0.3 * sounding * np.sin(2 * np.pi * pitch * time), 16_000)
            labels.append((path, genre))
            tracks.append((path, f"{genre}-{i // 2}"))
    for name, rows in (("genres.csv", labels), ("tracks.csv", tracks)):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return folder


def test_tuned_taggers_are_compared_with_the_tags_there_were(
    genres: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = example("finetune_study")
    monkeypatch.setattr(study, "BASES", {"default": study.BASES["default"]})
    real = study.FinetuneConfig
    monkeypatch.setattr(
        study, "FinetuneConfig", lambda **given: real(**({"head_epochs": 1, "excerpts": 1} | given))
    )
    monkeypatch.setattr(study.logging.getLogger("lightmel"), "level", 0)
    ways = ["--only", "head of default", "embeddings of default"]
    arguments = [str(genres), str(tmp_path), "--clips", "8", "20", *ways, "--seeds"]
    study.main([*arguments, "0"])
    first = capsys.readouterr().out
    assert "embeddings-of-default-20-seed0: ROC AUC" in first
    assert "head-of-default-8-seed0: ROC AUC" in first
    study.main([*arguments, "0", "1"])
    second = capsys.readouterr().out
    assert "own-tags-of-default-seed1" in second
    assert "seed0: " not in second, "cells that are there are not measured again"
    assert "| own tags of default   | 0." in second
    assert "- embeddings of default: " in second
    assert len(list((tmp_path / "embeddings").glob("*.sqlite"))) == 1


def test_the_clips_of_a_study_are_nested_and_its_groups_apart(genres: Path) -> None:
    study = example("finetune_study")
    few, many = (study.drawn(genres, n, 3) for n in (6, 20))
    assert set(few.train.paths) < set(many.train.paths)
    assert few.test.paths == many.test.paths
    assert (few.train.labels.sum(axis=0) > 0).all()
    assert not set(many.train.groups) & set(many.test.groups)
    assert few.test.paths != study.drawn(genres, 6, 4).test.paths
    with pytest.raises(SystemExit, match="ask for fewer than 40"):
        study.drawn(genres, 40, 0)


def test_a_study_says_from_how_many_clips_on(genres: Path) -> None:
    study = example("finetune_study")
    own = {clips: [0.8, 0.9] for clips in (25, 50, 100, 200)}
    found = {25: [0.9, 0.9], 50: [0.7, 0.8], 100: [0.9, 0.89], 200: [0.9, 0.95]}
    said = study.sentence("tuned", found, own)
    assert said.startswith("tuned: from 100 clips on (100: +0.045, ahead for 1 of 2 seeds, 200: +0.075, ")
    assert study.sentence("tuned", {25: [0.7, 0.8]}, own) == "tuned: not with 25 clips (-0.100)."
