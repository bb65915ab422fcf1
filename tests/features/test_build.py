"""Building from sound: the features are the front end's, whoever makes them, and what breaks costs little."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lightmel import audio, workers
from lightmel.errors import AudioError, ConfigError, DataError
from lightmel.features import FeatureStore, build, build_store, journal, worker
from lightmel.features.journal import FEATURES, INDEX, read_description, read_index
from lightmel.frontends import MelConfig, MelFrontend

CONFIG = MelConfig(16_000, 48, 1, "db")
DTYPES = ["float32", "float16", "uint8", "uint4"]
Sources = dict[str, Path]
Program = Callable[[str], None]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, tone: Callable[..., np.ndarray]) -> Sources:
    """Forty clips of .05 to .8 s, of several rates and formats, in an order that is not the alphabet's."""
    folder = tmp_path_factory.mktemp("sound")
    found = {}
    for i in range(40):
        sr = (16_000, 44_100, 22_050)[i % 3]
        path = folder / f"{(i * 7) % 40:02d}.{('wav', 'flac', 'ogg')[i % 3]}"
        soundfile.write(path, tone(0.05 + 0.75 * (i * 11 % 40) / 40, sr, 1 + i % 2, seed=i), sr)
        found[path.name] = path
    return found


@pytest.fixture(scope="module")
def some(sources: Sources) -> Sources:
    return dict(list(sources.items())[:6])


@pytest.fixture(scope="module")
def whole(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of all sources, built in one go by this process."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    build_store(folder, sources, CONFIG, workers=0)
    return folder


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in (FEATURES, INDEX))


def mel_of(path: Path, config: MelConfig = CONFIG) -> np.ndarray:
    with torch.inference_mode():
        return MelFrontend.from_config(config)(torch.from_numpy(audio.load(path, config.sr))).numpy()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Let children run another program: before their own they do this."""

    own = workers._PROGRAM

    def run(before: str) -> None:
        monkeypatch.setattr(workers, "_PROGRAM", f"{before}\n{own}")

    return run


# What is built


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slug", ["16k-mel48-x1-db", "12k-mel32-x3-log", "16k-mel24-x2-db-htk-peak-reflect"])
def test_the_store_holds_what_the_front_end_computes(
    slug: str, dtype: Any, some: Sources, tmp_path: Path
) -> None:
    config = MelConfig.from_slug(slug)
    store = build_store(tmp_path, some, config, dtype=dtype, workers=0)
    assert (store.config, store.dtype, store.keys, store.failed) == (config, dtype, tuple(some), {})
    for row, path in enumerate(some.values()):
        mel = mel_of(path, config)
        span = np.ptp(mel, axis=1, keepdims=True)
        levels = {"uint8": span / 510 + 1e-4, "uint4": span / 30 + 1e-4}
        bounds = {"float32": 0 * span, "float16": np.abs(mel) / 2048 + 3e-8, **levels}
        assert store.frames[row] == mel.shape[1]
        assert (np.abs(store[row] - mel) <= bounds[dtype]).all()
        last = mel.shape[1] - 2
        excerpt = store.excerpts([row], [last], 2)[0]
        assert (np.abs(excerpt - mel[:, last:]) <= bounds[dtype][:, -excerpt.shape[1] :]).all()


@pytest.mark.parametrize("log", ["db", "log"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_deriving_equals_building_from_the_sound(
    dtype: Any, log: Any, files: dict[str, Path], some: Sources, tmp_path: Path
) -> None:
    config = CONFIG.replace(log=log)
    sources = {"mp3": files["mp3"], **some}
    store = build_store(tmp_path / "x1", sources, config, dtype=dtype, workers=0)
    for hop_factor in (2, 3, 4, 5, 10):
        thin = config.replace(hop_factor=hop_factor)
        derived = store.derive(tmp_path / f"derived {hop_factor}", thin)
        built = build_store(tmp_path / f"built {hop_factor}", sources, thin, dtype=dtype, workers=0)
        assert derived.keys == built.keys
        for row, path in enumerate(sources.values()):
            # Products over few frames may be summed in another order; where they are not, all is equal.
            exact = np.array_equal(mel_of(path, config)[:, ::hop_factor], mel_of(path, thin))
            assert exact or row > 0
            off = 0 if exact else 1e-5 if dtype == "float32" else 1 / 16
            np.testing.assert_allclose(derived[row], built[row], rtol=0, atol=off)


def test_long_sound_goes_through_the_front_end_in_blocks(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_WHOLE_SECONDS", 0.7)
    store = build_store(tmp_path, {"mp3": files["mp3"]}, CONFIG, workers=0)
    np.testing.assert_allclose(store[0], mel_of(files["mp3"]), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds that grow louder: whatever is cut from it shows where it was."""
    path = tmp_path_factory.mktemp("rising") / "rising.wav"
    ramp = np.linspace(0, 0.9, 4 * 16_000) * np.random.default_rng(0).uniform(-1, 1, 4 * 16_000)
    soundfile.write(path, ramp, 16_000, subtype="FLOAT")
    return path


