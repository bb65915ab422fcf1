"""The four taggers of Pons and Serra: golden logits, both containers, the byte table, and bad files."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lightmel
from lightmel import hub, vocabularies
from lightmel.errors import WeightsError
from lightmel.hub import pons2019
from lightmel.models import counted_cost, network_cost

TOLERANCE = 5e-5
NAMES = {
    "MTT_musicnn": "public:pons2019-mtat-musicnn",
    "MTT_vgg": "public:pons2019-mtat-vgg",
    "MSD_musicnn": "public:pons2019-msd-musicnn",
    "MSD_vgg": "public:pons2019-msd-vgg",
}
CLIPS = ("song.flac", "strings.flac")
WHEEL = "musicnn-0.1.0-py3-none-any.whl"

Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "teachers" / "pons"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four files as their authors' Python package has them, fetched once and kept in the cache."""
    kept = hub.cache_folder() / "tests"
    if not (kept / WHEEL).is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(
            [*command, "--dest", str(kept), "musicnn==0.1.0"],
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            env={**os.environ, "PIP_RETRIES": "0", "PIP_TIMEOUT": "20"},
            check=False,
        )
        if done.returncode:
            pytest.skip(f"needs musicnn 0.1.0, which pip could not fetch: {done.stderr.strip()[-200:]}")
    out = tmp_path_factory.mktemp("musicnn")
    with zipfile.ZipFile(kept / WHEEL) as wheel:
        return {name: Path(wheel.extract(pons2019_path(name), out)) for name in NAMES}


def pons2019_path(name: str) -> str:
    return hub.CHECKPOINTS[NAMES[name]].path


def arrays_of(folder: Path, name: str) -> Arrays:
    with np.load(folder / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def made_up(name: str, fill: float = 0.5) -> dict[str, Any]:
    """Arrays of the right names and shapes, which need no shared folder."""
    return {
        key: np.full(shape, fill, dtype="<f4") for key, (_, shape) in pons2019.files()[name].offsets.items()
    }


def test_there_are_four_each_pinned() -> None:
    assert set(pons2019.CHECKPOINTS) == set(NAMES.values()) < set(hub.CHECKPOINTS)
    for theirs, name in NAMES.items():
        record = hub.CHECKPOINTS[name]
        assert record.license == "ISC"
        assert record.path == f"musicnn/{theirs}/.data-00000-of-00001"
        assert record.url == f"https://raw.githubusercontent.com/jordipons/musicnn/{'516acb2a0ff5'}" + (
            f"ef73f64547898e018e793152c506/{record.path}"
        )
        assert record.description.config.shape(record.segment_samples) == (96, 187)
        assert record.description.tags == vocabularies.read("mtat" if "MTT" in theirs else "msd")


@pytest.mark.parametrize("theirs", NAMES)
def test_the_table_fills_its_file(theirs: str) -> None:
    """No variable overlaps another, and between them lies their optimizer's alone.

    Adam keeps two numbers beside each that is learned, and two powers in all.
    """
    file = pons2019.files()[theirs]
    places = sorted((at, file.sizes[name]) for name, (at, _) in file.offsets.items())
    ends = [at for at, _ in places[1:]] + [file.size]
    between = [(end - at - size, size) for (at, size), end in zip(places, ends, strict=True)]
    assert [more for more, size in between if more not in (0, 2 * size)] == [8]
    assert places[0][0] == 0


@pytest.mark.parametrize("theirs", NAMES)
def test_the_table_is_that_of_the_published_files(theirs: str, published: dict[str, Path]) -> None:
    data, file = published[theirs].read_bytes(), pons2019.files()[theirs]
    assert len(data) == file.size
    assert hashlib.sha256(data).hexdigest() == file.sha256
    assert hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == file.git_blob
    assert pons2019.variables_digest(file.slice(data)) == file.variables_sha256


@pytest.mark.parametrize("theirs", NAMES)
def test_the_published_file_holds_what_the_npz_does(
    theirs: str, published: dict[str, Path], folder: Path
) -> None:
    found = pons2019.files()[theirs].slice(published[theirs].read_bytes())
    wanted = arrays_of(folder, theirs)
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name] == array.astype("<f4").tobytes(), name
    first, second = (lightmel.load(path) for path in (published[theirs], folder / f"{theirs}.npz"))
    assert first.name == second.name == NAMES[theirs]
    assert first.runtime.weights == second.runtime.weights


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("theirs", NAMES)
def test_golden_logits(theirs: str, clip: str, folder: Path) -> None:
    """As TensorFlow gives them, of the network as it is and as it is rearranged for a processor."""
    golden = np.load(folder / "golden.npz")
    network = lightmel.load(folder / f"{theirs}.npz").network
    mels = torch.from_numpy(golden[f"{clip}/mel"]).transpose(1, 2)
    fast, in_bfloat16 = (network.rearranged(dtype) for dtype in (torch.float32, torch.bfloat16))
    assert fast is not None
    assert in_bfloat16 is not None
    with torch.inference_mode():
        for features, tolerance in (
            (network.features, TOLERANCE),
            (fast, TOLERANCE),
            (in_bfloat16, 0.1),  # measured: .05
        ):
            logits = network.head(features(mels)).numpy()
            assert np.abs(logits - golden[f"{clip}/{theirs}"]).max() <= tolerance


