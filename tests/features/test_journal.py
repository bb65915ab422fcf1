"""The files of a store: whenever the writer dies, a reader sees whole clips, and the next writer goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightmel.errors import DataError
from lightmel.features import FeatureStore, journal
from lightmel.features.journal import (
    DESCRIPTION,
    FEATURES,
    INDEX,
    Appender,
    Description,
    checksum,
    read_index,
)
from lightmel.frontends import PAPER_CONFIGS, MelConfig

ABOUT = Description(MelConfig(16_000, 8, 1, "db"), "float32", 29.1)
CLIPS = {f"clip {i}": bytes([i + 1]) * (32 * (1 + i % 3)) for i in range(8)}
REASON = "is no sound."

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: what a process wrote is there after its death, whether or not the disk has it."""
    monkeypatch.setattr(journal.os, "fsync", lambda descriptor: None)


def fill(
    folder: Path, clips: dict[str, bytes] = CLIPS, *, failed: str | None = "clip 4", each: bool = True
) -> None:
    """Add what is missing; `each` clip is put on the disk at once, or all at the end."""
    with Appender(folder, ABOUT) as store:
        for key, clip in clips.items():
            if key not in store.index:
                if key == failed:
                    store.fail(key, REASON)
                else:
                    store.add(key, len(clip) // 32, clip)
                if each:
                    store.commit()


def contents(folder: Path) -> tuple[bytes, bytes, bytes]:
    description, data, index = ((folder / name).read_bytes() for name in (DESCRIPTION, FEATURES, INDEX))
    return description, data, index


def sound_prefix(folder: Path) -> int:
    """Check that a reader sees the first clips, whole, and nothing else; return how many."""
    index = read_index(folder, ABOUT)
    data = (folder / FEATURES).read_bytes() if (folder / FEATURES).exists() else b""
    seen = [*index.clips, *index.failed]
    assert sorted(seen) == list(CLIPS)[: len(seen)]
    for key, place in index.clips.items():
        clip = data[place.offset : place.offset + ABOUT.layout.n_bytes(place.frames)]
        assert clip == CLIPS[key]
        assert place.crc32 == checksum(key, place.offset, place.frames, clip)
    return len(seen)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "store"
    fill(folder)
    return folder


def test_what_is_added_is_read_in_its_order(whole: Path) -> None:
    index = read_index(whole, ABOUT)
    assert list(index.clips) == [key for key in CLIPS if key != "clip 4"]
    assert index.failed == {"clip 4": REASON}
    assert [place.frames for place in index.clips.values()] == [1, 2, 3, 1, 3, 1, 2]
    assert journal.read_description(whole) == ABOUT
    assert sound_prefix(whole) == len(CLIPS)


def test_when_lines_are_written_does_not_change_them(whole: Path, tmp_path: Path) -> None:
    fill(tmp_path, each=False)
    assert contents(tmp_path) == contents(whole)


def test_what_a_clip_was_made_of_is_kept_with_it(tmp_path: Path) -> None:
    with Appender(tmp_path, ABOUT) as store:
        store.add("a", 1, CLIPS["clip 0"], (3, 2**62))
        store.fail("b", REASON, (4, 5))
        store.add("c", 1, CLIPS["clip 0"], (6, 7))
        store.add("c", 1, CLIPS["clip 0"])
    index = read_index(tmp_path, ABOUT)
    assert index.origins == store.index.origins == {"a": (3, 2**62), "b": (4, 5)}
    assert json.loads((tmp_path / INDEX).read_text().splitlines()[0])["origin"] == [3, 2**62]


# A kill


@pytest.mark.parametrize("each", [True, False])
def test_killed_after_any_byte_nothing_is_lost_and_the_end_is_the_same(
    each: bool, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, bytes]] = []
    real = os.write

    def note(descriptor: int, data: Any) -> int:
        names = {(tmp_path / "first" / name).stat().st_ino: name for name in (FEATURES, INDEX)}
        written.append((names[os.fstat(descriptor).st_ino], bytes(data)))
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", note)
        fill(tmp_path / "first", each=each)
    total = sum(len(data) for _, data in written)
    seen = []
    for cut in range(0, total + 1, 7):
        folder = tmp_path / "cut"
        folder.mkdir()
        shutil.copy(whole / DESCRIPTION, folder)
        rest = cut
        for name, data in written:
            with (folder / name).open("ab") as file:
                file.write(data[:rest])
            rest -= min(rest, len(data))
        seen.append(sound_prefix(folder))
        fill(folder)
        assert contents(folder) == contents(whole)
        shutil.rmtree(folder)
    assert seen == sorted(seen)
    assert set(seen) >= set(range(len(CLIPS)))


