"""The process of the command line, which is ours: its threads, its streams, and how it ends.

Nothing of this holds for the library: a process of somebody else's keeps what is set in it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import threading
from collections.abc import Callable

from .._each import unexpected
from ..errors import NO_TORCH, LightmelError
from ..workers import ONE_THREAD, cores
from .command import called, failed
from .progress import say

WORKERS = "lightmel-file"
"""How threads are called that work on files, of which none is waited for after Ctrl-C."""
log = logging.getLogger("lightmel")

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def run(app: Callable[[], object]) -> None:
    """Run the command line in this process, and end it."""
    if not any(name in os.environ for name in ONE_THREAD):
        # Threads that share one file wait for each other, and all of them for a program beside this one.
        os.environ.update(ONE_THREAD)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a name of a file need not be text, nor in its character set
            stream.reconfigure(errors="backslashreplace")
    code = _code(app)
    if code == 130 and any(thread.name.startswith(WORKERS) for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def jobs(files: int) -> int:
    """Return how many of some files are worked on at the same time."""
    try:
        threads = max(1, int(os.environ.get("OMP_NUM_THREADS", "")))
    except ValueError:  # a process of somebody else's: all cores are taken
        return 1
    return max(1, min(files, cores() // threads))


def _code(app: Callable[[], object]) -> int | str | None:
    try:
        try:
            app()
        except SystemExit as end:
            if end.code == 130:  # Ctrl-C: leave the shell's prompt on a line of its own
                say("")
            if sys.stdout is not None:
                sys.stdout.flush()
            return end.code
    except ModuleNotFoundError as error:
        if error.name != "torch":
            return _broken(error)
        say(f"lightmel: {NO_TORCH}")
        return 1
    except BrokenPipeError:  # whoever read has enough
        _let_go()
        return 1
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            return _broken(error)
        _let_go()
        say(f"lightmel: the standard output cannot be written: {error.strerror}.")
        return 1
    except Exception as error:
        return _broken(error)
    return 0


def _broken(error: Exception) -> int:
    """Say in a line what no command has caught, to the log with its traceback, and return the exit code."""
    command = called()
    if isinstance(error, LightmelError):
        failed(error)
        return 1
    log.debug("%s: failed", command, exc_info=error)
    if isinstance(error, MemoryError):
        say(f"{command}: memory ran out. Give it less at a time, or end other programs.")
    else:
        say(f"{command}: lightmel failed, {unexpected(error)}")
    return 1


def _let_go() -> None:
    """Lead the standard output nowhere, where Python will write what is left at the end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
