"""Taggers from the Hugging Face Hub, with its real client and a server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import READS, WRITES, Hub

import lightmel
from lightmel import checkpoint, hub
from lightmel.errors import ConfigError, HubError, UnknownModelError, WeightsError
from lightmel.hub import catalogue, repositories
from lightmel.hub.repositories import Repository
from lightmel.inference import OnnxRuntime, TorchRuntime

# A warning of the client itself, about how it uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

WAVE = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
NAME = "somebody/tiny"


def scores(tagger: Any) -> dict[str, float]:
    found = tagger.tag(WAVE, 16_000)
    return dict(zip(found.tags, found.scores, strict=True))


@pytest.fixture
def release(tiny: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Return the files of the release of a tiny tagger, whose seed draws its weights."""

    def make(seed: int = 0, **changes: object) -> dict[str, bytes]:
        folder = tmp_path / f"release-{seed}"
        tiny(seed, **changes).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    return make


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client not wait before it tries again."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def weights(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 5_000]


def child(code: str, **env: str) -> subprocess.Popen[str]:
    """Start Python with `code`, in which `wave` is sound and `scores` scores it."""
    begin = (
        "import sys, json, numpy as np, lightmel\n"
        "wave = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)\n"
        "def scores(t):\n    f = t.tag(wave, 16_000)\n    return dict(zip(f.tags, f.scores))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", begin + code],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def finished(process: subprocess.Popen[str]) -> Any:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return json.loads(out)


# What is fetched, and from where it comes the second time.


def test_a_tagger_is_fetched_once_counted_and_signed_by_the_library(
    served: Hub, cache: Path, tiny: Callable[..., Any], release: Callable[..., Any]
) -> None:
    served.add(NAME, release())
    tagger = lightmel.Tagger.from_pretrained(NAME)
    assert scores(tagger) == scores(tiny())
    assert tagger.description == tiny().description
    # The Hub counts downloads by the requests for config.json, and by library.
    assert len(served.requests("GET", "config.json")) == 1
    agent = served.requests("HEAD", "/resolve/main/config.json")[0]["user-agent"]
    assert agent.startswith(f"lightmel/{lightmel.__version__};")
    assert len(served.requests("GET", "/blobs/")) == 1
    assert scores(lightmel.Tagger.from_pretrained(NAME)) == scores(tagger)
    assert len(served.requests("GET", "/blobs/")) == 1
    assert (cache / "hub" / "models--somebody--tiny").is_dir()