def test_data_are_on_the_disk_before_the_lines_that_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    real = os.write

    def name_of(descriptor: int) -> str:
        return FEATURES if os.fstat(descriptor).st_ino == (tmp_path / FEATURES).stat().st_ino else INDEX

    def write(descriptor: int, data: Any) -> int:
        done.append(("write", name_of(descriptor)))
        return real(descriptor, data)

    with Appender(tmp_path, ABOUT) as store:
        monkeypatch.setattr(journal.os, "write", write)
        monkeypatch.setattr(
            journal.os, "fsync", lambda descriptor: done.append(("sync", name_of(descriptor)))
        )
        store.add("a", 1, CLIPS["clip 0"])
        store.add("b", 1, CLIPS["clip 0"])
    assert done == [
        ("write", FEATURES),
        ("write", FEATURES),
        ("sync", FEATURES),
        ("write", INDEX),
        ("sync", INDEX),
    ]


def test_lines_are_written_every_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(journal.time, "monotonic", lambda: now)
    seen = []
    with Appender(tmp_path, ABOUT) as store:
        for key, clip in CLIPS.items():
            now += 0.9
            store.add(key, len(clip) // 32, clip)
            seen.append(len(read_index(tmp_path, ABOUT).clips))
    assert seen == [0, 0, 3, 3, 3, 6, 6, 6]


@pytest.mark.parametrize(
    "junk", [b"{", b'{"key": "clip 7", "offset"', b"\0" * 9, b'{"key": "x", "failed": "y"}']
)
def test_a_torn_last_line_is_not_seen_and_is_cut_off(junk: bytes, whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "torn")
    with (folder / INDEX).open("ab") as file:
        file.write(junk)
    assert sound_prefix(folder) == len(CLIPS)
    fill(folder)
    assert contents(folder) == contents(whole)


def test_data_that_no_line_names_are_cut_off(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "torn")
    with (folder / FEATURES).open("ab") as file:
        file.write(b"half a clip")
    assert sound_prefix(folder) == len(CLIPS)
    fill(folder)
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize("left", [[], [FEATURES], [f".{DESCRIPTION}.abc"], [FEATURES, f".{DESCRIPTION}.abc"]])
def test_what_a_writer_leaves_that_was_killed_at_once_is_no_hindrance(
    left: list[str], whole: Path, tmp_path: Path
) -> None:
    for name in left:
        (tmp_path / name).touch()
    fill(tmp_path)
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_added_is_kept_when_the_work_ends_with_an_error(
    error: type[BaseException], whole: Path, tmp_path: Path
) -> None:
    def work() -> None:
        with Appender(tmp_path, ABOUT) as store:
            store.add("clip 0", 1, CLIPS["clip 0"])
            raise error

    with pytest.raises(error):
        work()
    assert sound_prefix(tmp_path) == 1
    fill(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_of_two_lines_with_one_key_the_later_counts(tmp_path: Path) -> None:
    with Appender(tmp_path, ABOUT) as store:
        store.add("a", 1, CLIPS["clip 0"])
        store.fail("b", REASON)
        store.add("b", 2, CLIPS["clip 1"])
        store.add("a", 3, CLIPS["clip 2"])
        store.fail("c", REASON)
        store.fail("c", "still not.")
    index = read_index(tmp_path, ABOUT)
    assert {key: place.frames for key, place in index.clips.items()} == {"b": 2, "a": 3}
    assert index.failed == {"c": "still not."}
    with Appender(tmp_path, ABOUT) as store:
        store.fail("a", REASON)
    index = read_index(tmp_path, ABOUT)
    assert (list(index.clips), list(index.failed)) == (["b"], ["c", "a"])


# A full disk


class Disk:
    """So many bytes of room in both files; a write that does not fit writes what does, as disks do."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder, self.room, self.write = folder, room, os.write

    def __call__(self, descriptor: int, data: Any) -> int:
        used = sum((self.folder / name).stat().st_size for name in (FEATURES, INDEX))
        if used >= self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.write(descriptor, bytes(data)[: self.room - used])


@pytest.mark.parametrize("each", [True, False])
def test_a_full_disk_is_named_and_keeps_what_was_done(
    each: bool, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(len(part) for part in contents(whole)[1:])
    seen = []
    for room in range(0, total, 29):
        folder = tmp_path / str(room)
        with monkeypatch.context() as patch:
            patch.setattr(journal.os, "write", Disk(folder, room))
            with pytest.raises(DataError, match=r"No space left on device\. What was done is kept"):
                fill(folder, each=each)
        seen.append(sound_prefix(folder))
        fill(folder)
        assert contents(folder) == contents(whole)
    if each:
        assert seen == sorted(seen)
        assert set(seen) >= set(range(len(CLIPS)))


def test_clips_before_the_one_that_did_not_fit_get_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = sum(len(clip) for clip in list(CLIPS.values())[:3]) + 3 * 90  # not for the fourth and all lines
    large = dict(list(CLIPS.items())[:3]) | {"clip 3": bytes(32 * 40)}
    monkeypatch.setattr(journal.os, "write", Disk(tmp_path, room))
    with pytest.raises(DataError, match="No space"):
        fill(tmp_path, large, each=False)
    assert sound_prefix(tmp_path) == 3


def test_lines_that_were_half_written_are_written_again_once_there_is_room(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = os.write, 0

    def write(descriptor: int, data: Any) -> int:
        nonlocal tries
        if os.fstat(descriptor).st_ino == (tmp_path / INDEX).stat().st_ino:
            tries += 1
            if tries == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, bytes(data)[: 100 if tries == 1 else None])
        return real(descriptor, data)

    def work() -> None:
        with Appender(tmp_path, ABOUT) as store:
            for key in list(CLIPS)[:4]:
                store.add(key, len(CLIPS[key]) // 32, CLIPS[key])
            store.commit()

    monkeypatch.setattr(journal.os, "write", write)
    with pytest.raises(DataError, match="No space"):
        work()
    assert sound_prefix(tmp_path) == 4
    fill(tmp_path)
    assert contents(tmp_path) == contents(whole)


# What is refused


@pytest.mark.parametrize(
    "other",
    [
        Description(ABOUT.config.replace(hop_factor=2), "float32", 29.1),
        Description(ABOUT.config, "float16", 29.1),
        Description(ABOUT.config, "float32", None),
    ],
    ids=str,
)
def test_a_store_of_other_features_is_refused_and_left_alone(
    other: Description, whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "store")
    with pytest.raises(DataError, match=r"is a store of other features .*wanted: .*choose another folder"):
        Appender(folder, other)
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize("name", ["song.mp3", FEATURES, INDEX, ".hidden"])
def test_a_folder_of_other_things_is_refused_and_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(DataError, match="holds files, but no feature store"):
        Appender(tmp_path, ABOUT)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, b"mine")]


@pytest.mark.parametrize("name", [FEATURES, "mels.bin"])
def test_what_a_writer_leaves_that_was_killed_at_once_is_no_other_thing(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (tmp_path / ".store.json.abc").write_bytes(b"{")
    with Appender(tmp_path, ABOUT) as store:
        assert store.index.clips == {}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(DataError, match="cannot be written: File exists"):
        Appender(tmp_path / "store", ABOUT)


def test_two_writers_at_once_are_refused(whole: Path, tmp_path: Path) -> None:
    first = list(CLIPS)[:3]
    with Appender(tmp_path, ABOUT) as store:
        for key in first:
            store.add(key, len(CLIPS[key]) // 32, CLIPS[key])
        with pytest.raises(DataError, match="Another process is writing"):
            Appender(tmp_path, ABOUT)
    assert sound_prefix(tmp_path) == 3
    fill(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_of_two_who_begin_at_once_the_second_does_not_say_what_the_features_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Description(ABOUT.config, "uint8", None)
    look = Appender._refuse_others
    others: list[Appender] = []

    def first_comes_in_between(self: Appender) -> None:
        look(self)
        if not others:
            others.append(self)
            others.append(Appender(tmp_path, ABOUT))

    monkeypatch.setattr(Appender, "_refuse_others", first_comes_in_between)
    with pytest.raises(DataError, match="Another process is writing"):
        Appender(tmp_path, other)
    with others[1]:
        assert journal.read_description(tmp_path) == ABOUT


def test_a_reader_does_not_mind_a_writer_between_its_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Appender(tmp_path, ABOUT) as store:
        todo = iter(CLIPS.items())
        real = Path.read_bytes

        def more(path: Path) -> bytes:
            key, clip = next(todo)
            store.add(key, len(clip) // 32, clip)
            store.commit()
            return real(path)

        monkeypatch.setattr(Path, "read_bytes", more)
        assert len(read_index(tmp_path, ABOUT).clips) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{\n",
        b"[]\n",
        b"5\n",
        b'{"key": "a"}\n',
        b'{"key": 1, "failed": "x"}\n',
        b'{"key": "a", "offset": -4, "frames": 1, "crc32": 0}\n',
        b'{"key": "a", "offset": 0, "frames": 0, "crc32": 0}\n',
        b'{"key": "a", "offset": 0, "frames": 1.5, "crc32": 0}\n',
        b'{"key": "a", "offset": true, "frames": 1, "crc32": 0}\n',
        b'{"key": "a", "offset": 0, "frames": 1, "crc32": 0, "origin": [1.5]}\n',
        b'{"key": "a", "failed": "x", "origin": "12"}\n',
        b'{"key": "a", "failed": "x", "origin": 5}\n',
        b"\xff\xfe\n",
    ],
)
def test_a_damaged_line_is_named(line: bytes, whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "store")
    lines = (folder / INDEX).read_bytes().splitlines(keepends=True)
    (folder / INDEX).write_bytes(b"".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(DataError, match=r"index\.jsonl, line 3 is damaged: cut the file before"):
        read_index(folder, ABOUT)
    (folder / INDEX).write_bytes(b"".join(lines[:2]))  # what the message says
    fill(folder)
    assert contents(folder) == contents(whole)


def test_data_shorter_than_the_index_says_are_refused(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "store")
    size = (folder / FEATURES).stat().st_size
    os.truncate(folder / FEATURES, size - 1)
    with pytest.raises(DataError, match=rf"features\.bin has {size - 1} bytes where its index names {size}"):
        read_index(folder, ABOUT)
    (folder / FEATURES).unlink()
    with pytest.raises(DataError, match="has 0 bytes"):
        Appender(folder, ABOUT)


def broken_descriptions() -> Iterator[bytes]:
    good = json.loads(ABOUT.to_json())
    yield b""
    yield b"[]"
    yield b"\xff"
    for change in (
        {"format": "lightmel-store-3"},
        {"dtype": "int8"},
        {"frontend": {"kind": "mel", "sr": 1}},
        {"frontend": {"kind": "mel", "n": 1}},
        {"frontend": {"sr": 16_000}},
        {"frontend": None},
        {"frontend": "16k-mel8-x1-db"},
    ):
        yield json.dumps(good | change).encode()
    for name in good:
        yield json.dumps({key: value for key, value in good.items() if key != name}).encode()


@pytest.mark.parametrize("text", list(broken_descriptions()))
def test_a_description_that_cannot_be_read_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_bytes(text)
    with pytest.raises(DataError, match=r"store\.json cannot be read"):
        journal.read_description(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": "lightmel-store-3"},
            r"its format is 'lightmel-store-3', and this version of lightmel reads 'lightmel-store-2' and "
            r"'lightmel-store-1'; a newer one may read it\)",
        ),
        (
            {"frontend": {"kind": "mell", "sr": 16_000}},
            r"no front end 'mell' .*Did you mean 'mel'\?.*lightmel\.frontends\.register.*a newer lightmel",
        ),
        ({"frontend": {"kind": "mel", "sr": 1}}, "This mel configuration cannot work"),
        ({"dtype": "int8"}, "dtype is one of float32, float16, uint8, uint4, not 'int8'"),
    ],
    ids=str,
)
def test_why_a_description_cannot_be_read_is_said(
    change: dict[str, Any], message: str, whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "store")
    document = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(document | change))
    before = contents(folder)
    for read in (FeatureStore.open, lambda folder: Appender(folder, ABOUT)):
        with pytest.raises(DataError, match=rf"store\.json cannot be read[: ].*{message}"):
            read(folder)
    assert contents(folder) == before


def test_the_description_is_of_format_2_and_holds_the_front_end_with_its_kind() -> None:
    assert json.loads(ABOUT.to_json()) == {
        "format": "lightmel-store-2",
        "frontend": {
            "kind": "mel",
            "sr": 16_000,
            "n_mels": 8,
            "hop_factor": 1,
            "log": "db",
            "mel_scale": "slaney",
            "mel_norm": "slaney",
            "pad_mode": "zeros",
        },
        "dtype": "float32",
        "excerpt_seconds": 29.1,
    }


def test_a_folder_without_description_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no feature store"):
        journal.read_description(tmp_path)


# What is told


@given(
    st.builds(
        Description,
        st.sampled_from(PAPER_CONFIGS),
        st.sampled_from(["float32", "float16", "uint8", "uint4"]),
        st.none() | st.floats(0.01, 1e4),
    )
)
def test_descriptions_come_back(description: Description) -> None:
    assert Description.from_json(description.to_json()) == description


@one_folder
@given(keys=st.lists(st.text(st.characters()), min_size=1, unique=True), reason=st.text())
def test_any_text_is_a_key(keys: list[str], reason: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("keys")
    keys = [*keys, "name that is no \udcff UTF-8\n"]
    with Appender(folder, ABOUT) as store:
        for key in keys[1:]:
            store.add(key, 1, CLIPS["clip 0"])
        store.fail(keys[0], reason)
    index = read_index(folder, ABOUT)
    assert list(index.clips) == keys[1:]
    assert index.failed == {keys[0]: reason}


@given(
    a=st.tuples(st.text(), st.integers(0, 2**40), st.integers(1, 2**20), st.binary(max_size=64)),
    b=st.tuples(st.text(), st.integers(0, 2**40), st.integers(1, 2**20), st.binary(max_size=64)),
    which=st.integers(0, 3),
)
def test_a_checksum_sees_key_place_and_bytes(a: Any, b: Any, which: int) -> None:
    changed = (*a[:which], b[which], *a[which + 1 :])
    assert (checksum(*changed) == checksum(*a)) == (changed == a)
