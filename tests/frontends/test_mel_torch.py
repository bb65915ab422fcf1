"""The front end against librosa, against torch.stft, against itself in pieces, and with bad input."""

import copy
import math
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmel import PAPER_CONFIGS, MelConfig, MelFrontend
from lightmel.errors import ConfigError, ShapeError
from lightmel.frontends import mel_filter_bank

SAMPLES = 24_001  # not a multiple of any hop
TEACHERS = {"mel_scale": "htk", "mel_norm": "none", "pad_mode": "reflect"}
by_slug = pytest.mark.parametrize("config", PAPER_CONFIGS, ids=lambda config: config.slug)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 0.2


@pytest.fixture(scope="module")
def sounds() -> np.ndarray:
    """Tones, noise, clicks, a swell from silence, silence: ``(6, samples)``, all exact in float32."""
    t = np.arange(SAMPLES)
    clicks = np.zeros(SAMPLES)
    clicks[[0, 255, 256, 257, 5000, SAMPLES - 1]] = 0.9
    waves = [
        0.5 * np.sin(0.1734 * t),
        sum(0.1 * np.sin(step * t + 1) for step in (0.02, 0.3, 1.1, 2.9)),
        np.random.default_rng(1).standard_normal(SAMPLES) * 0.2,
        clicks,
        np.random.default_rng(2).standard_normal(SAMPLES) * np.clip(t / 12_000 - 1, 0, 1) ** 4,
        np.zeros(SAMPLES),
    ]
    return np.stack(waves).astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def music(shared: Path) -> np.ndarray:
    """Two seconds of two pieces, ``(2, samples)``; read as they are at either sample rate."""
    clips = [shared / "teachers" / "golden" / f"{name}.flac" for name in ("strings", "song")]
    return np.stack([soundfile.read(clip, start=160_000, frames=32_000)[0] for clip in clips])


def librosa_mel(wave: np.ndarray, config: MelConfig) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=wave,
        sr=config.sr,
        n_fft=512,
        hop_length=256 * config.hop_factor,
        n_mels=config.n_mels,
        center=True,
        pad_mode="constant",
        power=2,
        dtype=wave.dtype,  # the filter bank's, which is float32 by default
    )
    if config.log == "log":
        return np.log10(1 + 10_000 * power)
    return np.asarray(librosa.power_to_db(power, ref=1, amin=1e-10, top_db=None))


def same_as_librosa(wave: np.ndarray, config: MelConfig) -> None:
    frontend = MelFrontend.from_config(config)
    theirs = librosa_mel(wave, config)
    common = min(theirs.shape[-1], config.n_frames(wave.shape[-1]))
    assert common >= 1 + wave.shape[-1] // config.hop_length

    double = frontend(torch.from_numpy(wave)).numpy()
    assert double.dtype == np.float64
    assert double.shape == (*wave.shape[:-1], config.n_mels, config.n_frames(wave.shape[-1]))
    assert np.abs(double[..., :common] - theirs[..., :common]).max() <= 1e-9

    narrow = wave.astype(np.float32)
    single = frontend(torch.from_numpy(narrow)).numpy()
    assert single.dtype == np.float32
    for expected in (theirs, librosa_mel(narrow, config)):
        off = np.abs(single[..., :common] - expected[..., :common])
        if config.log == "log":
            assert off.max() <= 1e-4
            assert off.mean() <= 2e-6
        else:  # float32 resolves a quiet bin beside a loud one by its power only
            power = 10 ** (expected[..., :common].astype(np.float64) / 10)
            loudest = power.max(axis=-2, keepdims=True)
            near = power > 1e-4 * loudest
            assert off[near].max() <= 1e-4
            power_off = np.abs(10 ** (single[..., :common].astype(np.float64) / 10) - power)
            assert (near | (power_off <= 1e-7 * loudest)).all()


@by_slug
def test_every_configuration_equals_librosa(config: MelConfig, sounds: np.ndarray) -> None:
    same_as_librosa(sounds, config)


@by_slug
def test_every_configuration_equals_librosa_on_music(config: MelConfig, music: np.ndarray) -> None:
    same_as_librosa(music, config)


