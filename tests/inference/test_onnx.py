"""ONNX: graphs give what torch gives, with and without weights of their own, and tagging takes no torch."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import lightmel
from lightmel import checkpoint, hub
from lightmel.checkpoint import Description, weights_sha256
from lightmel.errors import ConfigError, LightmelError, MissingExtraError, WeightsError
from lightmel.frontends import PAPER_CONFIGS, MelConfig, build_frontend, config_from_slug
from lightmel.inference import Exported, OnnxRuntime, Tagger, TorchRuntime, export
from lightmel.models import build, build_named, names
from lightmel.workers import ONE_THREAD

Sound = Callable[..., np.ndarray]
SAMPLE = Path(lightmel.__file__).parent / "sample" / "sample.ogg"


def tagger_of(name: str, seconds: float = 1.0, n_tags: int = 4) -> Tagger:
    """A tagger of a named network with weights of a seed, its normalisations' too."""
    generator = torch.Generator().manual_seed(0)
    network, config = build_named(name, seconds, n_tags, generator=generator)
    return with_means(network, config, config.n_samples(seconds), generator)


def with_means(network: Any, config: Any, samples: int, generator: torch.Generator) -> Tagger:
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.normal_(generator=generator)
                layer.running_var.uniform_(0.5, 20, generator=generator)
                if layer.affine:
                    layer.weight.normal_(generator=generator)  # of either sign
                    layer.bias.normal_(generator=generator)
    tags = tuple(f"tag {i}" for i in range(network.n_tags))
    return Tagger(network, Description("test", "1", "CC0-1.0", config, tags, samples))


