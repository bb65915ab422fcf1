"""Tag vocabularies, one tag a line in output order.

The order is that of the published label matrices, never a fresh sort: equal counts occur, and the
two public orders of MagnaTagATune's 50 differ. MTG-Jamendo's is sorted by code point, because the
public checkpoints were trained through scikit-learn's LabelBinarizer, which sorts.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from ..errors import ConfigError, nearest

__all__ = ["VOCABULARIES", "read"]

VOCABULARIES: tuple[str, ...] = ("mtat", "msd", "jamendo")


@cache
def read(name: str) -> tuple[str, ...]:
    """Return the tags of the vocabulary `name` (``"mtat"``, ``"msd"``, ``"jamendo"``) in output order."""
    if name not in VOCABULARIES:
        raise ConfigError(
            f"No tag vocabulary {name!r}: there are {', '.join(VOCABULARIES)}.{nearest(name, VOCABULARIES)}"
        )
    text = resources.files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
