"""Which taggers there are, and how a name becomes a file on this machine.

Name, license, tags and input of what is in the package are read from the headers of its files. Nothing is
fetched unless a name is asked for whose file is not on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from .. import vocabularies
from .._files import is_folder
from ..checkpoint import Description, read_description, read_network
from ..errors import UnknownModelError, nearest
from . import pons2019, public, schmid2023, won2020
from .public import PublicCheckpoint

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


def locate(name: str) -> Path | PublicCheckpoint | None:
    """Return the file that a name stands for, or the record of one to fetch; None where there is neither."""
    if record := CHECKPOINTS.get(name):
        return record
    path = packaged(name) or Path(name)
    try:
        return path.resolve() if path.is_file() else None
    except (OSError, ValueError):  # no name that a file could have
        return None


def unknown(name: str) -> UnknownModelError:
    """Return the error for a name that stands for nothing, with the nearest one that does."""
    known = ["default", *_packaged(), *CHECKPOINTS]
    missing = "it is a folder" if is_folder(name) else "and no file of that name"
    return UnknownModelError(
        f"There is no tagger {name!r}, {missing}.{nearest(name, known)} `lightmel models` lists them all."
    )


def identify(path: Path) -> PublicCheckpoint:
    """Return the record of the published file at `path`, known by its SHA-256.

    Raises
    ------
    WeightsError
        If it is none of `CHECKPOINTS`.
    """
    return public.identify(path, CHECKPOINTS)
