from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightmel.errors import ConfigError, ShapeError
from lightmel.models import TaggingNetwork, build, build_mobilenet, layer_costs, mobilenet
from lightmel.models.mobilenet import MobileNet, plan_strides, scaled

WIDTH = 0.1
# Kernel, expanded, out, squeeze and excitation, activation, stride: table 1 of the MobileNetV3 paper.
TABLE = [
    (3, 16, 16, False, F.relu, 1),
    (3, 64, 24, False, F.relu, 2),
    (3, 72, 24, False, F.relu, 1),
    (5, 72, 40, True, F.relu, 2),
    (5, 120, 40, True, F.relu, 1),
    (5, 120, 40, True, F.relu, 1),
    (3, 240, 80, False, F.hardswish, 2),
    (3, 200, 80, False, F.hardswish, 1),
    (3, 184, 80, False, F.hardswish, 1),
    (3, 184, 80, False, F.hardswish, 1),
    (3, 480, 112, True, F.hardswish, 1),
    (3, 672, 112, True, F.hardswish, 1),
    (5, 672, 160, True, F.hardswish, 2),
    (5, 960, 160, True, F.hardswish, 1),
    (5, 960, 160, True, F.hardswish, 1),
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomized(model: MobileNet) -> MobileNet:
    """Give every normalisation values of its own."""
    for i, layer in enumerate(m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))):
        with torch.no_grad():
            layer.weight.uniform_(0.5, 2, generator=seeded(100 + i))
            layer.bias.normal_(generator=seeded(200 + i))
            layer.running_mean.normal_(generator=seeded(300 + i))
            layer.running_var.uniform_(0.5, 2, generator=seeded(400 + i))
    return model


def sizes(shape: tuple[int, int]) -> list[tuple[int, ...]]:
    """Bands and frames after each of the five strided layers, and in the end, as a real pass has them."""
    with torch.device("meta"):
        model = build_mobilenet(shape, 3, width=WIDTH).eval()
        mel = torch.zeros(1, *shape)
    seen: list[tuple[int, ...]] = []
    strided = [model.first, *(model.blocks[i] for i, row in enumerate(TABLE) if row[5] == 2), model.last]
    for layer in strided:
        layer.register_forward_hook(lambda _layer, _given, out: seen.append(tuple(out.shape[2:])))
    assert model(mel).shape == (1, 3)
    return seen


# Strides


ONE, BOTH, BANDS = (1, 1), (2, 2), (2, 1)


@pytest.mark.parametrize(
    ("shape", "strides", "left"),
    [
        ((128, 1000), [BOTH] * 5, (4, 32)),  # the original, ten seconds
        ((96, 189), [BOTH] * 5, (3, 6)),  # three seconds of x1, x2, x5, x10 at 16 kHz
        ((48, 95), [ONE] + [BOTH] * 4, (3, 6)),
        ((48, 39), [ONE] + [BOTH] * 4, (3, 3)),
        ((48, 20), [ONE] + [BOTH] * 4, (3, 2)),
        ((24, 15), [ONE] * 2 + [BOTH] * 3, (3, 2)),  # of x10 at 12 kHz
        ((48, 7), [ONE, BANDS, BANDS, BOTH, BOTH], (3, 2)),
        ((13, 7), [ONE] * 3 + [BOTH] * 2, (4, 2)),
        ((96, 1), [BANDS] * 5, (3, 1)),
        ((2, 900), [ONE] * 5, (2, 900)),
        ((1, 1), [ONE] * 5, (1, 1)),
        ((1024, 1024), [BOTH] * 5, (32, 32)),
    ],
    ids=str,
)
def test_the_strides_of_an_input(shape, strides, left):
    assert plan_strides(shape) == tuple(strides)
    assert sizes(shape)[-1] == left


