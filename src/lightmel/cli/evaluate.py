"""``lightmel evaluate``: a tagger's figures on labelled clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..datasets import DataConfig
from .options import Device, with_options
from .tag import Model
from .train import Features, Music
from .work import at_work


@with_options(data=DataConfig())
def evaluate(
    music: Music,
    model: Model = "default",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the figures (JSON); their table (.md), scores of the clips (.npz) and settings "
            "(.toml) go beside it.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which clips: train, valid or test.")] = "test",
    features: Features = None,
    device: Device = "auto",
    *,
    data: Any,
) -> None:
    """Evaluate a tagger on labelled clips: ROC AUC and PR AUC of each tag, and their means with intervals."""
    from .._files import check_target
    from ..datasets import load_dataset
    from ..errors import DataError
    from ..evaluation import evaluate as measure
    from ..features import FeatureStore
    from ..inference import load

    with at_work() as tell:
        if out is not None:
            check_target(out, (".md", ".npz", ".toml"), DataError)
        found = measure(
            load(model, device=device),
            load_dataset(music, data()),
            split,
            features=None if features is None else FeatureStore.open(features),
            on_clip=lambda done, total: tell.progress("evaluating", done, total),
        )
        typer.echo(found.table())
        if out is not None:
            found.save(out)
