"""Progress of long commands on stderr, and Ctrl-C, which ends a training after its step."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any

from .._each import printable

_LINE_SECONDS = 30.0
"""Seconds between two lines in a log file, where a terminal has a bar that moves."""


def say(text: str) -> None:
    """Write a line to stderr as it is now: while a bar moves, rich's, which puts the line above it.

    Nobody is left to be told where it cannot be written.
    """
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{printable(text)}\n")
            sys.stderr.flush()


@contextmanager
def progress_bar(unit: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of what is being done, how much of it is done, and all of it.

    With a `unit`, such as ``"files"``, it is said how many are done in a second.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    ]
    if unit:
        columns.insert(3, TextColumn("{task.fields[rate]}"))
    shown = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, Any] = {}
    told = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal told
        if not tasks:
            shown.start()
        if what not in tasks:
            tasks[what] = shown.add_task(what, total=total, rate="")
        speed = shown.tasks[tasks[what]].speed
        rate = f"{speed:.1f} {unit}/s" if unit and speed else ""
        shown.update(tasks[what], completed=done, total=total, rate=rate)
        if not shown.console.is_terminal and time.monotonic() - told >= _LINE_SECONDS:
            told = time.monotonic()
            left = shown.tasks[tasks[what]].time_remaining
            soon = f", {timedelta(seconds=round(left))} left" if left else ""
            say(f"{what} {done}/{total}{rate and f', {rate}'}{soon}")

    try:
        yield show
    finally:
        if tasks:  # else there is nothing to show, and rich would end it with an empty line
            shown.stop()


def show_epoch(epochs: int, stage: str = "") -> Callable[[dict[str, float]], None]:
    """Return a function that shows a line of a training's history, and the stage that it is of."""

    def show(line: dict[str, float]) -> None:
        validated = f"valid PR AUC {line['valid_pr_auc']:.4f}  " if "valid_pr_auc" in line else ""
        text = f"loss {line['loss']:.4f}  {validated}{line['seconds']:.0f} s"
        say(f"{stage}epoch {line['epoch'] + 1:.0f}/{epochs}  {text}")

    return show


@contextmanager
def stopping() -> Iterator[Callable[[Any], None]]:
    """Let Ctrl-C stop whatever trainer the yielded function is given, and those that come after it.

    While none is training, and at the second time, it ends at once.
    """
    trainers: list[Any] = []
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or not any(trainer.running for trainer in trainers):
            raise KeyboardInterrupt
        asked = True
        say("stopping after this step; Ctrl-C again ends at once")
        for trainer in trainers:
            trainer.stop()

    def on_start(trainer: Any) -> None:
        trainers.append(trainer)
        if asked:
            trainer.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield on_start
    finally:
        signal.signal(signal.SIGINT, before)
