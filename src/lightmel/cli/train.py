"""``lightmel train``: a tagger of one's own, from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..datasets.config import DataConfig
from ..training.config import TaggerConfig, TrainConfig
from .options import with_options
from .progress import show_epoch
from .work import at_work, spare_folder, store_of

if TYPE_CHECKING:
    from ..training.supervised import Trained

Source = Annotated[Path, typer.Argument(help="A table of paths and tags, or a folder with a folder a tag.")]
Out = Annotated[Path, typer.Option(help="The tagger's file; figures (.json) and a table (.md) go beside it.")]
Features = Annotated[
    Path | None, typer.Option(help="A store that `lightmel features` made.", show_default=False)
]
WorkFolder = Annotated[
    Path | None,
    typer.Option(
        help="Keep mels and checkpoints here, also when all is done; otherwise beside --out, until then.",
        show_default=False,
    ),
]
Name = Annotated[str, typer.Option(help="What the tagger signs its scores with; empty is the file's name.")]
Version = Annotated[str, typer.Option(help="Of the tagger.")]


@with_options(what=TaggerConfig(), training=TrainConfig(), data=DataConfig())
def train(
    source: Source,
    out: Out,
    features: Features = None,
    work: WorkFolder = None,
    name: Name = "",
    version: Version = "1",
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "not stated",
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write event files for TensorBoard here.", show_default=False)
    ] = None,
    *,
    what: Any,
    training: Any,
    data: Any,
) -> None:
    """Train a tagger from scratch on labelled sound.

    Under torchrun, several processes share each batch; make the store beforehand then, and name it with
    --features.
    """
    from ..checkpoint.safetensors import check_path
    from ..datasets import load_dataset
    from ..models.named import parse_name
    from ..training.distributed import is_first_process
    from ..training.supervised import train_tagger

    kept = work or spare_folder(out)
    with at_work("train", kept, spare=work is None) as tell:
        check_path(out)
        given, how, clips = what(), training(), load_dataset(source, data())
        _, config = parse_name(given.network)
        shown = [show_epoch(how.epochs)]
        if tensorboard is not None and is_first_process():
            from ..training.tensorboard import to_tensorboard

            shown.append(to_tensorboard(tensorboard))

        def on_epoch(line: dict[str, float]) -> None:
            for show in shown:
                show(line)

        store = store_of(clips, config, features, kept, tell)
        made = train_tagger(
            clips,
            store,
            given,
            how,
            name=name or out.name.removesuffix(".safetensors"),
            version=version,
            licence=licence,
            work=kept / "run",
            on_start=tell.on_start,
            on_epoch=on_epoch,
            on_step=tell.steps,
        )
        made.save(out)
    report(made, out)


def report(made: Trained, out: Path) -> None:
    """Show what came of a training, and what to do with it."""
    from ..training.distributed import is_first_process

    if is_first_process():
        if made.evaluation is not None:
            typer.echo(f"{made.evaluation.table()}\n")
        typer.echo(
            f"{out}: {made.tagger.name}, {len(made.tagger.tags)} tags, "
            f"licence {made.tagger.description.licence}"
        )
        typer.echo(f"Try: lightmel tag song.mp3 --model {out}")
