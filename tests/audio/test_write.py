from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel.audio import WRITTEN, writing
from lightmel.audio._ogg import find_recordings
from lightmel.errors import AudioError

SR = 16_000
LOSSLESS = {".wav", ".flac"}


def tune(samples: int = 3 * SR) -> np.ndarray:
    time = np.arange(samples) / SR
    return (0.4 * np.sin(2 * np.pi * 440 * time) * np.cos(2 * np.pi * time) ** 2).astype(np.float32)


def written(path: Path, wave: np.ndarray, sr: int = SR, block: int = 10_000) -> Path:
    with writing(path, sr) as write:
        for start in range(0, len(wave), block):
            write(wave[start : start + block])
    return path


def fail_on_the_way(path: Path) -> None:
    with writing(path, SR) as write:
        write(tune())
        raise ZeroDivisionError


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    wave = tune()
    path = written(tmp_path / f"tune{suffix}", wave)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    back = audio.load(path, SR)
    assert len(back) == len(wave)
    if suffix in LOSSLESS:
        assert np.abs(back - wave).max() < 1.01 / 32_768  # a step of 16 bits
    else:
        assert np.corrcoef(back, wave)[0, 1] > 0.99


@pytest.mark.parametrize("suffix", WRITTEN)
def test_the_same_samples_are_the_same_bytes_in_any_blocks(tmp_path: Path, suffix: str) -> None:
    one, other = (written(tmp_path / f"{i}{suffix}", tune(), block=n) for i, n in enumerate((10_000, 48_000)))
    assert one.read_bytes() == other.read_bytes()


def test_an_ogg_file_has_the_number_that_is_ours_and_right_checksums(tmp_path: Path) -> None:
    for suffix in (".ogg", ".opus"):
        data = written(tmp_path / f"tune{suffix}", tune()).read_bytes()
        (found,) = find_recordings(io.BytesIO(data))  # which passes pages by whose checksums are wrong
        assert (found.begin, found.end, found.broken, found.whole) == (0, len(data), [], True)
        assert data[14:18] == (0x6C6D).to_bytes(4, "little")


def test_what_is_too_loud_is_clipped_and_does_not_wrap_around(tmp_path: Path) -> None:
    wave = np.linspace(-2, 2, 1_000, dtype=np.float32)
    back, _ = soundfile.read(written(tmp_path / "loud.wav", wave))
    assert np.abs(back - np.clip(wave, -1, 1)).max() < 1e-4


def test_a_long_block_is_written_whole(tmp_path: Path) -> None:
    wave = tune(40 * SR)
    assert len(audio.load(written(tmp_path / "long.ogg", wave, block=len(wave)), SR)) == len(wave)


@pytest.mark.parametrize(
    ("name", "sr", "why"),
    [
        ("tune.mp3", SR, r"tune\.mp3: sound is written as \.wav, \.flac, \.ogg, \.opus"),
        ("tune", SR, "name the file so"),
        ("no/tune.wav", SR, "there is no folder"),
        ("folder.wav", SR, "is a folder: name the file in it"),
        ("tune.opus", 22_050, "Opus has no 22,050 Hz, only 8,000, 12,000"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path, name: str, sr: int, why: str) -> None:
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(AudioError, match=why), writing(tmp_path / name, sr):
        pytest.fail("the work began")
    assert not (tmp_path / "no").exists()


def test_what_fails_on_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "tune.wav"
    path.write_bytes(b"what was there")
    with pytest.raises(ZeroDivisionError):
        fail_on_the_way(path)
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("free", "why"), [(0, "No space left on device"), (2**30, "System error")])
def test_a_full_disk_is_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, why: str
) -> None:
    def fail(*_: object) -> None:
        raise soundfile.LibsndfileError(2)  # as libsndfile says it when nothing can be written

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(AudioError, match=rf"tune\.wav cannot be written: {why}"):
        written(tmp_path / "tune.wav", tune())
    assert list(tmp_path.iterdir()) == []
