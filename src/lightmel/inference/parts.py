"""Is it music? What a sound is as a whole, and which parts of it are something else.

A tagger that has the tag "music" answers it, segment by segment; whether there is any sound at all is read
from the samples, for every tagger. Scores are smoothed over about `WINDOW` seconds, and what lasts less
than `SHORTEST` seconds belongs to what is around it, so that one odd segment changes nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..vocabularies import MUSIC, concept

SPEECH, NOT_MUSIC, SILENCE, UNKNOWN = "speech", "not music", "silence", "unknown"
SOUNDS = (MUSIC, SPEECH, NOT_MUSIC, SILENCE, UNKNOWN)
NO_MUSIC = (SPEECH, NOT_MUSIC, SILENCE)
"""Of `SOUNDS`, those whose genre or instruments nobody should be told."""

QUIETEST = 1e-4
"""Peak below which sound is silence: -80 dB of full scale, above the dither of 16-bit files."""
LIMITS = {MUSIC: 0.5, SPEECH: 0.3}
"""Score from which on it is that, where the tagger has no threshold for the tag."""
WINDOW = 10.0
"""Seconds that scores are averaged over."""
SHORTEST = 10.0
"""Seconds that something must last to be a part of its own."""


@dataclass(frozen=True)
class Part:
    """A part of a sound that is something else than the whole.

    Attributes
    ----------
    kind
        ``"music"``, ``"speech"``, ``"not music"`` or ``"silence"``.
    start, end
        Seconds from the start of the sound.
    """

    kind: str
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.kind} from {_clock(self.start)} to {_clock(self.end)}"


class _Seen(NamedTuple):
    start: float
    end: float
    silent: bool
    scores: dict[str, float]


def sound_columns(tags: Sequence[str]) -> dict[str, int]:
    """Return which of `tags` say what a sound is: for a word of `LIMITS`, where the first tag of it is."""
    meanings = [concept(tag) for tag in tags]
    return {what: meanings.index(what) for what in LIMITS if what in meanings}


def neighbours(segment_seconds: float) -> int:
    """Return with how many segments on either side a segment's scores are averaged."""
    return int(WINDOW / 2 / segment_seconds)


class PartFinder:
    """Takes one segment after the other, and says at the end what the sound and its parts are.

    It holds the segments of a window, and a part for every change so far: no more than one in `SHORTEST`
    seconds.

    Parameters
    ----------
    tags, thresholds
        Of the tagger, whose thresholds may be none.
    segment_seconds
        Length of a segment.
    """

    def __init__(self, tags: Sequence[str], thresholds: Sequence[float], segment_seconds: float) -> None:
        self._columns = sound_columns(tags)
        self._limits = {
            what: thresholds[column] if thresholds else LIMITS[what] for what, column in self._columns.items()
        }
        self._around = neighbours(segment_seconds)
        self._window: deque[_Seen] = deque()
        self._next = 0  # of the window, whose turn it is
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._runs: list[Part] = []
        self._away: defaultdict[str, float] = defaultdict(float)  # seconds of other kinds after the last run
        self._left = self._end = 0.0  # where that began, and how far all of it goes

    def add(self, start: float, end: float, peak: float, scores: NDArray[np.floating]) -> None:
        """Take the next segment: where it is (in seconds), its peak, the scores of its tags."""
        found = {what: float(scores[column]) for what, column in self._columns.items()}
        self._window.append(_Seen(start, end, peak < QUIETEST, found))
        if len(self._window) > self._next + self._around:
            self._advance()

    def finish(self) -> tuple[str, tuple[Part, ...]]:
        """Return what the whole is, one of `SOUNDS`, and the parts that are something else."""
        while self._next < len(self._window):
            self._advance()
        if self._away and self._runs:  # too short at the end
            self._runs[-1] = Part(self._runs[-1].kind, self._runs[-1].start, self._end)
        elif self._away:
            self._runs = [Part(_most(self._away), 0.0, self._end)]
        self._away.clear()
        sound = self._whole()
        return sound, tuple(run for run in self._runs if run.kind not in (sound, UNKNOWN))

    def _advance(self) -> None:
        """Say what the next segment of the window is, and let go of what no other one needs."""
        seen = self._window[self._next]
        kind = SILENCE
        if not seen.silent:
            first, last = max(0, self._next - self._around), self._next + self._around + 1
            near = [s.scores for i, s in enumerate(self._window) if first <= i < last and not s.silent]
            kind = self._kind({what: sum(s[what] for s in near) / len(near) for what in self._columns})
        self._extend(kind, max(seen.start, self._end), seen.end)
        if self._next < self._around:
            self._next += 1
        else:
            self._window.popleft()

    def _kind(self, scores: dict[str, float]) -> str:
        if MUSIC not in scores:
            return UNKNOWN
        for what in (MUSIC, SPEECH):
            if what in scores and scores[what] >= self._limits[what]:
                return what
        return NOT_MUSIC

    def _extend(self, kind: str, start: float, end: float) -> None:
        self._seconds[kind] += end - start
        self._end = end
        if self._runs and self._runs[-1].kind == kind:
            self._runs[-1] = Part(kind, self._runs[-1].start, end)
            self._away.clear()
            return
        if not self._away:
            self._left = start
        self._away[kind] += end - start
        if end - self._left >= SHORTEST:
            self._runs.append(Part(_most(self._away), self._left, end))
            self._away.clear()

    def _whole(self) -> str:
        """Return what most of it is; silence counts only where there is nothing else."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for run in self._runs:
            seconds[run.kind] += run.end - run.start
        for found in (seconds, self._seconds):
            loud = {kind: length for kind, length in found.items() if kind != SILENCE}
            if loud:
                music = loud.pop(MUSIC, 0.0)
                return MUSIC if music >= sum(loud.values()) else _most(loud)
        return SILENCE


def _most(seconds: dict[str, float]) -> str:
    return max(seconds, key=lambda kind: seconds[kind])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
