"""A data set named in a configuration: options of another kind of set are refused, and none is forgotten."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
    assert all((f"(--dataset {name})" in message) == (option in own) for name, own in _SETS.items())
    assert f"dataset is {dataset!r}" in message


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
