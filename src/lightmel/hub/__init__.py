"""Which taggers there are, and how a name becomes a file: in the package, in the cache, fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .catalogue import (
        CHECKPOINTS,
        DEFAULT,
        Release,
        identify,
        list_models,
        locate,
        matching,
        packaged,
        releases,
        results,
        unknown,
    )
    from .costs import costs_of
    from .download import cache_folder, fetch_public
    from .public import PublicCheckpoint, read_checkpoint

__all__ = [
    "CHECKPOINTS",
    "DEFAULT",
    "PublicCheckpoint",
    "Release",
    "cache_folder",
    "costs_of",
    "fetch_public",
    "identify",
    "list_models",
    "locate",
    "matching",
    "packaged",
    "read_checkpoint",
    "releases",
    "results",
    "unknown",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("CHECKPOINTS", "DEFAULT", "Release", "identify", "locate"), "catalogue"),
        **dict.fromkeys(
            ("list_models", "matching", "packaged", "releases", "results", "unknown"), "catalogue"
        ),
        "costs_of": "costs",
        **dict.fromkeys(("cache_folder", "fetch_public"), "download"),
        **dict.fromkeys(("PublicCheckpoint", "read_checkpoint"), "public"),
    },
)