GRID = [
    ("vgg-small-16k-mel48-x10-db", 3.0),
    ("musicnn-small-16k-mel48-x2-db", 1.0),
    ("musicnn-pons-small-16k-mel96-x1-db-htk-peak-reflect", 1.0),
    ("mobilenet-16k-mel24-x10-db", 1.0),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The graphs of the first of them: each takes seconds to write."""
    return export(tagger_of(*GRID[0]), tmp_path_factory.mktemp("graphs") / "x")


@pytest.mark.parametrize(("name", "seconds"), GRID)
def test_a_graph_gives_the_scores_of_torch(name: str, seconds: float, tmp_path: Path) -> None:
    tagger = tagger_of(name, seconds)
    made = export(tagger, tmp_path / "x.onnx")
    assert made.difference < 1e-5
    rng = np.random.default_rng(1)
    waves = rng.normal(scale=0.1, size=(3, tagger.segment_samples)).astype(np.float32)
    expected = tagger.runtime.run(waves)
    for path in (made.features, made.wave):
        onnx.checker.check_model(str(path), full_check=True)
        found = lightmel.load(path)
        assert isinstance(found.runtime, OnnxRuntime)
        assert found.description == tagger.description
        assert found.runtime.weights == weights_sha256(tagger.network)
        for rows in (slice(0, 1), slice(0, 3)):  # of any batch size
            own = found.runtime.run(waves[rows])
            assert np.abs(own.scores - expected.scores[rows]).max() < 1e-5
            scale = np.abs(expected.embedding).max()
            assert np.abs(own.embedding - expected.embedding[rows]).max() < 1e-4 * scale


# The networks of names over the paper's 88 inputs, narrow ones: which operators there are, and what shapes
# they have, depends on the architecture and on bands and frames alone.

NARROW: dict[str, dict[str, Any]] = {
    "vgg": {"widths": (4, 4, 6, 6)},
    "musicnn": {
        "width": 4,
        "dense": 6,
        "timbre": [(0.9, 7, 3), (0.4, 1, 3)],
        "temporal": [(5, 2), (9, 2)],
        "dropout": 0.0,
    },
    "mobilenet": {"width": 0.05, "dropout": 0.0},
}
NARROW_SECONDS = 2.0
SHAPES: dict[tuple[int, int, str], list[MelConfig]] = {}
"""The configurations that one network may see: its statistics are of one scale."""
for own in PAPER_CONFIGS:
    SHAPES.setdefault((*own.input_shape(NARROW_SECONDS), own.log), []).append(own)
EVERY = 1 if "LIGHTMEL_LONG" in os.environ else 40
"""An export takes seconds: without that, two shapes of each network, others for each."""
CASES = [
    (architecture, shape)
    for i, architecture in enumerate(NARROW)
    for shape in list(SHAPES)[(4 * i + 2) % EVERY :: EVERY]
]


def test_the_grid_is_all_of_the_grid() -> None:
    assert sum(map(len, SHAPES.values())) == len(PAPER_CONFIGS) == 88
    assert set(NARROW) == set(names()) - {"fcn"}, "which has one input: see the public architectures"


@pytest.mark.parametrize(("architecture", "shape"), CASES)
def test_over_the_grid_a_graph_gives_the_scores_of_torch(
    architecture: str, shape: tuple[int, int, str], tmp_path: Path
) -> None:
    """Whole ways, each front end with its own runtime: NumPy and ONNX Runtime, torch and torch."""
    generator = torch.Generator().manual_seed(0)
    spec = {"architecture": architecture, "input_shape": shape[:2], "n_tags": 4, **NARROW[architecture]}
    network = build(spec, generator=generator)
    first, *_ = SHAPES[shape]
    rng = np.random.default_rng(1)
    waves = rng.normal(scale=0.1, size=(4, first.n_samples(NARROW_SECONDS))).astype(np.float32)
    waves[1::2] *= np.sin(np.arange(waves.shape[1]) / [[20], [3]]).astype(np.float32)
    for layer in network.modules():
        if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            layer.momentum = None  # the mean of what it sees
    with torch.no_grad():
        network.train()(build_frontend(first)(torch.from_numpy(waves)))
    tags = ("a", "b", "c", "d")
    tagger = Tagger(network, Description("test", "1", "CC0-1.0", first, tags, waves.shape[1]))
    checkpoint.export(tmp_path / "x.onnx", tagger.network, tagger.description)
    graph = checkpoint.read_graph(tmp_path / "x.onnx")
    scores = tagger.runtime.run(waves).scores
    assert np.ptp(scores, axis=0).max() > 1e-3, "one sound is told from another"
    for config in SHAPES[shape]:
        samples = config.n_samples(NARROW_SECONDS)
        description = replace(tagger.description, config=config, segment_samples=samples)
        own, other = (
            OnnxRuntime(graph._replace(description=description)),
            Tagger(tagger.network, description).runtime,
        )
        waves = rng.normal(scale=0.1, size=(2, samples)).astype(np.float32)
        difference = own.run(waves).scores - other.run(waves).scores
        assert np.abs(difference).max() < 1e-5, config.slug


@pytest.mark.parametrize(("name", "seconds"), GRID[::2])
def test_a_graph_without_weights_takes_those_of_the_file(name: str, seconds: float, tmp_path: Path) -> None:
    tagger = tagger_of(name, seconds)
    file, graph = tmp_path / "x.safetensors", tmp_path / "x.onnx"
    tagger.save(file)
    checkpoint.export(graph, tagger.network, tagger.description, weights=False)
    assert graph.stat().st_size < 0.3 * file.stat().st_size
    found = OnnxRuntime(checkpoint.read_graph(graph, checkpoint.read_tensors(file)))
    assert found.weights == weights_sha256(tagger.network)
    wave = np.random.default_rng(0).normal(size=(1, tagger.segment_samples)).astype(np.float32)
    assert np.abs(found.run(wave).scores - tagger.runtime.run(wave).scores).max() < 1e-5
    with pytest.raises(WeightsError, match="a graph without weights, which belongs to"):
        lightmel.load(graph)
    other = checkpoint.read_tensors(file)
    other["head.bias"] = other["head.bias"] + 1
    with pytest.raises(WeightsError, match="is the graph of other weights"):
        checkpoint.read_graph(graph, other)


def test_public_architectures_export(tmp_path: Path) -> None:
    """Those that no name of ours builds: the FCN of Won et al., the networks of Pons and Serra."""
    seen = set()
    for record in hub.CHECKPOINTS.values():
        if record.architecture in seen or record.architecture == "mobilenet":
            continue
        seen.add(record.architecture)
        generator = torch.Generator().manual_seed(0)
        network = build(record.network, generator=generator)
        d = record.description
        tagger = with_means(network, d.config, d.segment_samples, generator)
        graph = tmp_path / "x.onnx"
        checkpoint.export(graph, tagger.network, tagger.description)
        golden = checkpoint.golden(tagger.network, tagger.description)
        own = OnnxRuntime(checkpoint.read_graph(graph)).of_input(golden["features"])
        assert np.abs(own.scores - golden["scores"]).max() < 1e-5, record.architecture
    assert {"fcn", "musicnn", "vgg"} <= seen


def test_a_kaldi_front_end_is_a_matrix_product_too() -> None:
    from lightmel.frontends import MatrixFrontend, build_frontend

    for slug in ("32k-kaldi40", "16k-mel96-x1-log", "16k-mel48-x3-db-reflect"):
        config = config_from_slug(slug)
        waves = 0.1 * torch.randn(2, 20_011, generator=torch.Generator().manual_seed(0))
        own, expected = MatrixFrontend(config, 20_011)(waves), build_frontend(config)(waves)
        assert own.shape == expected.shape
        assert (own - expected).abs().max() < 2e-3, slug


def test_the_golden_vectors_are_what_the_graphs_give(made: Exported) -> None:
    tagger = tagger_of(*GRID[0])
    assert [made.features.name, made.wave.name, made.golden.name] == ["x.onnx", "x.wave.onnx", "x.golden.npz"]
    with np.load(made.golden, allow_pickle=False) as golden:
        waves = golden["wave_int16"] / np.float32(32_768)
        session = onnxruntime.InferenceSession(made.wave, providers=["CPUExecutionProvider"])
        scores, embedding = session.run(None, {"wave": waves})
        assert np.abs(scores - golden["scores"]).max() < 1e-5
        assert np.abs(embedding - golden["embedding"]).max() < 1e-4
        session = onnxruntime.InferenceSession(made.features, providers=["CPUExecutionProvider"])
        logits, _ = session.run(None, {"features": golden["features"]})
        assert np.abs(logits - golden["logits"]).max() < 1e-4
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["license"] == "CC0-1.0"
    assert metadata["weights_sha256"] == weights_sha256(tagger.network)
    assert json.loads(metadata["lightmel"])["tags"] == list(tagger.tags)
    assert [o.version for o in onnx.load(made.wave).opset_import if o.domain == ""] == [18]


def test_a_graph_tells_nothing_of_where_it_was_made(made: Exported, tmp_path: Path) -> None:
    for path in (made.features, made.wave):
        data = path.read_bytes()
        for word in (str(Path.home()), str(Path.cwd()), "site-packages", ".py", "stack_trace"):
            assert word.encode() not in data, word
    again = export(tagger_of(*GRID[0]), tmp_path / "y")
    assert again.features.read_bytes() == made.features.read_bytes()
    assert again.wave.read_bytes() == made.wave.read_bytes()


def test_a_graph_that_differs_is_not_kept(made: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = tagger_of(*GRID[0])
    before = {p: p.read_bytes() for p in made.features.parent.iterdir()}
    real = checkpoint.golden

    def other(*given: Any) -> dict[str, Any]:
        found = real(*given)
        found["scores"] = found["scores"] + 1e-3
        return found

    monkeypatch.setattr("lightmel.checkpoint.golden", other)
    with pytest.raises(WeightsError, match="from the tagger's: it is not kept"):
        export(tagger, made.features)
    assert {p: p.read_bytes() for p in made.features.parent.iterdir()} == before


# What runs a tagger


def test_the_taggers_of_the_package_are_run_by_onnxruntime(sound: Sound) -> None:
    for release in hub.releases():
        if release.where != "package":
            continue
        path = hub.packaged(release.name)
        assert path is not None
        assert hub.graph_of(path) is not None, "python family/graphs.py writes it"
        own, other = lightmel.load(release.name), lightmel.load(release.name, runtime="torch")
        assert isinstance(own.runtime, OnnxRuntime)
        assert isinstance(other.runtime, TorchRuntime)
        assert own.runtime.weights == other.runtime.weights
        assert own.description == other.description
        first, second = own.tag(SAMPLE), other.tag(SAMPLE)
        assert max(abs(first[tag] - second[tag]) for tag in own.tags) < 1e-5
        np.testing.assert_allclose(own.embed(SAMPLE), other.embed(SAMPLE), atol=1e-4)
        assert own.on_torch().runtime.weights == own.runtime.weights
        assert other.on_torch() is other


def test_its_network_can_be_trained() -> None:
    tagger = lightmel.load()
    assert isinstance(tagger.runtime, OnnxRuntime)
    network = tagger.network
    assert weights_sha256(network) == tagger.runtime.weights
    assert all(p.requires_grad for p in network.parameters())
    tuned = tagger.with_tags(["a", "b"], generator=torch.Generator().manual_seed(0))
    assert isinstance(tuned.runtime, TorchRuntime)


def test_a_lone_graph_has_no_network(made: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="An ONNX graph has no network to train"):
        _ = lightmel.load(made.features).network
    with pytest.raises(ConfigError, match="no network to train"):
        lightmel.load(made.features).save(tmp_path / "y.safetensors")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"runtime": "tensorflow"}, "runtime is one of auto, onnx, torch, not 'tensorflow'"),
        ({"runtime": "onnx", "precision": "bfloat16"}, "is for the processor and float32"),
        ({"runtime": "onnx", "device": "cuda"}, "is for the processor and float32"),
    ],
)
def test_a_runtime_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lightmel.load(**given)


def test_without_a_graph_onnxruntime_cannot_be_asked_for(tmp_path: Path) -> None:
    tagger_of(*GRID[0]).save(tmp_path / "x.safetensors")
    assert isinstance(lightmel.load(tmp_path / "x.safetensors").runtime, TorchRuntime)
    with pytest.raises(ConfigError, match="`lightmel export` writes one"):
        lightmel.load(tmp_path / "x.safetensors", runtime="onnx")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"not a graph",
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes(100) + data[200:],
        lambda data: data.replace(b"lightmel_input", b"lightmel_inpux"),
        lambda data: data.replace(b'"format"', b'"fxrmat"'),
    ],
    ids=["empty", "text", "half", "zeros", "input", "document"],
)
def test_a_damaged_graph_is_one_error(
    spoil: Callable[[bytes], bytes], made: Exported, tmp_path: Path
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(spoil(made.features.read_bytes()))
    with pytest.raises(LightmelError):
        lightmel.load(path)


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    "what",
    [
        "lightmel.tag(f)",
        "lightmel.load().embed(f)",
        "lightmel.load().taggram(f)",
        "lightmel.list_models()",
        "lightmel.load(graph).tag(f)",
        "lightmel.cli.app(['tag', f], standalone_mode=False)",
        "lightmel.cli.app(['tag', '--json', f, f], standalone_mode=False)",
        "lightmel.cli.app(['models'], standalone_mode=False)",
    ],
)
def test_no_torch_is_loaded(what: str, made: Exported) -> None:
    heavy = ("torch", "sklearn", "av", "mutagen", "onnx", "huggingface_hub", "librosa")
    code = (
        f"import sys, lightmel, lightmel.cli; f, graph = {str(SAMPLE)!r}, {str(made.features)!r}; {what}; "
        f"found = [m for m in {heavy} if m in sys.modules]; assert not found, found"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="another home folder")
def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """ONNX Runtime 1.32 keeps what it is about to send in a database in the home folder."""
    code = (
        "import os; before = dict(os.environ)\n"
        f"import lightmel; lightmel.tag({str(SAMPLE)!r})\n"
        "import sys; assert 'onnxruntime' in sys.modules\n"
        "assert dict(os.environ) == before"
    )
    ours = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ours | {"HOME": str(tmp_path)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == []


def test_where_torch_is_not_installed_it_says_so(tmp_path: Path) -> None:
    tagger_of(*GRID[0]).save(tmp_path / "x.safetensors")
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "torch.py").write_text(
        "raise ModuleNotFoundError('No module named torch', name='torch')"
    )
    code = (
        f"import lightmel; lightmel.tag({str(SAMPLE)!r})\n"
        f"try: lightmel.load({str(tmp_path / 'x.safetensors')!r})\n"
        "except lightmel.errors.MissingExtraError as e: print(e)"
    )
    path = os.pathsep.join([str(tmp_path / "block"), str(Path(lightmel.__file__).parents[1])])
    done = run(code, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "pip install torch" in done.stdout


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r'pip install "lightmel\[export\]"'):
        export(tagger_of(*GRID[0]), tmp_path / "x.onnx")


def test_threads_share_a_graph(sound: Sound) -> None:
    from concurrent.futures import ThreadPoolExecutor

    tagger = lightmel.load()
    waves = [sound(4.0, seed) for seed in range(8)]
    alone = [tagger.tag(wave, 16_000) for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda wave: tagger.tag(wave, 16_000), waves)) == alone


def test_the_graphs_of_the_package_are_those_of_its_weights(tmp_path: Path) -> None:
    """What `family/graphs.py` writes of the cheapest one is what is in the package."""
    path = hub.packaged("lightmel-vgg-16k-mel48-x10-db")
    assert path is not None
    shutil.copy(path, tmp_path)
    network, description = checkpoint.read(path)
    checkpoint.export(tmp_path / "x.onnx", network, description, weights=False)
    graph = hub.graph_of(path)
    assert graph is not None
    assert (tmp_path / "x.onnx").read_bytes() == graph.read_bytes()


def test_a_maximum_of_a_convolution_is_a_pool_in_a_graph() -> None:
    """Which ONNX Runtime computes in the layout of its convolutions, and ELU after it, on fewer numbers."""
    takes: dict[str, dict[str, set[str]]] = {}
    for name in ("lightmel-musicnn-16k-mel48-x2-db", "lightmel-vgg-16k-mel48-x10-db"):
        path = hub.packaged(name)
        assert path is not None
        graph = onnx.load(str(hub.graph_of(path)), load_external_data=False).graph
        made_by = {output: node.op_type for node in graph.node for output in node.output}
        takes[name.split("-")[1]] = {
            kind: {made_by.get(node.input[0], "") for node in graph.node if node.op_type == kind}
            for kind in ("MaxPool", "ReduceMax", "Elu")
        }
    assert takes["musicnn"] == {"MaxPool": {"Conv"}, "ReduceMax": {"Concat"}, "Elu": set()}
    assert takes["vgg"] == {"MaxPool": {"Conv"}, "ReduceMax": set(), "Elu": {"MaxPool"}}


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda tagger: pickle.loads(pickle.dumps(tagger))]
)
def test_a_tagger_can_be_copied_and_sent(copied: Callable[[Tagger], Tagger], sound: Sound) -> None:
    tagger = lightmel.load()
    assert tagger.runtime is not copied(tagger).runtime or copied is copy.copy
    assert copied(tagger).tag(sound(4.0), 16_000) == tagger.tag(sound(4.0), 16_000)


def test_names_that_are_no_text(made: Exported, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    data = made.features.read_bytes()
    path.write_bytes(data.replace(b"lightmel_input", b"lightmel_\xff\xfe\xa0ut"))
    with pytest.raises(WeightsError, match=r"x\.onnx"):
        lightmel.load(path)


def test_nobody_is_told_and_no_thread_is_left() -> None:
    """onnxruntime 1.32 reports to its makers on a thread, for which a forked child waits at its end."""
    code = (
        "import os, sys, lightmel; del os.environ['ORT_DISABLE_TELEMETRY']  # from conftest.py\n"
        "before = dict(os.environ); tagger = lightmel.load()\n"
        "assert dict(os.environ) == before, 'the environment was changed'\n"
        "if os.path.isdir('/proc/self/task'): assert len(os.listdir('/proc/self/task')) == 1, 'threads'\n"
        f"tagger.tag({str(SAMPLE)!r})\n"
        "if hasattr(os, 'fork'):\n"
        "    child = os.fork()\n"
        f"    if not child: tagger.tag({str(SAMPLE)!r}); sys.exit(7)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7"
    )
    done = run(code, **ONE_THREAD)  # NumPy's own would count
    assert done.returncode == 0, done.stderr


def test_a_graph_is_known_whatever_the_case_of_its_name_and_torch_does_not_run_it(
    made: Exported, tmp_path: Path
) -> None:
    upper = Path(shutil.copy(made.features, tmp_path / "X.ONNX"))
    assert lightmel.load(upper).name == "test"
    with pytest.raises(ConfigError, match="is an ONNX graph, which torch does not run"):
        lightmel.load(upper, runtime="torch")
