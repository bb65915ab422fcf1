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
