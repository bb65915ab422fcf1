"""Devices and precisions: what a machine has, what it has not, and a tagger elsewhere than on the CPU."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import lightmel
from lightmel import sample
from lightmel.errors import ConfigError
from lightmel.inference import Tagger, Tagging, TorchRuntime, available_devices, resolve_device
from lightmel.inference.runtimes import devices, native_precisions

SR = 16_000
Machine = Callable[..., None]
ScoresOf = Callable[..., np.ndarray]
Sound = Callable[..., np.ndarray]
Tiny = Callable[..., Tagger]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Tell torch how many CUDA devices it has, which is the current one, and whether there is Apple's GPU."""

    def build(cuda: int = 0, current: int = 0, mps: bool = False) -> None:
        def current_device() -> int:
            assert cuda, "torch raises where there is no CUDA device"
            return current

        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "current_device", current_device)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return build


# Which there are


def test_a_machine_with_nothing_else_has_its_processor(machine: Machine) -> None:
    machine()
    assert available_devices() == ("cpu",)
    for name in ("auto", "cpu", "cpu:0"):
        assert resolve_device(name) == "cpu"
    assert resolve_device() == "cpu"
    for name in ("cuda", "cuda:0", "cuda:1", "mps", "mps:0"):
        with pytest.raises(ConfigError, match=rf"no device '{name}' on this machine .*: there is cpu\."):
            resolve_device(name)


@pytest.mark.parametrize("current", [0, 1])
def test_a_machine_with_two_cuda_devices(machine: Machine, current: int) -> None:
    machine(cuda=2, current=current)
    assert available_devices() == ("cuda:0", "cuda:1", "cpu")
    assert resolve_device("auto") == "cuda:0"
    assert resolve_device("cuda") == f"cuda:{current}"
    for name in ("cuda:0", "cuda:1", "cpu"):
        assert resolve_device(name) == name
    for name in ("cuda:2", "mps"):
        with pytest.raises(ConfigError, match=rf"'{name}' .*: there are cuda:0, cuda:1, cpu\."):
            resolve_device(name)


def test_a_machine_with_apples_gpu(machine: Machine) -> None:
    machine(mps=True)
    assert available_devices() == ("mps", "cpu")
    for name in ("mps", "mps:0"):
        assert resolve_device(name) == "mps"
    for name in ("auto", "cpu"):  # it is named, and chosen by nobody else
        assert resolve_device(name) == "cpu"
    for name in ("cuda", "cuda:0", "mps:1", "cpu:1"):
        with pytest.raises(ConfigError, match=rf"no device '{name}' .*: there are mps, cpu\."):
            resolve_device(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cdua", " Did you mean 'cuda'?"),
        ("cuda1", " Did you mean 'cuda:1'?"),
        ("mp", " Did you mean 'mps'?"),
        ("atuo", " Did you mean 'auto'?"),
        ("cuda:x", " Did you mean 'cuda:1'?"),
        ("quantum", ""),
        ("", ""),
    ],
)
def test_a_name_of_no_device_is_told_the_nearest(machine: Machine, name: str, hint: str) -> None:
    machine(cuda=1)
    with pytest.raises(ConfigError) as refused:
        resolve_device(name)
    assert str(refused.value) == f"device is one of auto, cpu, cuda, cuda:1, mps, not {name!r}.{hint}"
    with pytest.raises(ConfigError, match="device is one of"):
        lightmel.load(device=name)


def test_a_device_that_is_not_there_is_refused_everywhere(machine: Machine, model: Tagger) -> None:
    machine()
    for call in (
        lambda: lightmel.load(device="cuda"),
        lambda: lightmel.tag(np.zeros(SR), SR, device="cuda"),
        lambda: Tagger(model.network, model.description, device="cuda"),
        lambda: TorchRuntime(model.network, model.config, "cuda"),
    ):
        with pytest.raises(ConfigError, match="no device 'cuda' on this machine"):
            call()


