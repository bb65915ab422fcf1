"""Labelled examples: excerpts and segments are slices of their clips, and clips that failed are left out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightmel.datasets import Dataset, load_table
from lightmel.errors import DataError, ShapeError
from lightmel.features import FeatureExamples, FeatureStore, MemoryFeatures, label_features, nothing_readable
from lightmel.features.journal import Appender, Description
from lightmel.frontends import MelConfig

CONFIG = MelConfig(16_000, 6, 1, "db")
LENGTHS = [3, 10, 25, 40]
# A frame's values name clip and frame: 1,000 times the one plus the other, in every row.
CLIPS = {
    f"{i}.wav": np.tile(1_000 * i + np.arange(n, dtype=np.float32), (6, 1)) for i, n in enumerate(LENGTHS)
}
LABELS = np.array([[1, 0], [0, 1], [1, 1], [0, 0.5]])


def examples(frames: int = 10, **options: Any) -> FeatureExamples:
    return FeatureExamples(MemoryFeatures(CONFIG, CLIPS), [0, 1, 2, 3], LABELS, frames, **options)


def test_a_batch_is_an_excerpt_of_each_clip_with_its_labels() -> None:
    chosen = np.array([3, 2, 0, 3])
    starts = set()
    for seed in range(200):
        x, y = examples().batch(chosen, np.random.default_rng(seed))
        assert (x.shape, x.dtype, y.dtype) == ((4, 6, 10), torch.float32, torch.float32)
        np.testing.assert_array_equal(y, LABELS[chosen])
        assert (x == x[:, :1]).all()
        for clip, excerpt in zip(chosen, x[:, 0].numpy(), strict=True):
            frames = excerpt - 1_000 * clip
            if clip == 0:
                np.testing.assert_array_equal(frames, np.arange(10) % 3)
            else:
                np.testing.assert_array_equal(frames, frames[0] + np.arange(10))
                starts.add((int(clip), int(frames[0])))
    assert starts == {(2, i) for i in range(16)} | {(3, i) for i in range(31)}


def test_a_batch_depends_on_the_generator_alone() -> None:
    chosen = np.array([1, 2, 3])
    one, other = (examples().batch(chosen, np.random.default_rng(5))[0] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, examples().batch(chosen, np.random.default_rng(6))[0])


def test_an_augmentation_changes_batches_and_no_segments() -> None:
    def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x + torch.rand(x.shape, generator=generator) + 1

    plain, augmented = examples(), examples(augment=augment)
    x, a, b = (
        some.batch(np.array([0, 3]), np.random.default_rng(seed))[0]
        for some, seed in ((plain, 1), (augmented, 1), (augmented, 1))
    )
    assert torch.equal(a, b)
    assert (a > x).all()
    assert torch.equal(plain.segments(3), augmented.segments(3))


@pytest.mark.parametrize(
    ("clip", "frames", "starts"),
    [
        (0, 3, [0]),
        (1, 10, [0]),
        (1, 4, [0, 4, 6]),
        (2, 10, [0, 10, 15]),
        (3, 10, [0, 10, 20, 30]),
        (3, 39, [0, 1]),
    ],
)
def test_segments_are_all_of_a_clip_and_the_last_ends_where_it_ends(
    clip: int, frames: int, starts: list[int]
) -> None:
    segments = examples(frames).segments(clip)
    assert segments.shape == (len(starts), 6, frames)
    expected = 1_000 * clip + np.array(starts)[:, None] + np.arange(frames)
    np.testing.assert_array_equal(segments[:, 0], expected)


def test_a_clip_shorter_than_a_segment_is_repeated() -> None:
    np.testing.assert_array_equal(examples(7).segments(0)[:, 0], [[0, 1, 2, 0, 1, 2, 0]])


def test_the_identity_is_plain_and_tells_what_is_drawn_from() -> None:
    own = examples().identity
    assert json.loads(json.dumps(own)) == own == examples().identity
    assert set(own) == {"features", "frames", "clips", "augmentation"}
    assert (own["features"], own["frames"], own["augmentation"]) == ("16k-mel6-x1-db", 10, False)

    def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x

    assert examples(augment=augment).identity == {**own, "augmentation": True}
    augment.identity = {"gain": 3}  # type: ignore[attr-defined]
    assert examples(augment=augment).identity == {**own, "augmentation": {"gain": 3}}
    changed = {**CLIPS, "2.wav": CLIPS["2.wav"] + 1}
    for features, rows in ((CLIPS, [1, 0, 2, 3]), (CLIPS, [0, 0, 2, 3]), (changed, [0, 1, 2, 3])):
        other = FeatureExamples(MemoryFeatures(CONFIG, features), rows, LABELS, 10).identity
        assert other["clips"] != own["clips"]


def test_what_does_not_fit_is_refused() -> None:
    features = MemoryFeatures(CONFIG, CLIPS)
    with pytest.raises(ShapeError, match=r"3 clips want labels \(clips, tags\), not \(4, 2\)"):
        FeatureExamples(features, [0, 1, 2], LABELS, 10)
    with pytest.raises(ShapeError, match=r"not \(4,\)"):
        FeatureExamples(features, [0, 1, 2, 3], LABELS[:, 0], 10)
    with pytest.raises(DataError, match="no clips to learn from or to evaluate on"):
        FeatureExamples(features, [], LABELS[:0], 10)
    with pytest.raises(DataError, match=r"The label of clip 1, tag 0 is nan"):
        FeatureExamples(features, [0, 1], [[0, 1], [np.nan, 1]], 10)  # type: ignore[arg-type]
    for row in (-1, 4):
        with pytest.raises(DataError, match=f"no row {row}: the 4 clips have rows from 0 on"):
            FeatureExamples(features, [0, row], LABELS[:2], 10)


# The splits of a data set


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """The clips above in another order, and two that failed."""
    description = Description(CONFIG, "float32", None)
    with Appender(tmp_path / "store", description) as writer:
        for key, clip in reversed(CLIPS.items()):
            writer.add(key, clip.shape[1], description.layout.pack(clip))
        writer.fail("bad.wav", "is no sound.")
        writer.fail("worse.wav", "is less than that.")
    return FeatureStore.open(tmp_path / "store")


def data(folder: Path, *rows: str) -> Dataset:
    (folder / "mine.csv").write_text("\n".join(["path,tags,split", *rows]))
    return load_table(folder / "mine.csv")


def test_splits_become_examples_and_clips_that_failed_are_left_out(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = data(
        tmp_path, "bad.wav,a,train", "1.wav,a,train", "0.wav,b,train", "worse.wav,b,train", "3.wav,b;a,test"
    )
    caplog.clear()
    found = label_features(own, store, 10)
    assert list(found.examples) == ["train", "test"]
    train, test = found.examples["train"], found.examples["test"]
    assert [store.keys[row] for row in train.rows] == ["1.wav", "0.wav"]
    assert (train.labels.tolist(), test.labels.tolist()) == ([[1, 0], [0, 1]], [[1, 1]])
    assert train.n_frames == 10
    np.testing.assert_array_equal(test.segments(0)[:, 0, 0], [3_000, 3_010, 3_020, 3_030])
    assert found.failed == {
        "train": {"bad.wav": "is no sound.", "worse.wav": "is less than that."},
        "test": {},
    }
    assert found.counts == {"a": 1, "b": 1}
    assert found.data is own
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "mine: 2 of 4 clips of train are left out, bad.wav among them: is no sound.")
    ]
    assert list(label_features(own, store, 10, ["test"]).examples) == ["test"]


def test_a_split_of_nothing_readable_is_refused_with_the_first_reason(
    store: FeatureStore, tmp_path: Path
) -> None:
    own = data(tmp_path, "1.wav,a,train", "worse.wav,a,test", "bad.wav,a,test")
    message = r"None of the files of test of mine .* can be read, the first because: is less than that\."
    with pytest.raises(DataError, match=message):
        label_features(own, store, 10)
    assert nothing_readable({}, "there") == "There are no files in there."


def test_clips_that_the_store_lacks_and_splits_that_there_are_not_are_named(
    store: FeatureStore, tmp_path: Path
) -> None:
    own = data(tmp_path, "1.wav,a,train", "new.wav,a,train", "2.wav,a,valid")
    with pytest.raises(DataError, match=r"The store .*store lacks 'new\.wav'"):
        label_features(own, store, 10)
    with pytest.raises(DataError, match="has no split 'test'; there are train, valid"):
        label_features(own, store, 10, ["valid", "test"])
