from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import PAPER_CONFIGS
from lightmel.models import build_musicnn, counted_cost, network_cost
from lightmel.models.musicnn import Musicnn

SHAPES = sorted({config.input_shape(3.0) for config in PAPER_CONFIGS})
LITTLE = {
    "timbre": [(0.9, 7, 4), (0.4, 3, 5), (0.4, 1, 2)],
    "temporal": [(32, 3), (165, 2)],
    "width": 6,
    "dense": 8,
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomized(model: Musicnn) -> Musicnn:
    """Give every normalisation values of its own, about half of the scales negative."""
    for i, layer in enumerate(m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))):
        with torch.no_grad():
            layer.weight.normal_(generator=seeded(100 + i))
            layer.bias.normal_(generator=seeded(200 + i))
            layer.running_mean.normal_(generator=seeded(300 + i))
            layer.running_var.uniform_(0.5, 2, generator=seeded(400 + i))
    return model


def normalise(x: torch.Tensor, bn: nn.Module, training: bool) -> torch.Tensor:
    """Batch normalisation written out, over every axis but the channels."""
    dims = [d for d in range(x.ndim) if d != 1]
    mean, var = (x.mean(dims), x.var(dims, correction=0)) if training else (bn.running_mean, bn.running_var)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var, weight, bias = (v.reshape(shape) for v in (mean, var, bn.weight, bn.bias))
    return (x - mean) / (var + bn.eps).sqrt() * weight + bias


