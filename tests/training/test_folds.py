"""Cross-validation by group, what was kept, and tags that exclude each other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lightmel
from lightmel.checkpoint import read_description
from lightmel.datasets import Dataset, Split
from lightmel.errors import ConfigError, DataError
from lightmel.evaluation import Evaluation
from lightmel.features import FeatureStore
from lightmel.inference import Tagger
from lightmel.training import FinetuneConfig, finetune
from lightmel.training.folds import in_folds

BRIEF = FinetuneConfig(head_epochs=2, epochs=1, head_lr=1e-2, batch_size=16, excerpts=1)


def every(data: Dataset) -> list[str]:
    return [path for part in data.splits.values() for path in part.paths]


def test_each_clip_is_tested_once_and_groups_stay_together(data: Dataset) -> None:
    grouped = {
        name: replace(part, groups=tuple(str(int(path.removesuffix(".flac")) // 6) for path in part.paths))
        for name, part in data.splits.items()
    }
    own = replace(data, splits=grouped)
    each, whole, protocol = in_folds(own, 4)
    assert sorted(path for fold in each for path in fold.test.paths) == sorted(every(data))
    for fold in each:
        assert sorted(every(fold)) == sorted(every(data))
        for a, b in itertools.combinations(fold.splits.values(), 2):
            assert not set(a.groups) & set(b.groups)
    assert set(whole.splits) == {"train", "valid"}
    assert sorted(every(whole)) == sorted(every(data))
    assert protocol.startswith("cross-validation by group, 4 folds, ")
    backwards = {
        name: Split(part.paths[::-1], part.labels[::-1].copy(), part.groups[::-1])
        for name, part in reversed(grouped.items())
    }
    again = in_folds(replace(data, splits=backwards, protocol="another split"), 4)
    assert again[2] == protocol, "the order of the clips and their split do not matter"
    assert [fold.test.paths for fold in again[0]] == [fold.test.paths for fold in each]


@pytest.mark.parametrize("embeddings", [False, True])
def test_a_cross_validated_tagger_has_figures_over_all_clips(
    base: Tagger, data: Dataset, store: FeatureStore, embeddings: bool, tmp_path: Path
) -> None:
    config = replace(BRIEF, folds=3, embeddings=embeddings)
    made = finetune(base, data, store, config, work=tmp_path / "work")
    assert made.evaluation is not None
    assert made.folds is not None
    assert made.evaluation.clips == 90
    assert sum(made.folds.clips) == 90
    assert len(made.folds.roc_auc) == len(made.folds.pr_auc) == 3
    scores = made.evaluation.clip_scores
    assert scores is not None
    assert sorted(scores.paths) == sorted(every(data))
    truth = {p: row for part in data.splits.values() for p, row in zip(part.paths, part.labels, strict=True)}
    assert all(np.array_equal(truth[p], row) for p, row in zip(scores.paths, scores.truth, strict=True))
    assert made.evaluation.macro_roc_auc > 0.7
    assert made.tagger.description.provenance["data"] == data.label
    made.save(tmp_path / "mine.safetensors")
    found = Evaluation.load(tmp_path / "mine.json")
    assert found == made.evaluation
    assert found.clip_scores is not None
    card = (tmp_path / "mine.md").read_text()
    assert "### By cross-validation" in card
    assert "| **mean** |" in card
    again = finetune(base, data, store, config, work=tmp_path / "work")
    assert again.evaluation == made.evaluation


def test_too_few_groups_or_folds_are_refused(base: Tagger, data: Dataset, store: FeatureStore) -> None:
    for folds in (1, 2, -1):
        with pytest.raises(ConfigError, match="folds is 0, for none, or from 3 to 100"):
            replace(BRIEF, folds=folds)
    one = {name: replace(part, groups=("a",) * len(part)) for name, part in data.splits.items()}
    with pytest.raises(DataError, match="1 groups cannot be split into 3 parts"):
        finetune(base, replace(data, splits=one), store, replace(BRIEF, folds=3))


def test_the_epoch_that_was_kept_is_that_of_the_network(
    base: Tagger, data: Dataset, store: FeatureStore
) -> None:
    made = finetune(base, data, store, replace(BRIEF, epochs=3))
    kept = made.kept
    assert kept is not None
    own = [line for line in made.history if line["stage"] == kept.stage]
    assert len(own) == kept.epochs
    assert own[kept.epoch - 1]["valid_pr_auc"] == kept.valid_pr_auc
    assert kept.valid_pr_auc == max(line["valid_pr_auc"] for line in made.history)
    assert f"Kept: epoch {kept.epoch} of {kept.epochs} of the" in made.summary()
    assert "Thresholds, from the validation clips: high " in made.summary()
    alone = {name: part for name, part in data.splits.items() if name == "train"}
    made = finetune(base, replace(data, splits=alone), store, replace(BRIEF, epochs=0))
    assert "Kept: epoch 2 of 2 of the head stage: the last one" in made.summary()
    assert "No thresholds" in made.summary()


# Tags that exclude each other


@pytest.fixture(scope="module")
def single(data: Dataset) -> Dataset:
    """The clips with one tag each."""
    splits = {}
    for name, part in data.splits.items():
        rows = np.flatnonzero(part.labels.sum(axis=1) == 1)
        splits[name] = Split(
            tuple(part.paths[i] for i in rows), part.labels[rows].copy(), tuple(part.groups[i] for i in rows)
        )
    return replace(data, splits=splits)


def test_sets_of_one_tag_a_clip_are_recognised(data: Dataset, single: Dataset) -> None:
    assert single.exclusive
    assert not data.exclusive
    part = single.train
    none = part.labels.copy()
    none[0] = False
    assert not replace(single, splits={"train": replace(part, labels=none)}).exclusive, "none is no tag"
    lone = replace(part, labels=np.ones((len(part), 1), dtype=np.bool_))
    assert not replace(single, tags=("a",), splits={"train": lone}).exclusive


def test_the_best_score_is_right_more_often_than_thresholds(
    base: Tagger, single: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    made = finetune(base, single, store, replace(BRIEF, folds=3))
    assert made.tagger.description.exclusive
    e = made.evaluation
    assert e is not None
    assert e.clip_scores is not None
    truth, scores = e.clip_scores.truth, e.clip_scores.scores
    best = truth[np.arange(len(truth)), scores.argmax(axis=1)]
    assert e.accuracy == pytest.approx(best.mean())
    recalls = [best[truth[:, i]].mean() for i in range(3)]
    assert e.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert e.accuracy_interval is not None
    assert e.accuracy_interval[0] < e.accuracy <= e.accuracy_interval[1]
    assert "Best tag right: " in e.table()
    limits = np.array(made.tagger.description.thresholds)
    claimed = scores >= limits
    by_thresholds = (claimed == truth).all(axis=1)
    assert best.sum() > by_thresholds.sum(), "of thresholds several tags hold, or none"
    file = tmp_path / "mine.safetensors"
    made.save(file)
    assert read_description(file).exclusive
    tagging = lightmel.tag(single.root / single.test.paths[0], model=file)
    assert tagging.exclusive
    assert tagging.above() == tagging.top(1)
    assert tagging.above(1.01) == []
    assert sum(len(found) for found in tagging.by_category().values()) == 1
    assert type(tagging).from_dict(tagging.to_dict()) == tagging
    kept = finetune(base, single, store, replace(BRIEF, keep_tags=True))
    assert not kept.tagger.description.exclusive, "an old tag may hold beside a new one"
