"""The constant-Q front end against librosa, in pieces, in blocks, thinned, and with bad input."""

from __future__ import annotations

import doctest
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import librosa
import numpy as np
import pytest
import torch

from lightmel import audio
from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import (
    CqtConfig,
    CqtFrontend,
    MelConfig,
    build_arrays,
    build_frontend,
    config_from_dict,
    config_from_slug,
    cqt,
    cqt_numpy,
    cqt_torch,
    waveform,
)

SLUGS = [
    "16k-cqt84-x2-log",
    "16k-cqt168-x1-log-per24",
    "16k-cqt95-x2-log",  # close to half the rate
    "12k-cqt90-x1-log",  # in the transition of the resampler
    "44.1k-cqt84-x2-log",  # whose rate is halved before the highest octave
    "12k-cqt60-x4-log-from55",
    "22.05k-cqt100-x3-log",  # no whole octaves
    "16k-cqt37-x1-log-per9-from100",
    "16k-cqt5-x1-log-per1-from200",
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.2


def magnitudes(features: np.ndarray) -> np.ndarray:
    """Of ``"log"`` features."""
    return np.sqrt((10.0 ** features.astype(np.float64) - 1) / 10_000)


def librosa_cqt(wave: np.ndarray, config: CqtConfig, **options: float) -> np.ndarray:
    found: np.ndarray = librosa.cqt(
        wave,
        sr=config.sr,
        hop_length=config.hop_length,
        fmin=config.fmin,
        n_bins=config.n_bins,
        bins_per_octave=config.bins_per_octave,
        tuning=0.0,
        **options,
    )
    return np.abs(found)


def difference(own: np.ndarray, theirs: np.ndarray) -> float:
    """Of the common frames, as a part of the largest magnitude."""
    common = min(own.shape[1], theirs.shape[1])
    assert theirs.shape[1] <= own.shape[1] <= theirs.shape[1] + 1
    return float(np.abs(own[:, :common] - theirs[:, :common]).max() / theirs.max())


# Against librosa


@pytest.mark.parametrize("slug", SLUGS)
def test_magnitudes_are_librosas(slug: str) -> None:
    """Loud noise, which begins and ends at once, with a click and a swell in it.

    A thousandth is asked for; in float32 it is 3e-5, from the two fits of the resampler's filter.
    """
    config = CqtConfig.from_slug(slug)
    wave = noise(3 * config.sr + 77).numpy()
    wave[config.sr] = 1
    wave[config.sr + 1_000 : 2 * config.sr] *= np.linspace(0, 2, config.sr - 1_000, dtype=np.float32)
    theirs = librosa_cqt(wave, config, sparsity=0.0)
    for frontend in (
        lambda waves: CqtFrontend(config)(torch.from_numpy(waves)).numpy(),
        build_arrays(config),
    ):
        (features,) = frontend(wave[None])
        assert features.shape == config.shape(len(wave))
        assert difference(magnitudes(features), theirs) < 1e-4


@pytest.mark.parametrize("slug", ["16k-cqt84-x2-log", "22.05k-cqt192-x2-log-per24"])
def test_magnitudes_are_librosas_on_music(slug: str, shared: Path) -> None:
    config = CqtConfig.from_slug(slug)
    clips = sorted((shared / "music-free").rglob("*.opus"))[::80][:3]
    if not clips:
        pytest.skip("needs ../shared/music-free")
    for clip in clips:
        wave = audio.load(clip, config.sr)[: 10 * config.sr]
        own = magnitudes(CqtFrontend(config)(torch.from_numpy(wave)).numpy())
        assert difference(own, librosa_cqt(wave, config, sparsity=0.0)) < 1e-4
        # What librosa leaves out of its filters unless it is told not to.
        assert 1e-4 < difference(own, librosa_cqt(wave, config)) < 0.03


def test_a_tone_is_in_its_bin() -> None:
    """A window of L samples sees a tone of amplitude a with a magnitude of ``a / 2 * sqrt(L)``."""
    config = CqtConfig(16_000, 84, 1, "db")
    for i in (0, 30, 83):
        hz = config.frequencies()[i]
        wave = 0.5 * torch.sin(2 * torch.pi * hz * torch.arange(48_000, dtype=torch.float64) / 16_000)
        middle = CqtFrontend(config)(wave)[:, 94]
        assert int(middle.argmax()) == i
        expected = 10 * np.log10(0.25**2 * config.quality * 16_000 / hz)
        assert float(middle[i]) == pytest.approx(expected, abs=0.1)


def test_the_two_logarithms_are_those_of_mels() -> None:
    wave = noise(8_000)
    log, db = (CqtFrontend(CqtConfig(log=how))(wave) for how in ("log", "db"))
    torch.testing.assert_close((10_000 * 10 ** (db / 10) + 1).log10(), log, rtol=1e-4, atol=1e-4)
    silence = CqtFrontend(CqtConfig())(torch.zeros(8_000))
    torch.testing.assert_close(silence, torch.full_like(silence, -100))


# In pieces


def test_an_excerpts_features_are_those_of_its_samples_alone() -> None:
    frontend, wave = CqtFrontend(CqtConfig()), noise(40_000)
    alone = frontend(wave[10_000:20_000].clone())
    assert torch.equal(frontend(wave[10_000:20_000]), alone)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CqtConfig(16_000, 84, 1, "log")
    waves = noise(2, 60_000)
    expected = CqtFrontend(config)(waves)
    exact = build_arrays(config)(waves.numpy())
    monkeypatch.setattr("lightmel.frontends.cqt_torch.CHUNK", 7_000)
    monkeypatch.setattr("lightmel.frontends.cqt_numpy.CHUNK", 7_000)
    torch.testing.assert_close(CqtFrontend(config)(waves), expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(build_arrays(config)(waves.numpy()), exact, rtol=0, atol=2e-5)


def test_memory_does_not_grow_with_the_length() -> None:
    """No step but the answer itself sees more samples than a chunk and what lies around it."""
    frontend = CqtFrontend(CqtConfig(16_000, 84, 10))
    longest = 0

    def watch(sound: torch.Tensor, *given: int) -> torch.Tensor:
        nonlocal longest
        found = real(sound, *given)
        longest = max(longest, found.shape[1])
        return found

    real, frontend._halved = frontend._halved, watch  # type: ignore[method-assign]
    frontend(torch.zeros(1_500_000))
    assert 0 < longest < (cqt_numpy.CHUNK + frontend.before + frontend.after) / 2 + 1


@pytest.mark.parametrize("slug", ["16k-cqt84-x1-log", "44.1k-cqt48-x3-log-from200"])
@pytest.mark.parametrize("sizes", [[30_000], [1, 0, 12_000, 7, 40_000], [9_999] * 6])
def test_a_stream_in_any_blocks_equals_the_whole(slug: str, sizes: list[int]) -> None:
    frontend = build_frontend(config_from_slug(slug))
    assert isinstance(frontend, CqtFrontend)
    wave = noise(2, 60_001)
    stream = frontend.stream()
    parts, start, done = [], 0, 0
    for size in [*sizes, 60_001]:
        parts.append(stream.push(wave[:, start : start + size]))
        start += wave[:, start : start + size].shape[1]
        done += parts[-1].shape[2]
        assert done == max(0, (start - frontend.after) // frontend.hop + 1), "a frame was held back"
        assert stream._kept is not None
        assert stream._kept.shape[1] <= frontend.before + frontend.after + frontend.hop
    parts.append(stream.flush())
    torch.testing.assert_close(torch.cat(parts, 2), frontend(wave), rtol=0, atol=2e-5)


def test_a_larger_hop_leaves_frames_out() -> None:
    config = CqtConfig(16_000, 60, 2, "log")
    assert config.thinned(3) == CqtConfig(16_000, 60, 6, "log")
    assert config.thinning(CqtConfig(16_000, 60, 6, "log")) == 3
    for other in (config, CqtConfig(16_000, 60, 3, "log"), CqtConfig(16_000, 59, 6, "log"), MelConfig()):
        assert config.thinning(other) is None
    wave = noise(30_000)
    thin = CqtFrontend(config.thinned(3))(wave)
    torch.testing.assert_close(thin, CqtFrontend(config)(wave)[:, ::3], rtol=0, atol=2e-5)


# As a module


def test_batches_of_any_shape() -> None:
    frontend, waves = CqtFrontend(CqtConfig()), noise(2, 3, 5_000)
    batch = frontend(waves)
    assert batch.shape == (2, 3, 84, 21)
    torch.testing.assert_close(batch[1, 2], frontend(waves[1, 2]), rtol=1e-5, atol=1e-4)
    assert frontend(waves[:0]).shape == (0, 3, 84, 21)


def test_casts_moves_copies_and_modes_change_nothing() -> None:
    frontend, wave = CqtFrontend(CqtConfig()), noise(5_000)
    expected = frontend(wave)
    for moved in (
        CqtFrontend(CqtConfig()).half(),
        CqtFrontend(CqtConfig()).to("meta").to_empty(device="cpu"),
        pickle.loads(pickle.dumps(frontend)),
    ):
        assert torch.equal(moved(wave), expected)
    assert torch.equal(frontend(wave.double()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frontend(wave), expected)
    assert not frontend.state_dict()
    assert "16k-cqt84-x1-db" in repr(frontend)


def test_gradients_reach_the_wave() -> None:
    wave = noise(3_000).requires_grad_()
    CqtFrontend(CqtConfig(log="log"))(wave).sum().backward()
    assert wave.grad is not None
    assert bool(wave.grad.isfinite().all())
    assert float(wave.grad.abs().min()) > 0


def test_what_is_no_sound_is_refused() -> None:
    frontend = CqtFrontend(CqtConfig())
    for wave, message in (
        (torch.zeros(0), "has no samples"),
        (torch.zeros(9, dtype=torch.int16), "floating-point"),
        (torch.zeros(9, device="meta"), "is on meta"),
    ):
        with pytest.raises(ShapeError, match=message):
            frontend(wave)
    with pytest.raises(ShapeError, match="has no samples"):
        build_arrays(CqtConfig())(np.zeros((1, 0), np.float32))
    with pytest.raises(ShapeError, match="has no samples"):
        frontend.stream().flush()


# As a configuration


@pytest.mark.parametrize("module", [cqt, cqt_torch, waveform])
def test_the_examples_in_the_docstrings(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted


@pytest.mark.parametrize(
    "config",
    [
        CqtConfig(),
        CqtConfig(22_050, 168, 3, "log", 24),
        CqtConfig(44_100, 96, 1, "db", 12, 27.5),
        CqtConfig(16_000, 10, 1, "db", 36, 440),
        CqtConfig(16_000, 10, fmin=1_234.567_890_123),
    ],
    ids=lambda config: config.slug,
)
def test_slug_and_plain_data_read_back(config: CqtConfig) -> None:
    assert config_from_slug(config.slug) == config
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_is_usual_is_not_in_the_slug() -> None:
    assert CqtConfig(16_000, 84, 2).slug == "16k-cqt84-x2-db"
    assert CqtConfig(16_000, 168, 2, "log", 24).slug == "16k-cqt168-x2-log-per24"
    assert CqtConfig(16_000, 60, fmin=65.5).slug == "16k-cqt60-x1-db-from65.5"
    assert CqtConfig.from_slug("16k-cqt84-x2-db-per12") == CqtConfig(16_000, 84, 2)
    with pytest.raises(ConfigError, match="one looks like '16k-cqt84-x2-db'"):
        CqtConfig.from_slug("16k-cqt84-x2")


def test_frames_are_as_many_as_those_of_mels() -> None:
    for hop_factor in (1, 2, 10):
        for samples in (1, 256, 257, 48_000, 465_600):
            mels = MelConfig(16_000, 84, hop_factor).shape(samples)
            assert CqtConfig(16_000, 84, hop_factor).shape(samples) == mels


def test_bins_lie_between_their_neighbors() -> None:
    config = CqtConfig(16_000, 24, fmin=110)
    edges, frequencies = config.band_edges(), config.frequencies()
    assert (len(edges), len(frequencies)) == (26, 24)
    assert edges[1:-1] == pytest.approx(frequencies)
    assert frequencies[12] == pytest.approx(220)
    assert frequencies == pytest.approx(librosa.cqt_frequencies(24, fmin=110).tolist())


@pytest.mark.parametrize("sr", [8_000, 12_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("per", [12, 24])
def test_as_many_bins_fit_as_librosa_takes(sr: int, per: int) -> None:
    with pytest.raises(ConfigError, match=r"At most \d+ bins fit") as caught:
        CqtConfig(sr, 1_000, bins_per_octave=per)
    fit = int(str(caught.value).partition("At most ")[2].split()[0])
    assert CqtConfig(sr, fit, bins_per_octave=per).n_bins == fit
    with pytest.raises(ConfigError, match=f"At most {fit} bins fit: take n_bins={fit}, or a higher rate"):
        CqtConfig(sr, fit + 1, bins_per_octave=per)
    wave = np.ones(4 * sr, np.float32)  # librosa warns of what is shorter than its windows
    librosa.cqt(wave, sr=sr, hop_length=256, n_bins=fit, bins_per_octave=per, tuning=0.0)
    with pytest.raises(librosa.ParameterError, match="would exceed the Nyquist"):
        librosa.cqt(wave, sr=sr, hop_length=256, n_bins=fit + 1, bins_per_octave=per, tuning=0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sr": 8_000}, r"8000 Hz has nothing above 4000 Hz, and .* 84 .* at 3951 Hz.*take n_bins=83"),
        ({"fmin": 9_000}, "At most 0 bins fit: take a lower fmin, or a higher rate"),
        ({"fmin": 5}, "fmin must be a frequency from 10 Hz on, not 5"),
        ({"fmin": float("nan")}, "from 10 Hz on"),
        ({"fmin": "C1"}, "fmin must be a frequency in Hz, not 'C1'"),
        ({"n_bins": 0}, "n_bins must be a whole number from 1 on, not 0"),
        ({"hop_factor": 0}, "hop_factor must be a whole number from 1 on"),
        ({"bins_per_octave": 1.5}, "bins_per_octave must be a whole number, not 1.5"),
        ({"sr": 500}, "A sample rate of 500 Hz is outside"),
        ({"log": "ln"}, "log is 'log' or 'db', not 'ln'"),
    ],
)
def test_what_no_front_end_can_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CqtConfig(**fields)  # type: ignore[arg-type]
