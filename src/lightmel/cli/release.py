"""``lightmel release``: a tagger as a folder that is ready for the Hugging Face Hub, and onto it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show


def release(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A tagger in the package, its file, or its release folder."),
    ],
    out: Annotated[
        Path, typer.Option(help="The release folder: new, empty, or with an earlier release in it.")
    ],
    push: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER",
            help="Publish it as OWNER/NAME on the Hugging Face Hub, for which you have logged in.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let it take the place of another tagger's release in --out.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="With --push, keep a new repository private.")
    ] = False,
) -> None:
    """Write the release folder of a tagger: weights, description and card; publish it if asked to."""
    from .. import hub
    from ..checkpoint import read_description

    file = hub.find(name)
    if not isinstance(file, Path):
        raise typer.BadParameter(
            f"{name} is not on this machine, but somebody's release already.", param_hint="NAME"
        )
    description = read_description(file)
    hub.check_publishable(description)
    _spare_others(out, file, force)
    repository = None if push is None else f"{push}/{description.name}"
    hub.write_release(file, out, repository=repository)
    show.text(f"{out}: {description.name} {description.version}, license {description.license}")
    if not (out / "model.onnx").is_file():
        typer.echo('Without model.onnx, for those who have no torch: pip install "lightmel[export]"')
    if repository is None:
        show.text(f"Try: lightmel tag song.mp3 --model {out}")
        return
    with show.busy(f"publishing {repository}"):
        address = hub.push(out, repository, private=private or None)
    typer.echo(f"{address}\nTry: lightmel tag song.mp3 --model {repository}")


def _spare_others(out: Path, file: Path, force: bool) -> None:
    """Refuse to take the place of another tagger's release, unless it is forced.

    Raises
    ------
    WeightsError
        If the folder holds a tagger of another name; or of the same name and version, but other weights.
    """
    from ..checkpoint import read_description
    from ..errors import WeightsError

    there = out / "model.safetensors"
    if force or not there.is_file() or there.samefile(file):
        return
    try:
        old, new = read_description(there), read_description(file)
    except WeightsError:
        return  # what the folder holds is looked at when the release is written
    if old.name != new.name:
        why = f"the tagger {old.name} {old.version}"
    elif old.version == new.version and there.read_bytes() != file.read_bytes():
        why = f"{old.name} {old.version}, which is another one of the same name and version"
    else:
        return
    raise WeightsError(f"{out} holds {why}: name another folder, or say --force.")
