"""Which taggers there are, and how a name becomes a file on this machine.

Name, license, tags and input of what is in the package are read from the headers of its files. Nothing is
fetched unless a name is asked for whose file is not on this machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from .. import checkpoint, vocabularies
from .._files import is_file, is_folder
from ..checkpoint import PUBLISHED_SUFFIXES, Description, read_description, read_network
from ..errors import ConfigError, UnknownModelError, nearest
from . import pons2019, public, schmid2023, won2020
from .download import fetch_public
from .public import PublicCheckpoint
from .repositories import WEIGHTS, Repository, at_revision, fetch_repository, planned, published, repository

if TYPE_CHECKING:
    from ..models import TaggingNetwork

DEFAULT = "lightmel-mobilenet-16k-mel48-x2-db"
"""What ``"default"`` stands for."""
CHECKPOINTS: dict[str, PublicCheckpoint] = {
    **won2020.CHECKPOINTS,
    **pons2019.CHECKPOINTS,
    **schmid2023.CHECKPOINTS,
}
"""The published checkpoints of other people, by name."""


@dataclass(frozen=True)
class Release:
    """One tagger that a name stands for.

    Parameters
    ----------
    name
        What `lightmel.load` takes.
    vocabulary
        Its tags, if they are those of a known list; else empty.
    n_tags
        How many.
    config
        Slug of its input.
    bytes
        Of its file.
    license
        Of its weights.
    summary
        One line.
    where
        ``"package"`` (offline) or ``"download"``.
    """

    name: str
    vocabulary: str
    n_tags: int
    config: str
    bytes: int
    license: str
    summary: str
    where: str


@cache
def releases() -> tuple[Release, ...]:
    """Return every tagger that has a name: the default, others in the package, the public checkpoints."""
    return (
        *(_packaged_release(path) for path in sorted(_packaged().values(), key=lambda p: p.stem != DEFAULT)),
        *(_public_release(record) for record in CHECKPOINTS.values()),
    )


_FEW = 2
"""As many teachers are named in one line; the card names them all."""


def _packaged_release(path: Path) -> Release:
    description = read_description(path)
    teachers = description.provenance.get("teachers") or ["labelled clips"]
    learned_from = ", ".join(teachers) if len(teachers) <= _FEW else f"{len(teachers)} taggers"
    architecture = read_network(path)["architecture"]
    return _release(
        description,
        bytes=path.stat().st_size,
        summary=f"{architecture}, {description.segment_seconds:g} s a time, from {learned_from}",
        where="package",
    )


def _public_release(record: PublicCheckpoint) -> Release:
    seconds = record.description.segment_seconds
    return _release(
        record.description,
        bytes=record.bytes,
        summary=f"{record.family.citation}, {record.architecture}, {seconds:g} s a time",
        where="download",
    )


def _release(description: Description, *, bytes: int, summary: str, where: str) -> Release:  # noqa: A002 - the field's name
    known = [name for name in vocabularies.VOCABULARIES if vocabularies.read(name) == description.tags]
    return Release(
        name=description.name,
        vocabulary=known[0] if known else "",
        n_tags=len(description.tags),
        config=description.config.slug,
        bytes=bytes,
        license=description.license,
        summary=summary,
        where=where,
    )


@cache
def _packaged() -> dict[str, Path]:
    # The package is never run from a zip file: torch could not be loaded from one.
    folder = Path(str(resources.files("lightmel").joinpath("pretrained")))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def packaged(name: str) -> Path | None:
    """Return the file of a tagger that lies in the package, or None; ``"default"`` is one."""
    return _packaged().get(DEFAULT if name == "default" else name)


def locate(name: str) -> Path | PublicCheckpoint | Repository | None:
    """Return the file that a name stands for, or what is to be fetched for it; None where there is neither.

    A folder stands for the tagger that `Tagger.save_pretrained` wrote to it. What is on this machine comes
    before what is elsewhere.
    """
    if record := CHECKPOINTS.get(name):
        return record
    for path in (packaged(name) or Path(name), Path(name) / WEIGHTS):
        if is_file(path):
            return path.resolve()
    return None if is_folder(name) else repository(name)


def find(name: str, revision: str | None = None) -> Path | PublicCheckpoint | Repository:
    """Return what `locate` finds, at a revision if one is given.

    Raises
    ------
    UnknownModelError
        If it finds nothing.
    ConfigError
        If a revision is given for what has none, or beside another one.
    """
    found = locate(name)
    if revision is not None and not isinstance(found, Repository):
        found = published().get(name) or found
    if found is None:
        raise unknown(name)
    if revision is None:
        return found
    if not isinstance(found, Repository):
        raise ConfigError(f"{name} is no repository of the Hub: it has no revision {revision!r}.")
    return at_revision(found, revision)


def unknown(name: str) -> UnknownModelError:
    """Return the error for a name that stands for nothing, with the nearest one that does."""
    if name in planned():
        return UnknownModelError(
            f"{name} is of the family, but neither on this machine nor published. In a checkout of lightmel, "
            f"this makes it: python family/train.py --only {name}"
        )
    known = ["default", *_packaged(), *CHECKPOINTS, *published(), *planned()]
    missing = f"it is a folder without a {WEIGHTS}" if is_folder(name) else "and no file of that name"
    return UnknownModelError(
        f"There is no tagger {name!r}, {missing}.{nearest(name, known)} `lightmel models` lists them all."
    )


def fetch(
    found: Path | PublicCheckpoint | Repository,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the file of what `locate` found, fetched if it is not on this machine.

    Raises
    ------
    WeightsError, ConfigError
        As `fetch_public` and `fetch_repository`.
    """
    if isinstance(found, Path):
        return found
    if isinstance(found, PublicCheckpoint):
        return fetch_public(found, cache_dir=cache_dir, local_files_only=local_files_only)
    return fetch_repository(found, cache_dir=cache_dir, token=token, local_files_only=local_files_only)


def read_tagger(path: Path) -> tuple[TaggingNetwork, Description]:
    """Read the tagger in a file of ours, or in a published one of other people's: network, description.

    Raises
    ------
    WeightsError
        If it is damaged, or ends in one of `PUBLISHED_SUFFIXES` and is none of `CHECKPOINTS`.
    """
    if path.name.endswith(PUBLISHED_SUFFIXES):
        record = identify(path)
        return public.read_checkpoint(path, record), record.description
    return checkpoint.read(path)


def identify(path: Path) -> PublicCheckpoint:
    """Return the record of the published file at `path`, known by its SHA-256.

    Raises
    ------
    WeightsError
        If it is none of `CHECKPOINTS`.
    """
    return public.identify(path, CHECKPOINTS)
