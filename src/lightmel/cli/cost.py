"""``lightmel cost``: parameters, multiply-accumulates and activations of networks on their inputs."""

from __future__ import annotations

from typing import Annotated

import typer

from . import show


def cost(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WHAT",
            help="A tagger's name or file, a network such as vgg-16k-mel48-x2-db, or an input such as "
            "16k-mel48-x2-db; without any, the paper's networks on all of its inputs.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Write one JSON document a line for each network and input."),
    ] = False,
) -> None:
    """Show what a forward pass costs, of what is named or of the paper's two networks on its 88 inputs.

    The figures are computed, not quoted; without WHAT the paper's claims about them stand beside the computed
    ratios.
    """
    from ..errors import LightmelError

    try:
        with show.busy("computing"):
            from ..hub import costs_of
            from ..models import check_claims, paper_costs

            rows = [row for name in names for row in costs_of(name)] if names else list(paper_costs())
            checked = () if names else check_claims(rows)
    except LightmelError as error:
        show.failure("lightmel cost", error)
        raise typer.Exit(1) from None
    if as_json:
        for row in rows:
            show.json_line(
                {
                    "name": row.name,
                    "architecture": row.architecture,
                    "config": row.config.slug,
                    "input_shape": row.input_shape,
                    "seconds": row.seconds,
                    "parameters": row.cost.parameters,
                    "macs": row.cost.macs,
                    "activation_bytes": row.cost.activation_bytes,
                }
            )
    elif names:
        show.named_costs(rows)
    else:
        show.costs(rows)
        show.claims(checked)
