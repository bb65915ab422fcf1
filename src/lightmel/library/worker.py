"""Tagging one file of a folder run, in a process of `lightmel.workers`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._each import attempt
from ..errors import LightmelError
from ..inference import Tagger, Taggram, load
from ..workers import Handler
from .lines import error_record, tagging_record
from .notes import describe


def serve(settings: Mapping[str, Any]) -> Handler:
    """Return the handler from a path to its record, and the bytes of its embedding and its scores over time.

    Where the tagger cannot be loaded, every answer is the reason, under ``"refused"``.
    """
    tagger = attempt(
        settings["model"], load, settings["model"], device=settings["device"], precision=settings["precision"]
    )
    if isinstance(tagger, LightmelError):
        refused = {"refused": str(tagger)}
        return lambda task: (refused, b"")
    return FileTagger(tagger, settings).answer


class FileTagger:
    """Makes what a run keeps of a file."""

    def __init__(self, tagger: Tagger, settings: Mapping[str, Any]) -> None:
        self._tagger = tagger
        self._coverage: float = settings["coverage"]
        self._top: int | None = settings["top"]
        self._above: bool = settings["above"]
        self._digest: str = settings["digest"]
        self._hash: bool = settings["hash"]
        self._taggrams: bool = settings["taggrams"]
        self._embeddings: bool = settings["embeddings"]

    def answer(self, path: str) -> tuple[dict[str, Any], bytes]:
        """Return the record of a file, and how many of the bytes are its embedding; the rest are scores.

        What the file is like is noted before it is read: one that changes meanwhile is done again.
        """
        noted = attempt(path, describe, path, self._digest, sha256=self._hash)
        if isinstance(noted, LightmelError):
            return {"record": _with(error_record(path, noted), {"tagger": self._digest}), "embedding": 0}, b""
        made = attempt(path, self._made, path)
        if isinstance(made, LightmelError):
            return {"record": _with(error_record(path, made), noted), "embedding": 0}, b""
        record, embedding, scores = made
        return {"record": _with(record, noted), "embedding": len(embedding)}, embedding + scores

    def _made(self, path: str) -> tuple[dict[str, Any], bytes, bytes]:
        embedding = scores = b""
        if self._taggrams or self._embeddings:
            tagging, taggram, vector = self._tagger.analyze(path)
            embedding = vector.astype("<f4").tobytes() if self._embeddings else b""
            scores = _npz(taggram) if self._taggrams else b""
        else:
            tagging = self._tagger.tag(path, coverage=self._coverage)
        chosen = None
        if self._above or self._top:
            tags = tagging.above() if self._above else tagging.top(len(tagging.tags))
            chosen = tags[: self._top]
        return tagging_record(path, tagging, chosen), embedding, scores


def _with(record: dict[str, Any], noted: dict[str, Any]) -> dict[str, Any]:
    """Put what was noted behind the path, where a later run finds it without reading the scores."""
    return {"path": record["path"], "file": noted, **record}


def _npz(taggram: Taggram) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file,
        tags=np.array(taggram.tags),
        times=taggram.times,
        scores=taggram.scores.astype(np.float32),
    )
    return file.getvalue()
