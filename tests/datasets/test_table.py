from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from lightmel.datasets import Dataset, load_table, same_protocol
from lightmel.errors import DataError


def table(folder: Path, text: str | bytes, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def clips(dataset: Dataset) -> dict[str, set[str]]:
    """Tags of every clip, by path."""
    return {
        path: {tag for tag, holds in zip(dataset.tags, row, strict=True) if holds}
        for split in dataset.splits.values()
        for path, row in zip(split.paths, split.labels, strict=True)
    }


TRUTH = {"a.wav": {"rock", "loud, fast"}, "b/b.wav": {"pop"}, "c.wav": set()}

FORMS = {
    "comma and quotes": 'path,tags,split\na.wav,"rock;loud, fast",train\nb/b.wav,pop,train\nc.wav,,test\n',
    "tabs": "path\ttags\tsplit\na.wav\trock;loud, fast\ttrain\nb/b.wav\tpop\ttrain\nc.wav\t\ttest\n",
    "semicolons": 'path;tags;split\na.wav;"rock;loud, fast";train\nb/b.wav;pop;train\nc.wav;;test',
    "crlf and a byte order mark": '\ufeffpath,tags,split\r\na.wav,"rock;loud, fast",train\r\n'
    '"b/b.wav","pop","train"\r\nc.wav,,test\r\n',
    "spaces, blank lines and another order": 'tags , split, path\n"loud, fast ; rock",train, a.wav\n\n'
    "pop,train ,b/b.wav\n,test,c.wav\n,,\n",
    "carriage returns alone": 'path,tags,split\ra.wav,"rock;loud, fast",train\r'
    "b/b.wav,pop,train\rc.wav,,test\r",
    "windows and dots": 'path,tags,split\n./a.wav,"rock;loud, fast",Training\nb\\b.wav,pop,train\n'
    "c.wav,,eval\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_of_a_table_with_lists_is_the_same_data_set(tmp_path: Path, text: str) -> None:
    found = load_table(table(tmp_path, text), separators=";")
    assert clips(found) == TRUTH
    assert found.tags == ("loud, fast", "pop", "rock")
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 2, "test": 1}
    assert found.files("test") == [tmp_path / "c.wav"]
    reference = load_table(table(tmp_path, FORMS["tabs"]), separators=";")
    same_protocol(found, reference)


@pytest.mark.parametrize("separator", [";", "|", ",", " ; "])
def test_tags_in_a_list_may_be_separated_in_three_ways(tmp_path: Path, separator: str) -> None:
    text = f'path,tags,split\na.wav,"x{separator}y{separator}y",train\n'
    assert clips(load_table(table(tmp_path, text))) == {"a.wav": {"x", "y"}}


def test_without_separators_a_cell_is_one_tag(tmp_path: Path) -> None:
    text = 'path,tags,split\na.wav,"x, y",train\n'
    assert load_table(table(tmp_path, text), separators="").tags == ("x, y",)


WIDE = (
    "path,rock,pop,loud,split,group\n"
    "a.wav,1,0,TRUE,train,g\nb.wav,no,1.0,,valid,g\nc.wav,0,yes,false,test,h\n"
)


def test_one_column_a_tag_keeps_the_order_of_the_columns(tmp_path: Path) -> None:
    found = load_table(table(tmp_path, WIDE))
    assert found.tags == ("rock", "pop", "loud")
    assert clips(found) == {"a.wav": {"rock", "loud"}, "b.wav": {"pop"}, "c.wav": {"pop"}}
    assert found.train.groups == ("g",)
    assert load_table(table(tmp_path, WIDE), tag_columns=["loud", "pop"]).tags == ("loud", "pop")


@pytest.mark.parametrize(
    "cells", [("1", "0", ""), ("yes", "No", "no"), ("TRUE", "false", "FALSE"), ("1", "", "1")]
)
def test_one_column_of_flags_is_one_tag_and_no_list(tmp_path: Path, cells: tuple[str, ...]) -> None:
    rows = [f"{i}.wav,{cell},train" for i, cell in enumerate(cells)]
    found = load_table(table(tmp_path, "\n".join(["path,vocals,split", *rows])), tag_columns="vocals")
    assert found.tags == ("vocals",)
    assert found.train.labels[:, 0].tolist() == [cell in ("1", "yes", "TRUE") for cell in cells]


def test_a_column_with_any_other_word_is_a_list(tmp_path: Path) -> None:
    text = "path,era,split\na,1,train\nb,0,train\nc,2,train\n"
    assert load_table(table(tmp_path, text), tag_columns="era").tags == ("0", "1", "2")


def test_the_index_that_pandas_writes_is_no_tag(tmp_path: Path) -> None:
    text = ",path,rock,split\n0,a.wav,1,train\n7,b.wav,0,test\n"
    assert load_table(table(tmp_path, text)).tags == ("rock",)


def test_the_only_other_column_has_the_tags(tmp_path: Path) -> None:
    text = "path,genre,split,group\na.wav,rock,train,x\nb.wav,pop,test,y\n"
    assert clips(load_table(table(tmp_path, text))) == {"a.wav": {"rock"}, "b.wav": {"pop"}}
    flags = table(tmp_path, "path,rock,split\na.wav,1,train\nb.wav,0,test\n")
    assert clips(load_table(flags)) == {"a.wav": {"rock"}, "b.wav": set()}


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    text = "file,genre,part,artist\na.wav,rock,train,x\nb.wav,pop,dev,\n"
    found = load_table(
        table(tmp_path, text),
        path_column="file",
        tag_columns="genre",
        split_column="part",
        group_column="artist",
        root="/sound",
    )
    assert clips(found) == {"a.wav": {"rock"}, "b.wav": {"pop"}}
    assert found.train.groups == ("x",)
    assert found.valid.groups == ("b.wav",)
    assert found.files("train") == [Path("/sound/a.wav")]


def test_other_columns_do_no_harm_beside_a_list(tmp_path: Path) -> None:
    text = "path,title,tags,split\na.wav,Anything,rock,train\n"
    assert load_table(table(tmp_path, text)).tags == ("rock",)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("file,tags\na,b\n", {}, r"no column 'path'; there are 'file', 'tags'"),
        ("Path,tags\na,b\n", {}, r"no column 'path'; there are 'Path', 'tags'\. Did you mean 'Path'"),
        ("path,tags\na,b\n", {"group_column": "artist"}, "no column 'artist'"),
        ("path,tags\na,b\n", {"split_column": "part"}, "no column 'part'"),
        ("path,rock\na,1\n", {"tag_columns": ["rock", "pop"]}, "no column 'pop'; there are 'path', 'rock'"),
        ("", {}, "no column 'path'; there are none"),
        ("path,tags\n", {}, "a header and no clips"),
        ("path,tags,tags\na,b,c\n", {}, "more than one column 'tags'"),
        ("path,tags\na,\nb,\n", {}, "no clip has any tag"),
        ("path,rock\na,0\nb,0\n", {}, "no clip has any tag"),
        ("path\na\nb\n", {}, "no clip has any tag"),
        ("path,tags\na,x\n\n./a,y\n", {}, r"a stands in the lines 2 and 4"),
        ("path,tags\na,x\nb/../a,y\n", {}, r"a stands in the lines 2 and 3"),
        ("path,tags\n/s/a,x\nb,y\na,y\n", {"root": "/s"}, r"/s/a stands in the lines 2 and 4"),
        ("path,tags\n/s/x/../a,x\nb,y\n/s/a,y\n", {}, r"/s/a stands in the lines 2 and 4"),
        ("path,tags\n,x\n", {}, "line 2: the path is empty"),
        (f"path,{'x' * 140_000}\na,1\n", {}, r"line 1: field larger than field limit"),
        ("path,tags\na,x,y\n", {}, "line 2: 3 cells in a table of 2 columns"),
        ("path,tags\na\n", {}, "line 2: 1 cells in a table of 2 columns"),
        ('path,tags\na,"x\nb,y\n', {}, r"mine\.csv, line \d: .*quotes"),
        (
            "path,rock,title\na,1,Hello\n",
            {},
            r"line 2: the column 'title' holds 'Hello'.*tag_columns=.*group_column=",
        ),
        ("path,tags,split\na,x,tset\n", {}, r"line 2: 'tset' is no split; .*Did you mean 'test'"),
        ("path,tags,split\na,x,\n", {}, "line 2: '' is no split"),
        ("path,tags\na,x\nb,y\n", {}, "2 groups cannot be split into 3 parts"),
        ("path,tags\na,x\nb,y\nc,z\n", {"shares": (0.5, 0.2)}, "three numbers"),
        ("path,tags\na,x\nb,y\nc,z\n", {"shares": (0.5, 0.2, 0.2)}, "no shares that sum to 1"),
        ("path,tags\na,ü\n".encode("latin-1"), {}, "is not UTF-8"),
        ("path,tags\na,x\n".encode("utf-16")[:-1], {}, "is no whole UTF-16"),
    ],
)
def test_bad_tables_are_refused_with_what_to_do(
    tmp_path: Path, text: str | bytes, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_table(table(tmp_path, text), **options)  # type: ignore[arg-type]
    assert str(tmp_path / "mine.csv") in str(caught.value) or "shares" in options


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no table .*nothing\.csv"):
        load_table(tmp_path / "nothing.csv")


def test_tags_without_a_clip_in_a_split_are_warned_of_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lightmel"):
        load_table(table(tmp_path, "path,tags,split\na,rock;pop,train\nb,rock,valid\nc,pop,test\n"))
    assert [r.getMessage() for r in caplog.records] == [
        "mine: no clip of valid has pop.",
        "mine: no clip of test has rock.",
    ]


def test_groups_in_several_splits_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lightmel"):
        load_table(table(tmp_path, "path,tags,split,group\na,x,train,ann\nb,x,test,ann\n"))
    assert "1 groups, 'ann' among them, have clips in several splits" in caplog.text


# Splits that are made.


def many(folder: Path, n: int = 200, name: str = "mine.csv") -> Path:
    rows = [f"{i}.wav,{'rare' if i % 50 == 0 else 'common'};t{i % 3},artist{i // 4}" for i in range(n)]
    return table(folder, "\n".join(["path,tags,artist", *rows]), name)


def test_made_splits_keep_groups_whole_and_hold_every_tag(tmp_path: Path) -> None:
    found = load_table(many(tmp_path), group_column="artist")
    groups = [set(split.groups) for split in found.splits.values()]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 50
    assert all(found.without_positives(name) == () for name in ("train", "valid", "test"))
    assert len(found.train) == pytest.approx(140, abs=8)
    assert len(clips(found)) == 200


def test_made_splits_depend_on_the_seed_alone(tmp_path: Path) -> None:
    first, again = (load_table(many(tmp_path), group_column="artist") for _ in range(2))
    assert first.train.paths == again.train.paths
    same_protocol(first, again)
    other = load_table(many(tmp_path), group_column="artist", split_seed=1)
    assert first.train.paths != other.train.paths
    with pytest.raises(DataError, match=r"seed 0.*seed 1"):
        same_protocol(first, other)


def test_another_table_of_the_same_name_is_another_protocol(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = load_table(many(tmp_path)), load_table(many(tmp_path / "other", 199))
    assert first.name == second.name
    with pytest.raises(DataError, match="mine"):
        same_protocol(first, second)


def test_a_share_of_nothing_leaves_a_part_out(tmp_path: Path) -> None:
    found = load_table(many(tmp_path), shares=(0.75, 0.25, 0))
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 150, "valid": 50}


# A folder a tag.


def test_a_folder_a_class_is_a_table(tmp_path: Path) -> None:
    for name in (
        "rock/1.mp3",
        "rock/2.WAV",
        "rock/album/3.flac",
        "rock/album/4.flac",
        "pop/1.mp3",
        "pop/2.mp3",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("rock/cover.jpg", "empty/readme.txt", ".hidden/1.mp3", "top.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = load_table(tmp_path)
    assert found.tags == ("pop", "rock")
    assert {tag: sorted(p for p, own in clips(found).items() if own == {tag}) for tag in found.tags} == {
        "pop": ["pop/1.mp3", "pop/2.mp3"],
        "rock": ["rock/1.mp3", "rock/2.WAV", "rock/album/3.flac", "rock/album/4.flac"],
    }
    together = [set(s.paths) for s in found.splits.values() if "rock/album/3.flac" in s.paths]
    assert "rock/album/4.flac" in together[0]
    assert found.root == tmp_path
    assert all(file.is_file() for name in found.splits for file in found.files(name))


def test_a_link_to_the_folder_itself_is_no_tag(tmp_path: Path) -> None:
    music, elsewhere = tmp_path / "music", tmp_path / "elsewhere"
    for folder in (music / "rock", music / "pop", elsewhere):
        folder.mkdir(parents=True)
        for i in range(3):
            (folder / f"{i}.mp3").touch()
    (music / "here").symlink_to(".")
    (music / "above").symlink_to("..")
    (music / "folk").symlink_to(elsewhere)
    found = load_table(music)
    assert found.tags == ("folk", "pop", "rock")
    assert len(clips(found)) == 9


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders with sound"):
        load_table(tmp_path)


def test_folders_of_splits_are_not_taken_for_tags(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp3").touch()
    with pytest.raises(DataError, match="which are splits and no tags"):
        load_table(tmp_path)


def test_labels_are_boolean_for_every_form(tmp_path: Path) -> None:
    assert load_table(table(tmp_path, WIDE)).train.labels.dtype == np.bool_


# What people's programs write.


@pytest.mark.parametrize(
    ("cell", "tags"),
    [
        ("['rock', 'new age']", {"rock", "new age"}),
        ('["rock", "new age"]', {"rock", "new age"}),
        ("['rock' 'new age']", {"rock", "new age"}),  # NumPy's
        ("['rock'\n 'new age']", {"rock", "new age"}),
        ("array(['rock', 'new age'], dtype=object)", {"rock", "new age"}),
        ("{'rock', 'new age'}", {"rock", "new age"}),
        ("frozenset({'rock', 'new age'})", {"rock", "new age"}),
        ("('rock',)", {"rock"}),
        ("['rock']", {"rock"}),
        ("[rock, new age]", {"rock", "new age"}),
        ("[ 'drum, bass' ]", {"drum, bass"}),
        ("[\"Rock 'n' Roll\", 'it\\'s']", {"Rock 'n' Roll", "it's"}),
        ('["fl\\u00fbte", "\\ud83c\\udfb5"]', {"flûte", "\U0001f3b5"}),
        ("['flu\u0302te']", {"flûte"}),
        ("[None, 'rock', nan]", {"rock"}),
        ("[1980, 1990]", {"1980", "1990"}),
        ("rock;nan", {"rock"}),
        ("rock;None", {"rock"}),
        ("rock;none", {"rock", "none"}),
        ("(live)", {"(live)"}),
        ("rock [live]", {"rock [live]"}),
        ("(What's the story)", {"(What's the story)"}),
        ("rock | pop , new age;", {"rock", "pop", "new age"}),
        *((cell, set()) for cell in ("[]", "['nan']", "[None]", "NaN", "None", "none", "null", "<NA>", "{}")),
    ],
)
def test_a_cell_is_the_list_that_its_writer_meant(tmp_path: Path, cell: str, tags: set[str]) -> None:
    text = '"{}"'.format(cell.replace('"', '""'))
    found = load_table(table(tmp_path, f"path,tags,split\na.wav,{text},train\nb.wav,other,test\n"))
    assert clips(found) == {"a.wav": tags, "b.wav": {"other"}}


@pytest.mark.parametrize(
    "cell",
    [
        *("['rock', ['new age']]", "['rock'", '["rock]', "[['rock']]", "{'rock': 0.5}"),
        *("[{'id': 1, 'name': 'rock'}]", '{"name": "rock"}'),
    ],
)
def test_a_list_that_is_cut_is_no_tag(tmp_path: Path, cell: str) -> None:
    text = '"{}"'.format(cell.replace('"', '""'))
    with pytest.raises(DataError, match=r"mine\.csv: .* begins as a list of Python or JSON, and is no list"):
        load_table(table(tmp_path, f"path,tags,split\na.wav,{text},train\n"))


@pytest.mark.parametrize("nothing", ["NaN", "None", "<NA>", ""])
def test_nothing_is_no_tag_no_group_and_no_flag(tmp_path: Path, nothing: str) -> None:
    text = f"path,rock,group,split\na.wav,1,{nothing},train\nb.wav,{nothing},{nothing},train\n"
    found = load_table(table(tmp_path, text))
    assert clips(found) == {"a.wav": {"rock"}, "b.wav": set()}
    assert found.train.groups == ("a.wav", "b.wav"), "clips of unknown groups are not one group"


def test_two_forms_of_a_letter_are_one_tag(tmp_path: Path) -> None:
    found = load_table(table(tmp_path, "path,tags,split\na,flu\u0302te,train\nb,fl\u00fbte,test\n"))
    assert found.tags == ("flûte",)
    wide = table(tmp_path, "path,flu\u0302te,split\na,1,train\nb,0,test\n")
    assert load_table(wide, tag_columns=["fl\u00fbte"]).tags == ("flûte",)
    for name in ("flu\u0302te", "fl\u00fbte", "harp"):
        (tmp_path / "tags" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "tags" / name / f"{i}.wav").touch()
    folder = load_table(tmp_path / "tags")
    assert folder.tags == ("flûte", "harp")
    assert all(file.is_file() for part in folder.splits for file in folder.files(part))
    assert sum(map(bool, (own == {"flûte"} for own in clips(folder).values()))) == 6


SPELLINGS = {
    "a,Rock;ROCK,train\nb,rock,train\nc,rock;pop,test": (
        ("pop", "rock"),
        "'ROCK' (1) and 'Rock' (1) and 'rock' (2) as 'rock'",
    ),
    "a,Rock,train\nb,rock,train\nc,pop,test": (("Rock", "pop"), "'Rock' (1) and 'rock' (1) as 'Rock'"),
    "a,new  age,train\nb,new age,train\nc,new age ,test": (
        ("new age",),
        "'new  age' (1) and 'new age' (2) as 'new age'",
    ),
    "a,hip-hop,train\nb,hip hop,train\nc,-1;1,test": (("-1", "1", "hip hop", "hip-hop"), ""),
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_tags_that_differ_in_case_or_spaces_are_one_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    tags, told = SPELLINGS[text]
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = load_table(table(tmp_path, f"path,tags,split\n{text}\n"))
    assert found.tags == tags
    said = [r.getMessage() for r in caplog.records if "taken for one" in r.getMessage()]
    start = f"{tmp_path / 'mine.csv'}: tags that differ in case or spaces only are taken for one"
    assert said == ([f"{start}: {told}."] if told else [])


def test_columns_and_folders_that_differ_in_case_are_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lightmel"):
        found = load_table(table(tmp_path, "path,Rock,rock,pop,split\na,1,0,1,train\nb,0,1,0,train\n"))
    assert clips(found) == {"a": {"Rock", "pop"}, "b": {"Rock"}}
    assert "'Rock' (1) and 'rock' (1) as 'Rock'" in caplog.text
    for name in ("Rock/1.wav", "Rock/2.wav", "rock/1.wav", "pop/1.wav"):
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "music" / name).touch()
    if len(list((tmp_path / "music").iterdir())) == 3:  # where names of files keep their case apart
        folder = load_table(tmp_path / "music")
        assert folder.tags == ("Rock", "pop")
        assert {p for p, own in clips(folder).items() if "Rock" in own} == {
            "Rock/1.wav", "Rock/2.wav", "rock/1.wav",
        }  # fmt: skip


CLUTTER = ("._1.wav", ".hidden.wav", ".AppleDouble/1.wav", "@eaDir/1.wav", "@eaDir/2.wav/x.mp3",
           "__MACOSX/._1.wav", "__MACOSX/1.wav", ".Trash-1000/1.mp3", "$RECYCLE.BIN/1.wav", "Thumbs.db",
           ".DS_Store", "desktop.ini")  # fmt: skip


def test_clutter_in_folders_is_neither_tag_nor_clip(tmp_path: Path) -> None:
    for name in ("rock/1.wav", "rock/2.wav", "pop/1.wav", "pop/2.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for place in (".", "rock", "rock/album"):
        for name in CLUTTER:
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / name).touch()
    found = load_table(tmp_path)
    assert found.tags == ("pop", "rock")
    assert sorted(clips(found)) == ["pop/1.wav", "pop/2.wav", "rock/1.wav", "rock/2.wav"]


def test_a_tilde_in_names_of_tables_and_folders_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    table(tmp_path, "path,tags,split\na.wav,x,train\n")
    found = load_table("~/mine.csv", root="~/sound")
    assert found.files("train") == [tmp_path / "sound" / "a.wav"]
