"""Fine-tuning on embeddings: what the head of a network sees is computed once, and heads are fitted to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from .._each import attempt, reason
from .._steady import steady
from ..checkpoint import weights_sha256
from ..datasets import Dataset
from ..errors import AudioError, DataError, LightmelError
from ..features import FeatureExamples, FeatureStore, nothing_readable
from ..inference import Tagger
from .config import Callbacks, ClassWeights

log = logging.getLogger("lightmel")

_COMMIT_SECONDS = 2.0
"""A kill costs the embeddings of so many seconds."""
_SEGMENTS = 64
"""Segments in one pass of the network."""
_MISSING = "missing"
"""What a clip is made of whose file is not there."""
_STEPS = 1_000
"""More than scikit-learn's hundred, which wide embeddings may not converge in."""
_TABLE = """
CREATE TABLE IF NOT EXISTS clips (
    key TEXT PRIMARY KEY, origin TEXT, failed TEXT, crc32 INTEGER, mean BLOB, segments BLOB
)
"""


@dataclass(frozen=True)
class Embedded:
    """The clips of a split that have embeddings, their labels ``(clips, tags)``, and why others failed."""

    keys: tuple[str, ...]
    labels: NDArray[np.bool_]
    failed: Mapping[str, str]


class Embeddings:
    """Embeddings of clips in a file: of each clip the mean over its segments, and those of the segments.

    The file is a database of SQLite, so that a process may be killed at any moment.

    Parameters
    ----------
    file
        Where; it is made if it is missing.

    Raises
    ------
    DataError
        If it cannot be opened, or is something else.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with self._using():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(file)
            self._base.execute(_TABLE)
        self._committed = time.monotonic()

    def close(self) -> None:
        """Write what was added to the disk, and close the file."""
        with self._using(), contextlib.closing(self._base):
            self._base.commit()

    def origins(self) -> dict[str, str]:
        """Return what each clip was made of."""
        with self._using():
            return dict(self._base.execute("SELECT key, origin FROM clips"))

    def add(self, key: str, origin: str, found: NDArray[np.float32] | str) -> None:
        """Add the embeddings of a clip, ``(segments, embed_dim)``, or why there are none."""
        row: tuple[object, ...] = (key, origin, found, None, None, None)
        if not isinstance(found, str):
            mean = found.mean(axis=0, dtype=np.float64).astype(np.float32)
            data = found.astype(np.float32).tobytes()
            row = (key, origin, None, zlib.crc32(data), mean.tobytes(), data)
        with self._using():
            self._base.execute("INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?, ?, ?)", row)
            if time.monotonic() - self._committed >= _COMMIT_SECONDS:
                self._base.commit()
                self._committed = time.monotonic()

    def failed(self) -> dict[str, str]:
        """Return why clips have no embeddings."""
        with self._using():
            return dict(self._base.execute("SELECT key, failed FROM clips WHERE failed IS NOT NULL"))

    def means(self, keys: Sequence[str]) -> NDArray[np.float32]:
        """Return the mean embeddings of clips, ``(clips, embed_dim)``."""
        return np.stack([np.frombuffer(self._of("SELECT mean", key)[0], np.float32) for key in keys])

    def segments(self, key: str) -> NDArray[np.float32]:
        """Return the embeddings of the segments of a clip, ``(segments, embed_dim)``.

        Raises
        ------
        DataError
            If they are not those that were written.
        """
        mean, data, crc32 = self._of("SELECT mean, segments, crc32", key)
        if zlib.crc32(data) != crc32:
            raise DataError(f"{self.file}: the embeddings of {key} are damaged. Delete the file.")
        return np.frombuffer(data, np.float32).reshape(-1, len(mean) // 4)

    def _of(self, select: str, key: str) -> tuple[Any, ...]:
        with self._using():
            found: tuple[Any, ...] = self._base.execute(
                f"{select} FROM clips WHERE key = ?", (key,)
            ).fetchone()
        return found

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"{self.file} cannot be used: {getattr(error, 'strerror', None) or error}. If no other "
                "process is at work on it and the disk has room, delete it: it is computed anew."
            ) from error


@contextlib.contextmanager
def embeddings_of(
    data: Dataset,
    tagger: Tagger,
    features: FeatureStore | None,
    work: Path | None,
    callbacks: Callbacks,
) -> Iterator[tuple[Embeddings, dict[str, Embedded]]]:
    """Yield the embeddings of a data set's clips, from a store of features or from the sound, and its splits.

    They lie in a file of `work`, which is named by the body of the network and by its input, or in one that
    goes away. What is in it is not computed again unless the clip has changed: its file in size or
    modification time, its features in the store at all.

    Raises
    ------
    ConfigError
        If the store that is given holds other features.
    DataError
        If none of the sound is there, none of the clips of a split can be read, or the file cannot be used.
    """
    if features is not None:
        features.require(tagger.config)
    else:
        data.require_sound()
    sources = _of_sound(data, tagger) if features is None else _of_features(data, tagger, features)
    with tempfile.TemporaryDirectory(prefix="lightmel-", ignore_cleanup_errors=True) as spare:
        by = "sound" if features is None else "features"
        file = (work or Path(spare)) / f"embeddings-{_body(tagger)}-of-{by}.sqlite"
        with contextlib.closing(Embeddings(file)) as found:
            _compute(found, sources, callbacks)
            yield found, _splits(data, found)


def fit_head(
    means: NDArray[np.float32], truth: NDArray[np.bool_], tags: Sequence[str], class_weights: ClassWeights
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights ``(tags, embed_dim)`` and biases ``(tags,)``: a logistic regression for each tag.

    It is scikit-learn's, with its standard settings (an L2 penalty, C = 1), on embeddings that are scaled to
    mean 0 and, so that their length and with it the penalty does not depend on their dimension, to variance
    1 / embed_dim; the scaling goes into weights and biases.

    Parameters
    ----------
    means, truth
        ``(clips, embed_dim)`` and ``(clips, tags)``.
    tags
        Names of the columns.
    class_weights
        As in `FinetuneConfig`.

    Raises
    ------
    DataError
        If every clip has a tag.
    """
    if always := [tag for tag, own in zip(tags, truth.T, strict=True) if own.all()]:
        raise DataError(
            f"Every training clip has {', '.join(always)}: clips without it are needed, to tell it from."
        )
    scaler = StandardScaler().fit(means.astype(np.float64))
    scales = scaler.scale_ * np.sqrt(means.shape[1])
    scaled = (means - scaler.mean_) / scales
    weights, biases = np.empty((truth.shape[1], means.shape[1])), np.empty(truth.shape[1])
    for i, own in enumerate(truth.T):
        weight = None if class_weights == "none" else {True: min(50.0, (~own).sum() / own.sum()), False: 1.0}
        found = LogisticRegression(max_iter=_STEPS, class_weight=weight).fit(scaled, own)
        weights[i] = found.coef_[0] / scales
        biases[i] = found.intercept_[0] - weights[i] @ scaler.mean_
    return torch.from_numpy(weights).float(), torch.from_numpy(biases).float()


