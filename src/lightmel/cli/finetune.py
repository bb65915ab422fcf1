"""``lightmel finetune``: a tagger for one's own tags, from a trained one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..datasets import DataConfig
from ..training import FinetuneConfig, Signature
from .options import Device, with_options
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Let the new tagger take the place of another one in --out.")
    ] = False,
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
    with at_work("finetune", kept, spare=work is None) as tell:
        check_path(out)
        given = how()
        if from_library is not None:
            clips = load_dataset(from_library, data(dataset="library"))
        else:
            assert music is not None
            clips = load_dataset(music, data())
        if not overwrite:
            _spare_others(out, given, clips, load(base, device="cpu").description, named(signature(), out))
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


def _spare_others(
    out: Path, given: FinetuneConfig, clips: Dataset, base: Description, signature: Signature
) -> None:
    """Refuse to take the place of a file, unless the same command wrote it."""
    from ..checkpoint import read_description
    from ..errors import WeightsError

    if not out.exists():
        return
    try:
        there = read_description(out)
    except WeightsError:
        raise WeightsError(f"{out} exists and is no tagger: name another file for the new one.") from None
    made = there.provenance
    body = made.get("body")
    from_it = isinstance(body, Mapping) and (body.get("name"), body.get("version")) == (
        base.name,
        base.version,
    )
    signed = (there.name, there.version, there.license)
    wanted = (signature.name, signature.version, signature.license or base.license)
    same = (made.get("finetuning"), made.get("data"), signed) == (asdict(given), clips.label, wanted)
    if not (from_it and same):
        shown = ", ".join(there.tags[:5]) + (", ..." if len(there.tags) > 5 else "")
        raise WeightsError(
            f"{out} is there already: the tagger {there.name} {there.version} ({len(there.tags)} tags: "
            f"{shown}), of another tagger, other clips or settings. Name another file, or say --overwrite."
        )
