"""Which runtime a tagger gets, without loading torch to find out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from functools import cache
from typing import Literal, get_args

from ..._lazy import is_installed
from ...errors import ConfigError, nearest

RuntimeName = Literal["auto", "onnx", "torch"]
_NVML = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
"""NVIDIA's library that counts its devices; it starts nothing that a fork would break, as CUDA does."""


def wants_onnx(runtime: str, device: str, precision: str, *, graph: bool) -> bool:
    """Return whether ONNX Runtime is to run a tagger: on a processor, where there is a graph of it.

    Parameters
    ----------
    runtime
        ``"auto"``, ``"onnx"`` or ``"torch"``.
    device, precision
        As in `lightmel.load`.
    graph
        Whether there is a graph.

    Raises
    ------
    ConfigError
        If there is no such runtime, or it is to do what it does not.
    """
    if runtime not in get_args(RuntimeName):
        words = get_args(RuntimeName)
        raise ConfigError(
            f"runtime is one of {', '.join(words)}, not {runtime!r}.{nearest(str(runtime), words)}"
        )
    if runtime == "torch":
        return False
    fits = precision == "float32" and device in ("cpu", "auto") and not is_accelerator(device)
    if runtime == "auto":
        return graph and fits
    if not graph:
        raise ConfigError(
            "runtime='onnx' wants a graph: the taggers in the package have one, `lightmel export` writes one."
        )
    if not (precision == "float32" and device in ("cpu", "auto")):
        raise ConfigError(
            f"runtime='onnx' is for the processor and float32: leave out device={device!r} and "
            f"precision={precision!r}, or take runtime='torch'."
        )
    return True


def is_accelerator(device: str) -> bool:
    """Return whether a name of a device, as `lightmel.load` takes it, stands here for no processor."""
    return has_cuda() if device == "auto" else device.partition(":")[0] != "cpu"


def has_cuda() -> bool:
    """Return whether there is a CUDA device that torch, if it is installed, may use."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return bool(torch.cuda.is_available())
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not is_installed("torch"):
        return False
    return _devices() > 0


@cache
def _devices() -> int:
    """Return the number of NVIDIA's devices, as its driver counts them; 0 where there is no driver."""
    count = ctypes.c_uint(0)
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(_NVML)
        if library.nvmlInit_v2() == 0:
            if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
                count.value = 0
            library.nvmlShutdown()
    return count.value
