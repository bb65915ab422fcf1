"""Which taggers there are, and how a name becomes a file on this machine."""

from __future__ import annotations

from .catalogue import DEFAULT, Release, cache_folder, fetch_public, packaged, releases, unknown

__all__ = [
    "DEFAULT",
    "Release",
    "cache_folder",
    "fetch_public",
    "packaged",
    "releases",
    "unknown",
]
