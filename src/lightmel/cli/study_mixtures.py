"""``lightmel study mixtures``: a data set whose labels are known for certain, out of single notes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..datasets import MixtureConfig
from . import show
from .options import with_options
from .work import at_work


@with_options(mixtures=MixtureConfig())
def mixtures(
    notes: Annotated[
        Path,
        typer.Argument(
            metavar="NOTES",
            help="A table of recordings of single notes: path, instrument, and a column that says train, "
            "valid or test.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the clips and their table, clips.csv.")],
    *,
    mixtures: Any,
) -> None:
    """Mix notes of two to four instruments to clips, whose tags are the instruments in them.

    Stopped at any moment, the same command goes on from there.
    """
    from ..datasets import make_mixtures

    with at_work(out) as work, show.without_chatter():
        config = mixtures()
        table = make_mixtures(notes, out, config, work.progress)
    show.text(f"{table}: {config.train:,} clips to train on, {config.valid:,} and {config.test:,} more")
    show.text(f"Try: lightmel study run GRID --data {table} --out STUDY")
