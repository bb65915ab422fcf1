"""Taggers in repositories of the Hugging Face Hub: how they are named, fetched, checked and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

from .._lazy import is_installed
from ..checkpoint import PUBLISHED_SUFFIXES
from ..errors import ConfigError, HubError
from .client import LIBRARY, endpoint, repositories_folder, translated, version

log = logging.getLogger("lightmel")

WEIGHTS = "model.safetensors"
"""The tagger's file in a repository or a release folder."""
GRAPH = "model.onnx"
"""The tagger as a complete ONNX graph there, from features to logits, for those who have no torch."""
CONFIG = "config.json"
"""Its description as plain JSON there, which the Hub counts downloads by."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Repository:
    """A tagger in a repository of the Hugging Face Hub.

    Parameters
    ----------
    id
        ``owner/name``.
    revision
        A branch, a tag or a commit; None is the main branch.
    sha256, graph_sha256
        Of its weights and of its graph, where they are pinned; else empty.
    """

    id: str
    revision: str | None = None
    sha256: str = ""
    graph_sha256: str = ""

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"


@cache
def published() -> dict[str, Repository]:
    """Return the repositories of taggers that lightmel has published, by the taggers' names.

    They stand in ``published.json`` beside this module: ``name``, ``repository``, ``revision`` (a commit),
    ``sha256`` (of the weights), and ``graph_sha256`` where they have a graph.
    """
    text = resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8")
    return {
        e["name"]: Repository(e["repository"], e["revision"], e["sha256"], e.get("graph_sha256", ""))
        for e in json.loads(text)
    }


@cache
def planned() -> tuple[str, ...]:
    """Return the names of the family of `family/students.toml`, made or not."""
    text = resources.files(__package__).joinpath("planned.txt").read_text(encoding="utf-8")
    return tuple(text.split())


def repository(name: str) -> Repository | None:
    """Return the repository that a name stands for, or None: a published tagger's, or ``owner/name``.

    Either may be followed by ``@revision``; with an empty one it stands for nothing, and not for the main
    branch. What ends as a tagger's file does is no repository.
    """
    plain, at, revision = name.partition("@")
    if at and not revision.strip():
        return None
    if found := published().get(plain):
        return at_revision(found, revision or None)
    if not _ID.fullmatch(plain) or plain.endswith((".safetensors", *PUBLISHED_SUFFIXES)):
        return None
    return Repository(plain, revision or None)


def at_revision(found: Repository, revision: str | None) -> Repository:
    """Return a repository at another revision, whose weights are then not pinned; None leaves it as it is.

    Raises
    ------
    ConfigError
        If it names another one already, or the other one is empty.
    """
    if revision is not None and not revision.strip():
        raise ConfigError(
            f"revision={revision!r} is empty: name a branch, a tag or a commit, or leave it out."
        )
    if revision is None or revision == found.revision:
        return found
    if found.revision is not None and not found.sha256:
        raise ConfigError(f"{found} names a revision already: leave out revision={revision!r}.")
    return replace(found, revision=revision, sha256="", graph_sha256="")


def fetch_repository(
    found: Repository,
    *,
    graph: bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the file of a tagger in a repository, fetched unless it is in the cache.

    Its hash is compared with the pinned one, else with the one under which the Hub lists it, each time: what
    differs is removed, where the cache can be written to. A cache on a file system without links does not
    tell how the Hub lists a file: there, what is not pinned is not compared.

    Parameters
    ----------
    found
        Which one.
    graph
        Whether `GRAPH` is wanted and not `WEIGHTS`. Where nothing is said, it is what runs here: without
        torch the graph, else the weights, or the graph where there is nothing else.
    cache_dir
        A folder in place of the client's cache.
    token
        As `huggingface_hub.hf_hub_download` takes it.
    local_files_only
        Whether only the cache is looked at.

    Raises
    ------
    HubError
        If it cannot be fetched or kept, is no tagger, or has another hash; the message says which.
    ConfigError
        If no repository can have that name.
    """
    folder = Path(cache_dir) if cache_dir is not None else repositories_folder()
    with translated(str(found), folder=folder):
        from huggingface_hub import hf_hub_download

        def get(file: str, revision: str | None) -> Path:
            return Path(
                hf_hub_download(
                    found.id,
                    file,
                    revision=revision,
                    library_name=LIBRARY,
                    library_version=version(),
                    cache_dir=folder,
                    token=token,
                    local_files_only=local_files_only,
                    endpoint=endpoint(),
                )
            )

        log.info("fetching %s", found)
        config = get(CONFIG, found.revision)  # what the Hub counts; and cheap to see what it is
        _check_config(config, found)
        if graph is None and not is_installed("torch"):
            graph = True
        # The folder of a snapshot is called by its commit: both files are of the same one.
        file = _get_one(lambda name: get(name, config.parent.name), found, graph=graph)
        _check_hash(file, found)
    return file


def _get_one(get: Callable[[str], Path], found: Repository, *, graph: bool | None) -> Path:
    """Return the graph or the weights; where it is not said which, the graph if there is nothing else."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return get(GRAPH if graph else WEIGHTS)
    except LocalEntryNotFoundError as error:  # it may be there, but nobody can ask
        if graph is not None:
            raise
        missing: EntryNotFoundError = error
    except EntryNotFoundError as error:
        if graph is not None:
            raise HubError(_lacking(found, graph=graph)) from None
        missing = error
    try:
        return get(GRAPH)
    except EntryNotFoundError:
        raise missing from None


def _lacking(found: Repository, *, graph: bool) -> str:
    if not graph:
        return f"{found} has no {WEIGHTS}, which PyTorch runs: leave out runtime='torch' for its graph."
    if is_installed("torch"):
        return f"{found} has no {GRAPH}, which ONNX Runtime runs: leave out runtime='onnx' for its weights."
    return f"{found} has no {GRAPH}, which is what runs without PyTorch: pip install torch for its weights."


def _check_config(path: Path, found: Repository) -> None:
    try:
        plain = json.loads(path.read_bytes())
    except ValueError:
        plain = None
    if not isinstance(plain, dict) or plain.get("library_name") != LIBRARY:
        raise HubError(f"{found} holds no tagger of lightmel: its {CONFIG} does not name {LIBRARY}.")


def _check_hash(path: Path, found: Repository) -> None:
    blob = path.resolve()
    pinned = found.graph_sha256 if path.name == GRAPH else found.sha256
    wanted = pinned or (blob.name if _SHA256.fullmatch(blob.name) else "")
    if not wanted:
        return  # see `fetch_repository`: a file system without links
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest == wanted:
        return
    what = f"What came for {found} has the SHA-256 {digest[:16]}..., not {wanted[:16]}...:"
    try:
        for file_or_link in (path, blob):
            file_or_link.unlink(missing_ok=True)
    except OSError as error:  # a cache that is read-only, or a file that is open elsewhere
        raise HubError(
            f"{what} it is still in the cache, from which it could not be removed ({error.strerror}). "
            f"Delete {blob}, or set LIGHTMEL_CACHE to another folder."
        ) from None
    raise HubError(f"{what} it was not kept. Try again; if it stays so, tell whoever published it.")
