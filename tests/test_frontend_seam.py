"""A front end of one's own goes the whole way: store, training, file, tagging, evaluation, fine-tuning.

Two of them, made here: energies in a few bands, behind a network of the library; and the bare wave, behind a
network that is made here, too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import lightmel
from lightmel import audio
from lightmel.checkpoint import read_description, weights_sha256
from lightmel.datasets import Dataset, load_table
from lightmel.errors import ConfigError, WeightsError
from lightmel.evaluation import ClipSet, evaluate, evaluate_examples
from lightmel.features import FeatureStore, build_store, label_features
from lightmel.frontends import (
    Frontend,
    FrontendConfig,
    build_frontend,
    config_from_dict,
    config_from_slug,
    kinds,
    register,
    registry,
)
from lightmel.inference import Tagger
from lightmel.models import TaggingNetwork, build_named, initialize
from lightmel.models import register as register_network
from lightmel.models import registry as networks
from lightmel.training import FinetuneConfig, TaggerConfig, TrainConfig, Trained, finetune, train_tagger

SR = 16_000
SECONDS = 0.5
HOP = 256


@dataclass(frozen=True)
class BandsConfig(FrontendConfig):
    """Energies of a few bands of equal width, in decibel, of frames back to back."""

    kind: ClassVar[str] = "bands"
    slug_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<khz>\d+)k-toy(?P<bands>\d+)")
    sr: int = SR
    bands: int = 4

    @property
    def slug(self) -> str:
        return f"{self.sr // 1_000}k-toy{self.bands}"

    @classmethod
    def from_slug(cls, slug: str) -> BandsConfig:
        match = cls.slug_pattern.fullmatch(slug)
        if match is None:
            raise ConfigError(f"{slug!r} names no bands; '16k-toy4' does.")
        return cls(1_000 * int(match["khz"]), int(match["bands"]))

    def shape(self, n_samples: int) -> tuple[int, int]:
        return self.bands, max(1, -(-n_samples // HOP))


class Bands(Frontend):
    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        wave = nn.functional.pad(wave.float(), (0, -wave.shape[-1] % HOP))
        power = torch.fft.rfft(wave.unfold(-1, HOP, HOP))[..., 1:].abs().square()
        energies = power.unflatten(-1, (self.config.bands, -1)).mean(-1)  # type: ignore[attr-defined]
        return 10 * energies.clamp(min=1e-6).log10().transpose(-1, -2)


@dataclass(frozen=True)
class WaveConfig(FrontendConfig):
    """The wave itself, as one row."""

    kind: ClassVar[str] = "wave"
    slug_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<khz>\d+)k-toywave")
    sr: int = SR

    @property
    def slug(self) -> str:
        return f"{self.sr // 1_000}k-toywave"

    @classmethod
    def from_slug(cls, slug: str) -> WaveConfig:
        return cls(1_000 * int(slug.partition("k")[0]))

    def shape(self, n_samples: int) -> tuple[int, int]:
        return 1, n_samples


class Wave(Frontend):
    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return wave.float()[..., None, :]


class WaveNetwork(TaggingNetwork):
    """One convolution over the wave, and the loudness of what it lets through."""

    architecture = "tinywave"

    def __init__(self, input_shape: Any, n_tags: int, width: int) -> None:
        super().__init__(input_shape, n_tags)
        self.embed_dim = width
        self.filters = nn.Conv1d(1, width, 64, stride=32, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, n_tags)

    def spec(self) -> dict[str, Any]:
        shape = list(self.input_shape)
        return {
            "architecture": self.architecture,
            "input_shape": shape,
            "n_tags": self.n_tags,
            "width": self.embed_dim,
        }

    def features(self, x: torch.Tensor) -> torch.Tensor:
        loudness: torch.Tensor = self.norm(self.filters(x).square().mean(-1).clamp(min=1e-7).log())
        return loudness


def build_wave_network(
    input_shape: Any, n_tags: int, *, width: int = 16, generator: torch.Generator | None = None
) -> WaveNetwork:
    network = WaveNetwork(input_shape, n_tags, width)
    initialize(network, generator)
    return network


@dataclass(frozen=True)
class Case:
    config: FrontendConfig
    network: str
    shape: tuple[int, int]


CASES = {
    "bands": Case(BandsConfig(), "musicnn-pons-small-16k-toy4", (4, 32)),
    "wave": Case(WaveConfig(), "tinywave-16k-toywave", (1, 8_000)),
}


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """Make front ends and network known, and forget them afterwards."""
    register(BandsConfig, Bands)
    register(WaveConfig, Wave)
    register_network("tinywave", build_wave_network)
    yield
    for kind in ("bands", "wave"):
        del registry.KINDS[kind]
    del networks.BUILDERS["tinywave"]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def data(labeled: Path) -> Dataset:
    return load_table(labeled)


@pytest.fixture(scope="module")
def store(case: Case, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return build_store(
        tmp_path_factory.mktemp("seam") / case.config.slug, data.sources(), case.config, workers=0
    )


@pytest.fixture(scope="module")
def trained(case: Case, data: Dataset, store: FeatureStore) -> Trained:
    what = TaggerConfig(case.network, segment_seconds=SECONDS, excerpts=2)
    return train_tagger(data, store, what, TrainConfig(epochs=24, batch_size=16, lr=1e-2))


@pytest.fixture(scope="module")
def file(case: Case, trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seam") / f"{case.config.slug}.safetensors"
    trained.save(path)
    return path


def test_it_is_known_by_its_kind_and_its_slug(case: Case) -> None:
    assert case.config.kind in kinds()
    plain = json.loads(json.dumps(case.config.to_dict()))
    assert config_from_dict(plain) == config_from_slug(case.config.slug) == case.config
    network, config = build_named(case.network, SECONDS, 3, torch.Generator().manual_seed(0))
    assert config == case.config
    assert network.input_shape == case.config.input_shape(SECONDS) == case.shape
    assert build_frontend(config)(torch.zeros(2, 8_000)).shape == (2, *case.shape)


def test_a_store_holds_its_features(case: Case, data: Dataset, store: FeatureStore) -> None:
    again = FeatureStore.open(store.folder)
    assert again.config == case.config
    assert json.loads((store.folder / "store.json").read_text())["frontend"] == case.config.to_dict()
    assert set(again.keys) == set(data.sources())
    frontend = build_frontend(case.config)
    for key in ("0.flac", "17.flac", "89.flac"):
        expected = frontend(torch.from_numpy(audio.load(data.root / key, case.config.sr))).numpy()
        np.testing.assert_array_equal(again[int(again.rows([key])[0])], expected)
    assert not again.verify()
    with pytest.raises(ConfigError, match=rf"Of {case.config.slug} no frames can be left out"):
        again.derive(store.folder.parent / "thinner", case.config)


def test_a_network_is_trained_behind_it(case: Case, data: Dataset, trained: Trained) -> None:
    tagger = trained.tagger
    assert (tagger.config, tagger.network.input_shape) == (case.config, case.shape)
    assert tagger.segment_samples == SECONDS * SR
    assert trained.history[-1]["loss"] < 0.7 * trained.history[0]["loss"]
    assert trained.evaluation is not None
    assert trained.evaluation.macro_roc_auc > 0.9
    assert trained.evaluation.config == case.config.slug
    assert len(tagger.description.thresholds) == len(data.tags)
    assert tagger.description.provenance["tagger"]["network"] == case.network


def test_its_tagger_is_saved_and_loaded(case: Case, trained: Trained, file: Path) -> None:
    description = read_description(file)
    assert description == trained.tagger.description
    assert description.config == case.config
    loaded = lightmel.load(file, device="cpu")
    assert weights_sha256(loaded.network) == weights_sha256(trained.tagger.network)
    assert loaded.network.spec() == trained.tagger.network.spec()


def test_its_tagger_tags_waves_and_files(case: Case, data: Dataset, trained: Trained, file: Path) -> None:
    loaded = lightmel.load(file, device="cpu")
    path = data.files("test")[0]
    wave, sr = soundfile.read(path, dtype="float32")
    segments = torch.from_numpy(np.stack([wave[:8_000], wave[8_000:]]))
    with torch.inference_mode():
        network = trained.tagger.network.eval()
        logits = network(build_frontend(case.config)(segments))
    expected = dict(zip(data.tags, logits.double().sigmoid().mean(0).tolist(), strict=True))
    for tagging in (loaded.tag(path), loaded.tag(wave, sr), lightmel.tag(path, model=file, device="cpu")):
        found = {tag: tagging[tag] for tag in data.tags}
        assert found == pytest.approx(expected, abs=1e-6)
    assert loaded.tag(wave[:3_000], sr).padded
    stereo = np.stack([wave, wave])
    other = loaded.tag(np.repeat(stereo, 3, axis=1), 3 * sr)
    assert set(other.tags) == set(data.tags), "another rate is resampled to that of the front end"
    assert loaded.taggram(path, hop=0.25).scores.shape == (3, 3)
    assert loaded.embed(path).shape == (trained.tagger.network.embed_dim,)


def test_its_tagger_is_evaluated(data: Dataset, store: FeatureStore, trained: Trained) -> None:
    tagger = trained.tagger
    by_file, by_store = evaluate(tagger, data), evaluate(tagger, data, features=store)
    assert by_store == trained.evaluation
    assert min(by_file.macro_roc_auc, by_store.macro_roc_auc) > 0.9
    examples = label_features(data, store, tagger.network.input_shape[1]).examples["test"]
    assert evaluate_examples(tagger, examples, data.tags, ClipSet(data.name, data.protocol)) == by_store


def test_it_is_told_from_other_front_ends(
    case: Case, data: Dataset, store: FeatureStore, trained: Trained, tiny: Any
) -> None:
    with pytest.raises(ConfigError, match=rf"holds {case.config.slug}, and 16k-mel16-x4-db is wanted"):
        evaluate(tiny(), data, features=store)
    with pytest.raises(ConfigError, match=f"and 12k-{case.config.slug.partition('-')[2]} is wanted"):
        store.require(replace(case.config, sr=12_000))  # type: ignore[type-var]
    with pytest.raises(WeightsError, match=rf"{case.config.slug} makes"):
        Tagger(trained.tagger.network, replace(trained.tagger.description, segment_samples=7_000))


def test_its_tagger_is_fine_tuned(data: Dataset, store: FeatureStore, file: Path, case: Case) -> None:
    tags = ("high", "low")
    columns = [data.tags.index(tag) for tag in tags]
    splits = {name: replace(s, labels=s.labels[:, columns].copy()) for name, s in data.splits.items()}
    two = replace(data, tags=tags, splits=splits)
    config = FinetuneConfig(
        head_epochs=6, head_lr=3e-2, epochs=6, lr=1e-2, batch_size=16, excerpts=1, augment=False
    )
    made = finetune(file, two, store, config)
    assert made.tagger.tags == tags
    assert made.tagger.config == case.config
    assert made.evaluation is not None
    assert made.evaluation.macro_roc_auc > 0.9


def test_what_cannot_be_augmented_is_refused_before_anything_is_computed(
    case: Case, data: Dataset, file: Path, tmp_path: Path
) -> None:
    says = rf"Features of {case.config.slug} cannot be filtered.*train without augmentation \(augment=False\)"
    with pytest.raises(ConfigError, match=says):
        finetune(file, data, config=FinetuneConfig(augment=True), work=tmp_path)
    what = TaggerConfig(case.network, segment_seconds=SECONDS, augment=True)
    with pytest.raises(ConfigError, match=says):
        train_tagger(data, None, what, work=tmp_path)
    assert not list(tmp_path.iterdir())


def test_where_it_is_not_known_its_files_say_so(
    case: Case, store: FeatureStore, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.safetensors"
    shutil.copy(file, copy)
    monkeypatch.delitem(registry.KINDS, case.config.kind)
    says = rf"There is no front end '{case.config.kind}' here.*lightmel\.frontends\.register"
    with pytest.raises(WeightsError, match=says):
        lightmel.load(copy, device="cpu")
    with pytest.raises(lightmel.LightmelError, match=says):
        FeatureStore.open(store.folder)
