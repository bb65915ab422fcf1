"""What every command has in common: ``~`` in what it is given, and errors in the words of its options."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from .._files import at_home
from ..errors import LightmelError
from . import show

log = logging.getLogger("lightmel")

_running: ContextVar[typer.Context | None] = ContextVar("running", default=None)
"""The command that is running, whose options errors are said in."""


class Command(TyperCommand):
    """A command of ours: a leading ``~`` in any argument or option is the home folder.

    An error of lightmel's is a line on stderr, and the exit code 1.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run it with what was parsed."""
        _running.set(ctx)
        ctx.params = {name: _at_home(value) for name, value in ctx.params.items()}
        try:
            return super().invoke(ctx)
        except LightmelError as error:
            failed(error)
            raise typer.Exit(1) from None


def called() -> str:
    """Return what the command that is running, or was last, is called: ``lightmel study report``."""
    names: list[str] = []
    context: Any = _running.get()
    while context is not None and context.parent is not None:  # the outermost one is the program
        names.insert(0, str(context.info_name))
        context = context.parent
    return " ".join(["lightmel", *names])


def failed(error: LightmelError) -> None:
    """Say in its options why the command that is running has failed, and to the log with its traceback."""
    log.debug("%s: failed", called(), exc_info=error)
    show.failure(called(), in_options(error))


def in_options(error: Exception) -> str:
    """Return the text of an error with the running command's options in place of Python's parameters.

    ``root=...`` becomes ``--root``, ``augment=False`` ``--no-augment``; names alone are replaced where they
    have an underscore, or where the error says that they are names.
    """
    if (context := _running.get()) is None:
        return str(error)
    options = {p.name: p for p in context.command.params if p.name}
    marked = getattr(error, "names", ())
    alone = [name for name in options if "_" in name or name in marked]

    def option(match: re.Match[str]) -> str:
        parameter, value = options[match["name"] or match["alone"]], match["value"]
        if parameter.param_type_name == "argument":
            return str(parameter.metavar or parameter.name).upper()
        if value == "False" and parameter.secondary_opts:
            return str(parameter.secondary_opts[0])
        named: str = max(parameter.opts, key=len)
        if value in (None, "...", "True"):
            return f"{named}." if value == "..." and match.end() == len(match.string) else named
        plain = value.strip("'\"")
        return f"{named} {plain}"

    names, words = ("|".join(sorted(map(re.escape, own), key=len, reverse=True)) for own in (options, alone))
    given = rf"(?P<name>{names})=(?P<value>\.\.\.|'[^']*'|\"[^\"]*\"|[\w+-]+(?:\.\d+)?)"
    mentioned = rf"(?P<alone>{words or '(?!)'})(?![\w=/'\"-]|\.\w)"
    return re.sub(rf"(?<![\w./'\"-])(?:{given}|{mentioned})", option, str(error))


def _at_home(value: Any) -> Any:
    """Return an argument whose ``~`` is the home folder: shells leave it in ``--root=~/music``, TOML too."""
    if isinstance(value, (list, tuple)):
        return type(value)(_at_home(item) for item in value)
    if isinstance(value, (str, Path)) and re.match(r"~[/\\]|~$", str(value)):
        return type(value)(at_home(value))
    return value
