"""How the features of a clip lie in a store: frame after frame, as float32, float16, uint8 or uint4.

As uint8 or uint4 a clip begins with its affine map, ``low`` and ``step`` of each row in float32; a value is
``low + step * level``, off by half a step at most. The map lies with the clip and not in the index, where its
text would take as much room as a clip of few frames. As uint4 a byte holds two rows of a frame, the first in
its lower half; of an odd number of rows the last one shares its byte with nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..frontends import StorageType

Bytes: TypeAlias = NDArray[np.uint8]
"""One-dimensional, as they are in the file."""

_ALIGN = 4  # bytes; a clip begins at a multiple of them, where a float32 may
_BLOCK = 4096  # frames that are scaled in double precision at once
_LEVELS = {"uint8": 255, "uint4": 15}
"""The highest level, of the types whose values are levels."""


@dataclass(frozen=True)
class Layout:
    """How clips of `rows` rows lie in bytes, stored as `dtype`; little-endian on every machine.

    Raises
    ------
    ConfigError
        If the `dtype` is unknown.
    """

    rows: int
    dtype: StorageType

    def __post_init__(self) -> None:
        if self.dtype not in get_args(StorageType):
            raise ConfigError(f"dtype is one of {', '.join(get_args(StorageType))}, not {self.dtype!r}.")

    @property
    def _item(self) -> np.dtype[Any]:
        return np.dtype("uint8" if self.dtype == "uint4" else self.dtype).newbyteorder("<")

    @property
    def _items(self) -> int:
        """Items of a frame."""
        return -(-self.rows // 2) if self.dtype == "uint4" else self.rows

    @property
    def _affine_bytes(self) -> int:
        return 8 * self.rows if self.dtype in _LEVELS else 0

    def n_bytes(self, frames: int) -> int:
        """Number of bytes of a clip of `frames` frames."""
        used = self._affine_bytes + frames * self._items * self._item.itemsize
        return -(-used // _ALIGN) * _ALIGN

    def pack(self, features: NDArray[np.float32]) -> bytes:
        """Return the bytes of features ``(rows, frames)``, whose values must be finite."""
        highest = _LEVELS.get(self.dtype)
        if highest is None:
            return self._padded(features.T.astype(self._item).tobytes())
        low = features.min(1)
        step = ((features.max(1).astype(np.float64) - low) / highest).astype("<f4")
        # The step of a constant row is 0.
        low64, divisor = low.astype(np.float64), np.where(step > 0, step, 1).astype(np.float64)
        levels: NDArray[np.uint8] = np.empty(features.T.shape, np.uint8)
        for i in range(0, len(levels), _BLOCK):
            scaled = (features.T[i : i + _BLOCK] - low64) / divisor
            levels[i : i + _BLOCK] = np.clip(np.rint(scaled), 0, highest)
        if self.dtype == "uint4":
            halves = np.pad(levels, ((0, 0), (0, self.rows % 2)))
            levels = np.bitwise_or(halves[:, ::2], np.left_shift(halves[:, 1::2], 4))
        return self._padded(low.astype("<f4").tobytes() + step.tobytes() + levels.tobytes())

    def copy(self, clip: Bytes, first: int, out: NDArray[np.float32]) -> None:
        """Write frames of a clip from `first` on into `out`, ``(rows, any number of frames)``."""
        items = self._frames(clip, first, out.shape[1]).T
        if self.dtype == "uint4":
            out[::2], out[1::2] = items & 15, items[: self.rows // 2] >> 4
        else:
            out[...] = items
        if self.dtype in _LEVELS:
            low, step = clip[: self._affine_bytes].view("<f4").reshape(2, self.rows, 1)
            out *= step
            out += low

    def thin(self, clip: Bytes, frames: int, keep: int) -> bytes:
        """Return the bytes of a clip of every `keep`-th of its `frames`; no value is rounded again."""
        kept = self._frames(clip, 0, frames)[::keep]
        return self._padded(clip[: self._affine_bytes].tobytes() + kept.tobytes())

    def _frames(self, clip: Bytes, first: int, count: int) -> NDArray[Any]:
        row = self._items * self._item.itemsize
        start = self._affine_bytes + first * row
        return clip[start : start + count * row].view(self._item).reshape(count, self._items)

    @staticmethod
    def _padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % _ALIGN)
