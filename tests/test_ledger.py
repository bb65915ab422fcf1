"""The ledger of the family: every clip under a licence that allows the use, read from where it is stated."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from lightmel.errors import DataError

FAMILY = Path(__file__).parents[1] / "family"
sys.path.insert(0, str(FAMILY))  # its scripts find each other as they do when they are run

import ledger  # noqa: E402
import make_ledger  # noqa: E402
import packages  # noqa: E402

HEADER = ",".join(ledger.Row._fields)
GOOD = "music/a.opus,A,B,,CC0-1.0,README.md,o/r@1:a.mp3,a,train,"


def written(folder: Path, *lines: str) -> Path:
    file = folder / "ledger.csv"
    file.write_text("\n".join([HEADER, *lines]) + "\n")
    return file


# The ledger of the repository


def test_each_clip_that_is_trained_on_has_a_licence_that_allows_it() -> None:
    rows = [row for row in ledger.read_rows() if row.used == "train"]
    assert len(rows) > 2_000
    for row in rows:
        assert row.stated, row
        assert not any(word in row.license for word in ("-NC", "-ND", ledger.OPEN)), row
    assert len(ledger.read_ledger()) == len(rows)


def test_no_clip_whose_licence_is_per_file_is_left_unread() -> None:
    assert not [row.path for row in ledger.read_rows() if "per file: copyright file of" in row.stated]


def test_the_summary_is_that_of_the_ledger() -> None:
    rows = ledger.read_rows()
    assert make_ledger.SUMMARY.read_text(encoding="utf-8") == make_ledger.summary(rows)
    random.Random(0).shuffle(rows)
    assert make_ledger.summary(rows) == make_ledger.SUMMARY.read_text(encoding="utf-8")
    assert make_ledger.as_csv(rows) == ledger.LEDGER.read_text(encoding="utf-8")


def test_the_ledger_has_the_clips_of_the_tables_and_no_held_out_group(shared: Path) -> None:
    assert "each under a licence" in make_ledger.check(shared)


def test_nothing_that_forbids_commercial_use_or_changes_is_permitted() -> None:
    licenses = ledger.read_licenses()
    for key in licenses:
        assert ledger.permitted(key, licenses) == (not any(w in key for w in ("-NC", "-ND", ledger.OPEN)))


@pytest.mark.parametrize(
    ("expression", "free"),
    [
        ("CC-BY-NC-3.0 OR GPL-2.0-only", True),
        ("CC-BY-NC-3.0 AND GPL-2.0-only", False),
        ("CC-BY-4.0 AND CC0-1.0", True),
        ("CC-BY-ND-4.0 OR CC-BY-NC-4.0", False),
        ("CC-BY-NC-4.0 OR MIT AND CC-BY-ND-4.0", False),
    ],
)
def test_all_parts_of_one_alternative_must_allow_it(expression: str, free: bool) -> None:
    assert ledger.permitted(expression, ledger.read_licenses()) is free


# Ledgers that are refused


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("music/b.opus,A,B,,,README.md,o,b,train,", r"line 3: music/b.opus has no licence"),
        ("music/b.opus,A,B,,,README.md,o,b,refused,why", r"line 3: music/b.opus has no licence"),
        ("music/b.opus,A,B,,MIT,,o,b,train,", r"line 3: .* MIT, is stated nowhere"),
        ("music/b.opus,A,B,,CC-BY-NC-4.0,x,o,b,train,", r"line 3: .* does not allow commercial use"),
        ("music/b.opus,A,B,,NOASSERTION,x,o,b,train,", r"line 3: .* does not allow commercial use"),
        (
            "music/b.opus,A,B,,CC-BY-4,x,o,b,train,",
            r"line 3: 'CC-BY-4' is no licence .* Did you mean 'CC-BY-4.0'",
        ),
        ("music/b.opus,A,B,,MIT,x,o,b,refused,", r"line 3: .* refused without a reason"),
        ("music/b.opus,A,B,,MIT,x,o,b,perhaps,", r"line 3: .* used as 'perhaps'"),
        ("music/b.opus,A,B,,MIT,x,o,,train,", r"line 3: a clip without path or group"),
        (GOOD, r"line 3: music/a.opus is on line 2 too"),
        ("music/b.opus,A", r"line 3: 2 cells"),
    ],
)
def test_a_ledger_that_cannot_be_trained_on_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ledger.read_ledger(written(tmp_path, GOOD, line))


def test_a_good_ledger_gives_what_is_not_refused(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD, "music/b.opus,A,B,,CC-BY-NC-4.0,x,o,b,refused,not free")
    assert ledger.read_ledger(file) == [("music/a.opus", "a")]


def test_a_table_without_a_column_is_no_ledger(tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    file.write_text("path,licence\na.opus,MIT\n")
    with pytest.raises(DataError, match="no column 'title'"):
        ledger.read_ledger(file)


# The tables, and the way from them to a ledger, on a folder that is made here

TRACKS = "path,source,title,artist,licence,nc,kind,origin,group,duration_s\n"
GAME = "Debian asc-music 1.3-6: usr/share/games/asc/music"
PER_FILE = "free software licence or CC BY (per file: copyright file of asc-music)"
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Source: somewhere

Files: *
Copyright: 2001 The Team <team@example.org>
License: GPL-2+

Files: music/*.mp3
 music/odd?.ogg
Copyright:
 2002 Ann <ann@example.org>
 Bob
License: CC-BY-3.0
 The text
 .
 of it

Files: music/bad*
Copyright: Carl
License: CC-BY-NC-3.0

Files: ./music/unsaid.mp3
Copyright: Dora
License:

License: GPL-2+
 The text
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Texts of a package, as they are kept: nothing is fetched."""
    folder = tmp_path / "cache" / "asc-music"
    (folder / "usr/share/doc/asc-music").mkdir(parents=True)
    (folder / "usr/share/doc/asc-music/copyright").write_text(COPYRIGHT)
    (folder / "VERSION").write_text("1.3-6")
    return folder.parent


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    tracks = {
        "music": [
            "a.opus,s,A,B,CC BY 3.0 (README.md),0,pop,o,free,30",
            "b.opus,s,A,B,CC0,0,pop,o,mixed,30",
            "c.opus,s,A,B,CC BY-NC 3.0,1,pop,o,mixed,30",
            "full/a.mp3,s,A,B,CC BY 3.0,0,full,o,free,300",
        ],
        "music-free": [
            f"asc/{name}.opus,asc,,,{PER_FILE},0,game,{GAME}/{name}.mp3,asc,30"
            for name in ("x", "bad", "unsaid")
        ],
        "not-music": ["n.opus,s,noise,generated,CC0 (generated),0,noise,generated,n,5"],
    }
    for name, lines in tracks.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "tracks.csv").write_text(TRACKS + "\n".join(lines) + "\n")
    (folder / "instruments").mkdir()
    (folder / "instruments" / "notes.csv").write_text(
        "path,instrument,pitch,source,licence,origin,split,split_mixed\n"
        "audio/flute/1.opus,french_horn,60,iowa-mis:horn,public domain (any use),o,train,train\n"
    )
    return folder


