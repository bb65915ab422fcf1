"""What a tagger gives: the tags of a piece of sound, and scores over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, nearest
from ..vocabularies import CATEGORIES, MUSIC, category, concept
from .parts import NO_MUSIC, NOT_MUSIC, SILENCE, SOUNDS, UNKNOWN, Part

SCHEMA = 3
"""Version of what `Tagging.to_dict` gives, and of the lines of ``lightmel tag --json``.

It is raised with any change of the fields: one more, one less, another name or meaning. Those before it are
read for good.
"""


@dataclass(frozen=True, repr=False)
class Tagging:
    """The tags of one piece of sound, best first, and what they rest on.

    Attributes
    ----------
    tags, scores
        Tags by falling score, and their scores between 0 and 1. A tag "music" is among them, where the model
        has one; what ranks tags leaves it out, because it answers another question: see `sound`.
    seconds
        Length of the sound.
    padded
        Whether the sound was shorter than a segment and was repeated to fill one.
    model, version, license
        The tagger, and the license of its weights.
    notes
        What a reader should know before trusting the scores; usually empty. The first one is `sound` where
        that is no music; what was left out of a damaged file follows, how much was analysed where that is
        not all of it (``coverage``), and there is one for each of `parts`.
    thresholds
        A threshold for each of `tags`, where the model has fitted ones.
    sound
        What most of it is: ``"music"``, ``"speech"``, ``"not music"``, ``"silence"``; or ``"unknown"``,
        where the model has no tag "music" to tell.
    parts
        The parts of some seconds that are something else than `sound`, in order.
    verified
        For each of `tags`, whether labels were at hand when its scores were made chances; empty for a model
        whose scores were not (`lightmel.calibrate` does it).
    exclusive
        Whether the model's tags exclude each other: then the best one holds, whatever its score, and no
        other.
    """

    tags: tuple[str, ...]
    scores: tuple[float, ...]
    seconds: float
    padded: bool
    model: str
    version: str
    license: str
    notes: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    sound: str = UNKNOWN
    parts: tuple[Part, ...] = ()
    verified: tuple[bool, ...] = ()
    exclusive: bool = False

    def __getitem__(self, tag: str) -> float:
        """Return the score of `tag`."""
        try:
            return self.scores[self.tags.index(tag)]
        except ValueError:
            raise ConfigError(f"{self.model} has no tag {tag!r}.{nearest(str(tag), self.tags)}") from None

    def __contains__(self, tag: object) -> bool:
        return tag in self.tags

    def __iter__(self) -> Iterator[str]:
        """Iterate over the tags, best first."""
        return iter(self.tags)

    def __len__(self) -> int:
        return len(self.tags)

    def __repr__(self) -> str:
        return f"<Tagging {self}>"

    @property
    def is_music(self) -> bool | None:
        """Whether most of it is music; None where the model cannot tell."""
        return None if self.sound == UNKNOWN else self.sound not in NO_MUSIC

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the `k` best tags and their scores; the tag "music" is none of them."""
        return [(tag, score) for tag, score, _ in self._ranked(None)][: max(k, 0)]

    def above(self, threshold: float | None = None) -> list[tuple[str, float]]:
        """Return tags and scores of at least `threshold`; without one, the model's own, tag by tag.

        Of tags that are `exclusive` it is the best one alone, without any threshold of its own.

        Raises
        ------
        ConfigError
            If none is given and the model has none.
        """
        if threshold is None and not self.thresholds and not self.exclusive:
            raise ConfigError(f"{self.model} has no thresholds of its own: say above(0.3), for example.")
        return [(tag, score) for tag, score, holds in self._ranked(threshold) if holds]

    def concepts(self) -> list[tuple[str, float]]:
        """Return scores by concept, best first: "woman" and "female voice" are one, "female vocal".

        Its score is the best one of its tags. `lightmel.vocabularies.concept` says which tags are one.
        """
        return [(name, score) for name, score, _ in self._concepts(None)]

    def by_category(
        self, k: int = 5, threshold: float | None = None
    ) -> dict[str, tuple[tuple[str, float], ...]]:
        """Return the `k` best concepts of each category, and their scores.

        Those whose chances labels have verified come first: the others' are guesses of how high a score is.
        Where the model has thresholds, or one is given, a concept must have a tag that reaches its own. A
        category in which none does is empty: unknown. So is every one that is about music where `sound` is
        none, and every one where it is silence; `tags` and `concepts` have those scores all the same.

        Parameters
        ----------
        k
            How many of each, at most.
        threshold
            For all tags, in place of the model's own.

        Returns
        -------
        dict
            The categories of the model's tags, in the order of `lightmel.vocabularies.CATEGORIES`; tags of
            no known category are under ``"other"``.
        """
        found: dict[str, list[tuple[str, float]]] = {}
        about = {concept(tag): category(tag) for tag in self.tags}
        for name, score, holds in self._concepts(threshold):
            place = found.setdefault(about[name], [])
            apt = self.is_music is not False or (
                self.sound != SILENCE and about[name] in (NOT_MUSIC, "other")
            )
            if holds and apt:
                place.append((name, score))
        guessed = self.unverified()
        for place in found.values():
            place.sort(key=lambda own: own[0] in guessed)  # stable: the best of each kind stay in front
        return {name: tuple(found[name][: max(k, 0)]) for name in CATEGORIES if name in found}

    def unverified(self) -> frozenset[str]:
        """Return the concepts of `by_category` whose score is that of a tag that is not among the `verified`.

        Empty where nothing is known of any.
        """
        best: dict[str, bool] = {}
        for tag, known in zip(self.tags, self.verified or (True,) * len(self.tags), strict=True):
            best.setdefault(concept(tag), known)
        return frozenset(name for name, known in best.items() if not known)

    def _ranked(self, threshold: float | None) -> list[tuple[str, float, bool]]:
        """Return tags, scores, and whether they reach their thresholds, as all do where there is none."""
        own = self.thresholds or (-1.0,) * len(self.tags)
        limits = own if threshold is None else (threshold,) * len(self.tags)
        rows = [row for row in zip(self.tags, self.scores, limits, strict=True) if category(row[0]) != MUSIC]
        if self.exclusive:
            wanted = -1.0 if threshold is None else threshold
            return [(tag, score, i == 0 and score >= wanted) for i, (tag, score, _) in enumerate(rows)]
        return [(tag, score, score >= limit) for tag, score, limit in rows]

    def _concepts(self, threshold: float | None) -> list[tuple[str, float, bool]]:
        found: dict[str, tuple[float, bool]] = {}
        for tag, score, holds in self._ranked(threshold):
            best, held = found.get(concept(tag), (score, False))
            found[concept(tag)] = (best, held or holds)
        return [(name, score, holds) for name, (score, holds) in found.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that `json.dumps` takes; `from_dict` reads it back.

        Tags are in falling order of their scores; ``"schema"`` is `SCHEMA`; ``"categories"`` is what
        `by_category` gives, and ``"unknown"`` for one that is empty.
        """
        return {
            "schema": SCHEMA,
            "tags": dict(zip(self.tags, self.scores, strict=True)),
            "thresholds": dict(zip(self.tags, self.thresholds, strict=True)) if self.thresholds else {},
            "verified": dict(zip(self.tags, self.verified, strict=True)) if self.verified else {},
            "seconds": self.seconds,
            "padded": self.padded,
            "model": self.model,
            "version": self.version,
            "license": self.license,
            "notes": list(self.notes),
            "sound": self.sound,
            "parts": [{"kind": part.kind, "start": part.start, "end": part.end} for part in self.parts],
            "exclusive": self.exclusive,
            "categories": {name: dict(best) or UNKNOWN for name, best in self.by_category().items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Tagging:
        """Read what `to_dict` gave; fields beside it, such as the path in a line of JSON, are left out.

        Tags are put in falling order of their scores: a program between may have sorted the keys. Schema 1,
        which older lines have, does not say what the sound is; before schema 3, there were no records of
        errors.

        Raises
        ------
        DataError
            If it is no tagging, but the record of an error, say, or one of a newer schema.
        """
        schema = plain.get("schema") if isinstance(plain, Mapping) else None
        if isinstance(plain, Mapping) and isinstance(error := plain.get("error"), Mapping):
            of = f" of {plain['path']!r}" if "path" in plain else ""
            raise DataError(
                f"This is no tagging, but the record of an error{of}: {error.get('message')} Leave out what "
                "has an 'error'."
            )
        if schema not in range(1, SCHEMA + 1) or isinstance(schema, bool):
            newer = isinstance(schema, int) and schema > SCHEMA
            hint = "a newer lightmel may read it" if newer else "it is read from what Tagging.to_dict() made"
            raise DataError(f"This is no tagging of schema {SCHEMA}, but of {schema!r}: {hint}.")
        try:
            if not isinstance(plain["padded"], bool):
                raise TypeError(f"padded is true or false, not {plain['padded']!r}")
            scores, thresholds = dict(plain["tags"]), dict(plain["thresholds"])
            verified = dict(plain.get("verified", {}))
            sound = UNKNOWN if schema == 1 else plain["sound"]
            parts = [] if schema == 1 else plain["parts"]
            for kind in (sound, *(part["kind"] for part in parts)):
                if kind not in SOUNDS:
                    raise ValueError(f"a sound is one of {', '.join(SOUNDS)}, not {kind!r}")
            numbers = {tag: _finite(score) for tag, score in scores.items()}
            tags = sorted(numbers, key=lambda tag: -numbers[tag])
            return cls(
                tags=tuple(tags),
                scores=tuple(numbers[tag] for tag in tags),
                seconds=_finite(plain["seconds"]),
                padded=plain["padded"],
                model=str(plain["model"]),
                version=str(plain["version"]),
                license=str(plain["license"]),
                notes=tuple(plain["notes"]),
                thresholds=tuple(_finite(thresholds[tag]) for tag in tags) if thresholds else (),
                sound=sound,
                parts=tuple(Part(p["kind"], _finite(p["start"]), _finite(p["end"])) for p in parts),
                verified=tuple(bool(verified[tag]) for tag in tags) if verified else (),
                exclusive=plain.get("exclusive", False) is True,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"This is no tagging: {type(error).__name__}: {error}.") from error

    def __str__(self) -> str:
        no_music = self.is_music is False
        shown = self.by_category().get(NOT_MUSIC, ()) if no_music else self.top(5)
        best = ", ".join(f"{tag} {score:.2f}" for tag, score in shown)
        if no_music:
            best = f"{self.sound}: {best}" if best else self.sound
        return f"{best} ({self.seconds:.1f} s, {self.model})"


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a number is finite, not {number}")
    return number


@dataclass(frozen=True, repr=False)
class Taggram:
    """Scores over time.

    Attributes
    ----------
    tags
        In the model's order: column i of `scores` is ``tags[i]``.
    times
        ``(segments, 2)``: where each segment starts and ends, in seconds of the sound.
    scores
        ``(segments, tags)``, between 0 and 1.
    """

    tags: tuple[str, ...]
    times: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __repr__(self) -> str:
        return f"<Taggram {len(self.times)} segments, {len(self.tags)} tags>"


class Analysis(NamedTuple):
    """All that a tagger gives of one piece of sound.

    Attributes
    ----------
    tagging
        Its tags.
    taggram
        Its scores over time, segments back to back.
    embedding
        ``(embed_dim,)``: the mean of what the network's head sees.
    """

    tagging: Tagging
    taggram: Taggram
    embedding: NDArray[np.float32]
