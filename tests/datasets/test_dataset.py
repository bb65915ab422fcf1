from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightmel import datasets as data
from lightmel.datasets import (
    Dataset,
    Problem,
    Split,
    jamendo,
    library,
    magnatagatune,
    msd,
    same_protocol,
    table,
)
from lightmel.errors import DataError


def split(*paths: str, tags: int = 2) -> Split:
    return Split(paths, np.eye(max(len(paths), tags), dtype=bool)[: len(paths), :tags], paths)


def dataset(root: Path, **changes: object) -> Dataset:
    fields: dict[str, object] = {
        "name": "small",
        "protocol": "full",
        "root": root,
        "tags": ("a", "b"),
        "splits": {"train": split("x/1.wav", "x/2.wav"), "test": split("3.wav")},
        "citation": "c",
        "license": "l",
        "source": "s",
    }
    return Dataset(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [jamendo, library, magnatagatune, msd, table], ids=lambda m: m.__name__)
def test_every_data_set_says_what_it_is(module: ModuleType) -> None:
    for name in ("NAME", "CITATION", "LICENSE", "SOURCE"):
        assert isinstance(getattr(module, name), str), name
        assert getattr(module, name).strip(), name
    for counts in module.COUNTS.values():
        assert set(counts) == {"train", "valid", "test"}
        assert all(n > 0 for n in counts.values())
    for name, digest in getattr(module, "SUMS", {}).items():
        assert re.fullmatch("[0-9a-f]{64}", digest), name
    loaders = [name for name in vars(module) if name.startswith("load_")]
    assert len(loaders) == 1
    assert getattr(data, loaders[0]) is getattr(module, loaders[0])


def test_every_module_with_a_loader_is_walked() -> None:
    folder = Path(data.__file__).parent
    with_loader = {p.stem for p in folder.glob("*.py") if re.search(r"^def load_", p.read_text(), re.M)}
    assert with_loader == {
        "jamendo",
        "library",
        "magnatagatune",
        "msd",
        "table",
        "source",
    }  # the last: a door to them


def test_splits_are_reached_by_name(tmp_path: Path) -> None:
    found = dataset(tmp_path)
    assert found.train is found.splits["train"] is found.split("train")
    assert len(found.train) == 2
    assert found.files("train") == [tmp_path / "x" / "1.wav", tmp_path / "x" / "2.wav"]


def test_a_split_that_is_not_there_says_why_or_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"small \(full\) has no split 'valid'; there are train, test"):
        _ = dataset(tmp_path).valid
    with pytest.raises(DataError, match="has no valid here: put labels there"):
        _ = dataset(tmp_path, absent={"valid": "put labels there"}).valid


def test_tags_that_no_clip_of_a_split_has_are_named(tmp_path: Path) -> None:
    assert dataset(tmp_path).without_positives("train") == ()
    assert dataset(tmp_path).without_positives("test") == ("b",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": {"train": split("1", "2"), "test": split("1")}}, "path '1' stands more than once"),
        ({"splits": {"train": split("1", "1")}}, "path '1' stands more than once"),
        ({"tags": ("a", "a")}, "tag 'a' stands more than once"),
        ({"tags": ("a", "b", "c")}, "train has labels of 2 tags, not of 3"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        dataset(tmp_path, **changes)


def test_a_split_wants_as_many_labels_and_groups_as_paths() -> None:
    with pytest.raises(DataError, match="1 paths, 2 rows of labels and 1 groups"):
        Split(("a",), np.zeros((2, 3), dtype=bool), ("a",))
    with pytest.raises(DataError, match="boolean of shape"):
        Split(("a",), np.zeros((1, 3)), ("a",))  # type: ignore[arg-type]


def test_labels_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        split("a").labels[0, 0] = False


def test_full_and_clean_never_end_up_in_one_table(tmp_path: Path) -> None:
    full, clean = dataset(tmp_path), dataset(tmp_path, protocol="clean")
    same_protocol()
    same_protocol(full)
    same_protocol(full, dataset(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"small \(full\) and small \(clean\)"):
        same_protocol(full, full, clean)
    with pytest.raises(DataError, match=r"small \(full\) and other \(full\)"):
        same_protocol(full, dataset(tmp_path, name="other"))


def test_results_that_carry_their_protocol_are_compared_too(tmp_path: Path) -> None:
    @dataclass
    class Result:
        name: str
        protocol: str

    same_protocol(dataset(tmp_path), Result("small", "full"))
    with pytest.raises(DataError, match="clean"):
        same_protocol(dataset(tmp_path), Result("small", "clean"))


def test_missing_and_empty_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "1.wav").write_bytes(b"RIFF")
    (tmp_path / "3.wav").touch()
    found = dataset(tmp_path).check()
    assert found == [
        Problem("missing", tmp_path / "x" / "2.wav", "it belongs to train."),
        Problem("altered", tmp_path / "3.wav", "it is empty."),
    ]
    assert str(found[0]) == f"{tmp_path / 'x' / '2.wav'} is missing: it belongs to train."
    assert dataset(tmp_path).check(sound=False) == []


@pytest.mark.parametrize("packed", [False, True])
def test_an_altered_annotation_file_is_named_plain_or_packed(
    tmp_path: Path, forms: object, packed: bool
) -> None:
    path = forms.write(tmp_path / "sub" / "tags.csv", "hello", packed=packed)  # type: ignore[attr-defined]
    good = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    sums = {"sub/tags.csv": good, "not-there.csv": good}
    assert dataset(tmp_path, annotations=tmp_path, sums=sums).check(sound=False) == []
    bad = dataset(tmp_path, annotations=tmp_path, sums={"sub/tags.csv": "0" * 64}).check(sound=False)
    assert [(p.kind, p.path) for p in bad] == [("altered", path)]
    assert good in bad[0].detail


def test_an_absent_split_is_a_problem(tmp_path: Path) -> None:
    found = dataset(tmp_path, absent={"valid": "labels_valid.npy is wanted."}).check(sound=False)
    assert ["labels_valid.npy is wanted." in str(p) for p in found] == [True]
