"""Options of a command that are the fields of dataclasses, and the files that hold them.

Defaults, choices and help stand where the dataclass is. Each such command also reads its options from a TOML
file (``--config``; what the command line says wins), and one with ``--out`` writes all of them to a TOML file
beside its result: the same command with that file makes the same again.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from .. import __version__
from .._each import printable
from .._files import at_home, beside, is_file, write_whole
from .._settings import help_of
from ..errors import DataError, LightmelError, nearest
from .command import called

Device = Annotated[
    str, typer.Option(help="Where networks run: auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.")
]

_CONTEXT = "context"
_ONCE = frozenset(("force",))
"""Options that are said anew each time: a file of settings does not take another tagger's place."""
_CONFIG = "config"
_OUT = "out"


def with_options(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of some dataclasses, and ``--config``.

    Parameters
    ----------
    **defaults
        An instance for each parameter of the command that takes one: its values are the defaults, the fields'
        metadata has the help. The command gets a function that builds the dataclass, and raises as that does.
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
        keys = {_key(p): p.name for p in every}
        hints = {_key(p): _type(p) for p in every}

        @functools.wraps(command)
        def run(**values: Any) -> None:
            read, context = values.pop(_CONFIG), values.pop(_CONTEXT)
            settings = {key: values[name] for key, name in keys.items() if key not in _ONCE}
            beside_out = None
            if (out := values.get(_OUT)) is not None:
                whole = Path(os.path.abspath(out))  # noqa: PTH100 - follow no links
                beside_out = beside(whole, ".toml")
                if read is not None and beside_out.exists() and beside_out.samefile(read):
                    _refuse_others(read, context, keys)
                    beside_out = None
                others = [value for name, value in values.items() if name != _OUT]
                _refuse_inputs(whole, read, others)
            chosen = {
                name: _Chosen(instance, {field: values.pop(field) for field in given[name]})
                for name, instance in defaults.items()
            }
            command(**values, **chosen)
            if beside_out is not None:
                _write_settings(beside_out, settings)

        config = inspect.Parameter(
            _CONFIG,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(
                    help="Read arguments and options from this TOML file; what the command line says wins.",
                    show_default=False,
                    is_eager=True,
                    callback=_reader(keys, hints),
                ),
            ],
        )
        every.insert(len(own), config)
        every.append(inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
        signature = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in every]
        run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in signature}
        return run

    return decorate


def _key(parameter: inspect.Parameter) -> str:
    """Return what a parameter is called in a file: as on the command line, with underscores."""
    for info in get_args(parameter.annotation)[1:]:
        # In an annotation, typer takes the first of the words for a default.
        for words in (getattr(info, "default", None), *(getattr(info, "param_decls", None) or ())):
            if isinstance(words, str) and words.startswith("--"):
                return words.partition("/")[0].removeprefix("--").replace("-", "_")
    return parameter.name


def _type(parameter: inspect.Parameter) -> Any:
    hint = parameter.annotation
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _refuse_others(file: Path, context: typer.Context, keys: Mapping[str, str]) -> None:
    """Refuse to overwrite the ``--config`` file with settings that are not its own."""
    for key, name in keys.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise _bad(
                f"{file} would be overwritten by the settings that go beside --out, with another {key}: copy "
                "the file, or name another --out."
            )


def _refuse_inputs(out: Path, config: Path | None, inputs: Iterable[Any]) -> None:
    """Refuse an ``--out`` that would take the place of a file that is read, or whose company would."""
    company = [beside(out, suffix) for suffix in (".json", ".md", ".npz")]
    for given in inputs:
        for text in given if isinstance(given, list) else [given]:
            _refuse_replacing(text, [out, *company, beside(out, ".toml")])
    _refuse_replacing(config, [out, *company])  # the .toml may be its own settings again


def _refuse_replacing(given: object, written: Iterable[Path]) -> None:
    if not isinstance(given, (str, os.PathLike)) or not is_file(given):
        return
    for file in written:
        if is_file(file) and file.samefile(given):
            raise typer.BadParameter(
                f"{given} is read here, and {file} would take its place.", param_hint="--out"
            )


