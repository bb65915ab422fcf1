"""Networks rearranged for a processor give what they give as they are."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lightmel.models import TaggingNetwork, build
from lightmel.models.fast import InPieces

SHAPES = {"fcn": (96, 1813), "samplecnn": (1, 1_000), "samplecnn of other pools": (1, 400)}
SPECS: dict[str, dict[str, object]] = {
    "musicnn paper": {"architecture": "musicnn", "size": "small", "width": 12, "dense": 9},
    "musicnn pons": {"architecture": "musicnn", "size": "small", "variant": "pons"},
    "musicnn of many filters": {
        "architecture": "musicnn",
        "timbre": [(0.4, 7, 3000)],
        "width": 4,
        "dense": 5,
    },
    "musicnn every band": {
        "architecture": "musicnn",
        "variant": "pons",
        "size": "small",
        "every_band": True,
        "relu_first": True,
        "eps": 1e-3,
    },
    "vgg": {"architecture": "vgg", "widths": (8, 16, 24, 40)},
    "vgg of strides": {
        "architecture": "vgg",
        "widths": (8, 16, 8),
        "pools": [(1, 4), (3, 1), (2, 3)],
        "strides": [(2, 2), (2, 3), (2, 1)],
        "relu_first": True,
        "eps": 1e-3,
    },
    "fcn": {"architecture": "fcn"},
    "samplecnn": {"architecture": "samplecnn", "size": "small"},
    "samplecnn of other pools": {
        "architecture": "samplecnn",
        "widths": (4, 6, 10, 5),
        "pools": [10, 1, 9],
    },
    "mobilenet": {"architecture": "mobilenet"},
    "mobilenet of other strides": {
        "architecture": "mobilenet",
        "width": 0.2,
        "strides": [(2, 1), (1, 2), (2, 2), (1, 1), (2, 3)],
    },
}
SCALES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mixed": lambda w: w.copy_(torch.tensor([-1.5, 0.0, 0.7, -0.2, 1.0]).repeat(len(w))[: len(w)]),
    "negative": lambda w: w.uniform_(-2, -0.5, generator=seeded(9)),
    "positive": lambda w: w.uniform_(0.5, 2, generator=seeded(9)),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(name: str, scales: str = "mixed") -> tuple[TaggingNetwork, torch.Tensor]:
    """A network in evaluation mode, whose normalisations do something, and three inputs."""
    shape = SHAPES.get(name, (48, 95))
    network = build({"input_shape": shape, "n_tags": 5, **SPECS[name]}, generator=seeded(0)).eval()
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    with torch.no_grad():
        for i, norm in enumerate(norms):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            SCALES[scales](norm.weight)
            norm.bias.normal_(generator=seeded(100 + i))
            norm.running_mean.normal_(0, 0.3, generator=seeded(200 + i))
            norm.running_var.uniform_(0.5, 2, generator=seeded(300 + i))
    return network, torch.randn(3, *shape, generator=seeded(1))


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("name", SPECS)
def test_rearranged_is_the_same_in_float32(name: str, scales: str) -> None:
    """To the rounding of sums of some thousand products in another order."""
    network, x = trained(name, scales)
    fast = network.rearranged(torch.float32)
    assert fast is not None
    with torch.inference_mode():
        wanted, given = network.features(x), x.clone()
        found = fast(x)
        assert found.dtype == torch.float32
        assert torch.equal(x, given), "the input is another's"
        scale = float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-5 * scale)
        assert torch.equal(fast(x), found), "a second call finds everything as it was"
        torch.testing.assert_close(fast(x[1:2]), wanted[1:2], rtol=1e-4, atol=2e-5 * scale)


@pytest.mark.parametrize("name", SPECS)
def test_rearranged_is_near_in_bfloat16(name: str) -> None:
    """An eighth bit is lost at every layer; a filter in the wrong place would move everything."""
    network, x = trained(name, "positive")
    fast = network.rearranged(torch.bfloat16)
    assert fast is not None
    with torch.inference_mode():
        wanted, found = network.features(x), fast(x)
    assert found.dtype == torch.float32
    assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.02


@pytest.mark.parametrize("name", SPECS)
def test_rearranging_changes_nothing_and_learns_nothing(name: str) -> None:
    network, x = trained(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fast = network.rearranged(torch.float32)
    assert fast is not None
    with torch.inference_mode():
        found = fast(x)
        again = pickle.loads(pickle.dumps(fast))
        assert torch.equal(again(x), found)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_that_knows_nothing_faster_says_so() -> None:
    class Plain(TaggingNetwork):
        pass

    assert Plain((2, 3), 1).rearranged(torch.float32) is None


def test_pieces_are_as_large_as_the_cache_allows() -> None:
    seen = []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return 2 * x

    x = torch.arange(7.0)
    for bytes_each, sizes in ((600_000, [3, 3, 1]), (10**9, [1] * 7), (1, [7])):
        seen.clear()
        assert torch.equal(InPieces(function, bytes_each)(x), 2 * x)
        assert seen == sizes