def test_load_and_the_command_line_take_the_same_names(
    served: Hub, tmp_path: Path, tiny: Callable[..., Any], release: Callable[..., Any]
) -> None:
    from typer.testing import CliRunner

    from lightmel.cli import app

    served.add("somebody/loaded", release())
    tagger = lightmel.load("somebody/loaded")
    assert lightmel.load("somebody/loaded") is tagger
    assert scores(tagger) == scores(tiny())
    song = tmp_path / "song.wav"
    import soundfile

    soundfile.write(song, WAVE, 16_000)
    done = CliRunner().invoke(app, ["tag", str(song), "--model", "somebody/loaded", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == "tiny-0"
    (row,) = hub.costs_of("somebody/loaded")
    assert row.cost.parameters == sum(p.numel() for p in tagger.network.parameters())


def test_revisions(served: Hub, tiny: Callable[..., Any], release: Callable[..., Any]) -> None:
    """A branch follows, a commit stays: both by ``@`` and by argument."""
    first = served.add(NAME, release(1))
    served.add(NAME, release(2))
    served.add(NAME, release(3), branch="next")
    get = lightmel.Tagger.from_pretrained
    assert scores(get(NAME)) == scores(tiny(2))
    assert scores(get(f"{NAME}@next")) == scores(get(NAME, revision="next")) == scores(tiny(3))
    assert scores(get(f"{NAME}@{first}")) == scores(tiny(1))
    served.asked.clear()
    assert scores(get(NAME, revision=first)) == scores(tiny(1))
    assert served.asked == [], "a commit in the cache needs no network"
    served.add(NAME, release(4))
    assert scores(get(NAME)) == scores(tiny(4))
    with pytest.raises(ConfigError, match="names a revision already"):
        get(f"{NAME}@next", revision="main")


def test_both_files_are_of_one_commit(
    served: Hub, tiny: Callable[..., Any], release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody publishes between the two requests: what is loaded is what was looked at."""
    served.add(NAME, release(1))
    newer = release(2)
    check = repositories._check_config

    def between(path: Path, found: Repository) -> None:
        served.add(NAME, newer)
        check(path, found)

    monkeypatch.setattr(repositories, "_check_config", between)
    assert scores(lightmel.Tagger.from_pretrained(NAME)) == scores(tiny(1))


def test_the_token_opens_a_private_repository_and_goes_nowhere_else(
    served: Hub, tiny: Callable[..., Any], release: Callable[..., Any]
) -> None:
    served.add(NAME, release(), private=True)
    with pytest.raises(HubError, match=r"\(401\).*private.*hf auth login"):
        lightmel.Tagger.from_pretrained(NAME)
    assert scores(lightmel.Tagger.from_pretrained(NAME, token=READS)) == scores(tiny())
    assert all("authorization" not in headers for headers in served.requests("GET", "/blobs/"))


def test_a_cache_of_ones_own(served: Hub, cache: Path, tmp_path: Path, release: Callable[..., Any]) -> None:
    served.add(NAME, release())
    lightmel.Tagger.from_pretrained(NAME, cache_dir=tmp_path / "own")
    assert (tmp_path / "own" / "models--somebody--tiny").is_dir()
    assert weights(cache) == []
    with pytest.raises(HubError, match="local_files_only"):
        lightmel.Tagger.from_pretrained(NAME, local_files_only=True)
    served.asked.clear()
    lightmel.Tagger.from_pretrained(NAME, cache_dir=tmp_path / "own", local_files_only=True)
    assert served.asked == []


def test_offline(served: Hub, tiny: Callable[..., Any], release: Callable[..., Any]) -> None:
    """In processes of their own: the client reads ``HF_HUB_OFFLINE`` when it is imported."""
    served.add(NAME, release())
    code = f"print(json.dumps(scores(lightmel.load('{NAME}'))))"
    refused = child(code, HF_HUB_OFFLINE="1")
    _, error = refused.communicate(timeout=120)
    assert refused.returncode == 1
    assert error.splitlines()[-1].startswith("lightmel.errors.HubError: somebody/tiny is not in ")
    assert "HF_HUB_OFFLINE is set" in error
    assert "huggingface_hub" not in error, "the client's own traceback says nothing"
    lightmel.Tagger.from_pretrained(NAME)
    served.asked.clear()
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert finished(child(code, **{variable: "1"})) == scores(tiny())
    assert served.asked == []


def test_without_a_network_the_cache_serves(
    served: Hub, tiny: Callable[..., Any], release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.add(NAME, release())
    lightmel.Tagger.from_pretrained(NAME)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert scores(lightmel.Tagger.from_pretrained(NAME)) == scores(tiny())


# Transfers that go wrong.


def test_an_interrupted_transfer_goes_on_where_it_stopped(
    served: Hub,
    tiny: Callable[..., Any],
    release: Callable[..., Any],
    at_once: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Newer clients go on by themselves; with older ones the same call does."""
    served.add(NAME, release())
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1_000)  # what is not lost on the way
    served.cut = [3_000]
    try:
        tagger = lightmel.Tagger.from_pretrained(NAME)
    except HubError:
        tagger = lightmel.Tagger.from_pretrained(NAME)
    assert scores(tagger) == scores(tiny())
    first, second = served.requests("GET", "/blobs/")
    assert "range" not in first
    assert second["range"] == "bytes=3000-"


def test_a_transfer_that_breaks_off_again_and_again_leaves_nothing_that_loads(
    served: Hub, cache: Path, release: Callable[..., Any], at_once: None
) -> None:
    served.add(NAME, release())
    served.cut = [0] * 50
    with pytest.raises(HubError, match=r"could not be fetched: the Hub cannot be reached, or broke off"):
        lightmel.Tagger.from_pretrained(NAME)
    assert list((cache / "hub").rglob("model.safetensors")) == []
    served.cut = []
    lightmel.Tagger.from_pretrained(NAME)


def test_an_error_of_xet_says_what_failed(
    served: Hub, tiny: Callable[..., Any], release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server here does not speak Xet; its transfers raise this, with no class of their own."""

    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("Task error: CAS Client Error: Reqwest Error\nmore of it")

    served.add(NAME, release())
    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    with pytest.raises(HubError, match=rf"^{NAME} could not be fetched: Task error: .* Error\. Try again\.$"):
        lightmel.load(NAME)
    monkeypatch.setattr("huggingface_hub.HfApi.create_commit", broken)
    with pytest.raises(HubError, match=r"^me/x could not be published: Task error: .* Error\. Try again\.$"):
        tiny().push_to_hub("me/x", token=WRITES)


def test_what_has_another_hash_than_announced_is_not_kept(
    served: Hub, cache: Path, tiny: Callable[..., Any], release: Callable[..., Any]
) -> None:
    served.add(NAME, release())
    served.wrong = True
    with pytest.raises(HubError, match=r"SHA-256 [0-9a-f]{16}\.\.\., not [0-9a-f]{16}.*: it was not kept"):
        lightmel.Tagger.from_pretrained(NAME)
    assert weights(cache) == []
    served.wrong = False
    assert scores(lightmel.Tagger.from_pretrained(NAME)) == scores(tiny())


def test_a_file_that_was_damaged_in_the_cache_is_refused_and_fetched_anew(
    served: Hub, cache: Path, tiny: Callable[..., Any], release: Callable[..., Any]
) -> None:
    served.add(NAME, release())
    lightmel.Tagger.from_pretrained(NAME)
    (kept,) = {path.resolve() for path in weights(cache)}
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    with pytest.raises(HubError, match="not kept"):
        lightmel.Tagger.from_pretrained(NAME)
    assert scores(lightmel.Tagger.from_pretrained(NAME)) == scores(tiny())


def test_without_links_only_what_is_pinned_is_compared(
    tiny: Callable[..., Any], tmp_path: Path, release: Callable[..., Any]
) -> None:
    """There the file itself lies where otherwise a link leads to the file that is called by its hash."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"other bytes")
    repositories._check_hash(file, Repository(NAME))
    with pytest.raises(HubError, match=r"not 0000000000000000\.\.\.: it was not kept"):
        repositories._check_hash(file, Repository(NAME, "main", "0" * 64))
    assert not file.exists()


def test_what_cannot_be_removed_is_refused_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    file = tmp_path / "model.safetensors"
    file.write_bytes(b"other bytes")
    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(HubError, match=r"not 0{16}\.\.\.: it is still in the cache, .*\(Permission denied\)"):
        repositories._check_hash(file, Repository(NAME, "main", "0" * 64))
    assert file.exists()


def pin(monkeypatch: pytest.MonkeyPatch, entry: Repository) -> None:
    for module in (catalogue, repositories):
        monkeypatch.setattr(module, "published", lambda: {"a-name": entry})


def test_a_published_name_pins_commit_and_hash(
    served: Hub,
    cache: Path,
    tiny: Callable[..., Any],
    release: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = release(1)
    commit = served.add(NAME, files)
    served.add(NAME, release(2))
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    pin(monkeypatch, Repository(NAME, commit, digest))
    get = lightmel.Tagger.from_pretrained
    assert scores(get("a-name")) == scores(tiny(1))
    served.asked.clear()
    assert scores(lightmel.load("a-name")) == scores(tiny(1))
    assert served.asked == [], "what is pinned and kept needs no network"
    assert scores(get("a-name@main")) == scores(get("a-name", revision="main")) == scores(tiny(2))
    pin(monkeypatch, Repository(NAME, commit, "0" * 64))
    with pytest.raises(HubError, match=r"not 0000000000000000\.\.\.: it was not kept"):
        get("a-name")
    assert all(path.name != digest for path in cache.rglob("*"))


def test_the_list_of_published_taggers_can_be_used() -> None:
    for name, entry in hub.published().items():
        assert name in hub.planned()
        assert len(str(entry.revision)) == 40
        assert len(entry.sha256) == 64


# Graphs, for those who have no torch.


@pytest.fixture(scope="session")
def graph(tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The graph of the tiny tagger."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    checkpoint.export(path, tiny().network, tiny().description)
    return path.read_bytes()


NO_TORCH = "sys.modules['torch'] = None\n"
SAID = "except lightmel.LightmelError as error: print(json.dumps([type(error).__name__, str(error)]))\n"


def blobs(served: Hub) -> int:
    return len(served.requests("GET", "/blobs/"))


def test_a_graph_is_fetched_where_it_is_asked_for_or_all_there_is(
    served: Hub, tiny: Callable[..., Any], release: Callable[..., Any], graph: bytes
) -> None:
    files = release()
    served.add(NAME, files | {"model.onnx": graph})
    get = lightmel.Tagger.from_pretrained
    for find in (get, lightmel.load):
        found = find(NAME, runtime="onnx")
        assert isinstance(found.runtime, OnnxRuntime)
        assert scores(found) == pytest.approx(scores(tiny()), abs=1e-5)
    assert blobs(served) == 1, "the weights are not fetched"
    assert isinstance(get(NAME).runtime, TorchRuntime)
    del files["model.safetensors"]
    served.add("somebody/graph", files | {"model.onnx": graph})
    for options in ({}, {"runtime": "onnx"}, {"local_files_only": True}):
        assert isinstance(get("somebody/graph", **options).runtime, OnnxRuntime)
    assert isinstance(lightmel.load("somebody/graph").runtime, OnnxRuntime)
    with pytest.raises(HubError, match=r"^somebody/graph has no model\.safetensors, which PyTorch runs"):
        get("somebody/graph", runtime="torch")
    with pytest.raises(ConfigError, match="is for the processor and float32"):
        get(NAME, runtime="onnx", precision="bfloat16")


def test_without_a_graph_it_is_not_made_of_something_else(served: Hub, release: Callable[..., Any]) -> None:
    name = "somebody/no-graph"
    served.add(name, release())
    for find in (lightmel.Tagger.from_pretrained, lightmel.load):
        with pytest.raises(HubError, match=r"has no model\.onnx, .* leave out runtime='onnx'"):
            find(name, runtime="onnx")
    assert blobs(served) == 0
    lightmel.Tagger.from_pretrained(name)
    with pytest.raises(HubError, match="local_files_only"):
        lightmel.Tagger.from_pretrained(name, runtime="onnx", local_files_only=True)


def test_without_torch_the_graph_is_fetched(
    served: Hub, tiny: Callable[..., Any], release: Callable[..., Any], graph: bytes, tmp_path: Path
) -> None:
    """In a folder that was copied by hand, too, and of a folder run, which looks at the file itself."""
    served.add(NAME, release() | {"model.onnx": graph})
    served.add("somebody/weights", release())
    folder = tmp_path / "release-0"
    code = (
        f"{NO_TORCH}found = [scores(lightmel.load({NAME!r}))]\n"
        f"found.append(scores(lightmel.Tagger.from_pretrained({NAME!r})))\n"
        f"found.append(scores(lightmel.load({str(folder)!r})))\n"
        "print(json.dumps(found))"
    )
    (folder / "model.onnx").write_bytes(graph)
    assert finished(child(code)) == [pytest.approx(scores(tiny()), abs=1e-5)] * 3
    assert blobs(served) == 1
    (folder / "model.safetensors").unlink()
    assert isinstance(lightmel.load(folder).runtime, OnnxRuntime)
    kind, text = finished(child(f"{NO_TORCH}try: lightmel.load('somebody/weights')\n{SAID}"))
    assert kind == "HubError"
    assert "has no model.onnx, which is what runs without PyTorch: pip install torch" in text
    assert blobs(served) == 1, "weights that nothing here runs are not fetched"


def test_a_graph_of_another_hash_is_not_kept(
    served: Hub, release: Callable[..., Any], graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = release() | {"model.onnx": graph}
    commit = served.add(NAME, files)
    served.wrong = True
    with pytest.raises(HubError, match="it was not kept"):
        lightmel.Tagger.from_pretrained(NAME, runtime="onnx")
    served.wrong = False
    weights, own = (hashlib.sha256(files[n]).hexdigest() for n in ("model.safetensors", "model.onnx"))
    pin(monkeypatch, Repository(NAME, commit, weights, own))
    lightmel.Tagger.from_pretrained("a-name", runtime="onnx")
    pin(monkeypatch, Repository(NAME, commit, weights, "0" * 64))
    with pytest.raises(HubError, match=r"not 0000000000000000\.\.\.: it was not kept"):
        lightmel.Tagger.from_pretrained("a-name", runtime="onnx")
    lightmel.Tagger.from_pretrained("a-name")


# Each refusal has an error of its own.


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (401, r"asks who it is \(401\).*hf auth login.*HF_TOKEN"),
        (403, r"forbids it \(403\).*gated.*Ask its owner"),
        (404, r"no such repository \(404\)"),
        (429, r"asked too often \(429\)\. Wait a few minutes"),
        (503, r"out of order \(503\)\. Try again later"),
        (500, r"out of order \(500\)\. Try again later"),
    ],
)
@pytest.mark.parametrize("what", ["resolve", "blob"])
def test_a_refusal_says_what_it_means_and_keeps_nothing(
    status: int, means: str, what: str, served: Hub, cache: Path, release: Callable[..., Any], at_once: None
) -> None:
    served.add(NAME, release())
    served.status[what] = status
    if what == "blob" and status in (403, 404):
        means = rf"\({status}\)"
    with pytest.raises(HubError, match=f"^{NAME} could not be fetched: .*{means}") as refused:
        lightmel.Tagger.from_pretrained(NAME)
    assert refused.value.__suppress_context__, "the client's own traceback says nothing"
    assert isinstance(refused.value, WeightsError)
    assert weights(cache) == []
    served.status.clear()
    lightmel.Tagger.from_pretrained(NAME)


def test_what_is_not_there(served: Hub, release: Callable[..., Any]) -> None:
    get = lightmel.Tagger.from_pretrained
    here = "private, and there is no file or folder of that name here"
    with pytest.raises(HubError, match=rf"\(401\): there is no such repository, or it is {here}"):
        get("somebody/nothing")
    with pytest.raises(HubError, match=rf"no such repository \(404\), or it is {here}"):
        get("somebody/nothing", token=READS)
    served.add(NAME, release())
    with pytest.raises(HubError, match=r"^somebody/tiny@v9 could not .* no such revision \(404\)"):
        get(NAME, revision="v9")
    served.add("somebody/text", {"README.md": b"words"})
    with pytest.raises(
        HubError, match=r"lacks a file of a tagger \(404\): is it one that lightmel published"
    ):
        get("somebody/text")
    served.add("somebody/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"0" * 9_000})
    with pytest.raises(HubError, match=r"holds no tagger of lightmel: its config\.json does not name"):
        get("somebody/bert")
    assert served.requests("GET", "/blobs/") == [], "what is no tagger is not fetched"
    served.add("somebody/broken", release() | {"model.safetensors": b"0" * 9_000})
    with pytest.raises(WeightsError, match="no readable safetensors file"):
        get("somebody/broken")


def test_no_network(cache: Path, at_once: None) -> None:
    means = r"^somebody/tiny could not .* cannot be reached.*no file or folder of that name here\. Try again"
    with pytest.raises(HubError, match=means):
        lightmel.Tagger.from_pretrained(NAME)


@pytest.mark.parametrize("name", ["some--body/tiny", "somebody/tiny.git", f"somebody/{'x' * 120}"])
def test_a_name_that_no_repository_can_have(name: str, cache: Path) -> None:
    with pytest.raises(ConfigError, match="No repository of the Hugging Face Hub is called"):
        lightmel.Tagger.from_pretrained(name)


@pytest.mark.parametrize(
    "name", ["no-such-tagger", "folder/x.safetensors", "folder/x.pth", "a/b/c", "/a/b", "./a"]
)
def test_names_of_files_and_plain_names_ask_nobody(name: str, served: Hub) -> None:
    for find in (lightmel.load, lightmel.Tagger.from_pretrained):
        with pytest.raises(UnknownModelError, match="There is no tagger"):
            find(name)
    assert served.asked == []


def test_a_device_that_there_is_not_is_refused_before_anything_is_fetched(
    served: Hub, release: Callable[..., Any]
) -> None:
    served.add(NAME, release())
    for wrong in ({"device": "tpu"}, {"precision": "int8"}):
        for find in (lightmel.load, lightmel.Tagger.from_pretrained):
            with pytest.raises(ConfigError):
                find(NAME, **wrong)
    assert served.asked == []


def test_a_cache_that_cannot_be_made(served: Hub, release: Callable[..., Any], tmp_path: Path) -> None:
    served.add(NAME, release())
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(HubError, match=r"cannot be kept in .*file.* cannot be written to.*LIGHTMEL_CACHE"):
        lightmel.Tagger.from_pretrained(NAME, cache_dir=tmp_path / "file" / "cache")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users as POSIX has them")
def test_a_cache_that_is_read_only(served: Hub, release: Callable[..., Any], tmp_path: Path) -> None:
    """What is in it loads; what is not is refused. The superuser writes anywhere, and becomes another."""
    served.add(NAME, release(1))
    served.add("somebody/other", release(2))
    code = (
        "import os, tempfile\n"
        "from pathlib import Path\n"
        "get = lightmel.Tagger.from_pretrained\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        f"    held = scores(get({NAME!r}, cache_dir=folder))\n"
        "    for path in [*Path(folder).rglob('*'), Path(folder)]:\n"
        "        if not path.is_symlink(): path.chmod(0o555 if path.is_dir() else 0o444)\n"
        "    if superuser := os.geteuid() == 0: os.seteuid(65534)\n"
        f"    again = scores(get({NAME!r}, cache_dir=folder))\n"
        "    try: get('somebody/other', cache_dir=folder)\n"
        "    except lightmel.LightmelError as error: said = [type(error).__name__, str(error)]\n"
        "    if superuser: os.seteuid(0)\n"
        "    for path in [Path(folder), *Path(folder).rglob('*')]:\n"
        "        if not path.is_symlink(): path.chmod(0o755)\n"
        "print(json.dumps([held == again, *said]))\n"
    )
    # Where a token might be is closed to that other user.
    same, kind, text = finished(child(code, HF_TOKEN_PATH=os.devnull))
    assert same
    assert kind == "HubError"
    assert "cannot be written to" in text


FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
"""From then on no file becomes longer, as on a disk that is full."""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits as POSIX has them")
def test_a_disk_that_is_full(
    served: Hub, cache: Path, tiny: Callable[..., Any], release: Callable[..., Any]
) -> None:
    served.add(NAME, release())
    code = (
        f"{FULL}try: lightmel.Tagger.from_pretrained({NAME!r})\n"
        "except lightmel.LightmelError as error: print(json.dumps([type(error).__name__, str(error)]))\n"
    )
    kind, text = finished(child(code))
    assert kind == "HubError"
    assert "the disk is full. Make room, or set LIGHTMEL_CACHE" in text
    assert list((cache / "hub").rglob("model.safetensors")) == []
    assert scores(lightmel.Tagger.from_pretrained(NAME)) == scores(tiny())


def test_two_processes_at_once(
    served: Hub, cache: Path, tiny: Callable[..., Any], release: Callable[..., Any]
) -> None:
    served.add(NAME, release())
    code = f"print(json.dumps(scores(lightmel.load({NAME!r}))))"
    both = [child(code) for _ in range(2)]
    assert [finished(process) for process in both] == [scores(tiny())] * 2
    assert len({path.resolve() for path in weights(cache)}) == 1
    assert list(cache.rglob("*.incomplete")) == []


# Publishing.


def test_pushed_and_pulled_it_gives_the_same_scores(served: Hub, tiny: Callable[..., Any]) -> None:
    tagger = tiny()
    address = tagger.push_to_hub("me/new", token=WRITES, private=True, commit_message="The first")
    assert address == f"{served.endpoint}/me/new"
    repo = served.repos["me/new"]
    assert repo.private
    assert len(repo.commits) == 2, "one for the repository, one for all three files"
    assert set(repo.commits[repo.refs["main"]]) == {
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert b'from_pretrained("me/new")' in repo.commits[repo.refs["main"]]["README.md"]
    again = lightmel.Tagger.from_pretrained("me/new", token=WRITES)
    assert scores(again) == scores(tagger)
    assert again.description == tagger.description
    tiny(1).push_to_hub("me/new", token=WRITES, revision="next")
    assert scores(lightmel.Tagger.from_pretrained("me/new", token=WRITES)) == scores(tagger)
    assert scores(lightmel.Tagger.from_pretrained("me/new@next", token=WRITES)) == scores(tiny(1))


def test_a_push_that_may_not_be(
    served: Hub, tiny: Callable[..., Any], release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.add(NAME, release(1))
    before = dict(served.repos[NAME].commits)
    with pytest.raises(HubError, match=r"without a token\. Log in with `hf auth login`, set HF_TOKEN"):
        tiny().push_to_hub(NAME)
    assert served.asked == []
    with pytest.raises(HubError, match=r"could not be published: .*\(403\).* may not be written to"):
        tiny().push_to_hub(NAME, token=READS)
    with pytest.raises(HubError, match=r"could not be published: .*\(401\)"):
        tiny().push_to_hub(NAME, token="hf_wrong")
    with pytest.raises(ConfigError, match="No repository of the Hugging Face Hub is called"):
        tiny().push_to_hub("not--a/name", token=WRITES)
    with pytest.raises(HubError, match="states no license"):
        tiny(license="not stated").push_to_hub(NAME, token=WRITES)
    with pytest.raises(HubError, match="is other people's"):
        tiny(name="public:won2020-mtat-fcn").push_to_hub(NAME, token=WRITES)
    for variable in ("TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(variable, "1")
        with pytest.raises(HubError, match=f"cannot be published offline: unset {variable}"):
            tiny().push_to_hub(NAME, token=WRITES)
    assert served.repos[NAME].commits == before


def test_a_repository_of_something_else_is_left_as_it_is(served: Hub, tiny: Callable[..., Any]) -> None:
    others = {
        "me/words": {"README.md": b"years of work"},
        "me/bert": {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"0"},
        "me/odd": {"config.json": b"[]"},
    }
    for name, files in others.items():
        served.add(name, files)
        for revision in (None, "next"):
            with pytest.raises(HubError, match=rf"^{name} holds other things than a tagger of lightmel"):
                tiny().push_to_hub(name, token=WRITES, revision=revision)
        assert list(served.repos[name].commits.values()) == [files]
        assert list(served.repos[name].refs) == ["main"]


def test_the_licenses_of_an_earlier_tagger_go_with_it(served: Hub, tiny: Callable[..., Any]) -> None:
    tiny(provenance={"teachers": ["public:pons2019-msd-vgg 1"]}).push_to_hub("me/new", token=WRITES)
    repo = served.repos["me/new"]
    assert "NOTICE" in repo.commits[repo.refs["main"]]
    tiny(1).push_to_hub("me/new", token=WRITES, revision="next")
    assert "NOTICE" not in repo.commits[repo.refs["next"]]
    assert "NOTICE" in repo.commits[repo.refs["main"]]
    tiny(1).push_to_hub("me/new", token=WRITES)
    assert set(repo.commits[repo.refs["main"]]) == {
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
    }


@pytest.mark.parametrize("what", ["upload", "commit"])
@pytest.mark.parametrize("status", [403, 500])
def test_a_push_that_fails_half_way_changes_nothing(
    what: str,
    status: int,
    served: Hub,
    tiny: Callable[..., Any],
    release: Callable[..., Any],
    at_once: None,
) -> None:
    served.add(NAME, release(1))
    before = dict(served.repos[NAME].commits)
    served.status[what] = status
    with pytest.raises(HubError, match=rf"could not be published: .*\({status}\)"):
        tiny().push_to_hub(NAME, token=WRITES)
    assert served.repos[NAME].commits == before


def test_a_push_without_a_network(tiny: Callable[..., Any], at_once: None) -> None:
    with pytest.raises(HubError, match="could not be published: the Hub cannot be reached"):
        tiny().push_to_hub(NAME, token=WRITES)
