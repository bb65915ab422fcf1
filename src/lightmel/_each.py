"""One of many files, and what goes wrong with it: a sentence, whatever was raised, and the others go on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from .errors import AudioError, LightmelError, UnexpectedError

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("lightmel")


def printable(text: str) -> str:
    """Return `text` on one line, with control characters and undecodable bytes escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def attempt(
    name: str | os.PathLike[str], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T | LightmelError:
    """Return what `function` makes of one of many files, or why it makes nothing of it.

    It is for loops over people's files, in which no single file may end the run, by a bug of ours either. An
    exception that nobody has thought of becomes an `UnexpectedError`, which names the file and has the
    exception as its cause. Memory that ran out belongs to the file too: what it asked for is given back, and
    the next one may ask for less. What is no `Exception`, such as Ctrl-C, goes on.

    Each failure goes to the log with its traceback, at the level DEBUG.

    Parameters
    ----------
    name
        The file, as a message names it.
    function, *args, **kwargs
        What is done with it: with this file alone, so that nothing else can go wrong.
    """
    called = printable(os.fspath(name))
    try:
        return function(*args, **kwargs)
    except LightmelError as error:
        found = error
    except MemoryError as error:
        found = AudioError(f"{called}: memory ran out on it. Leave it out, or run fewer things at a time.")
        found.__cause__ = error
    except Exception as error:
        found = UnexpectedError(f"{called}: lightmel failed on it, {unexpected(error)}")
        found.__cause__ = error
    log.debug("%s: failed", called, exc_info=found)
    return found


def unexpected(error: Exception) -> str:
    """Return how a sentence goes on about an exception that nobody has thought of."""
    said = printable(" ".join(str(error).split()))[:200]
    return (
        f"which it should not ({type(error).__name__}{': ' if said else ''}{said}). Please report this with "
        "the traceback, which `lightmel --debug` shows."
    )


def reason(error: Exception, name: str | os.PathLike[str]) -> str:
    """Return what an error says of a file, without the file's name in front: whoever shows it says that."""
    text = str(error)
    given = os.fspath(name)
    plain = os.path.normpath(given) if given else given  # as a Path has it
    for one in (given, plain):
        for called in (one, printable(one)):
            if called and text.startswith(f"{called}: "):
                return text[len(called) + 2 :]
    return text
