"""A music folder as a data set: labels from the genre fields of real files of every kind."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightmel.datasets import DataConfig, load_dataset, load_library
from lightmel.datasets.library import split_genres
from lightmel.errors import DataError, MissingExtraError

mutagen = pytest.importorskip("mutagen", reason="needs the extra write")

from mutagen import id3  # noqa: E402 - it may be missing

Label = Callable[..., Path]


@pytest.fixture(scope="module")
def label(
    tmp_path_factory: pytest.TempPathFactory, tone: Callable[..., np.ndarray], write: Callable[..., Path]
) -> Label:
    """Write a short file with these texts in its genre field; its suffix says of which kind."""
    folder = tmp_path_factory.mktemp("bare")
    made: dict[str, bytes] = {}

    def make(path: Path, *genres: str) -> Path:
        if path.suffix not in made:
            made[path.suffix] = write(folder / f"bare{path.suffix}", tone(0.3)).read_bytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[path.suffix])
        if genres:
            file = mutagen.File(path)
            if file.tags is None:
                file.add_tags()
            if path.suffix in (".mp3", ".wav", ".aiff"):
                file.tags.add(id3.TCON(encoding=3, text=list(genres)))
            else:
                file.tags["\xa9gen" if path.suffix == ".m4a" else "genre"] = list(genres)
            file.save()
        return path

    return make


def albums(folder: Path, label: Label, *fields: Sequence[str], suffix: str = ".flac") -> Path:
    """Write an album for each field, of two files."""
    for i, genres in enumerate(fields):
        for track in "ab":
            label(folder / f"album {i:02}" / f"{track}{suffix}", *genres)
    return folder


def genres_of(data: Any) -> dict[str, set[str]]:
    return {
        path: {tag for tag, own in zip(data.tags, row, strict=True) if own}
        for split in data.splits.values()
        for path, row in zip(split.paths, split.labels, strict=True)
    }


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "opus", "m4a", "wav", "aiff"])
def test_the_field_of_every_kind_of_file_is_read(suffix: str, tmp_path: Path, label: Label) -> None:
    files = [("Rock; Hip-Hop",), ("rock", "JAZZ"), ("hip hop/Jazz",), ("(17)",), ("8",)]
    for i, genres in enumerate(files):
        label(tmp_path / f"{i}.{suffix}", *genres)
    found = genres_of(load_library(tmp_path, min_files=2))
    names = [found[f"{i}.{suffix}"] for i in range(5)]
    assert names == [{"rock", "hip hop"}, {"rock", "jazz"}, {"hip hop", "jazz"}, {"rock"}, {"jazz"}]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["Rock; Pop"], {"rock", "pop"}),
        (["Rock/Pop", "rock"], {"rock", "pop"}),
        (["Rock\\Pop | Soul"], {"rock", "pop", "soul"}),
        (["Folk, World, & Country"], {"folk", "world", "country"}),
        (["Drum & Bass"], {"drum & bass"}),
        (["Hip-Hop", "hip_hop", " Hip  hop "], {"hip hop"}),
        (["Other"], set()),
        (["n/a"], set()),
        (["Unknown", ""], set()),
        ([], set()),
    ],
    ids=repr,
)
def test_genres_in_one_field_are_split_and_folded(values: list[str], expected: set[str]) -> None:
    assert split_genres(values) == expected


def test_fields_that_say_nothing_are_left_out_and_told_of(
    tmp_path: Path, label: Label, caplog: pytest.LogCaptureFixture
) -> None:
    albums(tmp_path, label, *3 * [["Rock"]], *3 * [["Jazz"]], ["Polka"])
    label(tmp_path / "album 00" / "twenty.mp3", "; ".join(f"genre {i}" for i in range(20)))
    label(tmp_path / "album 00" / "long.ogg", "a " * 60)
    label(tmp_path / "album 00" / "bare.flac")
    label(tmp_path / "album 00" / "other.flac", "Other")
    (tmp_path / "album 00" / "broken.flac").write_bytes(b"fLaC but no more")
    found = load_library(tmp_path, min_files=3)
    assert found.tags == ("jazz", "rock")
    assert len(genres_of(found)) == 14
    assert genres_of(found)["album 06/a.flac"] == set(), "a file of a rare genre is an example of no other"
    told = caplog.text
    assert "2 of 19 files have no genre and are left out, album 00/bare.flac among them" in told
    assert "3 of 19 files are left out" in told
    assert (
        "album 00/twenty.mp3: its genre field holds 20 genres, genre 0, genre 1, genre 2 among them" in told
    )
    assert "album 00/long.ogg: its genre field holds no genre, but 'a a a" in told
    assert "album 00/broken.flac: its fields cannot be read" in told
    assert "genres of fewer than 3 files are left out: polka (2)" in told


def test_no_album_is_divided(tmp_path: Path, label: Label) -> None:
    albums(tmp_path, label, *6 * [["Rock"]], *6 * [["Jazz"]])
    found = load_library(tmp_path, min_files=2, split_seed=3)
    folders = {name: {Path(p).parent for p in split.paths} for name, split in found.splits.items()}
    assert {len(split.paths) / len(folders[name]) for name, split in found.splits.items()} == {2}
    assert not folders["train"] & (folders["valid"] | folders["test"])
    assert not folders["valid"] & folders["test"]
    assert found.protocol.startswith("genre fields, 2 files or more, split by group 70/15/15, seed 3, ")
    assert all((found.root / path).is_file() for path in genres_of(found))


def test_a_library_is_a_data_set_like_any_other(tmp_path: Path, label: Label) -> None:
    albums(tmp_path, label, *6 * [["Rock"]], *6 * [["Jazz"]])
    config = DataConfig("library", min_files=4, valid_share=0, test_share=0.5, split_seed=2)
    found = load_dataset(tmp_path, config)
    assert list(found.splits) == ["train", "test"]
    same = load_library(tmp_path, min_files=4, shares=(0.5, 0, 0.5), split_seed=2)
    assert found.label == same.label.replace("2 files", "4 files")


def test_a_folder_without_labels_is_refused(tmp_path: Path, label: Label) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        load_library(tmp_path / "none")
    with pytest.raises(DataError, match="There is no sound below"):
        load_library(tmp_path)
    label(tmp_path / "a.flac")
    label(tmp_path / "b.flac", "Unknown")
    with pytest.raises(DataError, match=r"none of its 2 files has a genre that can be used.*tag editor"):
        load_library(tmp_path)
    label(tmp_path / "c.flac", "Rock")
    with pytest.raises(DataError, match=r"no genre has 20 files; there are rock \(1\)\. Ask for fewer"):
        load_library(tmp_path)


def test_without_mutagen_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("mutagen"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r'pip install "lightmel\[write\]"'):
        load_library(tmp_path)
