from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import lightmel
from lightmel import audio
from lightmel.checkpoint import safetensors as weights
from lightmel.errors import (
    AudioError,
    ConfigError,
    LightmelError,
    ShapeError,
    UnknownModelError,
    WeightsError,
)
from lightmel.inference import tagger
from lightmel.inference.tagger import Tagger, Tagging

SR = 16_000
Tiny = Callable[..., Tagger]


def sound(seconds: float, seed: int = 0, sr: int = SR) -> np.ndarray:
    """Noise whose level and colour change, so that no segment is like another."""
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal(round(seconds * sr)) * np.linspace(0.02, 0.3, round(seconds * sr))
    return (np.cumsum(wave) % 1 - 0.5 + 0.1 * wave).astype(np.float32)


def scores_of(tagging: Tagging, tags: tuple[str, ...]) -> np.ndarray:
    return np.array([tagging[tag] for tag in tags])


@pytest.fixture(scope="session")
def model(tiny: Tiny) -> Tagger:
    return tiny(0)


@pytest.fixture
def saved(tmp_path: Path, model: Tagger) -> Path:
    path = tmp_path / "tiny.safetensors"
    model.save(path)
    return path


@pytest.fixture
def wav(tmp_path: Path) -> Callable[..., Path]:
    def write(wave: np.ndarray, sr: int = SR, name: str = "sound.wav", subtype: str = "FLOAT") -> Path:
        soundfile.write(tmp_path / name, wave, sr, subtype=subtype)
        return tmp_path / name

    return write


# Scores


def test_scores_are_the_mean_over_the_segments(model: Tagger) -> None:
    wave = sound(1.7)
    length = model.segment_samples
    cuts = np.stack([wave[s : s + length] for s in (0, 8_000, 16_000, len(wave) - length)])
    wanted = model.segment_logits(torch.from_numpy(cuts)).double().sigmoid().mean(dim=0).numpy()
    assert np.abs(scores_of(model.tag(wave, SR), model.tags) - wanted).max() < 1e-6


def test_the_end_of_a_sound_counts(model: Tagger) -> None:
    wave = sound(1.2)
    other = wave.copy()
    other[-300:] = 0.9
    assert model.tag(wave, SR).scores != model.tag(other, SR).scores


@pytest.mark.parametrize("segments", [1, 2, 5, 16])
def test_a_number_of_segments_is_spread_as_published(model: Tagger, segments: int) -> None:
    wave, length = sound(1.7), model.segment_samples
    hop = (len(wave) - length) // segments
    cuts = np.stack([wave[i * hop : i * hop + length] for i in range(segments)])
    wanted = model.segment_logits(torch.from_numpy(cuts)).double().sigmoid().mean(dim=0).numpy()
    found = scores_of(model.tag(wave, SR, segments=segments), model.tags)
    assert np.abs(found - wanted).max() < 1e-6


def test_the_centre_is_the_middle_segment(model: Tagger) -> None:
    wave, length = sound(1.7), model.segment_samples
    start = len(wave) // 2 - length // 2
    middle = model.tag(wave[start : start + length], SR)
    assert model.tag(wave, SR, segments="centre").scores == middle.scores


@pytest.mark.parametrize("segments", ["middle", 0, -1, 1.5, None, "16"])
def test_other_segments_are_refused(model: Tagger, segments: Any) -> None:
    with pytest.raises(ConfigError, match="'all', 'centre' or a number from 1"):
        model.tag(sound(1), SR, segments=segments)


def test_best_come_first_and_all_are_there(model: Tagger) -> None:
    tagging = model.tag(sound(1.2), SR)
    assert sorted(tagging.tags) == sorted(model.tags)
    assert list(tagging.scores) == sorted(tagging.scores, reverse=True)
    assert all(0 <= s <= 1 and type(s) is float for s in tagging.scores)
    assert (tagging.model, tagging.version, tagging.licence) == ("tiny-0", "1", "CC0-1.0")
    assert tagging.seconds == pytest.approx(1.2)
    assert tagging.notes == ()


