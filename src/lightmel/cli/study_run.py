"""``lightmel study run``: train all cells of a grid that are not done yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ..datasets import DataConfig
from ..errors import ConfigError
from . import show
from .options import Device, with_options
from .progress import say
from .work import at_work

_STEPS = 1000
"""Of the bar."""


@with_options(reading=DataConfig())
def run(
    grid: Annotated[
        str,
        typer.Argument(
            metavar="GRID", help="A TOML or Python file, or `paper`: its two networks on its 88 inputs."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DATASET",
            help="What is learnt from: a table of paths and tags, a published set (with --dataset), or a "
            "folder made by `lightmel study scores` or `lightmel study mixtures`.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the study; several processes may share it.")],
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TABLE",
            help="Measure on further clips, too: a table of path and tags, or path and a share for each tag.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Processes that train, of one thread each; 0: this one, with its threads.")
    ] = 1,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Run every N-th of the cells only, from the I-th one on.")
    ] = "1/1",
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Keep what other versions of lightmel or torch have made.")
    ] = False,
    device: Device = "auto",
    *,
    reading: Any,
) -> None:
    """Train every cell of a grid that is not done yet, and measure it.

    Stopped at any moment, the same command goes on from there. What is done already is kept; what has other
    settings, data or versions now is run again.
    """
    from ..studies import busy, read_grid, run_study

    with at_work(out) as work:
        tests: dict[str, str] = {}
        for name, table in map(_named_table, test or ()):
            if name in tests:
                raise ConfigError(f"--test {name}: there are two of this name. Give each its own.")
            tests[name] = table
        found = read_grid(grid)
        part = _part(shard)

        def on_progress(share: float) -> None:
            work.progress("trainings", round(_STEPS * share), _STEPS)

        if others := busy(out, found):
            say(f"run by others now: {len(others)}, one by {next(iter(others.values()))}")
        outcome = run_study(
            found,
            data,
            out,
            data_config=reading(),
            tests=tests,
            shard=part,
            jobs=jobs,
            any_version=any_version,
            script=grid if grid.endswith(".py") else None,
            device=device,
            on_progress=on_progress,
            on_cell=lambda name, what: say(f"{name} {what}"),
        )
    show.text(
        f"{out}: {len(outcome.done)} trainings done now, {len(outcome.kept)} before, "
        f"{len(outcome.failed)} failed"
    )
    if outcome.failed:
        raise typer.Exit(1)
    show.text(f"Try: lightmel study report {out}")


def _named_table(text: str) -> tuple[str, str]:
    name, found, table = text.partition("=")
    if not (name and found and table):
        raise ConfigError(f"--test {text}: it is a name and a table, as in human=human.csv.")
    return name, table


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise ConfigError(f"--shard {text}: it is a number and how many there are, as in 1/4.")
    return int(found[1]), int(found[2])
