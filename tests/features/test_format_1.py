"""Stores of format 1, which the version before this one wrote, are read and gone on with as they are.

`tests/files/format-1/store` is one, built by that version: half a second from the middle of six clips of the
fixture `labelled`, as mel-spectrograms of eight bands in uint8. `store-values.npy` beside it is what that
version read from it, ``(clips, bands, frames)`` in float32.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lightmel.errors import DataError
from lightmel.features import FeatureStore, build_store
from lightmel.features.journal import DESCRIPTION, FEATURES, FORMAT, INDEX, read_description
from lightmel.frontends import MelConfig

FILES = Path(__file__).parents[1] / "files" / "format-1"
KEYS = ("0.flac", "1.flac", "2.flac", "5.flac", "6.flac", "7.flac")
CONFIG = MelConfig(16_000, 8, 1, "log")
NAMES = (DESCRIPTION, "mels.bin", INDEX)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(FILES / "store", tmp_path / "store")


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.load(FILES / "store-values.npy")


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory, tone: Callable[..., np.ndarray]) -> dict[str, Path]:
    """Two further files, one of them no sound."""
    new = tmp_path_factory.mktemp("more")
    soundfile.write(new / "new.wav", tone(0.8, 16_000, 1), 16_000)
    (new / "text.mp3").write_text("This is no sound.\n" * 50)
    return {name: new / name for name in ("new.wav", "text.mp3")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def go_on(folder: Path, sources: dict[str, Path], **options: Any) -> FeatureStore:
    return build_store(folder, sources, CONFIG, dtype="uint8", excerpt_seconds=0.5, **options)


def test_it_is_opened_and_holds_what_it_held(values: np.ndarray) -> None:
    store = FeatureStore.open(FILES / "store")
    assert (store.config, store.dtype, store.excerpt_seconds) == (CONFIG, "uint8", 0.5)
    assert (store.keys, store.frames.tolist(), store.failed) == (KEYS, [33] * 6, {})
    assert store.verify() == ()
    assert store.n_bytes == (FILES / "store" / "mels.bin").stat().st_size == 6 * (64 + 8 * 33)
    np.testing.assert_array_equal(store.excerpts(range(6), [0] * 6, 33), values)
    np.testing.assert_array_equal(
        store.excerpts([4, 0], [7, 20], 9), [values[4, :, 7:16], values[0, :, 20:29]]
    )
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again[5], values[5])
    store.require(CONFIG)


@pytest.mark.parametrize("workers", [0, 2])
def test_building_goes_on_behind_what_is_there(
    workers: int, folder: Path, values: np.ndarray, more: dict[str, Path], tmp_path: Path
) -> None:
    before = contents(folder)
    told: list[str] = []
    sources = {**{key: tmp_path / "not here" / key for key in KEYS}, **more}
    store = go_on(folder, sources, workers=workers, on_clip=lambda key, failed: told.append(key))
    assert told == list(more)
    after = contents(folder)
    assert sorted(after) == sorted(before) == sorted(NAMES)
    assert after[DESCRIPTION] == before[DESCRIPTION]
    assert all(after[name].startswith(before[name]) for name in NAMES)
    assert len(after["mels.bin"]) == len(before["mels.bin"]) + 64 + 8 * 33
    assert (store.keys, list(store.failed), store.verify()) == ((*KEYS, "new.wav"), ["text.mp3"], ())
    np.testing.assert_array_equal(store.excerpts(range(6), [0] * 6, 33), values)
    fresh = go_on(tmp_path / "fresh", more, workers=0)
    np.testing.assert_array_equal(store[6], fresh[0])
    assert (fresh.folder / FEATURES).read_bytes() == after["mels.bin"][len(before["mels.bin"]) :]

    go_on(folder, sources, workers=workers, on_clip=lambda key, failed: told.append(key))
    assert told == list(more)
    assert contents(folder) == after


def test_a_file_that_was_replaced_is_made_again_behind_the_others(
    folder: Path, values: np.ndarray, more: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    before = contents(folder)
    store = go_on(folder, {"1.flac": more["new.wav"]}, workers=0)
    assert "1 files are not those that it was made of" in caplog.text
    assert store.keys == ("0.flac", *KEYS[2:], "1.flac")
    assert contents(folder)["mels.bin"].startswith(before["mels.bin"])
    np.testing.assert_array_equal(store.excerpts(range(5), [0] * 5, 33), np.delete(values, 1, 0))
    assert not np.array_equal(store[5], values[1])
    assert store.verify() == ()


def test_the_clips_of_the_same_sound_are_as_they_were(
    labeled: Path, values: np.ndarray, tmp_path: Path
) -> None:
    """The fixture is the sound that the old store was made of: but for rounding, the new one is the same."""
    store = go_on(tmp_path / "new", {key: labeled.parent / key for key in KEYS}, workers=0)
    bound = np.ptp(values, axis=2, keepdims=True) / 255 + 1e-5
    assert (np.abs(store.excerpts(range(6), [0] * 6, 33) - values) <= bound).all()
    assert read_description(tmp_path / "new") == read_description(FILES / "store")


def test_what_is_derived_from_it_is_of_format_2(folder: Path, values: np.ndarray, tmp_path: Path) -> None:
    before = contents(folder)
    derived = FeatureStore.open(folder).derive(tmp_path / "x2", CONFIG.replace(hop_factor=2))
    assert sorted(contents(derived.folder)) == sorted([DESCRIPTION, FEATURES, INDEX])
    assert json.loads((derived.folder / DESCRIPTION).read_text()) == {
        "format": FORMAT,
        "frontend": {**CONFIG.to_dict(), "kind": "mel", "hop_factor": 2},
        "dtype": "uint8",
        "excerpt_seconds": 0.5,
    }
    assert (derived.keys, derived.verify()) == (KEYS, ())
    np.testing.assert_array_equal(derived.excerpts(range(6), [0] * 6, 17), values[:, :, ::2])
    assert contents(folder) == before


@pytest.mark.parametrize(
    "other", [{"config": CONFIG.replace(log="db")}, {"dtype": "float32"}, {"excerpt_seconds": None}], ids=str
)
def test_other_features_are_not_added_to_it(
    other: dict[str, Any], folder: Path, more: dict[str, Path]
) -> None:
    before = contents(folder)
    options = {"config": CONFIG, "dtype": "uint8", "excerpt_seconds": 0.5, "workers": 0} | other
    with pytest.raises(
        DataError, match=r"is a store of other features \(16k-mel8-x1-log as uint8, 0\.5 s from"
    ):
        build_store(folder, more, **options)
    assert contents(folder) == before


def test_what_is_damaged_is_found(folder: Path) -> None:
    data = bytearray((folder / "mels.bin").read_bytes())
    data[400] ^= 1
    (folder / "mels.bin").write_bytes(data)
    assert FeatureStore.open(folder).verify() == ("1.flac",)
    (folder / "mels.bin").write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"mels\.bin has 1967 bytes where its index names 1968"):
        FeatureStore.open(folder)
    (folder / "mels.bin").rename(folder / FEATURES)  # of format 2, which this is not
    with pytest.raises(DataError, match=r"mels\.bin has 0 bytes"):
        FeatureStore.open(folder)


@pytest.mark.parametrize(
    "change", [{"config": {"sr": 1}}, {"config": {"n": 1}}, {"config": None}, {"dtype": "int8"}], ids=str
)
def test_a_description_that_cannot_be_read_is_refused(change: dict[str, Any], folder: Path) -> None:
    document = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(document | change))
    with pytest.raises(DataError, match=r"store\.json cannot be read"):
        FeatureStore.open(folder)
    del document["seconds"]
    (folder / DESCRIPTION).write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"store\.json cannot be read \('seconds'\)"):
        FeatureStore.open(folder)


def test_deriving_goes_on_in_a_store_of_format_1(folder: Path, tmp_path: Path) -> None:
    source, half = FeatureStore.open(folder), CONFIG.replace(hop_factor=2)

    def stop(key: str, failed: str | None) -> None:
        if key == KEYS[2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.derive(tmp_path / "x2", half, on_clip=stop)
    document = json.loads((folder / DESCRIPTION).read_text())
    document["config"]["hop_factor"] = 2
    (tmp_path / "x2" / DESCRIPTION).write_text(json.dumps(document))
    (tmp_path / "x2" / FEATURES).rename(tmp_path / "x2" / "mels.bin")
    made: list[str] = []
    derived = source.derive(tmp_path / "x2", half, on_clip=lambda key, failed: made.append(key))
    assert made == list(KEYS[3:])
    assert sorted(contents(tmp_path / "x2")) == sorted(NAMES)
    whole = source.derive(tmp_path / "whole", half)
    assert (derived.keys, derived.verify()) == (whole.keys, ())
    assert (tmp_path / "x2" / "mels.bin").read_bytes() == (tmp_path / "whole" / FEATURES).read_bytes()
