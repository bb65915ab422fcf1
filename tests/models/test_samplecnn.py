"""SampleCNN: the paper's table, any other length, what it computes, and bad input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmel.errors import ConfigError, ShapeError
from lightmel.models import build_samplecnn, layer_costs, network_cost, segment_seconds
from lightmel.models.pooling import fitted


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_its_layers_are_those_of_the_papers_table() -> None:
    """Lee et al. 2017, table 2: model 3^9, with the frames and filters that leave each layer."""
    with torch.device("meta"):
        model = build_samplecnn((1, 59_049)).eval()
        seen = []
        for layer in [model.first, *model.blocks, model.last]:
            layer.register_forward_hook(lambda _layer, _given, out: seen.append(tuple(out.shape[1:])))
        assert model(torch.zeros(2, 1, 59_049)).shape == (2, 50)
    widths = (128, 128, 128, 256, 256, 256, 256, 256, 256, 512)
    assert seen == [*((width, 3 ** (9 - i)) for i, width in enumerate(widths)), (512, 1)]
    assert model.pools == (3,) * 9
    # The table's parameters, without those of the normalisations.
    convolutions = (512, 49_280, 49_280, 98_560, *[196_864] * 5, 393_728, 262_656)
    weights = [layer.conv.weight.numel() + layer.conv.bias.numel() for layer in model._layers()]  # type: ignore[union-attr, operator, misc]
    assert weights == [*convolutions]
    assert network_cost(model).parameters == sum(convolutions) + 2 * (sum(widths) + 512) + 512 * 50 + 50


def test_small_has_a_quarter_of_the_filters() -> None:
    full, small = (build_samplecnn((1, 300), size=size) for size in ("full", "small"))
    assert [4 * n for n in small.widths] == list(full.widths)
    costs = [layer_costs(model) for model in (full, small)]
    assert [costs[0][name].macs / costs[1][name].macs for name in ("first", "blocks.1", "head")] == [4, 16, 4]


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 500_000))
def test_pools_of_three_fit_any_length_as_nearly_as_they_can(samples: int) -> None:
    with torch.device("meta"):
        model = build_samplecnn((1, samples), 7, size="small")
        assert model(torch.zeros(2, 1, samples)).shape == (2, 7)
    frames = samples // 3
    left = frames - math.prod(model.pools)
    assert 0 <= left <= max(frames / 8, 1)
    assert abs(math.log(frames, 3) - len(model.pools)) <= 0.5 or len(model.pools) == 1
    assert set(model.pools[:-3]) <= {3}, "the last three are changed at most"
    assert len(model.widths) == 1 + len(model.pools)


@pytest.mark.parametrize(
    ("size", "paper", "pools"),
    [(27, (3, 3, 3), (3, 3, 3)), (29, (3, 3, 3), (3, 3, 3)), (36, (3, 3, 3), (3, 3, 4)), (1, (3,), (1,))],
)
def test_the_last_pools_are_changed_first(size: int, paper: tuple[int, ...], pools: tuple[int, ...]) -> None:
    assert fitted(size, paper) == pools


def test_it_computes_what_the_paper_describes() -> None:
    model = build_samplecnn((1, 270), 4, widths=(5, 6, 7, 8), pools=(3, 5, 6), generator=seeded(0))
    layers: list[Any] = model._layers()
    for layer in layers:
        for values in (layer.bn.weight.data, layer.bn.bias.data, layer.bn.running_mean):
            values.normal_(generator=seeded(1))
        layer.bn.running_var.uniform_(0.5, 2, generator=seeded(2))
    model.eval()
    wave = torch.randn(3, 1, 270, generator=seeded(3))

    def layer(x: torch.Tensor, own: Any) -> torch.Tensor:
        y = torch.einsum("bctk,fck->bft", x, own.conv.weight) + own.conv.bias[:, None]
        mean, var, weight, bias = (
            v[:, None] for v in (own.bn.running_mean, own.bn.running_var, own.bn.weight, own.bn.bias)
        )
        return ((y - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)

    x = layer(wave.unflatten(-1, (90, 3)), layers[0])
    for own, pool in zip(layers[1:-1], (3, 5, 6), strict=True):
        y = layer(F.pad(x, (1, 1)).unfold(-1, 3, 1), own)
        x = y.unflatten(-1, (y.shape[-1] // pool, pool)).amax(-1)
    x = layer(x[..., None], layers[-1])[..., 0]
    with torch.no_grad():
        torch.testing.assert_close(model.embed(wave), x, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(wave), x @ model.head.weight.T + model.head.bias)


def test_dropout_is_before_the_head_and_in_training_only() -> None:
    model = build_samplecnn((1, 90), 4, size="small", dropout=0.9, generator=seeded(0)).train()
    wave = torch.randn(8, 1, 90, generator=seeded(1))
    assert float((model.embed(wave) == 0).float().mean()) > 0.85
    assert torch.equal(model.eval().embed(wave), model.embed(wave))


def test_its_usual_input_is_the_papers_number_of_samples() -> None:
    for sr in (16_000, 22_050):
        assert round(segment_seconds("samplecnn", sr) * sr) == 59_049
    assert segment_seconds("vgg", 16_000) == 29.1
    with pytest.raises(ConfigError, match="For mobilenet no usual length of input is known"):
        segment_seconds("mobilenet", 16_000)


@pytest.mark.parametrize(
    ("shape", "arguments", "error", "message"),
    [
        ((48, 95), {}, ShapeError, r"takes a wave, \(1, samples\).*not \(48, 95\).*such as 16k-wave"),
        ((1, 2), {}, ShapeError, "with 3 samples or more"),
        ((1, 270), {"pools": (3, 3, 3)}, ShapeError, r"90 frames of 270 samples.*\(3, 3, 3\) do not"),
        ((1, 270), {"pools": ()}, ShapeError, "to a single one"),
        ((1, 81), {"widths": (8, 8)}, ShapeError, "and for each of its 3 blocks, not"),
        ((1, 81), {"widths": (8, 0, 8, 8)}, ShapeError, "a width from 1 on"),
        ((1, 81), {"size": "smal"}, ConfigError, "'full' and 'small', not 'smal'. Did you mean 'small'"),
        ((1, 81), {"dropout": 1}, ConfigError, "from 0 to less than 1, not 1"),
    ],
)
def test_what_it_cannot_be_is_refused(
    shape: tuple[int, int], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_samplecnn(shape, **arguments)
