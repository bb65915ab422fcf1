"""Several evaluations in one table, and what may not stand beside each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lightmel.errors import DataError
from lightmel.evaluation import Evaluation, compare

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
