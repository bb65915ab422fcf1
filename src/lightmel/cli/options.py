"""Options of a command that are the fields of dataclasses, and the files that hold them.

What there is to choose, and the help, stand where the dataclass is. Each such command also reads its options
from a TOML file (``--config``; what the command line says wins), and one with ``--out`` writes the file that
makes the same thing again beside its result.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import tomllib
import types
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from .. import __version__
from .._files import beside, write_whole
from .._settings import help_of
from ..errors import DataError, nearest

Device = Annotated[
    str, typer.Option(help="Where networks run: auto, cpu, cuda, cuda:1, mps; auto is a GPU if there is one.")
]

_CONFIG = "config"
_OUT = "out"


def with_options(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of some dataclasses, and ``--config``.

    Parameters
    ----------
    **defaults
        An instance for each parameter of the command that takes one: its values are the defaults, the fields'
        metadata has the help. A class that cannot be built from what was chosen raises as ever.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = {
            name: parameter.replace(annotation=hint)
            for name, hint in get_type_hints(command, include_extras=True).items()
            if name not in defaults and (parameter := inspect.signature(command).parameters.get(name))
        }
        given: dict[str, dict[str, inspect.Parameter]] = {}
        for name, instance in defaults.items():
            given[name] = dict(_parameters(instance))
        every = [*own.values(), *(p for part in given.values() for p in part.values())]
        hints = {p.name: get_args(p.annotation)[0] for p in every}

        @functools.wraps(command)
        def run(**values: Any) -> None:
            values.pop(_CONFIG)
            settings = dict(values)
            chosen = {
                name: _Chosen(instance, {field: values.pop(field) for field in given[name]})
                for name, instance in defaults.items()
            }
            command(**values, **chosen)
            if settings.get(_OUT) is not None:
                _write_settings(settings[_OUT], command.__name__, settings)

        config = inspect.Parameter(
            _CONFIG,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(
                    help="Read options from this TOML file; what the command line says wins.",
                    show_default=False,
                    is_eager=True,
                    callback=_reader(hints),
                ),
            ],
        )
        signature = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*every, config)]
        run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in signature}
        return run

    return decorate


class _Chosen:
    """What was chosen: called, the dataclass. It raises then, where the command turns errors into a line."""

    def __init__(self, default: Any, values: dict[str, Any]) -> None:
        self._default, self._values = default, values

    def __call__(self) -> Any:
        return replace(self._default, **self._values)


def _parameters(instance: Any) -> list[tuple[str, inspect.Parameter]]:
    hints = get_type_hints(type(instance))
    return [(f.name, _parameter(f, hints[f.name], getattr(instance, f.name))) for f in fields(instance)]


def _parameter(field: Field[Any], hint: Any, default: Any) -> inspect.Parameter:
    name = field.name.replace("_", "-")
    flag = f"--{name}/--no-{name}" if hint is bool else f"--{name}"
    option = typer.Option(flag, help=help_of(field))
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, option]
    )


def _reader(hints: Mapping[str, Any]) -> Callable[[typer.Context, Path | None], Path | None]:
    """Return the callback of ``--config``, for a command whose options have these types."""

    def read(context: typer.Context, value: Path | None) -> Path | None:
        if value is not None:
            context.default_map = read_settings(value, hints)
        return value

    return read


def read_settings(file: Path, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a TOML file, by the names that the command line has (``-`` or ``_``).

    Raises
    ------
    typer.BadParameter
        If it cannot be read, or an option is not one of `hints` or has another type; the message says which.
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(f"{file} cannot be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"{file} is no TOML: {error}.") from None
    settings = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in hints:
            raise _bad(f"{file}: there is no option {key!r}.{nearest(name, hints)}")
        if not _fits(value, hints[name]):
            raise _bad(f"{file}: {key} is {_words(hints[name])}, not {value!r}.")
        settings[name] = value
    return settings


def _bad(text: str) -> typer.BadParameter:
    return typer.BadParameter(text, param_hint="--config")


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint) if part is not type(None))
    if origin is Literal:
        return value in get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, bool if hint is bool else str)


def _words(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(part) for part in get_args(hint) if part is not type(None))
    if origin is Literal:
        return " or ".join(repr(word) for word in get_args(hint))
    if origin is list:
        return "a list"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(hint, "a text")


def _write_settings(out: Path, command: str, settings: Mapping[str, Any]) -> None:
    """Write the options of a run beside its result; of several processes under torchrun, the first does."""
    if os.environ.get("RANK", "0") != "0":
        return
    lines = [f"# lightmel {__version__}: `lightmel {command} --config` with this file makes it again."]
    for name, value in settings.items():
        if value is not None:
            lines.append(f"{name} = {_toml(value)}")
    write_whole(beside(out, ".toml"), "\n".join([*lines, ""]).encode(errors="backslashreplace"), DataError)


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
