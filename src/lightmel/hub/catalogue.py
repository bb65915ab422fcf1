"""Which taggers there are, and how a name becomes a file on this machine.

Name, license, tags and input of what is in the package are read from the headers of its files. Nothing is
fetched unless a name is asked for whose file is not on this machine.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import checkpoint, vocabularies
from .._files import is_file, is_folder
from ..checkpoint import PUBLISHED_SUFFIXES, Description, read_description, read_network
from ..errors import ConfigError, UnknownModelError, nearest
from . import pons2019, public, schmid2023, won2020
from .download import fetch_public
from .public import PublicCheckpoint
from .repositories import (
    GRAPH,
    WEIGHTS,
    Repository,
    at_revision,
    fetch_repository,
    planned,
    published,
    repository,
)

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
    network
        Its architecture.
    parameters
        How many; None where nobody has counted.
    gmac_per_minute
        1e9 multiply-accumulates a minute of sound; None where nobody has counted.
    roc_auc, pr_auc
        Against human annotations of music that it was not trained on (`family/quality.py`): means over tags;
        None where nothing was measured.
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
    network: str
    parameters: int | None
    gmac_per_minute: float | None
    roc_auc: float | None
    pr_auc: float | None
    bytes: int
    license: str
    summary: str
    where: str


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of `releases`, the default first; `pattern` is one of the shell's.

    A name of the family is as well found without what all of them begin with: ``list_models("vgg*")``.
    """
    return [release.name for release in matching(pattern)]


def matching(pattern: str) -> list[Release]:
    """Return the releases whose name is like `pattern`; see `list_models`."""
    pattern = pattern.casefold()
    return [
        release
        for release in releases()
        if any(fnmatchcase(name.casefold(), pattern) for name in _short(release.name))
    ]


def _short(name: str) -> tuple[str, ...]:
    return (name, *(name.removeprefix(start) for start in _BEGINNINGS if name.startswith(start)))


_PUBLIC = "public:"
_BEGINNINGS = ("lightmel-", _PUBLIC)
"""What a name may be called without, in a pattern."""


@cache
def releases() -> tuple[Release, ...]:
    """Return the taggers that are described here: the default, others in the package, the public checkpoints.

    Those of `published` have names too, but are described by their repositories only.
    """
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
    return _release(
        description,
        network=read_network(path)["architecture"],
        bytes=path.stat().st_size,
        summary=f"{description.segment_seconds:g} s a time, from {learned_from}",
        where="package",
        measured=results(description.name),
    )


def _public_release(record: PublicCheckpoint) -> Release:
    seconds = record.description.segment_seconds
    return _release(
        record.description,
        network=record.architecture,
        bytes=record.bytes,
        summary=f"{record.family.citation}, {seconds:g} s a time",
        where="download",
    )


def _release(
    description: Description,
    *,
    network: str,
    bytes: int,  # noqa: A002 - the field's name
    summary: str,
    where: str,
    measured: Mapping[str, Any] | None = None,
) -> Release:
    cost = _costs().get(description.name)
    human = (measured or {}).get("human") or {}
    known = [name for name in vocabularies.VOCABULARIES if vocabularies.read(name) == description.tags]
    return Release(
        name=description.name,
        vocabulary=known[0] if known else "",
        n_tags=len(description.tags),
        config=description.config.slug,
        network=network,
        parameters=cost and cost[0],
        gmac_per_minute=cost and round(cost[1] / 1e9, 4),
        roc_auc=human.get("roc_auc", {}).get("value"),
        pr_auc=human.get("pr_auc", {}).get("value"),
        bytes=bytes,
        license=description.license,
        summary=summary,
        where=where,
    )


@cache
def _costs() -> dict[str, tuple[int, int]]:
    """Return parameters and multiply-accumulates a minute by name, as `family/costs.py` wrote them."""
    text = resources.files(__package__).joinpath("costs.csv").read_text(encoding="utf-8")
    return {
        name: (int(parameters), int(macs)) for name, parameters, macs in [*csv.reader(text.splitlines())][1:]
    }


def results(name: str) -> dict[str, Any] | None:
    """Return what `family/quality.py` measured of a tagger in the package; None where nothing was."""
    path = packaged(name)
    file = path.parent / "results" / f"{path.stem}.json" if path is not None else None
    if file is None or not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


@cache
def _packaged() -> dict[str, Path]:
    # The package is never run from a zip file: torch could not be loaded from one.
    folder = Path(str(resources.files("lightmel").joinpath("pretrained")))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def packaged(name: str) -> Path | None:
    """Return the file of a tagger that lies in the package, or None; ``"default"`` is one."""
    return _packaged().get(DEFAULT if name == "default" else name)


