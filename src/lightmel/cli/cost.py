"""``lightmel cost``: what the paper's networks cost on each of its mel-spectrograms."""

from __future__ import annotations

from typing import Annotated

import typer

from . import show


def cost(
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Write one JSON document a line for each network and configuration."),
    ] = False,
) -> None:
    """Show what tagging costs: the paper's two networks on its 88 mel-spectrograms.

    The figures are computed, not quoted, and the paper's claims about them are put beside what they say.
    """
    with show.busy("computing"):
        from ..models import cost as costs

        rows = costs.table()
        checked = costs.check_claims(rows)
    if as_json:
        for row in rows:
            show.json_line(
                {
                    "architecture": row.architecture,
                    "config": row.config.slug,
                    "input_shape": row.input_shape,
                    "seconds": row.seconds,
                    "parameters": row.cost.parameters,
                    "macs": row.cost.macs,
                    "activation_bytes": row.cost.activation_bytes,
                }
            )
    else:
        show.costs(rows)
        show.claims(checked)
