"""What the long commands share: progress, an end in order, and the mels that they work on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from ..errors import LightmelError, StoppedError
from .progress import progress_bar, stopping

if TYPE_CHECKING:
    from ..config import MelConfig
    from ..data import Dataset, FeatureStore


class Work(NamedTuple):
    """What a long command tells of while it works, and whom it lets be stopped."""

    progress: Callable[[str, int, int], None]
    on_start: Callable[[Any], None]

    def steps(self, done: int, total: int) -> None:
        """Show the steps of a training."""
        self.progress("training", done, total)

    def clips(self, what: str, total: int) -> Callable[[str, str | None], None]:
        """Return what a feature store tells of each clip, of so many."""
        done = 0

        def show(key: str, failed: str | None) -> None:
            nonlocal done
            done += 1
            self.progress(what, done, total)

        return show


@contextmanager
def at_work(command: str, kept: Path | None) -> Iterator[Work]:
    """Show progress, and turn what goes wrong into a line on stderr and an exit code.

    Parameters
    ----------
    command
        Who speaks.
    kept
        The folder from which the same command goes on after a stop, if there is one.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        with progress_bar() as progress, stopping() as on_start:
            yield Work(progress, on_start)
    except (StoppedError, KeyboardInterrupt):
        again = f"The same command goes on from {kept}." if kept else "Without --work it begins anew."
        typer.echo(f"lightmel {command}: stopped. {again}", err=True)
        raise typer.Exit(130) from None
    except LightmelError as error:
        typer.echo(f"lightmel {command}: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def store_of(
    data: Dataset, config: MelConfig, features: Path | None, work: Path | None, tell: Work
) -> Iterator[FeatureStore]:
    """Open the store in `features`, or make one in `work`, or else one that goes away in the end."""
    from ..data import FeatureStore, build_store

    with ExitStack() as stack:
        if features is not None:
            yield FeatureStore.open(features)
            return
        folder = work if work is not None else Path(stack.enter_context(TemporaryDirectory()))
        sources = data.sources()
        yield build_store(
            folder / config.slug, sources, config, on_clip=tell.clips("listening", len(sources))
        )
