"""Work of a folder run whose tagger reads text: it is quick, and a file can order it to crash or hang."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmel import hub
from lightmel.errors import AudioError
from lightmel.inference import Analysis, Tagging, Taggram
from lightmel.library.worker import FileTagger
from lightmel.workers import Handler

TAGS = ("jazz", "rock", "happy", "piano", "80s", "music")
THRESHOLDS = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
DIM = 4


class FakeTagger:
    """Scores are in the file: ``0.9 0.2``, for the first tags, and its seconds behind an ``s``: ``s30``."""

    def tag(self, path: str, coverage: float = 1.0) -> Tagging:
        words = Path(path).read_text(encoding="utf-8").split()
        order = words[0] if words else ""
        if order == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "hang":
            time.sleep(600)
        elif order == "bug":
            raise RuntimeError("a bug")
        elif order == "broken":
            raise AudioError(f"{path}: is broken.")
        seconds = [float(word[1:]) for word in words if word.startswith("s")] or [10.0]
        scores = [float(word) for word in words if not word.startswith("s")]
        scores += [0.1] * (len(TAGS) - len(scores))
        scores[-1] = 0.99
        ranked = sorted(zip(TAGS, scores, THRESHOLDS, strict=True), key=lambda one: -one[1])
        tags, values, thresholds = zip(*ranked, strict=True)
        return Tagging(
            tags=tags,
            scores=values,
            seconds=seconds[0],
            padded=False,
            model=hub.DEFAULT,
            version="1",
            license="MIT",
            thresholds=thresholds,
            sound="music",
        )

    def analyze(self, path: str) -> Analysis:
        tagging = self.tag(path)
        scores = np.array([[tagging[tag] for tag in TAGS]] * 2)
        taggram = Taggram(TAGS, np.array([[0.0, 5.0], [5.0, 10.0]]), scores)
        return Analysis(tagging, taggram, np.full(DIM, tagging["jazz"], np.float32))


def serve(settings: Mapping[str, Any]) -> Handler:
    return FileTagger(FakeTagger(), settings).answer  # type: ignore[arg-type]
