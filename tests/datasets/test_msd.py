from __future__ import annotations

import io
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightmel import vocabularies as tags
from lightmel.datasets import load_msd, msd, pickles
from lightmel.errors import DataError

IDS = [f"TR{c}BC{'X' * 12}{c}" for c in "ABCDEFGH"]
TRAIN, VALID, TEST = IDS[:4], IDS[4:6], IDS[6:]


def vector(track: str) -> np.ndarray:
    """(50, 1), as the published dictionary has it."""
    return (np.arange(50).reshape(50, 1) + IDS.index(track)) % 7 == 0


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path, forms: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two lists and nothing else, with the boundary between training and validation moved."""
    monkeypatch.setattr(msd, "TRAIN_CLIPS", len(TRAIN))
    forms.write(tmp_path / "filtered_list_train.cP", forms.python2_list(TRAIN + VALID), packed=True)
    forms.write(tmp_path / "filtered_list_test.cP", forms.python2_list(TEST))
    return tmp_path


def add_dictionaries(root: Path, forms: SimpleNamespace) -> None:
    numbers = {track: str(100 + i) for i, track in enumerate(IDS)}
    forms.write(root / "MSD_id_to_7D_id.pkl", forms.python2_dict(numbers))
    places = {n: f"{n[0]}/{n[1]}/{n}.clip.mp3" for n in numbers.values()}
    forms.write(root / "7D_id_to_path.pkl", forms.python2_dict(places))


def test_labels_come_from_the_dictionary_of_vectors(root: Path, forms: SimpleNamespace) -> None:
    add_dictionaries(root, forms)
    vectors = {track: vector(track) for track in IDS}
    forms.write(root / "msd_id_to_tag_vector.cP", forms.python2_dict(vectors), packed=True)
    found = load_msd(root)
    assert found.tags == tags.read("msd")
    assert [len(found.split(name)) for name in ("train", "valid", "test")] == [4, 2, 2]
    for name, ids in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        np.testing.assert_array_equal(found.split(name).labels, np.hstack([vectors[i] for i in ids]).T)
    assert found.train.paths[:2] == ("1/0/100.clip.mp3", "1/0/101.clip.mp3")
    assert found.test.groups == found.test.paths


def test_labels_of_a_split_may_be_an_array(root: Path, forms: SimpleNamespace) -> None:
    truth = np.hstack([vector(i) for i in TEST]).T
    forms.write(root / "labels_test.npy", npy(truth), packed=True)
    found = load_msd(root)
    np.testing.assert_array_equal(found.test.labels, truth)


def test_a_split_without_labels_is_absent_and_says_what_is_wanted(
    root: Path, forms: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    forms.write(root / "labels_valid.npy", npy(np.hstack([vector(i) for i in VALID]).T))
    cut = {i: vector(i) for i in TEST + TRAIN[:1]}
    forms.write(root / "msd_id_to_tag_vector.cP", forms.python2_dict(cut))
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = load_msd(root)
    assert list(found.splits) == ["valid", "test"]
    assert "no train: the labels of 3 of its 4 clips are missing" in caplog.text
    with pytest.raises(DataError, match=r"no train here: .* msd_id_to_tag_vector.cP or labels_train.npy"):
        _ = found.train
    assert any("labels_train.npy" in str(problem) for problem in found.check(sound=False))


def test_clips_without_a_known_path_are_looked_for_by_their_id(
    root: Path, forms: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    forms.write(root / "labels_test.npy", npy(np.hstack([vector(i) for i in TEST]).T))
    forms.write(root / "MSD_id_to_7D_id.pkl", forms.python2_dict({TEST[0]: "42"}))
    forms.write(root / "7D_id_to_path.pkl", forms.python2_dict({"42": "4/2/42.clip.mp3"}))
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = load_msd(root)
    assert found.test.paths == ("4/2/42.clip.mp3", f"H/B/C/{TEST[1]}.mp3")
    assert "lack the path of 1 of 2 clips" in caplog.text


def test_files_of_another_form_are_refused(root: Path, forms: SimpleNamespace) -> None:
    forms.write(root / "labels_test.npy", npy(np.zeros((3, 50), dtype=bool)))
    with pytest.raises(DataError, match=r"labels_test.npy has the shape \(3, 50\), not \(2, 50\)"):
        load_msd(root)
    forms.write(root / "labels_test.npy", npy(np.array([{"a": 1}], dtype=object)))
    with pytest.raises(DataError, match=r"labels_test.npy is no plain .npy array"):
        load_msd(root)
    (root / "labels_test.npy").unlink()
    wrong = {i: np.ones((49, 1), dtype=bool) for i in IDS}
    vectors = forms.write(root / "msd_id_to_tag_vector.cP", forms.python2_dict(wrong))
    with pytest.raises(DataError, match=f"{TRAIN[0]} has 49 tags, not 50"):
        load_msd(root)
    forms.write(vectors, forms.python2_dict(dict.fromkeys(IDS, "1")))
    with pytest.raises(DataError, match="not a dictionary of ndarray"):
        load_msd(root)
    forms.write(root / "filtered_list_test.cP", forms.python2_dict({"a": "b"}))
    with pytest.raises(DataError, match="not a list of track ids"):
        load_msd(root)


def test_a_list_that_is_too_short_is_refused(root: Path, forms: SimpleNamespace) -> None:
    forms.write(root / "filtered_list_train.cP", forms.python2_list(TRAIN))
    with pytest.raises(DataError, match="holds 4 clips"):
        load_msd(root)


def test_missing_lists_say_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"filtered_list_train\.cP\.gz in .* comes from https"):
        load_msd(tmp_path)


# The published files.


def test_the_published_counts_come_out(tmp_path: Path, shared: Path, forms: SimpleNamespace) -> None:
    folder = shared / "annotations" / "msd"
    for file in folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    # The labels of train are not in the folder: ours are made up, the list of clips is not.
    forms.write(tmp_path / "labels_train.npy", npy(np.zeros((201_680, 50), dtype=bool)))
    found = load_msd(tmp_path)
    assert {name: len(split) for name, split in found.splits.items()} == msd.COUNTS["lee"]
    assert (int(found.valid.labels.sum()), int(found.test.labels.sum())) == (20_547, 47_136)
    assert found.valid.labels.any(axis=1).all()
    assert found.test.labels.any(axis=1).all()
    assert found.check(sound=False) == []
    assert (folder / "50tagList.txt").read_text(encoding="utf-8").splitlines() == list(found.tags)


def test_without_labels_of_train_the_rest_is_loaded(shared: Path) -> None:
    found = load_msd("sound", annotations=shared / "annotations" / "msd")
    assert {name: len(split) for name, split in found.splits.items()} == {"valid": 11_774, "test": 28_435}
    with pytest.raises(DataError, match="the labels of 201,680 of its 201,680 clips are missing"):
        _ = found.train


def test_the_samples_of_the_big_dictionaries_are_read(tmp_path: Path, shared: Path) -> None:
    folder = shared / "annotations" / "msd"
    for file in [*folder.glob("*.*"), *(folder / "sample").iterdir()]:
        (tmp_path / file.name).symlink_to(file)
    found = load_msd(tmp_path)
    vectors = pickles.load(tmp_path / "msd_id_to_tag_vector.cP.gz")
    numbers = pickles.load(tmp_path / "MSD_id_to_7D_id.pkl")
    ids = pickles.load(tmp_path / "filtered_list_test.cP.gz")[:1_200]
    assert len(vectors) == len(numbers) == 2_000
    assert found.test.paths[0] == f"{numbers[ids[0]][0]}/{numbers[ids[0]][1]}/{numbers[ids[0]]}.clip.mp3"
    assert sum(p.endswith(".clip.mp3") for p in found.test.paths) == 1_200
    assert sum(p.endswith(".clip.mp3") for p in found.valid.paths) == 800
    np.testing.assert_array_equal(found.test.labels[:1_200], np.hstack([vectors[i] for i in ids]).T)
