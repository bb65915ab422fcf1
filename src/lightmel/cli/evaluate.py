"""``lightmel evaluate``: what a tagger is worth on labelled sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._files import check_target
from ..datasets.config import DataConfig
from ..errors import DataError
from .options import with_options
from .train import Features, Source
from .work import at_work


@with_options(data=DataConfig())
def evaluate(
    model: Annotated[str, typer.Argument(help="A name that `lightmel models` lists, or a tagger's file.")],
    source: Source,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the figures here as JSON, and their table beside it (.md).", show_default=False
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which clips: train, valid or test.")] = "test",
    features: Features = None,
    *,
    data: Any,
) -> None:
    """Judge a tagger by labelled clips: ROC AUC and PR AUC of each tag, and their means with intervals."""
    from ..datasets import load_dataset
    from ..evaluation.protocol import evaluate as judge
    from ..evaluation.protocol import evaluate_files
    from ..features import FeatureStore
    from ..inference.tagger import load
    from ..training.supervised import read_parts

    with at_work("evaluate") as tell:
        if out is not None:
            check_target(out, (".md",), DataError)
        tagger, clips = load(model), load_dataset(source, data())
        if features is None:
            found = evaluate_files(
                tagger, clips, split, on_clip=lambda done, total: tell.progress("listening", done, total)
            )
        else:
            parts = read_parts(clips, FeatureStore.open(features), tagger.network.input_shape[1], [split])
            found = judge(
                tagger,
                parts.examples[split],
                clips.tags,
                dataset=clips.name,
                protocol=clips.protocol,
                split=split,
                failed=parts.failed[split],
            )
        typer.echo(found.table())
        if out is not None:
            found.save(out)