@pytest.mark.parametrize(("seconds", "first"), [(1.0, 24_000), (3.0, 8_000), (4.0, 0), (29.1, 0)])
def test_seconds_are_taken_from_the_middle(seconds: float, first: int, rising: Path, tmp_path: Path) -> None:
    wave, sr = soundfile.read(rising, dtype="float32")
    expected = wave[first : len(wave) - first]
    np.testing.assert_array_equal(audio.middle(rising, sr, seconds), expected)
    store = build_store(tmp_path, {"a": rising}, CONFIG, excerpt_seconds=seconds, workers=0)
    assert store.excerpt_seconds == seconds
    mel = MelFrontend.from_config(CONFIG)(torch.from_numpy(expected)).numpy()
    np.testing.assert_array_equal(store[0], mel)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "m4a", "aac"])
def test_the_middle_of_other_formats_is_the_middle_of_what_decodes(
    suffix: str, files: dict[str, Path]
) -> None:
    wave = audio.load(files[suffix], 16_000)
    middle = audio.middle(files[suffix], 16_000, 2.0)
    assert len(middle) == 32_000
    center = (len(wave) - 32_000) // 2
    near = np.lib.stride_tricks.sliding_window_view(wave[center - 8_000 : center + 8_500], 500)
    found = center - 8_000 + int(np.argmin(np.square(near - middle[:500]).sum(axis=1)))
    # A header may count an encoder's padding.
    assert abs(found - center) <= 0.15 * 16_000
    np.testing.assert_allclose(middle, wave[found : found + 32_000], atol=1e-5)


def test_a_header_that_claims_more_than_there_is_does_not_move_the_middle_away(
    rising: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wave, sr = soundfile.read(rising, dtype="float32")
    torn = tmp_path / "torn.flac"
    soundfile.write(torn, wave, sr)
    os.truncate(torn, torn.stat().st_size * 2 // 5)
    there = audio.load(torn, sr)
    assert len(there) < 0.5 * len(wave)
    middle = audio.middle(torn, sr, 1.0)
    first = (len(there) - sr) // 2
    np.testing.assert_array_equal(middle, there[first : first + sr])
    with pytest.raises(AudioError):
        audio.middle(tmp_path / "nothing.wav", sr, 1.0)


# Who builds it, and when it dies


def test_the_number_of_workers_does_not_change_the_bytes_nor_does_an_interruption(
    sources: Sources, whole: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, str | None]] = []

    def stop_at_nine(key: str, failed: str | None) -> None:
        told.append((key, failed))
        if len(told) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path, sources, CONFIG, workers=1, on_clip=stop_at_nine)
    assert FeatureStore.open(tmp_path).keys == tuple(sources)[:9]
    store = build_store(
        tmp_path, sources, CONFIG, workers=2, on_clip=lambda key, failed: told.append((key, failed))
    )
    assert told == [(key, None) for key in sources]
    assert store.keys == tuple(sources)
    assert same(tmp_path, whole)


