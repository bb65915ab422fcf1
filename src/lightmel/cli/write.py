"""``lightmel write``: genres and moods into the fields of files, and back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..library import WriteConfig
from . import show
from .command import in_options
from .options import with_options

if TYPE_CHECKING:
    from ..library import Change


@with_options(config=WriteConfig())
def write(
    records: Annotated[
        Path | None,
        typer.Argument(
            metavar="RECORDS",
            help="A file of lines that `lightmel tag --json` wrote.",
            show_default=False,
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write. Without it, only show what would be written.")
    ] = False,
    mapping: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Other names for our tags: beets, id3, or a file of TOML.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder in which relative paths of the records are looked up; else the current one.",
            show_default=False,
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="File for what --undo needs; lines are added. Else it lies beside RECORDS, and ends in "
            ".undo.jsonl.",
            show_default=False,
        ),
    ] = None,
    undo: Annotated[
        Path | None,
        typer.Option(
            metavar="JOURNAL",
            help="Give the files the fields back that they had before this journal: at once.",
            show_default=False,
        ),
    ] = None,
    *,
    config: Any,
) -> None:
    """Write genres and moods into the files, where players read them.

    Nothing is written without --apply, and no genre or mood is written over without --overwrite. MP3, FLAC,
    Ogg Vorbis, Opus, M4A, WMA, WAV, AIFF, WavPack, Monkey's Audio, Musepack, TTA and DSF can be written. The
    exit code is 0 if all went well, 1 if a file could not be written, 2 if the command line makes no sense.
    """
    from ..library import load_mapping, write_tags
    from ..library import undo as take_back

    if (records is None) == (undo is None):
        raise typer.BadParameter(
            "say one of both: RECORDS, which `lightmel tag --json` wrote, or --undo JOURNAL.",
            param_hint="RECORDS",
        )
    try:
        what = config()
        if undo is not None:
            changes = take_back(
                undo, overwrite=what.overwrite, keep_times=what.keep_times, on_change=show.change
            )
            _end(changes, "set back")
        elif records is not None:
            names = None if mapping is None else load_mapping(mapping)
            kept = journal or records.with_name(f"{records.stem}.undo.jsonl")
            changes = write_tags(
                records,
                what,
                apply=apply,
                journal=kept,
                mapping=names,
                root=root or "",
                on_change=show.change,
            )
            _end(changes, "written" if apply else "to be written")
            changed = any(change.changes and not change.error for change in changes)
            if changed and apply:
                show.text(f"To take it back: lightmel write --undo {shlex.quote(str(kept))}")
            elif changed:
                typer.echo("Nothing is written yet: add --apply.")
    except ConfigError as error:
        raise typer.BadParameter(in_options(error)) from None
    if any(change.error for change in changes):
        raise typer.Exit(1)


def _end(changes: list[Change], done: str) -> None:
    """Say how many files were done, and at the end which could not be."""
    errors = [change for change in changes if change.error]
    changed = sum(change.changes and not change.error for change in changes)
    left = len(changes) - len(errors) - changed
    files = "1 file" if len(changes) == 1 else f"{len(changes)} files"
    parts = [f"{changed} {done}"]
    if left:
        parts.append(f"{left} as {'it is' if left == 1 else 'they are'}")
    if errors:
        parts.append(f"{len(errors)} failed")
    typer.echo(f"{files}: {', '.join(parts)}.")
    for change in errors:
        show.failure(change.path, change.error)
