"""Reading features: excerpts from memory and from disk are slices of the clips, and damage is found."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmel.errors import ConfigError, DataError, ShapeError
from lightmel.features import Features, FeatureStore, MemoryFeatures
from lightmel.features.journal import (
    DESCRIPTION,
    FEATURES,
    INDEX,
    Appender,
    Description,
    read_description,
    read_index,
)
from lightmel.features.layout import Layout
from lightmel.frontends import MelConfig

CONFIG = MelConfig(16_000, 6, 1, "db")
DTYPES = ["float32", "float16", "uint8", "uint4"]
LENGTHS = [1, 2, 5, 17, 40, 41, 3]
KEYS = [f"clip-{i}.wav" for i in range(len(LENGTHS))]
rng = np.random.default_rng(0)
CLIPS = {
    key: rng.normal(-40, 15, (6, frames)).astype(np.float32)
    for key, frames in zip(KEYS, LENGTHS, strict=True)
}


def thinned(hop_factor: int) -> MelConfig:
    return CONFIG.replace(hop_factor=hop_factor)


def write(
    folder: Path,
    dtype: Any = "float32",
    clips: Mapping[str, np.ndarray] = CLIPS,
    failed: Mapping[str, str] | None = None,
    config: MelConfig = CONFIG,
) -> FeatureStore:
    layout = Layout(config.rows, dtype)
    with Appender(folder, Description(config, dtype, None)) as store:
        for key, clip in clips.items():
            store.add(key, clip.shape[1], layout.pack(clip))
        for key, reason in (failed or {}).items():
            store.fail(key, reason)
    return FeatureStore.open(folder)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Features]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        "memory": MemoryFeatures(CONFIG, CLIPS),
        **{dtype: write(folder / dtype, dtype) for dtype in DTYPES},
    }


KINDS = ["memory", *DTYPES]


# What is read


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_tells_what_it_holds(kind: str, stores: dict[str, Features]) -> None:
    features = stores[kind]
    assert features.config == CONFIG
    assert features.keys == tuple(KEYS)
    assert features.frames.tolist() == LENGTHS
    assert features.frames.dtype == np.int64
    assert len(features) == len(KEYS)
    for row, clip in enumerate(CLIPS.values()):
        assert features[row].dtype == np.float32
        exact = kind in ("memory", "float32")
        levels = 15 if kind == "uint4" else 255
        bound = 0 if exact else np.ptp(clip) / levels
        np.testing.assert_allclose(features[row], clip, rtol=0, atol=bound)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), n_frames=st.integers(1, 60))
def test_excerpts_are_slices_of_clips_and_shorter_clips_are_repeated(
    kind: str, stores: dict[str, Features], data: st.DataObject, n_frames: int
) -> None:
    features = stores[kind]
    rows = data.draw(st.lists(st.integers(0, len(KEYS) - 1), max_size=5))
    starts = [data.draw(st.integers(0, max(LENGTHS[row] - n_frames, 0))) for row in rows]
    found = features.excerpts(rows, starts, n_frames)
    assert found.shape == (len(rows), 6, n_frames)
    assert found.dtype == np.float32
    for excerpt, row, start in zip(found, rows, starts, strict=True):
        whole = features[row]
        repeated = np.tile(whole, -(-n_frames // whole.shape[1])) if whole.shape[1] < n_frames else whole
        np.testing.assert_array_equal(excerpt, repeated[:, start : start + n_frames])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "starts", "n_frames", "message"),
    [
        ([3], [-1], 4, r"4 frames from -1 on do not lie in 'clip-3\.wav': it has 17"),
        ([0, 3], [0, 14], 4, r"4 frames from 14 on do not lie in 'clip-3\.wav'"),
        ([0], [1], 4, "do not lie in"),
        ([0], [1], 1, "do not lie in"),
        ([3, 4], [0], 4, r"not \(2,\) rows, \(1,\) starts"),
        ([[3]], [[0]], 4, "wants a row and a start"),
        ([3], [0], 0, "at least one frame"),
    ],
)
def test_excerpts_over_an_end_are_refused(
    kind: str, rows: Any, starts: Any, n_frames: int, message: str, stores: dict[str, Features]
) -> None:
    with pytest.raises(ShapeError, match=message):
        stores[kind].excerpts(rows, starts, n_frames)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_there_are_not_are_refused(kind: str, stores: dict[str, Features]) -> None:
    with pytest.raises(IndexError):
        stores[kind].excerpts([len(KEYS)], [0], 1)
    with pytest.raises(IndexError):
        stores[kind][len(KEYS)]


@pytest.mark.parametrize("kind", DTYPES)
def test_a_clip_of_its_own_is_returned_and_the_file_cannot_be_written_to(
    kind: str, stores: dict[str, Any]
) -> None:
    store = stores[kind]
    before = store[4]
    store[4][:] = 0
    store.excerpts([4], [0], 40)[:] = 0
    np.testing.assert_array_equal(store[4], before)
    assert not store._data.flags.writeable


@pytest.mark.parametrize("clip", [np.zeros((5, 3)), np.zeros((6, 0)), np.zeros(6)])
def test_features_in_memory_want_their_rows(clip: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"'b' has the shape \(.*not \(6, frames\)"):
        MemoryFeatures(CONFIG, {"a": np.zeros((6, 1)), "b": clip})


def test_threads_may_share_a_store(stores: dict[str, Features]) -> None:
    store = stores["uint8"]
    draws = [np.random.default_rng(i).integers(3, 6, 64) for i in range(16)]

    def read(rows: np.ndarray) -> np.ndarray:
        return store.excerpts(rows, rows - 3, 12)

    alone = [read(rows) for rows in draws]
    with ThreadPoolExecutor(4) as pool:
        for mine, theirs in zip(alone, pool.map(read, draws), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickled_it_maps_the_file_anew_and_does_not_read_the_index(dtype: str, tmp_path: Path) -> None:
    long = {"long": np.random.default_rng(1).normal(size=(6, 9_000)).astype(np.float32)}
    store = write(tmp_path, dtype, {**CLIPS, **long})
    pickled = pickle.dumps(store)
    assert len(pickled) < 6_000
    (tmp_path / INDEX).unlink()
    again = pickle.loads(pickled)
    assert (again.keys, again.config, again.dtype) == (store.keys, store.config, store.dtype)
    np.testing.assert_array_equal(
        again.excerpts([7, 4], [8_000, 1], 30), store.excerpts([7, 4], [8_000, 1], 30)
    )
    (tmp_path / FEATURES).unlink()
    with pytest.raises(DataError, match=r"features\.bin cannot be read: No such file"):
        pickle.loads(pickled)


def test_a_store_without_clips_is_a_store(tmp_path: Path) -> None:
    store = write(tmp_path, clips={}, failed={"a": "is no sound."})
    assert (len(store), store.keys, store.n_bytes, store.verify()) == (0, (), 0, ())
    assert store.failed == {"a": "is no sound."}
    assert store.excerpts([], [], 5).shape == (0, 6, 5)
    assert len(pickle.loads(pickle.dumps(store))) == 0
    assert len(store.derive(tmp_path / "x2", thinned(2))) == 0


def test_it_says_what_it_is(tmp_path: Path) -> None:
    store = write(tmp_path, "uint8", {"a": CLIPS[KEYS[4]], "b": CLIPS[KEYS[5]]})
    assert repr(store) == f"FeatureStore('{tmp_path}': 2 clips of 16k-mel6-x1-db as uint8, whole files)"
    assert store.n_bytes == (tmp_path / FEATURES).stat().st_size == (48 + 240) + (48 + 248)
    assert store.excerpt_seconds is None


def test_rows_go_by_keys(tmp_path: Path) -> None:
    store = write(tmp_path, failed={"bad.mp3": "holds text, not sound."})
    assert store.rows(reversed(KEYS)).tolist() == list(range(len(KEYS)))[::-1]
    assert store.rows([]).dtype == np.int64
    with pytest.raises(DataError, match=r"lacks 'clip-9\.wav' and 1 more\. Did you mean 'clip-"):
        store.rows([KEYS[0], "clip-9.wav", "x"])
    with pytest.raises(
        DataError, match=r"lacks 'bad\.mp3'\. 'bad\.mp3' failed when .*: holds text, not sound"
    ):
        store.rows(["bad.mp3"])
    with pytest.raises(DataError, match=r"This collection of features lacks 'x'"):
        MemoryFeatures(CONFIG, CLIPS).rows(["x"])


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError, match=r"is no feature store: it has no store\.json"):
            FeatureStore.open(folder)


# Of which front end they are


@pytest.mark.parametrize(
    ("change", "derivable"),
    [
        ({"hop_factor": 4}, True),
        ({"hop_factor": 6}, True),
        ({"hop_factor": 3}, False),
        ({"hop_factor": 1}, False),
        ({"n_mels": 8}, False),
        ({"log": "log"}, False),
        ({"sr": 12_000, "hop_factor": 4}, False),
        ({"pad_mode": "reflect"}, False),
    ],
)
def test_features_of_another_configuration_are_refused(
    change: dict[str, Any], derivable: bool, tmp_path: Path
) -> None:
    store = write(tmp_path, config=thinned(2))
    store.require(thinned(2))
    wanted = store.config.replace(**change)
    with pytest.raises(ConfigError) as caught:
        store.require(wanted)
    text = str(caught.value)
    assert f"{tmp_path} holds 16k-mel6-x2-db, and {wanted.slug} is wanted" in text
    assert (f"store.derive(folder, {wanted.slug!r})" in text) == derivable
    assert (f"`lightmel features --derive STORE --frontend {wanted.slug}`" in text) == derivable
    assert ("from the sound" in text.split("wanted. ")[1].replace("without the sound", "")) != derivable


def test_features_in_memory_of_another_configuration_are_refused() -> None:
    features = MemoryFeatures(CONFIG, CLIPS)
    features.require(CONFIG)
    with pytest.raises(ConfigError, match="holds 16k-mel6-x1-db, and 16k-mel6-x1-log is wanted"):
        features.require(CONFIG.replace(log="log"))


# Larger hop factors, without the sound


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hop_factor", [2, 3, 4, 5, 10])
def test_a_derived_store_holds_every_nth_frame(dtype: str, hop_factor: int, tmp_path: Path) -> None:
    store = write(tmp_path / "x1", dtype, failed={"bad": "is no sound."})
    told: list[tuple[str, str | None]] = []
    derived = store.derive(
        tmp_path / "xn", thinned(hop_factor), on_clip=lambda key, failed: told.append((key, failed))
    )
    assert derived.config == thinned(hop_factor)
    assert (derived.keys, derived.failed, derived.dtype) == (store.keys, store.failed, store.dtype)
    assert told == [(key, None) for key in KEYS]
    assert derived.verify() == ()
    for row in range(len(store)):
        np.testing.assert_array_equal(derived[row], store[row][:, ::hop_factor])
    if not dtype.startswith("uint"):
        thin = {key: np.ascontiguousarray(clip[:, ::hop_factor]) for key, clip in CLIPS.items()}
        write(tmp_path / "direct", dtype, thin, config=derived.config)
        assert (tmp_path / "direct" / FEATURES).read_bytes() == (tmp_path / "xn" / FEATURES).read_bytes()


def test_derived_twice_is_derived_once(tmp_path: Path) -> None:
    store = write(tmp_path / "x1", "uint8")
    store.derive(tmp_path / "x2", thinned(2)).derive(tmp_path / "x10 by x2", thinned(10))
    store.derive(tmp_path / "x10", thinned(10))
    descriptions = [read_description(tmp_path / name) for name in ("x10", "x10 by x2")]
    assert descriptions[0] == descriptions[1]
    indices = [read_index(tmp_path / name, descriptions[0]) for name in ("x10", "x10 by x2")]
    assert indices[0].clips == indices[1].clips
    assert (tmp_path / "x10" / FEATURES).read_bytes() == (tmp_path / "x10 by x2" / FEATURES).read_bytes()


@pytest.mark.parametrize("as_slug", [True, False])
@pytest.mark.parametrize(("own", "hop_factor"), [(1, 1), (2, 3), (2, 2), (4, 2)])
def test_only_multiples_can_be_derived(own: int, hop_factor: int, as_slug: bool, tmp_path: Path) -> None:
    store = write(tmp_path / "own", config=thinned(own))
    wanted = thinned(hop_factor)
    way_out = f"{wanted.slug} cannot be derived from {store.config.slug}: .*{thinned(2 * own).slug} can be"
    with pytest.raises(ConfigError, match=way_out):
        store.derive(tmp_path / "derived", wanted.slug if as_slug else wanted)
    assert not (tmp_path / "derived").exists()


@pytest.mark.parametrize(
    "change", [{"n_mels": 8}, {"log": "log"}, {"sr": 12_000}, {"mel_scale": "htk"}, {"pad_mode": "reflect"}]
)
def test_a_larger_hop_of_another_configuration_cannot_be_derived(
    change: dict[str, Any], tmp_path: Path
) -> None:
    store = write(tmp_path / "own")
    wanted = thinned(2).replace(**change)
    with pytest.raises(ConfigError, match=f"{wanted.slug} cannot be derived from 16k-mel6-x1-db"):
        store.derive(tmp_path / "derived", wanted)
    assert not (tmp_path / "derived").exists()


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("16k-mel6-x0-db", "hop factor of 0 is below 1"),
        ("16k-mel6-x-2-db", "is not a mel configuration"),
        ("2", "is not a mel configuration; one looks like '16k-mel48-x2-db'"),
    ],
)
def test_a_slug_of_nothing_is_not_derived(slug: str, message: str, tmp_path: Path) -> None:
    store = write(tmp_path / "own")
    with pytest.raises(ConfigError, match=message):
        store.derive(tmp_path / "derived", slug)
    assert not (tmp_path / "derived").exists()


def test_a_slug_derives_what_its_configuration_does(tmp_path: Path) -> None:
    store = write(tmp_path / "x1", "float16", failed={"bad": "is no sound."})
    one = store.derive(tmp_path / "slug", "16k-mel6-x3-db")
    other = store.derive(tmp_path / "configuration", MelConfig(16_000, 6, 3, "db"))
    assert one.config == other.config == thinned(3)
    for name in (DESCRIPTION, FEATURES, INDEX):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


def test_deriving_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    store = write(tmp_path / "x1", failed={"bad": "is no sound."})
    store.derive(tmp_path / "whole", thinned(2))

    def stop(key: str, failed: str | None) -> None:
        if key == KEYS[3]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.derive(tmp_path / "x2", thinned(2), on_clip=stop)
    assert FeatureStore.open(tmp_path / "x2").keys == tuple(KEYS[:4])
    made: list[str] = []
    store.derive(tmp_path / "x2", thinned(2), on_clip=lambda key, failed: made.append(key))
    assert made == KEYS[4:]
    for name in (FEATURES, INDEX):
        assert (tmp_path / "x2" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_deriving_over_the_store_itself_is_refused(tmp_path: Path) -> None:
    store = write(tmp_path)
    with pytest.raises(DataError, match="is a store of other features"):
        store.derive(tmp_path, thinned(2))
    assert FeatureStore.open(tmp_path).verify() == ()


def test_a_clip_that_failed_is_derived_once_it_is_there(tmp_path: Path) -> None:
    store = write(tmp_path / "x1", failed={"late": "is no sound."})
    assert store.derive(tmp_path / "x2", thinned(2)).failed == {"late": "is no sound."}
    store = write(tmp_path / "x1", clips={"late": CLIPS[KEYS[4]]})
    derived = store.derive(tmp_path / "x2", thinned(2))
    assert (derived.keys, derived.failed) == ((*KEYS, "late"), {})
    np.testing.assert_array_equal(derived[len(KEYS)], CLIPS[KEYS[4]][:, ::2])


def test_a_clip_that_was_made_again_is_derived_again(tmp_path: Path) -> None:
    store = write(tmp_path / "x1")
    store.derive(tmp_path / "x2", thinned(2))
    store = write(tmp_path / "x1", clips={KEYS[3]: CLIPS[KEYS[3]] + 1}, failed={KEYS[4]: "is no sound now."})
    made: list[str] = []
    derived = store.derive(tmp_path / "x2", thinned(2), on_clip=lambda key, failed: made.append(key))
    assert made == [KEYS[3]]
    assert derived.failed == {KEYS[4]: "is no sound now."}
    np.testing.assert_array_equal(derived[derived.rows([KEYS[3]])[0]], CLIPS[KEYS[3]][:, ::2] + 1)
    before = (tmp_path / "x2" / INDEX).read_bytes()
    store.derive(tmp_path / "x2", thinned(2))
    assert (tmp_path / "x2" / INDEX).read_bytes() == before


# Damage


def flip_bit(folder: Path, at: int) -> None:
    data = bytearray((folder / FEATURES).read_bytes())
    data[at] ^= 1
    (folder / FEATURES).write_bytes(data)


def test_damaged_clips_are_not_derived_and_the_rest_is(tmp_path: Path) -> None:
    store = write(tmp_path / "x1")
    flip_bit(tmp_path / "x1", store._places[2].offset)
    derived = FeatureStore.open(tmp_path / "x1").derive(tmp_path / "x2", thinned(2))
    assert derived.failed == {KEYS[2]: f"it is damaged in {tmp_path / 'x1'}"}
    assert derived.keys == tuple(key for key in KEYS if key != KEYS[2])
    flip_bit(tmp_path / "x1", store._places[2].offset)  # the same bit: it is whole again
    derived = FeatureStore.open(tmp_path / "x1").derive(tmp_path / "x2", thinned(2))
    assert (sorted(derived.keys), derived.failed) == (KEYS, {})


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_flipped_bit_is_found_and_named(dtype: str, tmp_path: Path) -> None:
    store = write(tmp_path, dtype)
    assert store.verify() == ()
    size = (tmp_path / FEATURES).stat().st_size
    ends = [place.offset + store._layout.n_bytes(place.frames) for place in store._places]
    for at in [*range(0, size, 37), *(end - 1 for end in ends)]:
        flip_bit(tmp_path, at)
        whose = KEYS[next(i for i, end in enumerate(ends) if at < end)]
        told: list[tuple[str, str | None]] = []
        assert FeatureStore.open(tmp_path).verify(lambda *clip: told.append(clip)) == (whose,)  # noqa: B023
        assert [key for key, _ in told] == KEYS
        assert [key for key, why in told if why is not None] == [whose]
        flip_bit(tmp_path, at)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b'"clip-2.wav"', b'"clip-8.wav"', "clip-8.wav"),
        (b'"clip-2.wav", "offset": 72, ', b'"clip-2.wav", "offset": 76, ', "clip-2.wav"),
        (b'"offset": 72, "frames": 5', b'"offset": 72, "frames": 4', "clip-2.wav"),
        (b'"frames": 5, "crc32": ', b'"frames": 5, "crc32": 1', "clip-2.wav"),
    ],
)
def test_an_altered_index_is_found(old: bytes, new: bytes, named: str, tmp_path: Path) -> None:
    write(tmp_path)
    text = (tmp_path / INDEX).read_bytes()
    assert text.count(old) == 1
    (tmp_path / INDEX).write_bytes(text.replace(old, new))
    assert FeatureStore.open(tmp_path).verify() == (named,)


def test_two_clips_whose_places_were_exchanged_are_found(tmp_path: Path) -> None:
    write(tmp_path, clips={"a": CLIPS[KEYS[4]], "b": CLIPS[KEYS[4]] + 1})
    text = (tmp_path / INDEX).read_bytes()
    swapped = text.replace(b'"a"', b'"c"').replace(b'"b"', b'"a"').replace(b'"c"', b'"b"')
    (tmp_path / INDEX).write_bytes(swapped)
    assert sorted(FeatureStore.open(tmp_path).verify()) == ["a", "b"]


def test_a_store_may_be_moved(tmp_path: Path) -> None:
    write(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert FeatureStore.open(tmp_path / "there").verify() == ()