def written_out(model: Musicnn, mel: torch.Tensor, training: bool = False) -> torch.Tensor:
    """The paper's and Pons's networks in the order of their texts, without dropout."""
    paper = model.variant == "paper"

    def activate(y: torch.Tensor, bn: nn.Module) -> torch.Tensor:
        if model.relu_first:
            return normalise(y.relu(), bn, training)
        return normalise(y, bn, training).relu()

    def convolve(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
        n = layer.conv.weight.shape[-1]
        padded = nn.functional.pad(x, ((n - 1) // 2, n // 2))
        y = (nn.functional.conv2d if x.ndim == 4 else nn.functional.conv1d)(
            padded, layer.conv.weight, layer.conv.bias
        )
        return activate(y, layer.bn)

    x = normalise(mel[:, None], model.input_norm, training)
    front = [convolve(x, layer).amax(dim=2) for layer in model.timbre]
    if model.every_band:
        front += [convolve(x, layer).amax(dim=2) for layer in model.temporal]
    else:
        front += [convolve(x.mean(dim=2), layer) for layer in model.temporal]
    f = torch.cat(front, dim=1)
    first, second, third = model.middle
    r1 = convolve(f, first)
    r2 = convolve(r1, second) + r1
    if paper:
        r2 = nn.functional.max_pool1d(r2, 2)
        h = convolve(r2, third) + r2
        v = torch.cat([h.mean(dim=2), h.amax(dim=2)], dim=1)
    else:
        h = torch.cat([f, r1, r2, convolve(r2, third) + r2], dim=1)
        v = torch.cat([h.amax(dim=2), h.mean(dim=2)], dim=1)
    return model.head(activate(model.dense(v), model.dense_norm))


@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_it_computes_what_its_text_describes(variant):
    model = randomized(build_musicnn((24, 30), 5, variant=variant, **LITTLE, generator=seeded(0))).eval()
    mel = torch.randn(3, 24, 30, generator=seeded(1))
    torch.testing.assert_close(model(mel), written_out(model, mel))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("relu_first", [False, True])
@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_its_other_forms_compute_what_their_text_describes(variant, relu_first, training):
    """ReLU on either side of every normalisation, temporal filters along every band, another epsilon."""
    arguments = {"variant": variant, "relu_first": relu_first, "every_band": True, "eps": 0.05}
    model = build_musicnn((24, 30), 5, **arguments, **LITTLE, dropout=0.0, generator=seeded(0))
    randomized(model).double().train(training)
    mel = torch.randn(6, 24, 30, generator=seeded(1)).double()
    expected = written_out(model, mel, training)
    torch.testing.assert_close(model(mel), expected)
    assert {m.eps for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))} == {0.05}
    other = build_musicnn((24, 30), 5, variant=variant, **LITTLE, generator=seeded(0))
    assert [p.numel() for p in other.parameters()] == [p.numel() for p in model.parameters()]


SCALES = {
    "negative": lambda w: w.uniform_(-2, -0.5, generator=seeded(9)),
    "zero": lambda w: w.zero_(),
    "mixed": lambda w: w.copy_(torch.tensor([-1.5, 0.0, 0.7, -0.2, 1.0]).repeat(len(w))[: len(w)]),
    "positive": lambda w: w.uniform_(0.5, 2, generator=seeded(9)),
}


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_the_maximum_may_be_taken_first_with_scales_of_any_sign(variant, scales):
    """Against the order of the texts: convolution, normalisation and ReLU, maximum over the bands."""
    model = randomized(build_musicnn((24, 30), 5, variant=variant, **LITTLE, generator=seeded(0))).eval()
    with torch.no_grad():
        for layer in model.timbre:
            SCALES[scales](layer.bn.weight)
    mel = torch.randn(3, 24, 30, generator=seeded(1))
    x = mel[:, None]
    with torch.inference_mode():
        for layer in model.timbre:
            n = layer.conv.weight.shape[-1]
            padded = nn.functional.pad(x, ((n - 1) // 2, n // 2))
            y = nn.functional.conv2d(padded, layer.conv.weight, layer.conv.bias)
            plain = layer.bn(y.relu()) if variant == "paper" else layer.bn(y).relu()
            torch.testing.assert_close(layer(x), plain.amax(dim=2), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model(mel), written_out(model, mel), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_its_graph_does_not_depend_on_its_weights(variant):
    model, other = (
        randomized(build_musicnn((24, 30), 5, variant=variant, **LITTLE, generator=seeded(seed))).eval()
        for seed in (0, 1)
    )
    with torch.no_grad():
        for layer in model.timbre:
            layer.bn.weight.abs_()
        for layer in other.timbre:
            layer.bn.weight.abs_().neg_()
    shape = model.input_shape
    exported = torch.export.export(model, (torch.zeros(2, *shape),)).module()
    mel = torch.randn(2, *shape, generator=seeded(1))
    with torch.no_grad():
        torch.testing.assert_close(exported(mel), model(mel))
        exported.load_state_dict(other.state_dict())
        torch.testing.assert_close(exported(mel), other(mel))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_hooks_on_its_convolutions_fire_once_a_pass(variant, training):
    model = build_musicnn((24, 30), 5, variant=variant, **LITTLE, generator=seeded(0)).train(training)
    seen = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(
                lambda _l, _i, out, name=name: seen.setdefault(name, []).append(tuple(out.shape))
            )
    model(torch.randn(2, 24, 30, generator=seeded(1)))
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == len(LITTLE["timbre"])
    assert set(seen) == {
        *(f"timbre.{i}.conv" for i in range(3)),
        *(f"temporal.{i}.conv" for i in range(2)),
        *(f"middle.{i}.conv" for i in range(3)),
        "dense",
        "head",
    }
    assert {len(shapes) for shapes in seen.values()} == {1}
    for layer, (part, _, filters), i in zip(model.timbre, LITTLE["timbre"], range(3), strict=True):
        height = max(1, int(part * 24))
        assert layer.conv.weight.shape[2] == height
        assert seen[f"timbre.{i}.conv"] == [(2, filters, 24 - height + 1, 30)]
    assert counted_cost(model) == network_cost(model)


@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_in_training_too_with_its_gradients_and_statistics(variant):
    """In float64: several of these gradients are zero but for rounding."""
    model = build_musicnn((24, 30), 5, variant=variant, **LITTLE, dropout=0.0, generator=seeded(0))
    randomized(model).double().train()
    for layer in model.modules():  # fresh statistics, so that one step shows the batch's own
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.reset_running_stats()
    mel = torch.randn(6, 24, 30, generator=seeded(1)).double()
    weights = torch.randn(6, 5, generator=seeded(2)).double()
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    expected = written_out(model, mel, training=True)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), list(learned.values()))
    logits = model(mel)
    torch.testing.assert_close(logits, expected)
    gradients = torch.autograd.grad((logits * weights).sum(), list(learned.values()))
    largest = max(float(g.norm()) for g in expected_gradients)  # a bias before a norm has a gradient of 0
    for name, found, wanted in zip(learned, gradients, expected_gradients, strict=True):
        assert (found - wanted).norm() <= 1e-12 * max(wanted.norm(), 0.01 * largest), name

    layer = model.timbre[0]
    x = normalise(mel[:, None], model.input_norm, training=True)
    y = nn.functional.conv2d(nn.functional.pad(x, (3, 3)), layer.conv.weight, layer.conv.bias)
    y = y.relu() if variant == "paper" else y
    oracle = nn.BatchNorm2d(y.shape[1]).double().train()
    oracle(y)
    torch.testing.assert_close(layer.bn.running_mean, oracle.running_mean)
    torch.testing.assert_close(layer.bn.running_var, oracle.running_var)
    assert layer.bn.num_batches_tracked == 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_every_segment_of_the_paper_is_tagged(shape, variant):
    model = build_musicnn(shape, 6, variant=variant, size="small", width=8, generator=seeded(0)).eval()
    mel = torch.randn(2, *shape, generator=seeded(1))
    with torch.inference_mode():
        logits = model(mel)
        assert logits.shape == (2, 6)
        assert torch.isfinite(logits).all()
        assert model.embed(mel).shape == (2, model.embed_dim) == (2, 200)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 128), st.integers(1, 200), st.sampled_from(["paper", "pons"]))
