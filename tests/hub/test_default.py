"""The taggers of the family in the package: on the sample, on music and on none, against their cards."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import lightmel
from lightmel import hub, sample, vocabularies
from lightmel.audio import MP3_32K, as_mp3
from lightmel.datasets import read_human_annotations, shares_of
from lightmel.distillation.corpus import to_int16
from lightmel.evaluation import correlation, macro, pr_auc, roc_auc
from lightmel.inference import Tagger

FAMILY = [r.name for r in hub.releases() if r.where == "package" and r.name.startswith("lightmel-")]
FLOORS = {"lightmel-mobilenet-16k-mel48-x2-db": (0.86, 0.42)}
"""ROC AUC and PR AUC against human annotations that a tagger reaches at least."""


def measured(name: str) -> dict[str, Any]:
    """What `family/quality.py` found of a tagger in the package."""
    path = hub.packaged(name)
    assert path is not None
    found: dict[str, Any] = json.loads((path.parent / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return lightmel.load()


def test_the_default_is_free_and_small(tagger: Tagger) -> None:
    path = hub.packaged("default")
    assert path is not None
    assert path.stat().st_size <= 4_000_000
    assert tagger.name == hub.DEFAULT
    assert tagger.name in FAMILY
    assert tagger.config.slug == "16k-mel48-x2-db"


@pytest.mark.parametrize("name", FAMILY)
def test_a_tagger_of_the_family_is_free_and_has_a_threshold_for_each_tag(name: str) -> None:
    description = lightmel.load(name).description
    assert description.license == "MIT"
    assert description.tags == vocabularies.read("lightmel")
    assert len(description.thresholds) == len(description.tags)
    limits = dict(zip(description.tags, description.thresholds, strict=True))
    told_from_music = {"music", "speech"}  # whose thresholds other sounds gave
    assert min(limits[tag] for tag in limits.keys() - told_from_music) >= 0.1, "a claim would mostly be wrong"
    assert 20 <= len(description.verified) < len(description.tags)
    teachers = description.provenance["teachers"]
    assert [t.split()[0].partition("-")[0] for t in teachers] == ["public:pons2019"] * 4 + [
        "public:schmid2023"
    ]


@pytest.mark.parametrize("name", FAMILY)
def test_the_card_of_a_tagger_says_what_was_measured(name: str) -> None:
    path = hub.packaged(name)
    assert path is not None
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    found = measured(name)
    assert found["tagger"]["weights"] == lightmel.load(name).runtime.weights
    for figure in (
        *(found["human"][m]["value"] for m in ("roc_auc", "pr_auc")),
        *(found["genres"][g]["value"] for g in ("classical", "electronic", "pop", "rock")),
        found["agreement"]["correlation"],
        found["music"]["held_out"]["value"],
        *(found["robustness"][way]["over_clips"] for way in ("mp3_32k", "12k", "minus_20_db", "phone")),
    ):
        assert f"{figure:.3f}" in card
    for license_of_others in ("ISC", "MIT", "CC BY 4.0"):
        assert license_of_others in card
    notices = (path.parent / "NOTICE").read_text(encoding="utf-8")
    assert "Music Technology Group, Universitat Pompeu Fabra 2019" in notices
    assert "Florian Schmid" in notices
    assert "CC BY 4.0" in notices


def test_the_sample_is_music_with_a_guitar(tagger: Tagger) -> None:
    tagging = tagger.tag(sample.path())
    assert tagging.sound == "music"
    assert tagging.notes == ()
    instruments = [name for name, _ in tagging.by_category()["instrument"]]
    assert "guitar" in instruments


def test_finds_strings_in_a_string_orchestra(tagger: Tagger, shared: Path) -> None:
    tagging = tagger.tag(shared / "teachers" / "golden" / "strings.flac")
    assert tagging.sound == "music"
    best = [tag for tag, _ in tagging.top(4)]
    assert {"classical", "strings"} <= set(best)


@pytest.mark.parametrize(
    ("file", "sound"),
    [
        ("not-music/asterisk/en_allison_smith.opus", "speech"),
        ("not-music/blanket/rain.opus", "not music"),
        ("not-music/tumult/vinyl_crackle.opus", "not music"),
        ("music/emotify/classical_001_voices_of_music.opus", "music"),
    ],
)
def test_tells_music_from_what_is_none(tagger: Tagger, shared: Path, file: str, sound: str) -> None:
    tagging = tagger.tag(shared / file)
    assert tagging.sound == sound
    assert tagging.notes[:1] == (() if sound == "music" else (sound,))
    genres = tagging.by_category()["genre"]
    assert bool(genres) == (sound == "music"), "no confident nonsense"


@pytest.mark.parametrize("name", FLOORS)
def test_reaches_its_floors_on_music_that_it_was_not_trained_on(name: str, shared: Path) -> None:
    """Its card's figures are measured again, on the same clips."""
    tagger = lightmel.load(name)
    annotations = read_human_annotations(shared / "music" / "human_tags.csv")
    paths = list(annotations)
    tags = [tag for tag in vocabularies.read("mtat") if tag in tagger.tags]
    truth = shares_of(annotations, paths, tags) >= 0.5
    scores = np.stack([[tagging[tag] for tag in tags] for tagging in map(tagger.tag, paths)])
    figures = [macro(measure(truth, scores, tags, 3)) for measure in (roc_auc, pr_auc)]
    found = measured(name)["human"]
    for figure, measure, floor in zip(figures, ("roc_auc", "pr_auc"), FLOORS[name], strict=True):
        assert figure == pytest.approx(found[measure]["value"], abs=3e-3)
        assert figure >= floor


def test_does_not_care_about_a_32_kbit_mp3(tagger: Tagger, shared: Path) -> None:
    found = []
    for clip in ("strings", "song"):
        wave, sr = soundfile.read(shared / "teachers" / "golden" / f"{clip}.flac", dtype="float32")
        clean = tagger.tag(wave, sr)
        coded = tagger.tag(as_mp3(to_int16(wave), sr, MP3_32K), sr)
        rows = [np.array([[t[tag] for tag in tagger.tags]]) for t in (clean, coded)]
        found.append(correlation(*rows, axis=1)[0])
    assert min(found) >= 0.97


def test_nobody_was_trained_on_a_held_out_clip(shared: Path) -> None:
    """What the figures rest on: no clip with a genre label, and none of its group, is in the ledger."""
    folder = Path(__file__).parents[2] / "family"
    with (folder / "ledger.csv").open(encoding="utf-8", newline="") as file:
        ledger = [row for row in csv.DictReader(file) if row["used"] == "train"]
    with (shared / "music" / "genres.csv").open(encoding="utf-8", newline="") as file:
        held = {f"music/{row['path']}" for row in csv.DictReader(file)}
    with (shared / "music" / "tracks.csv").open(encoding="utf-8", newline="") as file:
        groups = {row["group"] for row in csv.DictReader(file) if f"music/{row['path']}" in held}
    assert len(held) == 286
    assert not held & {row["path"] for row in ledger}
    assert not groups & {row["group"] for row in ledger}
