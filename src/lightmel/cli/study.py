"""``lightmel study``: the paper's question as commands, each in a file of its own."""

from __future__ import annotations

import typer

from . import study_paper

app = typer.Typer(
    name="study",
    help="Cost against accuracy: the paper's numbers, and studies of your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("paper", short_help="Show the paper's numbers, and what they bear out.")(study_paper.paper)


@app.callback()
def _study() -> None:
    """Keep the name of a command in the command line, also while there is only one."""
