"""A folder run: what is tagged, what is not tagged again, and what is left when it is killed."""

from __future__ import annotations

import csv
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightmel import audio, hub, library
from lightmel.errors import (
    AudioError,
    ConfigError,
    DataError,
    MissingExtraError,
    UnknownModelError,
)
from lightmel.inference import Tagging
from lightmel.library import Counts, FileDone, WriteConfig, folder, tables
from lightmel.library.ledger import Ledger
from lightmel.library.records import read_records

HERE = Path(__file__).parent
OTHER = "lightmel-musicnn-16k-mel48-x2-db"
signals = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, and the fake tagger in the place of the real one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setattr(folder, "_WORK", "fake_tagger:serve")
    return tmp_path


def put(name: str, text: str = "0.9 0.2") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run(places: Any = "music", out: str = "tags.jsonl", **options: Any) -> Counts:
    return library.tag_folder(places, out, **{"jobs": 0, **options})


def records(out: str = "tags.jsonl") -> dict[str, dict[str, Any]]:
    """The records of files by their paths; no path stands twice."""
    found = [json.loads(line) for line in Path(out).read_bytes().splitlines()]
    files = [record for record in found if "album" not in record]
    assert len({record["path"] for record in files}) == len(files)
    return {record["path"]: record for record in files}


def albums(out: str = "tags.jsonl") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in Path(out).read_bytes().splitlines()]
    return [record for record in found if "album" in record]


# What is tagged


def test_every_file_has_a_record_that_reads_as_a_line_of_json() -> None:
    put("music/a/1.mp3", "0.9 0.2")
    put("music/2.flac", "0.1 0.7 s20")
    put("music/bad.ogg", "broken")
    put("music/cover.jpg", "no sound")
    told: list[FileDone] = []
    assert run(on_file=told.append) == Counts(tagged=2, failed=1)
    found = records()
    assert list(found) == ["music/2.flac", "music/a/1.mp3", "music/bad.ogg"]
    tagging = Tagging.from_dict(found["music/2.flac"])
    assert tagging.top(1) == [("rock", 0.7)]
    assert tagging.seconds == 20
    assert found["music/2.flac"]["file"]["size"] == Path("music/2.flac").stat().st_size
    assert list(found["music/2.flac"])[:4] == ["path", "file", "schema", "tags"]
    assert found["music/bad.ogg"]["error"] == {"type": "AudioError", "message": "is broken."}
    assert [(one.path, one.error, one.done, one.total) for one in told] == [
        ("", "", 0, 3),
        ("music/2.flac", "", 1, 3),
        ("music/a/1.mp3", "", 2, 3),
        ("music/bad.ogg", "is broken.", 3, 3),
    ]
    wanted = read_records("tags.jsonl", WriteConfig())
    assert wanted["music/a/1.mp3"].fields == {"genre": ("jazz",)}


def test_a_second_run_tags_what_is_new_or_changed() -> None:
    for name in "abc":
        put(f"music/{name}.mp3")
    assert run() == Counts(tagged=3)
    before = Path("tags.jsonl").read_bytes()
    assert run() == Counts(skipped=3)
    assert Path("tags.jsonl").read_bytes() == before
    put("music/b.mp3", "0.3 0.8888")
    put("music/d.mp3")
    old = records()
    assert run() == Counts(tagged=2, skipped=2)
    new = records()
    assert {path: old[path] for path in ("music/a.mp3", "music/c.mp3")}.items() <= new.items()
    assert new["music/b.mp3"]["tags"]["rock"] == 0.8888
    assert "music/d.mp3" in new


def test_a_file_of_another_time_is_tagged_again_unless_its_contents_are_asked_for() -> None:
    path = put("music/a.mp3")
    assert run(sha256=True) == Counts(tagged=1)
    os.utime(path, ns=(0, 0))
    assert run(sha256=True) == Counts(skipped=1)
    assert run() == Counts(tagged=1)
    os.utime(path, ns=(0, 0))
    assert run() == Counts(skipped=1)
    assert run(sha256=True) == Counts(skipped=1)  # there is no hash of it: its time tells
    path.write_text("0.1 0.3")
    os.utime(path, ns=(0, 0))
    assert run() == Counts(skipped=1)  # as long as before, and as old
    os.utime(path, ns=(1, 1))
    run(sha256=True)
    path.write_text("0.1 0.4")
    os.utime(path, ns=(1, 1))
    assert run(sha256=True) == Counts(tagged=1)


