"""Labelled clips, a store of their features, and a tagger that was trained on some of their tags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightmel.datasets import Dataset, load_table
from lightmel.features import FeatureStore, build_store
from lightmel.frontends import MelConfig
from lightmel.inference import Tagger
from lightmel.training import TaggerConfig, TrainConfig, train_tagger


@pytest.fixture(scope="session")
def data(labeled: Path) -> Dataset:
    """Clips of low tones, high tones and noise: 54 to train on, 18 to validate and 18 to test."""
    return load_table(labeled)


@pytest.fixture(scope="session")
def store(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Mels of these clips."""
    config = MelConfig.from_slug("16k-mel16-x4-db")
    return build_store(tmp_path_factory.mktemp("features") / "store", data.sources(), config, workers=0)


@pytest.fixture(scope="session")
def base(data: Dataset, store: FeatureStore) -> Tagger:
    """A tagger of noise alone, to fine-tune."""
    noise = data.tags.index("noise")
    one = {name: replace(part, labels=part.labels[:, [noise]].copy()) for name, part in data.splits.items()}
    what = TaggerConfig("vgg-small-16k-mel16-x4-db", segment_seconds=0.8)
    training = TrainConfig(epochs=6, batch_size=16, lr=3e-3)
    return train_tagger(replace(data, tags=("noise",), splits=one), store, what, training).tagger