@given(st.integers(1, 300), st.integers(1, 3_000))
def test_strides_leave_three_bands_and_two_frames_and_no_more_than_they_must(bands, frames):
    strides = plan_strides((bands, frames))
    assert set(strides) <= {ONE, BANDS, BOTH}
    assert list(strides) == sorted(strides), "the last layers are the first to have one"
    freq, time = (sum(pair[axis] == 2 for pair in strides) for axis in (0, 1))
    assert freq == max(n for n in range(6) if n == 0 or bands / 2**n >= 3)
    left = frames
    for n in range(time):
        assert left >= 3, f"halving number {n} leaves one frame"
        left = -(-left // 2)
    assert time == freq or left == 2 or frames == 1


def test_the_strides_of_a_file_count_and_not_the_rule(monkeypatch):
    first = build_mobilenet((24, 30), 3, width=WIDTH, generator=seeded(0)).eval()
    spec = json.loads(json.dumps(first.spec()))  # as a weights file keeps it
    assert spec["strides"] == [[1, 1], [1, 1], [2, 2], [2, 2], [2, 2]]

    def another(_: object) -> tuple[tuple[int, int], ...]:
        return ((1, 1),) * 5

    monkeypatch.setattr(mobilenet, "plan_strides", another)
    assert build_mobilenet((24, 30), 3, width=WIDTH).strides == ((1, 1),) * 5
    again = build(spec)
    again.load_state_dict(first.state_dict(), strict=True)
    mel = torch.randn(2, 24, 30, generator=seeded(1))
    assert again.spec() == first.spec()
    assert torch.equal(again.eval()(mel), first(mel))


# What it computes


def test_widths_are_multiples_of_eight_near_the_wanted():
    # From the original's tensors at width .4.
    wanted = {16: 8, 24: 16, 40: 16, 80: 32, 112: 48, 160: 64, 64: 24, 72: 32, 120: 48, 240: 96, 200: 80}
    wanted |= {184: 72, 480: 192, 672: 272, 960: 384, 1280: 512}
    assert {n: scaled(n, 0.4) for n in wanted} == wanted
    for width in (0.01, 0.3, 0.75, 1.0, 1.7, 4.0):
        for n in wanted:
            assert scaled(n, width) % 8 == 0
            assert scaled(n, width) >= 0.9 * n * width
            assert scaled(n, width) <= max(8, n * width + 8)
    assert all(scaled(n, 1.0) == n for n in wanted)


@pytest.mark.parametrize("shape", [(24, 30), (13, 7), (40, 21)], ids=str)
def test_it_computes_what_the_paper_describes(shape):
    """Against the layers written out from the paper's table, with the weights by their names."""
    model = randomized(build_mobilenet(shape, 5, width=WIDTH, generator=seeded(0))).eval()
    state = model.state_dict()
    mel = torch.randn(3, *shape, generator=seeded(1))

    def normalise(x, name):
        mean, var, scale, shift = (
            state[f"{name}.{leaf}"].reshape(1, -1, *(1,) * (x.ndim - 2))
            for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + (1e-5 if name == "input_norm" else 1e-3)).sqrt() * scale + shift

    def convolve(x, name, stride=(1, 1), depthwise=False):
        weight = state[f"{name}.conv.weight"]
        pad = (weight.shape[-1] - 1) // 2
        y = F.conv2d(x, weight, None, stride, pad, groups=x.shape[1] if depthwise else 1)
        return normalise(y, f"{name}.bn")

    strides = iter(plan_strides(shape))
    x = normalise(mel, "input_norm")[:, None]
    x = F.hardswish(convolve(x, "first", next(strides)))
    for i, (kernel, expanded, out, squeezed, activation, stride) in enumerate(TABLE):
        name, y = f"blocks.{i}", x
        if f"{name}.expand.conv.weight" in state:
            y = activation(convolve(y, f"{name}.expand"))
        assert y.shape[1] == scaled(expanded, WIDTH)
        assert state[f"{name}.depthwise.conv.weight"].shape[-2:] == (kernel, kernel)
        own = next(strides) if stride == 2 else (1, 1)
        y = activation(convolve(y, f"{name}.depthwise", own, depthwise=True))
        if squeezed:
            gate = y.flatten(2).mean(-1)
            for layer, act in (("squeeze", F.relu), ("excite", torch.sigmoid)):
                weight, bias = (
                    state[f"{name}.squeeze_excitation.{layer}.{leaf}"] for leaf in ("weight", "bias")
                )
                gate = act(gate @ weight.T + bias)
            y = y * gate[:, :, None, None]
        y = convolve(y, f"{name}.project")
        assert y.shape[1] == scaled(out, WIDTH)
        # The original adds the input where its own stride is 1, whatever that of this input is.
        x = y + x if stride == 1 and y.shape[1] == x.shape[1] else y
    pooled = F.hardswish(convolve(x, "last")).flatten(2).mean(-1)
    embedding = F.hardswish(pooled @ state["dense.weight"].T + state["dense.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model.pooled(mel), pooled, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.embed(mel), embedding, rtol=1e-4, atol=1e-4)
        logits = embedding @ state["head.weight"].T + state["head.bias"]
        torch.testing.assert_close(model(mel), logits, rtol=1e-4, atol=1e-4)


def test_only_the_first_block_lacks_an_expansion_at_the_originals_width():
    with torch.device("meta"):
        model = build_mobilenet((48, 95))
    missing = [i for i, block in enumerate(model.blocks) if isinstance(block.expand, nn.Identity)]
    assert missing == [0]
    assert model.embed_dim == 512
    costs = layer_costs(model)
    assert sum(cost.parameters for cost in costs.values()) == 738_994
    assert sum(cost.macs for cost in costs.values()) == pytest.approx(16e6, rel=0.03)


def test_an_embedding_of_evaluation_is_always_the_same():
    model = build_mobilenet((24, 30), 5, width=WIDTH, generator=seeded(0))
    mel = torch.randn(3, 24, 30, generator=seeded(1))
    assert isinstance(model, TaggingNetwork)
    model.eval()
    with torch.inference_mode():
        first = model.embed(mel)
        assert first.shape == (3, model.embed_dim) == (3, scaled(1280, WIDTH))
        assert torch.equal(model.embed(mel), first)
        assert model.pooled(mel).shape == (3, 6 * scaled(160, WIDTH))


# Weights


def test_a_seed_is_all_that_the_weights_depend_on_and_nothing_else_is_drawn():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_mobilenet((8, 20), 4, width=WIDTH, generator=seeded(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build_mobilenet((8, 20), 4, width=WIDTH, generator=seeded(5))
    other = build_mobilenet((8, 20), 4, width=WIDTH, generator=seeded(6))
    assert all(torch.equal(a, second.state_dict()[name]) for name, a in first.state_dict().items())
    assert not torch.equal(first.head.weight, other.head.weight)


def test_every_tensor_of_a_new_network_is_set():
    model = build_mobilenet((8, 20), 4, width=WIDTH, generator=seeded(0))
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert torch.equal(layer.weight, torch.ones_like(layer.weight)), name
            assert torch.equal(layer.running_var, torch.ones_like(layer.running_var)), name
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = layer.weight[0].numel() ** -0.5
            assert 0 < layer.weight.abs().max() <= bound, name
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.4), name


def test_it_learns():
    """Every weight gets a gradient, and a few steps fit a few clips."""
    model = build_mobilenet((12, 16), 3, width=WIDTH, dropout=0.0, generator=seeded(0))
    mel = torch.randn(16, 12, 16, generator=seeded(1))
    labels = (torch.rand(16, 3, generator=seeded(2)) > 0.5).float()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(mel), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert losses[-1] < 0.2 * losses[0]


# How it is run


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_channels_last_give_the_same(training):
    model = build_mobilenet((24, 30), 5, width=WIDTH, dropout=0.0, generator=seeded(0)).train(training)
    mel = torch.randn(4, 24, 30, generator=seeded(1))
    first = model(mel)
    model.lay_out(model.memory_format)
    assert model.memory_format == torch.channels_last
    assert model.first.conv.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(mel), first, rtol=1e-4, atol=1e-5)


def test_it_can_be_exported():
    model = build_mobilenet((24, 30), 5, width=WIDTH, generator=seeded(0)).eval()
    mel = torch.randn(3, 24, 30, generator=seeded(1))
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (mel[:2],), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(mel), model(mel))


# What cannot be


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ConfigError, "from 0 to 8, not 0"),
        ({"width": -0.4}, ConfigError, r"not -0\.4"),
        ({"width": 8.1}, ConfigError, r"not 8\.1"),
        ({"width": float("nan")}, ConfigError, "not nan"),
        ({"n_tags": 0}, ShapeError, "at least one tag"),
        ({"input_shape": (8, 0)}, ShapeError, "whole numbers from 1 on"),
        ({"input_shape": (8,)}, ShapeError, "2 whole numbers"),
        ({"strides": [(1, 1)] * 4}, ShapeError, r"5 strides \(frequency, time\), each at least 1"),
        ({"strides": [(1, 1)] * 4 + [(0, 1)]}, ShapeError, "each at least 1"),
        ({"strides": []}, ShapeError, "5 strides"),
    ],
)
def test_a_network_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        build_mobilenet(**{"input_shape": (8, 20), "n_tags": 3, "width": WIDTH} | arguments)


@pytest.mark.parametrize("shape", [(8, 20), (2, 20, 8), (2, 8, 21), (2, 1, 8, 20)])
def test_a_wrong_input_is_refused_with_the_shape_that_is_wanted(shape):
    model = build_mobilenet((8, 20), 3, width=WIDTH, generator=seeded(0))
    with pytest.raises(ShapeError, match=r"wants \(batch, 8, 20\).*given \(" + str(shape[0])):
        model(torch.zeros(shape))
