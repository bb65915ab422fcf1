"""What takes the place of another tagger: nothing, unless the same command made it or ``--force`` is said.

Nor is a new tagger named as another one is.

The same command may be given again: stopped, it goes on, and done, it gives the same tagger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..checkpoint import Description

Force = Annotated[
    bool, typer.Option("--force", help="Let the new tagger take the place of another one in --out.")
]


def spare_others(out: Path, force: bool, is_same: Callable[[Description], bool]) -> None:
    """Refuse to take the place of a file, unless it is forced or `is_same` says that the command made it.

    Raises
    ------
    WeightsError
        If another tagger is there; if something else is, also where it is forced.
    """
    from ..checkpoint import read_description
    from ..errors import WeightsError

    if not out.exists() or out.is_dir():  # `check_path` speaks of a folder
        return
    try:
        there = read_description(out)
    except WeightsError:
        raise WeightsError(f"{out} exists and is no tagger: name another file for the new one.") from None
    if force or is_same(there):
        return
    shown = ", ".join(there.tags[:5]) + (", ..." if len(there.tags) > 5 else "")
    raise WeightsError(
        f"{out} is there already: the tagger {there.name} {there.version} ({len(there.tags)} tags: {shown}), "
        "of another tagger, other clips or settings. Name another file, or say --force."
    )


def check_names(out: Path, name: str) -> None:
    """Refuse names for a new tagger by which another one is known: what ``--out`` and ``--name`` say.

    A file is named by what its name is without ``.safetensors``: ``--model default`` would not load it.

    Raises
    ------
    ConfigError
        If one of them is such a name; the message says which.
    """
    from ..hub import check_name

    check_name(out.name.removesuffix(".safetensors"), "out")
    check_name(name)


def same_settings(written: object, config: Any) -> bool:
    """Return whether plain data are the settings in `config`; a setting that is newer has its default."""
    return isinstance(written, Mapping) and asdict(type(config)()) | dict(written) == asdict(config)
