"""What a name costs: that of a tagger, its file, a network with its input, an input alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lightmel
from lightmel import hub
from lightmel.errors import ConfigError, LightmelError, ShapeError, UnknownModelError, WeightsError
from lightmel.models import Row, counted_cost, network_cost, paper_cost


def test_the_default_costs_what_its_network_does() -> None:
    tagger = lightmel.load()
    path = hub.packaged("default")
    assert path is not None
    (row,) = hub.costs_of("default")
    assert row == Row("mobilenet", "", tagger.config, 3.0, counted_cost(tagger.network), hub.DEFAULT)
    assert row.input_shape == tagger.network.input_shape
    for same in (hub.DEFAULT, path, str(path)):
        assert hub.costs_of(same) == (row,)


def test_a_file_costs_what_its_network_does(tmp_path: Path, tiny: Callable[..., Any]) -> None:
    tagger, path = tiny(0), tmp_path / "tiny.safetensors"
    tagger.save(path)
    (row,) = hub.costs_of(path)
    assert row == Row("musicnn", "", tagger.config, 0.5, counted_cost(tagger.network), "tiny-0")


@pytest.mark.parametrize("name", list(hub.CHECKPOINTS))
def test_a_public_name_costs_without_its_file(name: str) -> None:
    record = hub.CHECKPOINTS[name]
    (row,) = hub.costs_of(name)
    assert (row.architecture, row.name) == (record.architecture, name)
    assert row.config == record.description.config
    assert row.seconds == record.segment_samples / record.family.config.sr
    assert row.cost == network_cost(record.network)


def test_a_public_file_costs_what_its_name_does(shared: Path) -> None:
    for short in ("msd-fcn", "jamendo-musicnn"):
        rows = hub.costs_of(shared / "teachers" / f"{short}.pth")
        assert rows == hub.costs_of(f"public:won2020-{short}")
        network = lightmel.load(shared / "teachers" / f"{short}.pth").network
        assert rows[0].cost == counted_cost(network)


def test_a_network_and_its_input_cost_the_papers_length() -> None:
    config = lightmel.MelConfig.from_slug("16k-mel48-x2-db")
    for name, architecture, size, seconds in (
        ("vgg-16k-mel48-x2-db", "vgg", "full", 29.1),
        ("musicnn-small-16k-mel48-x2-db", "musicnn", "small", 3.0),
    ):
        (row,) = hub.costs_of(name)
        assert row == Row(
            architecture, size, config, seconds, paper_cost(architecture, config, size=size).cost, name
        )
    (pons,) = hub.costs_of("musicnn-pons-small-16k-mel48-x2-db")
    (first,) = hub.costs_of("mtat-musicnn-small-16k-mel48-x2-db")
    assert pons.cost == first.cost


def test_an_input_costs_both_networks_of_the_paper() -> None:
    config = lightmel.MelConfig.from_slug("12k-mel32-x4-log")
    assert hub.costs_of(config.slug) == (paper_cost("vgg", config), paper_cost("musicnn", config))


def test_inputs_beyond_mels_cost_what_their_networks_do() -> None:
    config = lightmel.frontends.config_from_slug("16k-cqt84-x2-db")
    assert hub.costs_of(config.slug) == (paper_cost("vgg", config), paper_cost("musicnn", config))
    assert hub.costs_of(config.slug)[0].input_shape == (84, 910)
    (row,) = hub.costs_of("samplecnn-small-22.05k-wave")
    assert (row.size, row.seconds, row.input_shape) == ("small", 59_049 / 22_050, (1, 59_049))
    assert row.cost == network_cost(
        {"architecture": "samplecnn", "input_shape": (1, 59_049), "size": "small"}
    )
    assert hub.costs_of("16k-wave") == hub.costs_of("samplecnn-16k-wave")
    with pytest.raises(ShapeError, match=r"SampleCNN takes a wave.*not \(48, "):
        hub.costs_of("samplecnn-16k-mel48-x2-db")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("8k-cqt84-x2-db", ConfigError, "At most 83 bins fit: take n_bins=83"),
        ("defualt", UnknownModelError, "is no tagger, no network.*and no input.*Did you mean 'default'"),
        ("won2020-msd-fcn", UnknownModelError, "Did you mean 'public:won2020-msd-fcn'"),
        ("", UnknownModelError, "is no tagger"),
        ("no/such/file.safetensors", UnknownModelError, "is no tagger"),
        ("x" * 5_000, UnknownModelError, "is no tagger"),
        ("a\0b", UnknownModelError, "is no tagger"),
        ("16k-mel48-x2-dbb", ConfigError, "Did you mean '16k-mel48-x2-db'"),
        ("vgg-16k-mel48-x2-dbb", ConfigError, "16k-mel48-x2-db"),
        ("fcn-16k-mel96-x1-db", ConfigError, "For fcn no usual length of input is known"),
        ("mobilenet-16k-mel48-x2-db", ConfigError, "For mobilenet no usual length of input is known"),
    ],
)
def test_what_has_no_cost_is_told_why(name: str, error: type[LightmelError], message: str) -> None:
    with pytest.raises(error, match=message):
        hub.costs_of(name)


def test_a_file_that_is_no_taggers_is_refused(tmp_path: Path) -> None:
    for name, message in (("a.safetensors", "no readable safetensors"), ("a.pth", "none of the published")):
        (tmp_path / name).write_text("words")
        with pytest.raises(WeightsError, match=message):
            hub.costs_of(tmp_path / name)
    with pytest.raises(UnknownModelError, match="is no tagger"):
        hub.costs_of(tmp_path)
