"""``lightmel distill``: a tagger for your own music, learnt from another tagger, without labels."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..distillation.config import DISTILL_TRAINING, DistillConfig
from .options import with_options
from .progress import show_epoch
from .work import at_work, spare_folder


@with_options(config=DistillConfig(), training=DISTILL_TRAINING)
def distill(
    audio: Annotated[Path, typer.Option(help="A folder of music.", exists=True, file_okay=False)],
    out: Annotated[
        Path, typer.Option(help="The tagger's file; a card (.md) and figures (.json) go beside it.")
    ],
    teacher: Annotated[list[str], typer.Option(help="Name or file of a tagger; several are averaged.")],
    table: Annotated[
        Path | None,
        typer.Option(help="CSV of path and group, instead of every file.", exists=True, dir_okay=False),
    ] = None,
    match: Annotated[str, typer.Option(help="Only files of such a name, such as '*.opus'.")] = "*",
    people: Annotated[
        Path | None,
        typer.Option(help="CSV of path and one column a tag, to judge by.", exists=True, dir_okay=False),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Keep scores and checkpoints here, also when all is done; else beside --out, until then.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What the student signs its scores with.")] = "student",
    version: Annotated[str, typer.Option(help="Of the student.")] = "1",
    licence: Annotated[str, typer.Option(help="Of the student's weights.")] = "not stated",
    *,
    config: Any,
    training: Any,
) -> None:
    """Distil a small tagger from a large one, on a folder of music."""
    from ..distillation.recipe import make_student
    from ..inference.tagger import load

    kept = work or spare_folder(out)
    with at_work("distill", kept, spare=work is None) as tell:
        how = training()
        _, report = make_student(
            audio,
            out,
            [load(t) for t in teacher],
            config(),
            how,
            name=name,
            version=version,
            licence=licence,
            command=shlex.join(["lightmel", *sys.argv[1:]]),
            table=table,
            match=match,
            people=people,
            work=kept,
            on_start=tell.on_start,
            on_epoch=show_epoch(how.epochs),
            progress=tell.progress,
        )
    for key, value in report.to_dict().items():
        typer.echo(f"{key}: {value}")
