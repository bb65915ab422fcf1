"""From sound to tags: segments, features, network, scores; and what runs the network, on which device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .exporting import Exported, export
    from .loading import embed, load, tag
    from .parts import LIMITS, NOT_MUSIC, SPEECH, Part, neighbours, sound_columns
    from .results import SCHEMA, Analysis, Tagging, Taggram
    from .runtimes import (
        OnnxRuntime,
        Output,
        Runtime,
        TorchRuntime,
        available_devices,
        check_precision,
        is_accelerator,
        resolve_device,
    )
    from .segments import Segment, cut
    from .sources import Sound, Source
    from .tagger import Segments, Tagger

__all__ = [
    "LIMITS",
    "NOT_MUSIC",
    "SCHEMA",
    "SPEECH",
    "Analysis",
    "Exported",
    "OnnxRuntime",
    "Output",
    "Part",
    "Runtime",
    "Segment",
    "Segments",
    "Sound",
    "Source",
    "Tagger",
    "Tagging",
    "Taggram",
    "TorchRuntime",
    "available_devices",
    "check_precision",
    "cut",
    "embed",
    "export",
    "is_accelerator",
    "load",
    "neighbours",
    "resolve_device",
    "sound_columns",
    "tag",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Exported", "export"), "exporting"),
        **dict.fromkeys(("embed", "load", "tag"), "loading"),
        **dict.fromkeys(("LIMITS", "NOT_MUSIC", "SPEECH", "Part", "neighbours", "sound_columns"), "parts"),
        **dict.fromkeys(("SCHEMA", "Analysis", "Tagging", "Taggram"), "results"),
        **dict.fromkeys(
            (
                "OnnxRuntime",
                "Output",
                "Runtime",
                "TorchRuntime",
                "available_devices",
                "check_precision",
                "is_accelerator",
                "resolve_device",
            ),
            "runtimes",
        ),
        **dict.fromkeys(("Segment", "cut"), "segments"),
        **dict.fromkeys(("Sound", "Source"), "sources"),
        **dict.fromkeys(("Segments", "Tagger"), "tagger"),
    },
)
