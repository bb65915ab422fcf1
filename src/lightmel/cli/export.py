"""``lightmel export``: a tagger as ONNX, for other runtimes, languages and browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .tag import load_tagger


def export(
    name: Annotated[str, typer.Argument(metavar="TAGGER", help="A name, a file, or OWNER/NAME on the Hub.")],
    out: Annotated[
        Path, typer.Option(help="The graph, NAME.onnx; NAME.wave.onnx and NAME.golden.npz go beside it.")
    ],
) -> None:
    """Write a tagger as two ONNX graphs: one behind the front end, one that takes waves.

    Both are run and compared with the tagger before they are kept. `lightmel tag --model NAME.onnx` needs no
    torch.
    """
    from ..inference import export as write

    tagger = load_tagger(name, "cpu", "float32")
    with show.busy(f"exporting {tagger.name}"):
        made = write(tagger, out)
    config, length = tagger.config, f"{tagger.segment_seconds:g} s"
    show.text(f"{made.features}: {config.slug} features of {length} -> logits, embedding")
    show.text(f"{made.wave}: {tagger.segment_samples} samples at {config.sr} Hz -> scores, embedding")
    show.text(f"{made.golden}: what they give; their scores differ by at most {made.difference:.1g}")
    show.text(f"Try: lightmel tag song.mp3 --model {made.features}")
