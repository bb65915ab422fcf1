from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lightmel import vocabularies as tags
from lightmel.datasets import jamendo, load_jamendo
from lightmel.errors import DataError

TRACKS = {
    "train": [
        (241, 5, ["mood/theme---happy", "genre---rock", "instrument---piano"]),
        (1042, 5, ["genre---pop"]),
    ],
    "validation": [(7, 6, ["genre---rock"])],
    "test": [(100, 7, ["genre---pop", "genre---ambient"])],
}


def make(folder: Path, forms: SimpleNamespace, fold: int = 0, *, packed: bool = False) -> Path:
    for part, tracks in TRACKS.items():
        name = f"data/splits/split-{fold}/autotagging_top50tags-{part}.tsv"
        forms.write(folder / name, forms.jamendo_list(tracks), packed=packed)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_ragged_rows_keep_every_tag(tmp_path: Path, forms: SimpleNamespace, packed: bool) -> None:
    found = load_jamendo("sound", annotations=make(tmp_path, forms, packed=packed))
    assert found.tags == (
        "genre---ambient",
        "genre---pop",
        "genre---rock",
        "instrument---piano",
        "mood/theme---happy",
    )
    assert found.train.labels.tolist() == [
        [False, False, True, True, True],
        [False, True, False, False, False],
    ]
    assert found.test.labels.tolist() == [[True, True, False, False, False]]
    assert found.train.paths == ("41/241.mp3", "42/1042.mp3")
    assert found.train.groups == ("artist_000005", "artist_000005")
    assert found.files("valid") == [Path("sound/07/7.mp3")]


def test_the_smaller_download_has_other_names(tmp_path: Path, forms: SimpleNamespace) -> None:
    assert load_jamendo(make(tmp_path, forms), low=True).valid.paths == ("07/7.low.mp3",)


def test_each_subset_and_split_is_a_protocol(tmp_path: Path, forms: SimpleNamespace) -> None:
    found = load_jamendo(make(tmp_path, forms, fold=3), fold=3)
    assert found.label == "mtg-jamendo (top50tags, split 3)"
    assert found.check(sound=False) == []
    assert {p.kind for p in load_jamendo(make(tmp_path, forms)).check(sound=False)} == {"altered"}


def test_other_numbers_of_tracks_than_published_are_another_protocol(
    tmp_path: Path,
    forms: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(tmp_path, forms)
    assert load_jamendo(tmp_path).protocol == "top50tags, split 0, 2/1/1 clips"
    assert "(top50tags, split 0): the annotations list 2/1/1 clips (train/valid/test)" in caplog.text
    caplog.clear()
    monkeypatch.setattr(jamendo, "COUNTS", {"top50tags": {"train": 2, "valid": 1, "test": 1}})
    assert (load_jamendo(tmp_path).protocol, caplog.records) == ("top50tags, split 0", [])


def test_unknown_subsets_and_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no subset 'genres'; there are .*'genre'"):
        load_jamendo(tmp_path, "genres")
    with pytest.raises(DataError, match="fold is one of its splits, 0 to 4, not 5"):
        load_jamendo(tmp_path, "genre", 5)
    with pytest.raises(DataError, match=r"autotagging_genre-train\.tsv\.gz"):
        load_jamendo(tmp_path, "genre", 4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("TRACK_ID", "ID", "does not begin with the columns TRACK_ID"),
        ("\tgenre---pop", "", "line 3, is damaged"),
        ("\tgenre---rock", "\t", "line 2, is damaged"),
    ],
)
def test_a_damaged_list_is_refused(
    tmp_path: Path, forms: SimpleNamespace, old: str, new: str, message: str
) -> None:
    make(tmp_path, forms)
    file = tmp_path / "data/splits/split-0/autotagging_top50tags-train.tsv"
    forms.write(file, forms.jamendo_list(TRACKS["train"]).replace(old, new))
    with pytest.raises(DataError, match=message):
        load_jamendo(tmp_path)


@pytest.mark.parametrize("subset", jamendo.COUNTS)
def test_the_published_counts_come_out(subset: str, shared: Path) -> None:
    folder = shared / "annotations" / "jamendo"
    found = load_jamendo("sound", subset, 0, annotations=folder)
    assert {name: len(split) for name, split in found.splits.items()} == jamendo.COUNTS[subset]
    assert len(found.tags) == jamendo.TAG_COUNTS[subset]
    assert found.check(sound=False) == []
    assert all(found.without_positives(name) == () for name in found.splits)
    groups = [set(split.groups) for split in found.splits.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    published = {"top50tags": "top50.txt", "moodtheme": "moodtheme_split.txt"}.get(subset)
    if published:
        lines = (folder / "data" / "tags" / published).read_text(encoding="utf-8").splitlines()
        assert list(found.tags) == lines
    if subset == "top50tags":
        assert found.tags == tags.read("jamendo")
        categories = [tag.partition("---")[0] for tag in found.tags]
        assert [categories.count(c) for c in ("genre", "instrument", "mood/theme")] == [31, 14, 5]
