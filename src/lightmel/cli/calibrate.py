"""``lightmel calibrate``: scores that are chances, and thresholds, from one's own music."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..evaluation import CalibrationConfig
from . import show
from .options import Device, with_options
from .overwriting import Force, check_names, spare_others
from .work import at_work

if TYPE_CHECKING:
    from ..checkpoint import Description

Sounds = list[Path] | None


@with_options(config=CalibrationConfig())
def calibrate(
    tagger: Annotated[
        str,
        typer.Argument(metavar="TAGGER", help="A name that `lightmel models` lists, or a tagger's file."),
    ],
    music: Annotated[
        Path,
        typer.Argument(
            metavar="MUSIC",
            help="Music that it was not trained on: a folder, or a table of path, group and, if there are "
            "any, labels: a column for each tag, or a column of lists, tags.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File of the new tagger; figures (.json) and settings (.toml) go beside it.",
        ),
    ],
    annotations: Annotated[
        Path | None,
        typer.Option(help="A table of path and labels of all or some of the music.", show_default=False),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="A tagger that this one learnt from, whose labeled tags tell how high it scores; several "
            "times for several.",
            show_default=False,
        ),
    ] = None,
    not_music: Annotated[
        Sounds,
        typer.Option(
            help="A folder or a table of sounds that are no music; several times for several.",
            show_default=False,
        ),
    ] = None,
    speech: Annotated[
        Sounds,
        typer.Option(
            help="A folder or a table of speech; several times for several.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    device: Device = "auto",
    *,
    config: Any,
) -> None:
    """Make a tagger's scores chances, where there are labels, and choose its thresholds anew."""
    from ..checkpoint import check_path
    from ..evaluation import calibrate as fit
    from ..inference import load

    with at_work() as tell:
        check_path(out)
        how = config()
        check_names(out, how.name)
        own = load(tagger, device=device)

        def is_same(there: Description) -> bool:
            d = own.description
            version = how.version or f"{d.version.removesuffix('-calibrated')}-calibrated"
            wanted = (how.name or d.name, version, d.license, d.tags)
            found = (there.name, there.version, there.license, there.tags)
            return "calibration" in there.provenance and found == wanted

        spare_others(out, force, is_same)
        made = fit(
            own,
            music,
            annotations,
            how,
            teachers=[load(name, device=device) for name in teacher or ()],
            not_music=not_music or (),
            speech=speech or (),
            on_clip=tell.progress,
        )
        made.save(out)
    typer.echo(made.calibration.summary())
    description = made.tagger.description
    typer.echo()
    show.text(f"{out}: {description.name} {description.version}, license {description.license}")
    show.text(f"Try: lightmel tag song.mp3 --model {out}")
