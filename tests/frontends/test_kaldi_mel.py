"""The front end of EfficientAT against its own code's numbers, and against its formulas in NumPy."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightmel import audio
from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import (
    KaldiMelConfig,
    KaldiMelFrontend,
    build_frontend,
    config_from_dict,
    config_from_slug,
)
from lightmel.frontends.kaldi_mel_numpy import kaldi_filter_bank

SR = 32_000
GOLDEN = 1e-4
LEAST = 514  # samples: the mirrored 512, the one that pre-emphasis takes, and the one mirrored at


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.2


def mel_of(hz: Any) -> Any:
    return 1127 * np.log(1 + np.asarray(hz) / 700)


def triangles(n_mels: int) -> np.ndarray:
    """``(n_mels, 513)``: of height 1, slopes linear in mel, corners equally spaced in it up to 15 kHz."""
    corners = np.linspace(0, mel_of(15_000), n_mels + 2)
    bins = mel_of(np.arange(513) * 31.25)
    low, peak, high = (corners[i : i + n_mels, None] for i in range(3))
    weights = np.maximum(0, np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)))
    weights[:, 512] = 0
    return weights


def written_out(wave: np.ndarray, n_mels: int = 128) -> np.ndarray:
    """The formulas of the README, frame by frame, in double precision: ``(n_mels, frames)``."""
    emphasised = wave[1:].astype(np.float64) - 0.97 * wave[:-1]
    padded = np.pad(emphasised, 512, mode="reflect")
    window = np.zeros(1024)
    window[112:912] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)  # not periodic
    starts = range(0, len(padded) - 1024 + 1, 320)
    power = np.stack([np.abs(np.fft.rfft(padded[s : s + 1024] * window)) ** 2 for s in starts], axis=1)
    return (np.log(triangles(n_mels) @ power + 1e-5) + 4.5) / 5


# Its numbers


@pytest.mark.parametrize("clip", ["song", "strings"])
def test_golden_mels(clip: str, shared: Path) -> None:
    folder = shared / "teachers"
    golden = np.load(folder / "efficientat" / "golden.npz")[f"{clip}/mel"]
    wave = audio.load(folder / "golden" / f"{clip}.flac", SR)[: 10 * SR]
    mel = KaldiMelFrontend(KaldiMelConfig())(torch.from_numpy(wave)).numpy()
    assert mel.shape == golden.shape == (128, 1000)
    assert np.abs(mel - golden).max() <= GOLDEN


@pytest.mark.parametrize("n_mels", [128, 64, 7])
@pytest.mark.parametrize("samples", [LEAST, 1_000, 32_001, 83_200])
def test_it_computes_the_formulas_of_its_readme(n_mels: int, samples: int) -> None:
    wave = noise(samples, seed=samples)
    wave[samples // 3 : samples // 2] = 0
    mel = KaldiMelFrontend(KaldiMelConfig(n_mels=n_mels))(wave).numpy()
    expected = written_out(wave.numpy(), n_mels)
    assert mel.dtype == np.float32
    assert mel.shape == expected.shape
    # In float32 the narrowest band, one bin of a fading frame, loses most: measured 5e-5, elsewhere 3e-6.
    assert np.abs(mel - expected).max() < 1e-4
    assert np.median(np.abs(mel - expected)) < 1e-6


def test_more_frames_than_fit_the_cache_are_no_others() -> None:
    wave = noise(3 * 256 * 320)
    mel = KaldiMelFrontend(KaldiMelConfig(n_mels=16))(wave).numpy()
    assert np.abs(mel - written_out(wave.numpy(), 16)).max() < 2e-5


def test_silence_is_the_floor() -> None:
    mel = KaldiMelFrontend(KaldiMelConfig())(torch.zeros(2_000))
    torch.testing.assert_close(mel, torch.full((128, 7), (np.log(1e-5) + 4.5) / 5, dtype=torch.float32))


@pytest.mark.parametrize("n_mels", [1, 40, 128])
def test_the_filter_bank_is_triangles_in_mel(n_mels: int) -> None:
    own, expected = kaldi_filter_bank(KaldiMelConfig(n_mels=n_mels)), triangles(n_mels)
    assert own.dtype == np.float64
    assert not expected[:, own.shape[1] :].any(), "bins that are left out have no weight"
    np.testing.assert_allclose(own, expected[:, : own.shape[1]], atol=1e-9)


# Shapes


@given(st.integers(LEAST, 40_000))
def test_the_configuration_knows_the_frames_of_any_length(samples: int) -> None:
    config = KaldiMelConfig(n_mels=4)
    assert tuple(KaldiMelFrontend(config)(torch.zeros(samples)).shape) == config.shape(samples)


def test_frames_are_ten_milliseconds_apart() -> None:
    config = KaldiMelConfig()
    assert config.input_shape(10.0) == (128, 1000)
    assert config.input_shape(1.0) == (128, 100)
    assert config.shape(320) == (128, 1)
    assert config.shape(322) == (128, 2)
    assert config.rows == 128


@pytest.mark.parametrize("lead", [(3,), (2, 3), (1, 1, 1), (0,), (2, 0)], ids=str)
def test_a_batch_of_any_dimensions_is_each_sound_by_itself(lead: tuple[int, ...]) -> None:
    frontend = KaldiMelFrontend(KaldiMelConfig(n_mels=20))
    waves = noise(*lead, 3_000)
    mels = frontend(waves)
    assert mels.shape == (*lead, *frontend.config.shape(3_000))
    for wave, mel in zip(waves.reshape(-1, 3_000), mels.reshape(-1, *mels.shape[-2:]), strict=True):
        assert torch.equal(frontend(wave), mel)


@pytest.mark.parametrize("sizes", [[3_000], [1, 0, 2_999], [400, 600, 2_000], [100] * 30])
def test_a_stream_in_any_blocks_equals_the_whole(sizes: list[int]) -> None:
    frontend = KaldiMelFrontend(KaldiMelConfig(n_mels=20))
    wave = noise(2, 3_000)
    stream = frontend.stream()
    parts = [stream.push(block) for block in wave.split(sizes, -1)]
    assert {part.shape[:2] for part in parts} == {(2, 20)}
    assert torch.equal(torch.cat([*parts, stream.flush()], -1), frontend(wave))


# Precision, device, gradient


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_wave_of_any_precision_gives_float32(dtype: torch.dtype) -> None:
    frontend, wave = KaldiMelFrontend(KaldiMelConfig()), noise(2, 3_000).to(dtype)
    mel = frontend(wave)
    assert mel.dtype == torch.float32
    assert torch.equal(mel, frontend(wave.float()))


@pytest.mark.parametrize(
    "cast",
    [
        lambda module: module.half(),
        lambda module: module.double().half(),
        lambda module: module.to("meta").to_empty(device="cpu"),
        lambda module: torch.nn.Sequential(module).to(torch.bfloat16)[0],
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
    ],
)
def test_no_cast_move_or_copy_changes_a_digit(
    cast: Callable[[KaldiMelFrontend], KaldiMelFrontend],
) -> None:
    wave, fresh = noise(3_000), KaldiMelFrontend(KaldiMelConfig(n_mels=50))
    moved = cast(KaldiMelFrontend(KaldiMelConfig(n_mels=50)))
    assert torch.equal(moved(wave), fresh(wave))
    assert not moved.state_dict()
    assert not list(moved.parameters())


def test_modes_of_torch_change_nothing_and_the_wave_is_left_alone() -> None:
    frontend, wave = KaldiMelFrontend(KaldiMelConfig()), noise(2, 5_000)
    before, expected = wave.clone(), frontend(wave)
    with torch.inference_mode():
        assert torch.equal(frontend(wave), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frontend(wave), expected)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(KaldiMelFrontend(KaldiMelConfig())(wave), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(wave, before)
    assert frontend.to("meta")(torch.zeros(2, 5_000, device="meta")).shape == expected.shape


def test_gradients_are_those_of_torch_stft() -> None:
    frontend = KaldiMelFrontend(KaldiMelConfig(n_mels=12))
    wave, other = (noise(2, 2_000).requires_grad_() for _ in range(2))
    frontend(wave).square().sum().backward()
    spectrum = torch.stft(
        other[:, 1:] - 0.97 * other[:, :-1],
        1024,
        320,
        800,
        torch.hann_window(800, periodic=False),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    bank = torch.from_numpy(triangles(12)).float()
    mel = ((bank @ spectrum.abs().square() + 1e-5).log() + 4.5) / 5
    mel.square().sum().backward()
    torch.testing.assert_close(wave.grad, other.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(1000, np.float32), r"torch\.as_tensor"),
        (None, r"torch\.as_tensor"),
        (torch.zeros(1000, dtype=torch.int16), "full scale"),
        (torch.zeros(1000, dtype=torch.complex64), "real floating-point"),
        (torch.tensor(0.5), "single number"),
        (torch.zeros(0), "at least 514, not 0"),
        (torch.zeros(3, LEAST - 1), "at least 514, not 513.*zeros"),
        (torch.zeros(1000, device="meta"), "on meta"),
    ],
)
def test_a_wave_that_cannot_be_used_is_refused(wave: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        KaldiMelFrontend(KaldiMelConfig())(wave)


# The configuration


@given(st.integers(1, 130))
def test_every_slug_and_every_plain_form_reads_back(n_mels: int) -> None:
    config = KaldiMelConfig(n_mels=n_mels)
    assert config.slug == f"32k-kaldi{n_mels}"
    assert KaldiMelConfig.from_slug(config.slug) == config_from_slug(config.slug) == config
    plain = json.loads(json.dumps(config.to_dict()))
    assert plain == {"kind": "kaldi_mel", "sr": 32_000, "n_mels": n_mels}
    assert config_from_dict(plain) == config


def test_it_is_built_by_its_kind_and_read_without_torch() -> None:
    assert isinstance(build_frontend(KaldiMelConfig()), KaldiMelFrontend)
    code = (
        "import sys; from lightmel.frontends import config_from_dict, config_from_slug;"
        "assert config_from_dict({'kind': 'kaldi_mel'}) == config_from_slug('32k-kaldi128');"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "slug", ["", "32k-kaldi", "16k-kaldi128", "32k-kaldi128-db", "32k-kaldi-1", "32k-kaldi128\n"]
)
def test_what_is_no_slug_is_refused(slug: str) -> None:
    with pytest.raises(ConfigError, match="one looks like '32k-kaldi128'"):
        KaldiMelConfig.from_slug(slug)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sr": 16_000}, "32000 Hz, not 16000"),
        ({"sr": None}, "32000 Hz, not None"),
        ({"n_mels": 0}, "from 1 on, not 0"),
        ({"n_mels": 1.5}, r"not 1\.5"),
        ({"n_mels": True}, "not True"),
        ({"n_mels": "many"}, "not 'many'"),
        ({"n_mels": 10_000}, "10000 mel bands.*take fewer"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KaldiMelConfig(**fields)


def test_a_band_is_refused_exactly_where_it_is_empty() -> None:
    for n_mels in range(100, 200):
        empty = not (triangles(n_mels) > 1e-9).any(axis=1).all()
        if empty:
            with pytest.raises(ConfigError, match="always be empty"):
                KaldiMelConfig(n_mels=n_mels)
        else:
            assert KaldiMelConfig(n_mels=n_mels).n_mels == n_mels


def test_numpy_numbers_become_plain_ones() -> None:
    config = KaldiMelConfig(np.int64(32_000), np.int32(64))  # type: ignore[arg-type]
    assert config == KaldiMelConfig(n_mels=64)
    assert {type(config.sr), type(config.n_mels)} == {int}


def test_band_edges_are_equally_spaced_in_mel() -> None:
    edges = KaldiMelConfig(n_mels=30).band_edges()
    np.testing.assert_allclose(np.diff(mel_of(edges)), mel_of(15_000) / 31)
    assert edges[0] == 0
    assert edges[-1] == pytest.approx(15_000)