def test_records_of_files_that_have_gone_stay_unless_they_are_pruned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("a/1", "a/2", "b/3", "c/4"):
        put(f"music/{name}.mp3")
    put("other/5.mp3")
    run(["music", "other"])
    for name in ("music/a/1", "music/c/4", "other/5"):
        Path(f"{name}.mp3").unlink()
    assert run() == Counts(skipped=2)
    assert len(records()) == 5
    assert run("music/a", prune=True, exclude=["3.mp3"]) == Counts(skipped=1, pruned=1)
    assert set(records()) == {"music/a/2.mp3", "music/b/3.mp3", "music/c/4.mp3", "other/5.mp3"}
    # A place without any sound may be a disk that is not there.
    assert run(["music/b", "music/c"], prune=True) == Counts(skipped=1)
    assert "music/c: there is no sound in it" in caplog.text
    assert run(exclude=["b"], prune=True) == Counts(skipped=1, pruned=1)
    assert set(records()) == {"music/a/2.mp3", "music/b/3.mp3", "other/5.mp3"}


def test_failures_are_tried_again_when_their_files_change_or_when_asked_for() -> None:
    put("music/a.mp3", "broken")
    put("music/b.mp3")
    assert run() == Counts(tagged=1, failed=1)
    assert run() == Counts(skipped=1, left=1)
    assert run(retry_failed=True) == Counts(skipped=1, failed=1)
    put("music/a.mp3", "0.5 0.5")
    assert run() == Counts(tagged=1, skipped=1)
    assert "error" not in records()["music/a.mp3"]


@pytest.mark.parametrize("change", [{"force": True}, {"top": 1}, {"model": OTHER, "force": True}])
def test_failures_of_another_tagger_or_other_settings_are_tried_again(change: dict[str, Any]) -> None:
    put("music/a.mp3", "broken")
    put("music/b.mp3")
    run()
    counts = run(**change)
    assert (counts.failed, counts.left) == (1, 0)
    taggers = {record["file"]["tagger"] for record in records().values()}
    assert len(taggers) == 1


def test_one_file_by_two_names_is_one() -> None:
    put("music/a.mp3")
    run()
    assert run(Path("music").resolve()) == Counts(skipped=1)
    assert run(["music", "music/a.mp3", "./music"]) == Counts(skipped=1)
    assert list(records()) == ["music/a.mp3"]


@signals
def test_names_may_be_anything() -> None:
    names = [b"caf\xe9.mp3", "ü\u2028\n\t\"'; <b>.mp3".encode(), b', "schema": 9.mp3']
    Path("music").mkdir()
    for name in names:
        try:
            Path("music", os.fsdecode(name)).write_text("0.9 0.1")
        except OSError:
            pytest.skip("a file system that takes text alone")
    assert run(jobs=1) == Counts(tagged=3)
    assert run(jobs=1) == Counts(skipped=3)
    assert {os.fsencode(Path(path).name) for path in records()} == set(names)


def test_an_output_inside_the_library_is_no_music() -> None:
    put("music/a.mp3")
    options = {"taggram": "music/over time", "embeddings": "music/e.npy"}
    assert run(out="music/tags.jsonl", **options) == Counts(tagged=1)
    assert run(out="music/tags.jsonl", **options) == Counts(skipped=1)


def test_nothing_is_written_into_the_library() -> None:
    put("music/a.mp3")
    put("music/b.mp3", "broken")
    Path("music").chmod(0o555)
    try:
        before = {path: path.stat() for path in Path("music").rglob("*")}
        run(by="album", taggram="t", embeddings="e.npy")
        assert {path: path.stat().st_mtime_ns for path in Path("music").rglob("*")} == {
            path: status.st_mtime_ns for path, status in before.items()
        }
    finally:
        Path("music").chmod(0o755)


# Taggers and outputs that do not fit


def with_version(monkeypatch: pytest.MonkeyPatch, file: bytes) -> None:
    monkeypatch.setattr(folder, "digest_of", lambda path: file.hex())


def test_another_version_of_the_tagger_or_other_settings_tag_all_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("music/a.mp3")
    put("music/b.mp3", "broken")
    run()
    with_version(monkeypatch, b"2")
    assert run() == Counts(tagged=1, failed=1)
    assert run() == Counts(skipped=1, left=1)
    assert run(top=2) == Counts(tagged=1, failed=1)
    assert list(records()["music/a.mp3"]["tags"]) == ["jazz", "rock"]
    assert run(above=True) == Counts(tagged=1, failed=1)
    assert list(records()["music/a.mp3"]["tags"]) == ["jazz"]


def test_an_output_of_another_tagger_is_left_alone_unless_forced() -> None:
    put("music/a.mp3")
    run()
    before = Path("tags.jsonl").read_bytes()
    with pytest.raises(DataError, match=rf"holds the tags of {hub.DEFAULT}, not of {OTHER}: .*force=True"):
        run(model=OTHER)
    assert Path("tags.jsonl").read_bytes() == before
    assert run(model=OTHER, force=True) == Counts(tagged=1)
    assert len(records()) == 1


