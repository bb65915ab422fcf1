"""Reading pickles of plain data, such as Python 2 wrote into data sets, without running what they name.

A pickle is a program that may call anything. No name in it is resolved here: the few names that plain arrays
need stand for small objects of this module, which check their arguments, and every other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .annotation_files import opened

_PLAIN = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6}")
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
    AssertionError,
    struct.error,
)
"""The errors of the standard library on a pickle that is cut or forged."""


class _Dtype:
    """Stands for a NumPy type, of booleans, numbers or strings only."""

    __slots__ = ("plain",)

    def __init__(self, spec: str, *_: Any) -> None:
        if not isinstance(spec, str) or not _PLAIN.fullmatch(spec):
            raise ValueError(f"arrays of type {spec!r} are not plain")
        self.plain = np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        order = state[1]  # of (version, byte order, and fields of structured types)
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"{order!r} is no byte order")
        self.plain = self.plain.newbyteorder(order)


class _Array(np.ndarray):
    """An array that can be filled only with as many bytes as its shape takes."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, raw = state[-4:]  # from version 1 on, the version is before them
        super().__setstate__((1, *_checked(shape, dtype, raw, fortran)))  # type: ignore[arg-type]


def _checked(
    shape: Any, dtype: Any, raw: Any, fortran: Any
) -> tuple[tuple[int, ...], np.dtype[Any], bool, bytes]:
    data = raw.encode("latin1") if isinstance(raw, str) else bytes(memoryview(raw))
    if not isinstance(dtype, _Dtype) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array without a plain shape and type")
    if len(data) != math.prod(shape) * dtype.plain.itemsize:
        raise ValueError(f"{len(data)} bytes for an array of {shape}")
    return tuple(shape), dtype.plain, bool(fortran), data


class _Name:
    """Stands for a name in a pickle; without attributes, so that a pickle cannot change it either."""

    __slots__ = ()


class _NdarrayType(_Name):
    __slots__ = ()


class _Reconstruct(_Name):
    __slots__ = ()

    def __call__(self, *_: Any) -> NDArray[Any]:
        return np.empty((0,), dtype="b1").view(_Array)


class _FromBuffer(_Name):
    __slots__ = ()

    def __call__(self, raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> NDArray[Any]:
        shape, plain, fortran, data = _checked(shape, dtype, raw, order == "F")
        array = np.frombuffer(data, plain).reshape(shape, order="F" if fortran else "C")
        return array.astype(plain.newbyteorder("="), order="K")  # as from older protocols


class _Scalar(_Name):
    __slots__ = ()

    def __call__(self, dtype: Any, raw: Any) -> Any:
        _, plain, _, data = _checked((), dtype, raw, False)
        return np.frombuffer(data, plain)[0]


class _DtypeType(_Name):
    __slots__ = ()

    def __call__(self, *arguments: Any) -> _Dtype:
        return _Dtype(*arguments)


class _Encode(_Name):
    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("only text that stands for bytes is encoded")
        return text.encode("latin1")


class _EmptyBytes(_Name):
    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


_ADMITTED: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _NdarrayType(),
    ("numpy", "dtype"): _DtypeType(),
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy.core.multiarray", "scalar"): _Scalar(),
    ("numpy._core.multiarray", "scalar"): _Scalar(),
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer(),
    ("_codecs", "encode"): _Encode(),  # in bytes that Python 3 wrote for Python 2
    ("builtins", "bytes"): _EmptyBytes(),
    ("__builtin__", "bytes"): _EmptyBytes(),
}


class _Unpickler(pickle._Unpickler):
    """Python's own reader in Python: the one in C makes room for any number that a pickle names.

    In C, five bytes that store a value as number four thousand million take 64 GB.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def load_bytearray8(self: Any) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))  # what is there, before there is room for it

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _Refused("an object outside of the file")


class _Refused(Exception):  # noqa: N818 - not raised out of this module
    pass


def load(path: Path) -> Any:
    """Return the contents of a pickle of lists, dictionaries, strings, numbers and arrays.

    Strings of Python 2 become ``str`` (Latin-1) from every protocol; arrays have this machine's order of
    bytes. ``path`` may be a ``.gz``.

    Raises
    ------
    DataError
        If it names anything else, which the message repeats, or is damaged.
    """
    with opened(path) as file:
        try:
            return _Unpickler(io.BytesIO(file.read()), encoding="latin1").load()
        except _Refused as refused:
            raise DataError(
                f"{path} is refused: it asks for {refused}, and a pickle may run anything by such a name. "
                "Only lists, dictionaries, strings, numbers and plain arrays are read."
            ) from None
        except _DAMAGE as error:
            raise DataError(f"{path} is no whole pickle of plain data ({error}). Fetch it again.") from error
