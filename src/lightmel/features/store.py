"""Features for training: in memory, or on disk in a `FeatureStore`, where any excerpt is a single read."""

from __future__ import annotations

import hashlib
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, ShapeError, nearest
from ..frontends import FrontendConfig, StorageType, config_from_slug
from .journal import Appender, Description, Place, read_description, read_index
from .layout import Bytes

OnClip: TypeAlias = Callable[[str, "str | None"], None]
"""Called for each clip that is done, with its key and the reason why it failed, or None."""
Indices: TypeAlias = Sequence[int] | NDArray[np.int64]


class Features(Protocol):
    """Clips of features of one configuration, of which training reads excerpts.

    Attributes
    ----------
    config
        Front end that computed them.
    keys
        Names of the clips.
    frames
        Number of frames of each clip.
    """

    @property
    def config(self) -> FrontendConfig: ...

    @property
    def keys(self) -> tuple[str, ...]: ...

    @property
    def frames(self) -> NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        """Return a whole clip, ``(rows, frames)``."""
        ...

    def excerpts(self, rows: Indices, starts: Indices, n_frames: int) -> NDArray[np.float32]:
        """Return ``(excerpts, rows, n_frames)``; a clip that is shorter is repeated."""
        ...

    def require(self, config: FrontendConfig) -> None:
        """Raise `ConfigError` unless the features are those of `config`."""
        ...

    def fingerprint(self, rows: Indices) -> str:
        """Return a hash of these clips in their order."""
        ...


