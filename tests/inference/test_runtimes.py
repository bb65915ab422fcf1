"""What runs a network: a frozen copy of it in PyTorch, or a class of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lightmel
from lightmel.checkpoint import weights_sha256
from lightmel.datasets import Dataset, Split
from lightmel.errors import ConfigError, WeightsError
from lightmel.evaluation import evaluate
from lightmel.inference import Output, Runtime, Tagger, TorchRuntime

SR = 16_000
Sound = Callable[..., np.ndarray]
Tiny = Callable[..., Tagger]


# PyTorch's: nobody who shares a tagger can change it


def frozen(tagger: Tagger) -> torch.nn.Module:
    """The network that is run; not for users."""
    assert isinstance(tagger.runtime, TorchRuntime)
    return tagger.runtime._network


def change(network: torch.nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.add_(1)


def test_what_is_run_learns_nothing(model: Tagger, sound: Sound) -> None:
    network = frozen(model)
    assert not network.training
    assert [name for name, p in network.named_parameters() if p.requires_grad] == []
    scores, embedding = model.runtime.run(sound(0.5)[None])
    assert isinstance(scores, np.ndarray)
    assert isinstance(embedding, np.ndarray)
    logits = model.runtime.logits(torch.from_numpy(sound(0.5)[None]))
    assert not logits.requires_grad
    assert torch.is_grad_enabled()


def test_a_taggers_network_is_a_copy_to_train_or_to_look_at(model: Tagger) -> None:
    first, second = model.network, model.network
    assert first is not second
    tensors = [dict(n.state_dict(keep_vars=True)) for n in (first, second, frozen(model))]
    assert len({len(t) for t in tensors}) == 1
    for name, own in tensors[0].items():
        assert all(torch.equal(own, other[name]) for other in tensors[1:])
        assert len({t[name].data_ptr() for t in tensors}) == 3, f"{name} is shared"
    assert not first.training
    assert {p.device.type for p in first.parameters()} == {"cpu"}
    assert first.spec() == second.spec()


def test_a_copy_learns_what_the_original_could(tiny_network: Callable[..., Any], model: Tagger) -> None:
    """MUSICNN's normalization of its input stays as it is in every training."""
    network = tiny_network((16, 9))
    learning = {name: p.requires_grad for name, p in network.named_parameters()}
    assert {name for name, learns in learning.items() if not learns} == {
        "input_norm.weight",
        "input_norm.bias",
    }
    network.head.weight.requires_grad_(False)
    learning["head.weight"] = False
    tagger = Tagger(network, model.description)
    assert {name: p.requires_grad for name, p in tagger.network.named_parameters()} == learning
    other = tagger.network
    other.requires_grad_(True)
    assert {name: p.requires_grad for name, p in tagger.network.named_parameters()} == learning


def test_changing_or_training_a_copy_changes_no_score(tiny: Tiny, sound: Sound, tmp_path: Path) -> None:
    tagger, wave = tiny(0), sound(1.7)
    wanted, embedding = tagger.tag(wave, SR), tagger.embed(wave, SR)
    tagger.save(tmp_path / "before")
    change(tagger.network)
    network = tagger.network.train()
    optimizer = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=1.0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(4, *network.input_shape)).square().mean().backward()
        optimizer.step()
    moved = [k for k, v in network.state_dict().items() if not torch.equal(v, before[k])]
    assert "head.weight" in moved
    assert "input_norm.weight" not in moved
    assert tagger.tag(wave, SR) == wanted
    assert np.array_equal(tagger.embed(wave, SR), embedding)
    tagger.save(tmp_path / "after")
    assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
    again = Tagger(network, tagger.description)
    assert again.tag(wave, SR).scores != wanted.scores


def test_the_network_that_was_given_stays_the_givers(
    tiny_network: Callable[..., Any], model: Tagger, sound: Sound
) -> None:
    network, wave = tiny_network((16, 9)).train(), sound(1.7)
    learning = [p.requires_grad for p in network.parameters()]
    tagger = Tagger(network, model.description)
    assert network.training, "it is not even put into evaluation mode"
    assert [p.requires_grad for p in network.parameters()] == learning
    wanted = tagger.tag(wave, SR)
    assert wanted == model.tag(wave, SR)
    change(network)
    assert tagger.tag(wave, SR) == wanted
    network.head = torch.nn.Linear(1, 1)
    assert tagger.tag(wave, SR) == wanted
    assert tagger.network.head.out_features == 3


