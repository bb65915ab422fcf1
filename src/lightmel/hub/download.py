"""Published files: fetched when asked for by name, checked by their SHA-256, kept whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import urllib.request
from pathlib import Path

from .._files import write_whole
from ..errors import WeightsError
from .client import LIBRARY, cache_folder, is_offline
from .public import PublicCheckpoint

log = logging.getLogger("lightmel")

_TIMEOUT = 30.0


def public_file(record: PublicCheckpoint, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where the published file of `record` is kept.

    That is `cache_dir`, or ``assets/lightmel`` in `cache_folder`, where the client of the Hugging Face Hub
    keeps what libraries fetch from elsewhere.
    """
    folder = Path(cache_dir) if cache_dir is not None else cache_folder() / "assets" / LIBRARY
    return folder / record.cached


def fetch_public(
    record: PublicCheckpoint,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the published file of `record`, downloaded at its pinned commit unless it is in the cache.

    Parameters
    ----------
    record
        Which one.
    cache_dir
        As `public_file` takes it.
    local_files_only
        Whether only the cache is looked at; ``HF_HUB_OFFLINE=1`` asks for that too.

    Raises
    ------
    WeightsError
        If it cannot be fetched or is not the published file; the message says where to put it by hand.
    """
    target = public_file(record, cache_dir)
    if _is_there(target, record):
        return target
    where = f"{record.path} of {record.family.repository} at {record.family.commit}"
    by_hand = f"Put {where} there by hand: {target}"
    if local_files_only or is_offline():
        raise WeightsError(f"{record.name} is not in the cache, and nothing may be fetched. {by_hand}")
    log.info("fetching %s", record.url)
    try:
        with urllib.request.urlopen(record.url, timeout=_TIMEOUT) as reply:
            data = reply.read(4 * record.bytes)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise WeightsError(f"{record.name} could not be fetched ({reason}). {by_hand}") from error
    if (digest := hashlib.sha256(data).hexdigest()) != record.sha256:
        raise WeightsError(
            f"What came for {record.name} has the SHA-256 {digest[:16]}..., not {record.sha256[:16]}...: "
            f"it was not kept. {by_hand}"
        )
    try:
        write_whole(target, data, WeightsError)
    except WeightsError as error:
        raise WeightsError(
            f"{error} Set LIGHTMEL_CACHE to a folder that can be written to, with space left."
        ) from error
    return target


def _is_there(target: Path, record: PublicCheckpoint) -> bool:
    try:
        return hashlib.sha256(target.read_bytes()).hexdigest() == record.sha256
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    except OSError as error:
        raise WeightsError(
            f"{target} is in the cache, and cannot be read ({error.strerror or error}): mend its "
            "permissions, delete it, or let LIGHTMEL_CACHE name another folder."
        ) from None
