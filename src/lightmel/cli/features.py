"""``lightmel features``: the features of a data set, in a store that trainings read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..datasets import DataConfig
from ..features import StoreConfig
from . import show
from .options import with_options
from .progress import say
from .work import at_work

SHOWN_FAILURES = 10


@with_options(store=StoreConfig(), data=DataConfig())
def features(
    out: Annotated[
        Path, typer.Option(help="Folder of the store; one that was left unfinished is gone on with.")
    ],
    music: Annotated[
        Path | None,
        typer.Argument(
            metavar="MUSIC",
            help="A folder of sound, a table of paths and tags, or the folder of a published set's sound, "
            "with --dataset.",
            show_default=False,
        ),
    ] = None,
    derive: Annotated[
        Path | None,
        typer.Option(
            help="A store to take frames from, in place of MUSIC: those of a --frontend with a larger hop.",
            show_default=False,
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Make clips that failed or are damaged anew.")
    ] = False,
    *,
    store: Any,
    data: Any,
) -> None:
    """Compute the features of many sound files, once for all trainings.

    Stopped at any moment, the same command goes on from there. A file that cannot be read is listed, and the
    rest go on.
    """
    if (music is None) == (derive is None):
        raise typer.BadParameter("Give either the sound, or a store with --derive.", param_hint="MUSIC")
    from .. import audio
    from ..datasets import load_dataset
    from ..errors import ConfigError
    from ..features import FeatureStore, build_store, telling
    from ..frontends import config_from_slug

    with at_work(out) as work:
        how, what = store(), data()
        config = config_from_slug(how.frontend)

        def clips(doing: str, total: int) -> Any:
            return telling(out, total, lambda done, all_of_it: work.progress(doing, done, all_of_it))

        if derive is not None:
            if how != StoreConfig(frontend=how.frontend):
                raise ConfigError(
                    "A derived store keeps type and length: no --dtype, --excerpt-seconds, --workers."
                )
            base = FeatureStore.open(derive)
            made = base.derive(out, config, on_clip=clips("deriving", len(base)))
        else:
            assert music is not None
            if music.is_dir() and what.dataset == "table":
                sources = {path.relative_to(music).as_posix(): path for path in audio.find(music)}
            else:
                found = load_dataset(music, what)
                found.require_sound()
                sources = found.sources()
            renewed: set[str] = set()
            if again and out.exists():
                old = FeatureStore.open(out)
                renewed = {*old.failed, *old.verify()}
            made = build_store(
                out,
                sources,
                config,
                dtype=how.dtype,
                excerpt_seconds=how.excerpt_seconds or None,
                workers=None if how.workers < 0 else how.workers,
                again=renewed,
                on_clip=clips("computing features", len(sources)),
            )
    for key, reason in list(made.failed.items())[:SHOWN_FAILURES]:
        say(f"lightmel features: {key}: {reason}")
    if len(made.failed) > SHOWN_FAILURES:
        say(f"lightmel features: and {len(made.failed) - SHOWN_FAILURES} more")
    show.text(
        f"{out}: {len(made):,} clips, {made.config.slug} as {made.dtype}, {made.n_bytes / 1e6:,.1f} MB"
        f"; {len(made.failed):,} failed"
    )
    if not len(made):
        raise typer.Exit(1)
