"""``lightmel models``: the taggers that have a name."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from . import show


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document a line for each tagger.")
    ] = False,
) -> None:
    """List the taggers that a name stands for, and the licenses of their weights."""
    from .. import hub

    for release in hub.releases():
        if as_json:
            show.json_line(dataclasses.asdict(release))
        else:
            show.release(release, default=release.name == hub.DEFAULT)
