from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lightmel.errors import ConfigError, LightmelError
from lightmel.models import build_musicnn
from lightmel.training.trainer import Batch, TrainConfig, TrainingError, fit

STEPS = 6


def network(seed: int = 0, dropout: float = 0.5) -> Any:
    return build_musicnn(
        (8, 10),
        2,
        variant="pons",
        timbre=[(0.9, 3, 4)],
        temporal=[(3, 2)],
        width=4,
        dense=8,
        dropout=dropout,
        generator=torch.Generator().manual_seed(seed),
    )


def batches(epoch: int) -> Iterator[Batch]:
    """Loud low bands are tag 0, loud high bands tag 1."""
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(STEPS):
        mel = torch.randn(16, 8, 10, generator=generator)
        target = (torch.rand(16, 2, generator=generator) > 0.5).float()
        mel[:, :4] += 3 * target[:, :1, None]
        mel[:, 4:] += 3 * target[:, 1:, None]
        yield mel, target


def train(seed: int = 0, config: TrainConfig | None = None, dropout: float = 0.5) -> tuple[Any, Any]:
    return fit(
        network(seed, dropout),
        batches,
        STEPS,
        F.binary_cross_entropy_with_logits,
        config or TrainConfig(epochs=3),
        generator=torch.Generator().manual_seed(seed),
    )


def test_it_learns() -> None:
    trained, history = train(config=TrainConfig(epochs=15, lr=1e-2), dropout=0.1)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert not trained.training
    with torch.inference_mode():
        right = [((trained(m) > 0) == (t > 0.5)).float().mean() for m, t in batches(1_000)]
    assert min(right) > 0.8


def test_a_short_training_is_not_averaged_with_its_beginning() -> None:
    """Even a slow average follows: what is kept has learnt what the network has."""
    trained, history = train(config=TrainConfig(epochs=15, lr=1e-2, average=0.9999), dropout=0.1)
    with torch.inference_mode():
        losses = [float(F.binary_cross_entropy_with_logits(trained(m), t)) for m, t in batches(1_000)]
    assert max(losses) < 0.6 * history[0]["loss"]


def test_without_averaging_the_network_itself_is_kept() -> None:
    own = network()
    config = TrainConfig(epochs=2, average=0.0)
    kept, _ = fit(own, batches, STEPS, F.binary_cross_entropy_with_logits, config)
    for (name, mine), theirs in zip(own.state_dict().items(), kept.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    assert kept is not own


def test_running_statistics_are_averaged_too() -> None:
    trained, _ = train()
    assert not torch.equal(trained.dense_norm.running_mean, torch.zeros(8))
    assert not torch.equal(trained.input_norm.running_mean, torch.zeros(1))


def test_the_same_seed_gives_the_same_network_dropout_included() -> None:
    torch.rand(7)  # whatever was drawn before
    first, first_history = train()
    torch.rand(3)
    second, second_history = train()
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert [line["loss"] for line in first_history] == [line["loss"] for line in second_history]


def test_another_seed_drops_out_others() -> None:
    def last(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        made = network(0)
        _, history = fit(
            made,
            batches,
            STEPS,
            F.binary_cross_entropy_with_logits,
            TrainConfig(epochs=1),
            generator=generator,
        )
        return history[-1]["loss"]

    assert last(1) == last(1) != last(2)


def test_the_global_random_state_is_left_as_it_was() -> None:
    made, before = network(), torch.get_rng_state()
    fit(made, batches, STEPS, F.binary_cross_entropy_with_logits, TrainConfig(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_history_has_a_line_an_epoch_and_the_rate_rises_and_falls() -> None:
    shown: list[dict[str, float]] = []
    config = TrainConfig(epochs=20, lr=2e-3)
    _, history = fit(network(), batches, STEPS, F.binary_cross_entropy_with_logits, config, shown.append)
    assert shown == history
    assert [line["epoch"] for line in history] == list(range(20))
    rates = [line["lr"] for line in history]
    assert max(rates) <= 2e-3
    assert rates[-1] < rates[0] < rates[2] > rates[10]
    assert all(line["seconds"] > 0 and math.isfinite(line["loss"]) for line in history)


def test_a_loss_that_is_not_finite_stops_it_and_names_the_step() -> None:
    calls = 0

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return logits.sum() * (float("nan") if calls == STEPS + 3 else 1.0)

    with pytest.raises(TrainingError, match=f"step {STEPS + 2}, epoch 1"):
        fit(network(), batches, STEPS, loss, TrainConfig(epochs=3))
    assert issubclass(TrainingError, LightmelError)


def test_frozen_parameters_stay() -> None:
    made = network()
    made.head.requires_grad_(False)
    before = made.head.weight.clone()
    trained, _ = fit(made, batches, STEPS, F.binary_cross_entropy_with_logits, TrainConfig(epochs=1))
    assert torch.allclose(trained.head.weight, before, atol=1e-6)


def test_an_epoch_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="without a single step"):
        fit(network(), lambda _: [], 0, F.binary_cross_entropy_with_logits, TrainConfig())


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"lr": 0.0}, {"clip_norm": 0.0}, {"average": 1.0}, {"average": -0.1}]
)
def test_a_configuration_that_cannot_train_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="TrainConfig wants"):
        TrainConfig(**change)
