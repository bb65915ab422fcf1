"""Names of a package that are imported when they are first used (PEP 562); whether a package is there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``.

    Parameters
    ----------
    package
        Its name.
    homes
        For each name the module of the package that has it; empty where it is a module itself.
    """

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        value = (
            getattr(import_module(f".{home}", package), name) if home else import_module(f".{name}", package)
        )
        vars(sys.modules[package])[name] = value
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return look_up, names


def is_installed(package: str) -> bool:
    """Return whether there is a package to import, without importing it."""
    return find_spec(package) is not None
