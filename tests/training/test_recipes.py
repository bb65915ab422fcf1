"""The paper's trainings: facts from the paper and its code, and settings that win over them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightmel.datasets import Dataset
from lightmel.errors import ConfigError, TrainingError
from lightmel.features import FeatureStore
from lightmel.training import RECIPES, TaggerConfig, TrainConfig, recipe, train_tagger


def test_they_are_as_published() -> None:
    what, how = recipe("paper-vgg")
    assert what == TaggerConfig("vgg-12k-mel96-x1-db", segment_seconds=29.1)
    assert how == TrainConfig(), "the defaults are those of VGG-CNN at 12 kHz, with Adam at 0.001"
    assert (how.epochs, how.batch_size, how.lr, how.optimizer) == (13, 64, 1e-3, "adam")
    assert recipe("paper-vgg", network="vgg-16k-mel48-x2-db")[1].batch_size == 32, "32 at 16 kHz"
    what, how = recipe("paper-musicnn")
    assert (what.network, what.segment_seconds) == ("musicnn-16k-mel96-x1-db", 3.0)
    assert (how.epochs, how.batch_size, how.schedule, how.step_epochs) == (300, 32, "step", 100)
    assert (how.lr, how.optimizer, how.weight_decay) == (1e-3, "adam", 0.0)
    assert all(own.source and own.differs for own in RECIPES.values())


def test_what_is_asked_for_wins_and_what_is_unknown_is_refused() -> None:
    what, how = recipe("paper-musicnn", epochs=3, segment_seconds=1.5, batch_size=8)
    assert (how.epochs, how.schedule, how.batch_size, what.segment_seconds) == (3, "step", 8, 1.5)
    with pytest.raises(ConfigError, match=r"no recipe 'paper-vgq'.*Did you mean 'paper-vgg'"):
        recipe("paper-vgq")
    with pytest.raises(ConfigError, match=r"no setting 'epoch'\. Did you mean 'epochs'"):
        recipe("paper-vgg", epoch=3)


def test_the_rate_falls_to_a_tenth_every_so_many_epochs(
    data: Dataset, store: FeatureStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    what = TaggerConfig("vgg-small-16k-mel16-x4-db", segment_seconds=0.8)
    how = TrainConfig(epochs=7, batch_size=16, lr=1e-3, schedule="step", step_epochs=3)
    made = train_tagger(data, store, what, how)
    rates = [line["lr"] for line in made.history]
    assert rates == pytest.approx([1e-3] * 3 + [1e-4] * 3 + [1e-5])
    work = tmp_path_factory.mktemp("work")
    train_tagger(data, store, what, how, work=work)
    again = train_tagger(data, store, what, how, work=work)
    assert [line["lr"] for line in again.history] == rates, "also where it goes on"
    with pytest.raises(TrainingError, match="differs in step_epochs"):
        train_tagger(data, store, what, replace(how, step_epochs=2), work=work)
    with pytest.raises(ConfigError, match="step_epochs is at least 1, not 0"):
        TrainConfig(step_epochs=0)
