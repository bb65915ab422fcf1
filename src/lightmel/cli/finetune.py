"""``lightmel finetune``: a tagger for one's own tags, from a trained one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..datasets import DataConfig
from ..training import FinetuneConfig, Signature
from .options import Device, with_options
from .train import Features, Music, Out, WorkFolder, named, report
from .work import at_work, spare_folder


@with_options(how=FinetuneConfig(), data=DataConfig(), signature=Signature())
def finetune(
    music: Music,
    out: Out,
    base: Annotated[
        str,
        typer.Option("--from", help="Tagger to start from: a name that `lightmel models` lists, or a file."),
    ] = "default",
    features: Features = None,
    work: WorkFolder = None,
    device: Device = "auto",
    *,
    how: Any,
    data: Any,
    signature: Any,
) -> None:
    """Teach a tagger other tags, from a hundred labelled clips or more."""
    from ..checkpoint import check_path
    from ..datasets import load_dataset
    from ..features import FeatureStore
    from ..training import finetune as learn

    kept = work or spare_folder(out)
    with at_work("finetune", kept, spare=work is None) as tell:
        check_path(out)
        given, clips = how(), load_dataset(music, data())
        made = learn(
            base,
            clips,
            None if features is None else FeatureStore.open(features),
            given,
            signature=named(signature(), out),
            work=kept,
            callbacks=tell.callbacks(given.passes),
            device=device,
        )
        made.save(out)
    report(made, out)