def test_a_ledger_is_made_of_tables_and_copyright_files(tables: Path, cache: Path, tmp_path: Path) -> None:
    made = {row.path: row for row in make_ledger.rows(tables, cache)}
    assert set(made) == {
        *("music/a.opus", "music/b.opus", "not-music/n.opus", "instruments/audio/flute/1.opus"),
        *(f"music-free/asc/{name}.opus" for name in ("x", "bad", "unsaid")),
    }
    assert made["music/a.opus"][4:6] == ("CC-BY-3.0", "README.md")
    x = made["music-free/asc/x.opus"]
    assert (x.license, x.holder, x.used) == ("CC-BY-3.0", "2002 Ann; Bob", "train")
    assert x.stated == "asc-music 1.3-6: usr/share/doc/asc-music/copyright, Files: music/*.mp3"
    assert made["instruments/audio/flute/1.opus"].group == "notes/iowa-mis:horn"
    refused = {row.path: row.reason for row in made.values() if row.used == "refused"}
    assert set(refused) == {"music/b.opus", "music-free/asc/bad.opus", "music-free/asc/unsaid.opus"}
    assert "held out" in refused["music/b.opus"]
    assert "commercial" in refused["music-free/asc/bad.opus"]
    assert "no statement" in refused["music-free/asc/unsaid.opus"]

    file, text = tmp_path / "made.csv", tmp_path / "MADE.md"
    file.write_text(make_ledger.as_csv(made.values()))
    text.write_text(make_ledger.summary(made.values()))
    assert make_ledger.check(tables, file, text).startswith("7 clips, 4 trained on")
    assert "| music-free | 1 | 2 |" in text.read_text()
    assert "2002 Ann; Bob 1" in text.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",mixed,refused,", ",mixed,train,", "music/b.opus is of a group that is held out"),
        ("music/a.opus", "music/c.opus", "the tables differ in music/a.opus and 1 more"),
        (",free,train,", ",free,refused,bad", "is not the summary of"),
    ],
)
def test_a_check_finds_what_is_wrong(
    tables: Path, cache: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    made = list(make_ledger.rows(tables, cache))
    file, text = tmp_path / "made.csv", tmp_path / "MADE.md"
    content = make_ledger.as_csv(made)
    assert old in content
    file.write_text(content.replace(old, new))
    text.write_text(make_ledger.summary(made))
    with pytest.raises(DataError, match=message):
        make_ledger.check(tables, file, text)


def test_a_spelling_that_nobody_explained_is_an_error(tables: Path, cache: Path) -> None:
    table = tables / "music" / "tracks.csv"
    table.write_text(table.read_text().replace("CC BY 3.0 (README.md)", "CC BY 5.0 (README.md)"))
    with pytest.raises(DataError, match=r"music/a.opus: no licence is known as 'CC BY 5.0'"):
        list(make_ledger.rows(tables, cache))


@pytest.mark.parametrize(
    ("cell", "license", "stated"),
    [
        ("CC BY 3.0 (README.md)", "CC-BY-3.0", "README.md"),
        ('CC BY 3.0 (README: "a (c) b (3.0) license")', "CC-BY-3.0", 'README: "a (c) b (3.0) license"'),
        (
            "GPL (README); author from the tag",
            "GPL-1.0-or-later",
            "music/tracks.csv: GPL (README); author from the tag",
        ),
        ("CC BY 4.0", "CC-BY-4.0", "music/tracks.csv: CC BY 4.0"),
    ],
)
def test_a_cell_says_licence_and_place(cell: str, license: str, stated: str) -> None:
    plan = {
        "whole": {},
        "spelling": {"CC BY 3.0": "CC-BY-3.0", "GPL": "GPL-1.0-or-later", "CC BY 4.0": "CC-BY-4.0"},
    }
    assert make_ledger.by_table(cell, "music/a.opus", plan) == (license, stated)


# What packages say


def package(cache: Path, **plan: object) -> packages.Package:
    return packages.Package("asc-music", {"moved": ["opt/", ""], **plan}, "1.3-6", cache)


@pytest.mark.parametrize(
    ("path", "license"),
    [
        ("opt/music/x.mp3", "CC-BY-3.0"),
        ("opt/music/deep/x.mp3", "CC-BY-3.0"),  # a star of a copyright file matches slashes
        ("opt/music/odd1.ogg", "CC-BY-3.0"),
        ("opt/music/odd12.ogg", "GPL-2+"),
        ("opt/music/bad.mp3", "CC-BY-NC-3.0"),  # the last paragraph that matches
        ("opt/else/x.ogg", "GPL-2+"),
    ],
)
def test_the_last_paragraph_that_matches_holds(cache: Path, path: str, license: str) -> None:
    found = package(cache).statement(path)
    assert found is not None
    assert found.license == license
    assert "@" not in found.holder
    assert found.stated.endswith("(whole package)") == (license == "GPL-2+")


def test_a_paragraph_without_a_licence_covers_nothing(cache: Path) -> None:
    assert package(cache).statement("opt/music/unsaid.mp3") is None


def test_escaped_wildcards_are_themselves() -> None:
    import re

    assert re.fullmatch(packages.pattern(r"a\*b?"), "a*bc")
    assert not re.fullmatch(packages.pattern(r"a\*b?"), "axbc")


def test_a_statement_beside_the_music_comes_before_the_copyright_file(cache: Path) -> None:
    (cache / "asc-music" / "opt").mkdir()
    (cache / "asc-music" / "opt" / "README").write_text("All of these tunes\nare under  CC0.\n")
    entry = {
        "files": "opt/music/*",
        "file": "opt/README",
        "quote": "these tunes are under CC0.",
        "holder": "Eve",
    }
    found = package(cache, statement=[{**entry, "license": "CC0-1.0"}]).statement("opt/music/x.mp3")
    assert found == ("CC0-1.0", "Eve", "asc-music 1.3-6: opt/README")
    with pytest.raises(DataError, match="does not say 'these tunes are public'"):
        package(cache, statement=[{**entry, "quote": "these tunes are public"}]).statement("opt/music/x.mp3")


def test_an_open_licence_needs_its_evidence(cache: Path) -> None:
    said = package(cache, open=[{"files": "opt/*", "quote": "with permission", "reason": "a cover"}])
    assert said.refusal("opt/x.ogg", "Song (with permission)").startswith("a cover")
    assert said.refusal("else/x.ogg", "") == ""
    with pytest.raises(DataError, match="the title does not say"):
        said.refusal("opt/x.ogg", "Song")


def test_lists_of_authors_are_read() -> None:
    naev = "- Ann <ann@example.org>:\n   license: CC-by 3\n   music:\n     - x.ogg\n"
    naev += "- Bob:\n   license: PD\n   sounds:\n     - y.wav\n"
    assert packages.listed(naev) == {"x.ogg": ("CC-by 3", "Ann <ann@example.org>"), "y.wav": ("PD", "Bob")}
    readme = "Authors\n-------\n\nAnn B. <ann@example.org> composed:\n\tx.ogg\n\nBob composed:\n\ty.ogg\n"
    assert packages.composed("m/readme", readme) == {"m/x.ogg": ("", "Ann B."), "m/y.ogg": ("", "Bob")}
    assert packages.equals("m/credits.txt", "x.ogg=Ann\n") == {"m/x.ogg": ("", "Ann")}
    music = '<?xml version="1.0"?>\n<music title = "T" composer = "A & <https://a.example>" '
    music += 'file="x.ogg" fast-filename="f.ogg"/>'
    both = ("T", "A & <https://a.example>")
    assert packages.xml("m/x.music", music.replace("&", "&amp;")) == {"m/x.ogg": both, "m/f.ogg": both}
    tracks = '{"tracks": [{"filename": "x.opus", "title": "T", "author": "A"}]}'
    assert packages.album("m/album.json", tracks) == {"m/x.opus": ("T", "A")}


def test_long_lists_of_holders_are_counted() -> None:
    assert packages.shortened(["a", "b", "a"]) == "a; b"
    assert packages.shortened([str(i) for i in range(20)]) == "0; 1; 2; and 17 more named there"


def test_a_package_that_cannot_be_fetched_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"asc-music 1\.3-6 could not be fetched.*apt-get"):
        package(tmp_path / "empty")
