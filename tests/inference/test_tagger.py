"""A tagger on whatever is given to it: scores, odd lengths, bad input, memory, taggrams, embeddings."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import lightmel
from lightmel import audio
from lightmel.errors import AudioError, ConfigError, LightmelError, ShapeError
from lightmel.inference import Tagger, Tagging
from lightmel.inference import tagger as tagger_module
from lightmel.inference.runtimes import Output

SR = 16_000
Sound = Callable[..., np.ndarray]
ScoresOf = Callable[..., np.ndarray]
Tiny = Callable[..., Tagger]
Wav = Callable[..., Path]


# Scores


def test_scores_are_the_mean_over_the_segments(scores_of: ScoresOf, sound: Sound, model: Tagger) -> None:
    wave = sound(1.7)
    length = model.segment_samples
    cuts = np.stack([wave[s : s + length] for s in (0, 8_000, 16_000, len(wave) - length)])
    wanted = model.runtime.logits(torch.from_numpy(cuts)).double().sigmoid().mean(dim=0).numpy()
    assert np.abs(scores_of(model.tag(wave, SR), model.tags) - wanted).max() < 1e-6


def test_the_end_of_a_sound_counts(sound: Sound, model: Tagger) -> None:
    wave = sound(1.2)
    other = wave.copy()
    other[-300:] = 0.9
    assert model.tag(wave, SR).scores != model.tag(other, SR).scores


@pytest.mark.parametrize("segments", [1, 2, 5, 16])
def test_a_number_of_segments_is_spread_as_published(
    scores_of: ScoresOf, sound: Sound, model: Tagger, segments: int
) -> None:
    wave, length = sound(1.7), model.segment_samples
    hop = (len(wave) - length) // segments
    cuts = np.stack([wave[i * hop : i * hop + length] for i in range(segments)])
    wanted = model.runtime.logits(torch.from_numpy(cuts)).double().sigmoid().mean(dim=0).numpy()
    found = scores_of(model.tag(wave, SR, segments=segments), model.tags)
    assert np.abs(found - wanted).max() < 1e-6


def test_the_center_is_the_middle_segment(sound: Sound, model: Tagger) -> None:
    wave, length = sound(1.7), model.segment_samples
    start = len(wave) // 2 - length // 2
    middle = model.tag(wave[start : start + length], SR)
    assert model.tag(wave, SR, segments="center").scores == middle.scores


@pytest.mark.parametrize("segments", ["middle", 0, -1, 1.5, None, "16", True, 10_001, 10**9])
def test_other_segments_are_refused(sound: Sound, model: Tagger, segments: Any) -> None:
    with pytest.raises(ConfigError, match="'all', 'center' or a number from 1"):
        model.tag(sound(1), SR, segments=segments)


def test_best_come_first_and_all_are_there(sound: Sound, model: Tagger) -> None:
    tagging = model.tag(sound(1.2), SR)
    assert sorted(tagging.tags) == sorted(model.tags)
    assert list(tagging.scores) == sorted(tagging.scores, reverse=True)
    assert all(0 <= s <= 1 and type(s) is float for s in tagging.scores)
    assert (tagging.model, tagging.version, tagging.license) == ("tiny-0", "1", "CC0-1.0")
    assert tagging.seconds == pytest.approx(1.2)
    assert tagging.notes == ()


def test_a_file_and_its_samples_are_the_same(sound: Sound, model: Tagger, wav: Wav) -> None:
    wave = sound(2.3)
    path = wav(wave)
    wanted = model.tag(wave, SR)
    assert model.tag(path) == model.tag(str(path)) == wanted
    assert model.tag(torch.from_numpy(wave), SR) == wanted
    assert model.tag(wave.tolist(), SR) == wanted
    assert model.tag(wave[None], SR) == model.tag(np.stack([wave, wave]), SR) == wanted


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_whole_numbers_are_scaled_by_their_range(sound: Sound, model: Tagger, dtype: Any) -> None:
    full = np.iinfo(dtype).max + 1
    whole = (sound(1.2).astype(np.float64) * 0.9 * full).astype(dtype)
    wanted = model.tag(whole / full, SR)
    assert model.tag(whole, SR).scores == pytest.approx(wanted.scores, abs=1e-6)


def test_scores_do_not_depend_on_company_or_order(sound: Sound, model: Tagger, wav: Wav) -> None:
    sources: list[Any] = [sound(s, i) for i, s in enumerate((0.2, 3.1, 0.5, 1.9, 14.0))]
    alone = [model.tag(s, SR) for s in sources]
    assert list(model.tag_many(sources, SR)) == alone
    assert list(model.tag_many(sources[::-1], SR)) == alone[::-1]
    paths = [wav(s, name=f"{i}.wav") for i, s in enumerate(sources)]
    assert list(model.tag_many(paths)) == alone


def test_block_sizes_do_not_matter_to_the_scores(
    sound: Sound, model: Tagger, wav: Wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wav(sound(5.3))
    wanted = model.tag(path)
    real = audio.stream
    for seconds in (0.013, 0.5, 60.0):
        monkeypatch.setattr(audio, "stream", lambda p, sr, s=seconds, **how: real(p, sr, s, **how))
        assert model.tag(path) == wanted


def test_tagging_leaves_a_tagger_and_torch_as_they_were(sound: Sound, model: Tagger) -> None:
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    model.tag(sound(1), SR)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_a_network_left_in_training_does_not_drop_out(sound: Sound, tiny: Tiny) -> None:
    made = tiny(0)
    again = Tagger(made.network.train(), made.description)
    assert again.tag(sound(1), SR) == again.tag(sound(1), SR)


# Odd lengths and bad input


@pytest.mark.parametrize("samples", [1, 2, 255, 257, 7_999])
def test_short_sound_is_repeated_and_noted(sound: Sound, model: Tagger, samples: int) -> None:
    wave = sound(1)[:samples]
    tagging = model.tag(wave, SR)
    assert tagging.padded
    assert any("repeated to fill the model's segment of 0.5 s" in note for note in tagging.notes)
    assert tagging.seconds == samples / SR
    assert tagging.scores == model.tag(np.resize(wave, model.segment_samples), SR).scores
    for segments in ("center", 16):
        assert model.tag(wave, SR, segments=segments) == tagging


def test_one_segment_exactly_is_not_short(sound: Sound, model: Tagger) -> None:
    tagging = model.tag(sound(0.5), SR)
    assert not tagging.padded
    assert tagging.notes == ()


def test_samples_of_another_scale_are_said(sound: Sound, model: Tagger) -> None:
    (note,) = model.tag(sound(1) / np.abs(sound(1)).max() * 20_000, SR).notes
    assert note.startswith("samples up to 20000, where full scale is 1, and they were taken as they are:")


@pytest.mark.parametrize("method", ["tag", "taggram", "embed", "embed_segments"])
def test_samples_that_the_network_cannot_take_are_refused(
    sound: Sound, model: Tagger, wav: Wav, method: str
) -> None:
    wave = sound(1) * np.float32(1e30)
    for given in ((wave, SR), (wav(wave),)):
        with pytest.raises(AudioError, match=r"tiny-0 gives .* not finite for samples up to .*e\+.*: scale"):
            getattr(model, method)(*given)


class Wrong:
    """A runtime whose results are those of another, changed."""

    def __init__(self, runtime: Any, change: Callable[[Output], Output]) -> None:
        self._runtime, self._change = runtime, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def run(self, waves: np.ndarray) -> Output:
        return self._change(self._runtime.run(waves))


@pytest.mark.parametrize("method", ["tag", "taggram", "embed"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda o: Output(o.scores[:1], o.embedding),
            ShapeError,
            r"scores of shape \(1, 3\); wanted is \(4, 3\)",
        ),
        (lambda o: Output(o.scores[:, :1], o.embedding), ShapeError, r"scores of shape \(4, 1\)"),
        (lambda o: Output(o.scores[:, 0], o.embedding), ShapeError, r"scores of shape \(4,\)"),
        (lambda o: Output(o.scores, o.embedding[:2]), ShapeError, r"embeddings of shape \(2, "),
        (
            lambda o: Output(o.scores * np.nan, o.embedding),
            AudioError,
            r"scores that are not finite .* up to 0\.\d+: the tagger's file may be damaged",
        ),
    ],
)
def test_what_a_runtime_gives_is_checked(
    sound: Sound, model: Tagger, method: str, change: Any, error: Any, message: str
) -> None:
    tagger = Tagger(Wrong(model.runtime, change), model.description)
    with pytest.raises(error, match=message):
        getattr(tagger, method)(sound(1.7), SR)


def test_silence_is_said(model: Tagger) -> None:
    (note,) = model.tag(np.zeros(SR, dtype=np.float32), SR).notes
    assert note == "silence"


def test_a_low_rate_is_said_and_a_high_one_is_not(sound: Sound, model: Tagger) -> None:
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
        (np.array(["a", "b"]), SR, ShapeError, "is no sound: its items are not numbers of one type"),
        ([[0.1, 0.2], [0.1]], SR, ShapeError, "regular"),
        (np.zeros(100), None, AudioError, "needs its sample rate"),
        (np.zeros(100), 0, AudioError, "rate"),
        (np.zeros(100), -16_000, AudioError, "rate"),
        (np.zeros(100), "16k", AudioError, "rate"),
        (None, SR, ShapeError, "A NoneType is no sound: give a path"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(
    model: Tagger, wave: Any, sr: Any, error: type[LightmelError], message: str
) -> None:
    for call in (model.tag, model.taggram, model.embed):
        with pytest.raises(error, match=message):
            call(wave, sr)


def test_a_path_with_a_rate_is_refused(sound: Sound, model: Tagger, wav: Wav) -> None:
    path = wav(sound(1))
    for call in (model.tag, model.taggram, model.embed):
        with pytest.raises(ConfigError, match="knows its own sample rate"):
            call(path, SR)


def test_files_that_are_no_sound_are_refused(model: Tagger, tmp_path: Path, wav: Wav) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("These are words. " * 200)
    wav(np.zeros(0, dtype=np.float32), name="nothing.wav")
    wav(np.full(20_000, np.nan, dtype=np.float32), name="nan.wav")
    wav(np.where(np.arange(200_000) == 190_000, np.inf, 0.1).astype(np.float32), name="late.wav")
    for name in ("none.wav", ".", "empty.wav", "text.mp3", "nothing.wav", "nan.wav", "late.wav"):
        for call in (model.tag, model.taggram, model.embed):
            with pytest.raises(AudioError):
                call(tmp_path / name)


def test_eight_channels_are_their_mean(sound: Sound, model: Tagger, wav: Wav) -> None:
    many = np.stack([sound(1.1, seed) for seed in range(8)])
    mean = model.tag(many.mean(axis=0), SR)
    assert model.tag(many, SR).scores == pytest.approx(mean.scores, abs=1e-5)
    assert model.tag(wav(many.T)).scores == pytest.approx(mean.scores, abs=1e-5)


# Memory


@pytest.mark.parametrize("method", ["tag", "taggram", "embed"])
def test_a_long_file_runs_in_bounded_memory(sound: Sound, model: Tagger, method: str, tmp_path: Path) -> None:
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


def test_tag_many_returns_errors_where_asked(sound: Sound, model: Tagger, tmp_path: Path) -> None:
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


def test_tag_many_is_lazy_but_refuses_wrong_use_at_once(sound: Sound, model: Tagger) -> None:
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
def test_taggram_times_are_where_its_scores_come_from(
    scores_of: ScoresOf, sound: Sound, model: Tagger, hop: float | None
) -> None:
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


def test_the_mean_of_a_taggram_is_the_tagging(scores_of: ScoresOf, sound: Sound, model: Tagger) -> None:
    wave = sound(14.3)
    mean = model.taggram(wave, SR).scores.mean(axis=0)
    assert scores_of(model.tag(wave, SR), model.tags) == pytest.approx(mean, abs=1e-9)


def test_a_taggram_of_short_sound_ends_with_the_sound(sound: Sound, model: Tagger) -> None:
    taggram = model.taggram(sound(0.2), SR)
    assert taggram.times.tolist() == [[0, 0.2]]


@pytest.mark.parametrize("hop", [0, -1, 1e-9, float("nan"), float("inf"), "1", 10**400])
def test_a_taggram_wants_a_hop_above_zero(sound: Sound, model: Tagger, hop: float) -> None:
    with pytest.raises(ConfigError, match="seconds from one segment to the next"):
        model.taggram(sound(1), SR, hop=hop)


def test_an_embedding_is_what_the_head_sees(scores_of: ScoresOf, sound: Sound, model: Tagger) -> None:
    embedding = model.embed(sound(0.5), SR)
    assert embedding.shape == (model.network.embed_dim,)
    assert embedding.dtype == np.float32
    with torch.inference_mode():
        scores = model.network.head(torch.from_numpy(embedding)).sigmoid().numpy()
    assert scores == pytest.approx(scores_of(model.tag(sound(0.5), SR), model.tags), abs=1e-6)
    assert np.array_equal(embedding, model.embed(sound(0.5), SR))


def test_the_embedding_of_a_sound_is_the_mean_of_its_segments(sound: Sound, model: Tagger) -> None:
    segments = model.embed_segments(sound(60.2), SR)
    assert segments.shape == (121, model.network.embed_dim)
    assert segments.dtype == np.float32
    assert segments.mean(axis=0) == pytest.approx(model.embed(sound(60.2), SR), rel=1e-5)
    with torch.inference_mode():
        scores = model.network.head(torch.from_numpy(segments)).sigmoid().numpy()
    assert scores == pytest.approx(model.taggram(sound(60.2), SR).scores, abs=1e-6)


@pytest.mark.parametrize("given", [5, None, 0.5])
def test_what_is_not_several_sources_is_said(model: Tagger, given: Any) -> None:
    with pytest.raises(ShapeError, match=rf"A {type(given).__name__} is not several sources: give a list"):
        model.tag_many(given)


@pytest.mark.parametrize("raised", [ZeroDivisionError("by us"), MemoryError()])
def test_whatever_a_source_raises_is_returned_in_its_place(
    model: Tagger, sound: Callable[..., np.ndarray], raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [sound(1.0, seed) for seed in range(3)]
    whole = tagger_module.cut
    calls = iter(range(9))

    def cut(*args: Any) -> Any:
        if next(calls) == 1:
            raise raised
        return whole(*args)

    monkeypatch.setattr(tagger_module, "cut", cut)
    good, bad, last = model.tag_many(waves, SR, errors="return")
    assert isinstance(good, Tagging)
    assert isinstance(last, Tagging)
    assert isinstance(bad, LightmelError)
    assert bad.__cause__ is raised
    calls = iter([1])
    with pytest.raises(type(raised)):
        list(model.tag_many(waves[:1], SR))


# A share of it


@pytest.mark.parametrize(("coverage", "segments"), [(0.1, 2), (0.5, 10), (0.04, 1), (0.001, 1), (0.051, 2)])
def test_coverage_is_as_many_segments_each_in_the_middle_of_its_part(
    model: Tagger, sound: Sound, wav: Wav, coverage: float, segments: int, scores_of: ScoresOf
) -> None:
    length = model.segment_samples
    wave = sound(20 * model.segment_seconds)
    parts = [wave[i * len(wave) // segments :][: len(wave) // segments] for i in range(segments)]
    middles = [model.tag(part, SR, segments="center") for part in parts]
    wanted = np.mean([scores_of(m, model.tags) for m in middles], axis=0)
    for found in (
        model.tag(wave, SR, coverage=coverage),
        model.tag(wav(wave), coverage=coverage),
        *model.tag_many([wav(wave)], coverage=coverage),
    ):
        np.testing.assert_allclose(scores_of(found, model.tags), wanted, atol=1e-6)
        assert found.seconds == len(wave) / SR
    starts = audio.spread_starts(len(wave), length, segments)
    assert [s + length // 2 for s in starts] == [
        (2 * i + 1) * len(wave) // (2 * segments) for i in range(segments)
    ]


def test_a_tagging_says_how_much_was_analysed(model: Tagger, sound: Sound, wav: Wav) -> None:
    length = model.segment_seconds
    wave = sound(20 * length)
    for share, said in ((0.1, "10%"), (0.31, "35%"), (0.001, "5%")):
        wanted = f"{said} of its {20 * length:.0f} s were analysed"
        for source, sr in ((wave, SR), (wav(wave), None)):
            found = model.tag(source, sr, coverage=share)
            assert wanted in found.notes
            assert Tagging.from_dict(found.to_dict()) == found
    (found,) = (
        note for note in model.tag(sound(150 * length), SR, coverage=0.001).notes if "analysed" in note
    )
    assert found.startswith("less than 1% of its ")
    for own in (model.tag(wave, SR), model.tag(sound(0.9 * length), SR, coverage=0.1)):
        assert not [note for note in own.notes if "analysed" in note], "all of it was"


def test_all_of_it_is_all_of_it(model: Tagger, sound: Sound) -> None:
    wave = sound(5.3)
    assert model.tag(wave, SR, coverage=1) == model.tag(wave, SR)
    assert lightmel.tag(wave, SR, model=model, coverage=1.0) == model.tag(wave, SR)
    assert lightmel.tag(wave, SR, model=model, coverage=0.3) == model.tag(wave, SR, coverage=0.3)


@pytest.mark.parametrize("coverage", [0, -0.1, 1.1, float("nan"), "half", True, 50])
def test_what_is_no_share_is_refused(model: Tagger, sound: Sound, coverage: Any) -> None:
    with pytest.raises(ConfigError, match="coverage is the share of the sound that counts, above 0 to 1"):
        model.tag(sound(1), SR, coverage=coverage)
    with pytest.raises(ConfigError, match="beside segments=4"):
        model.tag(sound(1), SR, coverage=0.1, segments=4)
    with pytest.raises(ConfigError, match="coverage"):
        model.tag_many([], coverage=coverage)
