"""The reader of tables: every usual form is the same rows, and a complaint names file, line and way out."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightmel.datasets import Rows, unique_paths
from lightmel.datasets.rows import composed, is_nothing
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
    stripped = [[composed(cell.strip()) for cell in row] for row in rows]
    stripped = [["" if is_nothing(cell) else cell for cell in row] for row in stripped]
    assert found.header == HEADER
    assert found.rows == [row for row, own in zip(stripped, rows, strict=True) if any(c.strip() for c in own)]


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


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
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
    return unique_paths(rows, base or folder)


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


# What people's programs write


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("form", ["comma", "tab", "semicolon", "CRLF"])
def test_what_a_byte_order_mark_announces_is_read(encoding: str, form: str, tmp_path: Path) -> None:
    mark = "" if encoding in ("utf-16", "utf-8-sig") else "\ufeff"
    found = Rows(table(tmp_path, (mark + FORMS[form]).encode(encoding)))
    assert (found.header, found.rows) == (HEADER, ROWS)


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [
        ("sep=;", ";"),
        ("SEP=;", ";"),
        ('"sep=;"', ";"),
        ("sep=;;;", ";"),  # saved again by Excel
        ("sep=,", ","),
        ("sep=\t", "\t"),
        ("sep=|", "|"),
        ("\n sep=;", ";"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_by_which_excel_is_told_the_delimiter_is_no_header(
    first: str, delimiter: str, end: str, tmp_path: Path
) -> None:
    rows = [first, *(delimiter.join(row) for row in (["path", "tags"], ["a.wav", "x"], ["b.wav", "y"]))]
    found = Rows(table(tmp_path, "\ufeff" + end.join(rows) + end))
    assert (found.header, found.rows) == (["path", "tags"], [["a.wav", "x"], ["b.wav", "y"]])
    before = 2 if first.startswith("\n") else 1
    assert found.lines == [before + 2, before + 3], "lines of the file, for who looks there"
    with pytest.raises(DataError, match=rf"line {before + 2}: 1 cells"):
        Rows(table(tmp_path, end.join([first, delimiter.join(["path", "tags"]), "a.wav"])))


@pytest.mark.parametrize(
    "cell",
    ["NaN", "nan", "None", "none", "NULL", "null", "<NA>", "#N/A", "N/A", "NA", "-nan", "NaT", " nan "],
)
def test_what_programs_write_for_nothing_is_an_empty_cell(cell: str, tmp_path: Path) -> None:
    found = Rows(table(tmp_path, f"path,tags,group\na.wav,{cell},{cell}\n"))
    assert found.rows == [["a.wav", "", ""]]
    with pytest.raises(DataError, match="line 2: the path is empty"):
        unique_paths(Rows(table(tmp_path, f"path,tags\n{cell},x\n")), tmp_path)


@pytest.mark.parametrize("cell", ["na", "nano", "nones", "null set", "n", "0", "no"])
def test_words_are_words(cell: str, tmp_path: Path) -> None:
    assert Rows(table(tmp_path, f"path,tags\na.wav,{cell}\n")).rows == [["a.wav", cell]]


COMPOSED, APART = "Zoë é", "Zoe\u0308 e\u0301"


@pytest.mark.parametrize("key", [COMPOSED, APART])
@pytest.mark.parametrize("written", [COMPOSED, APART])
def test_two_forms_of_a_letter_are_one_in_headers_and_cells(key: str, written: str, tmp_path: Path) -> None:
    found = Rows(table(tmp_path, f"{written};x,y,z\n{written};a\n"), key=key)
    assert found.rows == [[COMPOSED, "a"]], "its header tells the delimiter, too"
    assert Rows(table(tmp_path, f"path,{written}\na,{APART}\n")).column(key) == [COMPOSED]


posix = pytest.mark.skipif(os.name == "nt", reason="names that Windows cannot have")


@pytest.mark.parametrize("there", [COMPOSED, APART])
@pytest.mark.parametrize("written", [COMPOSED, APART])
def test_a_file_is_found_in_either_form_of_its_letters(there: str, written: str, tmp_path: Path) -> None:
    (tmp_path / there).mkdir()
    (tmp_path / there / f"{there}.wav").touch()
    (path,) = paths_of(tmp_path, f"{written}/{written}.wav")
    assert (tmp_path / path).is_file()
    (mixed,) = paths_of(tmp_path, f"{COMPOSED}/{APART}.wav")
    assert (tmp_path / mixed).is_file()
    with pytest.raises(DataError, match="stands in the lines 2 and 3"):
        paths_of(tmp_path, f"{APART}/{APART}.wav", f"{COMPOSED}/{COMPOSED}.wav")


def test_of_a_file_that_is_not_there_both_forms_are_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stands in the lines 2 and 3"):
        paths_of(tmp_path, f"{APART}.wav", f"{COMPOSED}.wav")


@posix
@pytest.mark.parametrize(
    "name", [" a.wav", "a.wav ", r"b\a.wav", r" b\ü.wav ", "\ta.wav", " b/a.wav", "Zoe\u0308\\.wav"]
)
def test_names_with_spaces_and_backslashes_are_those_of_the_files(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert paths_of(tmp_path, f'"{name}"') == [name]


def test_spaces_around_a_name_that_no_file_has_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.wav").touch()
    assert paths_of(tmp_path, r" b\a.wav ", " c.wav") == ["b/a.wav", "c.wav"]


@posix
def test_a_file_that_is_called_as_written_goes_before_one_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/a.wav", r"b\a.wav", " c.wav", "c.wav"):
        (tmp_path / name).touch()
    cells = [r"b\a.wav", "b/a.wav", " c.wav", "c.wav"]
    assert paths_of(tmp_path, *cells) == cells


def test_the_home_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))
    home = (tmp_path / "me").as_posix()
    assert paths_of(tmp_path, "~/a.wav", "~b.wav", "c/~/d.wav", "~/ü.wav") == [
        f"{home}/a.wav", "~b.wav", "c/~/d.wav", f"{home}/ü.wav",
    ]  # fmt: skip


@posix
@pytest.mark.parametrize("path", [r"C:\Music\a.wav", "d:/a.wav", r"\\server\music\a.wav"])
def test_a_path_of_windows_says_what_to_do_elsewhere(path: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3: .*a\.wav is a path of Windows.*relative to the table"):
        paths_of(tmp_path, "b.wav", path)
    (tmp_path / "C:").mkdir()
    (tmp_path / "C:" / "a.wav").touch()
    assert paths_of(tmp_path, "C:/a.wav") == ["C:/a.wav"], "a folder may be called so"
