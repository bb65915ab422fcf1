"""Mels to learn from: in memory, or on disk in a `FeatureStore`, of which any excerpt is a single read."""

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
from ..frontends.mel import MelConfig, StorageType
from .journal import MELS, Appender, Description, Place, read_description, read_index
from .layout import Bytes

OnClip: TypeAlias = Callable[[str, "str | None"], None]
"""Told of each clip that is done: its key, and why it failed or None."""
Indices: TypeAlias = Sequence[int] | NDArray[np.int64]


class Mels(Protocol):
    """Mels of one configuration that training reads from.

    Attributes
    ----------
    config
        What the mels are.
    keys
        Names of the clips.
    frames
        Of each clip.
    """

    @property
    def config(self) -> MelConfig: ...

    @property
    def keys(self) -> tuple[str, ...]: ...

    @property
    def frames(self) -> NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        """Return a whole clip, ``(n_mels, frames)``."""
        ...

    def excerpts(self, rows: Indices, starts: Indices, n_frames: int) -> NDArray[np.float32]:
        """Return ``(excerpts, n_mels, n_frames)``; a clip that is shorter is repeated."""
        ...

    def require(self, config: MelConfig) -> None:
        """Raise `ConfigError` unless the mels are those of `config`."""
        ...

    def fingerprint(self, rows: Indices) -> str:
        """Return what tells these clips, in their order, from others."""
        ...


