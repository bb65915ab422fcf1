"""The page about a library: what it counts, and that no name in it becomes anything else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lightmel.errors import DataError
from lightmel.library import WriteConfig, write_report
from lightmel.library.records import read_records

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \"'\u2028.mp3"


def record(path: str, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "path": path,
        "schema": 3,
        "tags": {"piano": 0.9, "jazz": 0.6, "rock": 0.2},
        "thresholds": {"piano": 0.5, "jazz": 0.5, "rock": 0.5},
        "verified": {},
        "seconds": 3600.0,
        "padded": False,
        "model": "a-model",
        "version": "1",
        "license": "MIT",
        "notes": [],
        "sound": "music",
        "parts": [],
        "categories": {"genre": {"jazz": 0.6}, "mood": "unknown", "instrument": {"piano": 0.9}},
        "exclusive": False,
    }
    return {**plain, **changes}


def failure(path: str, message: str) -> dict[str, Any]:
    return {"path": path, "schema": 3, "error": {"type": "AudioError", "message": message}}


class Page(HTMLParser):
    """The tags of a page, the texts in it, and what its scripts hold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "input"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif data.strip():
            self.texts.append(data.strip())


def page_of(records: Any, **options: Any) -> Page:
    write_report(records, "page.html", **options)
    return Page(Path("page.html").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_counts_what_a_library_is_made_of() -> None:
    rock = record("b.mp3", categories={"genre": {"rock": 0.8, "jazz": 0.6}, "mood": {"happy": 0.7}})
    lines = [record("a.mp3", seconds=1.0), failure("c.mp3", "broken"), rock, record("a.mp3")]
    Path("tags.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert write_report("tags.jsonl", "page.html") == 3
    page = page_of("tags.jsonl")
    texts = " | ".join(page.texts)
    assert "tags.jsonl" in page.texts
    assert "3 | files | 2.0 | hours | 1 | failed | tagged by | a-model 1" in texts
    assert "Genres | jazz | 2 | 2.0 h | rock | 1 | 1.0 h" in texts
    assert "Moods | happy | 1 | 1.0 h | 1 of 2 files: unknown" in texts
    assert "Instruments | piano | 1" in texts
    assert "Failures | File | Why | c.mp3 | broken" in texts
    assert page.texts.count("a.mp3") == 1  # among the least certain
    data = json.loads(page.scripts[0])
    assert [file[0] for file in data["files"]] == ["a.mp3", "b.mp3", "c.mp3"]
    assert {data["words"][at] for at in data["files"][1][2]} == {"rock", "jazz", "happy"}


def album(name: str, **changes: Any) -> dict[str, Any]:
    line = {k: v for k, v in record("").items() if k != "path"}
    return {"album": name, "by": "album", "folder": name, "files": 9, **line, **changes}


def test_albums_have_a_table_of_their_own_and_are_no_files() -> None:
    plain = page_of([record("a.mp3")])
    assert "Albums" not in plain.texts
    lines = [
        record("a.mp3"),
        album("Zoo", seconds=150.0, album_artist="Somebody"),
        album(EVIL, folder="A", categories={"genre": {"rock": 0.8, "jazz": 0.6}, "mood": {"happy": 0.7}}),
    ]
    assert write_report(lines, "page.html") == 1
    page = page_of(lines)
    texts = " | ".join(page.texts)
    assert "1 | files | 1.0 | hours" in texts
    assert "Albums | 2; the means of their files. | Album | Genres | Moods | Files | Minutes" in texts
    assert f"{EVIL} | rock, jazz | happy | 9 | 60 | Zoo | Somebody | jazz | unknown | 9 | " in texts
    assert page.names.count("script") == 2
    many = page_of([record("a.mp3"), *(album(f"{i:03}") for i in range(130))])
    assert many.texts.index("099") < many.texts.index("30 more") < many.texts.index("100")


def test_it_needs_no_network_and_nothing_beside_it() -> None:
    html = Path("page.html")
    page = page_of([record("a.mp3")])
    assert page.links == []
    text = html.read_text(encoding="utf-8")
    assert re.findall(r"https?:|@import|url\(", text) == []
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert {"link", "img", "iframe"}.isdisjoint(page.names)


def test_no_name_becomes_anything_else() -> None:
    plain = page_of([record("a.mp3"), failure("b.mp3", "no")], title="plain")
    words = {EVIL: 0.9}
    evil = page_of(
        [
            record(EVIL, model=EVIL, categories={"genre": words, "mood": words, "era": words}),
            failure(f"{EVIL}2", EVIL),
        ],
        title=EVIL,
    )
    assert evil.names.count("script") == plain.names.count("script") == 2
    assert "img" not in evil.names
    assert EVIL in " ".join(evil.texts)
    data = json.loads(evil.scripts[0])
    assert [file[0] for file in data["files"]] == [EVIL, f"{EVIL}2"]
    assert data["files"][1][3] == EVIL
    assert "<" not in evil.scripts[0]


def test_names_that_are_no_text_and_dollar_signs_are_written() -> None:
    page = page_of([record("caf\udce9.mp3"), record("$title ${data}.mp3")], title="$title")
    assert "caf\\udce9.mp3" in page.texts
    assert "$title ${data}.mp3" in page.texts


def test_the_least_certain_come_first() -> None:
    scores = {"sure": 0.9, "unsure": 0.06, "between": 0.4}
    lines = [
        record(f"{name}.mp3", tags={"piano": 0.95, "jazz": s, "rock": 0.01}) for name, s in scores.items()
    ]
    lines.append(record("talk.mp3", sound="speech", tags={"jazz": 0.01}))
    page = page_of(lines)
    at = page.texts.index("Least certain")
    names = [text for text in page.texts[at:] if text.endswith(".mp3")]
    assert names == ["unsure.mp3", "between.mp3", "sure.mp3"]
    assert "Music or not | music | 3 | 3.0 h | speech | 1" in " | ".join(page.texts)


def test_without_thresholds_a_file_counts_for_its_best_concepts_alone() -> None:
    line = record("a.mp3", thresholds={}, categories={"genre": {"rock": 0.1, "jazz": 0.3, "pop": 0.2}})
    assert "Genres | jazz | 1 | 1.0 h | Least certain" in " | ".join(page_of([line]).texts)


def test_a_library_of_failures_and_one_of_nothing_have_a_page() -> None:
    texts = " | ".join(page_of([failure("a.mp3", "no")]).texts)
    assert "1 | files | 0.0 | hours | 1 | failed | tagged by | nothing" in texts
    Path("empty.jsonl").write_text("")
    assert write_report("empty.jsonl", "page.html") == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("diary\n", "line 1 is no JSON"),
        ('{"path": "a"}\n', "line 1 is no line of `lightmel tag`: This is no tagging of schema"),
        (
            '{"path": 3, "schema": 3}\n',
            "line 1 is no line of `lightmel tag`: its path is a text of a letter or more, not 3",
        ),
        ('{"schema": 3}\n', "line 1 is no line"),
        ('{"album": "x", "schema": 3}\n', "line 1 is no line of `lightmel tag`: .*KeyError: 'padded'"),
        (
            json.dumps({**record(""), "path": None, "album": "x"}) + "\n",
            "line 1 is no line of `lightmel tag`: KeyError: 'folder'",
        ),
    ],
)
def test_what_are_no_records_is_said(text: str, message: str) -> None:
    Path("x.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        write_report("x.jsonl", "page.html")
    assert not Path("page.html").exists()


SPOILT = [
    ({"sound": 3}, "a sound is one of .*, not 3"),
    ({"seconds": math.inf}, "a number is finite, not inf"),
    ({"schema": 99}, "of 99: a newer lightmel may read it"),
    ({"tags": {"piano": math.nan, "jazz": 0.6, "rock": 0.2}}, "a number is finite, not nan"),
    ({"tags": [1, 2]}, "TypeError"),
    ({"error": 5}, "its error has a message"),
]


@pytest.mark.parametrize("by_dict", [False, True])
@pytest.mark.parametrize(("change", "message"), SPOILT)
def test_what_is_spoilt_is_refused_by_all_who_read_lines(
    change: dict[str, Any], message: str, by_dict: bool
) -> None:
    lines: Any = [record("good.mp3"), record("a.mp3", **change)]
    if not by_dict:
        Path("x.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    where = "Record 2" if by_dict else "x.jsonl, line 2"
    readers: list[Callable[[Any], Any]] = [
        lambda given: write_report(given, "page.html"),
        lambda given: read_records(given, WriteConfig()),
    ]
    for read in readers:
        with pytest.raises(DataError, match=f"^{where} is no line of `lightmel tag`: .*{message}"):
            read(lines if by_dict else "x.jsonl")
    assert not Path("page.html").exists()


@pytest.mark.parametrize(
    ("categories", "message"),
    [(5, "categories are words"), ({"genre": 5}, "a category is scores"), ({"genre": [1]}, "a category is")],
)
def test_categories_that_are_spoilt_are_refused(categories: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^Record 1 is no line of `lightmel tag`: TypeError: {message}"):
        write_report([record("a.mp3", categories=categories)], "page.html")


def test_the_records_are_not_written_over() -> None:
    Path("x.jsonl").write_text(json.dumps(record("a.mp3")) + "\n")
    with pytest.raises(DataError, match="holds the records"):
        write_report("x.jsonl", "x.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        write_report("missing.jsonl", "page.html")
    with pytest.raises(DataError, match="is a folder"):
        write_report("x.jsonl", ".")