@steady
@torch.inference_mode()
def score_embeddings(
    found: Embeddings, keys: Sequence[str], weight: torch.Tensor, bias: torch.Tensor
) -> NDArray[np.float64]:
    """Return the scores ``(clips, tags)`` that a head gives: means over the scores of the segments."""
    scores = [
        torch.nn.functional.linear(torch.from_numpy(found.segments(key).copy()), weight, bias)
        .double()
        .sigmoid()
        .mean(dim=0)
        for key in keys
    ]
    return torch.stack(scores).numpy()


@dataclass(frozen=True)
class _Source:
    """What the embeddings of a clip are computed from, as text, and how."""

    origin: str
    embed: Callable[[], NDArray[np.float32]]


def _of_sound(data: Dataset, tagger: Tagger) -> dict[str, _Source]:
    def source(path: Path) -> _Source:
        try:
            status = path.stat()
        except OSError:
            return _Source(_MISSING, lambda: tagger.embed_segments(path))
        return _Source(f"{status.st_size} {status.st_mtime_ns}", lambda: tagger.embed_segments(path))

    return {key: source(path) for key, path in data.sources().items()}


def _of_features(data: Dataset, tagger: Tagger, features: FeatureStore) -> dict[str, _Source]:
    network, device = tagger.network.eval().to(tagger.device), tagger.device

    def source(key: str) -> _Source:
        if key in features.failed:
            reason = features.failed[key]
            return _Source(f"failed: {reason}", lambda: _fail(reason))
        rows = features.rows([key])

        @torch.inference_mode()
        def embed() -> NDArray[np.float32]:
            clip = FeatureExamples(features, rows, np.zeros((1, 1), np.bool_), network.input_shape[1])
            parts = torch.split(clip.segments(0), _SEGMENTS)
            found: NDArray[np.float32] = torch.cat([network.embed(p.to(device)).cpu() for p in parts]).numpy()
            return found

        return _Source(features.fingerprint(rows), embed)

    return {key: source(key) for key in data.sources()}


def _fail(reason: str) -> NDArray[np.float32]:
    raise AudioError(reason)


def _body(tagger: Tagger) -> str:
    """Return a digest of what embeddings depend on: body of the network, front end, length of a segment."""
    body = weights_sha256(tagger.network.with_head(1, torch.Generator().manual_seed(0)))
    computed = [body, tagger.config.to_dict(), tagger.segment_samples]
    return hashlib.sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()[:12]


def _compute(found: Embeddings, sources: Mapping[str, _Source], callbacks: Callbacks) -> None:
    known = found.origins()
    changed = [
        key
        for key, source in sources.items()
        if source.origin != _MISSING and known.get(key, source.origin) != source.origin
    ]
    if changed:
        log.warning(
            "%s: clips whose files are others than it was made of, and are computed again: %d.",
            found.file,
            len(changed),
        )
    failed = found.failed()  # they are tried again: what they lacked may be there now
    todo = [key for key, source in sources.items() if key in failed or known.get(key) != source.origin]
    for done, key in enumerate(todo, len(sources) - len(todo) + 1):
        embedded = attempt(key, sources[key].embed)
        if isinstance(embedded, DataError):  # of the store
            raise embedded
        if isinstance(embedded, LightmelError):
            why = reason(embedded, key)
            log.info("%s: %s", key, why)
            found.add(key, sources[key].origin, why)
        else:
            found.add(key, sources[key].origin, embedded)
        callbacks.progress("computing embeddings", done, len(sources))


def _splits(data: Dataset, found: Embeddings) -> dict[str, Embedded]:
    splits = {}
    failed = found.failed()
    for name, split in data.splits.items():
        lost = {path: failed[path] for path in split.paths if path in failed}
        kept = [i for i, path in enumerate(split.paths) if path not in lost]
        if lost:
            log.warning(
                "%s: %d of %d clips of %s are left out, %s among them: %s",
                data.name,
                len(lost),
                len(split),
                name,
                *next(iter(lost.items())),
            )
        if not kept:
            raise DataError(nothing_readable(lost, f"{name} of {data.label}"))
        splits[name] = Embedded(tuple(split.paths[i] for i in kept), split.labels[kept], lost)
    return splits
