"""The client of the Hugging Face Hub: where it asks, where it keeps files, and what its errors mean here.

`huggingface_hub` is imported when the network or its cache is needed, and nowhere but here and in the modules
beside this one that fetch and publish.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, HubError, LightmelError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LIBRARY = "lightmel"
"""What the Hub counts downloads under, and what a card's front matter names."""
_TRANSPORT = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "socket")
"""Modules whose errors mean that no answer came; which of them there is depends on the client's version."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def cache_folder() -> Path:
    """Return the folder below which all that is fetched is kept, the cache of the Hugging Face Hub's client.

    ``$LIGHTMEL_CACHE`` where it is set, else ``$HF_HOME``, else ``huggingface`` in ``$XDG_CACHE_HOME`` or
    ``~/.cache``.

    Raises
    ------
    HubError
        If none of these is set, and there is no home folder.
    """
    if own := os.environ.get("LIGHTMEL_CACHE") or os.environ.get("HF_HOME"):
        return _at_home(own)
    return _at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def _at_home(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise HubError(
            "There is no home folder, in which to keep what is fetched: let LIGHTMEL_CACHE name a folder."
        ) from None


def repositories_folder() -> Path:
    """Return where the Hub's repositories are kept: ``hub`` in `cache_folder`, or ``$HF_HUB_CACHE``."""
    if (own := os.environ.get("HF_HUB_CACHE")) and not os.environ.get("LIGHTMEL_CACHE"):
        return _at_home(own)
    return cache_folder() / "hub"


def endpoint() -> str | None:
    """Return the address of the Hub that ``$HF_ENDPOINT`` names, or None for the client's own."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def is_offline() -> bool:
    """Return whether the environment forbids the network, as the client reads it when it is imported.

    By ``HF_HUB_OFFLINE``, or ``TRANSFORMERS_OFFLINE`` where that is not set.
    """
    return os.environ.get(_offline_variable(), "").upper() in ("1", "ON", "YES", "TRUE")


def _offline_variable() -> str:
    return "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"


@cache
def version() -> str:
    """Return the version that the Hub is told beside `LIBRARY`."""
    return metadata.version(LIBRARY)


def api(token: str | bool | None) -> HfApi:
    """Return the client that creates repositories and commits."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=token, library_name=LIBRARY, library_version=version())


@contextmanager
def translated(what: str, *, folder: Path | None = None) -> Iterator[None]:
    """Turn what the client raises into errors of ours, and leave the rest as it is.

    Parameters
    ----------
    what
        What is fetched or published, as the messages name it: ``owner/name``.
    folder
        Where it is kept, if it is fetched; None where it is published.

    Raises
    ------
    HubError
        If the Hub cannot be reached or refuses, or what comes cannot be kept.
    ConfigError
        If no repository can have such a name.
    """
    try:
        yield
    except LightmelError:
        raise
    except Exception as error:
        if (ours := _translated(error, what, folder)) is not None:
            raise ours from None  # its traceback says nothing more
        raise


def _translated(error: Exception, what: str, folder: Path | None) -> LightmelError | None:
    from huggingface_hub import errors

    chain = list(_chain(error))
    doing = "fetched" if folder is not None else "published"
    # A path that was mistyped reads as a repository's name.
    nor_here = ", and there is no file or folder of that name here" if folder is not None else ""
    if any(isinstance(e, errors.HFValidationError) for e in chain):
        return ConfigError(f"No repository of the Hugging Face Hub is called {what!r}: {error}")
    if any(isinstance(e, errors.LocalTokenNotFoundError) for e in chain):
        return HubError(f"{what} cannot be {doing} without a token. {_TOKEN}")
    if any(isinstance(e, errors.OfflineModeIsEnabled) for e in chain):
        if folder is None:
            return HubError(f"{what} cannot be published offline: unset {_offline_variable()}.")
        return HubError(
            f"{what} is not in {folder}{nor_here}; {_offline_variable()} is set: fetch it once without that."
        )
    for e in chain:
        if (status := getattr(getattr(e, "response", None), "status_code", None)) is not None:
            return HubError(f"{what} could not be {doing}: {_refusal(e, int(status), nor_here)}")
    for e in chain:
        module = type(e).__module__.partition(".")[0]
        if isinstance(e, (ConnectionError, TimeoutError)) or module in _TRANSPORT:
            return HubError(
                f"{what} could not be {doing}: the Hub cannot be reached, or broke off "
                f"({_first_line(e)}){nor_here}. "
                "Try again with a network; what is in the cache loads without one."
            )
    for e in chain:
        if isinstance(e, OSError) and e.errno is not None and folder is not None:
            if e.errno in _FULL:
                return HubError(f"{what} cannot be kept in {folder}: the disk is full. {_ELSEWHERE}")
            if e.errno in _READ_ONLY:
                return HubError(
                    f"{what} cannot be kept in {folder}: it cannot be written to "
                    f"({e.strerror}: {e.filename}). {_ELSEWHERE}"
                )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return HubError(f"{what} is not in {folder}{nor_here}; nothing may be fetched (local_files_only).")
    # Xet, by which the client transfers large files where it can, has hardly any errors of its own.
    for e in chain:
        if isinstance(e, RuntimeError):
            return HubError(f"{what} could not be {doing}: {_first_line(e).rstrip('.')}. Try again.")
    if isinstance(error, (errors.EntryNotFoundError, errors.FileMetadataError)) or (
        isinstance(error, OSError) and error.errno is None
    ):
        return HubError(f"{what} could not be {doing}: {_first_line(error)} Try again.")
    return None


_TOKEN = "Log in with `hf auth login`, set HF_TOKEN, or give token=."
_ELSEWHERE = "Make room, or set LIGHTMEL_CACHE to a folder that can be written to."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _refusal(error: BaseException, status: int, nor_here: str) -> str:
    """Return what an answer with that status means, and what to do; `nor_here` is empty in publishing."""
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return "it has no such revision (404). Name a branch, a tag or a commit that it has."
    if status == 401:
        return (
            f"the Hub asks who it is (401): there is no such repository, or it is private{nor_here}. {_TOKEN}"
        )
    if status == 403:
        may = "be read (the repository is gated)" if nor_here else "be written to"
        return f"the Hub forbids it (403): with this token it may not {may}. Ask its owner. {_TOKEN}"
    if status == 404:
        if isinstance(error, errors.EntryNotFoundError):
            return "it lacks a file of a tagger (404): is it one that lightmel published?"
        return f"there is no such repository (404), or it is private{nor_here}. Look at its name. {_TOKEN}"
    if status == 429:
        return f"the Hub is asked too often (429). Wait a few minutes. {_TOKEN}"
    if status >= 500:
        return f"the Hub is out of order ({status}). Try again later."
    return f"the Hub answered {status}: {_first_line(error)}"
