"""How files are written: whole or not at all, each change in the journal first, and back again."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import pytest

from lightmel.errors import ConfigError, DataError, MissingExtraError
from lightmel.library import Change, WriteConfig, load_mapping, undo, write_tags

Song = Callable[..., Path]
Record = Callable[..., dict[str, Any]]
Fields = Callable[[Path], dict[str, str]]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs files as POSIX has them")


def apply(path: Path, record: dict[str, Any], **options: Any) -> Change:
    (change,) = write_tags([record], apply=True, journal=path.with_suffix(".jsonl"), **options)
    return change


# What is written.


def test_limits_and_thresholds(song: Song, record: Record) -> None:
    line = record(song("flac"))

    def wanted(**config: Any) -> dict[str, tuple[str, ...]]:
        (change,) = write_tags([line], WriteConfig(**config))
        return {field.name: field.new for field in change.fields if not field.name.startswith("LIGHT")}

    assert wanted() == {"genre": ("jazz", "hip hop"), "mood": ("happy",)}
    assert wanted(genres=1) == {"genre": ("jazz",), "mood": ("happy",)}
    assert wanted(genres=0) == {"mood": ("happy",)}
    assert wanted(above=0.45) == {"genre": ("jazz", "hip hop")}
    assert wanted(above=0.9) == {}
    line["verified"] = {tag: tag != "jazz" for tag in line["tags"]}
    assert wanted()["genre"] == ("hip hop", "jazz")  # labels have verified hip hop's score
    line["sound"] = "not music"
    (change,) = write_tags([line])
    assert (change.fields, change.notes) == ((), ("not music",))


def test_scores_may_be_left_out(song: Song, record: Record, fields: Fields) -> None:
    path = song("mp3")
    apply(path, record(path), config=WriteConfig(scores=False))
    assert not [name for name in fields(path) if "LIGHTMEL" in name]


def test_a_tagger_without_thresholds_needs_a_score(song: Song, record: Record) -> None:
    line = record(song("flac"), thresholds={})
    with pytest.raises(ConfigError, match=r"a-model has no thresholds.*--above 0.3"):
        write_tags([line])
    (change,) = write_tags([line], WriteConfig(above=0.35))
    assert [field.new for field in change.fields[:2]] == [("jazz", "hip hop"), ("happy",)]


@pytest.mark.parametrize(
    "config", [{"genres": -1}, {"genres": 0, "moods": 0}, {"above": 1.5}, {"above": "much"}, {"genres": 1.5}]
)
def test_settings_that_make_no_sense(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        WriteConfig(**config)


def test_of_several_lines_for_a_file_the_last_one_counts(song: Song, record: Record, tmp_path: Path) -> None:
    path, other = song("flac"), song("mp3", name="other")
    lines = [
        record(path),
        record(other),
        record(path, tags={"rock": 0.9}, thresholds={"rock": 0.5}, verified={}),
        {"path": str(other), "error": {"kind": "AudioError", "message": "no sound"}},
    ]
    file = tmp_path / "tags.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"path": "half a li')
    changes = {change.path: change for change in write_tags(file)}
    assert changes[str(path)].fields[0].new == ("rock",)
    assert changes[str(other)].notes == ("it could not be tagged",)
    assert not changes[str(other)].changes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json\n", "line 1 is no JSON"),
        ("[1]\n", "line 1 is no JSON object"),
        ("\n{}\n", "line 2 is no line of `lightmel tag`: its path is a text of a letter or more, not None"),
        ('{"path": "x"}\n', "line 1 is no line of `lightmel tag`: This is no tagging"),
        ('{"path": "x", "schema": 9}\n', "a newer lightmel"),
    ],
)
def test_records_that_are_none(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "tags.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match=said):
        write_tags(file)
    with pytest.raises(DataError, match=r"missing\.jsonl cannot be read"):
        write_tags(tmp_path / "missing.jsonl")


def test_relative_paths_are_below_the_root(song: Song, record: Record, tmp_path: Path) -> None:
    path = song("flac")
    (change,) = write_tags([record(path.name)], root=tmp_path)
    assert change.changes
    changes = write_tags([record(path.name), record("gone.flac")], root=tmp_path)
    assert [change.error for change in changes] == ["", "no such file or directory"]


def test_a_root_below_which_nothing_is_there_is_said_once(song: Song, record: Record, tmp_path: Path) -> None:
    lines = [record("talk.mp3", sound="speech"), record("b/1.flac"), record("b/2.flac")]
    first = tmp_path / "no" / "b" / "1.flac"
    with pytest.raises(DataError, match=rf"^All 2 files are missing: there is no {first} .* root=\.\.\.$"):
        write_tags(lines, root=tmp_path / "no")
    assert [change.error for change in write_tags(lines[:1], root=tmp_path / "no")] == [""]
    whole = str(tmp_path / "gone.flac")
    (change,) = write_tags([record(whole)], root=tmp_path / "no")  # the root has no part in it
    assert change.error == "no such file or directory"


def test_without_mutagen_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    for call in (lambda: write_tags([]), lambda: undo("journal")):
        with pytest.raises(MissingExtraError, match=r'pip install "lightmel\[write\]"'):
            call()


def test_writing_needs_no_torch(song: Song, record: Record, tmp_path: Path) -> None:
    path = song("mp3")
    code = (
        "write_tags([json.loads(sys.argv[1])], apply=True, journal=sys.argv[2])\n"
        "undo(sys.argv[2])\n"
        "print(json.dumps('torch' in sys.modules))\n"
    )
    out, errors = child(code, json.dumps(record(path)), tmp_path / "undo.jsonl").communicate(timeout=60)
    assert json.loads(out) is False, errors


# Names.


def test_names_of_ones_own(song: Song, record: Record, tmp_path: Path) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text('[genre]\njazz = ["Jazz", "Music for Grandpa"]\nHip-Hop = ""\n[mood]\nhappy = "Up"\n')
    path = song("flac")
    (change,) = write_tags([record(path)], mapping=load_mapping(file))
    assert [field.new for field in change.fields[:3]] == [
        ("Jazz", "Music for Grandpa"),
        ("Up",),
        ("jazz=0.71",),
    ]
    (change,) = write_tags([record(path)], WriteConfig(genres=1), mapping=load_mapping(file))
    assert change.fields[0].new == ("Jazz",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[genre]\njaz = "x"', "'jaz', which is no genre of ours. Did you mean 'jazz'"),
        ('[genre]\nhappy = "x"', "no genre of ours"),
        ('[mod]\nhappy = "x"', r"\[own.genre\] and \[own.mood\]. Did you mean 'mood'"),
        ('jazz = "x"', "none of the tables"),
        ('[genre]\njazz = "a; b"', "more than one name"),
        ("[genre]\njazz = 3", "a name, a list of names"),
        ('[genre]\n"hip hop" = "a"\nHip-Hop = "b"', "'hip hop' twice"),
        ("[genre", "is not TOML"),
        (
            '[genre]\nours = "x"',
            r"'ours', which is no genre of ours\..* A tag of your own stands in \[own.genre\]",
        ),
        ('[own.genre]\njazz = "x"', r"\[own.genre\] has 'jazz', which is a tag of ours \(genre\)"),
        ('[own.era]\nours = "x"', r"has the tables \[own.genre\] and \[own.mood\], nothing else"),
        ("own = 3", r"has the tables \[own.genre\]"),
        ("[own.mood]\nours = 3", r"\[own.mood\] 'ours' is a name, a list of names"),
    ],
)
def test_a_mapping_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mapping.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_mapping(file)


def test_tags_of_ones_own_are_placed_by_a_mapping_or_named_once(
    song: Song, record: Record, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a fine-tuned tagger has them."""
    tags = {"Our Style": 0.9, "sleepy_head": 0.8, "third": 0.7, "jazz": 0.6, "weak": 0.1}
    lines = [record(song("flac"), tags=tags, thresholds=dict.fromkeys(tags, 0.5))]
    lines.append(record(song("mp3"), tags={"third": 0.7}, thresholds={"third": 0.5}))

    def fields(text: str) -> list[Any]:
        caplog.clear()
        (tmp_path / "mapping.toml").write_text(text)
        changes = write_tags(lines, mapping=load_mapping(tmp_path / "mapping.toml"))
        return [{f.name: f.new for f in change.fields[:2]} for change in changes] + [changes[1].notes]

    first, second, why = fields("")
    assert (first["genre"], second) == (("jazz",), {})
    assert why == ("of its tags nobody says whether they are genres or moods",)
    assert caplog.text.count("Our Style, sleepy_head, third. A mapping does") == 1
    assert "weak" not in caplog.text
    first, second, why = fields(
        '[own.genre]\n"our style" = ["Ours", "New"]\n[own.mood]\n"Sleepy head" = "sleepy"\nthird = ""\n'
    )
    assert first == {"genre": ("Ours", "New", "jazz"), "mood": ("sleepy",)}
    assert why == ("the mapping or the limits leave nothing",)
    assert caplog.text == ""


