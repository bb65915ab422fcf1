"""Stores of a front end of anyone's own: built, read and thinned as those of a mel-spectrogram are."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lightmel import audio
from lightmel.errors import ConfigError, DataError, ShapeError
from lightmel.features import FeatureStore, MemoryFeatures, build_store, worker
from lightmel.features.journal import DESCRIPTION, FEATURES, INDEX
from lightmel.frontends import FrontendConfig, MelConfig, build_frontend, config_from_slug, register, registry

Sources = dict[str, Path]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the toys, which this process and its children can import, and which are registered."""
    modules = tmp_path / "modules"
    modules.mkdir()
    shutil.copy(Path(__file__).with_name("toy_frontend.py"), modules)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setattr(registry, "KINDS", dict(registry.KINDS))
    module = importlib.import_module("toy_frontend")
    register(module.ToyConfig, module.ToyFrontend)
    register(module.RigidConfig, module.RigidFrontend)
    yield module
    del sys.modules["toy_frontend"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, tone: Callable[..., np.ndarray]) -> Sources:
    """Five clips of .1 to .9 s at several rates, and a file of text."""
    folder = tmp_path_factory.mktemp("sound")
    found = {}
    for i in range(5):
        path = folder / f"{i}.wav"
        sr = (16_000, 22_050)[i % 2]
        soundfile.write(path, tone(0.1 + 0.2 * i, sr, 1 + i % 2, seed=i), sr)
        found[path.name] = path
    (folder / "text.mp3").write_text("This is no sound.\n" * 50)
    return {**found, "text.mp3": folder / "text.mp3"}


def computed(path: Path, config: FrontendConfig) -> np.ndarray:
    return build_frontend(config)(torch.from_numpy(audio.load(path, config.sr))).numpy()


def contents(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / name).read_bytes() for name in (DESCRIPTION, FEATURES, INDEX))


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "uint4"])
def test_a_store_of_another_front_end_is_built_the_same_here_and_in_children(
    dtype: Any, toy: ModuleType, sources: Sources, tmp_path: Path
) -> None:
    config = toy.ToyConfig(block=60)
    here = build_store(tmp_path / "here", sources, config, dtype=dtype, workers=0)
    build_store(tmp_path / "children", sources, config, dtype=dtype, workers=2)
    assert contents(tmp_path / "here") == contents(tmp_path / "children")
    assert (here.config, here.dtype, here.keys) == (config, dtype, tuple(sources)[:5])
    assert list(here.failed) == ["text.mp3"]
    assert here.verify() == ()
    assert "16000-toy-60-1 as" in repr(here)
    for row, key in enumerate(here.keys):
        features = computed(sources[key], config)
        assert here[row].shape == features.shape == config.shape(len(audio.load(sources[key], 16_000)))
        span = np.ptp(features, axis=1, keepdims=True)
        levels = {"uint8": span / 510 + 1e-6, "uint4": span / 30 + 1e-6}
        bound = {"float32": 0, "float16": np.abs(features) / 2048 + 3e-8, **levels}[dtype]
        assert (np.abs(here[row] - features) <= bound).all()
    excerpts = here.excerpts([1, 4], [3, 30], 20)
    np.testing.assert_array_equal(excerpts, np.stack([here[1][:, 3:23], here[4][:, 30:50]]))


def test_its_description_names_the_kind(toy: ModuleType, sources: Sources, tmp_path: Path) -> None:
    build_store(tmp_path / "store", sources, toy.ToyConfig(block=60), excerpt_seconds=0.2, workers=0)
    assert json.loads((tmp_path / "store" / DESCRIPTION).read_text()) == {
        "format": "lightmel-store-2",
        "frontend": {"kind": "toy", "sr": 16_000, "block": 60, "skip": 1},
        "dtype": "float32",
        "excerpt_seconds": 0.2,
    }


