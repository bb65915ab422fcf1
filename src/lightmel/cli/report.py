"""``lightmel report``: what a library is made of, as a page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show


def report(
    records: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDS", help="A file of lines that `lightmel tag` wrote.", show_default=False
        ),
    ],
    html: Annotated[
        Path, typer.Option("--html", help="The page to write: one file, which needs no network.")
    ] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Its title; else the name of RECORDS.", show_default=False)] = "",
) -> None:
    """Show what a library is made of: genres, moods, instruments, eras; what is uncertain; what failed."""
    from ..library import write_report

    with show.busy(f"reading {records}"):
        files = write_report(records, html, title=title)
    show.text(f"{html}: {files:,} files. Open it in a browser.")
