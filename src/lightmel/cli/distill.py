"""``lightmel distill``: a small tagger that learns another's scores on music without labels."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..distillation import DISTILL_TRAINING, DistillConfig, MusicConfig
from ..training import Signature
from .options import Device, with_options
from .train import WorkFolder
from .work import at_work, spare_folder


@with_options(
    selection=MusicConfig(), distillation=DistillConfig(), training=DISTILL_TRAINING, signature=Signature()
)
def distill(
    music: Annotated[
        Path,
        typer.Argument(
            metavar="MUSIC",
            help="A folder of sound, whose folders are its groups, or a table of path and group.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File of the new tagger; its card (.md), figures (.json) and settings (.toml) go beside it."
        ),
    ],
    teacher: Annotated[
        list[str],
        typer.Option(
            help="Name or file of a tagger to learn from; given several times, their scores are averaged."
        ),
    ],
    work: WorkFolder = None,
    device: Device = "auto",
    *,
    selection: Any,
    distillation: Any,
    training: Any,
    signature: Any,
) -> None:
    """Distil a small tagger from a large one, on music without labels."""
    from ..distillation import StudentJob, make_student
    from ..inference import load

    kept = work or spare_folder(out)
    with at_work("distill", kept, spare=work is None) as tell:
        signed = signature()
        job = StudentJob(
            music=music,
            out=out,
            selection=selection(),
            distillation=distillation(),
            training=training(),
            signature=signed,
            command=shlex.join(["lightmel", *sys.argv[1:]]),
            work=kept,
            device=device,
        )
        teachers = [load(t, device=device) for t in teacher]
        _, report = make_student(job, teachers, tell.callbacks(job.training.epochs))
    for key, value in report.to_dict().items():
        typer.echo(f"{key}: {value}")
