"""Human annotations: from columns or lists, found however files and tags are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightmel.datasets import Track, read_human_annotations, read_tracks, shares_of
from lightmel.errors import DataError


def test_a_column_of_lists(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text('path,tags,artist\na.wav,"rock;no vocal",x\nb.wav,,y\nc.wav,"harp, rock",z\n')
    found = read_human_annotations(table)
    assert list(found) == [tmp_path / f"{name}.wav" for name in "abc"]
    assert found[tmp_path / "a.wav"] == {"harp": 0.0, "no vocal": 1.0, "rock": 1.0}
    assert set(found[tmp_path / "b.wav"].values()) == {0.0}


def test_words_are_shares_too(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("path,group,harp,split\na.wav,1,Yes,0.5\nb.wav,2,false,1\nc.wav,3,0.25,1\nd.wav,4,,1\n")
    found = [own.get("harp") for own in read_human_annotations(table).values()]
    assert found[:3] == [1.0, 0.0, 0.25]
    assert np.isnan(found[3] or 0.0)
    assert set(read_human_annotations(table)[tmp_path / "a.wav"]) == {"harp"}, "no group, no split"


def test_shares_of_files_and_tags(tmp_path: Path) -> None:
    given = {tmp_path / "a.wav": {"Hip-Hop": 0.5, "harp": 0.0}, tmp_path / "b.wav": {"harp": 1.0}}
    paths = [tmp_path / "x" / ".." / "b.wav", tmp_path / "c.wav", tmp_path / "a.wav"]
    found = shares_of(given, paths, ["harp", "hip hop", "sitar"])
    nan = np.nan
    assert np.array_equal(found, [[1, nan, nan], [nan, nan, nan], [0, 0.5, nan]], equal_nan=True)
    assert shares_of(given, [], ["harp"]).shape == (0, 1)
    with pytest.raises(
        DataError, match=r"a\.wav: harp was given by a share of 2: shares are between 0 and 1"
    ):
        shares_of({tmp_path / "a.wav": {"harp": 2.0}}, [tmp_path / "a.wav"], ["harp"])


def test_a_file_without_a_group_is_its_own(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("path,group\na.wav,A\nb.wav,\n")
    assert read_tracks(table, grouped=False) == [
        Track(tmp_path / "a.wav", "A"),
        Track(tmp_path / "b.wav", "b.wav"),
    ]
    table.write_text("path\na.wav\n")
    assert read_tracks(table, grouped=False) == [Track(tmp_path / "a.wav", "a.wav")]
    with pytest.raises(DataError, match="no column 'group'"):
        read_tracks(table)
