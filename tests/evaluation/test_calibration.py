"""A calibrated tagger: its scores are those of the formula, its record says what they rest on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import lightmel
from lightmel.datasets import Track, read_human_annotations, read_tracks, shares_of, stratify
from lightmel.errors import AudioError, ConfigError, DataError
from lightmel.evaluation import (
    CalibrationConfig,
    ClipLogits,
    calibrate,
    calibration_error,
    expected_f1_thresholds,
    f1_score,
    fit_chances,
    fit_thresholds,
    roc_auc,
    separating_threshold,
)
from lightmel.inference import LIMITS, Tagger

Tiny = Callable[..., Tagger]
TAGS = ("high", "low", "noise")
SR = 16_000


@pytest.fixture
def tagger(tiny: Tiny) -> Tagger:
    return tiny(3, tags=TAGS)


def paths(table: Path) -> list[Path]:
    return [table.parent / line.split(",")[0] for line in table.read_text().split()[1:]]


def logits_of(tagger: Tagger, files: list[Path]) -> ClipLogits:
    return ClipLogits.of_scores([tagger.taggram(path).scores for path in files])


def rows_of(tagger: Tagger, files: list[Path]) -> np.ndarray:
    return np.array([[tagging[tag] for tag in tagger.tags] for tagging in map(tagger.tag, files)])


def test_the_scores_are_those_of_the_formula(tagger: Tagger, labeled: Path, tmp_path: Path) -> None:
    files = paths(labeled)
    shares = shares_of(read_human_annotations(labeled), files, TAGS)
    logits = logits_of(tagger, files)
    wanted = fit_chances(logits, shares)
    before = rows_of(tagger, files)
    made, calibration = calibrate(tagger, labeled)
    assert rows_of(made, files) == pytest.approx(wanted.of(logits), abs=1e-5)
    assert not np.allclose(rows_of(made, files), before, atol=0.01)
    assert rows_of(tagger, files) == pytest.approx(before, abs=0), "the old one stays"
    assert made.description.thresholds == pytest.approx(expected_f1_thresholds(wanted.of(logits)), abs=1e-5)
    assert calibration.thresholds == dict(zip(TAGS, made.description.thresholds, strict=True))
    assert calibration.verified == TAGS
    assert calibration.positives == dict(zip(TAGS, shares.sum(axis=0).astype(int).tolist(), strict=True))
    again = made.save(tmp_path / "made.safetensors") or lightmel.load(tmp_path / "made.safetensors")
    assert rows_of(again, files[:9]) == pytest.approx(wanted.of(logits)[:9], abs=1e-5)


def test_each_tag_ranks_segments_as_before(tagger: Tagger, labeled: Path) -> None:
    files = paths(labeled)
    made = calibrate(tagger, labeled).tagger
    old, new = (np.concatenate([t.taggram(path).scores for path in files]) for t in (tagger, made))
    truth = np.random.default_rng(0).random(old.shape) < 0.3
    found = roc_auc(truth, new, TAGS)
    assert roc_auc(truth, old, TAGS) == pytest.approx(found, abs=1e-4), "float32 may make two scores equal"


def test_the_record_and_what_the_tagger_says(tagger: Tagger, labeled: Path, tmp_path: Path) -> None:
    made = calibrate(tagger, labeled)
    found = made.calibration
    assert (found.model, found.version) == ("tiny-3", "1")
    assert (found.music, found.annotations) == ("clips.csv", "clips.csv")
    assert (found.clips, found.groups, found.annotated_clips, found.annotated_groups) == (90, 90, 90, 90)
    agreement = found.agreement
    assert agreement is not None
    assert agreement.folds == 5
    assert agreement.pooled_error < agreement.pooled_error_before
    assert sum(own.labels for own in agreement.bins) == 270
    made.save(tmp_path / "made.safetensors")
    written = json.loads((tmp_path / "made.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    d = lightmel.load(tmp_path / "made.safetensors").description
    assert (d.name, d.version, d.license) == ("tiny-3", "1-calibrated", "CC0-1.0")
    assert d.verified == set(TAGS)
    own = d.provenance["calibration"]
    assert own["chances"]["annotations"] == "clips.csv"
    assert own["chances"]["calibration_error"] == agreement.pooled_error
    assert own["thresholds"]["clips"] == 90
    assert "90 clips of 90 groups gave 3 thresholds" in found.summary()
    assert f"calibration error      {agreement.pooled_error_before:.3f}  {agreement.pooled_error:.3f}" in (
        found.summary()
    )
    tagging = made.tagger.tag(paths(labeled)[0])
    assert tagging.verified == (True, True, True)
    assert tagging.unverified() == frozenset()


def test_figures_are_of_groups_that_were_left_out(tagger: Tagger, labeled: Path, tmp_path: Path) -> None:
    """Two groups that say the contrary of each other: what one teaches is wrong in the other."""
    files = paths(labeled)
    given = {path: {"high": float((i // 2 % 10 > 0) == bool(i % 2))} for i, path in enumerate(files)}
    tracks = [Track(path, f"{i % 2}") for i, path in enumerate(files)]
    made, found = calibrate(tagger, tracks, given)
    assert found.agreement is not None
    assert (found.groups, found.agreement.folds) == (2, 2)
    truth = np.array([own["high"] > 0.5 for own in given.values()])
    assert found.agreement.error["high"] > 0.5 > 0.2 > calibration_error(truth, rows_of(made, files)[:, 0])
    one = calibrate(tagger, [Track(path, "one") for path in files], given).calibration
    assert one.agreement is None, "nothing can be left out"
    assert "Against" not in one.summary()


def test_without_labels_only_thresholds_change(tagger: Tagger, labeled: Path) -> None:
    files = paths(labeled)
    made, found = calibrate(tagger, labeled.parent)
    assert rows_of(made, files[:5]) == pytest.approx(rows_of(tagger, files[:5]), abs=1e-6)
    assert made.description.thresholds == pytest.approx(
        expected_f1_thresholds(logits_of(tagger, files).scores()), abs=1e-5
    )
    assert (found.annotations, found.verified, found.agreement) == ("", (), None)
    assert made.description.verified is None
    assert made.tag(files[0]).verified == ()
    assert "No labels" in found.summary()


def test_new_thresholds_leave_what_labels_gave(tagger: Tagger, labeled: Path) -> None:
    first = calibrate(tagger, labeled).tagger
    second = calibrate(first, labeled.parent, config=CalibrationConfig(version="3")).tagger
    assert second.description.version == "3"
    assert second.description.verified == set(TAGS)
    old, new = (t.description.provenance["calibration"] for t in (first, second))
    assert new["chances"] == old["chances"]
    third = calibrate(second, labeled).tagger
    assert third.description.version == "3-calibrated"
    assert calibrate(third, labeled.parent).tagger.description.version == "3-calibrated"


def test_tags_without_labels_are_not_verified(tagger: Tagger, labeled: Path, tmp_path: Path) -> None:
    given = read_human_annotations(labeled)
    some = {path: {"HIGH": own["high"], "other": 1.0} for path, own in list(given.items())[:60]}
    made, found = calibrate(tagger, labeled.parent, some)
    assert found.verified == ("high",)
    assert found.annotated_clips == 60
    assert found.clips == 90
    tagging = made.tag(paths(labeled)[0])
    assert dict(zip(tagging.tags, tagging.verified, strict=True)) == {
        "high": True, "low": False, "noise": False,
    }  # fmt: skip
    assert tagging.unverified() == {"low", "noise"}


def test_a_label_counts_for_its_concept(tiny: Tiny, labeled: Path) -> None:
    tagger = tiny(3, tags=("female vocal", "woman", "noise"))
    given = {path: {"female vocal": own["high"]} for path, own in read_human_annotations(labeled).items()}
    _, found = calibrate(tagger, labeled.parent, given)
    assert found.verified == ("female vocal", "woman")
    assert found.positives["woman"] == found.positives["female vocal"]
    given = {path: {**own, "woman": 0.0} for path, own in given.items()}  # a label of its own comes first
    _, found = calibrate(tagger, labeled.parent, given)
    assert found.verified == ("female vocal",)


def test_tags_without_labels_are_as_their_teachers_are(
    tiny: Tiny, tagger: Tagger, labeled: Path, tmp_path: Path
) -> None:
    files = paths(labeled)
    given = {path: {"high": own["high"]} for path, own in read_human_annotations(labeled).items()}
    teachers = [tiny(7, tags=("high", "LOW", "b")), tiny(8, tags=("other", "high", "b"))]
    made, found = calibrate(tagger, labeled.parent, given, teachers=teachers)
    shares = shares_of(given, files, ("high",))
    wanted = []
    for teacher, place in zip(teachers, (0, 1), strict=True):
        logits = logits_of(teacher, files)
        every = np.full((len(files), 3), np.nan)
        every[:, place] = shares[:, 0]
        own = fit_chances(logits, every)
        wanted.append((own.slope, own.offset))
    assert list(found.teachers.values()) == [pytest.approx(one) for one in wanted]
    # "low" is known to the first alone, "noise" to none, "high" has labels.
    slope, offset = wanted[0]
    low = logits_of(tagger, files).scores(slope, offset)[:, 1]
    assert rows_of(made, files)[:, 1] == pytest.approx(low, abs=1e-5)
    alone, _ = calibrate(tagger, labeled.parent, given)
    assert rows_of(made, files)[:, [0, 2]] == pytest.approx(rows_of(alone, files)[:, [0, 2]], abs=1e-5)
    assert made.description.provenance["calibration"]["chances"]["teachers"] == found.teachers
    assert f"  {teachers[0].name} {slope:.2f} {offset:+.2f}" in found.summary()


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, Path]:
    """Folders of eight files each: low tones, noise, high tones."""
    time = np.arange(SR) / SR
    for i in range(8):
        rng = np.random.default_rng(i)
        waves = {
            "music": 0.3 * np.sin(2 * np.pi * rng.uniform(100, 900) * time),
            "rain": rng.uniform(0.01, 0.3) * rng.standard_normal(SR),
            "talk": 0.3 * np.sin(2 * np.pi * rng.uniform(2_000, 6_000) * time),
        }
        for name, wave in waves.items():
            (tmp_path / name).mkdir(exist_ok=True)
            soundfile.write(tmp_path / name / f"{i}.wav", wave, SR)
    return {name: tmp_path / name for name in waves}


def test_music_reaches_its_threshold_throughout(tiny: Tiny, tmp_path: Path) -> None:
    """What is half noise may be music on the mean, and is not to be called none in its other half."""
    tagger = tiny(1, tags=("speech", "music", "rain"))
    time = np.arange(40 * SR) / SR
    for name in ("music", "rain"):
        (tmp_path / name).mkdir()
    for i in range(6):
        rng = np.random.default_rng(i)
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 900) * time)
        tone[: 15 * SR] += 0.05 * i * rng.standard_normal(15 * SR)
        soundfile.write(tmp_path / "music" / f"{i}.wav", tone, SR)
        soundfile.write(tmp_path / "rain" / f"{i}.wav", 0.2 * rng.standard_normal(2 * SR), SR)
    made, found = calibrate(tagger, tmp_path / "music", not_music=[tmp_path / "rain"])
    column, near = made.tags.index("music"), int(5 / tagger.segment_seconds)  # ten seconds in all
    lowest, means = [], []
    for path in sorted((tmp_path / "music").iterdir()):
        scores = tagger.taggram(path).scores[:, column]
        padded = np.pad(scores, near, constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1)
        lowest.append(np.nanmean(windows, axis=1).min())
        means.append(scores.mean())
    others = rows_of(tagger, sorted((tmp_path / "rain").iterdir()))[:, column]
    wanted = separating_threshold(np.array(lowest), others, 0.02)
    assert found.sounds["music"].threshold == pytest.approx(wanted, abs=1e-6)
    assert abs(wanted - separating_threshold(np.array(means), others, 0.02)) > 1e-4
    for path in sorted((tmp_path / "music").iterdir()):
        assert made.tag(path).notes == ()


def test_music_and_speech_are_told_from_other_sounds(tiny: Tiny, sounds: dict[str, Path]) -> None:
    tagger = tiny(1, tags=("speech", "music", "rain"))
    music, rain, talk = (rows_of(tagger, sorted(folder.iterdir())) for folder in sounds.values())
    made, found = calibrate(
        tagger, sounds["music"], not_music=[sounds["rain"], sounds["talk"]], speech=[sounds["talk"]]
    )
    limits = dict(zip(tagger.tags, made.description.thresholds, strict=True))
    others = np.concatenate([rain, talk])
    assert limits["music"] == pytest.approx(separating_threshold(music[:, 1], others[:, 1], 0.02), abs=1e-6)
    assert limits["speech"] == pytest.approx(separating_threshold(talk[:, 0], rain[:, 0]), abs=1e-6)
    every = np.concatenate([music, others])
    assert limits["rain"] == pytest.approx(expected_f1_thresholds(every)[2], abs=1e-6)
    assert (found.sounds["music"].clips, found.sounds["music"].others) == (8, 16)
    assert (found.sounds["speech"].clips, found.sounds["speech"].others) == (8, 8)
    assert 0 <= (found.sounds["music"].kept or 0) <= 1
    assert f"music from {limits['music']:.2f} on" in found.summary()
    json.dumps(found.to_dict(), allow_nan=False)
    scored: list[str] = []
    with pytest.raises(DataError, match="There is no table"):
        calibrate(
            tagger,
            sounds["music"],
            not_music=[sounds["rain"] / "none.csv"],
            on_clip=lambda what, done, total: scored.append(what),
        )
    assert scored == [], "what cannot be read is said before the work"


def test_music_is_no_matter_of_f1(tiny: Tiny, sounds: dict[str, Path]) -> None:
    """Without other sounds its threshold stays; its scores stay even where it has labels."""
    tagger = tiny(1, tags=("speech", "music", "rain"))
    given = {
        path: {"music": 1.0 if i % 2 else 0.0, "rain": 1.0 if i % 2 else 0.0}
        for i, path in enumerate(sorted(sounds["music"].iterdir()))
    }
    made, found = calibrate(tagger, sounds["music"], given)
    assert found.verified == ("rain",)
    assert made.description.thresholds[:2] == (LIMITS["speech"], LIMITS["music"])
    files = list(given)
    assert rows_of(made, files)[:, :2] == pytest.approx(rows_of(tagger, files)[:, :2], abs=1e-7)
    own = tiny(1, tags=("speech", "music", "rain"), thresholds=(0.7, 0.8, 0.9))
    assert calibrate(own, sounds["music"]).tagger.description.thresholds[:2] == (0.7, 0.8)


def test_what_cannot_be(tiny: Tiny, tagger: Tagger, labeled: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tiny-3 has no tag 'music'"):
        calibrate(tagger, labeled, not_music=[labeled.parent])
    with pytest.raises(ConfigError, match="no tag 'speech'"):
        calibrate(tiny(0, tags=("music", "a", "b")), labeled.parent, speech=[labeled.parent])
    with pytest.raises(DataError, match=r"clips\.csv names none of the tags of tiny-0 \(voice, "):
        calibrate(tiny(0), labeled)
    given = read_human_annotations(labeled)
    for labels in (given, None):
        with pytest.raises(DataError, match="The music has no files"):
            calibrate(tagger, [], labels)
    with pytest.raises(DataError, match="has labels of none of the 1 files"):
        calibrate(tagger, [Track(tmp_path / "x.wav", "x")], given)
    with pytest.raises(DataError, match=r"no tag has 3 .* Every clip has low: clips without it"):
        calibrate(tagger, labeled.parent, {path: {"low": 1.0} for path in given})
    with pytest.raises(DataError, match="shares are between 0 and 1"):
        calibrate(tagger, labeled.parent, {path: {"low": 7.0} for path in given})
    with pytest.raises(ConfigError, match="Without labels, teachers say nothing"):
        calibrate(tagger, labeled.parent, teachers=[tiny(0)])
    with pytest.raises(ConfigError, match="tiny-3 are chances already"):
        calibrate(calibrate(tagger, labeled).tagger, labeled, teachers=[tagger])
    with pytest.raises(DataError, match=r"too little of the tags of the teacher tiny-0 \(voice, "):
        calibrate(tagger, labeled, teachers=[tiny(0)])
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    with pytest.raises(AudioError, match="None of the 1 files of music could be read"):
        calibrate(tagger, [Track(bad, "x")])
    tracks = [*(Track(path, path.name) for path in given), Track(bad, "bad")]
    with_bad = calibrate(tagger, tracks, given | {bad: {"low": 1.0}})
    assert list(with_bad.calibration.failed) == [str(bad)]
    assert with_bad.calibration.clips == 90
    assert "1 files could not be read" in with_bad.calibration.summary()
    only = {bad.with_name(f"{i}.wav"): {"low": float(i < 3)} for i in range(6)}
    with pytest.raises(AudioError, match="None of the clips with labels could be read"):
        calibrate(tagger, [*tracks, *(Track(path, "y") for path in only)], only)


class NoTorch:
    """A runtime without a network to change."""

    device, precision, batch_seconds, n_tags, embed_dim, weights = "cpu", "float32", 1.0, 3, 2, ""

    def run(self, waves: np.ndarray) -> None: ...


def test_a_tagger_that_pytorch_does_not_run_is_refused(tagger: Tagger, labeled: Path) -> None:
    with pytest.raises(ConfigError, match="is not run by PyTorch"):
        calibrate(Tagger(NoTorch(), tagger.description), labeled)  # type: ignore[arg-type]


def test_an_excerpt_is_from_the_middle(tagger: Tagger, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wave = 0.1 * rng.standard_normal(3 * SR)
    wave[SR : 2 * SR] = 0.5 * np.sin(np.arange(SR))
    soundfile.write(tmp_path / "a.wav", wave, SR, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", wave[SR : 2 * SR], SR, subtype="FLOAT")
    own = calibrate(tagger, [Track(tmp_path / "a.wav", "a")], config=CalibrationConfig(excerpt_seconds=1.0))
    middle = calibrate(tagger, [Track(tmp_path / "b.wav", "b")])
    assert own.calibration.thresholds == pytest.approx(middle.calibration.thresholds)


@pytest.mark.parametrize(
    "changes", [{"min_positives": 0}, {"folds": 1}, {"excerpt_seconds": -1.0}, {"missed_music": 1.0}]
)
def test_settings_that_cannot_be(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        CalibrationConfig(**changes)  # type: ignore[arg-type]


def test_few_labels_choose_worse_thresholds_than_chances(shared: Path) -> None:
    """On 138 clips with human annotations and the first tagger, not calibrated, by groups left out."""
    tagger = lightmel.load("mtat-musicnn-small-16k-mel48-x2-db")
    music = shared / "music"
    given = read_human_annotations(music / "human_tags.csv")
    tracks = [t for t in read_tracks(music / "tracks.csv") if t.path.absolute() in given]
    shares = shares_of(given, [t.path for t in tracks], tagger.tags)
    logits, truth = logits_of(tagger, [t.path for t in tracks]), shares >= 0.5
    often = np.flatnonzero(truth.sum(axis=0) >= 3)
    assert (len(tracks), len(often)) == (138, 32)
    parts = stratify([t.group for t in tracks], truth[:, often], [0.2] * 5, 0)
    chances = np.zeros(truth.shape)
    by_chances, by_labels = np.zeros_like(truth), np.zeros_like(truth)
    for part in range(5):
        rest, test = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        found = fit_chances(logits.take(rest), shares[rest])
        own, chances[test] = found.of(logits.take(rest)), found.of(logits.take(test))
        by_chances[test] = chances[test] >= expected_f1_thresholds(own)
        by_labels[test] = chances[test] >= fit_thresholds(truth[rest], own)
    f1 = {
        what: np.mean([f1_score(truth[:, i], claimed[:, i]) for i in often])
        for what, claimed in (("chances", by_chances), ("labels", by_labels))
    }
    assert f1["chances"] == pytest.approx(0.40, abs=0.02)
    assert f1["chances"] > f1["labels"]
    errors = [calibration_error(truth[:, often], scores[:, often]) for scores in (logits.scores(), chances)]
    assert errors == [pytest.approx(0.021, abs=0.002), pytest.approx(0.007, abs=0.003)]
