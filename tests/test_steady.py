"""Whatever a program has set, and after a fork: loading, tagging, features and training are the same.

The settings stay as they were, and the generators of random numbers where they were.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import lightmel
from lightmel import MelConfig, TrainConfig, Trainer
from lightmel.datasets import load_table
from lightmel.distillation import DistillConfig, distill
from lightmel.evaluation import CalibrationConfig, calibrate, evaluate
from lightmel.features import FeatureExamples, build_store
from lightmel.inference import Tagger, loading
from lightmel.models import build_named
from lightmel.training import FinetuneConfig, finetune
from lightmel.workers import ONE_THREAD

# -- what a program may have set


@contextlib.contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def meta_by_default() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def errors_of_numpy() -> Iterator[None]:
    with np.errstate(all="raise"):
        yield


@contextlib.contextmanager
def warnings_as_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextlib.contextmanager
def all_at_once() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name in ("float64", "meta by default", "inference mode", "autocast", "seterr", "warnings"):
            stack.enter_context(AMBIENT[name]())
        yield


AMBIENT: dict[str, Callable[[], Any]] = {
    "float64": float64,
    "meta by default": meta_by_default,
    "with meta": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "seterr": errors_of_numpy,
    "warnings": warnings_as_errors,
    "all": all_at_once,
}


def settings() -> dict[str, object]:
    """What is set in this thread and process."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "inference": torch.is_inference_mode_enabled(),
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "numpy": np.geterr(),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "random": random.getstate()[1][:9],
        "numpy's random": str(np.random.get_state()),  # noqa: NPY002 - the one that others may use
        "torch's random": torch.get_rng_state().tolist(),
    }


