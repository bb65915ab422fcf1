"""Front ends without torch: the numbers of those with it, in the same shapes, and nothing of torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import (
    PAPER_CONFIGS,
    FrontendConfig,
    KaldiMelConfig,
    MelConfig,
    build_arrays,
    build_frontend,
    config_from_slug,
)
from lightmel.frontends import spectra as spectra_module

OTHERS = [
    "16k-mel96-x1-db-htk-peak-reflect",
    "16k-mel96-x1-log",
    "22.05k-mel64-x2-db-htk",
    "16k-mel1-x1-db",
    "16k-mel48-x3-log-reflect",
    "32k-kaldi128",
    "32k-kaldi40",
]
BEYOND = ["16k-cqt84-x2-db", "16k-cqt168-x1-log-per24", "16k-wave"]
CONFIGS: list[FrontendConfig] = [*PAPER_CONFIGS, *map(config_from_slug, OTHERS)]


def sound(samples: int, rows: int = 2) -> np.ndarray:
    """Tones of falling level in faint noise, so that quiet bands are compared, too."""
    rng = np.random.default_rng(samples)
    time = np.arange(samples) / 16_000
    tones = [a * np.sin(2 * np.pi * f * time) for a, f in ((0.3, 220), (0.05, 1_330), (0.01, 4_000))]
    return (sum(tones) + 1e-4 * rng.normal(size=(rows, samples))).astype(np.float32)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.slug)
@pytest.mark.parametrize("samples", [600, 48_000, 48_001])
def test_it_gives_the_frames_of_the_one_with_torch(config: FrontendConfig, samples: int) -> None:
    waves = sound(samples)
    expected = build_frontend(config)(torch.from_numpy(waves)).numpy()
    own = build_arrays(config)(waves)
    assert own.shape == expected.shape == (2, *config.shape(samples))
    assert own.dtype == np.float32
    if isinstance(config, KaldiMelConfig):  # which has no float64
        assert np.abs(own - expected).max() < 2e-5
        return
    # Rounding, relative to power: what is 80 dB below the loudest band has few of float32's digits left.
    exact = build_frontend(config)(torch.from_numpy(waves).double()).numpy()
    rounding = np.abs(expected - exact).max()
    assert np.abs(own - exact).max() <= 4 * rounding + 1e-6


@pytest.mark.parametrize("slug", ["16k-mel48-x2-db", "16k-mel96-x1-log", "32k-kaldi128", *BEYOND])
def test_a_sound_has_the_same_bytes_in_any_batch(slug: str) -> None:
    frontend = build_arrays(config_from_slug(slug))
    waves = sound(48_000, rows=5)
    together = frontend(waves)
    assert all(np.array_equal(frontend(waves[i : i + 1])[0], together[i]) for i in range(5))
    assert np.array_equal(frontend(np.asfortranarray(waves)), together)


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 511, 512, 513])
def test_short_sound(samples: int) -> None:
    config = MelConfig(16_000, 48, 2)
    waves = sound(samples)
    expected = build_frontend(config)(torch.from_numpy(waves)).numpy()
    np.testing.assert_allclose(build_arrays(config)(waves), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("config", "samples"),
    [(MelConfig(), 0), (MelConfig(pad_mode="reflect"), 256), (KaldiMelConfig(), 513)],
    ids=["none", "reflect", "kaldi"],
)
def test_too_few_samples_are_refused_in_the_same_words(config: FrontendConfig, samples: int) -> None:
    waves = np.zeros((1, samples), np.float32)
    with pytest.raises(ShapeError) as own:
        build_arrays(config)(waves)
    with pytest.raises(ShapeError) as other:
        build_frontend(config)(torch.from_numpy(waves))
    assert str(own.value) == str(other.value)


@pytest.mark.parametrize("config", [MelConfig(), MelConfig(log="log"), KaldiMelConfig()], ids=str)
def test_silence_and_what_is_not_finite_pass_as_in_torch(config: FrontendConfig) -> None:
    waves = np.zeros((2, 4_000), np.float32)
    waves[1, 1_000] = np.nan
    with np.errstate(all="raise"):
        own = build_arrays(config)(waves)
    expected = build_frontend(config)(torch.from_numpy(waves)).numpy()
    np.testing.assert_allclose(own[0], expected[0], rtol=1e-6)
    assert np.array_equal(np.isnan(own), np.isnan(expected))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.slug)
def test_no_product_is_large_enough_for_a_second_thread(config: FrontendConfig) -> None:
    bands = build_arrays(config)._bands  # type: ignore[attr-defined]
    for first, stop, low, high, weights in bands._blocks:
        assert weights.shape == (stop - first, high - low)
        assert weights.size * bands._frames <= spectra_module.ONE_THREAD


def test_no_torch_is_imported() -> None:
    code = (
        "import sys; from lightmel.frontends import build_arrays, config_from_slug as c; import numpy as np; "
        "slugs = ('16k-mel48-x2-db', '32k-kaldi128', '16k-cqt84-x2-db', '16k-wave'); "
        "[build_arrays(c(s))(np.ones((1, 2000), 'f')) for s in slugs]; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_kind_without_one_says_what_to_do() -> None:
    from lightmel.frontends import registry

    kind = registry.KINDS["mel"]
    registry.KINDS["mel"] = registry.FrontendKind(kind.config, kind.module)
    try:
        with pytest.raises(ConfigError, match="computed by torch only: load its tagger with runtime='torch'"):
            build_arrays(MelConfig())
    finally:
        registry.KINDS["mel"] = kind