# Precisions


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Tell torch what its processor computes in."""

    def build(*, bfloat16: bool, float16: bool) -> None:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: bfloat16)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: float16)

    return build


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("float16", [False, True])
def test_a_processor_has_the_precisions_that_it_computes_in(
    processor: Callable[..., None], bfloat16: bool, float16: bool
) -> None:
    processor(bfloat16=bfloat16, float16=float16)
    has = {"float32": True, "bfloat16": bfloat16, "float16": float16}
    assert native_precisions("cpu") == tuple(name for name, there in has.items() if there)
    for name, there in has.items():
        if there:
            devices.check_precision(name, "cpu")
        else:
            wanted = rf"cpu of this machine does not compute in {name}, only in float32.*\."
            with pytest.raises(ConfigError, match=wanted):
                devices.check_precision(name, "cpu")


def test_a_torch_without_onednn_has_float32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Apple's processors, where the operators that say more are not even there."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", types.SimpleNamespace())
    assert native_precisions("cpu") == ("float32",)
    devices.check_precision("float32", "cpu")
    with pytest.raises(ConfigError, match=r"does not compute in bfloat16, only in float32\."):
        devices.check_precision("bfloat16", "cpu")


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_gpu_is_asked_without_emulation(monkeypatch: pytest.MonkeyPatch, bfloat16: bool) -> None:
    asked: list[str] = []

    @contextlib.contextmanager
    def device(name: str) -> Iterator[None]:
        asked.append(name)
        yield

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or bfloat16

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert native_precisions("cuda:1") == ("float32", "float16", *(["bfloat16"] if bfloat16 else []))
    assert asked == ["cuda:1"]
    assert set(native_precisions("mps")) == {"float32", "float16", "bfloat16"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("bf16", " Did you mean 'bfloat16'?"), ("float23", " Did you mean 'float32'?"), ("", ""), ("int8", "")],
)
def test_a_name_of_no_precision_is_told_the_nearest(model: Tagger, name: str, hint: str) -> None:
    for call in (
        lambda: devices.check_precision(name, "cpu"),
        lambda: lightmel.load(device="cpu", precision=name),
        lambda: Tagger(model.network, model.description, precision=name),
    ):
        with pytest.raises(ConfigError) as refused:
            call()
        assert str(refused.value) == f"precision is one of float32, bfloat16, float16, not {name!r}.{hint}"


def test_a_precision_that_the_processor_has_not_is_refused_everywhere(
    processor: Callable[..., None], model: Tagger
) -> None:
    processor(bfloat16=False, float16=False)
    for precision in ("bfloat16", "float16"):
        for call in (
            lambda p=precision: lightmel.load(device="cpu", precision=p),
            lambda p=precision: Tagger(model.network, model.description, precision=p),
        ):
            with pytest.raises(ConfigError, match=f"does not compute in {precision}"):
                call()


@pytest.fixture
def bfloat16() -> str:
    if "bfloat16" not in native_precisions("cpu"):
        pytest.skip("needs a processor that computes in bfloat16")
    return "bfloat16"


def _numbers_are_plain(tagging: Tagging) -> bool:
    return {type(number) for number in (*tagging.scores, tagging.seconds)} == {float}


def test_bfloat16_moves_scores_little_and_no_type(
    bfloat16: str, sound: Sound, saved: Path, scores_of: ScoresOf
) -> None:
    for name, source in ((saved, (sound(3.3), SR)), ("default", (sample.path(), None))):
        full = lightmel.load(name, device="cpu")
        half = lightmel.load(name, device="cpu", precision=bfloat16)
        assert half is not full
        assert (full.runtime.precision, half.runtime.precision) == ("float32", "bfloat16")
        ours, theirs = half.tag(*source), full.tag(*source)
        apart = np.abs(scores_of(ours, full.tags) - scores_of(theirs, full.tags)).max()
        assert 0 < apart <= 0.05
        assert _numbers_are_plain(ours)
        assert _numbers_are_plain(theirs)
        assert (ours.seconds, ours.padded, ours.notes) == (theirs.seconds, theirs.padded, theirs.notes)
        assert half.embed(*source).dtype == full.embed(*source).dtype == np.float32
        assert half.taggram(*source).scores.dtype == full.taggram(*source).scores.dtype == np.float64


# Another device than the processor


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose ``cuda:0`` is its processor: all of the way there and back but the device."""
    monkeypatch.setattr(devices, "available_devices", lambda: ("cuda:0", "cpu"))
    monkeypatch.setattr(devices, "torch_device", lambda device: torch.device("cpu"))
    monkeypatch.setattr(devices, "native_precisions", lambda device: ("float32", "bfloat16"))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


@pytest.mark.usefixtures("fake")
def test_a_file_is_loaded_once_a_device_and_precision(saved: Path) -> None:
    on_cpu, on_gpu = lightmel.load(saved, device="cpu"), lightmel.load(saved, device="cuda")
    assert on_gpu is not on_cpu
    assert (on_cpu.device, on_gpu.device) == ("cpu", "cuda:0")
    for name in ("cuda", "cuda:0", "auto"):
        assert lightmel.load(saved, device=name) is on_gpu
    assert lightmel.load(saved) is on_gpu
    assert lightmel.load(saved, device="cpu") is on_cpu
    half = lightmel.load(saved, device="cuda", precision="bfloat16")
    assert half is lightmel.load(saved, device="cuda", precision="bfloat16")
    assert half not in (on_cpu, on_gpu)
    assert half.runtime.precision == "bfloat16"
    assert on_gpu.description == on_cpu.description


