"""A short piece of music to try a tagger on: guitar, strings, bass and brushes, 24 s.

It is the project's own, rendered bit for bit by ``examples/render_sample.py`` in the source repository:
nothing in it was recorded. Anybody may do anything with it (CC0 1.0; the text lies beside the file).
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["CHANNELS", "LICENSE", "SECONDS", "SOURCE", "SR", "TITLE", "license_text", "path"]

TITLE = "The lightmel sample"
LICENSE = "CC0-1.0"
SOURCE = "examples/render_sample.py"
SR = 44_100
CHANNELS = 2
SECONDS = 24.0


def path() -> Path:
    """Return where the sample lies, an Ogg Vorbis file."""
    # The package is never run from a zip file: torch could not be loaded from one.
    return Path(str(resources.files(__name__).joinpath("sample.ogg")))


def license_text() -> str:
    """Return the text of the sample's license."""
    return resources.files(__name__).joinpath("LICENSE").read_text(encoding="utf-8")
