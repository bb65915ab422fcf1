"""``lightmel tag --out``: a whole library into one output."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import ConfigError, UnknownModelError
from . import show
from .command import in_options
from .progress import progress_bar, say
from .work import log_to_stderr

if TYPE_CHECKING:
    from ..library import Counts, FileDone

TOLD = 10
"""Of so many files that fail there is a line each; all of them are in the output."""


def tag(places: list[str], out: Path, **options: Any) -> None:
    """Bring an output up to date, and say what became of the files."""
    from ..library import tag_folder

    log_to_stderr()
    failures = 0
    try:
        with progress_bar("files") as tell:

            def on_file(file: FileDone) -> None:
                nonlocal failures
                if file.total:
                    tell("tagging", file.done, file.total)
                if file.error:
                    failures += 1
                    if failures <= TOLD:
                        show.failure(file.path, file.error)
                    elif failures == TOLD + 1:
                        say(f"More files fail; {out} has them all.")

            counts = tag_folder(places, out, on_file=on_file, **options)
    except KeyboardInterrupt:
        say(f"lightmel tag: stopped. What is done is kept, and the same command goes on from it: {out}")
        raise typer.Exit(130) from None
    except UnknownModelError as error:
        raise typer.BadParameter(str(error), param_hint="--model") from None
    except ConfigError as error:
        raise typer.BadParameter(in_options(error)) from None
    show.text(f"{out}: {summary(counts)}")
    if counts.left:
        show.text("What failed before is tried again when it has changed, or with --retry-failed or --force.")
    if counts.tagged:
        show.text(
            f"To look at it: lightmel report {shlex.quote(str(out.with_suffix('.jsonl')))} --html report.html"
        )
    if counts.failed or counts.left:
        raise typer.Exit(1)


def summary(counts: Counts) -> str:
    """Return what became of the files, in a line."""
    parts = [f"{counts.tagged:,} tagged"]
    words = {
        "as before": counts.skipped,
        "failed": counts.failed,
        "failed before": counts.left,
        "gone and removed": counts.pruned,
    }
    parts += [f"{number:,} {word}" for word, number in words.items() if number]
    return f"{', '.join(parts)}."
