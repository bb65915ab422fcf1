from __future__ import annotations

import hashlib
import importlib.util
import math
from importlib import resources
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from lightmel import sample

# Of the 16-bit sound before the encoder, little-endian. `python examples/render_sample.py` makes the file
# anew when the piece is changed; this is then the one line to change with it.
PCM_SHA256 = "97117689462e0a6f6127fdb065894e797c6017be9089b3aa1a97a6f649ec5522"


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / "render_sample.py"
    spec = importlib.util.spec_from_file_location("render_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pcm(renderer: ModuleType) -> NDArray[np.int16]:
    rendered: NDArray[np.int16] = renderer.render(np.random.default_rng(renderer.SEED))
    return rendered


@pytest.fixture(scope="module")
def decoded() -> NDArray[np.float64]:
    wave, sr = soundfile.read(sample.path(), always_2d=True)
    assert sr == sample.SR
    return wave


def test_the_file_has_the_format_and_length_that_are_given(decoded: NDArray[np.float64]) -> None:
    info = soundfile.info(sample.path())
    assert (info.format, info.subtype) == ("OGG", "VORBIS")
    assert decoded.shape == (round(sample.SECONDS * sample.SR), sample.CHANNELS)
    assert sample.SECONDS >= 20
    assert sample.path().stat().st_size < 400_000


def test_it_comes_with_the_package() -> None:
    folder = resources.files("lightmel.sample")
    assert folder.joinpath("sample.ogg").read_bytes() == sample.path().read_bytes()
    assert sample.path().read_bytes()[:4] == b"OggS"


def test_the_license_lies_beside_it() -> None:
    text = sample.license_text()
    assert f"SPDX-License-Identifier: {sample.LICENSE}" in text
    assert "CC0 1.0 Universal" in text
    assert (sample.path().parent / "LICENSE").is_file()
    assert sample.SOURCE in text


def test_the_source_is_in_the_repository() -> None:
    assert (Path(__file__).parents[1] / sample.SOURCE).is_file()


def test_rendering_gives_the_same_samples(pcm: NDArray[np.int16]) -> None:
    assert hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest() == PCM_SHA256


def test_the_file_holds_what_is_rendered(pcm: NDArray[np.int16], decoded: NDArray[np.float64]) -> None:
    rendered = pcm / 32768
    error = decoded - rendered
    snr = 10 * math.log10(np.mean(rendered**2) / np.mean(error**2))
    assert snr > 15  # a lossy file of this size keeps about 20 dB; of other sound, or shifted, below 0


def test_the_encoder_gives_the_same_bytes_twice(renderer: ModuleType, pcm: NDArray[np.int16]) -> None:
    first, second = (renderer.encode(pcm[: 2 * sample.SR]) for _ in range(2))
    assert first == second


def test_renumbering_leaves_a_file_that_decodes(renderer: ModuleType) -> None:
    ogg = sample.path().read_bytes()
    assert renderer.renumber(ogg, renderer.SERIAL) == ogg  # checksums and all
    other = renderer.renumber(ogg, 7)
    assert other != ogg
    assert renderer.renumber(other, renderer.SERIAL) == ogg


def test_another_seed_is_another_performance(renderer: ModuleType) -> None:
    first = renderer.pluck(np.random.default_rng(1), 60, 0.5, 0.8)
    same = renderer.pluck(np.random.default_rng(1), 60, 0.5, 0.8)
    other = renderer.pluck(np.random.default_rng(2), 60, 0.5, 0.8)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("midi", [28, 43, 55, 67, 79])
def test_the_strings_are_in_tune(renderer: ModuleType, midi: int) -> None:
    sound = renderer.pluck(np.random.default_rng(3), midi, 2.0, 0.9)[4410:]
    wanted = renderer.hertz(midi)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 19))
    f = np.fft.rfftfreq(1 << 19, 1 / renderer.SR)
    near = (f > wanted * 0.95) & (f < wanted * 1.05)
    found = f[near][spectrum[near].argmax()]
    assert abs(1200 * math.log2(found / wanted)) < 3  # cents; listeners detect about five


def test_the_piece_is_music_and_not_noise_or_silence(decoded: NDArray[np.float64]) -> None:
    assert 0.5 < np.abs(decoded).max() < 1.0
    seconds = decoded[: 23 * sample.SR].reshape(23, -1)
    level = 10 * np.log10(np.mean(seconds**2, axis=1))
    assert level[:21].min() > -26
    assert np.abs(decoded[-200:]).max() < 1e-3  # it ends, rather than being cut
    left, right = decoded.T
    assert 0.4 < np.corrcoef(left, right)[0, 1] < 0.95  # a stereo room
