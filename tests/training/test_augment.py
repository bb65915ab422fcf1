"""Augmentations: what each draws, on waves and on mels, alone and in a chain."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pytest
import torch

from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import CqtConfig, FrontendConfig, MelConfig, build_frontend
from lightmel.training import (
    Augmentation,
    Chain,
    Equalizer,
    Gain,
    LowPass,
    MelDomain,
    Noise,
    WaveDomain,
    playback,
)

SR = 16_000
WAVES = WaveDomain(SR)
MELS = MelDomain(MelConfig(SR, 16, 4, "db"))
FREQUENCIES = torch.linspace(0, SR / 2, 513)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def waves(batch: int = 6, samples: int = 4_000) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=seeded(99))


def mels(batch: int = 6) -> torch.Tensor:
    """Decibels of 16 bands, far above the floor."""
    return 40 * torch.rand(batch, 16, 9, generator=seeded(99)) - 60


def decibel(amplitude: torch.Tensor) -> torch.Tensor:
    return 20 * amplitude.log10()


FILTERS: list[Callable[..., Any]] = [
    lambda domain, p=1.0: Gain(domain, -12, 6, p=p),
    lambda domain, p=1.0: Equalizer(domain, 6, 3, p=p),
    lambda domain, p=1.0: LowPass(domain, 2_500, 6_000, p=p),
]
IDS = ["Gain", "Equalizer", "LowPass"]


# Filters: what they draw


@pytest.mark.parametrize("build", FILTERS, ids=IDS)
@pytest.mark.parametrize("p", [1.0, 0.5])
def test_an_amplitude_is_drawn_from_its_generator_alone(build: Callable[..., Any], p: float) -> None:
    own = build(WAVES, p)
    before = torch.get_rng_state()
    first, again, other = (own.amplitude(8, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == (8, len(FREQUENCIES))
    assert bool((first >= 0).all())
    assert bool(torch.isfinite(first).all())
    assert len(first.unique(dim=0)) > 1, "one setting a wave"


def test_a_gain_lies_between_its_ends_and_is_flat() -> None:
    drawn = decibel(Gain(WAVES, -12, 6).draw(500, FREQUENCIES, seeded()))
    assert torch.allclose(drawn, drawn[:, :1])
    assert -12 <= float(drawn.min()) < -11
    assert 5 < float(drawn.max()) <= 6
    assert float(drawn[:, 0].mean()) == pytest.approx(-3, abs=1)


def test_an_equalizer_keeps_to_its_slope_and_bells() -> None:
    tilted = decibel(Equalizer(WAVES, 0, 3).draw(200, FREQUENCIES, seeded()))
    at = [int((FREQUENCIES - f).abs().argmin()) for f in (1_000, 2_000, 4_000)]
    first, second, third = (tilted[:, i] for i in at)
    assert torch.allclose(first, torch.zeros(200), atol=0.02), "nothing at 1 kHz"
    assert torch.allclose(third, 2 * second, atol=0.05), "the same for each octave"
    assert 2.5 < float(second.abs().max()) <= 3.01
    bells = decibel(Equalizer(WAVES, 6, 0, bells=2).draw(200, FREQUENCIES, seeded()))
    assert 6 < float(bells.abs().max()) <= 12
    flat = Equalizer(WAVES, 0, 0, bells=0).draw(2, FREQUENCIES, seeded())
    assert torch.equal(flat, torch.ones(2, len(FREQUENCIES)))


def test_a_low_pass_cuts_above_and_leaves_below() -> None:
    drawn = decibel(LowPass(WAVES, 3_000, 3_000).draw(200, FREQUENCIES, seeded()).clamp(min=1e-9))
    at = {f: drawn[:, int((FREQUENCIES - f).abs().argmin())] for f in (500, 3_000, 6_000)}
    assert float(at[500].min()) > -0.1
    assert torch.allclose(at[3_000], torch.full((200,), -3.0), atol=0.6), "half the power where it cuts"
    assert float(at[6_000].max()) < -40


@pytest.mark.parametrize("build", FILTERS, ids=IDS)
def test_a_filter_takes_its_share_of_the_rows(build: Callable[..., Any]) -> None:
    drawn = build(WAVES, 0.3).amplitude(2_000, seeded())
    untouched = (drawn == 1).all(dim=1)
    assert float(untouched.float().mean()) == pytest.approx(0.7, abs=0.05)
    assert bool((build(WAVES, 0.0).amplitude(50, seeded()) == 1).all())
    assert not bool((build(WAVES, 1.0).amplitude(2_000, seeded()) == 1).all(dim=1).any())


@pytest.mark.parametrize("build", FILTERS, ids=IDS)
def test_which_rows_are_changed_does_not_change_how(build: Callable[..., Any]) -> None:
    """The setting is drawn before the share of the rows, for each row."""
    always, often = (build(WAVES, p).amplitude(40, seeded(3)) for p in (1.0, 0.6))
    touched = ~(often == 1).all(dim=1)
    assert 0 < int(touched.sum()) < 40
    assert torch.equal(often[touched], always[touched])


# The one convention: augmentation(x, generator)

CASES = [
    *(pytest.param(b, WAVES, waves, id=f"{name}-waves") for name, b in zip(IDS, FILTERS, strict=True)),
    *(pytest.param(b, MELS, mels, id=f"{name}-mels") for name, b in zip(IDS, FILTERS, strict=True)),
    pytest.param(lambda _, p=1.0: Noise(-60, -30, p=p), WAVES, waves, id="Noise-waves"),
]


@pytest.mark.parametrize(("build", "domain", "make"), CASES)
def test_a_batch_is_changed_with_its_probability(build: Any, domain: Any, make: Any) -> None:
    x = make(200)
    copy = x.clone()
    scale = float(x.abs().max())
    before = torch.get_rng_state()

    def changed(p: float) -> torch.Tensor:
        found = build(domain, p)(x, seeded(3))
        assert found.shape == x.shape
        assert found.dtype == x.dtype
        return (found - x).abs().flatten(1).amax(1) > 1e-5 * scale

    assert not bool(changed(0.0).any())
    assert bool(changed(1.0).all())
    assert float(changed(0.3).float().mean()) == pytest.approx(0.3, abs=0.1)
    assert torch.equal(x, copy), "what comes in is left as it was"
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.parametrize("domain", [WAVES, MELS], ids=["waves", "mels"])
def test_the_generator_says_which_batch_comes_out(domain: Any, p: float) -> None:
    noise = [Noise(-60, -30, p=p)] if domain is WAVES else []
    chain = Chain([*(build(domain, p) for build in FILTERS), *noise])
    x = waves() if domain is WAVES else mels()
    first, again, other = (chain(x, seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# Waves


@pytest.mark.parametrize("samples", [4_000, 4_001, 1_000, 100_000])
def test_filters_keep_the_shape_and_apply_the_amplitude(samples: int) -> None:
    clean = waves(3, samples)
    found = Gain(WAVES, -6, -6)(clean, seeded())
    assert found.shape == clean.shape
    assert torch.allclose(found, clean * 10 ** (-6 / 20), atol=1e-6)
    flat = torch.ones(3, len(WAVES.frequencies))
    assert torch.allclose(WAVES.filtered(clean, flat), clean, atol=1e-6)
    assert torch.equal(Chain([])(clean, seeded()), clean)


def test_filters_cut_tones_where_the_amplitude_says() -> None:
    time = torch.arange(SR) / SR
    low, high = (torch.sin(2 * torch.pi * f * time)[None] for f in (400, 7_000))
    cut = LowPass(WAVES, 2_000, 2_000)
    assert float(cut(low, seeded()).std() / low.std()) > 0.98
    assert float(cut(high, seeded()).std() / high.std()) < 0.01


def test_filters_multiply() -> None:
    clean = waves(4)
    both = Chain([Gain(WAVES, -6, -6), Gain(WAVES, 2, 2)])(clean, seeded())
    assert torch.allclose(both, clean * 10 ** (-4 / 20), atol=1e-6)


def test_noise_has_its_level_in_its_share_of_the_waves() -> None:
    silence = torch.zeros(400, 2_000)
    found = Noise(-60, -40, p=0.25)(silence, seeded())
    level = decibel(found.std(dim=1).clamp(min=1e-9))
    touched = level > -100
    assert float(touched.float().mean()) == pytest.approx(0.25, abs=0.06)
    assert float(level[touched].min()) > -60.5
    assert float(level[touched].max()) < -39.5


# Chains


class Counted(WaveDomain):
    calls = 0

    def filtered(self, x: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().filtered(x, response)


def in_turn(steps: list[Augmentation], x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    for step in steps:
        x = step(x, generator)
    return x


def test_a_chain_is_its_steps_one_after_the_other_on_waves() -> None:
    """Waves of 1,024 samples, whose spectrum has as many bins as the domain: nothing is interpolated."""
    domain = Counted(SR)
    steps: list[Augmentation] = [build(domain, 0.7) for build in FILTERS]
    x = waves(20, 1_024)
    expected = in_turn(steps, x, seeded(5))
    domain.calls = 0
    found = Chain(steps)(x, seeded(5))
    assert domain.calls == 1, "filters of one domain are applied at once"
    assert float((found - expected).abs().max()) < 1e-5
    assert float((found - x).abs().max()) > 1e-2


def test_a_chain_is_its_steps_one_after_the_other_on_mels() -> None:
    steps: list[Augmentation] = [build(MELS, 0.7) for build in FILTERS]
    x = mels(20) + 60  # so that nothing falls below the floor between the steps
    expected = in_turn(steps, x, seeded(5)).clamp(min=-100)
    assert float((Chain(steps)(x, seeded(5)) - expected).abs().max()) < 1e-3
    assert float((expected - x).abs().max()) > 3


def test_noise_between_filters_keeps_its_place() -> None:
    domain = Counted(SR)
    first, second = Gain(domain, -6, -6), LowPass(domain, 2_000, 2_000)
    steps: list[Augmentation] = [first, Noise(-30, -30), second]
    x = waves(4, 1_024)
    expected = in_turn(steps, x, seeded(5))
    domain.calls = 0
    found = Chain(steps)(x, seeded(5))
    assert domain.calls == 2
    assert float((found - expected).abs().max()) < 1e-5
    last = Chain([first, second, Noise(-30, -30)])(x, seeded(5))
    power = torch.fft.rfft(found)[:, 400:].abs().mean(), torch.fft.rfft(last)[:, 400:].abs().mean()
    assert float(power[0]) < 0.05 * float(power[1]), "the low-pass cuts the noise that comes before it"


def test_filters_of_two_domains_are_applied_each_in_its_own() -> None:
    one, other = Counted(SR), Counted(SR)
    steps: list[Augmentation] = [Gain(one, -6, 6), Gain(other, -6, 6), Gain(other, -6, 6)]
    x = waves()
    expected = in_turn(steps, x, seeded(5))
    one.calls = other.calls = 0
    found = Chain(steps)(x, seeded(5))
    assert (one.calls, other.calls) == (1, 1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_chain_may_be_a_step_of_another() -> None:
    inner = Chain([Gain(WAVES, -6, 6), Noise(-60, -40)])
    whole = Chain([Gain(WAVES, -6, 6), Noise(-60, -40), LowPass(WAVES, 2_000, 2_000)])
    x = waves()
    assert torch.equal(Chain([inner, LowPass(WAVES, 2_000, 2_000)])(x, seeded(1)), whole(x, seeded(1)))


def test_the_identity_says_what_is_done_and_not_where() -> None:
    by_wave, by_mel = (
        Chain([*playback(domain), Noise(-90, -50, p=0.1)]).identity for domain in (WAVES, MELS)
    )
    assert by_wave == by_mel
    assert by_wave == (
        "Gain(high=6, low=-12, p=1.0), Equalizer(bells=2, decibel=3, p=1.0, slope=1.5), "
        "LowPass(high=8000, low=3000, p=0.25), Noise(high=-50, low=-90, p=0.1)"
    )
    assert Gain(WAVES, -12, 6, p=0.5).identity != Gain(WAVES, -12, 6).identity
    assert Gain(WAVES, -12, 6).train().identity == Gain(WAVES, -12, 6).eval().identity
    assert Gain(WAVES, -12.0000001, 6).identity != Gain(WAVES, -12.0, 6).identity

    class Stretch(Augmentation):
        def __init__(self, factors: tuple[float, float]) -> None:
            super().__init__()
            self.factors = factors

    assert Stretch((0.9, 1.1)).identity != Stretch((0.5, 2.0)).identity


# What was drawn before this version is drawn still

DRAWN = {
    "waves": [-0.465998292, -0.018537881, -0.000055862, 0.637996018, 0.499846220, 0.027485374, 0.114039712],
    "db": [-25.774354935, -65.506523132, -30.356904984, -23.750110626, -24.546621323, -61.564315796],
    "log": [2.788209677, 0.481535286, 2.539901972, 3.137577295, 2.937328339, 0.576317430, 2.169487238],
}
"""What version 0.1 made with its own classes of the batch and the seed below, one number a row."""
NEXT = {"waves": [0.7918511033058167, 0.2876521944999695], "mels": [0.5668390989303589, 0.30590903759002686]}
"""What its generator gave next."""


def test_waves_are_augmented_as_in_the_version_before() -> None:
    generator = seeded(5)
    x = torch.rand(8, 2_000, generator=seeded(99)) - 0.5
    found = Chain([*playback(WAVES), Noise(-90, -50, p=0.1)])(x, generator)
    expected = torch.tensor(DRAWN["waves"])
    torch.testing.assert_close(found[: len(expected), 1_000], expected, atol=2e-6, rtol=0)
    assert torch.rand(2, generator=generator).tolist() == NEXT["waves"], "as many numbers are drawn"


@pytest.mark.parametrize("log", ["db", "log"])
def test_mels_are_augmented_as_in_the_version_before(log: Any) -> None:
    generator = seeded(5)
    x = torch.rand(8, 16, 9, generator=seeded(99))
    x = 60 * x - 80 if log == "db" else 3 * x
    found = Chain(playback(MelDomain(MelConfig(SR, 16, 4, log))))(x, generator)
    expected = torch.tensor(DRAWN[log])
    torch.testing.assert_close(found[: len(expected), 10, 4], expected, atol=1e-6, rtol=1e-6)
    assert torch.rand(2, generator=generator).tolist() == NEXT["mels"], "as many numbers are drawn"


# What cannot be


@pytest.mark.parametrize(
    "build",
    [
        lambda: Gain(WAVES, 1, 0),
        lambda: Gain(WAVES, float("nan"), 0),
        lambda: Gain(WAVES, -1, 0, p=1.01),
        lambda: Equalizer(WAVES, -1, 0),
        lambda: Equalizer(WAVES, 1, -1),
        lambda: Equalizer(WAVES, 1, 1, bells=-1),
        lambda: Equalizer(WAVES, 1, 1, p=float("nan")),
        lambda: LowPass(WAVES, 0, 100),
        lambda: LowPass(WAVES, 200, 100),
        lambda: LowPass(WAVES, 100, 200, p=1.5),
        lambda: Noise(0, -1, p=0.5),
        lambda: Noise(-1, 0, p=-0.5),
    ],
)
def test_nonsense_is_refused_when_it_is_built(build: Any) -> None:
    with pytest.raises(ConfigError, match="wants"):
        build()


@dataclass(frozen=True)
class RawConfig(FrontendConfig):
    kind: ClassVar[str] = "raw-of-the-augmentations"
    slug_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?P<khz>\d+)k-raw")
    sr: int = SR

    @property
    def slug(self) -> str:
        return f"{self.sr // 1_000}k-raw"

    @classmethod
    def from_slug(cls, slug: str) -> RawConfig:
        return cls(1_000 * int(slug.partition("k")[0]))

    def shape(self, n_samples: int) -> tuple[int, int]:
        return 1, n_samples


def test_features_that_are_no_mels_cannot_be_filtered() -> None:
    with pytest.raises(ConfigError, match=r"Features of 16k-raw cannot be filtered.*\(augment=False\)"):
        MelDomain(RawConfig())


# Mels that are already computed


@pytest.mark.parametrize("log", ["db", "log"])
@pytest.mark.parametrize(
    "kind", [partial(MelConfig, SR, 48, 4), partial(CqtConfig, SR, 48, 1, fmin=250)], ids=["mel", "cqt"]
)
def test_filtered_features_are_those_of_filtered_sound(kind: Any, log: Any) -> None:
    """White noise, and filters that hardly change within a band: tilted and turned down."""
    config = kind(log=log)
    frontend = build_frontend(config)
    sound = waves(3, 16_000)

    def tilted(domain: Any) -> Chain:
        return Chain([Gain(domain, -12, 6), Equalizer(domain, 0, 2, bells=0)])

    expected = frontend(tilted(WAVES)(sound, seeded(7)))
    found = tilted(MelDomain(config))(frontend(sound), seeded(7))
    power = {"db": lambda m: m / 10, "log": lambda m: ((10.0**m - 1) / 10_000).log10()}[log]
    inside = slice(2, -2)  # the ends of the filtered wave wrap around
    difference = (power(found) - power(expected))[..., inside].mean(dim=2)
    # The mean over frames of ten times the logarithm, in decibel. The lowest bands are a bin or two wide, and
    # the amplitude is drawn for their peak.
    assert float(10 * difference[:, 4:].abs().max()) < 0.5
    assert float((power(expected) - power(frontend(sound)))[..., inside].abs().mean() * 10) > 2


def test_filtered_mels_stay_within_the_floor_and_change_nothing_else() -> None:
    mel = torch.full((2, 16, 5), -100.0)
    before = torch.get_rng_state()
    quiet = Gain(MELS, -12, -12)
    assert torch.allclose(quiet(mel, seeded()), mel, atol=1e-4), "silence stays the front end's silence"
    assert torch.allclose(quiet(mel + 60, seeded()), mel + 48, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), before)
    chain = Chain([build(MELS) for build in FILTERS])
    one, other = (chain(mel + 60, seeded(s)) for s in (1, 2))
    assert not torch.equal(one, other)


def test_noise_is_for_waves() -> None:
    with pytest.raises(ShapeError, match=r"waves \(batch, samples\), not to \(2, 16, 5\)"):
        Noise(-60, -30)(torch.zeros(2, 16, 5), seeded())
