"""Where a network runs and how exactly: the words for it, and whether this machine has it."""

from __future__ import annotations

import re
from typing import Literal, get_args

import torch

from ...errors import ConfigError, nearest

Precision = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_DEVICE = re.compile(r"(?P<kind>cpu|cuda|mps)(:(?P<index>\d+))?")


def resolve_device(name: str = "auto") -> str:
    """Return the device that `name` stands for on this machine: ``"cpu"``, ``"cuda:1"``, ``"mps"``.

    Parameters
    ----------
    name
        ``"auto"`` is the first CUDA device if there is one, else the processor; Apple's GPU is named.
        ``"cuda"`` is the current one, ``"cuda:1"`` that of this number.

    Raises
    ------
    ConfigError
        If it is no device, or this machine has none such, and the message says which it has; or if it is a
        CUDA device, and this process was forked from one that had used CUDA.
    """
    if name == "auto":
        found = "cuda:0" if "cuda:0" in available_devices() else "cpu"
        check_process(found)
        return found
    match = _DEVICE.fullmatch(str(name))
    if match is None:
        words = ("auto", "cpu", "cuda", "cuda:1", "mps")
        hint = " Did you mean 'cuda'?" if str(name).lower() == "gpu" else nearest(str(name), words)
        raise ConfigError(f"device is one of {', '.join(words)}, not {name!r}.{hint}")
    kind, index = match["kind"], match["index"]
    there = available_devices()
    if kind == "cuda" and "cuda:0" in there:
        check_process(name)
    if kind == "cuda" and index is None:
        index = str(torch.cuda.current_device()) if "cuda:0" in there else "0"
    found = f"cuda:{index}" if kind == "cuda" else kind
    if found not in there or (kind != "cuda" and index not in (None, "0")):
        raise ConfigError(
            f"There is no device {name!r} on this machine for this torch ({torch.__version__}): there "
            f"{'is' if len(there) == 1 else 'are'} {', '.join(there)}."
        )
    return found


def check_process(device: str) -> None:
    """Raise `ConfigError` where a device cannot be used: CUDA, after a fork of a process that has used it."""
    if device.startswith("cuda") and torch.cuda._is_in_bad_fork():
        raise ConfigError(
            f"{device} cannot be used in this process, which was forked from one that had used CUDA: load "
            "taggers after the fork and not before it, start processes with multiprocessing's 'spawn', or "
            "take device='cpu'."
        )


def available_devices() -> tuple[str, ...]:
    """Return the devices of this machine, the fastest first and the processor last."""
    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def check_precision(precision: str, device: str) -> None:
    """Raise `ConfigError` unless `device` computes in `precision`, as far as torch knows."""
    if precision not in get_args(Precision):
        words = get_args(Precision)
        raise ConfigError(
            f"precision is one of {', '.join(words)}, not {precision!r}.{nearest(str(precision), words)}"
        )
    if precision not in native_precisions(device):
        raise ConfigError(
            f"{device} of this machine does not compute in {precision}, only in "
            f"{', '.join(native_precisions(device))}."
        )


def native_precisions(device: str) -> tuple[str, ...]:
    """Return the precisions that a device computes in, as far as torch knows.

    Of a processor this is oneDNN's word, which for bfloat16 may mean that it is emulated well.
    """
    if device == "mps":
        return "float32", "float16", "bfloat16"
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("float32", "float16", *(["bfloat16"] if bfloat16 else []))
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return ("float32",)
    own = {
        "bfloat16": torch.ops.mkldnn._is_mkldnn_bf16_supported,
        "float16": torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return ("float32", *(name for name, supported in own.items() if supported()))


def torch_device(device: str) -> torch.device:
    """Return torch's object for a device that `resolve_device` gave."""
    return torch.device(device)
