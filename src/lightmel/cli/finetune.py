"""``lightmel finetune``: a tagger for one's own tags, from one that knows music already."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..datasets.config import DataConfig
from ..training.config import FinetuneConfig
from .options import with_options
from .progress import show_epoch
from .train import Features, Name, Out, Source, Version, WorkFolder, report
from .work import at_work, spare_folder, store_of


@with_options(config=FinetuneConfig(), data=DataConfig())
def finetune(
    source: Source,
    out: Out,
    base: Annotated[
        str, typer.Option("--from", help="A name that `lightmel models` lists, or a tagger's file.")
    ] = "default",
    features: Features = None,
    work: WorkFolder = None,
    name: Name = "",
    version: Version = "1",
    licence: Annotated[
        str, typer.Option(help="Of the weights; empty is that of the tagger they grew from.")
    ] = "",
    *,
    config: Any,
    data: Any,
) -> None:
    """Teach a tagger other tags, from a hundred labelled clips or more."""
    from ..checkpoint.safetensors import check_path
    from ..datasets import load_dataset
    from ..inference.tagger import load
    from ..training.finetuning import finetune as learn

    kept = work or spare_folder(out)
    with at_work("finetune", kept, spare=work is None) as tell:
        check_path(out)
        given, clips, tagger = config(), load_dataset(source, data()), load(base)
        store = store_of(clips, tagger.config, features, kept, tell)
        made = learn(
            tagger,
            clips,
            store,
            given,
            name=name or out.name.removesuffix(".safetensors"),
            version=version,
            licence=licence or None,
            work=kept / "run",
            on_start=tell.on_start,
            on_epoch=show_epoch(given.head_epochs + given.epochs),
            on_step=tell.steps,
        )
        made.save(out)
    report(made, out)
