"""What a tagger gives: the tags of a piece of sound, and scores over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, nearest

SCHEMA = 1
"""Version of what `Tagging.to_dict` gives, and of the lines of ``lightmel tag --json``.

It is raised with any change of the fields: one more, one less, another name or meaning.
"""


@dataclass(frozen=True, repr=False)
class Tagging:
    """The tags of one piece of sound, best first, and what they rest on.

    Attributes
    ----------
    tags, scores
        Tags by falling score, and their scores between 0 and 1.
    seconds
        Length of the sound.
    padded
        Whether the sound was shorter than a segment and was repeated to fill one.
    model, version, license
        The tagger, and the license of its weights.
    notes
        What a reader should know before trusting the scores; usually empty.
    thresholds
        A threshold for each of `tags`, where the model has fitted ones.
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

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Return the `k` best tags and their scores."""
        return list(zip(self.tags, self.scores, strict=True))[: max(k, 0)]

    def above(self, threshold: float | None = None) -> list[tuple[str, float]]:
        """Return tags and scores of at least `threshold`; without one, the model's own, tag by tag.

        Raises
        ------
        ConfigError
            If none is given and the model has none.
        """
        if threshold is None and not self.thresholds:
            raise ConfigError(f"{self.model} has no thresholds of its own: say above(0.3), for example.")
        limits = self.thresholds if threshold is None else (threshold,) * len(self.tags)
        return [(t, s) for t, s, limit in zip(self.tags, self.scores, limits, strict=True) if s >= limit]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that `json.dumps` takes; `from_dict` reads it back.

        Tags are in falling order of their scores; ``"schema"`` is `SCHEMA`.
        """
        return {
            "schema": SCHEMA,
            "tags": dict(zip(self.tags, self.scores, strict=True)),
            "thresholds": dict(zip(self.tags, self.thresholds, strict=True)) if self.thresholds else {},
            "seconds": self.seconds,
            "padded": self.padded,
            "model": self.model,
            "version": self.version,
            "license": self.license,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Tagging:
        """Read what `to_dict` gave; fields beside it, such as the path in a line of JSON, are left out.

        Tags are put in falling order of their scores: a program between may have sorted the keys.

        Raises
        ------
        DataError
            If it is no tagging, or one of a newer schema.
        """
        schema = plain.get("schema") if isinstance(plain, Mapping) else None
        if schema != SCHEMA:
            newer = isinstance(schema, int) and schema > SCHEMA
            hint = "a newer lightmel may read it" if newer else "it is read from what Tagging.to_dict() made"
            raise DataError(f"This is no tagging of schema {SCHEMA}, but of {schema!r}: {hint}.")
        try:
            if not isinstance(plain["padded"], bool):
                raise TypeError(f"padded is true or false, not {plain['padded']!r}")
            scores, thresholds = dict(plain["tags"]), dict(plain["thresholds"])
            tags = sorted(scores, key=lambda tag: -float(scores[tag]))
            return cls(
                tags=tuple(tags),
                scores=tuple(float(scores[tag]) for tag in tags),
                seconds=float(plain["seconds"]),
                padded=plain["padded"],
                model=str(plain["model"]),
                version=str(plain["version"]),
                license=str(plain["license"]),
                notes=tuple(plain["notes"]),
                thresholds=tuple(float(thresholds[tag]) for tag in tags) if thresholds else (),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"This is no tagging: {type(error).__name__}: {error}.") from error

    def __str__(self) -> str:
        best = ", ".join(f"{tag} {score:.2f}" for tag, score in self.top(5))
        return f"{best} ({self.seconds:.1f} s, {self.model})"


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
