"""What rooms share in their tests: the folder of teachers and music, sound, and tiny networks to tag with."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, settings

SNDFILE = ["wav", "flac", "ogg", "opus", "mp3", "aiff"]
FFMPEG = ["m4a", "aac", "wma", "mp4", "mkv"]
SHARED = Path(os.environ.get("LIGHTMEL_SHARED") or Path(__file__).parents[2] / "shared")

# ONNX Runtime reports its use when it is imported by a test; lightmel's own import has a test of its own.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# How long an example takes says more about a busy machine than about the code.
settings.register_profile("lightmel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lightmel")


# A shell that starts pytest in the background lets it ignore Ctrl-C, and all that it starts inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the client of the Hugging Face Hub on this machine, and from what its user has there.

    It reads some of this when it is imported, which no test does before this.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf-home")))
        for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
            patch.setenv(name, "1")
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of teachers and music beside the checkout; a test that needs it skips without it."""
    if not (SHARED / "teachers").is_dir():
        pytest.skip("needs ../shared (teachers, music) beside the checkout, or LIGHTMEL_SHARED to name it")
    return SHARED


@pytest.fixture(scope="session")
def tone() -> Callable[..., np.ndarray]:
    """Make sound to write and to read: a tone a channel under noise, its loudness moving slowly."""

    def make(seconds: float = 2.0, sr: int = 44_100, channels: int = 2, seed: int = 0) -> np.ndarray:
        """Return float32 within -1 and 1, shape (samples, channels), as soundfile takes it."""
        generator = np.random.default_rng(seed)
        time = np.arange(round(seconds * sr)) / sr
        pitch = np.minimum(220.0 * 1.5 ** np.arange(channels), 0.4 * sr)
        wave = 0.3 * np.sin(2 * np.pi * time[:, None] * pitch)
        wave += 0.05 * generator.standard_normal(wave.shape)
        wave *= 0.1 + 0.9 * np.abs(np.sin(2 * np.pi * time[:, None] / 3))
        return wave.astype(np.float32)

    return make


def _write_sndfile(path: Path, wave: np.ndarray, sr: int = 44_100, **options: Any) -> Path:
    if path.suffix == ".opus":
        options = {"format": "OGG", "subtype": "OPUS", **options}
        wave, sr = soxr.resample(wave, sr, 48_000), 48_000
    soundfile.write(path, wave, sr, **options)
    return path


def _write_ffmpeg(path: Path, wave: np.ndarray, sr: int = 44_100, codec: str | None = None) -> Path:
    import av

    layout = "stereo" if wave.shape[1] == 2 else "mono"
    codec = codec or {".wma": "wmav2"}.get(path.suffix, "aac")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=sr)
        stream.layout, stream.bit_rate = layout, 192_000
        resampler = av.AudioResampler(format=stream.format.name if stream.format else "fltp", layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = sr, 0
        size = stream.codec_context.frame_size or 1_024
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            fifo.write(part)
        while (part := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Write ``(path, wave of (samples, channels), sr)``, and return the path; its suffix says by whom."""

    def by_suffix(path: Path, wave: np.ndarray, sr: int = 44_100, **options: Any) -> Path:
        by = _write_sndfile if path.suffix[1:] in SNDFILE else _write_ffmpeg
        return by(path, wave, sr, **options)

    return by_suffix


@pytest.fixture(scope="session")
def files(
    tmp_path_factory: pytest.TempPathFactory, tone: Callable[..., np.ndarray], write: Callable[..., Path]
) -> dict[str, Path]:
    """Six seconds of stereo at 44.1 kHz in every format, by suffix."""
    folder = tmp_path_factory.mktemp("sound")
    return {suffix: write(folder / f"tone.{suffix}", tone(6.0)) for suffix in SNDFILE + FFMPEG}


@pytest.fixture(scope="session")
def tiny_network() -> Callable[..., Any]:
    """Build an untrained MUSICNN of a few filters for any mel-spectrogram; a seed draws its weights."""

    def build(
        input_shape: tuple[int, int], n_tags: int = 3, *, seed: int = 0, dropout: float = 0.5
    ) -> object:
        import torch

        from lightmel.models import build_musicnn

        return build_musicnn(
            input_shape,
            n_tags,
            variant="pons",
            timbre=[(0.9, 3, 3), (0.4, 3, 3)],
            temporal=[(5, 2)],
            width=4,
            dense=6,
            dropout=dropout,
            generator=torch.Generator().manual_seed(seed),
        )

    return build


@pytest.fixture(scope="session")
def tiny(tiny_network: Callable[..., Any]) -> Callable[..., Any]:
    """Build an untrained tagger of half a second and three tags; the seed is all that it depends on."""

    def build(
        seed: int = 0, *, slug: str = "16k-mel16-x4-db", seconds: float = 0.5, **changes: object
    ) -> object:
        from lightmel.checkpoint import Description
        from lightmel.frontends import MelConfig
        from lightmel.inference import Tagger

        config = MelConfig.from_slug(slug)
        tags = ("voice", "strings", "drums")
        network = tiny_network(config.input_shape(seconds), len(tags), seed=seed)
        fields: dict[str, object] = {
            "name": f"tiny-{seed}",
            "version": "1",
            "license": "CC0-1.0",
            "config": config,
            "tags": tags,
            "segment_samples": config.n_samples(seconds),
        }
        return Tagger(network, Description(**{**fields, **changes}))  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 90 clips of a second: low tones, high tones, noise, one or two of them."""
    folder = tmp_path_factory.mktemp("labeled")
    rng = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    rows = []
    for i in range(90):
        own = sorted(rng.choice(["high", "low", "noise"], rng.integers(1, 3), replace=False).tolist())
        wave = 0.001 * rng.standard_normal(len(time))
        for tag in own:
            level, pitch = 10 ** rng.uniform(-1.5, -0.5), {"low": 200, "high": 3_000}.get(tag, 0)
            pitch *= rng.uniform(0.8, 1.25)
            part = np.sin(2 * np.pi * pitch * time) if pitch else 0.5 * rng.standard_normal(len(time))
            wave += level * part
        soundfile.write(folder / f"{i}.flac", wave, 16_000)
        rows.append(f"{i}.flac,{';'.join(own)},{('train', 'train', 'train', 'valid', 'test')[i % 5]}")
    table = folder / "clips.csv"
    table.write_text("\n".join(["path,tags,split", *rows]) + "\n")
    return table


@pytest.fixture(scope="session")
def make_notes() -> Callable[[Path, dict[str, float], str], Path]:
    """Make a table of pure notes: one pitch an instrument, other lengths in each split; return its file."""

    def make(folder: Path, pitches: dict[str, float], split_column: str) -> Path:
        lines = [f"path,instrument,{split_column}"]
        for instrument, pitch in pitches.items():
            for split, seconds in (("train", 0.5), ("train", 0.6), ("valid", 0.7), ("test", 0.8)):
                path = f"{instrument}-{seconds}.flac"
                time = np.arange(round(16_000 * seconds)) / 16_000
                soundfile.write(folder / path, 0.7 * np.sin(2 * np.pi * pitch * time), 16_000)
                lines.append(f"{path},{instrument},{split}")
        table = folder / "notes.csv"
        table.write_text("\n".join(lines) + "\n")
        return table

    return make
