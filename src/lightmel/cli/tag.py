"""``lightmel tag``: the tags of sound files."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from . import show

if TYPE_CHECKING:
    from ..inference.tagger import Tagger

TABLE_TAGS = 5


def tag(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES", help="Sound files: mp3, flac, ogg, opus, wav, aiff.", show_default=False
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Tag the piece of music that comes with lightmel.")
    ] = False,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A name that `lightmel models` lists, or a weights file.")
    ] = "default",
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            "-n",
            min=1,
            metavar="N",
            show_default=False,
            help=f"How many tags to show, the best first [default: {TABLE_TAGS}; all with --json].",
        ),
    ] = None,
    above: Annotated[
        bool,
        typer.Option(
            "--above", help="Only the tags above the tagger's own thresholds, where it has fitted ones."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document a line for each file.")
    ] = False,
) -> None:
    """Tag sound files.

    A file that cannot be tagged is a line on stderr, and the rest go on. The exit code is 0 if every file
    was tagged, 1 if any was not, 2 if the command line makes no sense.
    """
    paths = list(files or [])
    titles = list(paths)
    if sample:
        from ..sample import TITLE
        from ..sample import path as sample_path

        paths.append(str(sample_path()))
        titles.append(TITLE)
    if not paths:
        context.fail("There is no file to tag. `lightmel tag --sample` tags one that comes with lightmel.")
    tagger = _load(model)
    if above and not tagger.description.thresholds:
        raise typer.BadParameter(
            f"{tagger.name} has no thresholds of its own, as trained and fine-tuned taggers have: leave it "
            "out, or say how many tags with --top.",
            param_hint="--above",
        )

    from ..errors import LightmelError

    failed = False
    taggings = tagger.tag_many(paths, errors="return")
    for path, title in zip(paths, titles, strict=True):
        with show.without_chatter(), show.busy(f"listening to {title}"):
            started = perf_counter()
            result = next(taggings)
            took = perf_counter() - started
        if isinstance(result, LightmelError):
            show.failure(path, result)
            failed = True
            continue
        tags = result.above() if above else result.top(len(result.tags))
        tags = tags[: top or (len(tags) if above or as_json else TABLE_TAGS)]
        if as_json:
            show.json_line({"path": path, **result.to_dict(), "tags": dict(tags)})
        else:
            show.tagging(title, result, took, tags)
    if failed:
        raise typer.Exit(1)


def _load(model: str) -> Tagger:
    """Load the tagger; a name that nobody knows is a mistake in the command line."""
    from ..errors import LightmelError, UnknownModelError

    try:
        with show.busy(f"loading {model}"):
            from .. import load

            return load(model)
    except UnknownModelError as error:
        raise typer.BadParameter(str(error), param_hint="--model") from None
    except LightmelError as error:
        show.failure("lightmel", error)
        raise typer.Exit(1) from None
