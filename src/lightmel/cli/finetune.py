"""``lightmel finetune``: a tagger for one's own tags, from a trained one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..datasets import DataConfig
from ..training import FinetuneConfig, Signature
from .options import Device, with_options
from .overwriting import Force, check_names, same_settings, spare_others
from .progress import show_epoch
from .train import MUSIC, Features, Out, WorkFolder, named, report
from .work import at_work, spare_folder

if TYPE_CHECKING:
    from ..checkpoint import Description
    from ..datasets import Dataset


@with_options(how=FinetuneConfig(), data=DataConfig(), signature=Signature())
def finetune(
    out: Out,
    music: Annotated[Path | None, MUSIC] = None,
    from_library: Annotated[
        Path | None,
        typer.Option(
            help="In place of MUSIC: a music folder, whose files' genre fields are the tags; as MUSIC with "
            "--dataset library.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option("--from", help="Tagger to start from: a name that `lightmel models` lists, or a file."),
    ] = "default",
    features: Features = None,
    work: WorkFolder = None,
    force: Force = False,
    device: Device = "auto",
    *,
    how: Any,
    data: Any,
    signature: Any,
) -> None:
    """Teach a tagger other tags, from a hundred labelled clips or more."""
    if (music is None) == (from_library is None):
        raise typer.BadParameter("Give either labelled music, or a music folder with --from-library.")
    if from_library is not None and data.values["dataset"] not in ("table", "library"):
        raise typer.BadParameter("--from-library is no published set: leave --dataset out.")
    from ..checkpoint import check_path
    from ..datasets import load_dataset
    from ..features import FeatureStore
    from ..inference import load
    from ..training import finetune as learn

    kept = work or spare_folder(out)
    with at_work(kept, spare=work is None) as tell:
        check_path(out)
        check_names(out, signature().name)
        given = how()
        if from_library is not None:
            clips = load_dataset(from_library, data(dataset="library"))
        else:
            assert music is not None
            clips = load_dataset(music, data())
        own = load(base, device="cpu").description
        spare_others(out, force, _made(given, clips, own, named(signature(), out)))
        made = learn(
            base,
            clips,
            None if features is None else FeatureStore.open(features),
            given,
            signature=named(signature(), out),
            work=kept,
            callbacks=tell.callbacks(given.passes).replace(on_epoch=_show_stages(given)),
            device=device,
        )
        made.save(out)
    report(made, out)


def _made(
    given: FinetuneConfig, clips: Dataset, base: Description, signature: Signature
) -> Callable[[Description], bool]:
    """Return whether a tagger is what this command makes."""

    def is_same(there: Description) -> bool:
        made, body = there.provenance, there.provenance.get("body")
        from_it = isinstance(body, Mapping) and (body.get("name"), body.get("version")) == (
            base.name,
            base.version,
        )
        signed = (there.name, there.version, there.license)
        wanted = (signature.name, signature.version, signature.license or base.license)
        same = (made.get("data"), signed) == (clips.label, wanted)
        return from_it and same and same_settings(made.get("finetuning"), given)

    return is_same


def _show_stages(given: FinetuneConfig) -> Callable[[dict[str, float]], None]:
    """Return a function that shows a line of the history, with the fold and the stage that it is of."""
    stages = given.stages
    passes = sum(stage.epochs for stage in stages)

    def show(line: dict[str, float]) -> None:
        fold, epoch = divmod(int(line["epoch"]), passes)
        stage = next(s for s in stages if epoch < s.epochs or s is stages[-1])
        if stage is not stages[0]:
            epoch -= stages[0].epochs
        which = ""
        if given.folds:
            which = f"fold {fold + 1}/{given.folds}, " if fold < given.folds else "the kept tagger, "
        show_epoch(stage.epochs, f"{which}{stage.trainable}: ")(line | {"epoch": epoch})

    return show
