from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightmel import vocabularies as tags
from lightmel.datasets import Dataset, load_magnatagatune, magnatagatune, pickles, same_protocol
from lightmel.errors import DataError

CLIPS = {
    "f/ann-one-01-a-0-29.mp3": ["guitar", "metal"],
    "0/ann-one-01-a-29-58.mp3": ["female voice", "singer"],
    "b/bob-two-02-b-0-29.mp3": [],
    "c/bob-two-02-b-29-58.mp3": ["clasical", "no voice"],
    "d/cy-three-03-c-0-29.mp3": ["singer"],
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3": ["rock"],
}


@pytest.fixture(params=[False, True], ids=["plain", "gz"])
def root(request: pytest.FixtureRequest, tmp_path: Path, forms: SimpleNamespace) -> Path:
    forms.write(tmp_path / "annotations_final.csv", forms.annotations(CLIPS), packed=request.param)
    return tmp_path


def named(dataset: Dataset, split: str, row: int) -> set[str]:
    return {t for t, holds in zip(dataset.tags, dataset.split(split).labels[row], strict=True) if holds}


def test_full_holds_every_clip_but_the_broken_ones(root: Path) -> None:
    found = load_magnatagatune(root)
    assert found.label == "magnatagatune (full, 2/1/2 clips)"
    assert found.train.paths == ("0/ann-one-01-a-29-58.mp3", "b/bob-two-02-b-0-29.mp3")
    assert found.valid.paths == ("c/bob-two-02-b-29-58.mp3",)
    assert found.test.paths == ("f/ann-one-01-a-0-29.mp3", "d/cy-three-03-c-0-29.mp3")
    assert found.files("valid") == [root / "c" / "bob-two-02-b-29-58.mp3"]


def test_clean_holds_clips_with_one_of_the_fifty_tags(root: Path) -> None:
    found = load_magnatagatune(root, protocol="clean")
    assert found.train.paths == ("0/ann-one-01-a-29-58.mp3",)
    assert found.valid.paths == ("c/bob-two-02-b-29-58.mp3",)
    assert found.test.paths == ("f/ann-one-01-a-0-29.mp3",)
    with pytest.raises(DataError, match=r"\(full, .*\) and magnatagatune \(clean, 1/1/1 clips\)"):
        same_protocol(load_magnatagatune(root), found)


def test_other_numbers_of_clips_than_published_are_another_protocol(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cut = load_magnatagatune(root)
    assert [r.getMessage() for r in caplog.records] == [
        "magnatagatune (full): the annotations list 2/1/2 clips (train/valid/test), and the published "
        "ones 18706/1825/5329. Unless they are a part on purpose, fetch them again."
    ]
    caplog.clear()
    monkeypatch.setattr(magnatagatune, "COUNTS", {"full": {"train": 2, "valid": 1, "test": 2}})
    whole = load_magnatagatune(root)
    assert (whole.protocol, caplog.records) == ("full", [])
    with pytest.raises(DataError, match=r"\(full, 2/1/2 clips\) and magnatagatune \(full\)"):
        same_protocol(cut, whole)


def test_tags_stand_in_the_published_order_and_near_synonyms_apart(root: Path) -> None:
    found = load_magnatagatune(root)
    assert found.tags == tags.read("mtat")
    assert named(found, "test", 0) == {"guitar", "metal"}
    assert named(found, "train", 0) == {"female voice"}
    assert named(found, "valid", 0) == {"no voice"}
    assert named(found, "test", 1) == set()


def test_groups_are_artists(root: Path) -> None:
    assert load_magnatagatune(root).train.groups == ("ann", "bob")


def test_annotations_may_lie_apart_from_the_sound(root: Path, tmp_path: Path) -> None:
    found = load_magnatagatune(tmp_path / "sound", annotations=root)
    assert found.files("valid")[0].parent == tmp_path / "sound" / "c"


def test_an_unknown_protocol_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"'claen'; there are full and clean.*'clean'"):
        load_magnatagatune(root, "claen")


