"""``lightmel cost``: what networks cost on their inputs, beside what is known of their accuracy."""

from __future__ import annotations

import dataclasses
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

    The costs are computed, not quoted; without WHAT the paper's claims about them stand beside the computed
    ratios. Beside them stands what is known of the accuracy, and who says so.
    """
    with show.busy("computing"):
        from ..studies import costs_and_accuracies

        found = costs_and_accuracies(*names or ())
        if not names:
            from ..models import check_claims

            checked = check_claims([row for row, _ in found])
    if as_json:
        for row, accuracies in found:
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
                    "accuracy": [dataclasses.asdict(own) for own in accuracies],
                }
            )
    elif names:
        show.named_costs(found)
    else:
        show.costs(found)
        show.claims(checked)