def test_a_mapping_that_nobody_knows() -> None:
    with pytest.raises(ConfigError, match=r"no mapping 'beet'.*Did you mean 'beets'"):
        load_mapping("beet")


def test_the_mappings_that_come_along_have_every_genre() -> None:
    from mutagen.id3 import TCON

    from lightmel.vocabularies import VOCABULARIES, category, concept, read

    ours = {concept(tag) for name in VOCABULARIES for tag in read(name) if category(tag) == "genre"}
    for name in ("beets", "id3"):
        assert set(load_mapping(name).names["genre"]) == ours
    known = {name for names in load_mapping("id3").names["genre"].values() for name in names}
    assert known <= set(TCON.GENRES)


# Whole or not at all.


@POSIX
def test_mode_times_links_and_hard_links(song: Song, record: Record, tmp_path: Path) -> None:
    path = song("mp3")
    path.chmod(0o640)
    os.utime(path, ns=(10**18, 10**18))
    link, hard = tmp_path / "link.mp3", tmp_path / "hard.mp3"
    link.symlink_to(path.name)
    hard.hardlink_to(path)
    old = path.read_bytes()
    change = apply(link, record(link), config=WriteConfig(keep_times=True))
    assert "another name (hard links)" in change.notes[0]
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_mtime_ns == 10**18
    assert path.read_bytes() != old == hard.read_bytes()
    undo(link.with_suffix(".jsonl"))
    assert path.stat().st_mtime_ns != 10**18


