"""Studies: killed, shared, changed, and always the same bytes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightmel.errors import ConfigError, DataError
from lightmel.evaluation import Evaluation
from lightmel.studies import Outcome, grid_of, read_grid, read_results, run_study
from lightmel.studies.cell import SECONDS, read_result
from lightmel.studies.data import open_data
from lightmel.studies.run import _origins

RUN = """
import sys
from lightmel.studies import read_grid, run_study
grid, data, out = sys.argv[1:4]
run_study(read_grid(grid), data, out, jobs=int(sys.argv[4]), on_cell=lambda *a: print(*a, flush=True))
"""


def everything(out: Path) -> dict[str, bytes]:
    """Return the bytes of all results of a study, of which only the seconds differ each time."""
    files = [p for p in (out / "runs").rglob("*") if p.is_file() and p.name != SECONDS]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(files)}


def names(outcome: Outcome) -> tuple[int, int, int]:
    return len(outcome.done), len(outcome.kept), len(outcome.failed)


@pytest.fixture(scope="module")
def undisturbed(grid_file: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run at one go in a process of its own."""
    out = tmp_path_factory.mktemp("study") / "out"
    done = run_study(read_grid(grid_file), clips, out, jobs=1)
    assert names(done) == (4, 0, 0)
    return out


def test_what_a_cell_leaves(undisturbed: Path) -> None:
    folder = undisturbed / "runs" / "vgg-16k-mel8-x2-db-seed1"
    assert sorted(p.name for p in folder.iterdir()) == [
        "result.json",
        "seconds.json",
        "tagger.safetensors",
        "test.npz",
    ]
    result = json.loads((folder / "result.json").read_text())
    evaluation = Evaluation.from_dict(result["evaluations"]["test"])
    assert (evaluation.clips, evaluation.weights) == (8, result["weights"])
    assert evaluation.macro_roc_auc > 0.6
    assert len(result["history"]) == 8
    assert result["made_of"]["training"]["lr"] == 1e-2
    assert list((undisturbed / "claims").iterdir()) == []


def test_what_is_done_is_kept_and_its_bytes_are_not_touched(
    undisturbed: Path, grid_file: Path, clips: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in (undisturbed / "runs").rglob("*")}
    assert names(run_study(read_grid(grid_file), clips, undisturbed, jobs=0)) == (0, 4, 0)
    assert {p: p.stat().st_mtime_ns for p in (undisturbed / "runs").rglob("*")} == before


def test_killed_at_random_and_shared_by_two_it_is_the_same(
    undisturbed: Path, grid_file: Path, clips: Path, tmp_path: Path
) -> None:
    out, rng = tmp_path / "out", random.Random(7)
    command = [sys.executable, "-c", RUN, str(grid_file), str(clips), str(out), "1"]
    kills = 0
    while True:
        pair = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        if kills >= 4:
            for process in pair:
                said, _ = process.communicate(timeout=120)
                assert process.returncode == 0, said
            break
        for process in pair:
            time.sleep(rng.uniform(1, 4))
            process.kill()
            process.communicate()
            kills += 1
    assert everything(out) == everything(undisturbed)
    assert [p.name for p in (out / "claims").iterdir()] == []


def test_shards_share_the_folder(undisturbed: Path, grid_file: Path, clips: Path, tmp_path: Path) -> None:
    grid = read_grid(grid_file)
    for number in (2, 1):
        assert names(run_study(grid, clips, tmp_path / "out", shard=(number, 2), jobs=1)) == (2, 0, 0)
    assert everything(tmp_path / "out") == everything(undisturbed)


