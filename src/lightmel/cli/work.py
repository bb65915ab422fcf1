"""What the long commands share: progress, an end in order, and the mels that they work on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from ..errors import DataError, LightmelError, StoppedError
from .progress import progress_bar, say, stopping

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..features import FeatureStore
    from ..frontends.mel import MelConfig


class Work(NamedTuple):
    """What a long command tells of while it works, and whom it lets be stopped."""

    progress: Callable[[str, int, int], None]
    on_start: Callable[[Any], None]

    def steps(self, done: int, total: int) -> None:
        """Show the steps of a training."""
        self.progress("training", done, total)

    def clips(self, what: str, total: int, folder: Path) -> Callable[[str, str | None], None]:
        """Return what the feature store in `folder`, which may be there in part, tells of each clip."""
        from ..features import FeatureStore

        done = 0
        with suppress(DataError):  # there is none yet
            known = FeatureStore.open(folder)
            done = len(known) + len(known.failed)

        def show(key: str, failed: str | None) -> None:
            nonlocal done
            done += 1
            self.progress(what, done, total)

        return show


class _Log(logging.Handler):
    """Lines of the log, above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


@contextmanager
def at_work(command: str, kept: Path | None = None, *, spare: bool = False) -> Iterator[Work]:
    """Show progress, and turn what goes wrong into a line on stderr and an exit code.

    Parameters
    ----------
    command
        Who speaks.
    kept
        The folder from which the same command goes on after a stop, if there is one.
    spare
        Nobody asked for that folder: it goes away when all is done.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_Log()], format="%(message)s")
    try:
        with progress_bar() as progress, stopping() as on_start:
            yield Work(progress, on_start)
        from ..training.distributed import is_first_process

        if spare and kept is not None and is_first_process():
            shutil.rmtree(kept, ignore_errors=True)
    except (StoppedError, KeyboardInterrupt):
        again = f" The same command goes on from {kept}." if kept else ""
        typer.echo(f"lightmel {command}: stopped.{again}", err=True)
        raise typer.Exit(130) from None
    except LightmelError as error:
        typer.echo(f"lightmel {command}: {error}", err=True)
        raise typer.Exit(1) from None


def spare_folder(out: Path) -> Path:
    """Return where a command keeps mels and checkpoints if nobody says where."""
    return out.with_name(f"{out.name}.work")


def store_of(data: Dataset, config: MelConfig, features: Path | None, work: Path, tell: Work) -> FeatureStore:
    """Open the store in `features`, or make one in `work`."""
    from ..features import FeatureStore, build_store

    if features is not None:
        return FeatureStore.open(features)
    sources = data.sources()
    folder = work / config.slug
    return build_store(folder, sources, config, on_clip=tell.clips("listening", len(sources), folder))
