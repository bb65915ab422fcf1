"""Several evaluations in one table, and what may not stand beside each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.metrics import average_precision_score, roc_auc_score

from lightmel.errors import DataError
from lightmel.evaluation import ClipScores, Evaluation, compare, compare_runs

Record = Callable[..., Evaluation]


def test_records_of_the_same_clips_stand_in_one_table(record: Record) -> None:
    other = record(model="theirs", version="", pr_auc={"a|b": 0.5, "dvořák": 0.6})
    lines = compare([record(), other]).splitlines()
    assert lines[0] == "test of songs, clean: 100 clips, 2 tags."
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["mine 2", "theirs"]
    assert "0.550 (0.400 to 0.600)" in lines[5]
    assert compare([other]).count("theirs") == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataset": "tunes"}, r"songs \(clean\) and tunes \(clean\)"),
        ({"protocol": "all"}, r"songs \(clean\) and songs \(all\)"),
        ({"split": "valid"}, "their split are test and valid"),
        ({"clips": 99}, "number of clips are 100 and 99"),
        ({"roc_auc": {"a|b": 0.75}}, "measured tags"),
        (
            {"positives": {"a|b": 21, "dvořák": 30, "never": 0}},
            r"true clips are a\|b 20, dvořák 30 and a\|b 21",
        ),
        ({"failed": {"y.mp3": "it is not sound"}}, r"unreadable files are x\.mp3 and y\.mp3"),
        ({"failed": {}}, r"unreadable files are x\.mp3 and none"),
    ],
)
def test_other_clips_or_tags_are_refused_in_one_table(
    record: Record, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        compare([record(), record(), record(model="theirs", **change)])


def test_a_table_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        compare([])


# Several runs of each, and what tells them apart


def scored(record: Record, seed: int, apart: float, clips: int = 60, **changes: Any) -> Evaluation:
    """An evaluation of two tags whose scores are `apart`, with the scores of its clips."""
    truth = np.zeros((clips, 2), dtype=np.bool_)
    truth[: clips // 2, 0] = truth[::3, 1] = True
    scores = np.random.default_rng(seed).normal(size=truth.shape) + apart * truth
    tags = ("a", "b")
    return record(
        clips=clips,
        weights=f"{seed:064x}",
        positives={"a": clips // 2, "b": -(-clips // 3)},
        roc_auc={t: float(roc_auc_score(truth[:, i], scores[:, i])) for i, t in enumerate(tags)},
        pr_auc={t: float(average_precision_score(truth[:, i], scores[:, i])) for i, t in enumerate(tags)},
        left_out={},
        clip_scores=ClipScores(tuple(f"{i}.wav" for i in range(clips)), tags, truth, scores),
        **changes,
    )


def test_runs_are_compared_by_means_intervals_on_the_same_clips_and_the_t_test(record: Record) -> None:
    good = [scored(record, seed, 2.0) for seed in range(3)]
    bad = [scored(record, 10 + seed, 0.5) for seed in range(2)]
    found = compare_runs({"bad": bad, "good": good})
    assert [own.runs for own in found.taggers] == [2, 3]
    values = [[e.macro_roc_auc for e in own] for own in (bad, good)]
    assert found.taggers[1].mean("roc_auc") == pytest.approx(np.mean(values[1]))
    assert found.taggers[1].deviation("roc_auc") == pytest.approx(np.std(values[1], ddof=1))
    roc, pr = found.differences
    assert (roc.of, roc.minus, roc.measure, pr.measure) == ("good", "bad", "roc_auc", "pr_auc")
    assert roc.value == pytest.approx(np.mean(values[1]) - np.mean(values[0]))
    assert roc.interval is not None
    assert 0 < roc.interval[0] < roc.value < roc.interval[1]
    pooled = (2 * np.var(values[1], ddof=1) + np.var(values[0], ddof=1)) / 3
    t = (np.mean(values[1]) - np.mean(values[0])) / np.sqrt(pooled * (1 / 3 + 1 / 2))
    assert roc.p_value == pytest.approx(2 * student.sf(abs(t), 3)), "Student's, by its formula"
    assert "2 and 3" not in found.table()
    assert "3 and 2" in found.table()
    assert found.notes == ()
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_interval_is_that_of_the_mean_over_runs(record: Record) -> None:
    one, two, other = (scored(record, seed, 1.0) for seed in (1, 2, 3))
    found = compare_runs({"one": [other], "two": [one, two]}, resamples=50).differences[0]
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(50):
        rows = rng.integers(60, size=60)

        def mean(e: Evaluation, rows: NDArray[np.int64] = rows) -> float:
            own = e.clip_scores
            assert own is not None
            return float(np.mean([roc_auc_score(own.truth[rows, i], own.scores[rows, i]) for i in (0, 1)]))

        draws.append((mean(one) + mean(two)) / 2 - mean(other))
    assert found.interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-9)


def test_a_tagger_does_not_differ_from_itself(record: Record) -> None:
    one = scored(record, 1, 1.0)
    found = compare_runs({"a": [one], "b": [one]})
    assert all(d.value == 0 and d.interval == (0, 0) and d.p_value is None for d in found.differences)
    assert any("one run" in note for note in found.notes)
    assert any("another seed" in note for note in found.notes)


def test_other_clips_are_refused_unless_asked_for(record: Record) -> None:
    one, other = scored(record, 1, 1.0), scored(record, 2, 1.0, clips=90)
    with pytest.raises(DataError, match="number of clips are 60 and 90"):
        compare_runs({"a": [one], "b": [other]})
    found = compare_runs({"a": [one], "b": [other]}, anyway=True)
    assert found.differences[0].interval is None
    assert found.notes[0].startswith("Not the same clips: ")
    bare = replace(one, clip_scores=None)
    found = compare_runs({"a": [one], "b": [bare]})
    assert found.differences[0].interval is None
    assert "No intervals of the differences" in found.notes[0]
    shuffled = one.clip_scores
    assert shuffled is not None
    others = replace(one, clip_scores=replace(shuffled, paths=shuffled.paths[::-1]))
    assert compare_runs({"a": [one], "b": [others]}).differences[0].interval is None, "clips are told by name"
    with pytest.raises(DataError, match="at least one evaluation of each"):
        compare_runs({"a": [one], "b": []})
