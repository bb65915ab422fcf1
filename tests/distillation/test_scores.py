"""Teachers' scores in a folder: made once, gone on with, and in time with the features."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lightmel.datasets import Track
from lightmel.distillation import (
    ScoresConfig,
    StoredExamples,
    TeacherScores,
    held_out_logits,
    score_music,
    split_music,
)
from lightmel.errors import AudioError, ConfigError, DataError
from lightmel.features import MemoryFeatures
from lightmel.frontends import config_from_slug
from lightmel.inference import Tagger

SR, UNIT = 16_000, 0.05
CONFIG = ScoresConfig(window_seconds=1.0, step_seconds=0.5, excerpt_seconds=6.0)


@pytest.fixture(scope="module")
def ramps(tmp_path_factory: pytest.TempPathFactory, ramp: Callable[..., np.ndarray]) -> list[Track]:
    """Three clips of six seconds whose level tells the time, and a shorter one."""
    folder = tmp_path_factory.mktemp("ramps")
    for i, seconds in enumerate((6.0, 6.0, 6.0, 2.5)):
        soundfile.write(folder / f"{i}.wav", ramp(seconds, SR), SR, subtype="PCM_16")
    return [Track(folder / f"{i}.wav", str(i)) for i in range(4)]


@pytest.fixture(scope="module")
def scores(
    ramps: list[Track], clock: Callable[..., Tagger], tmp_path_factory: pytest.TempPathFactory
) -> TeacherScores:
    teacher = clock("16k-mel16-x4-db", 1.0, UNIT)
    folder = tmp_path_factory.mktemp("scores") / "out"
    return score_music([teacher], ramps, ["train", "test", "train", "train"], folder, CONFIG)


def test_windows_clips_and_targets(scores: TeacherScores) -> None:
    assert [(Path(c.path).name, c.split, c.windows) for c in scores.clips] == [
        ("0.wav", "train", 11),
        ("1.wav", "test", 11),
        ("2.wav", "train", 11),
        ("3.wav", "train", 4),
    ]
    assert scores.tags == ("a", "b", "c")
    assert all(path.is_file() for path in scores.sources().values())
    targets = scores.targets()
    assert targets.shape == (37, 3)
    middles = torch.cat([0.5 + 0.5 * torch.arange(n) for n in (11, 11, 11, 4)])
    torch.testing.assert_close(targets[:, 0] / UNIT, middles, atol=0.02, rtol=0)


def test_the_same_again_costs_nothing_and_a_damaged_part_is_scored_anew(
    ramps: list[Track], clock: Callable[..., Tagger], scores: TeacherScores, tmp_path: Path, asked: list[Any]
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(scores.folder, folder)
    splits = [clip.split for clip in scores.clips]
    teacher = clock("16k-mel16-x4-db", 1.0, UNIT)
    (folder / "scores.json").unlink()  # as a kill leaves it
    made = score_music([teacher], ramps, splits, folder, CONFIG)
    assert not asked
    assert torch.equal(made.targets(), scores.targets())
    assert (folder / "logits.npy").read_bytes() == (scores.folder / "logits.npy").read_bytes()


def test_a_segment_of_features_is_of_the_time_of_its_target(scores: TeacherScores) -> None:
    for slug in ("16k-mel16-x4-db", "12k-mel16-x10-db", "16k-mel16-x1-db"):
        config = config_from_slug(slug)
        hop = 256 * int(slug.split("-x")[1].split("-")[0]) / config.sr
        clips = {}
        for clip, seconds in zip(scores.clips, (6.0, 6.0, 6.0, 2.5), strict=True):
            frames = config.input_shape(seconds)[1]
            clips[clip.path] = np.tile(np.arange(frames) * hop, (16, 1)).astype(np.float32)
        features = MemoryFeatures(config, clips)
        for seconds in (1.0, 0.5, 2.0):
            n_frames = config.input_shape(seconds)[1]
            examples = StoredExamples(features, scores, scores.targets(), n_frames, seconds, 1.0)
            assert len(examples) == 26
            x, target = examples.batch(np.arange(26), np.random.default_rng(0))
            assert x.shape == (26, 16, n_frames)
            middle = x.mean(dim=(1, 2))
            if seconds > 1:  # it reaches over neither end of its clip
                whole = torch.from_numpy(examples.windows.rows) < 3
                inside = (middle > 1.2) & (middle < 4.8) & whole
                assert inside.sum() > 8
                middle, target = middle[inside], target[inside]
            torch.testing.assert_close(target[:, 0] / UNIT, middle, atol=hop + 0.03, rtol=0)


def test_what_is_held_out_is_not_trained_on(scores: TeacherScores, tiny: Callable[..., Tagger]) -> None:
    network = tiny(0, slug="16k-mel16-x4-db", seconds=1.0, tags=("a", "b", "c")).network
    config, n_frames = config_from_slug("16k-mel16-x4-db"), network.input_shape[1]
    rng = np.random.default_rng(0)
    clips = {c.path: rng.normal(size=(16, 94)).astype(np.float32) for c in scores.clips}
    features = MemoryFeatures(config, clips)
    logits, windows = held_out_logits(network, features, scores, n_frames, 1.0)
    assert logits.shape == (11, 3)
    assert windows.tolist() == list(range(11, 22))
    own = torch.from_numpy(clips[scores.clips[1].path][:, :n_frames])[None]
    with torch.inference_mode():
        np.testing.assert_allclose(logits[0], network(own)[0].numpy(), rtol=1e-5, atol=1e-6)
    examples = StoredExamples(features, scores, scores.targets(), n_frames, 1.0, 1.0)
    assert not set(examples.windows.chosen.tolist()) & set(windows.tolist())


def test_a_clip_whose_features_are_not_there_is_left_out(scores: TeacherScores) -> None:
    config = config_from_slug("16k-mel16-x4-db")
    some = {scores.clips[0].path: np.zeros((16, 94), np.float32)}
    examples = StoredExamples(MemoryFeatures(config, some), scores, scores.targets(), 16, 1.0, 0.0)
    assert len(examples) == 11
    none = {"else": np.zeros((16, 94), np.float32)}
    with pytest.raises(DataError, match="no clips of train whose features are there"):
        StoredExamples(MemoryFeatures(config, none), scores, scores.targets(), 16, 1.0, 0.0)


def test_splits_of_a_table_and_of_a_folder(
    ramps: list[Track], music: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "music.csv"
    lines = [
        f"{t.path},{t.group},{s}" for t, s in zip(ramps, ("train", "test", "train", "test"), strict=True)
    ]
    table.write_text("\n".join(["path,group,split", *lines]) + "\n")
    tracks, splits = split_music(table)
    assert splits == ["train", "test", "train", "test"]
    assert [t.group for t in tracks] == ["0", "1", "2", "3"]
    assert not caplog.messages
    divided = tmp_path / "divided.csv"
    divided.write_text(table.read_text().replace(",1,test", ",0,test"))
    assert split_music(divided)[1] == splits
    assert "1 groups, '0' among them, have clips in train and in test" in caplog.text
    table.write_text(table.read_text().replace(",test", ",valid", 1))
    with pytest.raises(DataError, match=r"line 3: split is train or test, not 'valid'"):
        split_music(table)
    tracks, splits = split_music(music, ScoresConfig(holdout=0.25))
    held = {t.group for t, s in zip(tracks, splits, strict=True) if s == "test"}
    assert len(held) == 2
    assert splits.count("test") == 4


def test_what_cannot_be_scored(
    ramps: list[Track], clock: Callable[..., Tagger], scores: TeacherScores, tmp_path: Path
) -> None:
    teacher = clock("16k-mel16-x4-db", 1.0, UNIT)
    with pytest.raises(ConfigError, match="needs a teacher"):
        score_music([], ramps, ["train"] * 4, tmp_path)
    with pytest.raises(ConfigError, match="None of the teachers knows"):
        score_music([teacher], ramps, ["train"] * 4, tmp_path, ScoresConfig(vocabulary="lightmel"))
    with pytest.raises(AudioError, match="None of the 1 tracks"):
        score_music([teacher], [Track(tmp_path / "no.wav", "a")], ["train"], tmp_path / "out", CONFIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is a file, and a folder is wanted"):
        score_music([teacher], ramps, ["train"] * 4, tmp_path / "file", CONFIG)
    with pytest.raises(DataError, match=r"holds other scores \(config\)"):
        score_music([teacher], ramps, ["train"] * 4, scores.folder, ScoresConfig(window_seconds=2.0))


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_text(ramps: list[Track], clock: Callable[..., Tagger], tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff\xfe.wav")
    shutil.copy(ramps[0].path, odd)
    teacher = clock("16k-mel16-x4-db", 1.0, UNIT)
    made = score_music([teacher], [Track(odd, "a"), ramps[1]], ["train", "test"], tmp_path / "out", CONFIG)
    assert [path.resolve() for path in made.sources().values()] == [odd, Path(ramps[1].path)]
    assert TeacherScores.open(made.folder).digest == made.digest


def test_a_damaged_folder(scores: TeacherScores, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(scores.folder, folder)
    (folder / "logits.npy").write_bytes((folder / "logits.npy").read_bytes()[:-10])
    with pytest.raises(DataError, match="no scores that can be read"):
        TeacherScores.open(folder)
    np.save(folder / "logits.npy", np.zeros((3, 3), np.float16))
    with pytest.raises(DataError, match="is damaged"):
        TeacherScores.open(folder)
    plain = json.loads((folder / "scores.json").read_text())
    (folder / "scores.json").write_text(json.dumps(plain | {"format": 9}))
    with pytest.raises(DataError, match="format 9"):
        TeacherScores.open(folder)
    with pytest.raises(DataError, match="no scores"):
        TeacherScores.open(tmp_path)
