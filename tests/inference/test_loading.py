"""From names and files to taggers: loaded once, by any number of threads, on the device asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lightmel
from lightmel import checkpoint
from lightmel.errors import ConfigError, UnknownModelError, WeightsError
from lightmel.inference import Tagger, Tagging, loading
from lightmel.inference.runtimes import devices

SR = 16_000
Sound = Callable[..., np.ndarray]
Tiny = Callable[..., Tagger]


def test_what_is_saved_and_loaded_tags_the_same(sound: Sound, model: Tagger, saved: Path) -> None:
    loaded = lightmel.load(saved)
    assert loaded.description == model.description
    assert loaded.tag(sound(1.3), SR) == model.tag(sound(1.3), SR)
    assert lightmel.tag(sound(1.3), SR, model=saved) == model.tag(sound(1.3), SR)
    assert lightmel.tag(sound(1.3), SR, model=saved, segments="center") == model.tag(
        sound(1.3), SR, segments="center"
    )
    assert repr(loaded) == "<Tagger tiny-0: 3 tags, 16k-mel16-x4-db, 0.5 s>"


def test_a_file_is_loaded_once_however_it_is_called(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = lightmel.load(saved)
    monkeypatch.chdir(saved.parent)
    (saved.parent / "link").symlink_to(saved)
    for name in (str(saved), saved.name, Path("..") / saved.parent.name / saved.name, "link"):
        assert lightmel.load(name) is loaded


def test_a_file_written_anew_is_loaded_anew(saved: Path, tiny: Tiny) -> None:
    assert lightmel.load(saved).name == "tiny-0"
    tiny(1).save(saved)
    assert lightmel.load(saved).name == "tiny-1"
    assert sum(place == str(saved.resolve()) for place, *_ in loading._loaded) == 1


def test_a_broken_file_is_refused_every_time(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-10])
    for _ in range(2):
        with pytest.raises(WeightsError, match=saved.name):
            lightmel.load(saved)


def test_an_unknown_model_of_tag_is_told_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'default'"):
        lightmel.tag(np.zeros(8_000), SR, model="defalt")


@pytest.mark.parametrize("name", [None, 5, b"default", ["default"]])
def test_what_is_neither_name_nor_file_is_refused(name: Any) -> None:
    for call in (lambda: lightmel.load(name), lambda: lightmel.tag(np.zeros(SR), SR, model=name)):
        with pytest.raises(ConfigError, match="by its name or its file, not by"):
            call()


def test_many_threads_load_once_and_share_one_tagger(
    sound: Sound, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    real, start = checkpoint.read, threading.Barrier(8)

    def slow(path: Path) -> Any:
        reads.append(path)
        threading.Event().wait(0.05)
        return real(path)

    def work(seed: int) -> tuple[Tagger, Tagging]:
        start.wait()
        loaded = lightmel.load(saved)
        return loaded, loaded.tag(sound(0.5 + seed / 10, seed), SR)

    monkeypatch.setattr(checkpoint, "read", slow)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(8)))
    assert len(reads) == 1
    assert len({id(loaded) for loaded, _ in done}) == 1
    for seed, (loaded, tagging) in enumerate(done):
        assert tagging == loaded.tag(sound(0.5 + seed / 10, seed), SR)


def test_a_slow_load_does_not_hold_up_another(
    saved: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = saved.with_name("other.safetensors")
    tiny(1).save(other)
    real, release, begun = checkpoint.read, threading.Event(), threading.Event()

    def read(path: Path) -> Any:
        if path.name == other.name:
            begun.set()
            assert release.wait(10)
        return real(path)

    monkeypatch.setattr(checkpoint, "read", read)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lightmel.load, other)
        assert begun.wait(10)
        assert lightmel.load(saved).name == "tiny-0"
        assert not waiting.done()
        release.set()
        assert waiting.result().name == "tiny-1"


def test_a_network_of_another_shape_is_refused(model: Tagger, tiny: Tiny) -> None:
    with pytest.raises(WeightsError, match="wants an input of"):
        Tagger(tiny(0, seconds=1.0).network, model.description)


# A tagger that is loaded already


def test_tag_takes_a_tagger_as_it_is(sound: Sound, model: Tagger, saved: Path) -> None:
    wave = sound(1.3)
    wanted = model.tag(wave, SR)
    for device in (None, "cpu"):
        assert lightmel.tag(wave, SR, model=model, device=device) == wanted
        assert lightmel.tag(wave, SR, model=saved, device=device) == wanted
        assert lightmel.tag(wave, SR, model=model, device=device, segments=2) == model.tag(
            wave, SR, segments=2
        )
    with pytest.raises(ConfigError, match="device is one of"):
        lightmel.tag(wave, SR, model=model, device="abacus")


def test_embed_is_the_embedding_of_a_tagger(sound: Sound, model: Tagger, saved: Path) -> None:
    wave = sound(1.3)
    wanted = model.embed(wave, SR)
    assert wanted.shape == (model.runtime.embed_dim,)
    for device in (None, "cpu"):
        for tagger in (model, saved):
            found = lightmel.embed(wave, SR, model=tagger, device=device)
            assert found.dtype == np.float32
            assert np.array_equal(found, wanted)
    assert np.array_equal(lightmel.embed(wave, SR), lightmel.load("default").embed(wave, SR))


def test_a_tagger_elsewhere_than_the_device_asked_for_is_refused(
    sound: Sound, model: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: ("mps", "cpu"))
    with pytest.raises(ConfigError, match="tiny-0 runs on cpu: load it with device='mps' instead"):
        lightmel.tag(sound(1), SR, model=model, device="mps")
    with pytest.raises(ConfigError, match="tiny-0 runs on cpu: load it with device='mps' instead"):
        lightmel.embed(sound(1), SR, model=model, device="mps")
    for device in ("cpu", "auto", None):
        assert lightmel.tag(sound(1), SR, model=model, device=device) == model.tag(sound(1), SR)