def test_where_the_kind_is_not_registered_the_store_is_not_opened(
    toy: ModuleType, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    build_store(folder, sources, toy.ToyConfig(), workers=0)
    monkeypatch.delitem(registry.KINDS, "toy")
    with pytest.raises(
        DataError, match=r"store\.json cannot be read: .*no front end 'toy'.*lightmel\.frontends\.register"
    ):
        FeatureStore.open(folder)
    register(toy.ToyConfig, toy.ToyFrontend)
    assert len(FeatureStore.open(folder)) == 5


def test_a_store_is_of_one_front_end(toy: ModuleType, sources: Sources, tmp_path: Path) -> None:
    store = build_store(tmp_path / "store", sources, toy.ToyConfig(), workers=0)
    before = contents(tmp_path / "store")
    for other in (toy.ToyConfig(block=50), toy.RigidConfig(), MelConfig(16_000, 8, 1, "db")):
        with pytest.raises(DataError, match="is a store of other features"):
            build_store(tmp_path / "store", sources, other, workers=0)
        with pytest.raises(
            ConfigError, match=f"holds 16000-toy-100-1, and {other.slug} is wanted.*from the sound"
        ):
            store.require(other)
    assert contents(tmp_path / "store") == before
    store.require(toy.ToyConfig())
    with pytest.raises(ConfigError, match=r"store\.derive\(folder, '16000-toy-100-4'\)"):
        store.require(toy.ToyConfig(skip=4))


@pytest.mark.parametrize("as_slug", [True, False])
def test_what_can_be_thinned_can_be_derived(
    as_slug: bool, toy: ModuleType, sources: Sources, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "1", sources, toy.ToyConfig(), workers=0)
    wanted = toy.ToyConfig(skip=3)
    assert config_from_slug(wanted.slug) == wanted
    derived = store.derive(tmp_path / "3", wanted.slug if as_slug else wanted)
    built = build_store(tmp_path / "built", sources, wanted, workers=0)
    assert derived.config == wanted
    assert (derived.keys, derived.failed) == (built.keys, built.failed)
    assert contents(derived.folder)[:2] == contents(built.folder)[:2]
    for row in range(len(store)):
        np.testing.assert_array_equal(derived[row], store[row][:, ::3])


@pytest.mark.parametrize("kind", ["toy", "rigid", "mel"])
def test_what_cannot_be_thinned_is_not_derived(
    kind: str, toy: ModuleType, sources: Sources, tmp_path: Path
) -> None:
    own, wanted, message = {
        "toy": (
            toy.ToyConfig(),
            toy.ToyConfig(block=50, skip=2),
            "cannot be derived.*16000-toy-100-2 can be",
        ),
        "rigid": (
            toy.RigidConfig(),
            toy.RigidConfig(skip=2),
            "Of 16000-rigid-100-1 no frames can be left out",
        ),
        "mel": (
            MelConfig(16_000, 8, 1, "db"),
            toy.ToyConfig(skip=2),
            "16000-toy-100-2 cannot be derived from",
        ),
    }[kind]
    store = build_store(tmp_path / "store", sources, own, workers=0)
    with pytest.raises(ConfigError, match=message):
        store.derive(tmp_path / "derived", wanted)
    assert not (tmp_path / "derived").exists()


@pytest.mark.parametrize("kind", ["toy", "rigid"])
def test_long_sound_is_streamed(
    kind: str, toy: ModuleType, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, frontend = {
        "toy": (toy.ToyConfig(block=70), toy.ToyFrontend),  # waits for the whole sound
        "rigid": (toy.RigidConfig(block=70), toy.RigidFrontend),
    }[kind]
    whole = build_store(tmp_path / "whole", sources, config, workers=0)
    monkeypatch.setattr(worker, "_WHOLE_SECONDS", 0.21)
    blocks: list[int] = []
    stream = frontend.stream

    def watched(self: Any) -> Any:
        found = stream(self)
        push = found.push

        def counted(block: torch.Tensor) -> torch.Tensor:
            blocks.append(len(block))
            return push(block)

        found.push = counted
        return found

    monkeypatch.setattr(frontend, "stream", watched)
    streamed = build_store(tmp_path / "streamed", sources, config, workers=0)
    assert contents(whole.folder) == contents(streamed.folder)
    n_samples = [len(audio.load(sources[key], 16_000)) for key in whole.keys]
    assert sum(blocks) == sum(n for n in n_samples if n > 0.21 * 16_000)
    assert len(blocks) > 10


def test_features_in_memory_want_the_rows_of_their_front_end(toy: ModuleType) -> None:
    features = MemoryFeatures(toy.ToyConfig(), {"a": np.arange(8).reshape(2, 4)})
    np.testing.assert_array_equal(features.excerpts([0], [1], 2), [[[1, 2], [5, 6]]])
    with pytest.raises(ShapeError, match=r"'a' has the shape \(3, 4\), not \(2, frames\)"):
        MemoryFeatures(toy.ToyConfig(), {"a": np.zeros((3, 4))})


def test_a_front_end_that_makes_no_frames_of_a_clip_fails_it(
    toy: ModuleType, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy.ToyFrontend, "forward", lambda self, wave: wave.new_empty(2, 0))
    found = build_store(tmp_path / "store", {"0.wav": sources["0.wav"]}, toy.ToyConfig(), workers=0)
    assert found.failed == {"0.wav": "16000-toy-100-1 makes no frames of it."}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "gives"),
    [("Tall", r"float32 of shape \(3, "), ("Deep", r"of shape \(1, 2, "), ("Turned", "complex64")],
)
def test_a_front_end_that_gives_another_shape_fails_its_clips(
    toy: ModuleType, sources: Sources, tmp_path: Path, name: str, gives: str, workers: int
) -> None:
    register(getattr(toy, f"{name}Config"), getattr(toy, f"{name}Frontend"))
    store = build_store(tmp_path / "store", sources, getattr(toy, f"{name}Config")(), workers=workers)
    assert len(store) == 0
    reason = store.failed["1.wav"]
    assert re.search(rf"{name}Frontend gave .*{gives}", reason), reason
    assert "floats of shape (2, frames)" in reason
