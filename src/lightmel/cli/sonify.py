"""``lightmel sonify``: what a network still sees of a sound, made audible."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import show
from .work import log_to_stderr


def sonify(
    source: Annotated[Path, typer.Argument(metavar="SOUND", help="A sound file.")],
    config: Annotated[str, typer.Option(help="The mel-spectrogram, such as 16k-mel48-x10-db.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The new file: .wav, .flac, .ogg or .opus.", show_default=False),
    ],
    method: Annotated[
        Literal["noise", "griffin-lim"],
        typer.Option(help="Noise shaped by the mel-spectrogram; or phases that fit, for 60 s at most."),
    ] = "noise",
    excerpt_seconds: Annotated[
        float | None,
        typer.Option(help="Seconds from the middle of the file, in place of all.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
) -> None:
    """Make audible what a network still sees of a sound: write another one that has the same mel-spectrogram.

    What cannot be heard in it is not in the mel-spectrogram.
    """
    log_to_stderr()
    with show.without_chatter(), show.busy(f"listening to {source}"):
        from ..studies import sonify_file

        made = sonify_file(source, out, config, method=method, excerpt_seconds=excerpt_seconds, seed=seed)
    show.sonified(made)
