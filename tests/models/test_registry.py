from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
import torch
from torch import nn

from lightmel.errors import ConfigError, LightmelError, ShapeError, UnknownModelError
from lightmel.frontends import MelConfig
from lightmel.models import (
    TaggingNetwork,
    build,
    build_named,
    counted_cost,
    layer_costs,
    names,
    parse_name,
    register,
    registry,
)
from lightmel.models.base import whole_numbers

SPECS = {
    "vgg": {"input_shape": (24, 91), "n_tags": 4, "widths": (2, 3, 4, 5)},
    "musicnn": {"input_shape": (24, 30), "n_tags": 4, "width": 6, "dense": 5, "size": "small"},
    "mobilenet": {"input_shape": (24, 30), "n_tags": 4, "width": 0.2},
    "fcn": {"input_shape": (96, 1813), "n_tags": 4},
    "samplecnn": {"input_shape": (1, 100), "n_tags": 4, "size": "small"},
}

UNUSUAL = {
    "vgg": {"strides": [(1, 2)] * 4, "pools": [(2, 4)] * 4, "relu_first": True, "eps": 1e-3},
    "musicnn": {"relu_first": False, "every_band": True, "eps": 1e-3},
}


def small(name: str) -> dict[str, object]:
    return {"architecture": name, **SPECS[name]}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_architecture_is_known_here():
    assert set(names()) == set(SPECS)


@pytest.mark.parametrize("name", names())
def test_a_spec_builds_the_same_network_again(name):
    first = build(small(name), generator=seeded(1))
    spec = json.loads(json.dumps(first.spec()))  # as a weights file keeps it
    assert spec == first.spec()
    second = build(spec, generator=seeded(2))
    assert type(second) is type(first)
    assert second.spec() == first.spec()
    second.load_state_dict(first.state_dict(), strict=True)
    mel = torch.randn(2, *first.input_shape, generator=seeded(3))
    with torch.inference_mode():
        assert torch.equal(first.eval()(mel), second.eval()(mel))


@pytest.mark.parametrize("name", names())
def test_a_spec_holds_every_argument_or_what_replaces_it(name):
    """What is as it always was is left out, so that older versions read it and older files stay the same."""
    replaced = {"vgg": {"size"}, "musicnn": {"size"}, "samplecnn": {"size"}}.get(name, set())
    unusual = UNUSUAL.get(name, {})
    wanted = {"architecture", *registry.arguments(name)} - replaced
    assert set(build(small(name) | unusual).spec()) == wanted
    assert set(build(small(name)).spec()) == wanted - (set(unusual) - {"pools"})  # always there


@pytest.mark.parametrize("name", names())
def test_an_unusual_spec_builds_the_same_network_again(name):
    first = build(small(name) | UNUSUAL.get(name, {}), generator=seeded(1)).eval()
    spec = json.loads(json.dumps(first.spec()))
    assert spec == first.spec()
    second = build(spec).eval()
    second.load_state_dict(first.state_dict(), strict=True)
    mel = torch.randn(2, *first.input_shape, generator=seeded(3))
    with torch.inference_mode():
        assert torch.equal(first(mel), second(mel))


@pytest.mark.parametrize("name", names())
def test_every_network_does_what_a_tagging_network_does(name):
    model = build(small(name), generator=seeded(0)).eval()
    assert isinstance(model, TaggingNetwork)
    assert model.architecture == name
    mel = torch.randn(3, *model.input_shape, generator=seeded(1))
    with torch.inference_mode():
        logits, embedding = model(mel), model.embed(mel)
        assert logits.shape == (3, model.n_tags)
        assert embedding.shape == (3, model.embed_dim)
        torch.testing.assert_close(model.head(embedding), logits)
        torch.testing.assert_close(model(mel[1:2]), logits[1:2])  # alone as in a batch
        state = torch.get_rng_state()
        other = model.with_head(7, seeded(2))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(other.embed(mel), embedding)
        assert other(mel).shape == (3, 7)
    bands, frames = model.input_shape
    for shape in [(1, frames, bands), (1, bands, frames + 1), (bands, frames)]:
        with pytest.raises(ShapeError, match=rf"\(batch, {bands}, {frames}\)"):
            model(torch.zeros(shape))
    with pytest.raises(ShapeError, match="at least one tag"):
        model.with_head(0)