# -- what it may do


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: several wait for each other longer than these networks take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are computed where the settings are, and not by workers, which have none of them."""
    monkeypatch.setattr("lightmel.features.build.cores", lambda: 0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 12 clips of a second: tones and noise."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    rows = ["path,tags,group,split"]
    for i in range(12):
        wave = 0.1 * rng.standard_normal(16_000)
        if i % 2:
            wave = np.sin(np.arange(16_000) * rng.uniform(0.1, 0.3)) + 0.1 * wave
        soundfile.write(folder / f"{i}.wav", 0.5 * wave, 16_000, subtype="FLOAT")
        split = ("train", "train", "valid", "test")[i // 2 % 4]
        rows.append(f"{i}.wav,{'strings' if i % 2 else 'drums'},g{i},{split}")
    table = folder / "clips.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Tagger]) -> Path:
    path = tmp_path_factory.mktemp("tagger") / "tiny.safetensors"
    tiny(3).save(path)
    return path


Given = dict[str, Any]


def weights(network: torch.nn.Module) -> list[np.ndarray]:
    state = network.state_dict().values()
    assert {v.dtype for v in state} <= {torch.float32, torch.int64}
    return [v.numpy() for v in state]


def tagged(given: Given) -> object:
    """The first tagging of a process that loads; and what is kept for the next one can still learn."""
    loading._loaded.clear()
    found = lightmel.tag(given["sound"], model=given["file"])
    network = lightmel.load(given["file"]).network
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu"):
        x = torch.zeros(2, *network.input_shape, dtype=torch.float32)
        with torch.autocast("cpu", enabled=False):
            network(x).sum().backward()
    assert network.head.weight.grad is not None
    return found.tags, found.scores


def embedded(given: Given) -> object:
    tagger = Tagger.from_pretrained(given["file"])
    return [tagger.embed(given["sound"]), tagger.embed_segments(given["sound"])]


def over_time(given: Given) -> object:
    wave, sr = soundfile.read(given["sound"], dtype="float32")
    return lightmel.load(given["file"]).taggram(wave, sr, hop=0.25).scores


def packaged(given: Given) -> object:
    """The tagger of the package by either runtime: another network, half of it stored as float16."""
    loading._loaded.clear()
    found = [lightmel.load(runtime=runtime).tag(given["sound"]) for runtime in ("onnx", "torch")]
    return [(own.tags, own.scores) for own in found]


def stored(given: Given) -> object:
    sources = {path.name: path for path in sorted(given["clips"].parent.glob("*.wav"))[:3]}
    store = build_store(given["tmp"] / "store", sources, MelConfig(16_000, 16, 4, "db"), workers=0)
    return [store[row] for row in range(len(store))]


def built(given: Given) -> object:
    with torch.device("cpu"):  # where a network is built follows the device, as with any module
        generator = torch.Generator("cpu").manual_seed(1)
        networks = [
            build_named(name, 1.0, 3, generator)[0]
            for name in ("vgg-16k-mel48-x2-db", "musicnn-small-16k-mel48-x2-db", "mobilenet-16k-mel48-x2-db")
        ]
    assert all(p.is_leaf for n in networks for p in n.parameters())
    assert all(n.head.weight.requires_grad for n in networks)
    return [array for network in networks for array in weights(network)]


def new_head(given: Given) -> object:
    generator = torch.Generator("cpu").manual_seed(1)
    return weights(lightmel.load(given["file"]).with_tags(["one", "two"], generator).network)


def trained(given: Given) -> object:
    data = load_table(given["clips"])
    base = lightmel.load(given["file"])
    sources = data.sources()
    store = build_store(given["tmp"] / "store", sources, base.config, workers=0)
    rows = store.rows(data.split("train").paths)
    examples = FeatureExamples(store, rows, data.split("train").labels, base.network.input_shape[1])
    own = base.with_tags(data.tags, torch.Generator("cpu").manual_seed(0))
    config = TrainConfig(epochs=2, batch_size=4, precision="float32")
    result = Trainer(own, config).fit(examples)
    return weights(result.network)


def finetuned(given: Given) -> object:
    config = FinetuneConfig(head_epochs=1, epochs=1, batch_size=4)
    made = finetune(str(given["file"]), load_table(given["clips"]), config=config)
    assert made.evaluation is not None
    return [*weights(made.tagger.network), made.evaluation.to_dict()]


def finetuned_on_embeddings(given: Given) -> object:
    made = finetune(
        str(given["file"]), load_table(given["clips"]), config=FinetuneConfig(embeddings=True, augment=False)
    )
    return weights(made.tagger.network)


def distilled(given: Given) -> object:
    config = DistillConfig(
        student="musicnn-small-16k-mel16-x4-db",
        segment_seconds=0.5,
        window_seconds=0.5,
        step_seconds=0.25,
        jitter=0.0,
        excerpt_seconds=1.0,
        speeds=0,
    )
    training = TrainConfig(epochs=1, batch_size=4, precision="float32")
    student, _ = distill([lightmel.load(given["file"])], given["clips"].parent, config, training)
    return weights(student.network)


def evaluated(given: Given) -> object:
    found = evaluate(str(given["file"]), load_table(given["clips"]), "train")
    return found.to_dict()


def calibrated(given: Given) -> object:
    made = calibrate(
        given["file"], given["clips"].parent, given["clips"], CalibrationConfig(min_positives=2, folds=2)
    )
    return [*weights(made.tagger.network), np.array(made.tagger.description.thresholds)]


def exported(given: Given) -> object:
    made = lightmel.inference.export(lightmel.load(given["file"]), given["tmp"] / "x.onnx")
    return made.features.read_bytes(), made.wave.read_bytes()


WORK = [
    tagged,
    packaged,
    embedded,
    over_time,
    stored,
    built,
    new_head,
    trained,
    finetuned,
    finetuned_on_embeddings,
    distilled,
    evaluated,
    calibrated,
    exported,
]


@pytest.fixture(scope="module")
def expected(
    file: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Callable[[Given], object]], object]:
    """Return what work comes to where nothing is set."""
    kept: dict[str, object] = {}

    def of(work: Callable[[Given], object]) -> object:
        if work.__name__ not in kept:
            tmp = tmp_path_factory.mktemp("plain")
            kept[work.__name__] = work(given_for(file, clips, tmp))
        return kept[work.__name__]

    return of


def given_for(file: Path, clips: Path, tmp: Path) -> Given:
    return {"file": file, "clips": clips, "sound": clips.parent / "1.wav", "tmp": tmp}


LONG = (finetuned, finetuned_on_embeddings, distilled, calibrated, exported)
"""These take seconds, and are made of the others: they run where all is set, and what that leaves out."""
CASES = [(a, w) for a in AMBIENT for w in WORK if w not in LONG or a in ("all", "no gradients")]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("ambient", "work"), CASES, ids=lambda own: getattr(own, "__name__", own))
def test_it_comes_to_the_same_whatever_is_set(
    ambient: str,
    work: Callable[[Given], object],
    file: Path,
    clips: Path,
    tmp_path: Path,
    expected: Callable[[Callable[[Given], object]], object],
) -> None:
    wanted = expected(work)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    with AMBIENT[ambient]():
        before = settings()
        found = work(given_for(file, clips, tmp_path))
        after = settings()
    np.testing.assert_equal(found, wanted)
    assert after == before


def test_modules_are_on_the_default_device_as_any_module() -> None:
    with torch.device("meta"):
        network, config = build_named("musicnn-small-16k-mel48-x2-db", 1.0, 3)
        frontend = lightmel.MelFrontend(16_000, 48)
    assert network.head.weight.device.type == frontend.bank32.window.device.type == "meta"
    assert config.slug == "16k-mel48-x2-db"


def test_a_tagger_of_inference_tensors_can_learn() -> None:
    """A network that was built in inference mode, by others than us."""
    with torch.inference_mode():
        network = torch.nn.Linear(3, 2)
        copied = network.weight.is_inference()
        own, _ = build_named("musicnn-small-16k-mel48-x2-db", 1.0, 3)
    assert copied
    assert not any(p.is_inference() for p in own.parameters())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("first", ["tag", "load", "features"])
def test_warnings_are_errors_from_the_first_import_on(first: str, file: Path, clips: Path) -> None:
    """In a new process, with NumPy's errors too: what comes with the first call is imported by it."""
    code = (
        "import sys, numpy; numpy.seterr(all='raise'); import lightmel\n"
        "model, sound = sys.argv[1:]\n"
        "if first == 'load': lightmel.load(model)\n"
        "if first == 'features': lightmel.features.build_store\n"
        "print(lightmel.tag(sound, model=model).scores)\n"
        "if first == 'tag':\n"
        "    for name in lightmel.__all__: getattr(lightmel, name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"first = {first!r}\n{code}", file, clips.parent / "1.wav"],
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{lightmel.tag(clips.parent / '1.wav', model=file).scores}\n"


# -- after a fork

FORK = """
import os, sys, threading, traceback
import torch
threads, runtime, sound = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(threads)
import lightmel
from lightmel.inference import loading

def work():
    found = lightmel.load(runtime=runtime).tag(sound).scores
    lightmel.load(runtime=runtime).embed(sound)
    assert torch.get_num_threads() == threads, torch.get_num_threads()
    return found

def by_threads():
    for _ in range(2):
        several = [threading.Thread(target=work) for _ in range(2)]
        [t.start() for t in several]
        [t.join() for t in several]

def grandchild():
    found = work()
    pid = os.fork()
    if pid == 0:
        os._exit(work() != found)
    assert os.waitpid(pid, 0)[1] == 0

def fork(when, first=None):
    print(when, file=sys.stderr, flush=True)  # what hangs is the last one
    pid = os.fork()
    if pid == 0:
        try:
            if first is not None:
                first()
            print(repr(work()), flush=True)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

fork("before anything is loaded")
lightmel.load(runtime=runtime)
fork("loaded")
expected = work()
torch.randn(300, 300) @ torch.randn(300, 300)
fork("after")
fork("in threads", by_threads)
fork("again", grandchild)
assert work() == expected  # the parent goes on
with loading._lock:  # while a thread of the parent is loading
    for lock in loading._locks.values():
        lock.acquire()
    fork("locked")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.parametrize(("runtime", "threads"), [("torch", 2), ("torch", 1), ("onnx", 2)])
def test_forked_children_tag(runtime: str, threads: int, clips: Path) -> None:
    """What would hang without help is torch with more than one thread, which the parent has used."""
    sound = clips.parent / "1.wav"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(threads), runtime, sound],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=100,  # what hangs, hangs for good
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    found = [np.array(eval(line)) for line in done.stdout.splitlines()]
    assert len(found) == 6
    for own in found:
        np.testing.assert_allclose(own, np.array(lightmel.tag(sound).scores), atol=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_child_learns_and_makes_features(file: Path, clips: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, torch, lightmel\n"
        "from pathlib import Path\n"
        "torch.set_num_threads(2)\n"
        "model, table, out = sys.argv[1:]\n"
        "lightmel.load(runtime='torch').tag(Path(table).parent / '1.wav')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try:\n"
        "        config = lightmel.training.FinetuneConfig(head_epochs=1, epochs=1, batch_size=4)\n"
        "        made = lightmel.finetune(model, lightmel.load_table(table), config=config, work=out)\n"
        "        made.tagger.save(Path(out, 'new.safetensors'), 'float16')\n"
        "        os._exit(0)\n"
        "    except BaseException:\n"
        "        import traceback; traceback.print_exc(); os._exit(1)\n"
        "sys.exit(os.waitpid(pid, 0)[1] != 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file, clips, tmp_path],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert lightmel.load(tmp_path / "new.safetensors").tags == ("drums", "strings")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_an_error_in_a_forked_child_is_the_error(file: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, lightmel\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try: lightmel.tag('missing.wav', model=sys.argv[1])\n"
        "    except lightmel.LightmelError as error: print(type(error).__name__, error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=100,
        cwd=tmp_path,
    )
    assert done.stdout == "AudioError missing.wav: no such file.\n"


def test_cuda_after_a_fork_is_refused_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightmel.inference.runtimes import devices

    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(devices, "available_devices", lambda: ("cuda:0", "cpu"))
    for name in ("auto", "cuda", "cuda:0"):
        with pytest.raises(lightmel.LightmelError, match=r"forked.*'spawn'.*device='cpu'"):
            devices.resolve_device(name)
    assert devices.resolve_device("cpu") == "cpu"


# -- threads


def test_threads_share_a_tagger_and_get_the_same_scores(clips: Path, file: Path) -> None:
    tagger = lightmel.load(file)
    sounds = sorted(clips.parent.glob("*.wav"))
    wanted = [tagger.tag(path) for path in sounds]
    embedded = [tagger.embed(path) for path in sounds]
    before = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tagger.tag, sounds)) == wanted
        np.testing.assert_array_equal(list(pool.map(tagger.embed, sounds)), embedded)
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {before}
    assert torch.get_num_threads() == before


def test_what_one_thread_sets_is_nothing_to_another(clips: Path, file: Path) -> None:
    """Settings of a thread are put aside in that thread alone, and only while something runs."""
    tagger, sound = lightmel.load(file), clips.parent / "1.wav"
    wanted = tagger.tag(sound)
    stop, wrong = threading.Event(), []

    def watch() -> None:
        with torch.inference_mode(), torch.device("meta"), np.errstate(all="raise"):
            mine = settings()
            while not stop.is_set():
                wrong.extend(name for name, value in settings().items() if value != mine[name])

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = [tagger.tag(sound) for _ in range(8)]
    stop.set()
    watcher.join()
    assert (found, wrong) == ([wanted] * 8, [])
