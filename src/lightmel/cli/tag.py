"""``lightmel tag``: the tags of sound files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from .._files import is_folder
from . import library, process, show
from .command import in_options
from .options import Device

if TYPE_CHECKING:
    from ..errors import LightmelError
    from ..inference import Tagger, Tagging

TABLE_TAGS = 5
CATEGORY_TAGS = 3
SHOWN = ("genre", "mood", "instrument", "voice", "era")
"""Categories that are shown without being asked for."""
MANY = 5
"""Of more files than these, each has a line, unless a longer view is asked for."""
TIME_LIMIT = 300.0
FOR_OUT = {
    "jobs": "--jobs",
    "exclude": "--exclude",
    "by_hash": "--hash",
    "retry_failed": "--retry-failed",
    "prune": "--prune",
    "by": "--by",
    "taggram": "--taggram",
    "embeddings": "--embeddings",
    "time_limit": "--time-limit",
    "force": "--force",
}
"""Options that need an output."""
FAST_COVERAGE = 0.1
"""Share of each file with --fast: of songs of some minutes, what `benchmarks/excerpts.py` recommends."""
LOWEST = 0.1
"""Score below which a tagger without thresholds is taken to know nothing."""

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Tagger to use: a name that `lightmel models` lists, a file, or OWNER/NAME on the Hub.",
    ),
]


def tag(
    context: typer.Context,
    music: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MUSIC",
            help="Sound files (mp3, flac, ogg, opus, wav, aiff, m4a, aac, wma, webm), or folders of them.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Tag the piece of music that comes with lightmel.")
    ] = False,
    model: Model = "default",
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            "-n",
            min=1,
            metavar="N",
            show_default=False,
            help=f"How many tags to show, the best first: of each category, without it {CATEGORY_TAGS}; with "
            f"--flat, without it {TABLE_TAGS}; with --json, without it all.",
        ),
    ] = None,
    flat: Annotated[
        bool, typer.Option("--flat", help="Show the best tags with a bar each, and no categories.")
    ] = False,
    all_categories: Annotated[
        bool,
        typer.Option(
            "--all-categories", help="Show every category: also tempo, use, and sounds that are not music."
        ),
    ] = False,
    above: Annotated[
        bool,
        typer.Option(
            "--above", help="Show only tags above the tagger's own thresholds, where it has fitted ones."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document a line for each file.")
    ] = False,
    coverage: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=1.0,
            metavar="SHARE",
            help="Tag this share of each file, in evenly spread parts, without decoding the rest.",
        ),
    ] = 1.0,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help=f"Take the cheapest tagger in the package, and {FAST_COVERAGE:.0%} of each file."
        ),
    ] = False,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32; or bfloat16 or float16, where the device has them: less exact.")
    ] = "float32",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write a record of each file to this .jsonl, .csv or .parquet, and tag only what is new or "
            "changed since the last time. Stopped, the same command goes on.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Processes; one for each core, without it.", show_default=False
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Leave out files and folders of such names, or paths below a folder if it has a slash.",
            show_default=False,
        ),
    ] = None,
    by_hash: Annotated[
        bool, typer.Option("--hash", help="Tell by their contents which files have changed: all are read.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try those again that failed before.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the records of files that have gone.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="album|folder",
            help="Add a record of each album: by its folder, or by the field album where files have one.",
            show_default=False,
        ),
    ] = None,
    taggram: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder for the scores over time, an .npz for each file.",
            show_default=False,
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="An .npy file for the embeddings, a row for each file.", show_default=False
        ),
    ] = None,
    time_limit: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="That a file may take, and as much again for each 50 MB; 0: any."
        ),
    ] = TIME_LIMIT,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Make an output of another tagger anew, and try those again that failed."
        ),
    ] = False,
) -> None:
    """Tag sound files.

    A folder stands for all the sound below it. With --out it is a library: its records are brought up to
    date, and nothing is shown but how far it is. A file that cannot be tagged is a line on stderr, and the
    rest go on. Of more than five files each has one line, unless a view is asked for. The exit code is 0 if
    every file was tagged, 1 if any was not, now or before, 2 if the command line makes no sense.
    """
    from ..errors import LightmelError

    titles: dict[str, str] = {}
    given = list(music or [])
    if sample:
        from ..sample import TITLE
        from ..sample import path as sample_path

        given.append(str(sample_path()))
        titles[given[-1]] = TITLE
    if not given:
        context.fail("There is no file to tag. `lightmel tag --sample` tags one that comes with lightmel.")
    if fast:
        for name, option in {"model": "--model", "coverage": "--coverage"}.items():
            if _is_given(context, name):
                raise typer.BadParameter(f"it chooses {option} itself: leave one out.", param_hint="--fast")
        from ..hub import cheapest

        model, coverage = cheapest(), FAST_COVERAGE
    if flat and all_categories:
        raise typer.BadParameter("--flat shows no categories: choose one.", param_hint="--all-categories")
    if out is not None:
        shown = {"--flat": flat, "--all-categories": all_categories, "--json": as_json}
        for option, wanted in shown.items():
            if wanted:
                raise typer.BadParameter("nothing is shown with --out: choose one.", param_hint=option)
        library.tag(
            given,
            out,
            model=model,
            device=device,
            precision=precision,
            coverage=coverage,
            jobs=jobs,
            exclude=exclude or (),
            sha256=by_hash,
            retry_failed=retry_failed,
            prune=prune,
            force=force,
            by=by,
            taggram=taggram,
            embeddings=embeddings,
            top=top,
            above=above,
            time_limit=time_limit,
        )
        return
    for name, option in FOR_OUT.items():
        if _is_given(context, name):
            raise typer.BadParameter("it is for a library: say --out, too.", param_hint=option)
    tagger = load_tagger(model, device, precision)
    if above and not (tagger.description.thresholds or tagger.description.exclusive):
        raise typer.BadParameter(
            f"{tagger.name} has no thresholds of its own, as trained and fine-tuned taggers have: leave it "
            "out, or say how many tags with --top.",
            param_hint="--above",
        )
    from ..library import error_record, tagging_record

    left_out = False
    files = list(_files(given))
    for path, result, took in _results(tagger, files, titles, coverage):
        if isinstance(result, LightmelError):
            show.failure(path, result, logged=True)
            if as_json:
                show.json_line(error_record(path, result))
            left_out = True
            continue
        tags = result.above() if above else result.top(len(result.tags))
        if as_json:
            show.json_line(tagging_record(path, result, tags[:top] if above or top else None))
        elif len(files) > MANY and not (flat or all_categories):
            few = _of_no_music(result) if result.is_music is False else tags
            show.line(titles.get(path, path), result, few[: top or (len(few) if above else TABLE_TAGS)])
        elif flat or not (all_categories or _has_categories(result)):
            few = tags[: top or (len(tags) if above else TABLE_TAGS)]
            show.tagging(titles.get(path, path), result, took, few)
        else:
            k = top or (len(tags) if above else CATEGORY_TAGS)
            show.categories(titles.get(path, path), result, took, _rows(result, k, everything=all_categories))
    if left_out:
        raise typer.Exit(1)


File: TypeAlias = "tuple[str, LightmelError | None]"
"""A file, and why it is none where a folder has no sound."""
Result: TypeAlias = "tuple[str, Tagging | LightmelError, float]"
"""A file, what came of it, and the seconds that took."""


def _is_given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _results(
    tagger: Tagger, files: Sequence[File], titles: dict[str, str], coverage: float
) -> Iterator[Result]:
    """Yield what comes of each file, in order; several are tagged at the same time, one thread each."""
    began = perf_counter()
    with show.without_chatter():
        results = _tagged(tagger, files, coverage)
        for done, (path, _) in enumerate(files):
            doing = f"tagging {titles.get(path, path)}"
            if len(files) > 1:
                left = (perf_counter() - began) / done * (len(files) - done) if done else None
                soon = "" if left is None else f", {timedelta(seconds=round(left))} left"
                doing = f"{done + 1} of {len(files)}{soon}: {doing}"
            with show.busy(doing):
                result = next(results)
            yield result


def _tagged(tagger: Tagger, files: Iterable[File], coverage: float) -> Iterator[Result]:
    def one(file: File) -> Result:
        path, unfound = file
        started = perf_counter()
        result = unfound or next(tagger.tag_many([path], coverage=coverage, errors="return"))
        return path, result, perf_counter() - started

    files = list(files)
    count = process.jobs(len(files)) if tagger.device == "cpu" else 1
    if count == 1:
        yield from map(one, files)
        return
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(count, process.WORKERS)
    try:
        for file in files:
            waiting.append(pool.submit(one, file))
            if len(waiting) > 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _of_no_music(result: Tagging) -> list[tuple[str, float]]:
    from ..inference import NOT_MUSIC

    return list(result.by_category().get(NOT_MUSIC, ()))


def _has_categories(result: Tagging) -> bool:
    """Return whether a view by category says something: not for a tagger of, say, instruments only."""
    return len(set(SHOWN).intersection(result.by_category())) > 1


def _rows(result: Tagging, k: int, *, everything: bool) -> dict[str, tuple[tuple[str, float], ...]]:
    """Return the categories to show: what is no music has no genre, only what it is otherwise."""
    found = result.by_category(k, None if result.thresholds else LOWEST)
    if everything:
        return found
    if result.is_music is False:
        return {name: best for name, best in found.items() if best}
    return {name: best for name, best in found.items() if name in SHOWN or (name == "other" and best)}


def _files(given: list[str]) -> Iterator[tuple[str, LightmelError | None]]:
    """Yield the named files and those below the named folders; for a folder without sound, an error."""
    from .. import audio
    from ..errors import AudioError

    for name in given:
        if not is_folder(name):
            yield name, None
        elif found := audio.find(name, empty=True):
            yield from ((str(path), None) for path in found)
        else:
            yield name, AudioError(f"a folder without sound: no {', '.join(audio.SUFFIXES)}.")


def load_tagger(model: str, device: str, precision: str) -> Tagger:
    """Load the tagger; a name or a device that nobody knows is a mistake in the command line."""
    from ..errors import ConfigError, UnknownModelError

    try:
        with show.busy(f"loading {model}"):
            from .. import load

            return load(model, device=device, precision=precision)
    except UnknownModelError as error:
        raise typer.BadParameter(str(error), param_hint="--model") from None
    except ConfigError as error:
        raise typer.BadParameter(in_options(error)) from None
