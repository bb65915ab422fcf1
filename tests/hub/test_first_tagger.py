"""The first tagger of the package, of non-commercial license: on the sample, on music, against its card."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

import lightmel.vocabularies
from lightmel import hub, sample
from lightmel.audio import MP3_32K, as_mp3
from lightmel.datasets import read_human_annotations, read_tracks
from lightmel.distillation import DistillConfig
from lightmel.distillation.corpus import hold_out_tracks, to_int16
from lightmel.distillation.report import compare_with_teacher
from lightmel.evaluation import metrics

NAME = "mtat-musicnn-small-16k-mel48-x2-db"
FILE = hub.packaged(NAME)

RENAMED = {
    "people_student": "roc_auc_student",
    "people_teacher": "roc_auc_teacher",
    "people_clips": "annotated_clips",
    "people_tags": "annotated_tags",
    "seconds": "segment_seconds",
    "step": "step_seconds",
    "excerpt": "excerpt_seconds",
    "split": "split_seed",
}
"""Words of the version that wrote the file, and what they are called today."""


def in_todays_words(plain):
    return {RENAMED.get(key, key): value for key, value in plain.items()}


@pytest.fixture(scope="module")
def tagger():
    return lightmel.load(NAME)


@pytest.fixture(scope="module")
def measured(tagger):
    return in_todays_words(tagger.description.provenance["measured"])


def test_is_small_and_says_what_it_is(tagger):
    assert FILE.stat().st_size <= 4_000_000
    assert tagger.name == NAME
    assert tagger.config.slug == "16k-mel48-x2-db"
    assert tagger.description.license == "CC BY-NC-SA 4.0"
    assert tagger.tags == lightmel.vocabularies.read("mtat")
    (release,) = (r for r in hub.releases() if r.name == NAME)
    assert (release.bytes, release.license) == (FILE.stat().st_size, tagger.description.license)


def test_finds_the_guitar_in_the_sample():
    tagging = lightmel.tag(sample.path(), model=NAME)
    assert "guitar" in [tag for tag, _ in tagging.top(2)]
    assert tagging.seconds == pytest.approx(sample.SECONDS, abs=0.01)
    assert not tagging.padded
    assert tagging.notes == ()


def test_finds_strings_in_a_string_orchestra(shared):
    tagging = lightmel.tag(shared / "teachers" / "golden" / "strings.flac", model=NAME)
    best = [tag for tag, _ in tagging.top(4)]
    assert {"classical", "strings"} <= set(best)


def test_its_card_says_what_was_measured_and_how_it_was_made(measured):
    card = FILE.with_suffix(".md").read_text(encoding="utf-8")
    figures = json.loads(FILE.with_suffix(".json").read_text(encoding="utf-8"))
    assert figures["report"] == measured
    for name, digits in (("correlation", 3), ("shared_top5", 2), ("mp3_student", 3), ("roc_auc_student", 3)):
        assert f"| {measured[name]:.{digits}f} |" in card
    assert figures["command"] in card
    assert re.search(r"lightmel distill .*--epochs \d+", card)


def test_reaches_its_floors_on_groups_that_it_was_not_trained_on(tagger, measured, shared):
    """The card's figures are measured again, on the same held-out music."""
    how = DistillConfig(**in_todays_words(tagger.description.provenance["distillation"]))
    tracks = [t for t in read_tracks(shared / "music" / "tracks.csv") if t.path.suffix == ".opus"]
    _, held = hold_out_tracks(tracks, how.holdout, how.split_seed)
    teacher = lightmel.load(shared / "teachers" / "mtat-musicnn.pth")
    annotations = read_human_annotations(shared / "music" / "human_tags.csv")
    report = compare_with_teacher(
        tagger, teacher, held, excerpt_seconds=how.excerpt_seconds, human_annotations=annotations
    )
    assert (report.clips, report.groups) == (measured["clips"], measured["groups"])
    assert report.correlation >= 0.86
    assert report.shared_top5 >= 3.9
    assert report.mp3_student >= 0.98
    # Another processor may round a score the other way, and with it a tag out of the best five.
    assert report.annotated_clips == measured["annotated_clips"]
    assert report.annotated_tags == tuple(measured["annotated_tags"])
    for name in ("correlation", "mp3_student", "mp3_teacher", "roc_auc_student", "roc_auc_teacher"):
        assert getattr(report, name) == pytest.approx(measured[name], abs=2e-3), name
    assert report.shared_top5 == pytest.approx(measured["shared_top5"], abs=0.03)


def test_does_not_care_about_a_32_kbit_mp3(tagger, shared):
    """The teachers' scores move to a correlation of .85 on such clips."""
    found = []
    for clip in ("strings", "song"):
        wave, sr = soundfile.read(shared / "teachers" / "golden" / f"{clip}.flac", dtype="float32")
        clean = tagger.tag(wave, sr)
        coded = tagger.tag(as_mp3(to_int16(wave), sr, MP3_32K), sr)
        rows = [np.array([[t[tag] for tag in tagger.tags]]) for t in (clean, coded)]
        found.append(metrics.correlation(*rows, axis=1)[0])
    assert min(found) >= 0.97


def test_short_sound_is_tagged_like_the_whole(tagger):
    """Repeating beats silence: one second of guitar is still a guitar."""
    wave, sr = soundfile.read(sample.path(), dtype="float32")
    short = tagger.tag(wave[: 1 * sr].T, sr)
    assert short.padded
    assert short["guitar"] >= 0.1


def test_the_card_lies_beside_it():
    assert Path(FILE.parent, "LICENSE").is_file()
