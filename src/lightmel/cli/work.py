"""Progress of the long commands, and how they end: done, failed or stopped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from ..errors import StoppedError
from .command import called
from .progress import progress_bar, say, show_epoch, stopping

if TYPE_CHECKING:
    from ..training import Callbacks


class Work(NamedTuple):
    """Functions that a long command calls with its progress, and with each trainer that starts."""

    progress: Callable[[str, int, int], None]
    on_start: Callable[[Any], None]

    def callbacks(self, epochs: int, *on_epoch: Callable[[dict[str, float]], None]) -> Callbacks:
        """Return callbacks for a training: a bar for its steps, and a line for each of its `epochs`."""
        from ..training import Callbacks

        def each(line: dict[str, float]) -> None:
            for show in (show_epoch(epochs), *on_epoch):
                show(line)

        return Callbacks(
            on_start=self.on_start,
            on_epoch=each,
            on_step=lambda done, total: self.progress("training", done, total),
            on_progress=self.progress,
        )


class _Log(logging.Handler):
    """Writes the lines of the log above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).split("\n"):  # a traceback has several
            say(line)


def log_to_stderr(*, debug: bool = False) -> None:
    """Let the log be written to stderr: warnings; to `debug`, all of lightmel's own, with tracebacks."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Log()], format="%(message)s")
    if debug:
        logging.getLogger("lightmel").setLevel(logging.DEBUG)


@contextmanager
def at_work(kept: Path | None = None, *, spare: bool = False) -> Iterator[Work]:
    """Show progress, and turn a stop into a line on stderr and an exit code.

    Parameters
    ----------
    kept
        The folder from which the same command goes on after a stop, if there is one.
    spare
        Whether that folder goes away when all is done.
    """
    log_to_stderr()
    try:
        with progress_bar() as progress, stopping() as on_start:
            yield Work(progress, on_start)
        from ..training import is_first_process

        if spare and kept is not None and is_first_process():
            shutil.rmtree(kept, ignore_errors=True)
    except (StoppedError, KeyboardInterrupt):
        again = f" The same command goes on from {kept}." if kept else ""
        say(f"{called()}: stopped.{again}")
        raise typer.Exit(130) from None


def spare_folder(out: Path) -> Path:
    """Return where a command keeps features and checkpoints if nobody says where."""
    return out.parent / f"{out.name}.work"
