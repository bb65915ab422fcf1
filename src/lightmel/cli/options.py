"""Options of a command that are the fields of a dataclass: one place says what there is to choose."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import Field, fields, replace
from typing import Annotated, Any, get_type_hints

import typer

_FIELD = re.compile(r"^(?P<names>\w+(?:, \w+)*)\n(?P<text>(?: {4}.*\n)+)", re.MULTILINE)


def with_options(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of some dataclasses.

    Parameters
    ----------
    **defaults
        An instance for each parameter of the command that takes one: its values are the defaults, the
        class's docstring has the help. A class that cannot be built from what was chosen raises as ever.
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

        @functools.wraps(command)
        def run(**values: Any) -> None:
            chosen = {
                name: _Chosen(instance, {field: values.pop(field) for field in given[name]})
                for name, instance in defaults.items()
            }
            command(**values, **chosen)

        run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in every}
        return run

    return decorate


class _Chosen:
    """What was chosen: called, the dataclass. It raises then, where the command turns errors into a line."""

    def __init__(self, default: Any, values: dict[str, Any]) -> None:
        self._default, self._values = default, values

    def __call__(self) -> Any:
        return replace(self._default, **self._values)


def _parameters(instance: Any) -> list[tuple[str, inspect.Parameter]]:
    help_texts = _help(type(instance))
    hints = get_type_hints(type(instance))
    return [
        (f.name, _parameter(f, hints[f.name], getattr(instance, f.name), help_texts.get(f.name, "")))
        for f in fields(instance)
    ]


def _parameter(field: Field[Any], hint: Any, default: Any, text: str) -> inspect.Parameter:
    name = field.name.replace("_", "-")
    option = typer.Option(f"--{name}/--no-{name}" if hint is bool else f"--{name}", help=text)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, option]
    )


def _help(kind: type) -> dict[str, str]:
    """Return what the docstring's numpydoc section of parameters says on each field."""
    found = {}
    for match in _FIELD.finditer(f"{inspect.cleandoc(kind.__doc__ or '')}\n"):
        text = " ".join(match["text"].split())
        for name in match["names"].split(", "):
            found[name] = text
    return found
