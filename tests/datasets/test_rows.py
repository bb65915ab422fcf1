"""The reader of tables: every usual form is the same rows, and a complaint names file, line and way out."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightmel.datasets import Rows, unique_paths
from lightmel.errors import DataError

HEADER = ["path", "tags", "group"]
ROWS = [["a.wav", "rock; loud, fast", "Ann"], ["b/ü.wav", 'so-called "pop"', ""], ["c.wav", "", "Bob"]]

PLAIN = 'path,tags,group\na.wav,"rock; loud, fast",Ann\nb/ü.wav,"so-called ""pop""",\nc.wav,,Bob\n'
FORMS = {
    "comma": PLAIN,
    "tab": 'path\ttags\tgroup\na.wav\trock; loud, fast\tAnn\nb/ü.wav\t"so-called ""pop"""\t\nc.wav\t\tBob\n',
    "semicolon": 'path;tags;group\na.wav;"rock; loud, fast";Ann\nb/ü.wav;"so-called ""pop""";\nc.wav;;Bob\n',
    "byte order mark": "\ufeff" + PLAIN,
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "CR": PLAIN.replace("\n", "\r"),
    "byte order mark and CRLF": "\ufeff" + PLAIN.replace("\n", "\r\n"),
    "quotes everywhere": '"path","tags","group"\n"a.wav","rock; loud, fast","Ann"\n'
    '"b/ü.wav","so-called ""pop""",""\n"c.wav","","Bob"\n',
    "spaces": 'path , tags,group\n a.wav,"rock; loud, fast ",Ann\nb/ü.wav,"so-called ""pop""", \n'
    "c.wav,,\tBob\n",
    "no line end at the end": PLAIN[:-1],
}


def table(folder: Path, text: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_is_the_same_rows(text: str, tmp_path: Path) -> None:
    found = Rows(table(tmp_path, text))
    assert found.header == HEADER
    assert found.rows == ROWS
    assert found.lines == [2, 3, 4]
    assert found.column("tags") == [row[1] for row in ROWS]


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_gz_is_unpacked(text: str, tmp_path: Path) -> None:
    found = Rows(table(tmp_path, gzip.compress(text.encode()), "mine.csv.gz"))
    assert (found.header, found.rows, found.lines) == (HEADER, ROWS, [2, 3, 4])


cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(',;\t" \n'), max_size=8)


@given(rows=st.lists(st.lists(cells, min_size=3, max_size=3)), delimiter=st.sampled_from(",;\t"))
@example(rows=[["a,b;c\td", '"', "two\nlines"]], delimiter=";")
def test_what_the_standard_library_writes_is_read(
    rows: list[list[str]], delimiter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([HEADER, *rows])
    found = Rows(table(tmp_path_factory.mktemp("rows"), text.getvalue()))
    stripped = [[cell.strip() for cell in row] for row in rows]
    assert found.header == HEADER
    assert found.rows == [row for row in stripped if any(row)]


def test_rows_without_text_are_left_out_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    found = Rows(table(tmp_path, 'path,tags\n\na,"x\ny"\n,,\n , \nb,z\n'))
    assert found.rows == [["a", "x\ny"], ["b", "z"]]
    assert found.lines == [4, 7]  # where each ends


def test_lines_without_text_may_stand_before_the_header(tmp_path: Path) -> None:
    found = Rows(table(tmp_path, "\r\n \n;\npath;tags\na;x\nb;y\n"))
    assert (found.header, found.rows, found.lines) == (["path", "tags"], [["a", "x"], ["b", "y"]], [5, 6])


def test_the_delimiter_is_the_one_that_makes_the_key_appear(tmp_path: Path) -> None:
    text = "file;rock, pop, jazz, folk\na;1\n"
    assert Rows(table(tmp_path, text), key="file").header == ["file", "rock, pop, jazz, folk"]
    assert Rows(table(tmp_path, "path\ttitle, artist\na\tb, c\n")).rows == [["a", "b, c"]]
    most = Rows(table(tmp_path, "file;title,artist,tags\na;b,c,d\n"))  # where the key is missing
    assert most.header == ["file;title", "artist", "tags"]


def test_a_delimiter_that_is_known_is_not_found_out(tmp_path: Path) -> None:
    found = Rows(table(tmp_path, "path,x\ttags\na,1\tb\n"), delimiter="\t")
    assert (found.header, found.rows) == (["path,x", "tags"], [["a,1", "b"]])


def test_a_header_alone_has_no_rows_and_nothing_has_no_header(tmp_path: Path) -> None:
    found = Rows(table(tmp_path, "path,tags\n"))
    assert (found.header, found.rows, found.lines, found.column("tags")) == (["path", "tags"], [], [], [])
    assert Rows(table(tmp_path, "")).header == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tag", r"has no column 'tag'; there are 'path', 'tags', 'Artist'\. Did you mean 'tags'\?"),
        ("artist", r"no column 'artist'; .* Did you mean 'Artist'\?"),
        ("zzz", r"there are 'path', 'tags', 'Artist'\.$"),
    ],
)
def test_a_column_that_is_missing_is_named_and_the_nearest_suggested(
    name: str, message: str, tmp_path: Path
) -> None:
    file = table(tmp_path, "path,tags,Artist\na,b,c\n")
    with pytest.raises(DataError, match=message) as caught:
        Rows(file).column(name)
    assert str(caught.value).startswith(f"{file} has no column")


