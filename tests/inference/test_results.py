"""What a tagger gives, and its way through JSON and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lightmel import inference
from lightmel.errors import ConfigError, DataError
from lightmel.inference import Part, Tagger, Tagging

SR = 16_000
Sound = Callable[..., np.ndarray]
Tiny = Callable[..., Tagger]
PLAIN: dict[str, Any] = {
    "schema": 3,
    "tags": {"a": 0.75, "b": 0.5},
    "thresholds": {},
    "verified": {},
    "seconds": 1.5,
    "padded": False,
    "model": "m",
    "version": "1",
    "license": "CC0",
    "notes": ["n"],
    "sound": "music",
    "parts": [{"kind": "speech", "start": 0.5, "end": 1.5}],
    "exclusive": False,
    "categories": {"other": {"a": 0.75, "b": 0.5}},
}


def test_a_tagging_reads_well(sound: Sound, model: Tagger) -> None:
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


def test_thresholds_follow_their_tags(sound: Sound, tiny: Tiny) -> None:
    tagging = tiny(0, thresholds=(0.1, 0.2, 0.3)).tag(sound(1), SR)
    assert dict(zip(tagging.tags, tagging.thresholds, strict=True)) == {
        "voice": 0.1,
        "strings": 0.2,
        "drums": 0.3,
    }


def test_a_tagging_goes_through_json_whole(sound: Sound, model: Tagger) -> None:
    tagging = model.tag(sound(0.3), SR)
    data = json.loads(json.dumps(tagging.to_dict(), allow_nan=False))
    assert tuple(data["tags"]) == tagging.tags
    assert tuple(data["tags"].values()) == tagging.scores
    assert set(data["categories"]) == {"instrument", "voice"}
    rest = {k: v for k, v in data.items() if k not in ("tags", "categories")}
    assert rest == {
        "schema": 3,
        "thresholds": {},
        "verified": {},
        "seconds": 0.3,
        "padded": True,
        "model": "tiny-0",
        "version": "1",
        "license": "CC0-1.0",
        "notes": list(tagging.notes),
        "sound": "unknown",
        "parts": [],
        "exclusive": False,
    }
    assert Tagging.from_dict(data) == tagging


def test_thresholds_go_through_json_with_their_tags(sound: Sound, tiny: Tiny) -> None:
    tagging = tiny(0, thresholds=(0.1, 0.2, 0.3)).tag(sound(1), SR)
    data = json.loads(json.dumps(tagging.to_dict(), allow_nan=False))
    assert data["thresholds"] == {"voice": 0.1, "strings": 0.2, "drums": 0.3}
    assert list(data["thresholds"]) == list(data["tags"])
    assert Tagging.from_dict(data) == tagging
    data["thresholds"] = dict(reversed(data["thresholds"].items()))  # JSON's objects have no order
    again = Tagging.from_dict(data)
    assert again == tagging
    assert again.above() == tagging.above()


def test_what_is_read_back_has_pythons_own_types() -> None:
    """JSON of elsewhere may have whole numbers where there are floats here."""
    whole = {**PLAIN, "tags": {"a": 1, "b": 0}, "seconds": 3, "thresholds": {"b": 1, "a": 0}}
    tagging = Tagging.from_dict(whole)
    parts = (Part("speech", 0.5, 1.5),)
    assert tagging == Tagging(
        ("a", "b"), (1.0, 0.0), 3.0, False, "m", "1", "CC0", ("n",), (0.0, 1.0), "music", parts
    )
    numbers = (*tagging.scores, *tagging.thresholds, tagging.seconds)
    assert {type(number) for number in numbers} == {float}


def test_other_fields_of_a_line_are_left_out() -> None:
    tagging = Tagging.from_dict({"path": "a.mp3", "error": None, **PLAIN})
    assert tagging.to_dict() == PLAIN
    assert Tagging.from_dict(PLAIN) == tagging


@pytest.mark.parametrize(
    ("schema", "hint"),
    [
        (4, "a newer lightmel may read it"),
        *((other, r"it is read from what Tagging.to_dict\(\) made") for other in (0, "1", None, True)),
    ],
)
def test_another_schema_is_refused(schema: object, hint: str) -> None:
    with pytest.raises(DataError, match=f"no tagging of schema 3, but of {schema!r}: {hint}"):
        Tagging.from_dict({**PLAIN, "schema": schema})
    assert inference.SCHEMA == PLAIN["schema"] == 3


def test_lines_of_schema_1_are_still_read() -> None:
    newer = ("sound", "parts", "categories")
    old = {**{k: v for k, v in PLAIN.items() if k not in newer}, "schema": 1}
    assert Tagging.from_dict(old) == dataclasses.replace(Tagging.from_dict(PLAIN), sound="unknown", parts=())


@pytest.mark.parametrize(
    "key",
    ["tags", "thresholds", "seconds", "padded", "model", "version", "notes", "sound", "parts"],
)
def test_a_tagging_without_a_field_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(DataError, match=f"This is no tagging: KeyError: '{key}'"):
        Tagging.from_dict({k: v for k, v in PLAIN.items() if k != key})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": 5}, "not iterable"),
        ({"tags": {"a": "loud"}}, "loud"),
        ({"tags": {"a": None}}, "NoneType"),
        ({"seconds": "long"}, "long"),
        ({"padded": "false"}, "padded is true or false, not 'false'"),
        ({"notes": None}, "not iterable"),
        ({"sound": "noise"}, r"a sound is one of music, .*, not 'noise'"),
        ({"parts": [{"kind": "pop", "start": 0, "end": 1}]}, "not 'pop'"),
        ({"parts": [{"kind": "music", "start": 0}]}, "KeyError: 'end'"),
        ({"thresholds": {"a": 0.5}}, "'b'"),
        ({"thresholds": {"a": 0.5, "b": "high"}}, "high"),
    ],
)
def test_a_tagging_that_is_damaged_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"This is no tagging: .*{message}"):
        Tagging.from_dict({**PLAIN, **change})


def test_the_record_of_an_error_says_that_it_is_one() -> None:
    record = {"path": "a.mp3", "schema": 3, "error": {"type": "AudioError", "message": "no such file."}}
    with pytest.raises(DataError, match=r"no tagging, but the record of an error of 'a.mp3': no such file\."):
        Tagging.from_dict(record)
    with pytest.raises(DataError, match=r"the record of an error: None"):
        Tagging.from_dict({"error": {}})


def test_lines_of_schema_2_are_still_read() -> None:
    assert Tagging.from_dict({**PLAIN, "schema": 2}) == Tagging.from_dict(PLAIN)


def test_a_program_between_may_sort_the_keys() -> None:
    plain = {**PLAIN, "tags": {"a": 0.1, "b": 0.9, "c": 0.5}, "thresholds": {"b": 0.3, "c": 0.2, "a": 0.1}}
    found = Tagging.from_dict(json.loads(json.dumps(plain, sort_keys=True)))
    assert (found.tags, found.scores, found.thresholds) == (("b", "c", "a"), (0.9, 0.5, 0.1), (0.3, 0.2, 0.1))


@pytest.mark.parametrize("what", [[], None, "text", 5])
def test_what_is_no_mapping_is_no_tagging(what: object) -> None:
    with pytest.raises(DataError, match="no tagging of schema 3, but of None"):
        Tagging.from_dict(what)  # type: ignore[arg-type]


def test_a_tagging_is_asked_for_its_tags() -> None:
    tagging = Tagging.from_dict(PLAIN)
    assert list(tagging) == list(tagging.tags) == list(PLAIN["tags"])
    assert len(tagging) == len(PLAIN["tags"])
    assert "a" in tagging
    assert "z" not in tagging
    assert None not in tagging
    assert repr(tagging) == f"<Tagging {tagging}>"
    with pytest.raises(ConfigError, match="has no tag 5"):
        tagging[5]  # type: ignore[index]


def test_what_labels_verified_follows_its_tags(sound: Sound, tiny: Tiny) -> None:
    given = {"calibration": {"verified": ["strings", "voice"]}}
    tagging = tiny(0, provenance=given).tag(sound(1), SR)
    own = {"voice": True, "strings": True, "drums": False}
    assert dict(zip(tagging.tags, tagging.verified, strict=True)) == own
    assert tagging.unverified() == {"drums"}
    data = json.loads(json.dumps(tagging.to_dict()))
    assert data["verified"] == own
    assert Tagging.from_dict(data) == tagging
    without = {key: value for key, value in data.items() if key != "verified"}
    assert Tagging.from_dict(without) == dataclasses.replace(tagging, verified=())
    none = tiny(0, provenance={"calibration": {"verified": []}}).tag(sound(1), SR)
    assert none.unverified() == {"vocals", "strings", "drums"}, "the concept of the tag voice"


@pytest.mark.parametrize("calibration", [None, "guitar", {}, {"verified": "guitar"}, {"verified": None}])
def test_a_tagger_that_says_nothing_of_labels(sound: Sound, tiny: Tiny, calibration: object) -> None:
    tagging = tiny(0, provenance={"calibration": calibration}).tag(sound(1), SR)
    assert tagging.verified == ()
    assert tagging.unverified() == frozenset()


def test_a_concept_is_as_sure_as_the_tag_whose_score_it_has() -> None:
    tagging = Tagging(
        ("woman", "female vocal", "guitar"), (0.9, 0.5, 0.1), 1.0, False, "m", "1", "CC0",
        verified=(False, True, True),
    )  # fmt: skip
    assert tagging.unverified() == {"female vocal"}
    assert dataclasses.replace(tagging, verified=(True, False, True)).unverified() == frozenset()
