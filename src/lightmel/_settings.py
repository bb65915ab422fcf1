"""Settings: frozen dataclasses of plain values, each field with its help.

The help stands once, at the field; docstring and command line take it from there.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import textwrap
from numbers import Real
from typing import Any, TypeVar, get_args, get_type_hints

from .errors import ConfigError, nearest

Value = TypeVar("Value")
Kind = TypeVar("Kind", bound=type)

_HELP = "help"


def setting(default: Value, help: str) -> Value:  # noqa: A002 - as in argparse and typer
    """Return a dataclass field with its default and the text that explains it."""
    return dataclasses.field(default=default, metadata={_HELP: help})


def help_of(field: dataclasses.Field[Any]) -> str:
    """Return the text that explains a field, or an empty one."""
    return str(field.metadata.get(_HELP, ""))


def documented(kind: Kind) -> Kind:
    """Add the help of its fields to the docstring of a dataclass, as its section of parameters."""
    lines = []
    for field in dataclasses.fields(kind):
        if text := help_of(field):
            lines += [field.name, textwrap.indent(textwrap.fill(text, 96), "    ")]
    if kind.__doc__ is not None:  # docstrings may have been dropped (python -OO)
        head, mark, rest = inspect.cleandoc(kind.__doc__).partition("\nRaises\n")
        section = "\n".join(["Parameters", "----------", *lines])
        kind.__doc__ = f"{head.rstrip()}\n\n{section}\n" + (f"{mark}{rest}" if mark else "")
    return kind


def check_choices(config: Any) -> None:
    """Raise `ConfigError` where a field of a dataclass that is a `Literal` of words holds something else."""
    kind: Any = type(config)
    for name, allowed in _choices(kind).items():
        value = getattr(config, name)
        if value not in allowed:
            wanted = " or ".join(repr(a) for a in allowed)
            raise ConfigError(f"{name} is {wanted}, not {value!r}.{nearest(str(value), allowed)}")


@functools.cache
def _choices(kind: Any) -> dict[str, tuple[str, ...]]:
    allowed = {name: get_args(hint) for name, hint in get_type_hints(kind).items()}
    return {n: words for n, words in allowed.items() if words and all(isinstance(w, str) for w in words)}


def check_plain(config: Any) -> None:
    """Convert the numbers of a frozen dataclass to Python's own, and check its texts, flags and choices.

    Checkpoints and JSON take no other numbers.

    Raises
    ------
    ConfigError
        If a number, text or flag is something else, a number is not finite, or not whole where it must be, or
        a word is not among those that its field allows.
    """
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if kind in (int, float):
            plain = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
            if not plain or (kind is int and value % 1):
                raise ConfigError(
                    f"{name} is a {'whole' if kind is int else 'finite'} number, not {value!r}."
                )
            object.__setattr__(config, name, kind(value))
        elif kind in (str, bool) and not isinstance(value, kind):
            raise ConfigError(f"{name} is {'a text' if kind is str else 'true or false'}, not {value!r}.")
    check_choices(config)
