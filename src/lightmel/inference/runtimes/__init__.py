"""What runs a tagger's network. A new one is a file with a class that does what `Runtime` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazily
from .base import Output, Runtime
from .choice import RuntimeName, is_accelerator, wants_onnx

if TYPE_CHECKING:
    from .devices import available_devices, check_precision, native_precisions, resolve_device
    from .onnx import OnnxRuntime
    from .torch import TorchRuntime

__all__ = [
    "OnnxRuntime",
    "Output",
    "Runtime",
    "RuntimeName",
    "TorchRuntime",
    "available_devices",
    "check_precision",
    "is_accelerator",
    "native_precisions",
    "resolve_device",
    "wants_onnx",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(
            ("available_devices", "check_precision", "native_precisions", "resolve_device"), "devices"
        ),
        "OnnxRuntime": "onnx",
        "TorchRuntime": "torch",
    },
)
