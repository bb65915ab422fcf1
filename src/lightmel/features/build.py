"""Building a feature store from sound: in parallel, in order, and on from where it was interrupted."""

from __future__ import annotations

import logging
import math
import os
import queue
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..datasets.table import SUFFIXES
from ..errors import DataError
from ..frontends.mel import MelConfig, StorageType
from .journal import Appender, Description, Origin
from .store import FeatureStore, OnClip
from .worker import Child, Listener, Made

if TYPE_CHECKING:
    from typing_extensions import Self

_AHEAD = 4
"""Clips a worker that may be done, and held in memory, before it is their turn."""

log = logging.getLogger("lightmel")


def build_store(
    folder: str | os.PathLike[str],
    sources: Mapping[str, Path],
    config: MelConfig,
    *,
    dtype: StorageType = "float32",
    seconds: float | None = None,
    workers: int | None = None,
    again: Collection[str] = (),
    on_clip: OnClip | None = None,
) -> FeatureStore:
    """Build the store of the mels of sound files, or go on building it.

    Clips lie in the order of the sources, and their bytes do not depend on the number of workers. A file
    that cannot be read is listed in the store's `failed`, and the rest go on. Killed at any moment and
    called again, it goes on behind the last clip that was on the disk, and what comes out is the same.
    What is in the store already, as a clip or as failed, is not made again unless `again` names it, or its
    file is there with another size or modification time than it had then: a warning in the log counts those.

    Parameters
    ----------
    folder
        Of the store; it is made.
    sources
        A file for each key.
    config
        What to make of them.
    dtype
        float32; float16, off by 1/2048 of a value at most (by 3e-8 below 6e-5); or uint8, off by half of a
        255th of what a band spans in the clip.
    seconds
        From the middle of each file, as in the paper (29.1), or less where a file is shorter; None is all of
        it.
    workers
        Processes, of one thread each; by default one a core. 0 is this process itself, with its threads.
    again
        Keys of clips to make again if they are there: ``store.verify()`` once they were damaged, or
        ``store.failed`` to try once more. What is made again comes to lie behind the others, and the bytes of
        the old clips stay in the file, unused.
    on_clip
        Told of each clip that was made, in order.

    Raises
    ------
    ConfigError
        If there is no such `dtype`.
    DataError
        If the folder holds other mels or other things or is being written to, or if it cannot be written: the
        disk is full, say. What was done stays valid.
    """
    if seconds is not None and not (math.isfinite(seconds) and seconds * config.sr >= 1):
        raise DataError(f"seconds={seconds!r}: how much of each file, or None for all of it.")
    if workers is not None and workers < 0:
        raise DataError(f"workers={workers}: 0 is this process, and there cannot be fewer.")
    description = Description(config, dtype, None if seconds is None else float(seconds))
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
        n_workers = min(_cores() if workers is None else workers, len(todo))
        with _Workers(description, n_workers) as pool:
            for (key, path), made in zip(todo.items(), pool.clips(todo.values()), strict=True):
                for note in made.notes:
                    log.warning("%s", note)
                if made.failed is None:
                    store.add(key, made.frames, made.clip, origins[key])
                else:
                    log.info("%s: %s", path, made.failed)
                    store.fail(key, made.failed, origins[key])
                if on_clip is not None:
                    on_clip(key, made.failed)
    return FeatureStore.open(folder)


def sound_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the sound files below `folder`, sorted, by their path in it: sources of a store.

    Raises
    ------
    DataError
        If there are none.
    """
    root = Path(folder)
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise DataError(f"There is no sound below {root}: it looks for {' '.join(SUFFIXES)}.")
    return {p.relative_to(root).as_posix(): p for p in paths}


def _origin(path: Path) -> Origin | None:
    """Return what tells a file from another in its place, or None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


class _Workers:
    """So many children, each with a thread here that waits for it; with 0, the work is done here."""

    def __init__(self, description: Description, count: int) -> None:
        self._description, self._count = description, count
        self._threads = ThreadPoolExecutor(max(count, 1), thread_name_prefix="lightmel-store")
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self._closed = False

    def clips(self, paths: Iterable[Path]) -> Iterator[Made]:
        """Yield what became of each file, in their order."""
        if self._count == 0:
            listener = Listener(self._description)
            yield from map(listener.clip, paths)
            return
        waiting: deque[Future[Made]] = deque()
        for path in paths:
            waiting.append(self._threads.submit(self._clip, path))
            while waiting and (len(waiting) > _AHEAD * self._count or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _clip(self, path: Path) -> Made:
        child = self._child()
        made = child.clip(path)
        if child.alive:
            self._idle.put(child)
        else:
            self._end(child)
        return made

    def _child(self) -> Child:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                if self._closed:
                    raise DataError("The store is not built any further.") from None
                child = Child(self._description)
                self._children.add(child)
                return child

    def _end(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.kill()
        self._threads.shutdown(cancel_futures=True)
        for child in children:
            child.close()
