"""``lightmel distill``: a small tagger that learns another's scores on music without labels."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._files import beside
from ..distillation import DISTILL_TRAINING, DistillConfig, MusicConfig
from ..training import Signature
from . import show
from .options import Device, with_options
from .overwriting import Force, check_names, same_settings, spare_others
from .train import WorkFolder
from .work import at_work, spare_folder

if TYPE_CHECKING:
    from ..checkpoint import Description
    from ..distillation import StudentJob


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
    force: Force = False,
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
    with at_work(kept, spare=work is None) as tell:
        signed = signature()
        check_names(out, signed.name)
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
        spare_others(out, force, lambda there: _made_by(there, job, teacher))
        teachers = [load(t, device=device) for t in teacher]
        _, report = make_student(job, teachers, tell.callbacks(job.training.epochs))
    for key, value in report.to_dict().items():
        show.text(f"{key}: {value}")


def _made_by(there: Description, job: StudentJob, teachers: list[str]) -> bool:
    """Return whether a tagger is what this command makes: by its settings, and the command beside it."""
    made, name = there.provenance, job.signature.name or Path(job.out).name.removesuffix(".safetensors")
    signed = (there.name, there.version, there.license)
    try:
        command = json.loads(beside(job.out, ".json").read_bytes())["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return (
        command == job.command
        and signed == (name, job.signature.version, job.signature.license or "not stated")
        and len(made.get("teachers") or ()) == len(teachers)
        and same_settings(made.get("distillation"), job.distillation)
        and same_settings(made.get("training"), job.training)
    )
