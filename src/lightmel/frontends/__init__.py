"""Front ends: the features that a network takes, computed from waves; configurations, registry, modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .base import FrontendConfig, StorageType
from .mel import BASE_HOP, CLIP_SECONDS, N_FFT, PAPER_CONFIGS, MelConfig
from .registry import (
    ArrayFrontend,
    FrontendKind,
    build_arrays,
    build_frontend,
    config_class,
    config_from_dict,
    config_from_slug,
    kinds,
    known_kinds,
    make_known,
    register,
)

if TYPE_CHECKING:
    from .cqt import CqtConfig
    from .cqt_torch import CqtFrontend
    from .kaldi_mel import KaldiMelConfig
    from .kaldi_mel_torch import KaldiMelFrontend
    from .matrix import MatrixFrontend
    from .mel_torch import MelFrontend, mel_filter_bank, rescaled
    from .module import Framewise, FramewiseStream, Frontend, FrontendStream
    from .waveform import WaveformConfig
    from .waveform_torch import WaveformFrontend

__all__ = [
    "BASE_HOP",
    "CLIP_SECONDS",
    "N_FFT",
    "PAPER_CONFIGS",
    "ArrayFrontend",
    "CqtConfig",
    "CqtFrontend",
    "Framewise",
    "FramewiseStream",
    "Frontend",
    "FrontendConfig",
    "FrontendKind",
    "FrontendStream",
    "KaldiMelConfig",
    "KaldiMelFrontend",
    "MatrixFrontend",
    "MelConfig",
    "MelFrontend",
    "StorageType",
    "WaveformConfig",
    "WaveformFrontend",
    "build_arrays",
    "build_frontend",
    "config_class",
    "config_from_dict",
    "config_from_slug",
    "kinds",
    "known_kinds",
    "make_known",
    "mel_filter_bank",
    "register",
    "rescaled",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "CqtConfig": "cqt",
        "CqtFrontend": "cqt_torch",
        "KaldiMelConfig": "kaldi_mel",
        "KaldiMelFrontend": "kaldi_mel_torch",
        "MatrixFrontend": "matrix",
        **dict.fromkeys(("MelFrontend", "mel_filter_bank", "rescaled"), "mel_torch"),
        **dict.fromkeys(("Framewise", "FramewiseStream", "Frontend", "FrontendStream"), "module"),
        "WaveformConfig": "waveform",
        "WaveformFrontend": "waveform_torch",
    },
)