class _Chosen:
    """What was chosen: called, the dataclass. It raises then, where the command turns errors into a line."""

    def __init__(self, default: Any, values: dict[str, Any]) -> None:
        self._default, self.values = default, values

    def __call__(self, **changes: Any) -> Any:
        try:
            return replace(self._default, **self.values | changes)
        except LightmelError as error:
            error.names = (*error.names, *self.values)  # what it says of a field, it says of an option
            raise


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


def _reader(
    keys: Mapping[str, str], hints: Mapping[str, Any]
) -> Callable[[typer.Context, Path | None], Path | None]:
    """Return the callback of ``--config``, for a command whose options have these names and types."""

    def read(context: typer.Context, value: Path | None) -> Path | None:
        if value is not None:
            found = read_settings(at_home(value), hints)
            given = {keys[key]: setting for key, setting in found.items()}
            context.default_map = {**(context.default_map or {}), **given}
        return value

    return read


def read_settings(file: Path, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a TOML file, under the names in `hints`; the file may write ``-`` for ``_``.

    Raises
    ------
    typer.BadParameter
        If the file cannot be read, or an option is none of `hints` or has another type; the message names
        file and option, and what is wanted.
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _bad(f"{file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise _bad(f"{file} is not TOML: its text is not UTF-8.") from None
    except (ValueError, RecursionError) as error:  # a number or a nesting without end, too
        raise _bad(f"{file} is not TOML: {error}.") from None
    settings: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        if name not in hints:
            table = isinstance(value, dict)
            hint = " Options stand in no table." if table else nearest(name, hints)
            raise _bad(f"{file}: there is no option {key!r}.{hint}")
        if name in settings:
            raise _bad(f"{file}: {key} stands twice, once with - and once with _.")
        if not _fits(value, hints[name]):
            hint = _choice(value, hints[name])
            raise _bad(f"{file}: {key} is {_words(hints[name])}, not {_shown(value)}.{hint}")
        settings[name] = value
    return settings


def _bad(text: str) -> typer.BadParameter:
    return typer.BadParameter(text, param_hint="--config")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types that a union allows, None left out; another type alone."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(part for part in get_args(hint) if part is not type(None))
    return (hint,)


def _fits(value: Any, hint: Any) -> bool:
    if len(parts := _alternatives(hint)) != 1:
        return any(_fits(value, part) for part in parts)
    (kind,) = parts
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(item, get_args(kind)[0]) for item in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, bool if kind is bool else str)


def _words(hint: Any) -> str:
    """Return what a value of a type is, in words."""
    if len(parts := _alternatives(hint)) != 1:
        return " or ".join(_words(part) for part in parts)
    (kind,) = parts
    if get_origin(kind) is Literal:
        return " or ".join(_toml(word) for word in get_args(kind))
    if get_origin(kind) is list:
        return f"a list, each item {_words(get_args(kind)[0])}"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text in quotes")


def _choice(value: Any, hint: Any) -> str:
    """Return the hint at the word that was meant, where a type is a choice of words."""
    (kind, *_) = _alternatives(hint)
    words = get_args(kind) if get_origin(kind) is Literal else ()
    return nearest(value, words) if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    """Return a value of a TOML file as it stands there, or what it is."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return _toml(value) if isinstance(value, (bool, int, float, str)) else str(value)


def _write_settings(file: Path, settings: Mapping[str, Any]) -> None:
    """Write the options of a run; of several processes under torchrun, the first does."""
    if os.environ.get("RANK", "0") != "0":
        return
    lines = [f"# lightmel {__version__}: `{called()} --config` with this file makes the same again."]
    for key, value in settings.items():
        if value is not None:
            lines.append(_setting(key, value))
    write_whole(file, "".join(f"{line}\n" for line in lines).encode(), DataError)


def _setting(key: str, value: Any) -> str:
    line = f"{key} = {_toml(value)}"
    try:
        line.encode()
    except UnicodeEncodeError:  # a name of a file that is no text: TOML has no way to write it
        return f"# {printable(line)} is not UTF-8, which TOML cannot hold: say it on the command line."
    return line


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