SERVER = """
import json, os, sys
import torch
from pathlib import Path
from lightmel.features import build_store, journal
from lightmel.frontends import MelConfig

for line in sys.stdin:  # each line is a build, by a process of its own
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        journal._COMMIT_SECONDS = order["commit"]
        sources = {key: Path(path) for key, path in order["sources"].items()}
        build_store(
            order["folder"], sources, MelConfig(16_000, 48, 1, "db"), workers=order["workers"],
            on_clip=lambda key, failed: os.write(1, b"clip\\n"),
        )
        os._exit(0)
    os.write(1, f"{child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"ended\\n")
"""


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has imported everything, and forks another for each build."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("commit", [0.0, 0.02, 2.0])
def test_killed_at_any_moment_no_clip_is_lost_or_doubled(
    commit: float, sources: Sources, whole: Path, tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    rng = np.random.default_rng(round(100 * commit))
    order = {"sources": {key: str(path) for key, path in sources.items()}, "workers": 0, "commit": commit}
    kept = killed = 0
    for _ in range(6):
        server.stdin.write(json.dumps({**order, "folder": str(tmp_path)}).encode() + b"\n")
        server.stdin.flush()
        child = int(server.stdout.readline())
        done, until = 0, int(rng.integers(1, 16))
        for line in server.stdout:
            done += line == b"clip\n"
            if line == b"ended\n":
                break
            if done == until:
                time.sleep(float(rng.uniform(0, 0.01)))
                with contextlib.suppress(ProcessLookupError):  # it was quicker
                    os.kill(child, signal.SIGKILL)
                    killed += 1
        index = read_index(tmp_path, read_description(tmp_path))
        assert list(index.clips) == list(sources)[: len(index.clips)]
        assert len(index.clips) >= kept
        assert commit > 0 or len(index.clips) >= kept + min(done, until)
        assert FeatureStore.open(tmp_path).verify() == ()
        kept = len(index.clips)
    assert killed >= 2
    store = build_store(tmp_path, sources, CONFIG, workers=0)
    assert store.keys == tuple(sources)
    lines = [json.loads(line)["key"] for line in (tmp_path / INDEX).read_text().splitlines()]
    assert lines == list(sources)
    assert same(tmp_path, whole)


def test_what_is_done_may_be_read_meanwhile(
    some: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_COMMIT_SECONDS", 0.0)
    seen = []

    def look(key: str, failed: str | None) -> None:
        store = FeatureStore.open(tmp_path)
        assert store.verify() == ()
        seen.append(len(store))

    build_store(tmp_path, some, CONFIG, workers=0, on_clip=look)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_a_second_builder_at_the_same_time_is_refused(some: Sources, tmp_path: Path) -> None:
    def second(key: str, failed: str | None) -> None:
        with pytest.raises(DataError, match="Another process is writing"):
            build_store(tmp_path, some, CONFIG, workers=0)

    assert len(build_store(tmp_path, some, CONFIG, workers=0, on_clip=second)) == len(some)


def test_a_store_that_is_complete_is_not_touched(whole: Path, sources: Sources, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "copy")
    told: list[str] = []
    nothing = {key: Path("nothing") for key in sources}  # would fail, were it read
    store = build_store(folder, nothing, CONFIG, on_clip=lambda key, failed: told.append(key))
    assert (told, len(store), store.failed) == ([], len(sources), {})
    assert same(folder, whole)


@pytest.mark.parametrize(
    "other", [{"config": CONFIG.replace(hop_factor=2)}, {"dtype": "uint8"}, {"excerpt_seconds": 0.5}], ids=str
)
def test_a_store_of_other_features_is_not_built_on(
    other: dict[str, Any], whole: Path, sources: Sources
) -> None:
    before = (whole / FEATURES).read_bytes()
    with pytest.raises(
        DataError, match=r"is a store of other features \(16k-mel48-x1-db as float32, whole files"
    ):
        build_store(whole, sources, **{"config": CONFIG, **other}, workers=0)
    assert (whole / FEATURES).read_bytes() == before


def test_a_full_disk_keeps_what_was_done(
    sources: Sources, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = os.write, (whole / FEATURES).stat().st_size // 2

    def write(descriptor: int, data: Any) -> int:
        if os.fstat(descriptor).st_ino == (tmp_path / FEATURES).stat().st_ino:
            free = room - os.fstat(descriptor).st_size
            if free <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, bytes(data)[:free])
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", write)
        with pytest.raises(DataError, match=r"No space left on device\. What was done is kept: make room"):
            build_store(tmp_path, sources, CONFIG, workers=0)
    kept = FeatureStore.open(tmp_path)
    assert 5 < len(kept) < len(sources)
    assert kept.verify() == ()
    told: list[str] = []
    build_store(tmp_path, sources, CONFIG, workers=0, on_clip=lambda key, failed: told.append(key))
    assert told == list(sources)[len(kept) :]
    assert same(tmp_path, whole)


# Broken files


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_listed_and_made_again_when_asked_for(
    workers: int, some: Sources, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "text.mp3").write_text("This is no sound, whatever its name says.\n" * 50)
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "loud.wav", np.full(2_000, 3e38), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "nan.wav", np.full(2_000, np.nan), 16_000, subtype="FLOAT")
    flac = next(path for path in some.values() if path.suffix == ".flac")
    (tmp_path / "torn.flac").write_bytes(flac.read_bytes()[: flac.stat().st_size * 2 // 3])
    broken = {
        name: tmp_path / name for name in ("text.mp3", "empty.wav", "loud.wav", "nan.wav", "missing.ogg")
    }
    keys, good = iter(some), dict(some)
    mixed: Sources = {}
    for key, path in broken.items():
        mixed |= {key: path, (other := next(keys)): good.pop(other)}
    mixed |= {"torn.flac": tmp_path / "torn.flac", **good}
    told: dict[str, str | None] = {}

    with caplog.at_level(logging.WARNING, "lightmel"):
        store = build_store(tmp_path / "store", mixed, CONFIG, workers=workers, on_clip=told.__setitem__)
    assert sum("torn.flac" in record.getMessage() for record in caplog.records) == 1
    assert list(told) == list(mixed)
    assert store.keys == tuple(key for key in mixed if key not in broken)
    assert list(store.failed) == list(broken)
    assert {key: why for key, why in told.items() if why is not None} == store.failed
    expected = {"text.mp3": "text", "empty.wav": "empty", "loud.wav": "scale them", "nan.wav": "NaN"}
    for key, word in (expected | {"missing.ogg": "no such file"}).items():
        assert word in store.failed[key]
        assert str(tmp_path / key) not in store.failed[key]
    assert store.verify() == ()

    before = (tmp_path / "store" / INDEX).read_bytes()
    build_store(tmp_path / "store", mixed, CONFIG, workers=workers)
    assert (tmp_path / "store" / INDEX).read_bytes() == before  # nothing is tried again unasked
    told.clear()
    build_store(tmp_path / "store", mixed, CONFIG, workers=0, again=store.failed, on_clip=told.__setitem__)
    assert told == store.failed
    for name in ("text.mp3", "empty.wav"):
        shutil.copy(next(iter(some.values())), tmp_path / name)
    again = build_store(tmp_path / "store", mixed, CONFIG, workers=workers)
    assert again.keys == (*store.keys, "text.mp3", "empty.wav")
    assert sorted(again.failed) == ["loud.wav", "missing.ogg", "nan.wav"]
    np.testing.assert_array_equal(again[again.rows(["text.mp3"])[0]], mel_of(tmp_path / "text.mp3"))
    assert again.verify() == ()


def test_clips_of_files_that_were_replaced_are_made_again_and_counted(
    some: Sources, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = list(some)
    one, other = ({key: tmp_path / folder / key for key in keys} for folder in "ab")
    for key, path in some.items():
        one[key].parent.mkdir(exist_ok=True)
        shutil.copy2(path, one[key])
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy2)
    shutil.copy2(other[keys[1]], other[keys[0]])
    os.utime(other[keys[2]], ns=(0, 1))
    other[keys[3]].unlink()
    store = build_store(tmp_path / "store", one, CONFIG, workers=0)
    told: list[str] = []

    def go_on(sources: Sources) -> FeatureStore:
        told.clear()
        caplog.clear()
        return build_store(
            tmp_path / "store", sources, CONFIG, workers=0, on_clip=lambda key, failed: told.append(key)
        )

    go_on(one)
    assert (told, caplog.records) == ([], [])
    replaced = go_on(other)
    assert told == [keys[0], keys[2]]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'store'}: 2 files are not those that it was made of (another size or date): they are "
        "made again."
    ]
    assert replaced.keys == (keys[1], *keys[3:], keys[0], keys[2])  # that whose file is missing is kept
    for key in (keys[0], keys[2]):
        np.testing.assert_array_equal(replaced[replaced.rows([key])[0]], mel_of(other[key]))
    assert not np.array_equal(store[0], replaced[replaced.rows([keys[0]])[0]])
    go_on(other)
    assert (told, caplog.records) == ([], [])


def test_damaged_clips_are_made_again_when_asked_for(some: Sources, tmp_path: Path) -> None:
    store = build_store(tmp_path, some, CONFIG, workers=0)
    with (tmp_path / FEATURES).open("r+b") as file:
        file.seek(store._places[2].offset)
        file.write(b"\xff\xff")
    damaged = FeatureStore.open(tmp_path).verify()
    assert damaged == (tuple(some)[2],)
    mended = build_store(tmp_path, some, CONFIG, workers=0, again=damaged)
    assert mended.verify() == ()
    assert sorted(mended.keys) == sorted(some)
    for key, path in some.items():
        np.testing.assert_array_equal(mended[mended.rows([key])[0]], mel_of(path))


# Children


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_decoder_that_crashes_is_a_reason_and_takes_only_its_child_along(
    some: Sources, tmp_path: Path, program: Program
) -> None:
    bad = list(some)[3]
    program(
        "import os, signal\n"
        "from lightmel.features.worker import FeatureMaker\n"
        "clip = FeatureMaker.clip\n"
        "def crash(self, path):\n"
        f"    if path.name == {bad!r}:\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return clip(self, path)\n"
        "FeatureMaker.clip = crash"
    )
    store = build_store(tmp_path, some, CONFIG, workers=1)
    assert store.failed == {bad: "the decoder crashed on it (SIGSEGV)."}
    assert store.keys == tuple(key for key in some if key != bad)


def test_a_child_that_ends_for_no_fault_of_the_file_stops_the_work(
    some: Sources, tmp_path: Path, program: Program
) -> None:
    program("raise ImportError('no torch here')")
    with pytest.raises(
        DataError,
        match=r"ended with code 1 at .*: ImportError: no torch here\. If .*run the same again to go on",
    ):
        build_store(tmp_path, some, CONFIG, workers=2)
    assert read_index(tmp_path, read_description(tmp_path)).clips == {}
    program("")
    assert build_store(tmp_path, some, CONFIG, workers=2).keys == tuple(some)


def test_an_interruption_does_not_wait_for_files_that_are_being_decoded(
    some: Sources, tmp_path: Path, program: Program
) -> None:
    program(
        "import time\n"
        "from lightmel.features.worker import FeatureMaker\n"
        "clip = FeatureMaker.clip\n"
        f"first = {next(iter(some))!r}\n"
        "def wait(self, path):\n"
        "    time.sleep(0 if path.name == first else 999)\n"
        "    return clip(self, path)\n"
        "FeatureMaker.clip = wait"
    )

    def stop(key: str, failed: str | None) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path, some, CONFIG, workers=1, on_clip=stop)
    assert time.monotonic() - began < 120
    assert len(FeatureStore.open(tmp_path)) == 1


