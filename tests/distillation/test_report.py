from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel.datasets import Track, read_human_annotations
from lightmel.distillation.corpus import to_int16
from lightmel.distillation.report import card, compare_with_teacher
from lightmel.errors import AudioError, DataError
from lightmel.inference import Tagger

SR = 16_000
Tiny = Callable[..., Tagger]


@pytest.fixture(scope="session")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> list[Track]:
    folder = tmp_path_factory.mktemp("held")
    made = []
    for i in range(6):
        rng = np.random.default_rng(i)
        wave = rng.uniform(0.02, 0.5) * np.cumsum(rng.standard_normal(20_000)) / 100
        soundfile.write(folder / f"{i}.wav", to_int16(wave.astype(np.float32)), SR)
        made.append(Track(folder / f"{i}.wav", f"g{i // 2}"))
    return made


def test_a_tagger_agrees_with_itself(tiny: Tiny, tracks: list[Track]) -> None:
    report = compare_with_teacher(tiny(1), tiny(1), tracks)
    assert (report.clips, report.groups) == (6, 3)
    assert report.correlation == pytest.approx(1)
    assert report.shared_top5 == 3, "there are but three tags"
    assert report.mp3_student == report.mp3_teacher < 1
    assert math.isnan(report.roc_auc_student)
    assert report.to_dict()["roc_auc_teacher"] is None
    json.dumps(report.to_dict(), allow_nan=False)


def test_figures_are_those_of_the_scores(tiny: Tiny, tracks: list[Track]) -> None:
    student, teacher = tiny(1), tiny(2)
    report = compare_with_teacher(student, teacher, tracks)
    rows = [
        np.array([[t.tag(track.path)[tag] for tag in student.tags] for track in tracks])
        for t in (student, teacher)
    ]
    wanted = [np.corrcoef(rows[0][:, i], rows[1][:, i])[0, 1] for i in range(3)]
    assert report.correlation == pytest.approx(np.mean(wanted), abs=1e-3)


def test_tags_are_matched_by_name_not_by_place(tiny: Tiny, tracks: list[Track]) -> None:
    teacher = tiny(1)
    turned, head = teacher.network.with_head(3), teacher.network.head
    turned.load_state_dict(
        teacher.network.state_dict()
        | {"head.weight": head.weight.detach().flip(0), "head.bias": head.bias.detach().flip(0)}
    )
    student = Tagger(turned, replace(teacher.description, tags=teacher.tags[::-1]))
    assert compare_with_teacher(student, teacher, tracks).correlation == pytest.approx(1)


def test_an_annotation_is_true_where_half_of_the_annotators_agree(tiny: Tiny, tracks: list[Track]) -> None:
    tagger = tiny(1)
    voice = [tagger.tag(t.path)["voice"] for t in tracks]
    best = sorted(voice)[-3]
    annotations = {
        track.path: {"voice": 0.5 if score >= best else 0.49, "strings": 1.0, "drums": float("nan")}
        for track, score in zip(tracks, voice, strict=True)
    }
    report = compare_with_teacher(tagger, tiny(2), tracks, human_annotations=annotations)
    assert report.annotated_tags == ("voice",), "what is always true or never true has no ROC AUC"
    assert report.annotated_clips == 6
    assert report.roc_auc_student == 1
    assert 0 <= report.roc_auc_teacher <= 1
    assert (
        compare_with_teacher(
            tagger, tiny(2), tracks, human_annotations=annotations, min_positives=4
        ).annotated_tags
        == ()
    )
    text = card(tagger, tiny(2), report, {"here": 6}, "the command")
    assert "(1 tags, 6 clips)" in text
    assert "here (6)" in text


def test_what_cannot_be_read_is_left_out(tiny: Tiny, tracks: list[Track], tmp_path: Path) -> None:
    bad = Track(tmp_path / "none.wav", "none")
    assert compare_with_teacher(tiny(1), tiny(2), [bad, *tracks]).clips == 6
    with pytest.raises(AudioError, match="None of the held-out"):
        compare_with_teacher(tiny(1), tiny(2), [bad])


def test_a_share_that_is_not_known_is_no_no(tiny: Tiny, tracks: list[Track]) -> None:
    """The best scores are true, the worst false, and those between unknown: they change nothing."""
    tagger = tiny(1)
    voice = {track.path: tagger.tag(track.path)["voice"] for track in tracks}
    order = sorted(voice, key=lambda path: voice[path])
    shares = dict(zip(order, (0.0, 1.0, 0.0, float("nan"), 1.0, 1.0), strict=True))
    given = {path: {"voice": share} for path, share in shares.items()}
    found = compare_with_teacher(tagger, tagger, tracks, human_annotations=given)
    assert found.annotated_tags == ("voice",)
    assert found.roc_auc_student == found.roc_auc_teacher == pytest.approx(5 / 6)