def test_missing_annotations_say_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"annotations_final\.csv\.gz in .* comes from http.*annotations=\.\.\."
    ):
        load_magnatagatune(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"guitar"', '"gitarre"', "lacks the columns guitar"),
        ("\t", ",", r"line 1: .*separated by tabs: fetch it again"),
        ('"1"', '"2"', "line 2, is damaged"),
        (
            '\t"f/ann-one-01-a-0-29.mp3"',
            "",
            r"line 2: 53 cells in a table of 54 columns\..*separated by tabs: fetch it again",
        ),
        ("f/ann", "g/ann", r"line 2: 'g/ann.*is no path"),
        ("f/ann-one-01-a-0-29", "0/ann-one-01-a-29-58", "line 3: .* stands twice"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(
    tmp_path: Path, forms: SimpleNamespace, old: str, new: str, message: str
) -> None:
    text = forms.annotations(CLIPS)
    forms.write(tmp_path / "annotations_final.csv", text.replace(old, new))
    with pytest.raises(DataError, match=message):
        load_magnatagatune(tmp_path)


def test_an_altered_file_is_found_by_its_sum(root: Path) -> None:
    found = load_magnatagatune(root).check(sound=False)
    assert [p.kind for p in found] == ["altered"]
    assert magnatagatune.SUMS["annotations_final.csv"] in str(found[0])


# The published files.


@pytest.fixture(scope="module")
def published(shared: Path) -> Path:
    return shared / "annotations" / "mtat"


@pytest.fixture(scope="module")
def full(published: Path) -> Dataset:
    return load_magnatagatune("sound", annotations=published)


@pytest.fixture(scope="module")
def clean(published: Path) -> Dataset:
    return load_magnatagatune("sound", "clean", annotations=published)


def test_the_published_counts_come_out(full: Dataset, clean: Dataset) -> None:
    for dataset in (full, clean):
        assert {k: len(v) for k, v in dataset.splits.items()} == magnatagatune.COUNTS[dataset.protocol]
        positives = {name: int(split.labels.sum()) for name, split in dataset.splits.items()}
        assert positives == {"train": 50_497, "valid": 5_058, "test": 14_149}
    empty = {name: int((~split.labels.any(axis=1)).sum()) for name, split in full.splits.items()}
    assert empty == {"train": 3_459, "valid": 296, "test": 997}


def test_the_published_files_are_unaltered(full: Dataset) -> None:
    assert full.check(sound=False) == []


def test_groups_are_the_artists_of_the_published_list(full: Dataset, published: Path) -> None:
    with gzip.open(published / "clip_info_final.csv.gz", "rt", encoding="utf-8", newline="") as file:
        artist = {row["mp3_path"]: row["artist"] for row in csv.DictReader(file, delimiter="\t")}
    pairs = {(g, artist[p]) for s in full.splits.values() for p, g in zip(s.paths, s.groups, strict=True)}
    assert len(pairs) == len({g for g, _ in pairs}) == len({a for _, a in pairs}) == 230


def npy(path: Path) -> np.ndarray:
    return np.load(io.BytesIO(gzip.decompress(path.read_bytes())), allow_pickle=False)


def test_clean_is_the_published_clean_split_row_by_row(clean: Dataset, published: Path) -> None:
    folder = published / "clean_split"
    binary = npy(folder / "binary.npy.gz")
    assert list(clean.tags) == np.load(folder / "tags.npy").tolist()
    for name, split in clean.splits.items():
        listed = [entry.split("\t") for entry in npy(folder / f"{name}.npy.gz").tolist()]
        assert list(split.paths) == [path for _, path in listed]
        np.testing.assert_array_equal(split.labels, binary[[int(i) for i, _ in listed]])


def test_python_2_pickles_of_the_lee_split_are_clean_less_three(clean: Dataset, published: Path) -> None:
    folder = published / "lee_split"
    lists = {name: pickles.load(folder / f"{name}_list_pub.cP.gz") for name in clean.splits}
    assert {name: len(paths) for name, paths in lists.items()} == {
        "train": 15_244,
        "valid": 1_529,
        "test": 4_332,
    }
    lost = {
        name: set(split.paths) - {p.removesuffix(".npy") + ".mp3" for p in lists[name]}
        for name, split in clean.splits.items()
    }
    assert len(lost["train"]) == 3
    assert all(p.startswith("0/american_bach_soloists-") for p in lost["train"])
    assert lost["valid"] == lost["test"] == set()
    lee_tags = (folder / "top50_tags.txt").read_text(encoding="utf-8").split("\n")[:50]
    for name in ("valid", "test"):
        row = {path: i for i, path in enumerate(clean.split(name).paths)}
        mine = clean.split(name).labels[[row[p.removesuffix(".npy") + ".mp3"] for p in lists[name]]]
        theirs = npy(folder / f"y_{name}_pub.npy.gz")
        column = {tag.replace(" ", "").lower(): i for i, tag in enumerate(clean.tags)}
        np.testing.assert_array_equal(mine[:, [column[t.lower()] for t in lee_tags]], theirs)