def test_any_shape_from_a_single_band_and_frame_on_works(n_mels, n_frames, variant):
    model = build_musicnn((n_mels, n_frames), 3, variant=variant, **LITTLE, generator=seeded(0)).eval()
    with torch.inference_mode():
        logits = model(torch.randn(2, n_mels, n_frames, generator=seeded(1)))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    ("n_mels", "heights"), [(128, (115, 51)), (96, (86, 38)), (48, (43, 19)), (8, (7, 3))]
)
def test_timbre_filters_span_nine_and_four_tenths_of_the_bands(n_mels, heights):
    with torch.device("meta"):
        model = build_musicnn((n_mels, 188))
    shapes = [tuple(layer.conv.weight.shape) for layer in model.timbre]
    assert shapes == [(n, 1, h, m) for h in heights for n, m in ((64, 7), (128, 3), (256, 1))]
    assert [tuple(layer.conv.weight.shape) for layer in model.temporal] == [
        (32, 1, n) for n in (32, 64, 128, 165)
    ]
    assert [tuple(layer.conv.weight.shape) for layer in model.middle] == [
        (512, 2 * (64 + 128 + 256) + 4 * 32, 7),
        (512, 512, 7),
        (512, 512, 7),
    ]
    assert model.dense.weight.shape == (500, 1024)


def test_pons_is_the_size_of_the_public_models():
    model = build_musicnn((96, 188), variant="pons")
    assert sum(p.numel() for p in model.parameters()) == 784_300  # as their authors' files count


def test_dropout_is_for_training_only():
    model = build_musicnn((24, 30), 5, **LITTLE, generator=seeded(0))
    mel = torch.randn(8, 24, 30, generator=seeded(1))
    torch.manual_seed(0)
    model.train()
    assert not torch.equal(model(mel), model(mel))
    model.eval()
    assert torch.equal(model(mel), model(mel))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"variant": "pon"}, ConfigError, "Did you mean 'pons'"),
        ({"size": "smal"}, ConfigError, "Did you mean 'small'"),
        ({"input_shape": (0, 30)}, ShapeError, r"whole numbers from 1 on, not \(0, 30\)"),
        ({"n_tags": 0}, ShapeError, "at least one tag"),
        ({"eps": 0}, ConfigError, "a finite number above 0, not 0"),
        ({"eps": float("nan")}, ConfigError, "a finite number above 0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        build_musicnn(**{"input_shape": (24, 30)} | arguments)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("variant", ["paper", "pons"])
def test_a_network_that_is_cast_runs_in_its_type(variant: str, dtype: torch.dtype) -> None:
    model = build_musicnn((16, 20), 3, variant=variant, size="small").eval().to(dtype)
    with torch.no_grad():
        assert model(torch.zeros(2, 16, 20, dtype=dtype)).dtype == dtype