@pytest.mark.parametrize("share", [7.0, -0.5, float("inf")])
def test_a_share_that_is_none_is_refused(tiny: Tiny, tracks: list[Track], share: float) -> None:
    given = {track.path: {"voice": share} for track in tracks}
    with pytest.raises(DataError, match=r"voice was given by a share of .*: shares are between"):
        compare_with_teacher(tiny(1), tiny(2), tracks, human_annotations=given)


def test_a_table_of_annotations(tmp_path: Path) -> None:
    table = tmp_path / "annotations.csv"
    table.write_text("path,clips,voice\na.wav,3,0.5\nb.wav,,\n")
    found = read_human_annotations(table)
    assert found[tmp_path / "a.wav"]["voice"] == 0.5
    assert math.isnan(found[tmp_path / "b.wav"]["voice"])
    table.write_text("path,voice,harp\na.wav,1,\nb.wav,1,0\nc.wav,some,\n")
    found = read_human_annotations(table)
    assert found[tmp_path / "b.wav"] == {"voice": 1.0, "harp": 0.0}
    assert all(math.isnan(found[tmp_path / "c.wav"][tag]) for tag in ("voice", "harp"))
    assert math.isnan(found[tmp_path / "a.wav"]["harp"]), "an empty cell"
    for line, cells in (("a.wav,1", 2), ("b.wav,1,0,more", 4)):
        table.write_text(f"path,voice,harp\n{line}\n")
        with pytest.raises(DataError, match=f"line 2: {cells} cells in a table of 3 columns"):
            read_human_annotations(table)
    table.write_text("path,voice\na.wav,1\nb.wav,0\n./b.wav,1\n")
    with pytest.raises(DataError, match=r"b\.wav stands in the lines 3 and 4"):
        read_human_annotations(table)
    table.write_text("path,voice,,\na.wav,1,,\n")
    assert read_human_annotations(table)[tmp_path / "a.wav"] == {"voice": 1.0}, "nameless columns are no tags"
    table.write_text("path,voice,voice\na.wav,1,0\n")
    with pytest.raises(DataError, match="more than one column 'voice'"):
        read_human_annotations(table)
    for cell in ('"0,5"', "50%", "12.5 %"):
        table.write_text(f"path,voice\nb.wav,0.5\na.wav,{cell}\n")
        with pytest.raises(DataError, match=r"line 3: voice is '.*'\. Write shares as 0\.5"):
            read_human_annotations(table)
    table.write_text("file,voice\na.wav,1\n")
    with pytest.raises(DataError, match="no column 'path'; there are 'file', 'voice'"):
        read_human_annotations(table)


def test_a_table_of_annotations_finds_its_tracks_however_paths_are_written(
    tiny: Tiny, tracks: list[Track], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tracks[0].path.parent
    (tmp_path / "tables").mkdir()
    lines = [f"..\\sound\\.\\{track.path.name},1" for track in tracks]
    (tmp_path / "tables" / "annotations.csv").write_text("\n".join(["path,voice", *lines]) + "\n")
    (tmp_path / "sound").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    found = read_human_annotations(Path("tables/annotations.csv"))
    assert found[tmp_path / "sound" / "0.wav"] == {"voice": 1.0}
    other = [Track(Path("tables") / ".." / "sound" / t.path.name, t.group) for t in tracks]
    assert compare_with_teacher(tiny(1), tiny(2), other, human_annotations=found).annotated_clips == 6
    relative = {Path("sound") / t.path.name: {"voice": 1.0} for t in tracks}
    assert compare_with_teacher(tiny(1), tiny(2), other, human_annotations=relative).annotated_clips == 6
    assert (
        compare_with_teacher(
            tiny(1), tiny(2), other, human_annotations={Path("5.wav"): {"voice": 1.0}}
        ).annotated_clips
        == 0
    )


def test_one_clip_has_no_correlation_over_clips(tiny: Tiny, tracks: list[Track]) -> None:
    report = compare_with_teacher(tiny(1), tiny(2), tracks[:1])
    assert math.isnan(report.correlation)
    assert report.to_dict()["correlation"] is None
    assert report.mp3_student > 0
    text = card(tiny(1), tiny(2), report, {"here": 1}, "the command")
    assert "| correlation with the teacher, mean over tags | not measurable | |" in text
    assert "nan" not in text


def test_a_card_names_all_teachers(tiny: Tiny, tracks: list[Track]) -> None:
    report = compare_with_teacher(tiny(1), tiny(2), tracks)
    made = tiny(1, provenance={"teachers": ["tiny-2 1", "tiny-3 1"]})
    text = card(made, tiny(2), report, {"here": 6}, "the command")
    assert "- Teachers: `tiny-2 1`, `tiny-3 1`" in text
    assert "the first teacher" in text
    alone = card(tiny(1, provenance={"teachers": ["tiny-2 1"]}), tiny(2), report, {"here": 6}, "the command")
    assert "- Teacher: `tiny-2 1`" in alone
    assert "first teacher" not in alone
