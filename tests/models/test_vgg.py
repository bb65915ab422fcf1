from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightmel.errors import ConfigError, LightmelError, ShapeError
from lightmel.frontends import PAPER_CONFIGS
from lightmel.models import build_vgg, plan

TINY = (2, 3, 4, 5)
SHAPES = sorted({config.input_shape() for config in PAPER_CONFIGS})


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_full_network_ends_at_1x1_on_every_shape_of_the_paper(shape):
    with torch.device("meta"):
        model = build_vgg(shape).eval()
        mel = torch.zeros(2, *shape)
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda _layer, _given, out: seen.append(tuple(out.shape)))
    assert model(mel).shape == (2, 50)
    assert seen == [(2, n, *s) for n, s in zip((128, 384, 768, 2048), plan(shape).sizes[1:], strict=True)]
    assert seen[-1] == (2, 2048, 1, 1)
    assert model.embed(mel).shape == (2, model.embed_dim) == (2, 2048)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 256), st.integers(1, 10_000), st.integers(1, 60))
def test_any_shape_and_any_number_of_tags_works(n_mels, n_frames, n_tags):
    with torch.device("meta"):
        model = build_vgg((n_mels, n_frames), n_tags, size="small")
        assert model(torch.zeros(3, n_mels, n_frames)).shape == (3, n_tags)


def test_it_computes_what_the_paper_describes():
    """Against the layers written out: normalise, then four times convolve, normalise, ELU, pool."""
    model = build_vgg((48, 137), 7, widths=TINY, generator=seeded(0))
    for layer in model.modules():  # normalisations that do something
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.bias.data, layer.running_mean):
                values.normal_(generator=seeded(1))
            layer.running_var.uniform_(0.5, 2, generator=seeded(2))
    model.eval()
    mel = torch.randn(3, 48, 137, generator=seeded(3))

    def normalise(x: torch.Tensor, bn: nn.BatchNorm2d) -> torch.Tensor:
        mean, var, weight, bias = (
            v[:, None, None] for v in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = normalise(mel[:, None], model.input_norm)
    for block, pool in zip(model.blocks, [(2, 4), (4, 5), (3, 4), (2, 1)], strict=True):
        x = nn.functional.conv2d(x, block.conv.weight, block.conv.bias, padding=1)
        x = normalise(x, block.bn)
        x = torch.where(x > 0, x, x.exp() - 1)
        x = nn.functional.max_pool2d(x, pool)
    assert x.shape == (3, TINY[-1], 1, 1)
    torch.testing.assert_close(model.embed(mel), x[..., 0, 0])
    torch.testing.assert_close(model(mel), x[..., 0, 0] @ model.head.weight.T + model.head.bias)


def test_elu_comes_after_the_pool_with_the_numbers_and_gradients_of_the_other_order(monkeypatch):
    block = build_vgg((48, 137), 7, widths=TINY, generator=seeded(0)).blocks[1]
    x = torch.randn(3, TINY[0], 24, 34, generator=seeded(1)).requires_grad_()
    expected = nn.functional.max_pool2d(nn.functional.elu(block.bn(block.conv(x))), block.pool)
    (slope,) = torch.autograd.grad(expected.square().sum(), x)
    elu, seen = nn.functional.elu, []
    monkeypatch.setattr(nn.functional, "elu", lambda y: (seen.append(y.shape), elu(y))[1])
    found = block(x)
    assert seen == [expected.shape]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], slope)


def test_strided_it_computes_what_its_arguments_describe():
    """Convolve, ReLU, normalise, pool, whatever is left flattened: channels, bands, frames."""
    pools, strides = [(1, 4), (2, 2), (2, 3)], [(2, 2), (2, 2), (2, 3)]
    arguments = {"widths": (2, 3, 4), "pools": pools, "strides": strides, "relu_first": True, "eps": 0.05}
    model = build_vgg((10, 33), 7, **arguments, generator=seeded(0))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight.data, layer.bias.data, layer.running_mean):
                values.normal_(generator=seeded(1))
            layer.running_var.uniform_(0.5, 2, generator=seeded(2))
    model.eval()
    mel = torch.randn(3, 10, 33, generator=seeded(3))

    def normalise(x: torch.Tensor, bn: nn.BatchNorm2d) -> torch.Tensor:
        mean, var, weight, bias = (
            v[:, None, None] for v in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
        )
        return (x - mean) / (var + 0.05).sqrt() * weight + bias

    x = normalise(mel[:, None], model.input_norm)
    for block, (high, wide), (down, on) in zip(model.blocks, pools, strides, strict=True):
        x = nn.functional.conv2d(x, block.conv.weight, block.conv.bias, padding=1)
        x = normalise(x.relu(), block.bn)
        x = x.unfold(2, high, down).unfold(3, wide, on).amax(dim=(4, 5))
    assert x.shape == (3, 4, 1, 2)
    assert model.embed_dim == 8
    torch.testing.assert_close(model.embed(mel), x.flatten(1))
    torch.testing.assert_close(model(mel), x.flatten(1) @ model.head.weight.T + model.head.bias)