def test_a_file_and_its_samples_are_the_same(model: Tagger, wav: Callable[..., Path]) -> None:
    wave = sound(2.3)
    path = wav(wave)
    wanted = model.tag(wave, SR)
    assert model.tag(path) == model.tag(str(path)) == wanted
    assert model.tag(torch.from_numpy(wave), SR) == wanted
    assert model.tag(wave.tolist(), SR) == wanted
    assert model.tag(wave[None], SR) == model.tag(np.stack([wave, wave]), SR) == wanted


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_whole_numbers_are_scaled_by_their_range(model: Tagger, dtype: Any) -> None:
    full = np.iinfo(dtype).max + 1
    whole = (sound(1.2).astype(np.float64) * 0.9 * full).astype(dtype)
    wanted = model.tag(whole / full, SR)
    assert model.tag(whole, SR).scores == pytest.approx(wanted.scores, abs=1e-6)


def test_scores_do_not_depend_on_company_or_order(model: Tagger, wav: Callable[..., Path]) -> None:
    sources: list[Any] = [sound(s, i) for i, s in enumerate((0.2, 3.1, 0.5, 1.9, 14.0))]
    alone = [model.tag(s, SR) for s in sources]
    assert list(model.tag_many(sources, SR)) == alone
    assert list(model.tag_many(sources[::-1], SR)) == alone[::-1]
    paths = [wav(s, name=f"{i}.wav") for i, s in enumerate(sources)]
    assert list(model.tag_many(paths)) == alone


