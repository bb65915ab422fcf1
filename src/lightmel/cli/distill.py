"""``lightmel distill``: a tagger for your own music, learnt from another tagger, without labels."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LightmelError


def distill(
    folder: Annotated[Path, typer.Argument(help="A folder of music.", exists=True, file_okay=False)],
    out: Annotated[
        Path, typer.Option(help="The tagger's file; a card (.md) and figures (.json) go beside it.")
    ],
    teacher: Annotated[list[str], typer.Option(help="Name or file of a tagger; several are averaged.")],
    table: Annotated[Path | None, typer.Option(help="CSV of path and group, instead of every file.")] = None,
    match: Annotated[str, typer.Option(help="Only files of such a name, such as '*.opus'.")] = "*",
    people: Annotated[
        Path | None, typer.Option(help="CSV of path and one column a tag, to judge by.")
    ] = None,
    mel: Annotated[str, typer.Option(help="The student's input.")] = "16k-mel48-x2-db",
    epochs: Annotated[int, typer.Option(help="Passes over the music.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Keep the teachers' scores here, for another run.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the student signs its scores with.")] = "student",
    version: Annotated[str, typer.Option(help="Of the student.")] = "1",
    licence: Annotated[str, typer.Option(help="Of the student's weights.")] = "not stated",
) -> None:
    """Distil a small tagger from a large one, on a folder of music."""
    from ..tagger import load
    from ..training.distill import DistillConfig
    from ..training.recipe import make_student
    from ..training.trainer import TrainConfig

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)

    def show(line: dict[str, float]) -> None:
        typer.echo(
            f"epoch {line['epoch'] + 1:.0f}/{epochs}  loss {line['loss']:.4f}  {line['seconds']:.0f} s",
            err=True,
        )

    try:
        _, report = make_student(
            folder,
            out,
            [load(t) for t in teacher],
            DistillConfig(mel=mel, seed=seed),
            TrainConfig(epochs=epochs),
            name=name,
            version=version,
            licence=licence,
            command=shlex.join(["lightmel", *sys.argv[1:]]),
            table=table,
            match=match,
            people=people,
            cache=cache,
            on_epoch=show,
        )
    except LightmelError as error:
        typer.echo(f"lightmel distill: {error}", err=True)
        raise typer.Exit(1) from None
    for key, value in report.to_dict().items():
        typer.echo(f"{key}: {value}")
