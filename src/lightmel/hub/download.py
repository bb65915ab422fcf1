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
from .public import PublicCheckpoint

log = logging.getLogger("lightmel")

_TIMEOUT = 30.0


def cache_folder() -> Path:
    """Return where downloads are kept: ``$LIGHTMEL_CACHE``, or ``lightmel`` in the user's cache folder."""
    if own := os.environ.get("LIGHTMEL_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightmel"


def fetch_public(record: PublicCheckpoint) -> Path:
    """Return the published file of `record`, downloaded at its pinned commit unless it is in the cache.

    Raises
    ------
    WeightsError
        If it cannot be fetched or is not the published file; the message says where to put it by hand.
    """
    target = cache_folder() / "public" / record.cached
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == record.sha256:
        return target
    where = f"{record.path} of {record.family.repository} at {record.family.commit}"
    by_hand = f"Put {where} there by hand: {target}"
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