def cheapest() -> str:
    """Return the tagger of the family in the package that costs the fewest multiply-accumulates, by name."""
    family = [name for name in _packaged() if name.startswith("lightmel-") and name in _costs()]
    return min(family, key=lambda name: _costs()[name][1])


def graph_of(path: Path) -> Path | None:
    """Return the ONNX graph of a tagger's file: that in the package, or the file itself if it is one."""
    if path.suffix.lower() == checkpoint.GRAPH_SUFFIX:
        return path
    graph = path.with_suffix(checkpoint.GRAPH_SUFFIX)
    return graph if path in _packaged().values() and graph.is_file() else None


def offers_graph(found: Path | PublicCheckpoint | Repository) -> bool:
    """Return whether there may be a graph beside the weights: in a repository, or in this release folder."""
    if isinstance(found, Path):
        return found.name == WEIGHTS and is_file(found.with_name(GRAPH))
    return isinstance(found, Repository)


def locate(name: str) -> Path | PublicCheckpoint | Repository | None:
    """Return the file that a name stands for, or what is to be fetched for it; None where there is neither.

    A folder stands for the tagger that `Tagger.save_pretrained` wrote to it, or for its graph alone. What is
    on this machine comes before what is elsewhere. An empty name stands for nothing, and not for the working
    folder.
    """
    if not name.strip():
        return None
    if record := CHECKPOINTS.get(name):
        return record
    for path in (packaged(name) or Path(name), Path(name) / WEIGHTS, Path(name) / GRAPH):
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
        raise _unversioned(name, revision)
    return at_revision(found, revision)


def _unversioned(name: str, revision: str) -> ConfigError:
    where = "is in the package" if packaged(name) is not None else "is no repository of the Hub"
    return ConfigError(f"{name} {where}: it has no revision {revision!r}. Leave the revision out.")


def unknown(name: str) -> UnknownModelError | ConfigError:
    """Return the error for a name that stands for nothing, with the nearest one that does.

    It is a `ConfigError` for a name before whose ``@`` stands a tagger that has no revisions.
    """
    plain, at, revision = name.partition("@")
    if at and not revision.strip() and (repository(plain) is not None or plain in published()):
        return UnknownModelError(
            f"No revision stands after the @ of {name!r}: name a branch, a tag or a commit, or leave the @ "
            f"out: {plain}."
        )
    if plain in planned() and packaged(plain) is None and plain not in published():
        return UnknownModelError(
            f"{plain} is of the family, but neither on this machine nor published. In a checkout of "
            "lightmel, with WORK made as family/README.md says, this trains it: "
            f"python family/train.py --work WORK --only {plain}"
        )
    if at and (packaged(plain) is not None or plain in CHECKPOINTS):
        return _unversioned(plain, revision)
    known = _names()
    missing = (
        f"it is a folder without a {WEIGHTS} or {GRAPH}" if is_folder(name) else "and no file of that name"
    )
    return UnknownModelError(
        f"There is no tagger {name!r}, {missing}.{nearest(name, known)} `lightmel models` lists them all."
    )


def _names() -> list[str]:
    """Return what `locate` knows before any file, and the names of the family that are yet to be."""
    return ["default", *_packaged(), *CHECKPOINTS, *published(), *planned()]


def check_name(name: str, parameter: str = "name") -> None:
    """Refuse a name for a new tagger by which another one is known, which would be loaded in its place.

    Parameters
    ----------
    name
        The new tagger's.
    parameter
        Where it was said, for the message.

    Raises
    ------
    ConfigError
        If it is a name of the package, of the family (made or not) or of a published tagger, ``default``, or
        begins as those of other people's checkpoints do.
    """
    if name in _names() or name.startswith(_PUBLIC):
        raise ConfigError(
            f"{parameter}={name!r} stands for another tagger, now or in a later version, which would be "
            "loaded in place of yours (`lightmel models` lists those that there are): name yours otherwise."
        )


def fetch(
    found: Path | PublicCheckpoint | Repository,
    *,
    graph: bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the file of what `locate` found, fetched if it is not on this machine.

    Parameters
    ----------
    found
        Which one.
    graph
        Of a repository or a release folder, whether its graph is wanted; as in `fetch_repository`.
    cache_dir, token, local_files_only
        As in `fetch_repository`.

    Raises
    ------
    WeightsError, ConfigError
        As `fetch_public` and `fetch_repository`.
    """
    if isinstance(found, Path):
        return found.with_name(GRAPH) if graph and offers_graph(found) else found
    if isinstance(found, PublicCheckpoint):
        return fetch_public(found, cache_dir=cache_dir, local_files_only=local_files_only)
    return fetch_repository(
        found, graph=graph, cache_dir=cache_dir, token=token, local_files_only=local_files_only
    )


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
