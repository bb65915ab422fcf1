"""Is it music? A toy tagger reads the answer off the loudness of each segment."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lightmel import MelConfig
from lightmel.checkpoint import Description
from lightmel.inference import Output, Part, Tagger, Tagging
from lightmel.inference.parts import PartFinder

SR = 16_000
TAGS = ("guitar", "woman", "female vocal", "rock", "happy", "music", "speech", "rain", "mine")
LEVELS = {"music": 0.5, "speech": 0.25, "rain": 0.125, "silence": 0.0}
SCORES = {
    "music": (0.6, 0.3, 0.4, 0.35, 0.1, 0.9, 0.05, 0.01, 0.2),
    "speech": (0.6, 0.1, 0.1, 0.05, 0.1, 0.1, 0.8, 0.02, 0.2),
    "rain": (0.6, 0.1, 0.1, 0.05, 0.1, 0.2, 0.05, 0.7, 0.2),
    "silence": (0.6, 0.5, 0.5, 0.5, 0.1, 0.9, 0.05, 0.01, 0.2),
}


class Toy:
    """Gives each segment the scores of the kind whose level is nearest to its loudness."""

    device, precision, batch_seconds, embed_dim, weights = "cpu", "float32", 12.0, 1, "none"

    def __init__(self, columns: list[int]) -> None:
        self.columns, self.n_tags = columns, len(columns)

    def run(self, waves: np.ndarray) -> Output:
        kinds = [min(LEVELS, key=lambda kind: abs(LEVELS[kind] - np.abs(w).mean())) for w in waves]
        scores = np.array([SCORES[kind] for kind in kinds])[:, self.columns]
        return Output(scores, np.zeros((len(waves), 1), dtype=np.float32))


def toy(tags: tuple[str, ...] = TAGS, seconds: float = 2.0, thresholds: tuple[float, ...] = ()) -> Tagger:
    config = MelConfig.from_slug("16k-mel16-x4-db")
    described = Description("toy", "1", "CC0-1.0", config, tags, config.n_samples(seconds), thresholds)
    return Tagger(Toy([TAGS.index(tag) for tag in tags]), described)  # type: ignore[arg-type]


def sound(*parts: tuple[str, float]) -> np.ndarray:
    """Return sound of kinds and their seconds, one after the other."""
    levels = np.concatenate([np.full(round(s * SR), LEVELS[kind], dtype=np.float32) for kind, s in parts])
    levels[::2] *= -1  # without a constant offset, of which there would be a note
    return levels


def heard(*parts: tuple[str, float], **options: Any) -> Tagging:
    return toy(**options).tag(sound(*parts), SR)


@pytest.mark.parametrize(
    ("kind", "is_music", "said"),
    [
        ("music", True, ()),
        ("speech", False, ("speech",)),
        ("rain", False, ("not music",)),
        ("silence", False, ("silence",)),
    ],
)
@pytest.mark.parametrize("seconds", [2, 7, 31])
def test_what_a_sound_is(kind: str, is_music: bool, said: tuple[str, ...], seconds: float) -> None:
    found = heard((kind, seconds))
    assert found.notes == said
    assert found.sound == (said[0] if said else "music")
    assert found.is_music is is_music
    assert found.parts == ()


def test_a_tagger_without_the_tag_music_knows_silence_alone() -> None:
    tags = ("guitar", "speech", "rain")
    for kind in ("music", "speech", "rain"):
        found = heard((kind, 20), tags=tags)
        assert (found.sound, found.is_music, found.notes) == ("unknown", None, ())
    found = heard(("silence", 20), tags=tags)
    assert (found.sound, found.is_music, found.notes) == ("silence", False, ("silence",))
    found = heard(("music", 30), ("silence", 30), tags=tags)
    assert found.sound == "unknown"
    assert found.notes == ("silence from 0:30 to 1:00",)


@pytest.mark.parametrize(("peak", "silent"), [(0.0, True), (0.9e-4, True), (1.1e-4, False)])
def test_silence_is_below_80_db(peak: float, silent: bool) -> None:
    wave = np.zeros(8 * SR, dtype=np.float32)
    wave[5_000] = -peak
    assert ("silence" in toy().tag(wave, SR).notes) is silent


@pytest.mark.parametrize("tag", ["music", "speech"])
def test_the_taggers_own_thresholds_count(tag: str) -> None:
    limits = [0.01] * len(TAGS)
    limits[TAGS.index("music")] = {"music": 0.95, "speech": 0.5}[tag]
    limits[TAGS.index("speech")] = {"music": 0.5, "speech": 0.85}[tag]
    assert heard(("music" if tag == "music" else "speech", 10), thresholds=tuple(limits)).sound == "not music"


def test_a_long_file_says_which_parts_are_something_else() -> None:
    found = heard(("speech", 92), ("music", 240), ("rain", 20), ("silence", 30))
    assert found.sound == "music"
    assert found.parts == (
        Part("speech", 0, 92),
        Part("not music", 332, 352),
        Part("silence", 352, 382),
    )
    assert found.notes == (
        "speech from 0:00 to 1:32",
        "not music from 5:32 to 5:52",
        "silence from 5:52 to 6:22",
    )
    assert str(Part("speech", 3_599.9, 7_325)) == "speech from 59:59 to 2:02:05"


def test_where_most_is_no_music_the_note_is_on_the_whole_and_music_is_a_part() -> None:
    found = heard(("speech", 60), ("music", 20), ("speech", 30))
    assert (found.sound, found.notes) == ("speech", ("speech", "music from 1:00 to 1:20"))
    assert heard(("music", 30), ("silence", 100)).sound == "music"  # silence counts where all is silent
    assert heard(("silence", 100), ("rain", 4)).sound == "not music"


@pytest.mark.parametrize("odd", ["speech", "rain", "silence"])
def test_one_odd_segment_or_two_change_nothing(odd: str) -> None:
    for times in (1, 2):
        flapping = [("music", 20.0), (odd, 2.0 * times)] * 6
        assert heard(*flapping).notes == ()


def test_a_talk_with_noises_between_is_one_part() -> None:
    talk = [("speech", 6.0), ("rain", 4.0)] * 5
    assert heard(("music", 100), *talk, ("music", 100)).notes == ("speech from 1:40 to 2:28",)


@pytest.mark.parametrize("seconds", [0.5, 3.0, 10.0, 29.0])
def test_any_length_of_segment(seconds: float) -> None:
    found = heard(("speech", 60), ("music", 140), seconds=seconds)
    (part,) = found.parts
    assert part.kind == "speech"
    assert (part.start, part.end) == pytest.approx((0, 60), abs=seconds)


def test_segments_that_do_not_adjoin_say_what_the_whole_is_but_no_parts() -> None:
    wave = sound(("speech", 60), ("music", 140))
    assert toy().tag(wave, SR, segments=8).notes == ()
    assert toy().tag(wave, SR, segments=8).sound == "music"
    assert toy().tag(wave[: 80 * SR], SR, segments=8).notes == ("speech",)
    assert toy().tag(wave[: 60 * SR], SR, segments="center").notes == ("speech",)
    assert toy().tag(np.zeros(60 * SR, dtype=np.float32), SR, segments="center").notes == ("silence",)


def test_parts_adjoin_whatever_comes_and_little_is_held() -> None:
    rng = np.random.default_rng(0)
    finder = PartFinder(("music", "speech"), (), 1.0)
    for i in range(20_000):
        finder.add(i, i + 1.0, rng.choice([0.0, 1.0], p=[0.2, 0.8]), rng.random(2))
        assert len(finder._window) <= 11
    sound, parts = finder.finish()
    assert 10 < len(parts) <= 2_000
    assert all(a.end <= b.start for a, b in pairwise(parts))
    assert all(part.start < part.end <= 20_000 for part in parts)
    assert {part.kind for part in parts} <= {"music", "speech", "not music", "silence"} - {sound}


def test_music_is_no_tag_but_has_its_score() -> None:
    found = heard(("music", 10))
    assert found["music"] == pytest.approx(0.9)
    assert "music" not in dict(found.top(99))
    assert len(found.top(99)) == len(TAGS) - 1
    assert "music" not in dict(found.above(0.0))
    assert "music" not in dict(found.concepts())
    assert all("music" not in dict(best) for best in found.by_category(99).values())
    assert str(found).startswith("guitar 0.60, female vocal 0.40, ")


def test_concepts_take_the_best_score_of_their_tags() -> None:
    found = heard(("music", 10))
    assert [name for name, _ in found.concepts()] == [
        *("guitar", "female vocal", "rock", "mine", "happy", "speech", "rain")
    ]
    assert dict(found.concepts())["female vocal"] == pytest.approx(0.4)


def names(found: Tagging, *how: Any) -> dict[str, list[str]]:
    return {name: [tag for tag, _ in best] for name, best in found.by_category(*how).items()}


def test_categories_come_in_order_with_the_best_of_each() -> None:
    everything = {
        "genre": ["rock"],
        "mood": ["happy"],
        "instrument": ["guitar"],
        "voice": ["female vocal"],
        "not music": ["speech", "rain"],
        "other": ["mine"],
    }
    found = heard(("music", 10))
    assert names(found) == everything
    assert list(found.by_category()) == list(everything)
    assert names(found, 1)["not music"] == ["speech"]
    assert set(map(tuple, names(found, 0).values())) == {()}
    assert names(found, 5, 0.35) == {
        **{name: [] for name in everything},
        "genre": ["rock"],
        "instrument": ["guitar"],
        "voice": ["female vocal"],
    }


def test_what_labels_have_verified_comes_first_in_its_category() -> None:
    found = heard(("rain", 10))
    assert names(found)["not music"] == ["rain", "speech"]
    found = replace(found, verified=tuple(tag == "speech" for tag in found.tags))
    assert names(found)["not music"] == ["speech", "rain"]
    assert next(name for name, _ in found.concepts()) == "rain"  # elsewhere scores alone count


def test_a_category_in_which_nothing_reaches_its_threshold_is_unknown() -> None:
    #         guitar woman female rock happy music speech rain mine
    limits = (0.7, 0.25, 0.5, 0.3, 0.5, 0.5, 0.3, 0.3, 0.3)
    found = heard(("music", 10), thresholds=limits)
    assert names(found) == {
        "genre": ["rock"],
        "mood": [],
        "instrument": [],
        "voice": ["female vocal"],  # one of its tags reaches its own
        "not music": [],
        "other": [],
    }
    plain = found.to_dict()["categories"]
    assert plain["mood"] == plain["instrument"] == "unknown"
    assert plain["genre"] == {"rock": pytest.approx(0.35)}


def test_nobody_is_told_the_genre_of_what_is_no_music() -> None:
    found = heard(("rain", 10))
    assert names(found) == {
        **{name: [] for name in ("genre", "mood", "instrument", "voice")},
        "not music": ["rain", "speech"],
        "other": ["mine"],
    }
    assert found["guitar"] == pytest.approx(0.6)
    assert str(found) == "not music: rain 0.70, speech 0.05 (10.0 s, toy)"
    silent = heard(("silence", 10))
    assert not any(silent.by_category().values())
    assert str(silent) == "silence (10.0 s, toy)"


def test_all_of_it_goes_through_json() -> None:
    found = heard(("speech", 92), ("music", 240))
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["sound"] == "music"
    assert data["notes"] == ["speech from 0:00 to 1:32"]
    assert data["parts"] == [{"kind": "speech", "start": 0.0, "end": 92.0}]
    assert set(data["tags"]) == set(TAGS)
    assert Tagging.from_dict(data) == found
