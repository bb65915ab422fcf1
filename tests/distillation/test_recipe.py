from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lightmel
from lightmel.datasets import Track, find_tracks
from lightmel.distillation import (
    DistillConfig,
    MusicConfig,
    StudentJob,
    hold_out_tracks,
    make_student,
)
from lightmel.distillation import student as room
from lightmel.errors import AudioError, ConfigError, DataError, WeightsError
from lightmel.inference import Tagger
from lightmel.training import Callbacks, Signature, TrainConfig


def test_from_a_folder_to_a_tagger_with_a_card(
    music: Path,
    teacher: Tagger,
    config: DistillConfig,
    training: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[Track] = []
    real = room.read_corpus

    def watched(tracks: Any, *rest: Any) -> Any:
        used.extend(tracks)
        return real(tracks, *rest)

    monkeypatch.setattr(room, "read_corpus", watched)
    annotations = tmp_path / "annotations.csv"
    _, held = hold_out_tracks(find_tracks(music), config.holdout)
    table = [f"{t.path},{float(i % 2)},{float(i % 3 == 0)},," for i, t in enumerate(held)]
    annotations.write_text("path,voice,strings,drums,other\n" + "\n".join(table) + "\n")
    out = tmp_path / "student.safetensors"
    job = StudentJob(
        music,
        out,
        selection=MusicConfig(human_annotations=str(annotations)),
        distillation=config,
        training=training,
        signature=Signature("mine", "3", "CC0-1.0"),
        command="lightmel distill music",
    )
    student, report = make_student(job, [teacher])
    assert {t.group for t in used}.isdisjoint({t.group for t in held}), "held-out tracks are never used"
    assert len(used) + len(held) == 16
    assert (report.clips, report.groups) == (4, 2)
    assert report.annotated_clips == 4
    loaded = lightmel.load(out)
    assert (loaded.name, loaded.description.version, loaded.description.license) == ("mine", "3", "CC0-1.0")
    assert loaded.tag(held[0].path) == student.tag(held[0].path)
    measured = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert loaded.description.provenance["measured"] == measured
    assert loaded.description.provenance["teachers"] == ["teacher 1"]
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    for part in (
        "# mine",
        "CC0-1.0",
        "`teacher 1`",
        "4 clips of 2 groups",
        "lightmel distill music",
        "16k-mel16-x4-db",
    ):
        assert part in card
    figures = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert figures["report"] == measured
    assert len(figures["history"]) == 2


def test_without_annotations_the_card_has_none(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    out = tmp_path / "student.safetensors"
    signature = Signature("mine", "1", "none")
    job = StudentJob(
        music,
        out,
        distillation=config,
        training=replace(training, epochs=1),
        signature=signature,
        command="x",
    )
    _, report = make_student(job, [teacher])
    assert report.to_dict()["roc_auc_student"] is None
    assert "human annotations" not in out.with_suffix(".md").read_text(encoding="utf-8")
    assert lightmel.load(out).name == "mine"
    with pytest.raises(ConfigError, match=r"has a name that matches '\*\.xyz'"):
        make_student(replace(job, selection=MusicConfig(match="*.xyz")), [teacher])
    annotations = tmp_path / "annotations.csv"
    annotations.write_text("path,voice\nelsewhere.wav,1\n")
    told: list[str] = []
    callbacks = Callbacks(on_progress=lambda what, *_: told.append(what))
    with pytest.raises(
        ConfigError, match=r"annotations\.csv names none of the 4 held-out tracks, such as .*album"
    ):
        make_student(
            replace(job, selection=MusicConfig(human_annotations=str(annotations))), [teacher], callbacks
        )
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        make_student(
            replace(job, selection=MusicConfig(human_annotations="nowhere.csv")), [teacher], callbacks
        )
    assert not told, "that can be seen before the work"
    with pytest.raises(WeightsError, match=r"overwritten by the \.json"):
        make_student(replace(job, out=out.with_suffix(".json")), [teacher])


def test_a_signature_that_says_nothing_is_the_files_name_and_no_license(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    out = tmp_path / "small-0.1"
    once = replace(training, epochs=1)
    made, _ = make_student(StudentJob(music, out, distillation=config, training=once), [teacher])
    description = lightmel.load(out).description
    assert description == made.description
    assert (description.name, description.version) == ("small-0.1", "1")
    assert description.license == "not stated", "a student's weights are not its teacher's"


def test_names_say_which_files_are_used(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    job = StudentJob(
        music,
        tmp_path / "student",
        selection=MusicConfig(match="0.*"),
        distillation=config,
        training=replace(training, epochs=1),
    )
    _, report = make_student(job, [teacher])
    assert (report.clips, report.groups) == (2, 2)
    with pytest.raises(AudioError, match="no sound below"):
        make_student(replace(job, music=tmp_path), [teacher])


def test_a_table_may_lie_elsewhere_and_name_music_from_anywhere(
    music: Path, teacher: Tagger, config: DistillConfig, training: TrainConfig, tmp_path: Path
) -> None:
    table = tmp_path / "tracks.csv"
    lines = [f"{t.path},{t.group}" for t in find_tracks(music)[:8]]
    table.write_text("path,group\n" + "\n".join(lines) + "\n")
    out = tmp_path / "student.safetensors"
    job = StudentJob(
        table,
        out,
        distillation=config,
        training=replace(training, epochs=1),
        signature=Signature("mine", "1", "none"),
        command="lightmel distill dvo\udcf8\udce1k",
    )
    make_student(job, [teacher])
    card = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "(clips): album" in card
    assert r"dvo\udcf8\udce1k" in card
    assert "0.wav" not in card
