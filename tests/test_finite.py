"""What comes out is finite, or an error that names the file: samples at the ends of what floats can hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel import audio
from lightmel._each import attempt
from lightmel.datasets import Track
from lightmel.distillation import DistillConfig
from lightmel.distillation.corpus import read_corpus
from lightmel.errors import AudioError, LightmelError
from lightmel.features import build_store
from lightmel.inference import Tagger

VALUES = [1e-45, 1e-42, 1e-38, 1e9, 1e19, 1e25, 1e35, 1e38, 3.3e38]
PLACES: dict[str, Callable[[np.ndarray, float], None]] = {
    "ten": lambda wave, value: wave.__setitem__(slice(1000, 1010), value),
    "all": lambda wave, value: wave.__setitem__(slice(None), value),
    "alternating": lambda wave, value: wave.__setitem__(
        slice(None), np.resize([[value], [-value]], (len(wave), 1))
    ),
    "one channel": lambda wave, value: wave.__setitem__((slice(500, 600), 0), value),
}


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Tagger]) -> Tagger:
    return tiny(0)


@pytest.mark.parametrize("sr", [16_000, 44_100])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", VALUES)
def test_finite_or_an_error_with_the_file(
    value: float, place: str, sr: int, model: Tagger, tmp_path: Path
) -> None:
    wave = (0.1 * np.random.default_rng(0).standard_normal((2 * sr, 2))).astype(np.float32)
    PLACES[place](wave, np.float32(value))
    path = tmp_path / "loud.wav"
    soundfile.write(path, wave, sr, subtype="FLOAT")
    config = DistillConfig(excerpt_seconds=1.5, speeds=1)

    def stored(path: Path) -> np.ndarray:
        store = build_store(tmp_path / "store", {"loud": path}, model.config, workers=0)
        if "loud" in store.failed:
            raise AudioError(f"{path}: {store.failed['loud']}")
        return store[0]

    def learnt(path: Path) -> np.ndarray:
        corpus = read_corpus([Track(path, "")], config, 16_000, np.random.default_rng(0))
        return np.concatenate([*corpus.clean, *corpus.coded])

    doors: dict[str, Callable[[Path], np.ndarray]] = {
        "load": lambda path: audio.load(path, 16_000),
        "middle": lambda path: audio.middle(path, 12_000, 1.0),
        "tag": lambda path: np.array(model.tag(path).scores),
        "taggram": lambda path: model.taggram(path).scores,
        "embed": model.embed,
        "embed_segments": model.embed_segments,
        "store": stored,
        "corpus": learnt,
    }
    failed = set()
    with np.errstate(all="raise"):  # not only what comes out: nothing on the way warns
        for name, door in doors.items():
            found = attempt(path, door, path)
            if isinstance(found, LightmelError):
                failed.add(name)
                assert type(found) is AudioError, name
                assert name == "corpus" or str(path) in str(found), name
            else:
                assert np.isfinite(found).all(), name
    if value < 1:
        assert not failed, "what is small is sound"
    if value == 1e25 and place == "ten" and sr == 16_000:  # elsewhere they lie between two frames
        assert failed == {"tag", "taggram", "embed", "embed_segments", "store"}
    if value > 1e36:
        assert {"load", "tag", "store"} <= failed


def test_a_wave_is_told_what_to_do(model: Tagger) -> None:
    for value in (1e25, 1e38, 1e300):
        wave = np.zeros(16_000)
        wave[1000:1010] = value
        with pytest.raises(AudioError, match="scale them to ±1"):
            model.tag(wave, 16_000)
