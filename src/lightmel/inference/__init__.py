"""The ladder put together: sound, segments, features, network, scores, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .results import Tagging, Taggram
    from .segments import Segment, cut, cut_at
    from .tagger import Source, Tagger, load, tag

__all__ = [
    "Segment",
    "Source",
    "Tagger",
    "Tagging",
    "Taggram",
    "cut",
    "cut_at",
    "load",
    "tag",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Tagging", "Taggram"), "results"),
        **dict.fromkeys(("Segment", "cut", "cut_at"), "segments"),
        **dict.fromkeys(("Source", "Tagger", "load", "tag"), "tagger"),
    },
)