def test_a_child_that_cannot_be_started_is_an_error_of_ours(
    some: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(DataError, match="A worker cannot be started"):
        build_store(tmp_path / "store", some, CONFIG, workers=1)


def test_by_default_there_is_a_worker_a_core_and_never_more_than_files(
    some: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    start = workers.Pool.__init__

    def note(self: Any, work: Any, count: int) -> None:
        counts.append(count)
        start(self, work, 0)

    monkeypatch.setattr(workers.Pool, "__init__", note)
    monkeypatch.setattr(build, "cores", lambda: 4)
    for n, wanted in ((6, None), (2, None), (2, 8), (0, None)):
        build_store(tmp_path / f"{n} {wanted}", dict(list(some.items())[:n]), CONFIG, workers=wanted)
    assert counts == [4, 2, 2, 0]


# What is refused


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"excerpt_seconds": 0.0}, DataError, "excerpt_seconds=0.0: at least a sample"),
        ({"excerpt_seconds": -1.0}, DataError, "excerpt_seconds=-1.0"),
        ({"excerpt_seconds": float("nan")}, DataError, "excerpt_seconds=nan"),
        ({"excerpt_seconds": 1e-5}, DataError, "excerpt_seconds=1e-05"),
        ({"workers": -1}, DataError, "workers=-1: 0, for this process, is the least"),
        ({"dtype": "int8"}, ConfigError, "dtype is one of"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(
    options: dict[str, Any], error: type[Exception], message: str, some: Sources, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        build_store(tmp_path / "store", some, CONFIG, **options)
    assert not (tmp_path / "store").exists()
