"""``lightmel features``: the mels of a data set, in a store that trainings read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..datasets.config import DataConfig
from ..errors import ConfigError
from ..features.config import StoreConfig
from .options import with_options
from .work import at_work

SHOWN_FAILURES = 10


@with_options(store=StoreConfig(), data=DataConfig())
def features(
    out: Annotated[Path, typer.Option(help="The store: a folder, new or left unfinished.")],
    source: Annotated[
        Path | None,
        typer.Argument(help="A table of paths and tags, or a folder of sound.", show_default=False),
    ] = None,
    derive: Annotated[
        Path | None,
        typer.Option(help="Take every so many frames of this store instead.", show_default=False),
    ] = None,
    hop_factor: Annotated[
        int | None, typer.Option(help="With --derive: of the new store.", show_default=False)
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Make clips that failed or are damaged once more.")
    ] = False,
    *,
    store: Any,
    data: Any,
) -> None:
    """Make the mels of many sound files, once for all trainings.

    Stopped at any moment, the same command goes on. A file that cannot be read is listed, and the rest go on.
    """
    if (source is None) == (derive is None):
        raise typer.BadParameter("Give either the sound, or --derive with a store.", param_hint="SOURCE")
    if (hop_factor is None) != (derive is None):
        raise typer.BadParameter(
            "--derive and --hop-factor go together; of mels from sound, --mel says all.",
            param_hint="--hop-factor",
        )
    from ..datasets import load_dataset
    from ..features import FeatureStore, build_store, sound_files
    from ..frontends.mel import MelConfig

    with at_work("features", out) as work:
        what = data()
        if derive is not None:
            if store() != StoreConfig():
                raise ConfigError(
                    "A derived store keeps type and length of its frames: no --mel, --dtype, --middle."
                )
            made = FeatureStore.open(derive)
            assert hop_factor is not None
            made = made.derive(out, hop_factor, on_clip=work.clips("deriving", len(made), out))
        else:
            assert source is not None
            plain = source.is_dir() and what.dataset == "table"
            sources = sound_files(source) if plain else load_dataset(source, what).sources()
            how = store()
            renewed: set[str] = set()
            if again and out.exists():
                old = FeatureStore.open(out)
                renewed = {*old.failed, *old.verify()}
            made = build_store(
                out,
                sources,
                MelConfig.from_slug(how.mel),
                dtype=how.dtype,
                seconds=how.middle or None,
                workers=how.workers or None,
                again=renewed,
                on_clip=work.clips("listening", len(sources), out),
            )
    for key, reason in list(made.failed.items())[:SHOWN_FAILURES]:
        typer.echo(f"lightmel features: {key}: {reason}", err=True)
    if len(made.failed) > SHOWN_FAILURES:
        typer.echo(f"lightmel features: and {len(made.failed) - SHOWN_FAILURES} more", err=True)
    typer.echo(
        f"{out}: {len(made):,} clips, {made.config.slug} as {made.dtype}, {made.n_bytes / 1e6:,.1f} MB"
        f"; {len(made.failed):,} failed"
    )
    if not len(made):
        raise typer.Exit(1)