@pytest.mark.usefixtures("fake")
def test_a_device_scores_as_the_processor_in_larger_batches(
    saved: Path, sound: Sound, scores_of: ScoresOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu, on_gpu = lightmel.load(saved, device="cpu"), lightmel.load(saved, device="cuda")
    assert isinstance(on_cpu.runtime, TorchRuntime)
    assert isinstance(on_gpu.runtime, TorchRuntime)
    assert on_gpu.runtime.batch_seconds > on_cpu.runtime.batch_seconds > 0
    wave = sound(40.3)
    wanted, times, mean = on_cpu.tag(wave, SR), on_cpu.taggram(wave, SR, hop=0.3), on_cpu.embed(wave, SR)
    real, sizes = on_gpu.runtime.run, []

    def run(waves: np.ndarray) -> object:
        sizes.append(len(waves))
        return real(waves)

    monkeypatch.setattr(on_gpu.runtime, "run", run)
    for batch_seconds, largest in ((240.0, 81), (1e-3, 1), (1.6, 3), (1e9, 81)):
        monkeypatch.setattr(on_gpu.runtime, "batch_seconds", batch_seconds)
        sizes.clear()
        tagging = on_gpu.tag(wave, SR)
        assert (max(sizes), sum(sizes)) == (largest, 81)
        assert np.abs(scores_of(tagging, on_cpu.tags) - scores_of(wanted, on_cpu.tags)).max() < 1e-4
        assert _numbers_are_plain(tagging)
        assert (tagging.seconds, tagging.padded, tagging.notes) == (wanted.seconds, False, ())
        taggram = on_gpu.taggram(wave, SR, hop=0.3)
        assert np.array_equal(taggram.times, times.times)
        assert taggram.scores.dtype == np.float64
        assert np.abs(taggram.scores - times.scores).max() < 1e-4
        embedding = on_gpu.embed(wave, SR)
        assert embedding.dtype == np.float32
        assert np.abs(embedding - mean).max() < 1e-4


@pytest.mark.usefixtures("fake")
def test_what_a_device_gives_is_numpys(model: Tagger, sound: Sound) -> None:
    waves = sound(1.0).reshape(2, model.segment_samples)
    for precision in ("float32", "bfloat16"):
        runtime = TorchRuntime(model.network, model.config, "cuda", precision)
        scores, embedding = runtime.run(waves)
        assert type(scores) is type(embedding) is np.ndarray
        assert (scores.dtype, scores.shape) == (np.float64, (2, 3))
        assert (embedding.dtype, embedding.shape) == (np.float32, (2, runtime.embed_dim))
        logits = runtime.logits(torch.from_numpy(waves))
        assert (logits.dtype, logits.device.type) == (torch.float32, "cpu")
        assert logits.double().sigmoid().numpy() == pytest.approx(scores, abs=1e-6)


@pytest.mark.usefixtures("fake")
def test_a_tagger_has_its_device_already(saved: Path, sound: Sound) -> None:
    on_cpu, on_gpu = lightmel.load(saved, device="cpu"), lightmel.load(saved, device="cuda")
    wave = sound(1.2)
    wanted = on_cpu.tag(wave, SR)
    for device in (None, "cpu"):
        assert lightmel.tag(wave, SR, model=on_cpu, device=device) == wanted
    for device in (None, "cuda", "cuda:0", "auto"):
        lightmel.tag(wave, SR, model=on_gpu, device=device)
    assert lightmel.tag(wave, SR, model=on_cpu, device="auto") == wanted
    for tagger, elsewhere in ((on_cpu, "cuda"), (on_gpu, "cpu")):
        wanted_words = f"tiny-0 runs on {tagger.device}: load it with device='{elsewhere}' instead"
        with pytest.raises(ConfigError, match=wanted_words):
            lightmel.tag(wave, SR, model=tagger, device=elsewhere)


def test_a_real_gpu_scores_as_the_processor(sound: Sound, saved: Path, scores_of: ScoresOf) -> None:
    if available_devices() == ("cpu",):
        pytest.skip("needs a GPU")
    on_cpu, on_gpu = lightmel.load(saved, device="cpu"), lightmel.load(saved)
    assert on_gpu.device == available_devices()[0]
    for name, source in ((saved, (sound(30.1), SR)), ("default", (sample.path(), None))):
        on_cpu, on_gpu = lightmel.load(name, device="cpu"), lightmel.load(name)
        apart = scores_of(on_cpu.tag(*source), on_cpu.tags) - scores_of(on_gpu.tag(*source), on_cpu.tags)
        assert np.abs(apart).max() < 1e-2  # a GPU may multiply in TF32, with ten bits
        assert _numbers_are_plain(on_gpu.tag(*source))
