"""Front ends: from waves to what a network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .mel import CLIP_SECONDS, GRID, MelConfig, StorageType

if TYPE_CHECKING:
    from .mel_torch import MelFrontend, MelStream, mel_filter_bank, rescaled

__all__ = [
    "CLIP_SECONDS",
    "GRID",
    "MelConfig",
    "MelFrontend",
    "MelStream",
    "StorageType",
    "mel_filter_bank",
    "rescaled",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("MelFrontend", "MelStream", "mel_filter_bank", "rescaled"), "mel_torch"),
    },
)
