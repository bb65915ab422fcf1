"""Sound files below a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightmel import audio
from lightmel.errors import AudioError


def test_sound_files_are_found_below_a_folder_in_their_order(tmp_path: Path) -> None:
    for name in ("b/2.MP3", "b/1.wav", "a.flac", "c/d/e.ogg", "notes.txt", "cover.jpg", "mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    found = audio.find(tmp_path)
    assert found == [tmp_path / name for name in ("a.flac", "b/1.wav", "b/2.MP3", "c/d/e.ogg")]
    assert audio.find(str(tmp_path)) == found


@pytest.mark.parametrize("suffix", audio.SUFFIXES)
def test_every_suffix_is_found(suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}"]
    for path in paths:
        path.touch()
    assert audio.find(tmp_path) == paths


def test_a_folder_without_sound_is_refused_unless_it_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(AudioError, match=r"no sound below .*: it looks for \.mp3 \.flac .*\.m4a"):
        audio.find(tmp_path)
    assert audio.find(tmp_path, empty=True) == []


@pytest.mark.parametrize("empty", [False, True])
def test_what_is_no_folder_is_refused(empty: bool, tmp_path: Path) -> None:
    file = tmp_path / "song.wav"
    file.touch()
    for path in (file, tmp_path / "nowhere"):
        with pytest.raises(AudioError, match=r"no folder .*(song\.wav|nowhere)"):
            audio.find(path, empty=empty)


def test_what_systems_leave_in_folders_is_no_music(tmp_path: Path) -> None:
    music = tmp_path / ".music"  # a hidden folder that is named is searched
    clutter = (
        "._a.wav", ".b.wav", ".AppleDouble/a.wav", "@eaDir/a.wav/b.mp3", "@eaDir/d.wav", "c/@eaDir/a.mp3",
        "__MACOSX/a.wav", "__MACOSX/c/._a.wav", "#recycle/a.mp3", "$RECYCLE.BIN/a.mp3", "lost+found/a.wav",
        "System Volume Information/a.wav", ".Trash-1000/files/a.wav", "Thumbs.db", ".DS_Store",
    )  # fmt: skip
    kept = ("a.wav", "c/a.mp3", "c/_a.wav", "@home/a.wav", "c/a.b.wav")
    for name in (*clutter, *kept):
        (music / name).parent.mkdir(parents=True, exist_ok=True)
        if not (music / name).is_dir():
            (music / name).touch()
    assert audio.find(music) == sorted(music / name for name in kept)
    assert [audio.is_left_out(name) for name in ("@EADIR", "._x", "x._", "thumbs")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("name", ["a" * 10_000, "a\0b"])
def test_what_is_no_name_is_no_folder(name: str) -> None:
    with pytest.raises(AudioError, match="There is no folder"):
        audio.find(name)


def test_a_folder_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By a scandir that refuses: whoever runs the tests may read everything."""
    (tmp_path / "closed").mkdir()
    for name in ("a.wav", "closed/b.wav"):
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(place: str) -> Iterator[os.DirEntry[str]]:
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with caplog.at_level(logging.WARNING, "lightmel"):
        assert audio.find(tmp_path) == [tmp_path / "a.wav"]
    assert caplog.messages == [
        f"{tmp_path / 'closed'}: this folder cannot be read (Permission denied) and is left out."
    ]


def test_a_link_that_leads_nowhere_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "cover.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "two\nlines.wav").symlink_to("nowhere.wav")
    said = f"{tmp_path}{os.sep}two\\nlines.wav: this link leads nowhere and is left out."
    for search in (audio.find, lambda place: [path for path, _ in audio.find_all([place])]):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "lightmel"):
            assert search(tmp_path) == [tmp_path / "a.wav"]
        assert caplog.messages == [said]


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def found(*places: Path, exclude: tuple[str, ...] = ()) -> list[str]:
    paths = [path for path, error in audio.find_all(places, exclude) if error is None]
    assert paths == sorted(paths)
    return [path.relative_to(places[0].parent).as_posix() for path in paths]


def test_several_places_give_each_file_once_in_order(tmp_path: Path) -> None:
    put(tmp_path, "m/b/2.mp3", "m/a.flac", "m/.hidden.mp3", "m/@eaDir/x.mp3", "m/cover.jpg", "n/3.OGG")
    music, other = tmp_path / "m", tmp_path / "n"
    assert found(music, other, music / "b", music / "b" / "2.mp3") == ["m/a.flac", "m/b/2.mp3", "n/3.OGG"]
    assert found(music / "cover.jpg") == ["cover.jpg"]  # a file that is named may be called anything


def test_links_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path, "m/b/1.mp3", "elsewhere/2.mp3", "elsewhere/deep/3.mp3", "single.mp3")
    music = tmp_path / "m"
    (music / "a-link-to-b").symlink_to(music / "b")
    (music / "b" / "loop").symlink_to(music)
    (music / "away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(music)
    (music / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (music / "0.mp3").symlink_to(music / "b" / "1.mp3")
    (music / "one.mp3").symlink_to(tmp_path / "single.mp3")
    (music / "two.mp3").symlink_to(tmp_path / "single.mp3")
    (music / "dangling.mp3").symlink_to(tmp_path / "nothing.mp3")
    names = found(music)
    assert len(names) == 4
    assert names[0] in ("m/again/3.mp3", "m/away/2.mp3")
    assert "m/b/1.mp3" in names  # by the name without a link
    assert sum(name.endswith(("one.mp3", "two.mp3")) for name in names) == 1
    assert found(music) == names


@pytest.mark.parametrize(
    ("exclude", "names"),
    [
        ((), ["a/1.mp3", "a/live/2.wav", "b/3.wav"]),
        (("*.wav",), ["a/1.mp3"]),
        (("live",), ["a/1.mp3", "b/3.wav"]),
        (("a/live",), ["a/1.mp3", "b/3.wav"]),
        (("a/*",), ["b/3.wav"]),
        (("a/",), ["b/3.wav"]),
        (("*.mp3", "b"), ["a/live/2.wav"]),
    ],
)
def test_what_is_excluded_is_left_out(tmp_path: Path, exclude: tuple[str, ...], names: list[str]) -> None:
    put(tmp_path, "m/a/1.mp3", "m/a/live/2.wav", "m/b/3.wav")
    assert found(tmp_path / "m", exclude=exclude) == [f"m/{name}" for name in names]


def test_a_place_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="There is no file or folder"):
        list(audio.find_all([tmp_path / "nowhere"]))
