"""Building a feature store from sound: in parallel, in order, and on from where it was interrupted."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from ..errors import DataError
from ..frontends import FrontendConfig, StorageType
from ..workers import Done, Pool, Work, cores
from .journal import DESCRIPTION, Appender, Description, Origin
from .store import FeatureStore, OnClip
from .worker import settings_for

log = logging.getLogger("lightmel")


def build_store(
    folder: str | os.PathLike[str],
    sources: Mapping[str, Path],
    config: FrontendConfig,
    *,
    dtype: StorageType = "float32",
    excerpt_seconds: float | None = None,
    workers: int | None = None,
    again: Collection[str] = (),
    on_clip: OnClip | None = None,
) -> FeatureStore:
    """Build the store of the features of sound files, or go on building it.

    Clips lie in the order of the sources, and their bytes do not depend on the number of workers. A file
    that cannot be read is listed in the store's `failed`, and the others are made. Killed at any moment and
    called again, a build goes on behind the last clip on the disk, and its result is the same. What is in the
    store already, as a clip or as failed, is not made again, unless `again` names it or its file has changed
    in size or modification time; a warning in the log counts changed files.

    Parameters
    ----------
    folder
        Folder of the store; it is made if it is missing.
    sources
        Sound files by key.
    config
        Front end that computes the features.
    dtype
        float32; float16, off by 1/2048 of a value at most (by 3e-8 below 6e-5); or uint8, off by at most half
        of a 255th of what a row (a band) spans in the clip, and uint4, half of a 15th of it.
    excerpt_seconds
        Seconds from the middle of each file, as in the paper (29.1), or all of a file that is shorter; None:
        all of each file.
    workers
        Processes, of one thread each; by default one for each core. 0: this process itself, with its threads.
    again
        Keys of clips to make again, such as those that ``store.verify()`` returns, or ``store.failed``. New
        clips are put behind the others, and the bytes of the old ones stay in the file, unused.
    on_clip
        Called for each clip that was made, in order.

    Raises
    ------
    ConfigError
        If the `dtype` is unknown.
    DataError
        If the folder holds other features or other files, is being written to, or cannot be written, for
        example because the disk is full. What was done stays valid.
    """
    if excerpt_seconds is not None and not (
        math.isfinite(excerpt_seconds) and excerpt_seconds * config.sr >= 1
    ):
        raise DataError(
            f"excerpt_seconds={excerpt_seconds!r}: at least a sample of each file is wanted, or None for all."
        )
    if workers is not None and workers < 0:
        raise DataError(f"workers={workers}: 0, for this process, is the least.")
    description = Description(config, dtype, None if excerpt_seconds is None else float(excerpt_seconds))
    with Appender(Path(folder), description) as store:
        origins = {key: _origin(Path(path)) for key, path in sources.items()}
        replaced = {
            key
            for key, origin in origins.items()
            if key in store.index and origin is not None and origin != store.index.origins.get(key)
        }
        renewed = set(again)
        if others := replaced - renewed:
            log.warning(
                "%s: %d files are not those that it was made of (another size or date): they are made again.",
                folder,
                len(others),
            )
        renewed |= replaced
        todo = {key: Path(p) for key, p in sources.items() if key not in store.index or key in renewed}
        n_workers = min(cores() if workers is None else workers, len(todo))
        work = Work("lightmel.features.worker:serve", settings_for(description), DataError)
        with Pool(work, n_workers) as pool:
            for (key, path), done in zip(todo.items(), pool.map(map(str, todo.values())), strict=True):
                for level, note in done.notes:
                    log.log(level, "%s", note)
                failed = _failure(done)
                if failed is None:
                    store.add(key, done.answer["frames"], done.data, origins[key])
                else:
                    log.info("%s: %s", path, failed)
                    store.fail(key, failed, origins[key])
                if on_clip is not None:
                    on_clip(key, failed)
    return FeatureStore.open(folder)


def _origin(path: Path) -> Origin | None:
    """Return size and modification time of a file, or None where there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return status.st_size, status.st_mtime_ns


def _failure(done: Done) -> str | None:
    if done.crash is not None:
        return f"the decoder crashed on it ({done.crash})."
    failed: str | None = done.answer["failed"]
    return failed


def telling(folder: str | os.PathLike[str], total: int, tell: Callable[[int, int], None]) -> OnClip:
    """Return an `on_clip` that tells how many of `total` clips are done; those of an unfinished store count.

    Parameters
    ----------
    folder
        Of the store, which may be there in part.
    total
        Clips that there will be.
    tell
        Called with the clips that are done and all clips.
    """
    done = 0
    if (Path(folder) / DESCRIPTION).exists():
        known = FeatureStore.open(folder)
        done = len(known) + len(known.failed)

    def on_clip(key: str, failed: str | None) -> None:
        nonlocal done
        done += 1
        tell(min(done, total), total)

    return on_clip