@POSIX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser gives away")
def test_the_owner_stays(song: Song, record: Record) -> None:
    path = song("mp3")
    os.chown(path, 12345, 54321)
    path.chmod(0o4640)
    apply(path, record(path))
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)
    assert stat.S_IMODE(path.stat().st_mode) == 0o4640


def test_what_cannot_be_written_is_an_error_and_the_rest_goes_on(
    song: Song, record: Record, tmp_path: Path
) -> None:
    locked, last = song("mp3", name="locked"), song("flac", name="last")
    locked.chmod(0o444)
    lines = [record(path) for path in (tmp_path / "gone.mp3", tmp_path, "a\0b", locked, last)]
    assert write_tags(lines)[3].notes == ("it is read-only, and cannot be written as it is",)
    changes = write_tags(lines, apply=True, journal=tmp_path / "undo.jsonl")
    assert [change.error for change in changes] == [
        "no such file or directory",
        "it is a folder",
        "no file can have such a name",
        "it is read-only",
        "",
    ]
    assert mutagen.File(last)["genre"] == ["jazz", "hip hop"]
    assert len((tmp_path / "undo.jsonl").read_text().splitlines()) == 2
    locked.chmod(0o644)


@POSIX
def test_a_file_that_another_program_has_locked(song: Song, record: Record) -> None:
    import fcntl

    path = song("mp3")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another program has locked it" in apply(path, record(path)).error
    assert apply(path, record(path)).error == ""


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    start = "import json, os, sys\nfrom pathlib import Path\nfrom lightmel.library import *\n"
    command = [sys.executable, "-c", start + code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users as POSIX has them")
def test_a_folder_that_is_read_only(plain_files: dict[str, bytes], record: Record) -> None:
    """The superuser writes anywhere, and becomes another, who has all that is imported already."""
    code = (
        "import tempfile\n"
        "line = json.loads(sys.argv[1])\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    os.chdir(folder); os.chmod('.', 0o777)\n"
        "    music, free = Path('music'), Path('free')\n"
        "    for place in (music, free):\n"
        "        place.mkdir()\n"
        "        (place / 'a.mp3').write_bytes(bytes.fromhex(sys.stdin.read()) if place == music else data)\n"
        "        data = (place / 'a.mp3').read_bytes()\n"
        "        (place / 'a.mp3').chmod(0o666)\n"
        "    write_tags([line], root=free, apply=True, journal='first.jsonl')\n"
        "    music.chmod(0o555)\n"
        "    superuser = os.geteuid() == 0\n"
        "    if superuser: os.seteuid(65534)\n"
        "    (change,) = write_tags([line], root=music, apply=True, journal='second.jsonl')\n"
        "    if superuser: os.seteuid(0)\n"
        "    music.chmod(0o755)\n"
        "    left = [p.name for p in music.iterdir()]\n"
        "    print(json.dumps([change.error, left, (music / 'a.mp3').read_bytes() == data]))\n"
    )
    process = child(code, json.dumps(record("a.mp3")))
    out, errors = process.communicate(plain_files["mp3"].hex(), timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(out) == ["permission denied", ["a.mp3"], True]


@POSIX
@pytest.mark.parametrize(
    ("suffix", "grows"),
    [
        ("mp3", True),
        ("wav", True),
        ("wv", True),
        ("flac", False),
        ("m4a", False),
        ("ogg", False),
        ("wma", True),
    ],
)
def test_a_disk_that_is_full(suffix: str, grows: bool, song: Song, record: Record, tmp_path: Path) -> None:
    """From some size on no file becomes longer, as on a disk that is full."""
    path = song(suffix, "bare")
    before = path.read_bytes()
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "path, journal, record = sys.argv[1:4]\n"
        "for limit in map(int, sys.argv[4:]):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "    (change,) = write_tags([json.loads(record)], apply=True, journal=journal)\n"
        "    assert change.error == 'file too large', change\n"
    )
    limits = [len(before) // 2, len(before) - 1, *([len(before) + 10] if grows else [])]
    process = child(code, path, tmp_path / "undo.jsonl", json.dumps(record(path)), *limits)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "undo.jsonl"}
    assert [change.error for change in undo(tmp_path / "undo.jsonl")] == [""]


@POSIX
def test_killed_at_any_moment_every_file_comes_back(
    song: Song, record: Record, fields: Fields, tmp_path: Path
) -> None:
    paths = [song(suffix, name=f"{n}") for n in range(12) for suffix in ("mp3", "flac", "m4a")]
    before = [fields(path) for path in paths]
    journal, lines = tmp_path / "undo.jsonl", json.dumps([record(path) for path in paths])
    code = (
        "write_tags(json.loads(sys.argv[2]), apply=True, journal=sys.argv[1],\n"
        "    on_change=lambda change: print('done', flush=True))\n"
    )
    ended = []
    for files, wait in ((1, 0.0), (2, 0.003), (5, 0.001), (9, 0.006), (17, 0.002), (30, 0.004)):
        process = child(code, journal, lines)
        assert process.stdout is not None
        for _ in range(files):
            assert process.stdout.readline() == "done\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ended.append(process.returncode)
        for path in paths:
            mutagen.File(path).tags.pprint()  # whole, the old or the new one
        assert [change.error for change in undo(journal) if change.error] == []
        assert [fields(path) for path in paths] == before
        assert not list(tmp_path.glob(".*")), "copies that a kill left are removed"
    assert -signal.SIGKILL in ended, "no run was killed before its end"
    write_tags([record(path) for path in paths], apply=True, journal=journal)
    undo(journal)
    assert [fields(path) for path in paths] == before


def test_what_another_program_changes_meanwhile_is_not_lost(
    song: Song, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    path = song("flac")
    copy = shutil.copystat

    def slow(source: Path, target: Path) -> None:
        copy(source, target)
        file = mutagen.File(path)
        file["title"] = "Another title"
        file.save()
        os.utime(path, ns=(1, 1))

    monkeypatch.setattr(shutil, "copystat", slow)
    assert "changed by another program" in apply(path, record(path)).error
    assert mutagen.File(path)["title"] == ["Another title"]


# The journal.


def test_a_field_that_was_changed_since_is_left(song: Song, record: Record, tmp_path: Path) -> None:
    path, journal = song("flac"), tmp_path / "undo.jsonl"
    write_tags([record(path)], apply=True, journal=journal)
    file = mutagen.File(path)
    file["genre"] = "Mine"
    file.save()
    (change,) = undo(journal)
    assert "GENRE changed since" in change.error
    found = mutagen.File(path)
    assert found["genre"] == ["Mine"]
    assert "mood" not in found
    (change,) = undo(journal, overwrite=True)
    assert change.error == ""
    assert "genre" not in mutagen.File(path)


def test_undone_twice_and_in_between(song: Song, record: Record, tmp_path: Path) -> None:
    """Journals are added to: a run, a hand, another run; all of it comes back, once and again."""
    path, journal = song("mp3"), tmp_path / "undo.jsonl"
    write_tags([record(path)], apply=True, journal=journal)
    other = record(path, tags={"rock": 0.9}, thresholds={"rock": 0.5}, verified={})
    write_tags([other], WriteConfig(overwrite=True), apply=True, journal=journal)
    for _ in range(2):
        (change,) = undo(journal)
        assert change.error == ""
        assert "TCON" not in mutagen.File(path).tags
    assert change.notes == ("as it was before",)


def test_a_change_by_hand_between_two_runs_is_what_comes_back(
    song: Song, record: Record, tmp_path: Path
) -> None:
    path, journal = song("flac"), tmp_path / "undo.jsonl"
    write_tags([record(path)], apply=True, journal=journal)
    file = mutagen.File(path)
    file["genre"] = "Mine"
    file.save()
    write_tags([record(path)], WriteConfig(overwrite=True), apply=True, journal=journal)
    assert mutagen.File(path)["genre"] == ["jazz", "hip hop"]
    undo(journal)
    assert mutagen.File(path)["genre"] == ["Mine"]
    undo(journal, overwrite=True)
    assert "genre" not in mutagen.File(path)


def test_a_file_that_is_gone(song: Song, record: Record, tmp_path: Path) -> None:
    path, other = song("mp3"), song("flac", name="other")
    journal = tmp_path / "undo.jsonl"
    write_tags([record(path), record(other)], apply=True, journal=journal)
    path.unlink()
    changes = undo(journal)
    assert [change.error for change in changes] == ["", "no such file or directory"]
    assert "genre" not in mutagen.File(other)


def test_a_line_that_a_kill_cut_short(song: Song, record: Record, tmp_path: Path) -> None:
    path, journal = song("mp3"), tmp_path / "undo.jsonl"
    journal.write_text('{"journal": "lightmel-write-1"}\n{"path": "/a", "before": {"TC')
    write_tags([record(path)], apply=True, journal=journal)
    first, second = journal.read_text().splitlines()
    assert json.loads(second)["path"] == str(path.resolve())
    journal.write_text('{"journal": "lightm')
    write_tags([], apply=True, journal=journal)
    assert journal.read_text() == f"{first}\n"


@pytest.mark.parametrize(
    "text",
    [
        "a song\n",
        "[]\n",
        '{"journal": "lightmel-write-9"}\n',
        '{"journal": "lightmel-write-1"}\n{}\n',
        "short",
    ],
)
def test_a_file_that_is_no_journal_is_left_alone(text: str, record: Record, tmp_path: Path) -> None:
    journal = tmp_path / "undo.jsonl"
    journal.write_text(text)
    with pytest.raises(DataError, match="no journal of `lightmel write`"):
        undo(journal)
    with pytest.raises(DataError, match="no journal of `lightmel write`"):
        write_tags([], apply=True, journal=journal)
    assert journal.read_text() == text


def test_a_journal_that_cannot_be_written(song: Song, record: Record, tmp_path: Path) -> None:
    path = song("mp3")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"journal .* cannot be written.*Nothing is changed without it"):
        write_tags([record(path)], apply=True, journal=tmp_path)
    with pytest.raises(ConfigError, match="name one"):
        write_tags([record(path)], apply=True)
    with pytest.raises(DataError, match="cannot be read"):
        undo(tmp_path / "missing.jsonl")
    assert path.read_bytes() == before


@POSIX
def test_two_runs_on_one_journal(song: Song, record: Record, tmp_path: Path) -> None:
    import fcntl

    journal = tmp_path / "undo.jsonl"
    with journal.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="being written by another process"):
            write_tags([record(song("mp3"))], apply=True, journal=journal)


@POSIX
def test_names_that_are_no_text(song: Song, record: Record, tmp_path: Path) -> None:
    path = song("mp3")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff\n.mp3"))
    path.rename(odd)
    journal = tmp_path / "undo.jsonl"
    (change,) = write_tags([json.loads(json.dumps(record(odd)))], apply=True, journal=journal)
    assert change.error == ""
    (change,) = undo(journal)
    assert change.error == ""
    assert "TCON" not in mutagen.File(odd).tags