class _Clips(ABC):
    """The common parts of features in memory and on disk."""

    config: FrontendConfig
    keys: tuple[str, ...]
    frames: NDArray[np.int64]
    _row_of: dict[str, int]

    @abstractmethod
    def _copy(self, row: int, start: int, out: NDArray[np.float32]) -> None:
        """Write frames of a clip from `start` on into `out`, ``(rows, frames)``."""

    @abstractmethod
    def _checksum(self, row: int) -> int:
        """Return a checksum of a clip."""

    def fingerprint(self, rows: Indices) -> str:
        """Return a hash of these clips in their order."""
        sums = {row: self._checksum(row) for row in set(np.asarray(rows).tolist())}
        return hashlib.sha256(repr([sums[row] for row in np.asarray(rows).tolist()]).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        out = np.empty((self.config.rows, int(self.frames[row])), np.float32)
        self._copy(row, 0, out)
        return out

    def rows(self, keys: Iterable[str]) -> NDArray[np.int64]:
        """Return the row of each key.

        Raises
        ------
        DataError
            If clips are missing; the message names the first and counts them.
        """
        keys = list(keys)
        missing = [key for key in keys if key not in self._row_of]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(f"{self._label} lacks {missing[0]!r}{more}.{self._why_missing(missing[0])}")
        return np.array([self._row_of[key] for key in keys], np.int64)

    def require(self, config: FrontendConfig) -> None:
        """Raise `ConfigError` unless the features are those of `config`."""
        if config == self.config:
            return
        if self.config.thinning(config) is not None:
            way_out = (
                f"A store of it gives them without the sound: store.derive(folder, {config.slug!r}), or "
                f"`lightmel features --derive STORE --frontend {config.slug}`."
            )
        else:
            way_out = "Compute features of that configuration from the sound."
        raise ConfigError(f"{self._label} holds {self.config.slug}, and {config.slug} is wanted. {way_out}")

    @property
    def _label(self) -> str:
        return "This collection of features"

    def _why_missing(self, key: str) -> str:
        return nearest(key, self._row_of)

    def excerpts(self, rows: Indices, starts: Indices, n_frames: int) -> NDArray[np.float32]:
        """Return excerpts of `n_frames` frames: the i-th from frame ``starts[i]`` of clip ``rows[i]`` on.

        The frames of a shorter clip are repeated to fill the excerpt. Any number of threads may read at the
        same time.

        Returns
        -------
        Array ``(len(rows), config.rows, n_frames)``, float32.

        Raises
        ------
        ShapeError
            If an excerpt reaches over an end of its clip.
        """
        rows, starts = np.asarray(rows, np.int64), np.asarray(starts, np.int64)
        if rows.ndim != 1 or rows.shape != starts.shape or n_frames < 1:
            raise ShapeError(
                f"An excerpt wants a row and a start, and at least one frame: not {rows.shape} rows, "
                f"{starts.shape} starts and {n_frames} frames."
            )
        here = self.frames[rows]
        wrong = (starts < 0) | (starts > np.maximum(here - n_frames, 0))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ShapeError(
                f"{n_frames} frames from {starts[i]} on do not lie in {self.keys[rows[i]]!r}: "
                f"it has {here[i]}."
            )
        out = np.empty((len(rows), self.config.rows, n_frames), np.float32)
        for clip, row, start, held in zip(
            out, rows.tolist(), starts.tolist(), np.minimum(here, n_frames).tolist(), strict=True
        ):
            self._copy(row, start, clip[:, :held])
            if held < n_frames:
                clip[:, held:] = clip[:, np.arange(held, n_frames) % held]
        return out


class MemoryFeatures(_Clips):
    """Features in memory: arrays ``(rows, frames)`` by key.

    Raises
    ------
    ShapeError
        If an array has another number of rows than `config`, or no frames.
    """

    def __init__(self, config: FrontendConfig, features: Mapping[str, NDArray[np.floating[Any]]]) -> None:
        self.config = config
        self.keys = tuple(features)
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        self._clips = [np.ascontiguousarray(one, np.float32) for one in features.values()]
        for key, one in zip(self.keys, self._clips, strict=True):
            if one.ndim != 2 or one.shape[0] != config.rows or not one.shape[1]:
                raise ShapeError(f"{key!r} has the shape {one.shape}, not ({config.rows}, frames).")
        self.frames = np.array([one.shape[1] for one in self._clips], np.int64)

    def _copy(self, row: int, start: int, out: NDArray[np.float32]) -> None:
        out[...] = self._clips[row][:, start : start + out.shape[1]]

    def _checksum(self, row: int) -> int:
        return zlib.crc32(self._clips[row].data)


class FeatureStore(_Clips):
    """Features on disk: a memory-mapped file and an index. `build_store` makes it, `open` reads it.

    Threads may share a store. Forked processes share the mapping. A store that is unpickled maps the file
    anew and does not read the index again.

    Attributes
    ----------
    folder, config, dtype, excerpt_seconds
        Folder, front end, storage type, and seconds from the middle of each file; None: all of each file.
    keys, frames
        Name and number of frames of each clip.
    failed
        Reason why a file gave no clip, by key.

    Raises
    ------
    DataError
        If `folder` holds no store, or a damaged one.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._description = read_description(self.folder)
        self._layout = self._description.layout
        self.config = self._description.config
        self.dtype: StorageType = self._description.dtype
        self.excerpt_seconds = self._description.excerpt_seconds
        index = read_index(self.folder, self._description)
        self.failed = index.failed
        self.keys = tuple(index.clips)
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        self._places = list(index.clips.values())
        self.frames = np.array([place.frames for place in self._places], np.int64)
        self._data = self._map()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FeatureStore:
        """Open the store in `folder`; of one that is being built, it has the clips that are done."""
        return cls(folder)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}: {len(self)} clips of {self._description})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_data"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._data = self._map()

    def _map(self) -> Bytes:
        if not self.keys:  # the file is empty, and an empty file cannot be mapped
            return np.empty(0, np.uint8)
        try:
            return np.asarray(np.memmap(self.folder / self._description.data_name, np.uint8, "r"))
        except OSError as error:
            raise DataError(
                f"{self.folder / self._description.data_name} cannot be read: {error.strerror or error}."
            ) from error

    @property
    def n_bytes(self) -> int:
        """Number of bytes of the clips on disk."""
        return sum(self._layout.n_bytes(place.frames) for place in self._places)

    @property
    def _label(self) -> str:
        return f"The store {self.folder}"

    def _why_missing(self, key: str) -> str:
        if key in self.failed:
            return f" {key!r} failed when the store was built: {self.failed[key]}"
        return super()._why_missing(key)

    def _checksum(self, row: int) -> int:
        return self._places[row].crc32

    def _clip(self, place: Place) -> Bytes:
        return self._data[place.offset : place.offset + self._layout.n_bytes(place.frames)]

    def _copy(self, row: int, start: int, out: NDArray[np.float32]) -> None:
        self._layout.copy(self._clip(self._places[row]), start, out)

    def verify(self, on_clip: OnClip | None = None) -> tuple[str, ...]:
        """Read all clips and return the keys of those that are damaged."""
        damaged = []
        for key, place in zip(self.keys, self._places, strict=True):
            whole = place.holds(key, self._clip(place))
            if not whole:
                damaged.append(key)
            if on_clip is not None:
                on_clip(key, None if whole else "its bytes are not those that were written")
        return tuple(damaged)

    def derive(
        self, folder: str | os.PathLike[str], config: FrontendConfig | str, *, on_clip: OnClip | None = None
    ) -> FeatureStore:
        """Make a store of every second, third, or so, of the frames, without the sound.

        Of mel-spectrograms these are the frames of a larger hop factor.

        As float32 and float16 it holds what a store built from the sound holds, except for last bits where
        the front end sums in another order. As uint8 and uint4 it keeps the affine map of this store, and no
        value is rounded a second time. Killed and called again, it goes on. Clips that had failed and are in
        this store now are made, and clips that were made again in this store are derived again.

        Parameters
        ----------
        folder
            Folder of the new store.
        config
            Front end of the new store, or its slug.
        on_clip
            Called for each clip that was made.

        Raises
        ------
        ConfigError
            If the frames of `config` are not every second, third, or so, of these.
        DataError
            If `folder` cannot be written, or holds something else.
        """
        wanted = config_from_slug(config) if isinstance(config, str) else config
        every = self.config.thinning(wanted)
        if every is None:
            raise ConfigError(
                f"{wanted.slug} cannot be derived from {self.config.slug}: its frames are not every second, "
                f"third, or so, of these. {self.config.thinned(2).slug} can be."
            )
        with Appender(Path(folder), Description(wanted, self.dtype, self.excerpt_seconds)) as store:
            for key, reason in self.failed.items():
                if store.index.failed.get(key) != reason:
                    store.fail(key, reason)
            for key, place in zip(self.keys, self._places, strict=True):
                origin = (place.crc32,)
                if key in store.index.clips and store.index.origins.get(key) == origin:
                    continue
                clip = self._clip(place)
                failed = None if place.holds(key, clip) else f"it is damaged in {self.folder}"
                if failed is None:
                    thin = self._layout.thin(clip, place.frames, every)
                    store.add(key, -(-place.frames // every), thin, origin)
                else:
                    store.fail(key, failed)
                if on_clip is not None:
                    on_clip(key, failed)
        return FeatureStore.open(folder)
