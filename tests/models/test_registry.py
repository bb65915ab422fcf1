from __future__ import annotations

import inspect
import json

import pytest
import torch

from lightmel.errors import ConfigError, LightmelError, ShapeError, UnknownModelError
from lightmel.models import TaggingNetwork, build, names, registry

SPECS = {
    "vgg": {"input_shape": (24, 91), "n_tags": 4, "widths": (2, 3, 4, 5)},
    "musicnn": {"input_shape": (24, 30), "n_tags": 4, "width": 6, "dense": 5, "size": "small"},
    "fcn": {"input_shape": (96, 1813), "n_tags": 4},
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
    replaced = {"vgg": {"size"}, "musicnn": {"size"}, "fcn": set()}[name]
    assert set(build(small(name)).spec()) == {"architecture", *registry.arguments(name)} - replaced


@pytest.mark.parametrize("name", names())
def test_every_network_keeps_the_promises_of_a_tagging_network(name):
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
    assert "'vgg', 'musicnn', 'fcn'" in str(caught.value)
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
    with pytest.raises(ConfigError, match="needs 'input_shape'"):
        build({"architecture": "vgg"})


@pytest.mark.parametrize(
    "spec",
    [
        {"architecture": "vgg", "input_shape": (8, 20), "widths": "wide"},
        {"architecture": "vgg", "input_shape": (8, 20), "pools": [1, 1, 1, 1]},
        {"architecture": "vgg", "input_shape": (8, 20), "n_tags": None},
        {"architecture": "vgg", "input_shape": "96x1366"},
        {"architecture": "musicnn", "input_shape": None},
        {"architecture": "musicnn", "input_shape": (8, 20), "width": -1},
        {"architecture": "musicnn", "input_shape": (8, 20), "timbre": [[0.4, 7]]},
        {"architecture": "musicnn", "input_shape": (8, 20), "variant": "jazz"},
        {"architecture": "fcn", "input_shape": (96, 187)},
    ],
    ids=str,
)
def test_nonsense_values_are_never_a_traceback_from_inside_torch(spec):
    with pytest.raises(LightmelError):
        build(spec)


@pytest.mark.parametrize("name", names())
def test_no_builder_swallows_keywords(name):
    kinds = {parameter.kind for parameter in inspect.signature(registry.BUILDERS[name]).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.Parameter.VAR_POSITIONAL not in kinds
