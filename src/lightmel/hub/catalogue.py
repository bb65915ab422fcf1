"""Which taggers there are, and how a name becomes a file on this machine.

The default tagger lies in the package. Nothing is fetched unless a name that is not here is asked for,
and then from a pinned commit, checked by its SHA-256, and written whole or not at all.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..errors import UnknownModelError, WeightsError, nearest
from . import won2020 as public

log = logging.getLogger("lightmel")

_TIMEOUT = 30.0


@dataclass(frozen=True)
class Release:
    """One tagger that a name stands for.

    Parameters
    ----------
    name
        What `lightmel.load` takes.
    vocabulary
        Its tags.
    config
        Slug of its input.
    bytes
        Of its file.
    licence
        Of its weights.
    summary
        One line.
    where
        ``"package"`` (offline) or ``"download"``.
    """

    name: str
    vocabulary: str
    config: str
    bytes: int
    licence: str
    summary: str
    where: str


DEFAULT = "mtat-musicnn-small-16k-mel48-x2-db"

_PACKAGED: tuple[Release, ...] = (
    Release(
        name=DEFAULT,
        vocabulary="mtat",
        config="16k-mel48-x2-db",
        bytes=2_540_688,
        licence="CC BY-NC-SA 4.0",
        summary="the default: small MUSICNN distilled from public:won2020-mtat-musicnn",
        where="package",
    ),
)


def releases() -> tuple[Release, ...]:
    """Return every tagger that has a name: ours first, then the public checkpoints."""
    return _PACKAGED + tuple(
        Release(
            name=record.name,
            vocabulary=record.vocabulary,
            config=public.WON2020.slug,
            bytes=record.bytes,
            licence="not stated (code: MIT)",
            summary=f"Won et al. 2020, {record.architecture}, {record.segment_samples / 16_000:g} s a time",
            where="download",
        )
        for record in public.CHECKPOINTS.values()
    )


def packaged(name: str) -> Path | None:
    """Return the file of a tagger that lies in the package, or None; ``"default"`` is one."""
    name = DEFAULT if name == "default" else name
    if name not in {r.name for r in _PACKAGED}:
        return None
    # The package is never run from a zip file: torch could not be loaded from one.
    return Path(str(resources.files("lightmel").joinpath("pretrained", f"{name}.safetensors")))


def unknown(name: str) -> UnknownModelError:
    """Return the error for a name that stands for nothing, with the nearest one that does."""
    known = ["default", *(r.name for r in releases())]
    hint = nearest(name, known)
    missing = "it is a folder" if _is_folder(name) else "and no file of that name"
    return UnknownModelError(
        f"There is no tagger {name!r}, {missing}.{hint} `lightmel models` lists them all."
    )


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # no name that a file could have
        return False


def cache_folder() -> Path:
    """Return where downloads are kept: ``$LIGHTMEL_CACHE``, or ``lightmel`` in the user's cache folder."""
    if own := os.environ.get("LIGHTMEL_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightmel"


def fetch_public(record: public.PublicCheckpoint) -> Path:
    """Return the published .pth of `record`, downloaded at its pinned commit unless it is in the cache.

    Raises
    ------
    WeightsError
        If it cannot be fetched or is not the published file; the message says where to put it by hand.
    """
    target = cache_folder() / "public" / f"{record.vocabulary}-{record.architecture}-{record.sha256[:12]}.pth"
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == record.sha256:
        return target
    url = f"https://raw.githubusercontent.com/{public.REPOSITORY}/{public.COMMIT}/{record.path}"
    by_hand = f"Put {record.path} of {public.REPOSITORY} at {public.COMMIT} there by hand: {target}"
    log.info("fetching %s", url)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reply:
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
        _keep(data, target)
    except OSError as error:
        raise WeightsError(
            f"{target} cannot be written ({error.strerror or error}): "
            "set LIGHTMEL_CACHE to a folder that can be, with space left."
        ) from error
    return target


def _keep(data: bytes, target: Path) -> None:
    """Write `data` to `target`, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.flush()
            temporary.chmod(0o644)  # a temporary file is private; a cache may be shared
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
