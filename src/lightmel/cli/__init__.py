"""The command line: it parses, calls the library and shows, and has no logic of its own.

Nothing heavy is imported here, so that ``lightmel --help`` does not wait for torch: each command imports what
it needs when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
from . import (
    calibrate,
    compare,
    cost,
    distill,
    evaluate,
    export,
    features,
    finetune,
    models,
    process,
    recommend,
    release,
    report,
    sonify,
    study,
    tag,
    train,
    write,
)
from .command import Command
from .work import log_to_stderr

__all__ = ["app", "main"]

app = typer.Typer(
    name="lightmel",
    help="Tag music by its sound: genre, instruments, voices, tempo.",
    epilog="Try: lightmel tag --sample",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: half the time to wait for it, and it can be piped anywhere
    pretty_exceptions_enable=False,  # of a bug `process` says a line, and --debug Python's own traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("tag", no_args_is_help=True)(tag.tag)
app.command("write", no_args_is_help=True, short_help="Write genres and moods into the files.")(write.write)
app.command("report", no_args_is_help=True, short_help="Show what a library is made of, as a page.")(
    report.report
)
app.command("models", short_help="List the taggers and their licenses.")(models.models)
app.command("cost", short_help="Show what networks and taggers cost to run.")(cost.cost)
app.command("recommend", short_help="Say which input fits a budget.")(recommend.recommend)
app.add_typer(study.app, short_help="Show the paper's numbers, and study your own.")
app.command("finetune", no_args_is_help=True, short_help="Teach a tagger your own tags.")(finetune.finetune)
app.command("evaluate", no_args_is_help=True, short_help="Evaluate a tagger on labelled clips.")(
    evaluate.evaluate
)
app.command("compare", no_args_is_help=True, short_help="Compare taggers by their figures.")(compare.compare)
app.command("calibrate", no_args_is_help=True, short_help="Choose thresholds, and make scores chances.")(
    calibrate.calibrate
)
app.command("features", no_args_is_help=True, short_help="Compute the features of a data set, for training.")(
    features.features
)
app.command("train", no_args_is_help=True, short_help="Train a tagger from scratch.")(train.train)
app.command(
    "distill", no_args_is_help=True, short_help="Make a small tagger from a large one, without labels."
)(distill.distill)
app.command("release", no_args_is_help=True, short_help="Make a tagger ready for the Hugging Face Hub.")(
    release.release
)
app.command("sonify", no_args_is_help=True, short_help="Make audible what a network still sees.")(
    sonify.sonify
)
app.command("export", no_args_is_help=True, short_help="Write a tagger as ONNX.")(export.export)
for registered in (*app.registered_commands, *study.app.registered_commands):
    registered.cls = Command


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lightmel {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Say more, and show the traceback of every error: for a report."),
    ] = False,
) -> None:
    if debug:
        log_to_stderr(debug=True)


def main() -> None:
    """Run the command line; the entry point of ``lightmel``."""
    process.run(app)
