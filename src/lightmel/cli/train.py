"""``lightmel train``: a tagger of one's own, from scratch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..datasets import DataConfig
from ..errors import ConfigError
from ..training import RECIPES, Recipe, Signature, TaggerConfig, TrainConfig, find_recipe
from . import show
from .options import Device, with_options
from .overwriting import Force, check_names, same_settings, spare_others
from .progress import say
from .work import at_work, spare_folder

if TYPE_CHECKING:
    from ..checkpoint import Description
    from ..training import Trained

MUSIC = typer.Argument(
    metavar="MUSIC",
    help="A table of paths and tags, a folder with a folder for each tag, or, with --dataset, a music folder "
    "whose files carry genres, or the folder of a published set's sound.",
    show_default=False,
)
Music = Annotated[Path, MUSIC]
Out = Annotated[
    Path,
    typer.Option(
        help="File of the new tagger; card (.md), figures (.json, .npz) and settings (.toml) go beside it."
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(
        help="A store of the clips' features, made by `lightmel features`, in place of their files.",
        show_default=False,
    ),
]
WorkFolder = Annotated[
    Path | None,
    typer.Option(
        help="Keep checkpoints and what is computed on the way in this folder; without one they lie beside "
        "--out until all is done.",
        show_default=False,
    ),
]


def _follow(context: typer.Context, value: str | None) -> str | None:
    """Make the settings of a recipe defaults: what the command line or a file of options says wins."""
    if value is None:
        return None
    try:
        found = find_recipe(value)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None

    def batch_size() -> int:  # the network is read by then
        return found.batch_size(str(context.params.get("network", "")))

    given = {"network": found.network, **found.settings, "batch_size": batch_size}
    context.default_map = {**given, **(context.default_map or {})}
    return value


@with_options(what=TaggerConfig(), training=TrainConfig(), data=DataConfig(), signature=Signature())
def train(
    music: Music,
    out: Out,
    features: Features = None,
    work: WorkFolder = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="Write event files for TensorBoard to this folder.", show_default=False),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help=f"Train as was published, where other options do not say otherwise: {', '.join(RECIPES)}.",
            show_default=False,
            is_eager=True,
            callback=_follow,
        ),
    ] = None,
    force: Force = False,
    device: Device = "auto",
    *,
    what: Any,
    training: Any,
    data: Any,
    signature: Any,
) -> None:
    """Train a tagger from scratch on labelled sound.

    Under torchrun, several processes share each batch: make a store of the features first, and name it with
    --features.
    """
    from ..checkpoint import check_path
    from ..datasets import load_dataset
    from ..features import FeatureStore
    from ..training import is_first_process, to_tensorboard, train_tagger

    kept = work or spare_folder(out)
    with at_work(kept, spare=work is None) as tell:
        check_path(out)
        check_names(out, signature().name)
        given, how, clips = what(), training(), load_dataset(music, data())
        if recipe is not None:
            _tell_recipe(find_recipe(recipe), given, how)
        signed = named(signature(), out)

        def is_same(there: Description) -> bool:
            made, wanted = there.provenance, (signed.name, signed.version, signed.license or "not stated")
            return (
                (there.name, there.version, there.license) == wanted
                and made.get("data") == clips.label
                and same_settings(made.get("tagger"), given)
                and same_settings(made.get("training"), how)
            )

        if is_first_process():
            spare_others(out, force, is_same)
        shown = [to_tensorboard(tensorboard)] if tensorboard is not None and is_first_process() else []
        made = train_tagger(
            clips,
            None if features is None else FeatureStore.open(features),
            given,
            how,
            signature=signed,
            work=kept,
            callbacks=tell.callbacks(how.epochs, *shown),
            device=device,
        )
        made.save(out)
    report(made, out)


def _tell_recipe(recipe: Recipe, what: TaggerConfig, how: TrainConfig) -> None:
    """Say which settings a recipe gave, and which it did not."""
    now = asdict(what) | asdict(how)
    wanted = recipe.all_settings(what.network)
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in wanted.items())
    say(f"recipe {recipe.name}, of {recipe.source}: {shown}.")
    if own := [f"{name.replace('_', ' ')} {now[name]}" for name in wanted if now[name] != wanted[name]]:
        say(f"  but {', '.join(own)}, as you say")
    say(f"  otherwise than there, {recipe.differs}")


def named(signature: Signature, out: Path) -> Signature:
    """Return a signature whose name, if it has none, is that of the file."""
    if signature.name:
        return signature
    return Signature(out.name.removesuffix(".safetensors"), signature.version, signature.license)


def report(made: Trained, out: Path) -> None:
    """Show the figures of a trained tagger, where it lies, and how to use it."""
    from ..training import is_first_process

    if is_first_process():
        if made.evaluation is not None:
            typer.echo(f"{made.evaluation.table()}\n")
        if made.folds is not None:
            typer.echo(f"{made.folds.table()}\n")
        typer.echo(f"{made.summary()}\n")
        show.text(
            f"{out}: {made.tagger.name}, {len(made.tagger.tags)} tags, "
            f"license {made.tagger.description.license}"
        )
        show.text(f"Try: lightmel tag song.mp3 --model {out}")
