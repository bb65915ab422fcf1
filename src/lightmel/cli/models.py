"""``lightmel models``: the taggers that have a name."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from . import show


def models(
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="Only names like this one, such as 'vgg*'.")
    ] = "*",
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document a line for each tagger.")
    ] = False,
) -> None:
    """List the taggers that a name stands for: what they cost, what was measured, their licenses."""
    from .. import hub

    found = hub.matching(pattern)
    if not found:
        raise typer.BadParameter(f"No tagger is called {pattern!r}; without a pattern all are listed.")
    for release in found:
        if as_json:
            show.json_line(dataclasses.asdict(release))
        else:
            show.release(release, default=release.name == hub.DEFAULT)
