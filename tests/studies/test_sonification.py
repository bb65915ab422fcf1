"""What is made audible has the mel-spectrogram that it was made of, and has lost what that has not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import lightmel
from lightmel import PAPER_CONFIGS, MelConfig, MelFrontend, audio, sample, sonify
from lightmel.errors import AudioError, ConfigError, LightmelError, ShapeError
from lightmel.frontends import mel_filter_bank
from lightmel.studies import LONGEST_GRIFFIN_LIM, Method, sonify_file
from lightmel.studies.sonification import griffin_lim, mel_power, noise, spectra

SR = 16_000
METHODS: tuple[Method, ...] = ("noise", "griffin-lim")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Let no threads wait for each other, which takes fifty times as long beside a busy neighbour."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """Eight seconds of the sample at 16 kHz."""
    return audio.excerpt(sample.path(), SR, 8.0, 8.0)


def mel(wave: np.ndarray, config: MelConfig) -> np.ndarray:
    return MelFrontend.from_config(config)(torch.from_numpy(wave)).numpy()


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each band over time."""
    a, b = (m - m.mean(1, keepdims=True) for m in (one, other))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


# What is kept


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "slug",
    [
        "16k-mel96-x1-db",
        "16k-mel48-x1-log",
        "16k-mel48-x2-db",
        "16k-mel48-x10-db",
        "12k-mel48-x3-log",
        "12k-mel8-x1-db",
        "16k-mel32-x2-db-htk-peak-reflect",
    ],
)
def test_it_has_the_mel_spectrogram_of_the_source(music: np.ndarray, slug: str, method: Method) -> None:
    config = MelConfig.from_slug(slug)
    wave = audio.from_array(music, SR, config.sr)
    made = sonify(music, config, sr=SR, method=method)
    assert made.dtype == np.float32
    assert len(made) == len(wave)
    before, after = mel(wave, config), mel(made, config)
    # Noise in a band of one or two bins is as unsteady as noise is; phases that fit each other are not.
    typical, worst, off = (0.8, 0.35, 0.7) if method == "noise" else (0.98, 0.8, 0.3)
    each = correlations(before, after)
    assert np.median(each) > typical
    assert each.min() > worst
    if config.log == "db":
        assert abs((after - before).mean()) < off  # dB: neither louder nor quieter


@pytest.mark.parametrize("config", PAPER_CONFIGS, ids=lambda config: config.slug)
def test_each_of_the_papers_configurations_can_be_heard(music: np.ndarray, config: MelConfig) -> None:
    made = sonify(music[:SR], config, sr=SR)
    assert len(made) == config.sr
    assert np.isfinite(made).all()
    wave = audio.from_array(music[:SR], SR, config.sr)
    # As loud as the source: low bands of noise vary most, and they are the loudest.
    assert abs(10 * np.log10(np.square(made).sum() / np.square(wave).sum())) < 4


@pytest.mark.parametrize("config", PAPER_CONFIGS, ids=lambda config: config.slug)
def test_the_bands_of_the_spectra_are_those_that_were_given(music: np.ndarray, config: MelConfig) -> None:
    power = mel_power(torch.from_numpy(mel(audio.from_array(music, SR, config.sr), config)), config).double()
    bank = mel_filter_bank(config)
    found = spectra(power, bank)
    assert (found >= 0).all()
    loud = power > 1e-6 * power.max()
    off = 10 * torch.log10((bank @ found) / power)[loud]
    assert off.square().mean().sqrt() < 0.5  # dB; spread evenly over its bins it would be about 3


@pytest.mark.parametrize("log", ["log", "db"])
def test_power_comes_back_from_both_logarithms(log: str) -> None:
    config = MelConfig.from_slug(f"16k-mel48-x1-{log}")
    wave = 0.1 * np.random.default_rng(0).standard_normal(4_000).astype(np.float32)
    plain = MelConfig.from_slug("16k-mel48-x1-db")
    wanted = torch.pow(10.0, torch.from_numpy(mel(wave, plain)) / 10)
    torch.testing.assert_close(
        mel_power(torch.from_numpy(mel(wave, config)), config), wanted, rtol=1e-4, atol=0
    )


# What is lost


def modulated(hertz: float, seconds: float = 20.0) -> np.ndarray:
    """Noise that gets louder and quieter so many times a second."""
    time = np.arange(round(seconds * SR)) / SR
    white = np.random.default_rng(1).standard_normal(len(time))
    return (0.05 * white * (1 + np.cos(2 * np.pi * hertz * time))).astype(np.float32)