@pytest.mark.parametrize("name", names())
def test_a_seed_gives_the_same_weights_twice(name):
    states = [build(small(name), generator=seeded(seed)).state_dict() for seed in (4, 4, 5)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


@pytest.mark.parametrize(
    ("word", "meant"), [("vvg", "vgg"), ("music-cnn", "musicnn"), ("VGG", None), ("", None)]
)
def test_an_unknown_architecture_is_refused_with_the_nearest(word, meant):
    with pytest.raises(UnknownModelError) as caught:
        build({"architecture": word, "input_shape": (8, 20)})
    assert repr(word) in str(caught.value)
    assert "'vgg', 'musicnn', 'mobilenet', 'fcn'" in str(caught.value)
    assert meant is None or str(caught.value).endswith(f"Did you mean {meant!r}?")


@pytest.mark.parametrize("name", [None, 3, ["vgg"]])
def test_an_architecture_that_is_no_word_is_refused(name):
    with pytest.raises(UnknownModelError):
        build({"architecture": name, "input_shape": (8, 20)})


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("key", ["widhts", "dropuot", "generator", "device"])
def test_an_unknown_key_is_refused_by_name(name, key):
    with pytest.raises(ConfigError, match=f"{name} has no argument '{key}'"):
        build(small(name) | {key: 1})


def test_the_nearest_key_is_suggested():
    with pytest.raises(ConfigError, match="Did you mean 'widths'"):
        build({"architecture": "vgg", "input_shape": (8, 20), "widhts": (1, 1, 1, 1)})


def test_a_spec_without_the_essentials_is_refused():
    with pytest.raises(ConfigError, match=r"'architecture'.*this has 'input_shape'"):
        build({"input_shape": (8, 20)})
    with pytest.raises(ConfigError, match="needs an 'input_shape', its front end's; this has nothing"):
        build({"architecture": "vgg"})


@pytest.mark.parametrize(
    "spec",
    [
        {"architecture": "vgg", "input_shape": (8, 20), "widths": "wide"},
        {"architecture": "vgg", "input_shape": (8, 20), "widths": "4488"},
        {"architecture": "vgg", "input_shape": (8, 20), "relu_first": "no"},
        {"architecture": "vgg", "input_shape": (8, 20), "pools": [1, 1, 1, 1]},
        {"architecture": "vgg", "input_shape": (8, 20), "n_tags": None},
        {"architecture": "vgg", "input_shape": "96x1366"},
        {"architecture": "musicnn", "input_shape": None},
        {"architecture": "musicnn", "input_shape": (8, 20), "width": -1},
        {"architecture": "musicnn", "input_shape": (8, 20), "timbre": [[0.4, 7]]},
        {"architecture": "musicnn", "input_shape": (8, 20), "variant": "jazz"},
        {"architecture": "musicnn", "input_shape": (8, 20), "timbre": [[0.4, 0, 4]]},
        {"architecture": "vgg", "input_shape": (8, 20), "n_tags": float("inf")},
        {"architecture": "vgg", "input_shape": (8, 20), "pools": [[2, 4], {}, [1, 1], [1, 1]]},
        {"architecture": "fcn", "input_shape": (96, 187)},
        {"architecture": "mobilenet", "input_shape": (8, 20), "width": "wide"},
        {"architecture": "mobilenet", "input_shape": (8, 20), "strides": [1, 1, 1, 1, 1]},
        {"architecture": "mobilenet", "input_shape": (8, 20), "strides": [[1, 1]] * 4},
        {"architecture": "mobilenet", "input_shape": (8, 20), "dropout": 1.5},
        {"architecture": "samplecnn", "input_shape": (1, 100), "dropout": 1},
        {"architecture": "samplecnn", "input_shape": (1, 100), "pools": [3, 0, 3]},
        {"architecture": "samplecnn", "input_shape": (1, 100), "widths": "wide"},
    ],
    ids=str,
)
def test_impossible_values_are_never_a_traceback_from_inside_torch(spec):
    with pytest.raises(LightmelError):
        build(spec)


@pytest.mark.parametrize("name", names())
def test_no_builder_swallows_keywords(name):
    kinds = {parameter.kind for parameter in inspect.signature(registry.BUILDERS[name]).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.Parameter.VAR_POSITIONAL not in kinds


# Input shapes


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("shape", [(20,), (1, 8, 20), ()], ids=str)
def test_every_network_refuses_a_shape_that_is_not_two_axes(name, shape):
    with pytest.raises(ShapeError, match=r"An input shape is .*whole numbers from 1 on, not"):
        build(small(name) | {"input_shape": shape})


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("shape", [(0, 20), (8, -1), (8.0, 20), ("8", "20"), (None, 20), "820", 8], ids=repr)
def test_every_network_refuses_a_shape_that_is_not_whole_numbers(name, shape):
    with pytest.raises(ShapeError, match=r"An input shape is .*whole numbers from 1 on, not"):
        build(small(name) | {"input_shape": shape})


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ((8, 20), (8, 20)),
        ([1, 48_000], (1, 48_000)),
        (np.array([8, 20]), (8, 20)),
        ((np.int32(8), torch.tensor(20)), (8, 20)),
        (torch.zeros(8, 20).shape, (8, 20)),
        ((7,), (7,)),
        ((2, 3, 4), (2, 3, 4)),
    ],
    ids=repr,
)
def test_whole_numbers_become_pythons_own(given, shape):
    found = whole_numbers(given)
    assert found == whole_numbers(given, axes=len(shape)) == shape
    assert {type(n) for n in found} == {int}
    with pytest.raises(ShapeError, match=f"is {len(shape) + 1} whole numbers from 1 on"):
        whole_numbers(given, axes=len(shape) + 1)