def test_a_tagger_with_other_tags_is_another(model: Tagger, sound: Sound) -> None:
    wanted = model.tag(sound(1), SR)
    other = model.with_tags(("a", "b"), torch.Generator().manual_seed(0))
    assert other.tags == ("a", "b")
    assert other.name == "tiny-0-untrained"
    assert np.array_equal(other.embed(sound(1), SR), model.embed(sound(1), SR))
    assert other.tag(sound(1), SR).scores != wanted.scores[:2]
    change(other.network)
    assert model.tag(sound(1), SR) == wanted
    assert model.tags == ("voice", "strings", "drums")


# A class of one's own


class Levels:
    """Scores by the level of a segment, which needs no network: mean, root of the mean square, and peak."""

    device, precision, batch_seconds, n_tags, embed_dim = "abacus", "float64", 1.6, 3, 2
    weights = "no weights"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, waves: np.ndarray) -> Output:
        assert waves.dtype == np.float32
        self.sizes.append(len(waves))
        size = np.abs(waves.astype(np.float64))
        levels = np.stack([size.mean(axis=1), np.sqrt((size**2).mean(axis=1)), size.max(axis=1)], axis=1)
        return Output(np.clip(levels, 0, 1), levels[:, :2].astype(np.float32))


@pytest.fixture
def levels(model: Tagger) -> tuple[Tagger, Levels]:
    runtime = Levels()
    return Tagger(runtime, model.description), runtime


def test_a_runtime_must_fit_and_has_its_device_already(model: Tagger) -> None:
    runtime: Runtime = Levels()  # whatever does what one does
    for given in ({"device": "cpu"}, {"precision": "float32"}):
        with pytest.raises(ConfigError, match=r"has its device and precision, \('abacus', 'float64'\)"):
            Tagger(runtime, model.description, **given)
    two = replace(model.description, tags=("a", "b"))
    with pytest.raises(WeightsError, match="gives 3 scores for 2 tags"):
        Tagger(runtime, two)


def test_a_runtime_of_ones_own_is_evaluated(
    levels: tuple[Tagger, Levels], sound: Sound, wav: Callable[..., Path]
) -> None:
    tagger, _ = levels
    path = wav(sound(2))
    rows = np.eye(3, dtype=bool)
    paths = tuple(f"{i}.wav" for i in range(3))
    for name in paths:
        shutil.copy(path, path.parent / name)
    data = Dataset("d", "p", path.parent, tagger.tags, {"test": Split(paths, rows, paths)}, "c", "l", "s")
    assert evaluate(tagger, data).weights == "no weights"


def test_the_digest_of_pytorchs_is_that_of_the_weights(model: Tagger) -> None:
    assert model.runtime.weights == weights_sha256(model.network)


def test_a_runtime_of_ones_own_tags(
    levels: tuple[Tagger, Levels], sound: Sound, wav: Callable[..., Path]
) -> None:
    tagger, runtime = levels
    wave, length = sound(3.2), tagger.segment_samples
    starts = [*range(0, len(wave) - length + 1, length), len(wave) - length]
    each = Levels().run(np.stack([wave[s : s + length] for s in starts]))
    tagging = tagger.tag(wave, SR)
    assert [tagging[tag] for tag in tagger.tags] == pytest.approx(each.scores.mean(axis=0), abs=1e-12)
    assert runtime.sizes == [3, 3, 1], "1.6 s are three segments at a time"
    assert (tagging.model, tagging.license) == ("tiny-0", "CC0-1.0")
    assert tagger.tag(wav(wave)) == tagging
    assert list(tagger.tag_many([wave, wave], SR)) == [tagging, tagging]
    assert lightmel.tag(wave, SR, model=tagger) == tagging
    taggram = tagger.taggram(wave, SR)
    assert np.array_equal(taggram.scores, each.scores)
    assert (taggram.times[:, 0] * SR).round().tolist() == starts
    embedding = tagger.embed(wave, SR)
    assert (embedding.dtype, embedding.shape) == (np.float32, (2,))
    assert embedding == pytest.approx(each.embedding.mean(axis=0), abs=1e-6)
    assert tagger.runtime is runtime
    assert tagger.device == "abacus"
    assert repr(tagger) == "<Tagger tiny-0: 3 tags, 16k-mel16-x4-db, 0.5 s>"


def test_a_runtime_of_ones_own_has_no_pytorch_network(levels: tuple[Tagger, Levels], tmp_path: Path) -> None:
    tagger, _ = levels
    for call in (
        lambda: tagger.network,
        lambda: tagger.save(tmp_path / "a.safetensors"),
        lambda: tagger.with_tags(("a",)),
    ):
        with pytest.raises(
            ConfigError, match=r"tiny-0 is not run by PyTorch: load its \.safetensors file for"
        ):
            call()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="tiny-0 runs on abacus: load it with device='cpu' instead"):
        lightmel.tag(np.zeros(SR), SR, model=tagger, device="cpu")