def test_a_half_written_folder_is_run_again(
    undisturbed: Path, grid_file: Path, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    first, second = sorted((out / "runs").iterdir())[:2]
    (first / "result.json").write_bytes((first / "result.json").read_bytes()[:100])
    (second / "result.json").unlink()
    assert names(run_study(read_grid(grid_file), clips, out, jobs=1)) == (2, 2, 0)
    assert everything(out) == everything(undisturbed)


def test_what_was_half_done_is_done_anew_where_the_sound_has_another_date(
    undisturbed: Path,
    grid_file: Path,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips.parent, own)
    grid, table = read_grid(grid_file).shard(1, 4), own / clips.name

    class Stopped(BaseException):
        pass

    def stop(teller: object, done: int, total: int) -> None:
        if done == total // 2:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr("lightmel.studies.worker._SAVE_SECONDS", 1e-6)
        patch.setattr("lightmel.studies.worker._Teller.__call__", stop)
        with pytest.raises(Stopped):
            run_study(grid, table, out, jobs=0)
    folder = out / "runs" / grid.cells[0].name
    assert len(list(folder.glob("work-*/*"))) > 0
    for file in own.glob("*.wav"):
        os.utime(file, (1e9, 1e9))
    assert names(run_study(grid, table, out, jobs=1)) == (1, 0, 0)
    assert f"{folder.name}: what was half done is done anew" in caplog.text
    assert (folder / "test.npz").read_bytes() == (
        undisturbed / "runs" / folder.name / "test.npz"
    ).read_bytes()
    assert not list(folder.glob("work-*"))


def test_scores_that_are_gone_are_made_again_and_a_tagger_may_go(
    undisturbed: Path, grid_file: Path, clips: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "out", []
    shutil.copytree(undisturbed, out)
    first, second = sorted((out / "runs").iterdir())[:2]
    (first / "test.npz").unlink()
    (second / "tagger.safetensors").unlink()
    done = run_study(
        read_grid(grid_file), clips, out, jobs=1, on_cell=lambda *words: said.append(" ".join(words))
    )
    assert names(done) == (1, 3, 0)
    assert said[0] == f"{first.name} is run again: test.npz is gone"
    assert (first / "test.npz").read_bytes() == (undisturbed / "runs" / first.name / "test.npz").read_bytes()


def test_what_has_changed_is_run_again_and_says_why(
    undisturbed: Path, grid_file: Path, clips: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "out", []
    shutil.copytree(undisturbed, out)
    other = tmp_path / "tiny.toml"
    text = grid_file.read_text().replace("inputs", "training = { lr = 2e-2 }\ninputs")
    other.write_text(text)
    done = run_study(
        read_grid(other),
        clips,
        out,
        shard=(1, 4),
        jobs=0,
        on_cell=lambda *words: said.append(" ".join(words)),
    )
    assert names(done) == (1, 0, 0)
    assert said == [
        "vgg-16k-mel8-x1-db-seed0 is run again: training lr was 0.01 and is 0.02",
        "vgg-16k-mel8-x1-db-seed0 is done",
    ]


def test_other_versions(undisturbed: Path, grid_file: Path, clips: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", []
    shutil.copytree(undisturbed, out)
    for result in (out / "runs").glob("*/result.json"):
        plain = json.loads(result.read_text())
        plain["made_of"]["versions"]["torch"] = "1.0"
        result.write_text(json.dumps(plain))
    grid = read_grid(grid_file)
    assert names(run_study(grid, clips, out, jobs=0, any_version=True)) == (0, 4, 0)
    done = run_study(grid, clips, out, jobs=0, shard=(1, 4), on_cell=lambda name, what: said.append(what))
    assert names(done) == (1, 0, 0)
    assert re.match(r"is run again: versions torch was '1.0' and is '2", said[0])


def test_a_cell_that_fails_does_not_end_the_others(clips: Path, tmp_path: Path) -> None:
    grid = grid_of(
        {
            "networks": {
                "vgg": {"widths": [2, 2, 2, 4]},
                "wild": {"architecture": "vgg", "widths": [2, 2, 2, 4]},
            },
            "learning": {"segment_seconds": 0.5},
            "training": {"epochs": 1, "batch_size": 4},
            "points": [
                {"networks": ["wild"], "inputs": ["16k-mel8-x1-db"], "training": {"lr": 1e30, "epochs": 3}},
                {"networks": ["vgg"], "inputs": ["16k-mel8-x1-db"]},
            ],
        }
    )
    outcome = run_study(grid, clips, tmp_path / "out", jobs=0)
    assert outcome.done == ("vgg-16k-mel8-x1-db-seed0",)
    assert "Try a lower lr" in outcome.failed["wild-16k-mel8-x1-db-seed0"]
    assert names(run_study(grid, clips, tmp_path / "out", jobs=0)) == (0, 1, 1)


def test_a_further_test_is_measured(clips: Path, grid_file: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    rows = [f"{clips.parent / f'{i}.wav'},{i % 2 == 0:d},{i % 2:d}" for i in range(16, 24)]
    table.write_text("\n".join(["path,low,high", *rows]) + "\n")
    out = tmp_path / "out"
    run_study(read_grid(grid_file), clips, out, tests={"more": table}, shard=(1, 4), jobs=0)
    result = json.loads((out / "runs" / "vgg-16k-mel8-x1-db-seed0" / "result.json").read_text())
    own, more = (result["evaluations"][name] for name in ("test", "more"))
    assert own["roc_auc"] == pytest.approx(more["roc_auc"])
    with np.load(out / "runs" / "vgg-16k-mel8-x1-db-seed0" / "more.npz") as scores:
        assert scores["truth"].shape == (8, 2)


@pytest.mark.parametrize("name", ["test", "agreement", "a/b", "held-out", ""])
def test_a_further_test_has_a_name_of_its_own(
    name: str, clips: Path, grid_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="A test is called by a word"):
        run_study(read_grid(grid_file), clips, tmp_path / "out", tests={name: clips}, jobs=0)
    assert not (tmp_path / "out").exists()


def test_features_are_thinned_from_the_most_frames_of_the_same_storage() -> None:
    networks: dict[str, dict[str, str]] = {"vgg": {}}
    points = [
        {"networks": ["vgg"], "inputs": ["16k-mel{96,48}-x{1,2,4}-db"]},
        {"networks": ["vgg"], "inputs": ["16k-mel96-x{2,4}-db"], "storage": "uint8"},
    ]
    grid = grid_of({"seeds": [0, 1], "networks": networks, "points": points})
    found = _origins(grid.shard(2, 2).cells, grid, SimpleNamespace(excerpt_seconds=None))  # type: ignore[arg-type]
    assert found == {
        "vgg-16k-mel96-x1-db-seed1": None,
        "vgg-16k-mel96-x2-db-seed1": "16k-mel96-x1-db",
        "vgg-16k-mel96-x4-db-seed1": "16k-mel96-x1-db",
        "vgg-16k-mel48-x1-db-seed1": None,
        "vgg-16k-mel48-x2-db-seed1": "16k-mel48-x1-db",
        "vgg-16k-mel48-x4-db-seed1": "16k-mel48-x1-db",
        "vgg-16k-mel96-x2-db-uint8-seed1": None,
        "vgg-16k-mel96-x4-db-uint8-seed1": "16k-mel96-x2-db",
    }


def test_progress_is_of_the_whole_grid(clips: Path, grid_file: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    run_study(read_grid(grid_file), clips, tmp_path / "out", jobs=1, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize("what", ["another grid", "other data", "no study"])
def test_a_folder_of_something_else_is_not_touched(
    what: str, undisturbed: Path, grid_file: Path, clips: Path, tmp_path: Path
) -> None:
    out, grid, data = tmp_path / "out", read_grid(grid_file), clips
    if what == "no study":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    else:
        shutil.copytree(undisturbed, out)
    if what == "another grid":
        other = tmp_path / "other.toml"
        other.write_text(grid_file.read_text().replace('"tiny"', '"other"'))
        grid = read_grid(other)
    if what == "other data":
        data = tmp_path / "new.csv"
        shutil.copytree(clips.parent, tmp_path / "sound")
        data = tmp_path / "sound" / "new.csv"
        data.write_bytes(clips.read_bytes())
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match=r"holds another study|holds something that is no study"):
        run_study(grid, data, out, jobs=0)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_data_with_one_tag(clips: Path, grid_file: Path, tmp_path: Path) -> None:
    table = clips.parent / "one.csv"
    table.write_text(re.sub(r"high|low", "tone", clips.read_text()))
    with pytest.raises(DataError, match="has one tag, 'tone'"):
        run_study(read_grid(grid_file), table, tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def test_wrong_numbers(clips: Path, grid_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jobs=-1"):
        run_study(read_grid(grid_file), clips, tmp_path / "out", jobs=-1)
    with pytest.raises(ConfigError, match="no shard 3 of 2"):
        run_study(read_grid(grid_file), clips, tmp_path / "out", shard=(3, 2))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is a file, and a folder is wanted"):
        run_study(read_grid(grid_file), clips, tmp_path / "file", jobs=0)


def test_a_further_test_of_training_clips_or_of_a_name_that_is_taken(clips: Path) -> None:
    with pytest.raises(ConfigError, match="12 clips that are trained on"):
        open_data(clips, tests={"more": clips})
    with pytest.raises(ConfigError, match=r"neither test nor agreement.*not 'test'"):
        open_data(clips, tests={"test": clips})


@pytest.mark.parametrize("damage", ["made_of", "evaluations", "nan"])
def test_a_damaged_result_is_no_result(undisturbed: Path, tmp_path: Path, damage: str) -> None:
    folder = next((undisturbed / "runs").iterdir())
    plain = read_result(folder)
    assert plain is not None
    if damage == "nan":
        tags = plain["evaluations"]["test"]["roc_auc"]
        tags |= dict.fromkeys(tags, float("nan"))
    else:
        plain[damage] = [1]
    (tmp_path / "result.json").write_text(json.dumps(plain))
    assert read_result(tmp_path) is None


@pytest.mark.parametrize(("key", "value"), [("cells", [{}]), ("cells", None), ("tags", None), ("title", 5)])
def test_a_damaged_description_is_said(undisturbed: Path, tmp_path: Path, key: str, value: object) -> None:
    plain = json.loads((undisturbed / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps(plain | {key: value}))
    with pytest.raises(DataError, match=r"damaged|holds no study"):
        read_results(tmp_path)
