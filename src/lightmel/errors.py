"""Every error that lightmel raises on purpose; each message names the way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LONGEST = 4_096
"""Characters of a word in a message, as a path of Linux may have; a longer one is cut to `_KEPT`."""
_KEPT = 200
_LONG = re.compile(rf"\S{{{_LONGEST},}}\w")


class LightmelError(Exception):
    """Parent of every error that lightmel raises on purpose; its text names the way out.

    Parameters
    ----------
    *args
        The text. A word that is longer than any path, as a name that is none may be, is cut.
    names
        Parameters that the text names by words of English, such as ``epochs``: the command line puts its
        options in their place. Names with an underscore, and such as ``root=...``, it finds by itself.
    """

    def __init__(self, *args: object, names: Iterable[str] = ()) -> None:
        super().__init__(*(_cut(arg) for arg in args))
        self.names = tuple(names)


def _cut(arg: object) -> object:
    if not isinstance(arg, str) or len(arg) <= _LONGEST:
        return arg
    return _LONG.sub(lambda match: f"{match[0][:_KEPT]}... ({len(match[0]):,} characters)", arg)


class ConfigError(LightmelError, ValueError):
    """A configuration, an option, or a slug that names one, that cannot work."""


class AudioError(LightmelError):
    """Sound that cannot be read or used; the message names the file and what is wrong with it."""


class ShapeError(LightmelError, ValueError):
    """An input whose shape or type does not fit; the message says which shape is wanted."""


class WeightsError(LightmelError):
    """A weights file that is damaged, or that does not fit what it says it holds."""


class HubError(WeightsError):
    """A repository of the Hugging Face Hub that cannot be reached, read, kept or written to; it says why."""


class DataError(LightmelError):
    """A data set, table or store that cannot be used; the message names the file and the way out."""


class TrainingError(LightmelError):
    """Training that cannot go on; the message says at which step and why."""


class StoppedError(TrainingError):
    """Work that was stopped before its end; what is done is kept where the message says."""


class UnexpectedError(LightmelError):
    """A bug of lightmel's that one of many files has met; others go on. Its cause is what was raised."""


class UnknownModelError(LightmelError, LookupError):
    """A model name that nobody knows; the message suggests the nearest one."""


class MissingExtraError(LightmelError, ImportError):
    """An optional package is needed; the message holds the command that installs it."""


NO_TORCH = "This takes PyTorch, which is not installed: pip install torch."


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