def line(wave: np.ndarray, hertz: float) -> float:
    """How far a line of its loudness over time stands out of those within 1 Hz around it."""
    hop = 160
    loudness = np.sqrt(np.square(wave[: len(wave) // hop * hop]).reshape(-1, hop).mean(1))
    spectrum = np.abs(np.fft.rfft((loudness - loudness.mean()) * np.hanning(len(loudness))))
    at = hertz * len(loudness) * hop / SR
    near = np.abs(np.arange(len(spectrum)) - at)
    own, others = spectrum[near <= 1].max(), spectrum[(near > 3) & (near <= 20)]
    return float(own / np.median(others))


def test_what_is_faster_than_the_frames_is_gone() -> None:
    """12 Hz lies above half of the 6.25 frames a second of x10, and below half of the 62.5 of x1."""
    wave = modulated(12.0)
    made = {slug: sonify(wave, slug, sr=SR) for slug in ("16k-mel48-x1-db", "16k-mel48-x10-db")}
    assert line(wave, 12.0) > 20
    assert line(made["16k-mel48-x1-db"], 12.0) > 20
    assert line(made["16k-mel48-x10-db"], 12.0) < 5
    # Frames are left out and not averaged: it comes back as a modulation that was not there, 12.5 - 12 Hz.
    assert line(wave, 0.5) < 5
    assert line(made["16k-mel48-x1-db"], 0.5) < 5
    assert line(made["16k-mel48-x10-db"], 0.5) > 8


def test_what_is_slower_than_the_frames_is_kept() -> None:
    wave = modulated(2.0)
    assert line(sonify(wave, "16k-mel48-x10-db", sr=SR), 2.0) > 10


def test_a_click_between_two_frames_of_a_large_hop_is_gone() -> None:
    wave = np.zeros(2 * SR, np.float32)
    wave[2_560 * 4 + 1_280] = 0.9
    assert np.abs(sonify(wave, "16k-mel48-x1-db", sr=SR)).max() > 0.01
    assert not sonify(wave, "16k-mel48-x10-db", sr=SR).any()


def test_two_tones_in_one_band_are_one() -> None:
    time = np.arange(4 * SR) / SR
    wave = (0.2 * np.sin(2 * np.pi * 4_000 * time) + 0.2 * np.sin(2 * np.pi * 4_600 * time)).astype(
        np.float32
    )

    def dip(sound: np.ndarray) -> float:
        """How much less there is between the tones than at the lower one, in dB."""
        power = np.abs(np.fft.rfft(sound.reshape(-1, 4_000) * np.hanning(4_000))) ** 2
        mean = power.mean(0)
        at = {hertz: mean[round(hertz / 4) - 20 : round(hertz / 4) + 20].mean() for hertz in (4_000, 4_300)}
        return float(10 * np.log10(at[4_000] / at[4_300]))

    assert dip(wave) > 30
    assert dip(sonify(wave, "16k-mel96-x1-db", sr=SR)) > 10
    assert dip(sonify(wave, "16k-mel8-x1-db", sr=SR)) < 3


def test_nothing_is_above_half_the_rate_of_the_configuration(music: np.ndarray) -> None:
    assert len(sonify(music, "12k-mel48-x2-db", sr=SR)) == 8 * 12_000


# Level, silence, chance


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("slug", ["16k-mel48-x1-db", "16k-mel48-x10-log"])
def test_silence_gives_silence(slug: str, method: Method) -> None:
    made = sonify(np.zeros(2 * SR, np.float32), slug, sr=SR, method=method)
    assert len(made) == 2 * SR
    assert not made.any()


@pytest.mark.parametrize("method", METHODS)
def test_it_never_clips(music: np.ndarray, method: Method) -> None:
    loud = np.clip(20 * music, -1, 1)
    made = sonify(loud, "16k-mel48-x2-db", sr=SR, method=method)
    assert np.abs(made).max() == pytest.approx(0.95, abs=1e-5)
    quiet = sonify(music / 50, "16k-mel48-x2-db", sr=SR, method=method)
    assert np.abs(quiet).max() < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_is_a_sound(music: np.ndarray, method: Method) -> None:
    one, same, other = (
        sonify(music[:SR], "16k-mel48-x2-db", sr=SR, method=method, seed=seed) for seed in (3, 3, 4)
    )
    assert one.tobytes() == same.tobytes()
    assert np.abs(one - other).max() > 0.01


def test_blocks_make_no_difference(music: np.ndarray) -> None:
    config = MelConfig.from_slug("16k-mel48-x3-db")

    def made(*sizes: int) -> np.ndarray:
        cuts = np.cumsum(sizes)
        blocks = np.split(music, cuts[cuts < len(music)])
        return np.concatenate(list(noise(blocks, config, np.random.default_rng(0))))

    whole = made()
    for sizes in ((1,), (5_000, 1, 2_000, 255, 257), (SR,) * 7):
        np.testing.assert_allclose(made(*sizes), whole, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("samples", [1, 127, 128, 129, 256, 257, 511, 513, 2_559, 2_561])
@pytest.mark.parametrize("slug", ["16k-mel48-x1-db", "16k-mel48-x10-log"])
def test_any_length_is_kept(samples: int, slug: str, method: Method) -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    made = sonify(wave, slug, sr=SR, method=method)
    assert len(made) == samples
    assert np.isfinite(made).all()


# Griffin-Lim against another's


def test_griffin_lim_is_librosas(music: np.ndarray) -> None:
    librosa = pytest.importorskip("librosa")
    wave = torch.from_numpy(music[: 128 * 200])
    window = torch.hann_window(512)
    magnitudes = torch.stft(wave, 512, 128, window=window, pad_mode="constant", return_complex=True).abs()
    ours = griffin_lim(magnitudes, torch.zeros_like(magnitudes), iterations=8)
    theirs = librosa.griffinlim(
        magnitudes.numpy(), n_iter=8, hop_length=128, n_fft=512, init=None, momentum=0.99, pad_mode="constant"
    )
    # float32; what differs grows from one iteration to the next.
    assert np.abs(ours.numpy() - theirs).max() < 1e-3 * np.abs(theirs).max()


def test_griffin_lim_is_torchaudios(music: np.ndarray) -> None:
    try:
        from torchaudio.functional import griffinlim
    except (ImportError, OSError) as error:  # beside a CPU-only torch its wheel raises OSError
        pytest.skip(f"torchaudio does not import here: {error}")
    wave = torch.from_numpy(music[: 128 * 200])
    window = torch.hann_window(512)
    magnitudes = torch.stft(wave, 512, 128, window=window, pad_mode="constant", return_complex=True).abs()
    ours = griffin_lim(magnitudes, torch.zeros_like(magnitudes), iterations=8)
    theirs = griffinlim(magnitudes, window, 512, 128, 512, 1.0, 8, 0.99, None, False)
    # Its frames are mirrored at the ends: it is as near, and not the same.
    after = [torch.stft(w, 512, 128, window=window, return_complex=True).abs() for w in (ours, theirs)]
    errors = [float((a[:, 4:-4] - magnitudes[:, 4:-4]).norm() / magnitudes.norm()) for a in after]
    assert errors[0] < 1.2 * errors[1]


def test_iterations_bring_the_magnitudes_nearer(music: np.ndarray) -> None:
    window = torch.hann_window(512)

    def frames(wave: torch.Tensor) -> torch.Tensor:
        return torch.stft(wave, 512, 128, window=window, pad_mode="constant", return_complex=True).abs()

    wanted = frames(torch.from_numpy(music[: 128 * 200]))
    phases = torch.from_numpy(np.random.default_rng(0).random(wanted.shape, np.float32)) * 6.2832
    errors = [float((frames(griffin_lim(wanted, phases, iterations=n)) - wanted).norm()) for n in (0, 4, 32)]
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2]


# Files


@pytest.mark.parametrize("suffix", audio.WRITTEN)
def test_a_file_is_what_the_function_returns(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"heard{suffix}"
    made = sonify_file(sample.path(), out, "12k-mel48-x5-db", excerpt_seconds=3.0)
    assert (made.samples, made.source_samples, made.path) == (36_000, 24 * 12_000, out)
    assert made.gain == 1
    wave = sonify(sample.path(), "12k-mel48-x5-db", excerpt_seconds=3.0)
    back = audio.load(out, 12_000)
    assert len(back) == len(wave)
    if suffix in (".wav", ".flac"):
        assert np.abs(back - wave).max() < 1 / 32_768
    again = tmp_path / f"again{suffix}"
    sonify_file(sample.path(), again, "12k-mel48-x5-db", excerpt_seconds=3.0)
    assert again.read_bytes() == out.read_bytes()


def test_griffin_lim_takes_the_middle_of_a_long_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightmel.studies import sonification

    monkeypatch.setattr(sonification, "LONGEST_GRIFFIN_LIM", 2.0)
    made = sonify_file(sample.path(), tmp_path / "a.wav", "16k-mel48-x5-db", method="griffin-lim")
    assert (made.samples, made.source_samples) == (2 * SR, 24 * SR)


@pytest.mark.skipif(
    not hasattr(os, "wait4") or sys.platform == "darwin", reason="needs Linux's memory counts"
)
def test_forty_minutes_take_the_memory_of_one(tmp_path: Path, tone: Callable[..., np.ndarray]) -> None:
    import soundfile

    def peak(minutes: int) -> float:
        """MB of a process that makes so many minutes audible; 2 kHz keep it short."""
        path = tmp_path / f"{minutes}.wav"
        minute = tone(60.0, 2_000, 1)
        with soundfile.SoundFile(path, "w", 2_000, 1) as file:
            for _ in range(minutes):
                file.write(minute)
        out = tmp_path / "out.wav"
        command = [sys.executable, "-m", "lightmel", "sonify", str(path), "--config", "2k-mel8-x10-db"]
        process = subprocess.Popen([*command, "-o", str(out)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        assert status == 0
        assert audio.info(out).seconds == pytest.approx(60 * minutes)
        return usage.ru_maxrss / 1_024

    # All of 40 minutes would be 19 MB of samples, and as much again for what is made of them.
    assert peak(40) < peak(1) + 10


# What cannot be


@pytest.mark.parametrize(
    ("config", "options", "error", "why"),
    [
        ("16k-mel48-x2-bd", {}, ConfigError, "Did you mean '16k-mel48-x2-db'"),
        ("default", {}, ConfigError, "is not a mel configuration"),
        ("32k-kaldi128", {}, ConfigError, "of the kind 'kaldi_mel': only mel-spectrograms"),
        ("16k-mel48-x2-db", {"method": "nois"}, ConfigError, "Did you mean 'noise'"),
        ("16k-mel48-x2-db", {"excerpt_seconds": 0}, ConfigError, "above 0, not 0"),
        ("16k-mel48-x2-db", {"excerpt_seconds": float("nan")}, ConfigError, "above 0, not nan"),
        ("16k-mel48-x2-db", {"seed": -1}, ConfigError, "from 0 on, not -1"),
        (
            "16k-mel48-x2-db",
            {"method": "griffin-lim", "excerpt_seconds": LONGEST_GRIFFIN_LIM + 1},
            ConfigError,
            "61 is more than the 60 s that Griffin-Lim takes",
        ),
    ],
)
def test_what_cannot_be_made_audible(
    tmp_path: Path, config: str, options: dict[str, object], error: type[LightmelError], why: str
) -> None:
    out = tmp_path / "out.wav"
    with pytest.raises(error, match=why):
        sonify(sample.path(), config, **options)  # type: ignore[arg-type]
    with pytest.raises(error, match=why):
        sonify_file(sample.path(), out, config, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slug", ["16k-mel48-x10-db", "16k-mel48-x1-log"])
def test_sound_that_is_too_large_becomes_no_silence(tmp_path: Path, slug: str) -> None:
    song, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(song, np.full(48_000, 1e30, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"song\.wav: .*scale them to ±1"):
        sonify_file(song, out, slug)
    assert not out.exists()


def test_a_name_that_is_no_text_and_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, music: np.ndarray
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    made = sonify_file(music, "~/heard.wav", "16k-mel16-x10-db", sr=SR)
    assert made.path == tmp_path / "heard.wav"
    assert made.path.is_file()
    if sys.platform == "linux":
        odd = tmp_path / os.fsdecode(b"\xff.flac")
        sonify_file(music, odd, "16k-mel16-x10-db", sr=SR)
        assert soundfile.info(os.fsencode(odd)).frames == len(music)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_said_of_a_file_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, music: np.ndarray, method: Method
) -> None:
    source = tmp_path / "opposite.wav"
    soundfile.write(source, np.stack([music, -music], 1), SR)
    sonify_file(source, tmp_path / "heard.wav", "16k-mel16-x10-db", method=method)
    assert [record.message.count("cancel each other") for record in caplog.records] == [1]
    assert caplog.records[0].message.startswith(f"{source}: ")


def test_files_that_cannot_be(tmp_path: Path) -> None:
    song = tmp_path / "song.ogg"
    shutil.copy(sample.path(), song)
    before = song.read_bytes()
    link = tmp_path / "link.ogg"
    link.symlink_to(song)
    for out in (song, link):
        with pytest.raises(AudioError, match="is read here, and would be replaced"):
            sonify_file(song, out, "16k-mel48-x2-db")
    with pytest.raises(AudioError, match="there is no folder"):
        sonify_file(song, tmp_path / "no" / "out.wav", "16k-mel48-x2-db")
    with pytest.raises(AudioError, match=r"gone\.mp3"):
        sonify_file(tmp_path / "gone.mp3", tmp_path / "out.wav", "16k-mel48-x2-db")
    text = tmp_path / "text.mp3"
    text.write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.mp3"):
        sonify_file(text, tmp_path / "out.wav", "16k-mel48-x2-db")
    with pytest.raises(ShapeError):
        sonify(np.ones(100, np.float32), "16k-mel48-x2-db-reflect", sr=SR)
    assert song.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.ogg", "song.ogg", "text.mp3"]


def test_it_is_a_public_name() -> None:
    assert lightmel.sonify is sonify
    assert "sonify" in lightmel.__all__