@pytest.mark.parametrize("clip", CLIPS)
def test_the_front_end_is_theirs(clip: str, shared: Path, folder: Path) -> None:
    """Their first segment is the first 187 frames of the whole clip."""
    from lightmel import audio
    from lightmel.frontends import build_frontend

    wave = audio.load(shared / "teachers" / "golden" / clip, sr=16_000)
    mels = build_frontend(pons2019.PONS2019)(torch.from_numpy(np.asarray(wave))[None])[0]
    golden = np.load(folder / "golden.npz")[f"{clip}/mel"]
    assert np.abs(mels[:, :187].T.numpy() - golden[0]).max() < 1e-3


@pytest.mark.parametrize("theirs", NAMES)
def test_its_cost_is_what_a_pass_counts(theirs: str) -> None:
    spec = hub.CHECKPOINTS[NAMES[theirs]].network
    with torch.device("meta"):
        network = lightmel.models.build(spec)
    assert network_cost(spec) == counted_cost(network)
    assert network.embed_dim == (200 if "musicnn" in theirs else 256)


@pytest.mark.parametrize("theirs", ["MTT_musicnn", "MSD_vgg"])
def test_every_variable_is_used_once(theirs: str, folder: Path, tmp_path: Path) -> None:
    """A change of any one variable changes the network, and nothing is left at its first draw."""
    file, record = pons2019.files()[theirs], hub.CHECKPOINTS[NAMES[theirs]]
    arrays = arrays_of(folder, theirs)
    path = folder / f"{theirs}.npz"
    usual = pons2019.FAMILY.read(path.read_bytes(), path, record)
    assert all(torch.isfinite(value).all() for value in usual.values())
    for name in file.offsets:
        changed = tmp_path / "changed.npz"
        np.savez(changed, **{**arrays, name: arrays[name] + 1})
        other = pons2019.FAMILY.read(changed.read_bytes(), changed, record)
        assert any(not torch.equal(value, other[key]) for key, value in usual.items()), name


def test_a_repacked_npz_is_still_known(folder: Path, tmp_path: Path) -> None:
    """Compressed or not, and in another order: it is known by its numbers."""
    arrays = arrays_of(folder, "MTT_vgg")
    path = tmp_path / "any name.npz"
    np.savez_compressed(path, **dict(reversed(arrays.items())))
    assert hub.identify(path).name == NAMES["MTT_vgg"]
    assert hub.costs_of(path) == hub.costs_of(NAMES["MTT_vgg"])


def test_load_goes_through_the_cache(cache: Path, network: Any, published: dict[str, Path]) -> None:
    fake = network(published["MSD_vgg"].read_bytes())
    tagger = lightmel.load(NAMES["MSD_vgg"])
    assert tagger is lightmel.load(NAMES["MSD_vgg"])
    assert fake.asked == [hub.CHECKPOINTS[NAMES["MSD_vgg"]].url]
    (kept,) = [p for p in cache.rglob("*") if p.is_file()]
    assert kept.name == f"pons2019-msd-vgg-{pons2019.files()['MSD_vgg'].sha256[:12]}.data-00000-of-00001"
    assert lightmel.load(kept).name == tagger.name