class _Clips(ABC):
    """What mels in memory and on disk have in common."""

    config: MelConfig
    keys: tuple[str, ...]
    frames: NDArray[np.int64]
    _row_of: dict[str, int]

    @abstractmethod
    def _copy(self, row: int, start: int, out: NDArray[np.float32]) -> None:
        """Write frames of a clip from `start` on into `out`, ``(n_mels, frames)``."""

    @abstractmethod
    def _checksum(self, row: int) -> int:
        """Return a number that tells a clip from others."""

    def fingerprint(self, rows: Indices) -> str:
        """Return what tells these clips, in their order, from others."""
        sums = {row: self._checksum(row) for row in set(np.asarray(rows).tolist())}
        return hashlib.sha256(repr([sums[row] for row in np.asarray(rows).tolist()]).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        out = np.empty((self.config.n_mels, int(self.frames[row])), np.float32)
        self._copy(row, 0, out)
        return out

    def rows(self, keys: Iterable[str]) -> NDArray[np.int64]:
        """Return the row of each key.

        Raises
        ------
        DataError
            If there is no such clip; the message names the first, and counts them.
        """
        keys = list(keys)
        missing = [key for key in keys if key not in self._row_of]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(f"{self._label} lacks {missing[0]!r}{more}.{self._why_missing(missing[0])}")
        return np.array([self._row_of[key] for key in keys], np.int64)

    def require(self, config: MelConfig) -> None:
        """Raise `ConfigError` unless the mels are those of `config`, a model's say."""
        if config == self.config:
            return
        thinned = config.hop_factor % self.config.hop_factor == 0
        if thinned and config == self.config.replace(hop_factor=config.hop_factor):
            way_out = (
                f"A store of it gives them without the sound: store.derive(folder, {config.hop_factor}), or "
                f"`lightmel features --derive STORE --hop-factor {config.hop_factor}`."
            )
        else:
            way_out = "Make mels of that configuration from the sound."
        raise ConfigError(f"{self._label} holds {self.config.slug}, and {config.slug} is wanted. {way_out}")

    @property
    def _label(self) -> str:
        return "This collection of mels"

    def _why_missing(self, key: str) -> str:
        return nearest(key, self._row_of)

    def excerpts(self, rows: Indices, starts: Indices, n_frames: int) -> NDArray[np.float32]:
        """Return excerpts of `n_frames` frames: the i-th from frame ``starts[i]`` of clip ``rows[i]`` on.

        Of a clip that is shorter all frames are taken, and repeated to fill the excerpt. Any number of
        threads may read at the same time.

        Returns
        -------
        Array ``(len(rows), n_mels, n_frames)``, float32.

        Raises
        ------
        ShapeError
            If an excerpt would reach over an end of its clip.
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
        out = np.empty((len(rows), self.config.n_mels, n_frames), np.float32)
        for mel, row, start, held in zip(
            out, rows.tolist(), starts.tolist(), np.minimum(here, n_frames).tolist(), strict=True
        ):
            self._copy(row, start, mel[:, :held])
            if held < n_frames:
                mel[:, held:] = mel[:, np.arange(held, n_frames) % held]
        return out


class MemoryMels(_Clips):
    """Mels in memory, ``(n_mels, frames)`` by key.

    Raises
    ------
    ShapeError
        If one has another number of bands, or no frames.
    """

    def __init__(self, config: MelConfig, mels: Mapping[str, NDArray[np.floating[Any]]]) -> None:
        self.config = config
        self.keys = tuple(mels)
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        self._mels = [np.ascontiguousarray(mel, np.float32) for mel in mels.values()]
        for key, mel in zip(self.keys, self._mels, strict=True):
            if mel.ndim != 2 or mel.shape[0] != config.n_mels or not mel.shape[1]:
                raise ShapeError(f"{key!r} has the shape {mel.shape}, not ({config.n_mels}, frames).")
        self.frames = np.array([mel.shape[1] for mel in self._mels], np.int64)

    def _copy(self, row: int, start: int, out: NDArray[np.float32]) -> None:
        out[...] = self._mels[row][:, start : start + out.shape[1]]

    def _checksum(self, row: int) -> int:
        return zlib.crc32(self._mels[row].data)


class FeatureStore(_Clips):
    """Mels on disk: one memory-mapped file and an index. `build_store` makes it, `open` reads it.

    Threads may share one. Forked processes share the mapping; pickled, it maps the file anew and does not
    read the index again.

    Attributes
    ----------
    folder, config, dtype, seconds
        Where it is and what it holds; `seconds` is None where the mels are of whole files.
    keys, frames
        Name and length of each clip.
    failed
        Why a file gave no clip, by key.

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
        self.seconds = self._description.seconds
        index = read_index(self.folder, self._layout)
        self.failed = index.failed
        self.keys = tuple(index.clips)
        self._row_of = {key: row for row, key in enumerate(self.keys)}
        self._places = list(index.clips.values())
        self.frames = np.array([place.frames for place in self._places], np.int64)
        self._data = self._map()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FeatureStore:
        """Open the store in `folder`; of one that is being built, the clips that are there by now."""
        return cls(folder)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}: {len(self)} clips of {self._description})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_data"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._data = self._map()

    def _map(self) -> Bytes:
        if not self.keys:  # an empty file cannot be mapped
            return np.empty(0, np.uint8)
        try:
            return np.asarray(np.memmap(self.folder / MELS, np.uint8, "r"))
        except OSError as error:
            raise DataError(f"{self.folder / MELS} cannot be read: {error.strerror or error}.") from error

    @property
    def n_bytes(self) -> int:
        """What the clips take on disk."""
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
        """Read everything, and return the keys of the clips that are not what was written."""
        damaged = []
        for key, place in zip(self.keys, self._places, strict=True):
            whole = place.holds(key, self._clip(place))
            if not whole:
                damaged.append(key)
            if on_clip is not None:
                on_clip(key, None if whole else "its bytes are not those that were written")
        return tuple(damaged)

    def derive(
        self, folder: str | os.PathLike[str], hop_factor: int, *, on_clip: OnClip | None = None
    ) -> FeatureStore:
        """Make a store of a larger hop factor from this one, without the sound: fewer of the same frames.

        As float32 and float16 it holds what building it from the sound would, but for last bits where the
        front end sums over few frames or bands in another order. As uint8 it keeps the affine of this store,
        and nothing is rounded a second time. Killed, and called again, it goes on; clips that had failed and
        are in this store by now are made, and those that were made again here are derived again.

        Parameters
        ----------
        folder
            Of the new store.
        hop_factor
            Its hop factor, a multiple of this store's.
        on_clip
            Told of each clip that was made.

        Raises
        ------
        ConfigError
            If `hop_factor` is no such multiple.
        DataError
            If `folder` cannot be written, or holds something else.
        """
        keep, rest = divmod(hop_factor, self.config.hop_factor)
        if rest or keep < 2:
            raise ConfigError(
                f"x{hop_factor} cannot be derived from x{self.config.hop_factor}: its multiples can, "
                f"x{2 * self.config.hop_factor} and so on."
            )
        config = self.config.replace(hop_factor=hop_factor)
        with Appender(Path(folder), Description(config, self.dtype, self.seconds)) as store:
            for key, reason in self.failed.items():
                if store.index.failed.get(key) != reason:
                    store.fail(key, reason)
            for key, place in zip(self.keys, self._places, strict=True):
                origin = (place.crc32,)
                if key in store.index.clips and store.index.origins.get(key) == origin:
                    continue
                clip = self._clip(place)
                damage = None if place.holds(key, clip) else f"it is damaged in {self.folder}"
                if damage is None:
                    thin = self._layout.thin(clip, place.frames, keep)
                    store.add(key, -(-place.frames // keep), thin, origin)
                else:
                    store.fail(key, damage)
                if on_clip is not None:
                    on_clip(key, damage)
        return FeatureStore.open(folder)
