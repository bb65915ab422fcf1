"""Constant-Q spectra and waves go the whole way: store, training, file, tagging with and without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import lightmel
from lightmel import audio
from lightmel.cli import app
from lightmel.datasets import Dataset, load_table
from lightmel.errors import ConfigError
from lightmel.evaluation import evaluate
from lightmel.features import FeatureStore, build_store
from lightmel.frontends import FrontendConfig, build_frontend, config_from_slug
from lightmel.inference import OnnxRuntime, export
from lightmel.models import parse_name
from lightmel.training import TaggerConfig, TrainConfig, Trained, train_tagger


@dataclass(frozen=True)
class Case:
    network: str
    seconds: float
    augment: bool

    @property
    def config(self) -> FrontendConfig:
        return parse_name(self.network)[1]


CASES = {
    "cqt": Case("musicnn-pons-small-16k-cqt48-x4-db-from100", 0.5, augment=True),
    "wave": Case("samplecnn-small-8k-wave", 0.27, augment=False),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def data(labeled: Path) -> Dataset:
    return load_table(labeled)


@pytest.fixture(scope="module")
def store(case: Case, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("beyond") / case.config.slug
    return build_store(folder, data.sources(), case.config, workers=0)


@pytest.fixture(scope="module")
def trained(case: Case, data: Dataset, store: FeatureStore) -> Trained:
    what = TaggerConfig(case.network, segment_seconds=case.seconds, excerpts=2, augment=case.augment)
    return train_tagger(data, store, what, TrainConfig(epochs=12, batch_size=16, lr=1e-2))


def test_a_store_holds_the_features(case: Case, data: Dataset, store: FeatureStore) -> None:
    frontend = build_frontend(case.config)
    for key in ("0.flac", "89.flac"):
        expected = frontend(torch.from_numpy(audio.load(data.root / key, case.config.sr))).numpy()
        np.testing.assert_array_equal(store[int(store.rows([key])[0])], expected)
    assert not store.verify()


def test_a_tagger_is_trained_and_evaluated(case: Case, data: Dataset, trained: Trained) -> None:
    assert trained.tagger.config == case.config
    assert trained.history[-1]["loss"] < 0.8 * trained.history[0]["loss"]
    assert trained.evaluation is not None
    assert trained.evaluation.macro_roc_auc > 0.9
    assert evaluate(trained.tagger, data).macro_roc_auc > 0.9


def test_its_file_and_its_graphs_give_the_same_scores(
    data: Dataset, trained: Trained, tmp_path: Path
) -> None:
    file, clip = tmp_path / "x.safetensors", data.files("test")[0]
    trained.save(file)
    expected = trained.tagger.tag(clip)
    loaded = lightmel.load(file, device="cpu")
    made = export(loaded, tmp_path / "x.onnx")
    for path in (file, made.features, made.wave):
        tagger = lightmel.load(path, device="cpu")
        assert isinstance(tagger.runtime, OnnxRuntime) == (path.suffix == ".onnx")
        found = tagger.tag(clip)
        assert [found[tag] for tag in data.tags] == pytest.approx(
            [expected[tag] for tag in data.tags], abs=1e-4
        )


def test_stores_of_constant_q_can_be_thinned(data: Dataset, tmp_path: Path) -> None:
    config = config_from_slug("16k-cqt48-x2-db-from100")
    sources = data.sources()
    first = dict(list(sources.items())[:3])
    store = build_store(tmp_path / "x2", first, config, workers=0)
    thin = store.derive(tmp_path / "x4", config.thinned(2))
    own = build_store(tmp_path / "own", first, config.thinned(2), workers=0)
    for row in range(3):
        np.testing.assert_allclose(thin[row], own[row], atol=1e-3)


def test_waves_cannot_be_augmented_in_a_store(data: Dataset, tmp_path: Path) -> None:
    what = TaggerConfig("samplecnn-small-8k-wave", segment_seconds=0.3, augment=True)
    with pytest.raises(ConfigError, match=r"8k-wave cannot be filtered.* \(augment=False\)"):
        train_tagger(data, None, what, work=tmp_path)


def test_the_command_trains_a_network_of_waves(labeled: Path, tmp_path: Path) -> None:
    out = tmp_path / "wave.safetensors"
    arguments = ["train", str(labeled), "--network", "samplecnn-small-8k-wave", "--out", str(out)]
    arguments += ["--segment-seconds", "0.1", "--epochs", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert lightmel.load(out, device="cpu").config == config_from_slug("8k-wave")


@pytest.mark.parametrize("name", ["16k-cqt84-x2-db", "samplecnn-16k-wave", "vgg-16k-cqt84-x1-db"])
def test_the_command_says_what_they_cost(name: str) -> None:
    done = CliRunner().invoke(app, ["cost", name, "--json"])
    assert done.exit_code == 0, done.output
    for line in done.output.splitlines():
        row = json.loads(line)
        assert row["config"] in name
        assert row["macs"] > 1e8
