"""Where it is said what was left out of a file: in a list of the caller's, or else in the log, once each."""

from __future__ import annotations

import logging

log = logging.getLogger("lightmel")


class Notes:
    """Takes what is to be said of one file while parts of it are read, however often.

    Parameters
    ----------
    kept
        A list to put it into, each sentence once; None: it goes to the log, with the file's name.
    """

    def __init__(self, kept: list[str] | None) -> None:
        self._kept = kept
        self._said: set[str] = set()
        self._kinds: set[str] = set()

    def add(self, label: str, note: str, kind: str = "") -> None:
        """Say `note` of the file that is called `label` in messages; of a `kind` that is given, only one."""
        if kind and kind in self._kinds:
            return
        self._kinds.add(kind)
        if self._kept is not None:
            if note not in self._kept:
                self._kept.append(note)
        elif note not in self._said:
            self._said.add(note)
            log.warning("%s: %s.", label, note)
