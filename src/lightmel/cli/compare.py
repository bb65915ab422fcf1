"""``lightmel compare``: the figures of several taggers beside each other, and what tells them apart."""

from __future__ import annotations

import glob
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import show

if TYPE_CHECKING:
    from ..evaluation import Evaluation

VERSUS = "vs"


def compare(
    figures: Annotated[
        list[str],
        typer.Argument(
            metavar="FIGURES...",
            help="Files of figures (.json) that evaluate, train, finetune, distill or calibrate wrote. Put "
            f"the runs of one tagger with other seeds together, and '{VERSUS}' between them and those of "
            f"the next: a-*.json {VERSUS} b-*.json. Without it each file is a tagger of its own.",
            show_default=False,
        ),
    ],
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="Show them side by side even if they are not of the same clips."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON document.")] = False,
) -> None:
    """Compare taggers by their figures: means over seeds, and differences from the first one.

    The interval of a difference is over the clips, the same ones for both. The p-value is that of the t-test
    of independent samples over the runs, as in the paper.
    """
    from ..errors import DataError
    from ..evaluation import Evaluation, compare_runs

    files = _grouped(figures)
    groups = [[Evaluation.load(file) for file in own] for own in files]
    try:
        found = compare_runs(dict(zip(_names(files, groups), groups, strict=True)), anyway=anyway)
    except DataError as error:
        raise DataError(f"{error} With --anyway they are shown side by side.") from None
    if as_json:
        show.json_line(found.to_dict())
    else:
        typer.echo(found.table())


def _grouped(given: list[str]) -> list[list[Path]]:
    """Return the files of each tagger: between ``vs``, or each for itself; patterns are filled in.

    Raises
    ------
    typer.BadParameter
        If nothing stands on one side, or nothing fits a pattern.
    """
    groups: list[list[Path]] = [[]]
    for word in given:
        if word == VERSUS:
            groups.append([])
        elif Path(word).exists() or not glob.has_magic(word):
            groups[-1].append(Path(word))
        else:
            files = sorted(map(Path, glob.glob(word)))  # noqa: PTH207 - the pattern may be absolute
            if not files:
                raise typer.BadParameter(f"No file fits {word}.", param_hint="FIGURES")
            groups[-1] += files
    if not all(groups):
        raise typer.BadParameter(f"Files stand on both sides of '{VERSUS}'.", param_hint="FIGURES")
    return groups if len(groups) > 1 else [[file] for file in groups[0]]


def _names(files: list[list[Path]], groups: list[list[Evaluation]]) -> list[str]:
    """Return a name for each tagger: its own, or that of its files where that tells more."""
    models = [{e.model for e in own} for own in groups]
    names = [next(iter(own)) if len(own) == 1 else "" for own in models]
    count = Counter(names)
    found = [
        name if name and count[name] == 1 else _of_files(own) for name, own in zip(names, files, strict=True)
    ]
    return [name if found.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(found)]


def _of_files(files: list[Path]) -> str:
    stems = [file.stem for file in files]
    if len(stems) == 1:
        return stems[0]
    shared = [a for a, *others in zip(*stems, strict=False) if all(a == b for b in others)]
    return f"{''.join(shared)}*"