@pytest.mark.parametrize("config", [c for c in PAPER_CONFIGS if c.log == "db"], ids=lambda c: c.slug)
def test_filter_bank_is_librosas(config: MelConfig) -> None:
    slaney = librosa.filters.mel(sr=config.sr, n_fft=512, n_mels=config.n_mels, dtype=np.float64)
    np.testing.assert_allclose(mel_filter_bank(config).numpy(), slaney, rtol=1e-10, atol=1e-15)
    htk = librosa.filters.mel(
        sr=config.sr, n_fft=512, n_mels=min(config.n_mels, 96), htk=True, norm=None, dtype=np.float64
    )
    peaks = config.replace(n_mels=min(config.n_mels, 96), mel_scale="htk", mel_norm="none")
    np.testing.assert_allclose(mel_filter_bank(peaks).numpy(), htk, rtol=1e-10, atol=1e-12)


def test_filter_bank_is_the_teachers(shared: Path) -> None:
    file = shared / "teachers" / "mtat-musicnn.pth"
    theirs = torch.load(file, map_location="cpu", weights_only=True)["spec.mel_scale.fb"]
    ours = mel_filter_bank(MelConfig(16_000, 96, **TEACHERS))
    assert (ours.T - theirs).abs().max() < 1.2e-5


def plain(wave: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """The front end written the obvious way, with one torch.stft."""
    window = torch.hann_window(512, dtype=wave.dtype)
    mode = "reflect" if config.pad_mode == "reflect" else "constant"
    spectrum = torch.stft(
        wave, 512, config.hop_length, window=window, center=True, pad_mode=mode, return_complex=True
    )
    power = mel_filter_bank(config).to(wave.dtype) @ spectrum.abs().square()
    return (1 + 10_000 * power).log10() if config.log == "log" else 10 * power.clamp_min(1e-10).log10()


@pytest.mark.parametrize("hop_factor", [1, 2, 3, 10])
@pytest.mark.parametrize("samples", [257, 300, 511, 512, 513, 2560, 5120, 48_000, 464_000])
def test_reflection_equals_torch_stft(samples: int, hop_factor: int) -> None:
    frontend = MelFrontend(16_000, 96, hop_factor, **TEACHERS)
    wave = noise(samples, dtype=torch.float64)
    mel = frontend(wave)
    assert mel.shape == (96, 1 + samples // (256 * hop_factor))
    torch.testing.assert_close(mel, plain(wave, frontend.config), rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(samples=st.integers(1, 9000), hop_factor=st.integers(1, 40), log=st.sampled_from(["log", "db"]))
def test_only_every_rth_frame_and_as_many_as_in_the_paper(samples: int, hop_factor: int, log: str) -> None:
    wave = noise(samples, seed=samples)
    every = MelFrontend(12_000, 48, 1, log)(wave)
    some = MelFrontend(12_000, 48, hop_factor, log)(wave)
    assert some.shape == (48, math.ceil((math.ceil(samples / 256) + 1) / hop_factor))
    torch.testing.assert_close(some, every[:, ::hop_factor], rtol=1e-5, atol=1e-4)


def test_shapes_of_the_papers_excerpts() -> None:
    frames = {12_000: [1366, 683, 456, 342, 274, 137], 16_000: [1820, 910, 607, 455, 364, 182]}
    for sr, counts in frames.items():
        wave = torch.zeros(round(29.1 * sr))
        shapes = [MelFrontend(sr, 8, r)(wave).shape for r in (1, 2, 3, 4, 5, 10)]
        assert shapes == [(8, count) for count in counts]


@pytest.mark.parametrize("options", [{}, TEACHERS], ids=["paper", "teachers"])
@pytest.mark.parametrize("samples", [300, 40_000, 300_000])
def test_alone_and_in_a_batch_are_the_same(samples: int, options: dict[str, str]) -> None:
    frontend = MelFrontend(16_000, 96, 2, "log", **options)
    waves = noise(2, 3, samples)
    batch = frontend(waves)
    assert batch.shape[:2] == (2, 3)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(batch[i, j], frontend(waves[i, j]), rtol=1e-6, atol=1e-6)
    assert frontend(waves[:0]).shape == (0, 3, *batch.shape[2:])
    strided = waves.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    torch.testing.assert_close(frontend(strided), batch, rtol=1e-6, atol=1e-6)


def in_blocks(frontend: MelFrontend, wave: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Stream `wave` in blocks of `sizes`, the rest in one, and watch what is held back."""
    stream, parts, start, done = frontend.stream(), [], 0, 0
    for size in [*sizes, wave.shape[-1]]:
        block = wave[..., start : start + size]
        parts.append(stream.push(block))
        start += block.shape[-1]
        done += parts[-1].shape[-1]
        hop = frontend.config.hop_length
        assert done == (start - 256) // hop + 1, "a frame was held back that could be computed"
        assert stream._kept is not None
        assert stream._kept.shape[-1] <= 512
        assert stream._kept.untyped_storage().nbytes() <= 512 * wave[..., :1].nbytes
    return torch.cat([*parts, stream.flush()], -1)


@settings(deadline=None, max_examples=150)
@given(
    samples=st.integers(257, 12_000),
    hop_factor=st.sampled_from([1, 2, 3, 5, 10, 23]),
    sizes=st.lists(st.one_of(st.integers(0, 5), st.integers(1, 600), st.integers(500, 5000)), max_size=12),
    options=st.sampled_from([{}, TEACHERS]),
)
def test_a_stream_in_any_blocks_equals_the_whole(
    samples: int, hop_factor: int, sizes: list[int], options: dict[str, str]
) -> None:
    frontend = MelFrontend(16_000, 48, hop_factor, "db", **options)
    wave = noise(samples, seed=samples)
    torch.testing.assert_close(in_blocks(frontend, wave, sizes), frontend(wave), rtol=1e-5, atol=1e-4)
    exact = frontend(wave.double())
    torch.testing.assert_close(in_blocks(frontend, wave.double(), sizes), exact, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(samples=st.integers(1, 1100), options=st.sampled_from([{}, TEACHERS]))
def test_a_stream_of_single_samples_equals_the_whole(samples: int, options: dict[str, str]) -> None:
    samples += 256 if options else 0
    frontend = MelFrontend(16_000, 24, 1, "log", **options)
    wave = noise(2, samples, seed=samples)
    streamed = in_blocks(frontend, wave, [1] * samples)
    torch.testing.assert_close(streamed, frontend(wave), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", range(250, 1050))
def test_reflected_streams_of_every_length_end_right(length: int) -> None:
    frontend = MelFrontend(16_000, 8, 1, "log", **TEACHERS)
    wave = noise(length, dtype=torch.float64)
    stream = frontend.stream()
    blocks = [stream.push(wave[i : i + 100]) for i in range(0, length, 100)]
    if length <= 256:
        with pytest.raises(ShapeError, match="at least 257"):
            stream.flush()
    else:
        streamed = torch.cat([*blocks, stream.flush()], -1)
        torch.testing.assert_close(streamed, frontend(wave), rtol=0, atol=1e-9)


def test_a_flushed_stream_begins_anew() -> None:
    frontend = MelFrontend(16_000, 48)
    stream = frontend.stream()
    for wave in (noise(3000), noise(2, 700, dtype=torch.float64)):  # another shape and precision even
        parts = [stream.push(wave), stream.flush()]
        torch.testing.assert_close(torch.cat(parts, -1), frontend(wave), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("log", ["log", "db"])
@pytest.mark.parametrize("options", [{}, TEACHERS], ids=["paper", "teachers"])
def test_gradcheck(log: str, options: dict[str, str]) -> None:
    frontend = MelFrontend(16_000, 8, 2, log, **options)
    wave = noise(2, 700, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(frontend, wave, atol=1e-4, fast_mode=True)
    assert torch.autograd.gradgradcheck(frontend, wave, atol=1e-3, fast_mode=True)


@pytest.mark.parametrize("log", ["log", "db"])
def test_float32_gradient_is_that_of_torch_stft(log: str) -> None:
    frontend = MelFrontend(16_000, 48, 1, log)
    ours, theirs = noise(3, 51_200).requires_grad_(), noise(3, 51_200).requires_grad_()
    mel, reference = frontend(ours), plain(theirs, frontend.config)
    torch.testing.assert_close(mel.detach(), frontend(ours.detach()), rtol=1e-5, atol=1e-4)
    weights = noise(*mel.shape, seed=5)
    (mel * weights).sum().backward()
    (reference * weights).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4 * float(theirs.grad.abs().max()))


def test_streamed_frames_carry_gradients_too() -> None:
    frontend = MelFrontend(16_000, 8, 1, "log")
    whole, blocks = noise(2000).requires_grad_(), noise(2000).requires_grad_()
    frontend(whole).sum().backward()
    stream = frontend.stream()
    (stream.push(blocks[:900]).sum() + stream.push(blocks[900:]).sum() + stream.flush().sum()).backward()
    torch.testing.assert_close(blocks.grad, whole.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_waves_are_computed_in_float32(dtype: torch.dtype) -> None:
    frontend = MelFrontend(16_000, 96)
    wave = noise(5000).to(dtype)
    assert torch.equal(frontend(wave), frontend(wave.float()))


@pytest.mark.parametrize(
    "cast",
    [
        lambda module: module.half(),
        lambda module: module.double().half(),
        lambda module: module.to(torch.bfloat16).float(),
        lambda module: module.to("meta").to_empty(device="cpu"),
        lambda module: torch.nn.Sequential(module).half()[0],
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
    ],
)
def test_no_cast_move_or_copy_changes_a_digit(cast) -> None:
    wave = noise(5000)
    fresh, moved = MelFrontend(16_000, 96), cast(MelFrontend(16_000, 96))
    assert torch.equal(moved(wave), fresh(wave))
    assert torch.equal(moved(wave.double()), fresh(wave.double()))
    assert moved.config == fresh.config


def test_buffers_follow_the_device_and_stay_out_of_the_state_dict() -> None:
    frontend = MelFrontend(16_000, 96)
    assert not frontend.state_dict()
    assert len(list(frontend.buffers())) > 1
    assert not list(frontend.parameters())
    frontend.to("meta")
    assert {buffer.device.type for buffer in frontend.buffers()} == {"meta"}
    assert frontend(torch.zeros(2, 5000, device="meta")).shape == (2, 96, 21)
    with torch.device("meta"):
        born_there = MelFrontend(16_000, 96)
    assert {buffer.device.type for buffer in born_there.buffers()} == {"meta"}


def test_modes_of_torch_change_nothing() -> None:
    frontend, wave = MelFrontend(16_000, 96), noise(2, 5000)
    expected = frontend(wave)
    with torch.inference_mode():
        assert torch.equal(frontend(wave), expected)
    with torch.no_grad():
        assert torch.equal(frontend(wave.clone().requires_grad_()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(frontend(wave), expected)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(MelFrontend(16_000, 96)(wave), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_wave_is_left_alone_and_threads_may_share_a_front_end() -> None:
    frontend = MelFrontend(16_000, 48, 2)
    waves = [noise(60_000 + 1000 * i, seed=i) for i in range(16)]
    before = [wave.clone() for wave in waves]
    expected = [frontend(wave) for wave in waves]
    with ThreadPoolExecutor(8) as pool:
        for mels in pool.map(lambda _: [frontend(wave) for wave in waves], range(8)):
            assert all(torch.equal(a, b) for a, b in zip(mels, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(waves, before, strict=True))


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(1000, np.float32), "torch.as_tensor"),
        ([0.0] * 1000, "torch.as_tensor"),
        (None, "torch.as_tensor"),
        (torch.zeros(1000, dtype=torch.int16), "full scale"),
        (torch.zeros(1000, dtype=torch.bool), "full scale"),
        (torch.zeros(1000, dtype=torch.complex64), "real floating-point"),
        (torch.tensor(0.5), "single number"),
        (torch.zeros(0), "no samples"),
        (torch.zeros(3, 0), "no samples"),
        (torch.zeros(1000, device="meta"), "on meta"),
    ],
)
def test_a_wave_that_cannot_be_used_is_refused(wave: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        MelFrontend(16_000, 96)(wave)


def test_too_short_to_mirror_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"at least 257, not 256.*zeros"):
        MelFrontend(16_000, 96, pad_mode="reflect")(torch.zeros(256))


def test_streams_refuse_what_does_not_continue_them() -> None:
    stream = MelFrontend(16_000, 48).stream()
    with pytest.raises(ShapeError, match="no samples"):
        stream.flush()
    assert stream.push(torch.zeros(2, 0)).shape == (2, 48, 0)
    with pytest.raises(ShapeError, match="shape"):
        stream.push(torch.zeros(3, 100))
    with pytest.raises(ShapeError, match="precision"):
        stream.push(torch.zeros(2, 100, dtype=torch.float64))
    with pytest.raises(ShapeError, match="full scale"):
        stream.push(torch.zeros(2, 100, dtype=torch.int32))
    stream.push(torch.zeros(2, 100))  # a refusal leaves the stream as it was
    assert stream.flush().shape == (2, 48, 2)


def test_a_configuration_that_cannot_work_is_refused_by_the_configuration() -> None:
    with pytest.raises(ConfigError, match="hop factor of 0"):
        MelFrontend(16_000, 96, 0)
    with pytest.raises(ConfigError, match="mel_scale"):
        MelFrontend(16_000, 96, mel_scale="bark")


def test_the_module_shows_its_configuration() -> None:
    assert "16k-mel48-x2-log" in repr(MelFrontend(16_000, 48, 2, "log"))