class Trap:
    """What a pickle would run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def refused(path: Path, message: str) -> None:
    """Every way to a file ends in the same error, of one line that names the file."""
    for way in (lightmel.load, hub.identify, hub.costs_of):
        with pytest.raises(WeightsError, match=message) as caught:
            way(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


DATA: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-4],
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"\0" * 4,
    "another number": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "words": lambda data: b"words",
}


@pytest.mark.parametrize("case", DATA)
def test_another_data_file_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / ".data-00000-of-00001"
    path.write_bytes(DATA[case](b"\x3f" * pons2019.files()["MTT_vgg"].size))
    refused(path, r"none of the published checkpoints.*[\d,]+ bytes, SHA-256.*another version, or damaged")
    with pytest.raises(WeightsError, match="is not the published file of public:pons2019-mtat-vgg"):
        hub.read_checkpoint(path, hub.CHECKPOINTS[NAMES["MTT_vgg"]])


def test_a_truncated_file_is_told_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.data-00000-of-00001"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match=r"\(100 bytes for 7,274,112\).*Fetch musicnn/MTT_vgg"):
        hub.read_checkpoint(path, hub.CHECKPOINTS[NAMES["MTT_vgg"]])


def test_a_pickle_in_place_of_a_data_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.data-00000-of-00001"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
    refused(path, "none of the published checkpoints")
    assert not (tmp_path / "executed").exists()


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    for name in ("x.data-00000-of-00001", "x.npz"):
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(10_000_000_000)  # sparse: it takes no space
        refused(path, r"more than [\d,]+ bytes")


NPZ: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "other numbers": (lambda a: None, "other numbers than any published one"),
    "missing": (lambda a: a.pop("dense/bias"), "lacks dense/bias$|lacks dense/bias\\."),
    "superfluous": (lambda a: a.update(extra=np.zeros(3, "f4")), "has extra"),
    "renamed": (lambda a: a.update({"dens/bias": a.pop("dense/bias")}), "lacks dense/bias, has dens/bias"),
    "misshapen": (lambda a: a.update({"dense/bias": a["dense/bias"][:49]}), "dense/bias is no array of"),
    "doubles": (lambda a: a.update({"dense/bias": a["dense/bias"].astype(float)}), "no array of float32"),
    "big-endian": (lambda a: a.update({"dense/bias": a["dense/bias"].astype(">f4")}), "no array of float32"),
    "transposed": (
        lambda a: a.update({"dense/kernel": np.asfortranarray(a["dense/kernel"])}),
        "no array of float32",
    ),
    "not finite": (lambda a: a["dense/bias"].fill(np.nan), "other numbers than any published one"),
    "empty": (lambda a: a.clear(), "is none of a checkpoint of musicnn"),
}


@pytest.mark.parametrize("case", NPZ)
def test_an_npz_that_does_not_fit_is_refused_by_what_differs(case: str, tmp_path: Path) -> None:
    change, message = NPZ[case]
    arrays = made_up("MTT_vgg")
    change(arrays)
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    refused(path, message)


def test_objects_in_an_npz_are_not_unpickled(tmp_path: Path) -> None:
    arrays = made_up("MTT_vgg")
    arrays["dense/bias"] = np.array([Trap(tmp_path / "executed")] * 50, dtype=object)
    np.savez(tmp_path / "x.npz", **arrays)
    refused(tmp_path / "x.npz", "dense/bias is no array of float32.*nothing in it was run")
    assert not (tmp_path / "executed").exists()


def pack(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


HEADERS = {
    "no header": b"",
    "cut off": b"\x93NUMPY\x01\x00",
    "a header longer than the file": b"\x93NUMPY\x01\x00\xff\xff{",
    "a header that is no Python": b"\x93NUMPY\x01\x00\x08\x00{{{{{{{{",
    "a header that would be run": b"\x93NUMPY\x01\x00\x2a\x00"
    + b"__import__('os').system('touch executed') ".ljust(42),
    "brackets without end": b"\x93NUMPY\x01\x00\xe8\x03" + b"(" * 1000,
    "an enormous shape": b"\x93NUMPY\x01\x00\x50\x00"
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(80),
}


@pytest.mark.parametrize("case", HEADERS)
def test_an_array_with_a_bad_header_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    members = {f"{name}.npy": npy(array) for name, array in made_up("MTT_vgg").items()}
    pack(tmp_path / "x.npz", members | {"dense/bias.npy": HEADERS[case]})
    refused(tmp_path / "x.npz", "dense/bias is no array of float32|is no readable .npz file")
    assert not (tmp_path / "executed").exists()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A thousandth of its size on disk; no more of it is unpacked than the variable has."""
    members = {f"{name}.npy": npy(array) for name, array in made_up("MTT_vgg").items()}
    pack(tmp_path / "x.npz", members | {"1CNN/bias.npy": npy(np.zeros(100_000_000, "<f4"))})
    assert (tmp_path / "x.npz").stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        refused(tmp_path / "x.npz", "1CNN/bias is no array of float32 of the shape")
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    members = {f"{name}.npy": npy(array) for name, array in made_up("MTT_vgg").items()}
    pack(path, members)
    whole = path.read_bytes()
    for data in (whole[:-100], whole[:1000], b"words", b"", b"PK\x05\x06" + b"\0" * 18):
        path.write_bytes(data)
        refused(path, r"is no readable \.npz file|is none of a checkpoint")
    middle = bytearray(whole)
    middle[5000:9000] = os.urandom(4000)
    path.write_bytes(bytes(middle))
    refused(path, r"is no readable \.npz file|no array of float32")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in [*members.items(), ("dense/bias.npy", b"again")]:
            archive.writestr(name, data)
    refused(path, r"has dense/bias")


def test_a_sibling_is_not_taken_for_another(folder: Path) -> None:
    with pytest.raises(WeightsError, match="is not the published file of public:pons2019-mtat-vgg"):
        hub.read_checkpoint(folder / "MSD_vgg.npz", hub.CHECKPOINTS[NAMES["MTT_vgg"]])


def test_reading_does_not_touch_the_global_random_state(folder: Path) -> None:
    before = torch.get_rng_state()
    hub.read_checkpoint(folder / "MTT_vgg.npz", hub.CHECKPOINTS[NAMES["MTT_vgg"]])
    assert torch.equal(torch.get_rng_state(), before)
