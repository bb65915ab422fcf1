"""``lightmel study scores``: teachers score music once, for any number of students."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..distillation import ScoresConfig
from . import show
from .options import Device, with_options
from .work import at_work


@with_options(scores=ScoresConfig())
def scores(
    music: Annotated[
        Path,
        typer.Argument(
            metavar="MUSIC",
            help="A folder of sound, whose folders are its groups, or a table of path and group, perhaps "
            "with a column split: train or test.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the scores: the --data of a study.")],
    teacher: Annotated[
        list[str],
        typer.Option(help="Name or file of a tagger to learn from; given several times, all of them score."),
    ],
    precision: Annotated[
        str,
        typer.Option(help="Arithmetic of the teachers: float32, or bfloat16, which may take half the time."),
    ] = "float32",
    device: Device = "auto",
    *,
    scores: Any,
) -> None:
    """Score music with teachers, window by window, for students to learn from.

    Stopped at any moment, the same command goes on from there.
    """
    from ..distillation import score_music, split_music
    from ..inference import load

    with at_work(out) as work, show.without_chatter():
        config = scores()
        tracks, splits = split_music(music, config)
        teachers = [load(name, device=device, precision=precision).on_torch() for name in teacher]
        made = score_music(teachers, tracks, splits, out, config, work.progress)
    held = sum(clip.split == "test" for clip in made.clips)
    show.text(
        f"{out}: {made.n_windows:,} windows of {len(made.clips):,} clips, {held:,} of them held out, by "
        f"{len(made.teachers)} teacher{'s' if len(made.teachers) > 1 else ''}; {len(made.tags)} tags"
    )
