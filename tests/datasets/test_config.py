"""A data set named in a configuration: options of another kind of set are refused, and none is forgotten."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lightmel.datasets import DataConfig, load_dataset
from lightmel.datasets.config import _SETS
from lightmel.errors import ConfigError

OTHERS: dict[str, Any] = {
    "annotations": "lists",
    "protocol": "clean",
    "subset": "genre",
    "fold": 1,
    "root": "sound",
    "path_column": "file",
    "tag_columns": "genre",
    "split_column": "part",
    "group_column": "artist",
    "valid_share": 0.2,
    "test_share": 0.0,
    "split_seed": 1,
    "low": True,
    "min_files": 5,
}


def test_every_option_is_of_some_set() -> None:
    options = {field.name for field in fields(DataConfig)} - {"dataset"}
    assert options == set(OTHERS) == {option for own in _SETS.values() for option in own}


@pytest.mark.parametrize("dataset", _SETS)
@pytest.mark.parametrize("option", OTHERS)
def test_an_option_of_another_set_is_refused_and_its_set_is_named(option: str, dataset: Any) -> None:
    value = OTHERS[option]
    if option in _SETS[dataset]:
        assert getattr(DataConfig(dataset, **{option: value}), option) == value
        return
    with pytest.raises(ConfigError) as caught:
        DataConfig(dataset, **{option: value})
    message = str(caught.value)
    assert message.startswith(f"{option}={value!r} counts only with dataset=")
    wanted, _, given = message.partition(", and dataset is ")
    assert all((f"dataset={name!r}" in wanted) == (option in own) for name, own in _SETS.items())
    assert given.startswith(f"{dataset!r}")


def test_a_clean_split_of_a_folder_of_digits_is_no_table_of_classes(
    tmp_path: Path, forms: SimpleNamespace
) -> None:
    clips = {f"{digit}/ann-one-01-a-0-29.mp3": ["guitar"] for digit in "0cd"}
    forms.write(tmp_path / "annotations_final.csv", forms.annotations(clips))
    for path in clips:
        forms.write(tmp_path / path, b"sound")
    with pytest.raises(ConfigError, match=r"protocol='clean' counts only with dataset='magnatagatune'"):
        load_dataset(tmp_path, DataConfig(protocol="clean"))
    found = load_dataset(tmp_path, DataConfig("magnatagatune", protocol="clean"))
    assert found.label == "magnatagatune (clean, 1/1/1 clips)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dataset": "tables"},
            r"dataset is 'table' or 'library' or .*, not 'tables'\. Did you mean 'table'\?",
        ),
        (
            {"dataset": "magnatagatune", "protocol": "claen"},
            r"protocol is .*not 'claen'\. Did you mean 'clean'",
        ),
        ({"dataset": "jamendo", "subset": 50}, "subset is 'top50tags' or .*, not 50"),
        ({"dataset": "jamendo", "fold": "1"}, r"fold is a whole number, not '1'\."),
        ({"dataset": "jamendo", "fold": 1.5}, r"fold is a whole number, not 1\.5"),
        ({"dataset": "jamendo", "fold": True}, "fold is a whole number, not True"),
        ({"dataset": "jamendo", "fold": None}, "fold is a whole number, not None"),
        ({"dataset": "jamendo", "low": 1}, "low is true or false, not 1"),
        ({"dataset": "jamendo", "low": "no"}, "low is true or false, not 'no'"),
        ({"root": Path("sound")}, "root is a text, not .*Path"),
        ({"annotations": None}, "annotations is a text, not None"),
        ({"tag_columns": ["rock", "pop"]}, r"tag_columns is a text, not \['rock', 'pop'\]"),
        ({"split_seed": float("nan")}, "split_seed is a whole number, not nan"),
        ({"valid_share": "0.2"}, "valid_share is a finite number, not '0.2'"),
        ({"test_share": float("inf")}, "test_share is a finite number, not inf"),
        ({"test_share": True}, "test_share is a finite number, not True"),
        ({"valid_share": -0.1}, r"valid_share and test_share are 0 or more .*, not -0\.1 and 0\.15"),
        ({"test_share": -0.1}, r"0 or more .*, not 0\.15 and -0\.1"),
        ({"valid_share": 0.5, "test_share": 0.5}, "leave something to learn from, not 0.5 and 0.5"),
    ],
)
def test_values_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(**options)


def test_numbers_of_numpy_become_pythons_own() -> None:
    config = DataConfig(valid_share=np.float32(0.25), test_share=0, split_seed=np.int64(3))  # type: ignore[arg-type]
    assert (config.valid_share, config.test_share, config.split_seed) == (0.25, 0.0, 3)
    assert [type(v) for v in (config.valid_share, config.test_share, config.split_seed)] == [
        float,
        float,
        int,
    ]
    assert json.loads(json.dumps(asdict(config))) == asdict(config)
    assert DataConfig(**asdict(config)) == config
