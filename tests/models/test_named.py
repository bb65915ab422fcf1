"""Names of networks: what they stand for, and the errors for those that stand for nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lightmel.distillation.config import DistillConfig
from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import PAPER_CONFIGS, CqtConfig, FrontendConfig, MelConfig, WaveformConfig
from lightmel.models.named import build_named, parse_name
from lightmel.models.registry import build

NAMES: list[tuple[str, dict[str, str], FrontendConfig]] = [
    ("vgg-16k-mel48-x4-db", {"architecture": "vgg"}, MelConfig(16_000, 48, 4, "db")),
    ("vgg-small-12k-mel96-x2-log", {"architecture": "vgg", "size": "small"}, MelConfig(12_000, 96, 2, "log")),
    ("musicnn-12k-mel48-x1-db", {"architecture": "musicnn"}, MelConfig(12_000, 48, 1, "db")),
    (
        "musicnn-pons-small-16k-mel48-x2-db",
        {"architecture": "musicnn", "variant": "pons", "size": "small"},
        MelConfig(16_000, 48, 2, "db"),
    ),
    (
        "musicnn-small-pons-22.05k-mel32-x5-db",
        {"architecture": "musicnn", "variant": "pons", "size": "small"},
        MelConfig(22_050, 32, 5, "db"),
    ),
    ("mobilenet-16k-mel48-x2-db", {"architecture": "mobilenet"}, MelConfig(16_000, 48, 2, "db")),
    ("vgg-small-16k-cqt84-x4-db", {"architecture": "vgg", "size": "small"}, CqtConfig(16_000, 84, 4, "db")),
    ("samplecnn-small-8k-wave", {"architecture": "samplecnn", "size": "small"}, WaveformConfig(8_000)),
]


@pytest.mark.parametrize(("name", "spec", "config"), NAMES, ids=[n for n, _, _ in NAMES])
def test_a_name_is_a_network_and_its_input(name: str, spec: dict[str, str], config: FrontendConfig) -> None:
    assert parse_name(name) == (spec, config)
    network, mel = build_named(name, 3.0, 7, torch.Generator().manual_seed(0))
    assert mel == config
    assert network.input_shape == config.input_shape(3.0)
    assert network.n_tags == 7
    assert network.spec().items() >= {k: v for k, v in spec.items() if k != "size"}.items()
    assert network.eval()(torch.zeros(2, *network.input_shape)).shape == (2, 7)


@pytest.mark.parametrize("architecture", ["vgg", "musicnn-pons"])
def test_every_configuration_of_the_paper_has_a_name(architecture: str) -> None:
    for config in PAPER_CONFIGS:
        _, found = parse_name(f"{architecture}-small-{config.slug}")
        assert found == config


def test_the_options_make_a_difference() -> None:
    sizes = {}
    for words in ("musicnn", "musicnn-small", "musicnn-pons", "musicnn-pons-small", "vgg", "vgg-small"):
        network, _ = build_named(f"{words}-16k-mel48-x4-db", 3.0, 5)
        sizes[words] = sum(p.numel() for p in network.parameters())
    assert len(set(sizes.values())) == len(sizes)
    assert sizes["musicnn-small"] < sizes["musicnn"]
    assert sizes["vgg-small"] < sizes["vgg"]


def test_the_weights_are_drawn_from_the_generator_alone() -> None:
    states: list[Any] = []
    for seed in (3, 3, 4):
        torch.rand(5)
        network, _ = build_named("vgg-small-16k-mel48-x4-db", 3.0, 5, torch.Generator().manual_seed(seed))
        states.append(network.state_dict())
    first, same, other = states
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_it_is_the_network_of_its_spec() -> None:
    network, _ = build_named("musicnn-pons-small-16k-mel48-x4-db", 3.0, 5, torch.Generator().manual_seed(0))
    again = build(network.spec(), generator=torch.Generator().manual_seed(0))
    assert all(
        torch.equal(a, b)
        for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_the_default_student_has_a_name() -> None:
    spec, config = parse_name(DistillConfig().student)
    assert (spec["architecture"], config.slug) == ("musicnn", "16k-mel48-x2-db")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "musicn-16k-mel48-x2-db",
            r"it begins with vgg or musicnn or mobilenet or fcn or samplecnn, as in.*mean 'musicnn'",
        ),
        ("resnet-16k-mel48-x2-db", r"'resnet-16k-mel48-x2-db' names no network"),
        ("fcn-small-16k-mel48-x2-db", r"fcn has no option 'small'; it has none\."),
        ("mobilenet-small-16k-mel48-x2-db", r"mobilenet has no option 'small'; it has none\."),
        ("", r"'' names no network"),
        ("musicnn-smal-16k-mel48-x2-db", r"no option 'smal'; it has pons and small\. Did you mean 'small'"),
        ("musicnn-pon-small-16k-mel48-x2-db", r"no option 'pon'.*Did you mean 'pons'"),
        ("vgg-pons-16k-mel48-x2-db", r"vgg has no option 'pons'; it has small\."),
        ("vgg-16k-mel48-x4-bd", r"'16k-mel48-x4-bd' is not a mel config.*Did you mean '16k-mel48-x4-db'"),
        ("vgg", r"'vgg' names no input: a slug follows the network, as in 'vgg-16k-mel48-x2-db'"),
        ("musicnn-pons", r"'musicnn-pons' names no input"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_named(name, 3.0, 5)


def test_fcn_has_names_too_for_the_segments_that_its_pools_fit() -> None:
    name = "fcn-16k-mel96-x1-db-htk-peak-reflect"
    config = MelConfig(16_000, 96, 1, "db", mel_scale="htk", mel_norm="none", pad_mode="reflect")
    assert parse_name(name) == ({"architecture": "fcn"}, config)
    network, _ = build_named(name, 29.0, 7, torch.Generator().manual_seed(0))
    assert (network.architecture, network.input_shape) == ("fcn", (96, 1813))
    with pytest.raises(ShapeError, match="FCN's pools leave 0x0 of an input of"):
        build_named("fcn-16k-mel48-x2-db", 3.0, 7)


def test_segments_that_no_network_fits_are_refused() -> None:
    with pytest.raises((ConfigError, ShapeError)):
        build_named("musicnn-16k-mel48-x10-db", 3.0, 0)
