"""Which taggers there are, and how a name becomes a file: in the package, in the cache, fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .card import card_opening, with_citation
    from .catalogue import (
        CHECKPOINTS,
        DEFAULT,
        Release,
        cheapest,
        check_name,
        fetch,
        find,
        graph_of,
        identify,
        list_models,
        locate,
        matching,
        offers_graph,
        packaged,
        read_tagger,
        releases,
        results,
        unknown,
    )
    from .client import cache_folder, repositories_folder
    from .costs import costs_of
    from .download import fetch_public, public_file
    from .public import PublicCheckpoint, read_checkpoint
    from .publish import check_publishable, push, write_release
    from .repositories import CONFIG, WEIGHTS, Repository, fetch_repository, planned, published

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "DEFAULT",
    "WEIGHTS",
    "PublicCheckpoint",
    "Release",
    "Repository",
    "cache_folder",
    "card_opening",
    "cheapest",
    "check_name",
    "check_publishable",
    "costs_of",
    "fetch",
    "fetch_public",
    "fetch_repository",
    "find",
    "graph_of",
    "identify",
    "list_models",
    "locate",
    "matching",
    "offers_graph",
    "packaged",
    "planned",
    "public_file",
    "published",
    "push",
    "read_checkpoint",
    "read_tagger",
    "releases",
    "repositories_folder",
    "results",
    "unknown",
    "with_citation",
    "write_release",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("CHECKPOINTS", "DEFAULT", "Release", "identify", "locate"), "catalogue"),
        **dict.fromkeys(
            ("check_name", "cheapest", "fetch", "find", "graph_of", "list_models", "matching", "packaged"),
            "catalogue",
        ),
        **dict.fromkeys(("offers_graph", "read_tagger", "releases", "results", "unknown"), "catalogue"),
        **dict.fromkeys(("card_opening", "with_citation"), "card"),
        **dict.fromkeys(("cache_folder", "repositories_folder"), "client"),
        "costs_of": "costs",
        **dict.fromkeys(("fetch_public", "public_file"), "download"),
        **dict.fromkeys(("check_publishable", "push", "write_release"), "publish"),
        **dict.fromkeys(("CONFIG", "WEIGHTS", "Repository"), "repositories"),
        **dict.fromkeys(("fetch_repository", "planned", "published"), "repositories"),
        **dict.fromkeys(("PublicCheckpoint", "read_checkpoint"), "public"),
    },
)
