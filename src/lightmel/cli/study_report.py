"""``lightmel study report``: what a study has found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._files import check_target, write_whole
from ..errors import DataError
from . import show
from .work import at_work


def report(
    study: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the study.")],
    html: Annotated[
        Path | None,
        typer.Option(help="Write it as one page, with figures: it needs no network.", show_default=False),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write it as Markdown, without figures.", show_default=False)
    ] = None,
    latex: Annotated[
        Path | None, typer.Option(help="Write its tables as LaTeX, to put into a paper.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Write every figure, difference and cost as CSV, a line each.", show_default=False),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="First measure how long the networks take on this machine.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="What was learnt from, as for `lightmel study run`: intervals of the agreement with "
            "teachers, and by groups of clips, need it.",
            show_default=False,
        ),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.py",
            help="A Python file that registers networks and front ends of the grid: the grid itself, say.",
            show_default=False,
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Of the clips, for intervals.")] = 1000,
) -> None:
    """Show what a study has found so far: accuracy, cost, what smaller inputs lose, and what that rests on.

    Without a file to write to, a summary is printed.
    """
    from ..evaluation import Intervals
    from ..studies import measure_times, report_study

    with at_work() as work:
        targets = [path for path in (html, markdown, latex, csv) if path is not None]
        for path in targets:
            check_target(path, (), DataError)
        if len({path.resolve() for path in targets}) < len(targets):
            raise DataError("Two of the files have one name: each form wants its own.")
        if measure:
            measure_times(study, script=script, progress=work.progress)
        found = report_study(study, data=data, script=script, intervals=Intervals(resamples=resamples))
        if not targets:
            text = found.summary()
        forms = ((html, found.html), (markdown, found.markdown), (latex, found.latex), (csv, found.csv))
        for target, made in forms:
            if target is not None:
                write_whole(target, made().encode(errors="backslashreplace"), DataError)
    if not targets:
        typer.echo(text.rstrip())
    for target in targets:
        show.text(str(target))
