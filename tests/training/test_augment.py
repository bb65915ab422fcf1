from __future__ import annotations

from typing import Any

import pytest
import torch

from lightmel.errors import ConfigError
from lightmel.frontends.mel import MelConfig
from lightmel.frontends.mel_torch import MelFrontend
from lightmel.training.augment import Equaliser, Filters, Gain, LowPass, MelFilters, Noise

SR = 16_000
GRID = torch.linspace(0, SR / 2, 513)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def waves(batch: int = 6, samples: int = 4_000) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=seeded(99))


def decibel(amplitude: torch.Tensor) -> torch.Tensor:
    return 20 * amplitude.log10()


RESPONSES = [Gain(-12, 6), Equaliser(6, 3), LowPass(2_500, 8_000, 0.5)]


@pytest.mark.parametrize("response", RESPONSES, ids=lambda r: type(r).__name__)
def test_a_response_is_drawn_from_its_generator_alone(response: Any) -> None:
    before = torch.get_rng_state()
    first, again, other = (response(8, GRID, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == (8, len(GRID))
    assert bool((first >= 0).all())
    assert bool(torch.isfinite(first).all())
    assert len(first.unique(dim=0)) > 1, "one setting a wave"


def test_a_gain_lies_between_its_ends_and_is_flat() -> None:
    drawn = decibel(Gain(-12, 6)(500, GRID, seeded()))
    assert torch.allclose(drawn, drawn[:, :1])
    assert -12 <= float(drawn.min()) < -11
    assert 5 < float(drawn.max()) <= 6
    assert float(drawn[:, 0].mean()) == pytest.approx(-3, abs=1)


def test_an_equaliser_keeps_to_its_slope_and_bells() -> None:
    tilted = decibel(Equaliser(0, 3)(200, GRID, seeded()))
    at = [int((GRID - f).abs().argmin()) for f in (1_000, 2_000, 4_000)]
    first, second, third = (tilted[:, i] for i in at)
    assert torch.allclose(first, torch.zeros(200), atol=0.02), "nothing at 1 kHz"
    assert torch.allclose(third, 2 * second, atol=0.05), "the same for each octave"
    assert 2.5 < float(second.abs().max()) <= 3.01
    bells = decibel(Equaliser(6, 0, bells=2)(200, GRID, seeded()))
    assert 6 < float(bells.abs().max()) <= 12
    assert torch.equal(Equaliser(0, 0, bells=0)(2, GRID, seeded()), torch.ones(2, len(GRID)))


def test_a_low_pass_cuts_above_and_leaves_below() -> None:
    drawn = decibel(LowPass(3_000, 3_000)(200, GRID, seeded()).clamp(min=1e-9))
    at = {f: drawn[:, int((GRID - f).abs().argmin())] for f in (500, 3_000, 6_000)}
    assert float(at[500].min()) > -0.1
    assert torch.allclose(at[3_000], torch.full((200,), -3.0), atol=0.6), "half the power where it cuts"
    assert float(at[6_000].max()) < -40


def test_a_low_pass_takes_its_part_of_the_waves() -> None:
    drawn = LowPass(3_000, 6_000, 0.3)(2_000, GRID, seeded())
    untouched = (drawn == 1).all(dim=1)
    assert float(untouched.float().mean()) == pytest.approx(0.7, abs=0.05)
    assert bool((LowPass(3_000, 6_000, 0.0)(50, GRID, seeded()) == 1).all())


@pytest.mark.parametrize("samples", [4_000, 4_001, 1_000, 100_000])
def test_filters_keep_the_shape_and_apply_the_response(samples: int) -> None:
    clean = waves(3, samples)
    heard = Filters(SR, [Gain(-6, -6)])(clean, seeded())
    assert heard.shape == clean.shape
    assert torch.allclose(heard, clean * 10 ** (-6 / 20), atol=1e-6)
    assert torch.allclose(Filters(SR, [])(clean, seeded()), clean, atol=1e-6)


def test_filters_cut_tones_where_the_response_says() -> None:
    time = torch.arange(SR) / SR
    low, high = (torch.sin(2 * torch.pi * f * time)[None] for f in (400, 7_000))
    cut = Filters(SR, [LowPass(2_000, 2_000)])
    assert float(cut(low, seeded()).std() / low.std()) > 0.98
    assert float(cut(high, seeded()).std() / high.std()) < 0.01


def test_filters_multiply() -> None:
    clean = waves(4)
    both = Filters(SR, [Gain(-6, -6), Gain(2, 2)])(clean, seeded())
    assert torch.allclose(both, clean * 10 ** (-4 / 20), atol=1e-6)


def test_damage_is_the_same_for_the_same_seed() -> None:
    damage, noise = Filters(SR, RESPONSES), Noise(-60, -30, 0.5)
    clean = waves()
    copy = clean.clone()

    def heard(seed: int) -> torch.Tensor:
        generator = seeded(seed)
        return noise(damage(clean, generator), generator)

    assert torch.equal(heard(3), heard(3))
    assert not torch.equal(heard(3), heard(4))
    assert torch.equal(clean, copy), "what comes in is left as it was"


def test_noise_has_its_level_in_its_part_of_the_waves() -> None:
    silence = torch.zeros(400, 2_000)
    heard = Noise(-60, -40, 0.25)(silence, seeded())
    level = decibel(heard.std(dim=1).clamp(min=1e-9))
    touched = level > -100
    assert float(touched.float().mean()) == pytest.approx(0.25, abs=0.06)
    assert float(level[touched].min()) > -60.5
    assert float(level[touched].max()) < -39.5


@pytest.mark.parametrize(
    "build",
    [
        lambda: Gain(1, 0),
        lambda: Gain(float("nan"), 0),
        lambda: Equaliser(-1, 0),
        lambda: Equaliser(1, -1),
        lambda: Equaliser(1, 1, bells=-1),
        lambda: LowPass(0, 100),
        lambda: LowPass(200, 100),
        lambda: LowPass(100, 200, 1.5),
        lambda: Noise(0, -1, 0.5),
        lambda: Noise(-1, 0, -0.5),
    ],
)
def test_nonsense_is_refused_when_it_is_built(build: Any) -> None:
    with pytest.raises(ConfigError, match="wants"):
        build()


# Mels that are already computed


@pytest.mark.parametrize("log", ["db", "log"])
def test_filtered_mels_are_those_of_filtered_sound(log: Any) -> None:
    """White noise, and filters that hardly change within a band: tilted and turned down."""
    config = MelConfig(SR, 48, 4, log)
    frontend = MelFrontend.from_config(config)
    sound = waves(3, 16_000)
    responses = (Gain(-12, 6), Equaliser(0, 2, bells=0))
    expected = frontend(Filters(SR, responses)(sound, seeded(7)))
    found = MelFilters(config, responses)(frontend(sound), seeded(7))
    power = {"db": lambda m: m / 10, "log": lambda m: ((10.0**m - 1) / 10_000).log10()}[log]
    inside = slice(2, -2)  # the ends of the filtered wave wrap around
    difference = (power(found) - power(expected))[..., inside].mean(dim=2)
    # The mean over frames of ten times the logarithm, in decibel. The lowest bands are a bin or two wide, and
    # the response is drawn for their peak.
    assert float(10 * difference[:, 4:].abs().max()) < 0.5
    assert float((power(expected) - power(frontend(sound)))[..., inside].abs().mean() * 10) > 2


def test_filtered_mels_stay_within_the_floor_and_change_nothing_else() -> None:
    config = MelConfig(SR, 16, 4, "db")
    mel = torch.full((2, 16, 5), -100.0)
    before = torch.get_rng_state()
    damage = MelFilters(config, (Gain(-12, -12),))
    assert torch.allclose(damage(mel, seeded()), mel, atol=1e-4), "silence stays the front end's silence"
    assert torch.allclose(damage(mel + 60, seeded()), mel + 48, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), before)
    one, other = (MelFilters(config, RESPONSES)(mel + 60, seeded(s)) for s in (1, 2))
    assert not torch.equal(one, other)