def test_lines_of_lightmel_tag_json_are_taken_over() -> None:
    put("music/a.mp3")
    run()
    (record,) = records().values()
    del record["file"]
    Path("tags.jsonl").write_text(json.dumps(record, sort_keys=True) + "\n")
    assert run() == Counts(tagged=1)
    assert "file" in records()["music/a.mp3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"my diary\n", r"line 1 is no line of `lightmel tag`: .* Name another file"),
        (b"my diary", r"no output of `lightmel tag --out`"),
        (b"\x00\xff\x00\n", "line 1 is no line"),
        (b'{"a": 1}\n', "line 1 is no line"),
        (b"[]\n", "line 1 is no line"),
        (b'{"path": 3, "schema": 3}\n', "line 1 is no line"),
        (b'{"path": "a.mp3", "file": {"size": "x"}, "schema": 3, "tags": {}}\n', "line 1 is no line"),
        (b'{"path": "a.mp3", "schema": 99, "tags": {}}\n', "line 1 has schema 99, .* a newer one"),
        (b'{"album": "a", "tags": {}}\n', "line 1 is no line"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_output_is_never_written_over(text: bytes, message: str, force: bool) -> None:
    put("music/a.mp3")
    Path("tags.jsonl").write_bytes(text)
    with pytest.raises(DataError, match=message):
        run(force=force)
    assert Path("tags.jsonl").read_bytes() == text


def test_a_table_without_its_lines_is_somebodys_own() -> None:
    put("music/a.mp3")
    put("tags.csv", "my,own\n")
    with pytest.raises(DataError, match=r"tags\.csv is there, and tags\.jsonl, which it is made of, is not"):
        run(out="tags.csv")
    assert Path("tags.csv").read_text() == "my,own\n"
    assert run(out="tags.csv", force=True) == Counts(tagged=1)


def test_lines_of_an_older_schema_are_made_anew() -> None:
    put("music/a.mp3")
    run()
    text = Path("tags.jsonl").read_text().replace('"schema": 3', '"schema": 2')
    Path("tags.jsonl").write_text(text)
    assert run() == Counts(tagged=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"out": "tags.txt"}, ConfigError, r"ends in \.jsonl, \.csv or \.parquet"),
        ({"out": "music/a.mp3/tags.jsonl"}, DataError, "cannot be written"),
        ({"out": "folder.jsonl"}, DataError, "is a folder"),
        ({"places": "nowhere"}, AudioError, "There is no file or folder nowhere"),
        ({"places": "empty"}, AudioError, r"no sound below empty: it looks for \.mp3"),
        ({"model": "no-such"}, UnknownModelError, "no tagger 'no-such'"),
        ({"model": object()}, ConfigError, r"save it first, with Tagger\.save"),
        ({"jobs": -1}, ConfigError, "jobs=-1"),
        ({"top": 0}, ConfigError, "top=0"),
        ({"by": "artist"}, ConfigError, "by is 'album' or 'folder', not 'artist'"),
        ({"by": "album", "above": True}, ConfigError, "takes all scores"),
        ({"time_limit": -1}, ConfigError, "time_limit=-1"),
        ({"embeddings": "e.txt"}, ConfigError, r"ends in \.npy"),
    ],
)
def test_what_cannot_work_is_said_and_nothing_is_left(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    put("music/a.mp3")
    Path("folder.jsonl").mkdir()
    Path("empty").mkdir()
    with pytest.raises(error, match=message):
        run(**options)
    assert not Path(".tags.jsonl.lock").exists()
    if Path("tags.jsonl").exists():
        assert Path("tags.jsonl").read_bytes() == b""


def test_a_tagger_that_cannot_run_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_WORK", "lightmel.library.worker:serve")
    put("music/a.mp3")
    with pytest.raises(ConfigError, match="float64"):
        run(precision="float64", jobs=1)
    assert Path("tags.jsonl").read_bytes() == b""


# One at a time, and what ends it


def program(*options: str, before: str = "") -> list[str]:
    """The command of a run in another process."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        f"{before}\n"
        "from lightmel.library import folder\n"
        "folder._WORK = 'fake_tagger:serve'\n"
        f"print(folder.tag_folder('music', 'tags.jsonl', {', '.join(options)}))"
    )
    return [sys.executable, "-c", code]


@signals
def test_the_second_of_two_runs_is_refused() -> None:
    put("music/a.mp3", "hang")
    first = subprocess.Popen(program("jobs=1"), stdout=subprocess.PIPE)
    try:
        wait_for(lambda: Path(".tags.jsonl.lock").exists() and Path("tags.jsonl").exists())
        with pytest.raises(DataError, match=r"tags\.jsonl is being written by another process"):
            run()
        with pytest.raises(DataError, match=r"tags\.jsonl is being written by another process"):
            run(out="tags.csv")
    finally:
        first.kill()
        first.communicate()
    put("music/a.mp3")
    assert run() == Counts(tagged=1)  # what the killed one left stops nobody
    assert not Path(".tags.jsonl.lock").exists()


def wait_for(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until
        time.sleep(0.005)


@signals
def test_a_crash_a_hang_or_a_kill_costs_its_file_alone(caplog: pytest.LogCaptureFixture) -> None:
    for number, order in enumerate(["crash", "0.9", "kill", "0.8", "hang", "bug", "0.7"]):
        put(f"music/{number}.mp3", order)
    assert run(jobs=2, time_limit=4) == Counts(tagged=3, failed=4)
    said = {Path(path).stem: record["error"] for path, record in records().items() if "error" in record}
    assert said["0"] == {"type": "AudioError", "message": "the decoder crashed on it (SIGSEGV)."}
    assert (
        said["2"]["message"] == "the process that tagged it was ended (signal 9), as where memory runs out."
    )
    assert said["4"]["message"].startswith("it took longer than the time limit")
    assert said["5"]["type"] == "UnexpectedError"
    assert run(jobs=2, time_limit=4) == Counts(skipped=3, left=4)
    put("music/0.mp3", "0.6")
    assert run(jobs=2) == Counts(tagged=1, skipped=3, left=3)


@signals
def test_workers_that_are_killed_again_and_again_end_the_run() -> None:
    put("music/0.mp3")
    for number in range(1, 5):
        put(f"music/{number}.mp3", "kill")
    with pytest.raises(DataError, match=r"ended from outside again and again \(signal 9\).* take fewer jobs"):
        run(jobs=1)
    assert "error" not in records()["music/0.mp3"]


@signals
def test_a_full_disk_ends_it_with_a_sentence_and_loses_nothing() -> None:
    for number in range(20):
        put(f"music/{number:02}.mp3")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, -1))"
    done = subprocess.run(program("jobs=0", before=limit), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "DataError: tags.jsonl cannot be written: File too large. What is in it is kept" in done.stderr
    found = len(records())
    assert 0 < found < 20
    assert Path("tags.jsonl").read_bytes().endswith(b"}\n")
    assert run() == Counts(tagged=20 - found, skipped=found)
    # Nor is anything lost where there is no room for the whole of it anew.
    put("music/00.mp3", "0.25")
    before = Path("tags.jsonl").stat().st_size
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({before + 2000}, -1))"
    done = subprocess.run(
        program("jobs=0", "by='album'", before=limit), capture_output=True, encoding="utf-8", check=False
    )
    assert run() == Counts(skipped=20)
    assert records()["music/00.mp3"]["tags"]["jazz"] == 0.25


def test_a_line_that_was_torn_is_made_again() -> None:
    put("music/a.mp3")
    put("music/b.mp3")
    run()
    whole = Path("tags.jsonl").read_bytes()
    for cut in (1, 5, 100, len(whole) // 2 - 1, len(whole) // 2, len(whole) - 1):
        Path("tags.jsonl").write_bytes(whole[:cut])
        run()
        assert Path("tags.jsonl").read_bytes() == whole


MANY = 2_000


@signals
def test_killed_at_random_it_ends_as_if_it_had_not_been() -> None:
    """As many files as make a library, some broken, changed between the runs; compared record by record."""
    dice = random.Random(19)
    for number in range(MANY):
        order = (
            "broken" if number % 97 == 5 else f"{dice.random():.4f} {dice.random():.4f} s{number % 50 + 1}"
        )
        put(f"music/{number % 40}/{number}.mp3", order)
    options = ("jobs=2", "embeddings='e.npy'", "by='folder'")
    kills = 0
    while True:
        size = Path("tags.jsonl").stat().st_size if Path("tags.jsonl").exists() else 0
        process = subprocess.Popen(program(*options), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        further = size + dice.randrange(30_000, 130_000)
        while process.poll() is None and not Path("tags.jsonl").exists():
            time.sleep(0.001)
        while process.poll() is None and (kills >= 8 or Path("tags.jsonl").stat().st_size < further):
            time.sleep(0.001)
        process.kill()
        _, said = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
        kills += 1
        if kills == 3:
            put("music/0/0.mp3", "0.1234")  # tagged long ago, and changed now
        if kills == 4:
            with Path("tags.jsonl").open("ab") as file:
                file.write(b'{"path": "music/1/1.mp3", "file": {"si')
    assert kills >= 4
    rows = np.load("e.npy")
    paths = [json.loads(line) for line in Path("e.paths.jsonl").read_text().splitlines()]
    by_path = dict(zip(paths, rows[:, 0].tolist(), strict=True))
    assert len(by_path) == len(paths)
    disturbed, grouped = records(), albums()
    run(out="undisturbed.jsonl", by="folder")
    undisturbed = records("undisturbed.jsonl")
    assert len(undisturbed) == MANY
    assert disturbed.keys() == undisturbed.keys()
    for path, record in undisturbed.items():
        assert disturbed[path] == record
        if "error" not in record:
            assert by_path[path] == pytest.approx(record["tags"]["jazz"], abs=1e-6)
    assert len(grouped) == 40
    assert [one["album"] for one in grouped] == [one["album"] for one in albums("undisturbed.jsonl")]


@signals
@pytest.mark.skipif("LIGHTMEL_LONG" not in os.environ, reason="takes minutes: LIGHTMEL_LONG=1 runs it")
def test_music_killed_at_random_is_tagged_as_if_it_had_not_been(shared: Path) -> None:
    """Copies and cuts of music, some spoiled, by the tagger itself."""
    dice = random.Random(19)
    sources = [path for path, _ in audio.find_all([shared / "music"])]
    for number in range(MANY):
        source = dice.choice(sources)
        data = source.read_bytes()
        kind = number % 10
        if kind >= 4:  # the first part of it
            data = data[: dice.randrange(len(data) // 8, len(data) // 2)]
        if kind == 8:
            at = dice.randrange(len(data) // 2)
            data = data[:at] + dice.randbytes(len(data) // 4) + data[at + len(data) // 4 :]
        if kind == 9 and number % 3 == 0:
            data = dice.randbytes(5_000)
        target = Path("music", str(number % 50), f"{number}{source.suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    command = [sys.executable, "-m", "lightmel", "tag", "music", "--by", "folder", "--out"]
    kills = 0
    while True:
        process = subprocess.Popen(
            [*command, "tags.jsonl"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(None if kills == 12 else dice.uniform(1, 12))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        break
    assert kills >= 3
    subprocess.run(
        [*command, "undisturbed.jsonl"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    disturbed, undisturbed = records(), records("undisturbed.jsonl")
    failures = sum("error" in record for record in undisturbed.values())
    assert len(undisturbed) == MANY
    assert 0 < failures < MANY / 10
    assert disturbed.keys() == undisturbed.keys()
    for path, record in undisturbed.items():
        assert disturbed[path] == record
    assert len(albums()) == len(albums("undisturbed.jsonl")) == 50


def test_a_real_tagger_runs_in_its_children_without_torch(
    monkeypatch: pytest.MonkeyPatch, tone: Callable[..., np.ndarray], write: Callable[..., Path]
) -> None:
    monkeypatch.setattr(folder, "_WORK", "lightmel.library.worker:serve")
    Path("music").mkdir()
    for number, suffix in enumerate(("wav", "flac", "mp3")):
        write(Path(f"music/{number}.{suffix}"), tone(4.0, seed=number))
    put("music/bad.mp3", "no sound")
    assert run(jobs=1, taggram="t", embeddings="e.npy") == Counts(tagged=3, failed=1)
    import lightmel

    tagger = lightmel.load()
    for number, (path, record) in enumerate(list(records().items())[:3]):
        tagging = tagger.tag(path)
        assert Tagging.from_dict(record).scores == pytest.approx(tagging.scores, rel=1e-4)
        assert np.load("e.npy")[number] == pytest.approx(tagger.embed(path), abs=1e-5)
        whole = Path("t", *Path(path).absolute().parts[1:])
        kept = np.load(whole.with_name(f"{whole.name}.npz"))
        taggram = tagger.taggram(path)
        assert tuple(kept["tags"]) == taggram.tags
        assert kept["scores"] == pytest.approx(taggram.scores, abs=1e-6)
        assert kept["times"] == pytest.approx(taggram.times)
    code = (
        "import sys; from lightmel.library import tag_folder, write_report\n"
        "tag_folder('music', 'again.jsonl', jobs=0, by='album'); write_report('again.jsonl', 'r.html')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Albums


def test_an_album_is_the_mean_of_its_files_by_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    put("music/one/1.mp3", "0.8 0.1 s30")
    put("music/one/CD 2/2.mp3", "0.2 0.1 s10")
    put("music/one/3.mp3", "broken")
    put("music/two/4.mp3", "0.1 0.9")
    run(by="folder")
    one, two = albums()
    assert (one["album"], one["folder"], one["files"], one["seconds"]) == ("one", "music/one", 2, 40)
    assert one["tags"]["jazz"] == pytest.approx(0.65)
    assert two["tags"]["rock"] == 0.9
    assert Tagging.from_dict(one).by_category()["genre"] == (("jazz", 0.65),)
    assert len(records()) == 4
    before = Path("tags.jsonl").read_bytes()
    assert run(by="folder") == Counts(skipped=3, left=1)
    assert Path("tags.jsonl").read_bytes() == before
    assert set(read_records("tags.jsonl", WriteConfig())) == set(records())
    # A file that changes changes its album; a run that says nothing of albums leaves none that are old.
    put("music/two/4.mp3", "0.1 0.75")
    run(by="folder")
    assert albums()[1]["tags"]["rock"] == 0.75
    assert len(records()) == 4
    run()
    assert len(albums()) == 2
    put("music/two/4.mp3", "0.1 0.7")
    run()
    assert albums() == []
    run(by="folder")
    Path("music/two/4.mp3").unlink()
    run(by="folder", prune=True)
    assert [one["album"] for one in albums()] == ["one"]


def test_an_album_is_told_by_its_field_where_files_have_one(
    tone: Callable[..., np.ndarray], write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mutagen

    from lightmel.library.albums import album_fields

    found = {}
    for suffix in ("mp3", "flac", "ogg", "m4a"):
        path = write(Path(f"a.{suffix}"), tone(0.5))
        file: Any = mutagen.File(path, easy=True)
        if file.tags is None:
            file.add_tags()
        file["album"], file["albumartist"] = ["Kind of Blue"], ["Miles Davis"]
        file.save()
        found[suffix] = album_fields(str(path))
    wanted = {"album": "Kind of Blue", "album_artist": "Miles Davis"}
    assert found == {suffix: wanted for suffix in found}  # noqa: C420 - fromkeys takes nothing mutable
    assert album_fields(str(put("no.mp3", "no sound"))) == {}
    assert album_fields("missing.mp3") == {}
    monkeypatch.setitem(sys.modules, "mutagen", None)
    assert album_fields("a.mp3") == {}


def test_files_of_one_album_may_lie_in_two_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightmel.library import notes

    fields = {
        "1.mp3": {"album": "Hits", "album_artist": "A"},
        "2.mp3": {"album": "Hits", "album_artist": "A"},
        "3.mp3": {"album": "Hits"},
        "4.mp3": {"album": "Hits"},
    }
    monkeypatch.setattr(notes, "album_fields", lambda path: fields.get(Path(path).name, {}))
    for name in ("x/1", "y/2", "x/3", "y/4", "y/5"):
        put(f"music/{name}.mp3")
    run(by="album")
    assert sorted((one["album"], one["folder"], one["files"]) for one in albums()) == [
        ("Hits", "music/x", 1),
        ("Hits", "music/x", 2),
        ("Hits", "music/y", 1),
        ("y", "music/y", 1),
    ]
    run(by="folder")
    assert [(one["album"], one["files"]) for one in albums()] == [("x", 2), ("y", 3)]


# Tables


def test_a_table_has_a_row_for_each_file(tmp_path: Path) -> None:
    put("music/a,1.mp3", "0.9 0.8")
    put("music/b.mp3", "broken")
    assert run(out="tags.csv") == Counts(tagged=1, failed=1)
    with Path("tags.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["path"], first["genre"], first["rock"]) == ("music/a,1.mp3", "jazz; rock", "0.8")
    assert (first["error"], first["seconds"], first["mood"]) == ("", "10.0", "")
    assert (second["error"], second["seconds"], second["genre"]) == ("is broken.", "", "")
    made = Path("tags.csv").stat().st_mtime_ns
    assert run(out="tags.csv") == Counts(skipped=1, left=1)
    assert Path("tags.csv").stat().st_mtime_ns == made
    Path("tags.csv").unlink()
    run(out="tags.csv")
    assert Path("tags.csv").exists()
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    run(out="tags.parquet")
    rows = parquet.read_table("tags.parquet").to_pylist()
    assert [row["path"] for row in rows] == ["music/a,1.mp3", "music/b.mp3"]
    assert rows[0]["genre"] == ["jazz", "rock"]
    assert rows[0]["rock"] == pytest.approx(0.8)
    assert rows[1]["error"] == "is broken."
    assert rows[1]["rock"] is None


def test_parquet_without_pyarrow_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    put("music/a.mp3")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"lightmel\[parquet\]"):
        run(out="tags.parquet")
    assert not Path("tags.jsonl").exists()
    tables.check_table(Path("tags.csv"))


# Embeddings and scores over time


def test_embeddings_go_on_and_are_written_over_where_files_change() -> None:
    put("music/a.mp3", "0.25")
    put("music/b.mp3", "broken")
    run()
    put("music/c.mp3", "0.75")
    assert run(embeddings="e.npy") == Counts(tagged=2, left=1)  # what has none is tagged again
    assert np.load("e.npy")[:, 0].tolist() == [0.25, 0.75]
    put("music/a.mp3", "0.5")
    put("music/d.mp3", "1.0")
    assert run(embeddings="e.npy") == Counts(tagged=2, skipped=1, left=1)
    assert np.load("e.npy")[:, 0].tolist() == [0.5, 0.75, 1.0]
    assert Path("e.paths.jsonl").read_text() == '"music/a.mp3"\n"music/c.mp3"\n"music/d.mp3"\n'
    Path("music/c.mp3").unlink()
    assert run(embeddings="e.npy", prune=True).pruned == 1
    assert Path("e.paths.jsonl").read_text() == '"music/a.mp3"\nnull\n"music/d.mp3"\n'
    assert np.load("e.npy")[:, 0].tolist() == [0.5, 0.0, 1.0]
    put("music/c.mp3", "0.125")
    run(embeddings="e.npy")
    assert np.load("e.npy")[:, 0].tolist() == [0.5, 0.0, 1.0, 0.125]


@pytest.mark.parametrize("cut", [1, 5, 16, 17, 40])
def test_embeddings_that_a_kill_has_torn_are_made_again(cut: int) -> None:
    for name in "abc":
        put(f"music/{name}.mp3", f"0.{ord(name)}")
    run(embeddings="e.npy")
    whole = Path("e.npy").read_bytes(), Path("e.paths.jsonl").read_bytes()
    Path("e.npy").write_bytes(whole[0][:-cut])
    run(embeddings="e.npy")
    assert (Path("e.npy").read_bytes(), Path("e.paths.jsonl").read_bytes()) == whole
    Path("e.paths.jsonl").write_bytes(whole[1][:-cut])
    run(embeddings="e.npy")
    assert (Path("e.npy").read_bytes(), Path("e.paths.jsonl").read_bytes()) == whole


@pytest.mark.parametrize(
    ("array", "paths", "message"),
    [
        (np.zeros((1, 9), np.float32), '"x"\n', "embeddings of 9 numbers, and this tagger's have 4"),
        (np.zeros((1, 9)), '"x"\n', "no embeddings of ours"),
        (np.zeros((1, 4), np.float32), "x\n", "line 1 is no path"),
        (np.zeros((1, 4), np.float32), None, r"e\.paths\.jsonl, which goes with it, is not"),
        (None, '"x"\n', r"e\.npy, which goes with it, is not"),
    ],
)
def test_embeddings_of_something_else_are_refused(
    array: np.ndarray | None, paths: str | None, message: str
) -> None:
    put("music/a.mp3")
    if array is not None:
        np.save("e.npy", array)
    if paths is not None:
        Path("e.paths.jsonl").write_text(paths)
    with pytest.raises(DataError, match=message):
        run(embeddings="e.npy")
    if array is not None:
        assert np.array_equal(np.load("e.npy"), array)


def test_what_fails_or_goes_leaves_neither_embedding_nor_scores() -> None:
    options: dict[str, Any] = {"embeddings": "e.npy", "taggram": "t"}
    for name in "abc":
        put(f"music/{name}.mp3")
    run(**options)
    put("music/a.mp3", "broken")
    Path("music/b.mp3").unlink()
    assert run(**options, prune=True) == Counts(skipped=1, failed=1, pruned=1)
    assert Path("e.paths.jsonl").read_text() == 'null\nnull\n"music/c.mp3"\n'
    assert [path.name for path in Path("t").rglob("*.npz")] == ["c.mp3.npz"]


def test_what_a_kill_was_writing_goes() -> None:
    put("music/a.mp3")
    run(exclude="*.wav")
    put(".tags.jsonl.new", "half of it")
    run()
    assert sorted(path.name for path in Path().iterdir()) == ["music", "tags.jsonl"]


def test_scores_over_time_that_are_missing_are_made() -> None:
    put("music/a.mp3")
    run()
    assert run(taggram="t") == Counts(tagged=1)
    assert run(taggram="t") == Counts(skipped=1)
    (kept,) = Path("t").rglob("*.npz")
    assert np.load(kept)["scores"].shape == (2, 6)
    kept.unlink()
    assert run(taggram="t") == Counts(tagged=1)


# Devices


@pytest.mark.parametrize(
    ("device", "cuda", "jobs", "processes"),
    [
        ("auto", False, None, 3),
        ("auto", True, None, 1),
        ("cpu", True, None, 3),
        ("cuda", True, None, 1),
        ("cuda:1", True, None, 1),
        ("mps", False, None, 1),
        ("cuda", True, 2, 2),
        ("cuda", True, 0, 0),
    ],
)
def test_a_gpu_is_used_by_one_process_unless_somebody_says(
    device: str, cuda: bool, jobs: int | None, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a context on it, and would load the tagger once more."""
    from lightmel.inference.runtimes import choice

    started = []

    class Pool(folder.Pool):
        def __init__(self, work: Any, count: int) -> None:
            started.append(count)
            super().__init__(work, 0)

    monkeypatch.setattr(folder, "Pool", Pool)
    monkeypatch.setattr(folder, "cores", lambda: 3)
    monkeypatch.setattr(choice, "has_cuda", lambda: cuda)
    for i in range(4):
        put(f"music/{i}.wav")
    assert run(jobs=jobs, device=device).tagged == 4
    assert started == [processes]


# Tags in files


def test_files_whose_fields_are_written_are_not_tagged_again(
    tone: Callable[..., np.ndarray], write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    from fake_tagger import FakeTagger

    from lightmel._files import claimed
    from lightmel.library.lines import tagging_record
    from lightmel.library.notes import describe

    tagging = FakeTagger().tag(str(put("scores", "0.9 0.1")))
    Path("music").mkdir()
    paths = ["music/a.mp3", "music/b.flac", "music/changed.mp3"]
    with Ledger("tags.jsonl") as ledger:
        for path in paths:
            write(Path(path), tone(0.5))
            ledger.add(
                {"path": path, "file": describe(path, "d", sha256=True), **tagging_record(path, tagging)}
            )
    os.utime(paths[2], ns=(0, 0))

    def current() -> list[bool]:
        with Ledger("tags.jsonl") as ledger:
            known = [ledger.known[str(Path(path).absolute())] for path in paths]
        status = [Path(path).stat() for path in paths]
        return [
            (own.size, own.mtime_ns) == (now.st_size, now.st_mtime_ns)
            for own, now in zip(known, status, strict=True)
        ]

    assert current() == [True, True, False]
    before = records()
    changes = library.write_tags("tags.jsonl", apply=True, journal="undo.jsonl")
    assert [change.changes for change in changes] == [True] * 3
    assert current() == [True, True, False]
    after = records()
    for path in paths:
        assert {**before[path], "file": 0} == {**after[path], "file": 0}
    library.undo("undo.jsonl")
    assert current() == [True, True, False]
    for path in paths:
        assert {**before[path], "file": 0} == {**records()[path], "file": 0}
    Path(paths[0]).touch()  # changed by others since: it is tagged again
    library.write_tags("tags.jsonl", apply=True, journal="undo.jsonl")
    library.undo("undo.jsonl")
    assert current() == [False, True, False]
    # Where the output is being written, they are tagged again.
    with Ledger("tags.jsonl") as ledger:
        for path in paths:
            ledger.add({**after[path], "file": describe(path, "d", sha256=False)})
        ledger.tidy()
    with claimed("tags.jsonl", DataError):
        library.write_tags("tags.jsonl", apply=True, journal="again.jsonl")
    assert (
        "is being written by another process: wait for it, or name another file. The 3 files" in caplog.text
    )
    assert current() == [False, False, False]


# The ledger


def test_a_ledger_knows_its_files_and_writes_itself_anew_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Ledger("l.jsonl") as ledger:
        for number in range(3):
            ledger.add({"path": f"{number % 2}.mp3", "file": {"size": number}, "schema": 3, "tags": {}})
        key = str(Path("0.mp3").absolute())
        assert ledger.known[key].size == 2
        assert [json.loads(line)["file"]["size"] for line in ledger.lines()] == [1, 2]
        assert len(Path("l.jsonl").read_bytes().splitlines()) == 3

        def full(*args: Any) -> None:
            raise OSError(28, "No space left on device")

        before = Path("l.jsonl").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(DataError, match="No space left on device"):
                ledger.tidy()
        assert Path("l.jsonl").read_bytes() == before
        assert not Path(".l.jsonl.new").exists()
        ledger.tidy()
        assert len(Path("l.jsonl").read_bytes().splitlines()) == 2
        ledger.add({"path": "9.mp3", "schema": 3, "error": {"type": "AudioError", "message": "x"}})
    with Ledger("l.jsonl") as again:
        assert [known.failed for known in again.known.values()] == [False, False, True]


def test_a_folder_that_cannot_be_searched_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("music/a.mp3")
    put("music/locked/b.mp3")
    real = os.scandir

    def scandir(place: Any) -> Any:
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with caplog.at_level(logging.WARNING, "lightmel"):
        assert run() == Counts(tagged=1, failed=1)
    assert "a folder that cannot be searched: Permission denied" in caplog.text
