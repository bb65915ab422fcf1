"""Grids: what stands in a file, spelled out; and what cannot stand there, said where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightmel.errors import ConfigError, DataError
from lightmel.frontends import PAPER_CONFIGS
from lightmel.studies import Cell, Grid, grid_of, names_of_grids, read_grid
from lightmel.studies.grid import spelled_out
from lightmel.training import recipe

PLAIN: dict[str, Any] = {
    "networks": {"vgg": {"widths": [2, 2, 2, 4]}},
    "learning": {"segment_seconds": 1.0},
    "points": [{"networks": ["vgg"], "inputs": ["16k-mel{16,8}-x1-db"]}],
}


def test_alternatives_are_spelled_out() -> None:
    assert spelled_out("{12,16}k-mel8-x{1,2}-db") == [
        "12k-mel8-x1-db",
        "12k-mel8-x2-db",
        "16k-mel8-x1-db",
        "16k-mel8-x2-db",
    ]
    assert spelled_out("16k-wave") == ["16k-wave"]


def test_too_many_alternatives_are_refused_before_they_are_spelled_out() -> None:
    with pytest.raises(ConfigError, match="387420489 inputs: 10000 are the most"):
        spelled_out("-".join(["{1,2,3,4,5,6,7,8,9}"] * 9))


def test_cells_and_their_names(grid_file: Path) -> None:
    grid = read_grid(grid_file)
    assert grid.name == "tiny"
    assert [cell.name for cell in grid.cells] == [
        "vgg-16k-mel8-x1-db-seed0",
        "vgg-16k-mel8-x1-db-seed1",
        "vgg-16k-mel8-x2-db-seed0",
        "vgg-16k-mel8-x2-db-seed1",
    ]
    first = grid.cells[0]
    assert (first.training.seed, grid.cells[1].training.seed) == (0, 1)
    assert first.spec(2) == {
        "architecture": "vgg",
        "widths": [4, 4, 8, 8],
        "input_shape": first.config.input_shape(0.5),
        "n_tags": 2,
    }
    assert [Cell.from_dict(cell.to_dict()) for cell in grid.cells] == list(grid.cells)


def test_storage_and_settings_of_points_and_networks() -> None:
    plain = PLAIN | {
        "training": {"lr": 0.1, "epochs": 2},
        "networks": {"wide": {"architecture": "vgg", "size": "small", "training": {"lr": 0.2}}},
        "points": [
            {
                "networks": "wide",
                "inputs": "16k-mel8-x1-db",
                "storage": ["float32", "uint4"],
                "training": {"epochs": 5},
                "learning": {"segment_seconds": 2.0},
            }
        ],
    }
    cells = grid_of(plain).cells
    assert [cell.name for cell in cells] == ["wide-16k-mel8-x1-db-seed0", "wide-16k-mel8-x1-db-uint4-seed0"]
    assert (cells[0].training.lr, cells[0].training.epochs, cells[0].segment_seconds) == (0.2, 5, 2.0)


def test_the_papers_lengths_where_the_grid_says_none() -> None:
    plain = PLAIN | {"learning": {}, "networks": {"vgg": {}, "musicnn": {}, "mobilenet": {}}}
    point = {"inputs": ["16k-mel96-x1-db"]}
    grid = grid_of(plain | {"points": [{"networks": ["vgg", "musicnn"], **point}]})
    assert [cell.segment_seconds for cell in grid.cells] == [29.1, 3.0]
    with pytest.raises(ConfigError, match="no usual length of input"):
        _ = grid_of(plain | {"points": [{"networks": ["mobilenet"], **point}]}).cells[0].segment_seconds


def test_a_python_file_with_a_network_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"grid = {PLAIN!r}\n")
    assert [cell.config.slug for cell in read_grid(file).cells] == ["16k-mel16-x1-db", "16k-mel8-x1-db"]
    file.write_text("grid = 5\n")
    with pytest.raises(DataError, match="has no `grid`"):
        read_grid(file)
    file.write_text("1 / 0\n")
    with pytest.raises(DataError, match="ZeroDivisionError"):
        read_grid(file)


def test_the_papers_grid_is_the_paper() -> None:
    assert names_of_grids() == ("paper",)
    grid = read_grid("paper")
    assert len(grid.cells) == 88 * 2 * 3
    assert {cell.config for cell in grid.cells} == set(PAPER_CONFIGS)
    for cell in grid.cells:
        name = f"{cell.network.name}-{cell.config.slug}"
        _, training = recipe(f"paper-{cell.network.name}", network=name, seed=cell.seed)
        assert cell.training == training, name


def test_shards_are_all_of_it(grid_file: Path) -> None:
    grid = read_grid(grid_file)
    parts = [grid.shard(i, 3).cells for i in (1, 2, 3)]
    assert sorted(c.name for part in parts for c in part) == sorted(c.name for c in grid.cells)
    for wrong in ((0, 3), (4, 3), (1, 0)):
        with pytest.raises(ConfigError, match="There is no shard"):
            grid.shard(*wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 3}, r"the grid has no key 'epochs'"),
        ({"training": {"epoch": 3}}, r"training of point 1 has no key 'epoch'.*Did you mean 'epochs'"),
        ({"training": {"epochs": 0}}, r"training of point 1: epochs and batch_size are at least 1"),
        ({"training": {"seed": 0}}, r"has no key 'seed'"),
        ({"learning": {"jitter": 2}}, r"learning of point 1: jitter"),
        ({"points": []}, r"no points"),
        ({"points": [5]}, r"point 1 is a table, not 5"),
        ({"points": [{"networks": ["vg"], "inputs": ["16k-mel8-x1-db"]}]}, r"names the network 'vg'.*'vgg'"),
        ({"points": [{"networks": ["vgg"], "inputs": ["16k-mel8-x1-dc"]}]}, r"16k-mel8-x1-dc"),
        ({"points": [{"networks": ["vgg"]}]}, r"inputs is a list of words"),
        ({"networks": {"vg": {}}}, r"there is no architecture 'vg'.*'vgg'"),
        ({"networks": {"vgg": {"width": 3}}}, r"networks.vgg has no key 'width'.*'widths'"),
        ({"networks": {"a/b": {"architecture": "vgg"}}}, r"letters, digits"),
        ({"seeds": [-1]}, r"seeds are whole numbers"),
        ({"seeds": []}, r"seeds are whole numbers"),
        ({"storage": ["int8"]}, r"storage is some of float32"),
        ({"name": "../x"}, r"name is a word"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        grid_of(PLAIN | change)


def test_one_cell_with_two_settings() -> None:
    point = PLAIN["points"][0]
    with pytest.raises(ConfigError, match="stands there before, with other settings"):
        grid_of(PLAIN | {"points": [point, point | {"training": {"epochs": 2}}]})
    assert len(grid_of(PLAIN | {"points": [point, point]}).cells) == 2


def test_networks_that_refuse_their_input_are_all_named() -> None:
    plain = PLAIN | {
        "networks": {"fcn": {}, "vgg": {"widths": [2, 2, 2, 4]}},
        "points": [{"networks": ["fcn", "vgg"], "inputs": ["16k-mel{16,8}-x1-db"]}],
    }
    grid = grid_of(plain)
    with pytest.raises(
        ConfigError, match=r"What cannot be built of the grid .*: fcn-16k-mel16-x1-db: .*fcn-16k-mel8-x1-db: "
    ):
        grid.check(5)


def test_a_grid_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no grid papr.*Did you mean 'paper'"):
        read_grid("papr")
    (tmp_path / "x.toml").write_text("a = \n")
    with pytest.raises(DataError, match="cannot be read as TOML"):
        read_grid(tmp_path / "x.toml")


def test_cells_of_one_name_or_a_name_of_no_folder() -> None:
    grid = grid_of(PLAIN)
    with pytest.raises(ConfigError, match="Two cells are called vgg-16k-mel16-x1-db-seed0"):
        Grid("two", grid.cells + grid.cells)
    outside = replace(grid.cells[0], network=replace(grid.cells[0].network, name="../../out"))
    with pytest.raises(ConfigError, match="a name is letters"):
        Grid("outside", (outside,))
    with pytest.raises(ConfigError, match="no cells"):
        Grid("empty", ()).check(2)


def test_seeds_and_values_that_nothing_takes() -> None:
    with pytest.raises(ConfigError, match=r"below 2\*\*64"):
        grid_of(PLAIN | {"seeds": [2**64]})
    with pytest.raises(ConfigError, match=r"networks\.vgg: .* take numbers"):
        grid_of(PLAIN | {"networks": {"vgg": {"widths": np.ones(4)}}})


def test_files_that_end_the_process_or_are_too_deep(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(DataError, match="ends the process"):
        read_grid(tmp_path / "ends.py")
    (tmp_path / "deep.toml").write_text("a=" + "[" * 5000 + "]" * 5000)
    with pytest.raises(DataError, match="cannot be read as TOML"):
        read_grid(tmp_path / "deep.toml")
