"""Mixtures of notes: their tags are what is in them, and the same notes make the same bytes."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightmel.datasets import MixtureConfig, load_table, make_mixtures
from lightmel.errors import ConfigError, DataError

MakeNotes = Callable[[Path, dict[str, float], str], Path]
INSTRUMENTS = {"bass": 110.0, "horn": 440.0, "flute": 1_760.0, "bell": 5_000.0}
FEW = MixtureConfig(train=24, valid=4, test=8)


@pytest.fixture(scope="module")
def notes(make_notes: MakeNotes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_notes(tmp_path_factory.mktemp("notes"), INSTRUMENTS, "split")


@pytest.fixture(scope="module")
def mixtures(notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mixtures(notes, tmp_path_factory.mktemp("mixtures") / "new" / "folder", FEW)


def test_the_tags_of_a_mixture_are_the_notes_in_it(mixtures: Path) -> None:
    with mixtures.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    for row in rows:
        wave, sr = soundfile.read(mixtures.parent / row["path"])
        assert (len(wave), sr) == (5 * 16_000, 16_000)
        assert np.abs(wave).max() == pytest.approx(0.7, abs=0.02)
        power = np.abs(np.fft.rfft(wave)) ** 2
        reach = 2 ** (3.2 / 12) if row["split"] == "train" else 1.02
        bins = {name: (int(5 * p / reach), int(5 * p * reach)) for name, p in INSTRUMENTS.items()}
        near = {name: power[low : high + 1].sum() / power.sum() for name, (low, high) in bins.items()}
        assert {name for name, part in near.items() if part > 0.01} == set(row["tags"].split(";"))
        assert 2 <= len(row["tags"].split(";")) <= 4


def test_they_are_a_data_set(mixtures: Path) -> None:
    data = load_table(mixtures)
    assert data.tags == tuple(sorted(INSTRUMENTS))
    assert [len(data.split(name)) for name in ("train", "valid", "test")] == [24, 4, 8]


def test_the_same_again_and_what_is_there_is_kept(notes: Path, mixtures: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    (tmp_path / "train").mkdir()
    kept = tmp_path / "train" / "0003.flac"
    shutil.copy(mixtures.parent / "train" / "0003.flac", kept)
    before = kept.stat().st_mtime_ns
    again = make_mixtures(notes, tmp_path, FEW, lambda *words: told.append(words))
    for path in sorted(mixtures.parent.rglob("*.*")):
        assert (tmp_path / path.relative_to(mixtures.parent)).read_bytes() == path.read_bytes()
    assert again.read_bytes() == mixtures.read_bytes()
    assert kept.stat().st_mtime_ns == before
    assert told[-1] == ("mixing", 36, 36)


def test_another_seed_makes_others(notes: Path, mixtures: Path, tmp_path: Path) -> None:
    other = make_mixtures(notes, tmp_path, MixtureConfig(train=2, valid=1, test=1, seed=1, seconds=2.0))
    wave, _ = soundfile.read(other.parent / "train" / "0000.flac")
    first, _ = soundfile.read(mixtures.parent / "train" / "0000.flac")
    assert len(wave) == 2 * 16_000
    assert not np.array_equal(wave, first[: len(wave)])


def test_clips_of_something_else_are_not_kept(notes: Path, tmp_path: Path) -> None:
    few = MixtureConfig(train=2, valid=1, test=1, seconds=2.0)
    table = make_mixtures(notes, tmp_path, few)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for other in (replace(few, seed=1), replace(few, seconds=1.0)):
        with pytest.raises(DataError, match="holds mixtures of other notes"):
            make_mixtures(notes, tmp_path, other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    make_mixtures(notes, tmp_path, replace(few, train=3))
    assert len(table.read_text().splitlines()) == 6
    (tmp_path / "mixtures.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        make_mixtures(notes, tmp_path, few)


def test_what_cannot_be_mixed(notes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train, valid and test are at least 1"):
        MixtureConfig(train=0)
    with pytest.raises(DataError, match="has no column 'part'"):
        make_mixtures(notes, tmp_path, MixtureConfig(split_column="part"))
    lines = notes.read_text().splitlines()
    wrong = notes.parent / "wrong.csv"
    wrong.write_text("\n".join([lines[0], lines[1].replace("train", "dev"), *lines[2:]]) + "\n")
    with pytest.raises(DataError, match=r"line 2: split is train, valid or test, not 'dev'"):
        make_mixtures(wrong, tmp_path, FEW)
    wrong.write_text("\n".join(line for line in lines if "bell" not in line) + "\n")
    with pytest.raises(DataError, match="train has notes of 3 instruments"):
        make_mixtures(wrong, tmp_path, FEW)
    (tmp_path / "train").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        make_mixtures(notes, tmp_path, FEW)
    with pytest.raises(DataError, match="train is a file, and a folder is wanted"):
        make_mixtures(notes, tmp_path / "train", FEW)


def test_notes_that_nothing_can_be_made_of_are_left_out(
    notes: Path, mixtures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = {"loud": np.full(8_000, 1e25), "silent": np.zeros(8_000), "nan": np.full(8_000, np.nan)}
    for name, wave in odd.items():
        soundfile.write(notes.parent / f"{name}.wav", wave, 16_000, subtype="DOUBLE")
    lines = notes.read_text().splitlines()
    columns = lines[0].split(",")
    more = [
        ",".join({"path": f"{name}.wav", "instrument": "horn", "split": "train"}.get(c, "") for c in columns)
        for name in odd
    ]
    table = notes.parent / "odd.csv"
    table.write_text("\n".join([*lines, *more]) + "\n")
    made = make_mixtures(table, tmp_path / "out", FEW)
    assert made.read_bytes() == mixtures.read_bytes()
    for path in mixtures.parent.rglob("*.flac"):
        assert (made.parent / path.relative_to(mixtures.parent)).read_bytes() == path.read_bytes()
    for words in ("loud.wav: its samples reach 1e+25", "silent.wav: it is silent", "nan.wav: "):
        assert f"left out: {notes.parent / words.split(':')[0]}:" in caplog.text
        assert words in caplog.text


def test_a_note_that_is_not_there_ends_it(notes: Path, tmp_path: Path) -> None:
    table = notes.parent / "gone.csv"
    table.write_text(notes.read_text() + "gone.wav,horn,train\n")
    with pytest.raises(DataError, match=r"there is no .*gone\.wav"):
        make_mixtures(table, tmp_path / "out", FEW)


def test_one_instrument_in_two_spellings_is_one(
    notes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = notes.parent / "spelt.csv"
    table.write_text(notes.read_text().replace(",flute,", ",Flute,", 1))
    data = load_table(make_mixtures(table, tmp_path / "out", FEW))
    assert data.tags == tuple(sorted(INSTRUMENTS))
    assert "are taken for one: 'Flute' (1) and 'flute'" in caplog.text