def test_block_sizes_do_not_matter_to_the_scores(
    model: Tagger, wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wav(sound(5.3))
    wanted = model.tag(path)
    real = audio.stream
    for seconds in (0.013, 0.5, 60.0):
        monkeypatch.setattr(audio, "stream", lambda p, sr, s=seconds: real(p, sr, block_seconds=s))
        assert model.tag(path) == wanted


def test_tagging_leaves_a_tagger_and_torch_as_they_were(model: Tagger) -> None:
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    model.tag(sound(1), SR)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_a_network_left_in_training_does_not_drop_out(tiny: Tiny) -> None:
    made = tiny(0)
    again = Tagger(made.network.train(), made.description)
    assert again.tag(sound(1), SR) == again.tag(sound(1), SR)


# Odd lengths and bad input


@pytest.mark.parametrize("samples", [1, 2, 255, 257, 7_999])
def test_short_sound_is_repeated_and_says_so(model: Tagger, samples: int) -> None:
    wave = sound(1)[:samples]
    tagging = model.tag(wave, SR)
    assert tagging.padded
    assert any("repeated to fill the 0.5 s" in note for note in tagging.notes)
    assert tagging.seconds == samples / SR
    assert tagging.scores == model.tag(np.resize(wave, model.segment_samples), SR).scores
    for segments in ("centre", 16):
        assert model.tag(wave, SR, segments=segments) == tagging


def test_one_segment_exactly_is_not_short(model: Tagger) -> None:
    tagging = model.tag(sound(0.5), SR)
    assert not tagging.padded
    assert tagging.notes == ()


def test_silence_is_said(model: Tagger) -> None:
    (note,) = model.tag(np.zeros(SR, dtype=np.float32), SR).notes
    assert "digital silence" in note


def test_a_low_rate_is_said_and_a_high_one_is_not(model: Tagger) -> None:
    (note,) = model.tag(sound(1, sr=4_000), 4_000).notes
    assert "4000 Hz" in note
    assert "2000 Hz" in note
    assert model.tag(sound(1, sr=192_000), 192_000).notes == ()


@pytest.mark.parametrize(
    ("wave", "sr", "error", "message"),
    [
        (np.zeros(0, dtype=np.float32), SR, LightmelError, "no samples|zero samples"),
        (np.array([0.1, np.nan] * 9_000), SR, AudioError, "finite"),
        (np.array([0.1, np.inf] * 9_000), SR, AudioError, "finite"),
        (np.zeros((2, 2, 100)), SR, ShapeError, r"\(samples,\) or \(channels, samples\)"),
        (np.float32(0.5), SR, ShapeError, r"\(samples,\) or \(channels, samples\)"),
        (np.zeros((48_000, 2)), SR, ShapeError, "transpose"),
        (np.zeros(100, dtype=complex), SR, ShapeError, "complex"),
        (np.array(["a", "b"]), SR, ShapeError, "hear"),
        ([[0.1, 0.2], [0.1]], SR, ShapeError, "regular"),
        (np.zeros(100), None, AudioError, "needs its sample rate"),
        (np.zeros(100), 0, AudioError, "rate"),
        (np.zeros(100), -16_000, AudioError, "rate"),
        (np.zeros(100), "16k", AudioError, "rate"),
        (None, SR, ShapeError, "hear"),
    ],
)
def test_arrays_that_cannot_be_heard_are_refused(
    model: Tagger, wave: Any, sr: Any, error: type[LightmelError], message: str
) -> None:
    for call in (model.tag, model.taggram, model.embed):
        with pytest.raises(error, match=message):
            call(wave, sr)


def test_a_path_with_a_rate_is_refused(model: Tagger, wav: Callable[..., Path]) -> None:
    path = wav(sound(1))
    for call in (model.tag, model.taggram, model.embed):
        with pytest.raises(ConfigError, match="knows its own sample rate"):
            call(path, SR)


def test_files_that_cannot_be_heard_are_refused(
    model: Tagger, tmp_path: Path, wav: Callable[..., Path]
) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("These are words. " * 200)
    wav(np.zeros(0, dtype=np.float32), name="nothing.wav")
    wav(np.full(20_000, np.nan, dtype=np.float32), name="nan.wav")
    wav(np.where(np.arange(200_000) == 190_000, np.inf, 0.1).astype(np.float32), name="late.wav")
    for name in ("none.wav", ".", "empty.wav", "text.mp3", "nothing.wav", "nan.wav", "late.wav"):
        for call in (model.tag, model.taggram, model.embed):
            with pytest.raises(AudioError):
                call(tmp_path / name)


def test_eight_channels_are_their_mean(model: Tagger, wav: Callable[..., Path]) -> None:
    many = np.stack([sound(1.1, seed) for seed in range(8)])
    mean = model.tag(many.mean(axis=0), SR)
    assert model.tag(many, SR).scores == pytest.approx(mean.scores, abs=1e-5)
    assert model.tag(wav(many.T)).scores == pytest.approx(mean.scores, abs=1e-5)


# Memory


@pytest.mark.parametrize("method", ["tag", "taggram", "embed"])
def test_a_long_file_runs_in_bounded_memory(model: Tagger, method: str, tmp_path: Path) -> None:
    """Ten minutes are 38 MB as float32; the peak above the start must not grow with the file."""
    path = tmp_path / "long.wav"
    minute = (sound(60) * 20_000).astype(np.int16)
    peaks = []
    for minutes in (1, 10):
        with soundfile.SoundFile(path, "w", SR, 1, subtype="PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        tracemalloc.start()
        found = getattr(model, method)(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        if method == "tag":
            assert found.seconds == 60 * minutes
    assert peaks[1] < 1.2 * peaks[0] < 10_000_000


# Many sources, taggrams, embeddings


def test_tag_many_returns_errors_where_asked(model: Tagger, tmp_path: Path) -> None:
    sources: list[Any] = [sound(1), np.zeros((1, 1, 1)), sound(0.7, 1)]
    first, second, third = model.tag_many(sources, SR, errors="return")
    assert isinstance(first, Tagging)
    assert isinstance(second, ShapeError)
    assert third == model.tag(sources[2], SR)
    with pytest.raises(ShapeError):
        list(model.tag_many(sources, SR))
    (missing,) = model.tag_many([tmp_path / "none.mp3"], errors="return")
    assert isinstance(missing, AudioError)
    assert "none.mp3" in str(missing)


def test_tag_many_is_lazy_but_refuses_wrong_use_at_once(model: Tagger) -> None:
    def sources() -> Iterator[np.ndarray]:
        yield sound(1)
        raise RuntimeError("asked for more than was wanted")

    assert isinstance(next(iter(model.tag_many(sources(), SR))), Tagging)
    with pytest.raises(ConfigError, match="'raise' or 'return'"):
        model.tag_many([], SR, errors="ignore")  # type: ignore[arg-type]
    for one in ("song.mp3", Path("song.mp3")):
        with pytest.raises(ConfigError, match="one path"):
            model.tag_many(one)  # type: ignore[arg-type]


@pytest.mark.parametrize("hop", [None, 0.1, 0.5, 0.8])
def test_taggram_times_are_where_its_scores_come_from(model: Tagger, hop: float | None) -> None:
    wave, length = sound(2.03), model.segment_samples
    taggram = model.taggram(wave, SR, hop=hop)
    assert taggram.tags == model.tags
    assert taggram.scores.shape == (len(taggram.times), 3)
    assert taggram.times[0, 0] == 0
    assert taggram.times[-1, 1] == len(wave) / SR
    assert np.allclose(np.diff(taggram.times[:-1, 0]), 0.5 if hop is None else hop)
    for (start, end), scores in zip(taggram.times, taggram.scores, strict=True):
        assert end - start == pytest.approx(0.5)
        cut = wave[round(start * SR) : round(start * SR) + length]
        assert scores_of(model.tag(cut, SR), model.tags) == pytest.approx(scores, abs=1e-6)


def test_the_mean_of_a_taggram_is_the_tagging(model: Tagger) -> None:
    wave = sound(14.3)
    mean = model.taggram(wave, SR).scores.mean(axis=0)
    assert scores_of(model.tag(wave, SR), model.tags) == pytest.approx(mean, abs=1e-9)


def test_a_taggram_of_short_sound_ends_with_the_sound(model: Tagger) -> None:
    taggram = model.taggram(sound(0.2), SR)
    assert taggram.times.tolist() == [[0, 0.2]]


@pytest.mark.parametrize("hop", [0, -1, 1e-9, float("nan"), float("inf")])
def test_a_taggram_wants_a_hop_above_zero(model: Tagger, hop: float) -> None:
    with pytest.raises(ConfigError, match="seconds from one segment to the next"):
        model.taggram(sound(1), SR, hop=hop)


def test_an_embedding_is_what_the_head_sees(model: Tagger) -> None:
    embedding = model.embed(sound(0.5), SR)
    assert embedding.shape == (model.network.embed_dim,)
    assert embedding.dtype == np.float32
    with torch.inference_mode():
        scores = model.network.head(torch.from_numpy(embedding)).sigmoid().numpy()
    assert scores == pytest.approx(scores_of(model.tag(sound(0.5), SR), model.tags), abs=1e-6)
    assert np.array_equal(embedding, model.embed(sound(0.5), SR))


# The tagging


def test_a_tagging_reads_well(model: Tagger) -> None:
    tagging = Tagging(
        ("a", "b", "c"), (0.9, 0.5, 0.123), 12.34, False, "m", "1", "CC0", thresholds=(0.95, 0.4, 0.1)
    )
    assert str(tagging) == "a 0.90, b 0.50, c 0.12 (12.3 s, m)"
    assert tagging.top(2) == [("a", 0.9), ("b", 0.5)]
    assert tagging.top(0) == tagging.top(-1) == []
    assert len(tagging.top(99)) == 3
    assert tagging.above(0.5) == [("a", 0.9), ("b", 0.5)]
    assert tagging.above() == [("b", 0.5), ("c", 0.123)]
    assert tagging["b"] == 0.5
    with pytest.raises(ConfigError, match="no tag 'B'"):
        tagging["B"]
    with pytest.raises(ConfigError, match="no thresholds of its own"):
        model.tag(sound(1), SR).above()


def test_thresholds_follow_their_tags(tiny: Tiny) -> None:
    tagger_ = tiny(0, thresholds=(0.1, 0.2, 0.3))
    tagging = tagger_.tag(sound(1), SR)
    assert dict(zip(tagging.tags, tagging.thresholds, strict=True)) == {
        "voice": 0.1,
        "strings": 0.2,
        "drums": 0.3,
    }


def test_a_tagging_goes_through_json_whole(model: Tagger) -> None:
    tagging = model.tag(sound(0.3), SR)
    data = json.loads(json.dumps(tagging.to_dict(), allow_nan=False))
    assert tuple(data["tags"]) == tagging.tags
    assert tuple(data["tags"].values()) == tagging.scores
    rest = {k: v for k, v in data.items() if k != "tags"}
    assert rest == {
        "seconds": 0.3,
        "padded": True,
        "model": "tiny-0",
        "version": "1",
        "licence": "CC0-1.0",
        "notes": list(tagging.notes),
    }


# Loading


def test_what_is_saved_and_loaded_tags_the_same(model: Tagger, saved: Path) -> None:
    loaded = lightmel.load(saved)
    assert loaded.description == model.description
    assert loaded.tag(sound(1.3), SR) == model.tag(sound(1.3), SR)
    assert lightmel.tag(sound(1.3), SR, model=saved) == model.tag(sound(1.3), SR)
    assert lightmel.tag(sound(1.3), SR, model=saved, segments="centre") == model.tag(
        sound(1.3), SR, segments="centre"
    )
    assert repr(loaded) == "<Tagger tiny-0: 3 tags, 16k-mel16-x4-db, 0.5 s>"


def test_a_file_is_loaded_once_however_it_is_called(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = lightmel.load(saved)
    monkeypatch.chdir(saved.parent)
    (saved.parent / "link").symlink_to(saved)
    for name in (str(saved), saved.name, Path("..") / saved.parent.name / saved.name, "link"):
        assert lightmel.load(name) is loaded


def test_a_file_written_anew_is_loaded_anew(saved: Path, tiny: Tiny) -> None:
    assert lightmel.load(saved).name == "tiny-0"
    tiny(1).save(saved)
    assert lightmel.load(saved).name == "tiny-1"
    assert sum(place == str(saved.resolve()) for place in tagger._loaded) == 1


def test_a_broken_file_is_refused_every_time(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-10])
    for _ in range(2):
        with pytest.raises(WeightsError, match=saved.name):
            lightmel.load(saved)


def test_an_unknown_model_of_tag_is_told_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'default'"):
        lightmel.tag(np.zeros(8_000), SR, model="defalt")


def test_many_threads_load_once_and_share_one_tagger(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    real, start = weights.read, threading.Barrier(8)

    def slow(path: Path) -> Any:
        reads.append(path)
        threading.Event().wait(0.05)
        return real(path)

    def work(seed: int) -> tuple[Tagger, Tagging]:
        start.wait()
        loaded = lightmel.load(saved)
        return loaded, loaded.tag(sound(0.5 + seed / 10, seed), SR)

    monkeypatch.setattr(weights, "read", slow)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(8)))
    assert len(reads) == 1
    assert len({id(loaded) for loaded, _ in done}) == 1
    for seed, (loaded, tagging) in enumerate(done):
        assert tagging == loaded.tag(sound(0.5 + seed / 10, seed), SR)


def test_a_slow_load_does_not_hold_up_another(
    saved: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = saved.with_name("other.safetensors")
    tiny(1).save(other)
    real, release, begun = weights.read, threading.Event(), threading.Event()

    def read(path: Path) -> Any:
        if path.name == other.name:
            begun.set()
            assert release.wait(10)
        return real(path)

    monkeypatch.setattr(weights, "read", read)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lightmel.load, other)
        assert begun.wait(10)
        assert lightmel.load(saved).name == "tiny-0"
        assert not waiting.done()
        release.set()
        assert waiting.result().name == "tiny-1"


def test_a_network_of_another_shape_is_refused(model: Tagger, tiny: Tiny) -> None:
    with pytest.raises(WeightsError, match="wants mels of"):
        Tagger(tiny(0, seconds=1.0).network, model.description)