def test_a_column_that_stands_twice_is_refused_when_it_is_wanted(tmp_path: Path) -> None:
    found = Rows(table(tmp_path, "path,tags, tags\na,b,c\n"))
    assert found.column("path") == ["a"]
    with pytest.raises(DataError, match=r"mine\.csv has more than one column 'tags'\. Rename one"):
        found.column("tags")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,tags\na,b\nc\0,d\n", r"line 3: a NUL character\. Save it again"),
        ("path,tags\na,b\nc\n", r"line 3: 1 cells in a table of 2 columns\. Put quotes"),
        ("path,tags\na,b,c\n", "line 2: 3 cells in a table of 2 columns"),
        ("path,tags\n\na,b,\n", "line 3: 3 cells in a table of 2 columns"),
        ('path,tags\na,"b\nc,d\n', r"line \d: .*Look at the quotes there"),
        ('path,tags\na,"b"c\n', r"line 2: .*Look at the quotes there"),
        (f"path,{'x' * 140_000}\na,1\n", r"line 1: field larger than field limit.*CSV in UTF-8"),
        (f"path,tags\na,{'x' * 140_000}\n", r"line 2: field larger than field limit"),
    ],
)
def test_a_row_that_is_none_is_named_by_its_line(text: str, message: str, tmp_path: Path) -> None:
    file = table(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        Rows(file)
    assert str(caught.value).startswith(f"{file}, line ")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252"])
def test_another_encoding_is_refused(encoding: str, tmp_path: Path) -> None:
    file = table(tmp_path, PLAIN.encode(encoding))
    with pytest.raises(DataError, match=r"is not UTF-8 \(byte \d+\)\. Save it again as UTF-8"):
        Rows(file)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(DataError, match=f"There is no table {path}"):
            Rows(path)
    cut = table(tmp_path, gzip.compress(PLAIN.encode() * 50)[:-20], "mine.csv.gz")
    with pytest.raises(DataError, match=r"mine\.csv\.gz cannot be read: .*Fetch it again"):
        Rows(cut)


# Paths


def paths_of(folder: Path, *cells: str, base: Path | None = None) -> list[str]:
    text = "\n".join(["path,tags", *(f"{cell},x" for cell in cells)])
    rows = Rows(table(folder, text))
    return unique_paths(rows, base or folder, rows.column("path"))


def test_paths_are_written_with_forward_slashes(tmp_path: Path) -> None:
    cells = ("a.wav", "./b/c.wav", r"d\e.wav", "f//g.wav", "/abs/h.wav", "../i.wav")
    assert paths_of(tmp_path, *cells) == ["a.wav", "b/c.wav", "d/e.wav", "f/g.wav", "/abs/h.wav", "../i.wav"]


@pytest.mark.parametrize(
    "other", ["a/b.wav", "./a/b.wav", r"a\b.wav", "a//b.wav", "c/../a/b.wav", "{}/a/b.wav"]
)
def test_a_file_that_stands_twice_is_refused_however_it_is_spelled(other: str, tmp_path: Path) -> None:
    message = rf"mine\.csv: {tmp_path}/a/b\.wav stands in the lines 2 and 4\. Each clip has one row"
    with pytest.raises(DataError, match=message):
        paths_of(tmp_path, "a/b.wav", "c.wav", other.format(tmp_path))
    assert len(paths_of(tmp_path, "a/b.wav", "A/b.wav", "b.wav")) == 3


def test_the_folder_that_paths_are_relative_to_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path}/sound/a stands in the lines 2 and 3"):
        paths_of(tmp_path, "a", str(tmp_path / "sound" / "a"), base=Path("sound"))


def test_no_paths_and_empty_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mine\.csv has a header and no clips"):
        paths_of(tmp_path)
    with pytest.raises(DataError, match=r"mine\.csv, line 3: the path is empty"):
        paths_of(tmp_path, "a", " ")
