"""``lightmel recommend``: which input fits a budget."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..frontends import StorageType
from ..studies import Limits
from . import show
from .options import with_options


@with_options(limits=Limits())
def recommend(
    dataset: Annotated[
        str,
        typer.Option(
            metavar="mtat|msd|family|DIR",
            help="Whose numbers count: the paper's on mtat or msd, those of the family of taggers, or "
            "those of a study of your own in a folder.",
        ),
    ] = "mtat",
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="One more input, such as 16k-mel64-x1-db, beside the paper's 88; may be said several times.",
            show_default=False,
        ),
    ] = None,
    storage: Annotated[StorageType, typer.Option(help="What features are stored as.")] = "float32",
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the best few on this machine, some seconds each.")
    ] = False,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="How many to show.")] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document, with all that fit.")
    ] = False,
    *,
    limits: Any,
) -> None:
    """Rank the configurations that fit a budget: what they lose, what they cost, who says so.

    Numbers of several sources are never mixed, and what nothing supports is not known.
    """
    from ..studies import recommend as recommended

    with show.busy("measuring" if measure else "computing"):
        found = recommended(dataset, **vars(limits()), also=also or (), storage=storage, measure=measure)
    if as_json:
        show.json_line(found.to_dict())
    else:
        show.recommendation(found, top)
