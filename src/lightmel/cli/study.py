"""``lightmel study``: the paper's question as commands, each in a file of its own."""

from __future__ import annotations

import typer

from . import study_mixtures, study_paper, study_report, study_run, study_scores

app = typer.Typer(
    name="study",
    help="Cost against accuracy: the paper's numbers, and studies of your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("paper", short_help="Show the paper's numbers, and what they bear out.")(study_paper.paper)
app.command(
    "scores", no_args_is_help=True, short_help="Let teachers score music, for any number of students."
)(study_scores.scores)
app.command("mixtures", no_args_is_help=True, short_help="Mix single notes to clips with known labels.")(
    study_mixtures.mixtures
)
app.command("run", no_args_is_help=True, short_help="Train what a grid says and is not done yet.")(
    study_run.run
)
app.command("report", no_args_is_help=True, short_help="Show what a study has found.")(study_report.report)