# A network of one's own


class Mean(TaggingNetwork):
    """A linear layer on the means over the last axis, of inputs with one axis or more."""

    architecture = "mean_net"

    def __init__(self, input_shape, n_tags, width):
        super().__init__(input_shape, n_tags)
        self.embed_dim = width
        self.body = nn.Linear(self.input_shape[0], width)
        self.head = nn.Linear(width, self.n_tags)

    def spec(self):
        return {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "n_tags": self.n_tags,
            "width": self.embed_dim,
        }

    def features(self, x):
        return self.body(x.flatten(2).mean(-1))


def build_mean(input_shape, n_tags=50, *, width=3, generator=None):
    model = Mean(input_shape, n_tags, width)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, generator=generator)
    return model


@pytest.fixture
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "BUILDERS", dict(registry.BUILDERS))


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_network_is_built_from_its_spec_and_from_its_name():
    with pytest.raises(UnknownModelError):
        build({"architecture": "mean_net", "input_shape": (8, 20)})
    register("mean_net", build_mean)
    assert names() == ("vgg", "musicnn", "mobilenet", "fcn", "samplecnn", "mean_net")
    assert registry.arguments("mean_net") == ("input_shape", "n_tags", "width")
    model = build({"architecture": "mean_net", "input_shape": (8, 20)}, generator=seeded(0))
    assert isinstance(model, Mean)
    again = build(json.loads(json.dumps(model.spec())), generator=seeded(0))
    assert torch.equal(again.head.weight, model.head.weight)
    assert model(torch.zeros(2, 8, 20)).shape == (2, 50)
    with pytest.raises(ConfigError, match=r"mean_net has no argument 'widht'.*Did you mean 'width'"):
        build({"architecture": "mean_net", "input_shape": (8, 20), "widht": 4})

    config = MelConfig(16_000, 48, 2, "db")
    assert parse_name("mean_net-16k-mel48-x2-db") == ({"architecture": "mean_net"}, config)
    named, _ = build_named("mean_net-16k-mel48-x2-db", 1.0, 4, seeded(0))
    assert (named.input_shape, named.n_tags) == (config.input_shape(1.0), 4)
    with pytest.raises(ConfigError, match="mean_net has no option 'small'; it has none"):
        parse_name("mean_net-small-16k-mel48-x2-db")


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_network_takes_shapes_of_any_number_of_axes():
    register("mean_net", build_mean)
    for shape in [(1, 16_000), (8, 5, 4), (7, 1)]:
        model = build({"architecture": "mean_net", "input_shape": shape, "n_tags": 4})
        assert model(torch.zeros(2, *shape)).shape == (2, 4)
        wanted = ", ".join(map(str, shape))
        with pytest.raises(ShapeError, match=rf"wants \(batch, {wanted}\); it was given \(2, 9, 9\)"):
            model(torch.zeros(2, 9, 9))


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_network_is_counted_and_has_no_formula():
    register("mean_net", build_mean)
    model = build({"architecture": "mean_net", "input_shape": (8, 20), "n_tags": 5})
    cost = counted_cost(model)
    assert (cost.parameters, cost.macs, cost.activation_bytes) == (
        8 * 3 + 3 + 3 * 5 + 5,
        8 * 3 + 3 * 5,
        4 * 8,
    )
    with pytest.raises(UnknownModelError, match=r"no cost formula for 'mean_net'.*`counted_cost` counts any"):
        layer_costs(model)


@pytest.mark.usefixtures("_own_registry")
def test_a_name_is_registered_once_and_stands_before_a_hyphen():
    register("mean_net", build_mean)
    register("mean_net", build_mean)
    with pytest.raises(ConfigError, match="a network 'mean_net' already"):
        register("mean_net", lambda input_shape, n_tags=50, *, generator=None: None)
    with pytest.raises(ConfigError, match="a network 'vgg' already"):
        register("vgg", build_mean)
    for name in ("mean-net", "", "mean net", "2mean", "mean.net"):
        with pytest.raises(
            ConfigError, match="is no name for a network: letters, digits and underscores are"
        ):
            register(name, build_mean)
    assert names() == ("vgg", "musicnn", "mobilenet", "fcn", "samplecnn", "mean_net")