def test_small_is_a_quarter_of_the_paper():
    with torch.device("meta"):
        full, small = build_vgg((48, 137)), build_vgg((48, 137), size="small")
    assert full.widths == (128, 384, 768, 2048)
    assert small.widths == (32, 96, 192, 512) == tuple(width // 4 for width in full.widths)


def test_a_seed_is_all_that_the_weights_depend_on_and_nothing_else_is_drawn():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_vgg((8, 20), widths=TINY, generator=seeded(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build_vgg((8, 20), widths=TINY, generator=seeded(5))
    other = build_vgg((8, 20), widths=TINY, generator=seeded(6))
    assert all(torch.equal(a, second.state_dict()[name]) for name, a in first.state_dict().items())
    assert not torch.equal(first.head.weight, other.head.weight)


def test_without_a_generator_torchs_own_seed_counts():
    torch.manual_seed(3)
    first = build_vgg((8, 20), widths=TINY)
    torch.manual_seed(3)
    second = build_vgg((8, 20), widths=TINY)
    assert torch.equal(first.blocks[2].conv.weight, second.blocks[2].conv.weight)


def test_every_tensor_of_a_new_network_is_set():
    model = build_vgg((8, 20), widths=TINY, generator=seeded(0))
    state = model.state_dict()
    assert all(torch.isfinite(value).all() for value in state.values())
    for i in range(4):
        bound = 1 / (9 * (1, *TINY)[i]) ** 0.5
        assert 0 < state[f"blocks.{i}.conv.weight"].abs().max() <= bound
        assert torch.equal(state[f"blocks.{i}.bn.running_var"], torch.ones(TINY[i]))
        assert torch.equal(state[f"blocks.{i}.bn.weight"], torch.ones(TINY[i]))


def test_it_learns():
    """Both normalisations and every weight get a gradient, and a few steps fit a few clips."""
    model = build_vgg((8, 20), 3, widths=(8, 8, 8, 8), generator=seeded(0))
    mel = torch.randn(16, 8, 20, generator=seeded(1))
    labels = (torch.rand(16, 3, generator=seeded(2)) > 0.5).float()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(mel), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "bias" not in n
    )
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("shape", [(8, 20), (2, 20, 8), (2, 8, 21), (2, 1, 8, 20), (160,)])
def test_a_wrong_input_is_refused_with_the_shape_that_is_wanted(shape):
    model = build_vgg((8, 20), widths=TINY, generator=seeded(0))
    with pytest.raises(ShapeError, match=r"wants \(batch, 8, 20\).*given \(" + str(shape[0])):
        model(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": "smal"}, ConfigError, "'full' and 'small', not 'smal'. Did you mean 'small'"),
        ({"widths": (1, 2, 3)}, ShapeError, "a width, a pool and a stride: as many of each"),
        ({"widths": (1, 2, 3, 0)}, ShapeError, "at least 1"),
        ({"pools": [(2, 2)] * 4}, ShapeError, "leave 0 of them"),
        ({"pools": [(8, 20)]}, ShapeError, "a width, a pool and a stride: as many of each"),
        ({"n_tags": 0}, ShapeError, "at least one tag"),
        ({"strides": [(1, 1)] * 3}, ShapeError, "a width, a pool and a stride: as many of each"),
        ({"strides": [(0, 1)] * 4}, ShapeError, "at least 1 and leave something"),
        ({"strides": [(2, 4)] * 4, "pools": [(1, 1)] * 3 + [(9, 1)]}, ShapeError, "leave something of"),
        ({"pools": [], "widths": []}, ShapeError, "leave 8 of them"),
        ({"eps": -1.0}, ConfigError, "a finite number above 0, not -1"),
        ({"input_shape": (8, 0)}, ShapeError, "n_mels, n_frames"),
    ],
)
def test_a_network_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        build_vgg(**{"input_shape": (8, 20), "n_tags": 3} | arguments)
    assert isinstance(caught.value, LightmelError)


def test_pools_can_be_given():
    model = build_vgg((8, 20), 2, widths=TINY, pools=[(1, 20), (8, 1), (1, 1), (1, 1)], generator=seeded(0))
    assert model(torch.zeros(2, 8, 20)).shape == (2, 2)
    assert model.spec()["pools"] == [[1, 20], [8, 1], [1, 1], [1, 1]]


def test_a_new_head_shares_the_body():
    model = build_vgg((8, 20), 5, widths=TINY, generator=seeded(0)).eval()
    other = model.with_head(9, seeded(1))
    mel = torch.randn(2, 8, 20, generator=seeded(2))
    assert torch.equal(model.embed(mel), other.embed(mel))
    assert other(mel).shape == (2, 9)
    assert other.spec() == model.spec() | {"n_tags": 9}
    assert model(mel).shape == (2, 5)
