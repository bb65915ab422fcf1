"""The ladder put together: sound -> segments -> mels -> network -> scores -> tags.

There is one path. A file of any length, a short one, an array: all are cut into segments as they come,
a few segments at a time go through front end and network, and only the running mean is kept.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .. import audio
from ..checkpoint import safetensors as weights
from ..errors import AudioError, ConfigError, LightmelError
from ..frontends.mel import MelConfig
from ..frontends.mel_torch import MelFrontend
from ..hub import catalogue as hub
from ..hub import won2020 as public
from ..models.base import TaggingNetwork
from ..vocabularies import read as read_tags
from .results import Tagging, Taggram
from .segments import Segment, Waves, cut, cut_at

__all__ = ["Source", "Tagger", "Tagging", "Taggram", "load", "tag"]

Source: TypeAlias = "str | os.PathLike[str] | NDArray[Any] | torch.Tensor | Sequence[float]"
"""A path, or a wave ``(samples,)`` or ``(channels, samples)`` whose rate is given beside it."""
Segments: TypeAlias = "Literal['all', 'centre'] | int"

_BATCH_SECONDS = 12.0
"""Sound in one pass of the network: enough to be fast, little enough to be forgotten."""


class _Reader:
    """The sound of one source at the model's rate; blocks can be asked for more than once."""

    def __init__(self, source: Source, sr: int | None, rate: int) -> None:
        self.rate = rate
        self.samples = 0
        self.peak = 0.0
        self.source_rate: int
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            if sr is not None:
                raise ConfigError(f"{path} knows its own sample rate: sr is for arrays only.")
            self.source_rate = audio.info(path).sr
            self._open: Callable[[], Iterable[Waves]] = lambda: audio.stream(path, rate)
        else:
            wave = audio.from_array(source, sr, rate)
            self.source_rate = int(sr) if sr is not None else rate
            self._open = lambda: (wave,)

    def blocks(self) -> Iterator[Waves]:
        """Yield the blocks, noting how much there was and how loud it was."""
        self.samples, self.peak = 0, 0.0
        for block in self._open():
            if len(block):
                self.samples += len(block)
                self.peak = max(self.peak, float(np.abs(block).max()))
                yield block


class Tagger:
    """A network behind its own front end, with the names of its outputs.

    A tagger holds no state between calls: any number of threads may share one.

    Parameters
    ----------
    network
        Mels in, logits out.
    description
        Its front end, tags, segment and origin.
    """

    def __init__(self, network: TaggingNetwork, description: weights.Description) -> None:
        description.check(network)
        self.network = network.eval()
        self.description = description
        self.frontend = MelFrontend.from_config(description.config)

    @property
    def name(self) -> str:
        """What scores are signed with."""
        return self.description.name

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, in the order of the network's outputs."""
        return self.description.tags

    @property
    def config(self) -> MelConfig:
        """The front end's configuration."""
        return self.description.config

    @property
    def segment_samples(self) -> int:
        """Samples that one pass of the network hears."""
        return self.description.segment_samples

    @property
    def segment_seconds(self) -> float:
        """Seconds that one pass of the network hears."""
        return self.segment_samples / self.config.sr

    def __repr__(self) -> str:
        return f"<Tagger {self.name}: {len(self.tags)} tags, {self.config.slug}, {self.segment_seconds:g} s>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tagger to one safetensors file; `lightmel.load` reads it back."""
        weights.save(path, self.network, self.description)

    def with_tags(self, tags: Sequence[str], generator: torch.Generator | None = None) -> Tagger:
        """Return a tagger with the same body and a fresh head for other tags; this one stays as it is.

        Its scores mean nothing before it is trained: see `lightmel.training.finetuning`.

        Parameters
        ----------
        tags
            In the order of the new outputs.
        generator
            Draws the head; without one, torch's global generator does.

        Raises
        ------
        ShapeError, WeightsError
            If there are no tags, or one stands twice.
        """
        d = self.description
        provenance = {"body": {"name": d.name, "version": d.version, "provenance": dict(d.provenance)}}
        description = replace(
            self.description,
            name=f"{self.name}-untrained",
            tags=tuple(tags),
            thresholds=(),
            provenance=provenance,
        )
        return Tagger(self.network.with_head(len(description.tags), generator), description)

    @torch.inference_mode()
    def segment_logits(self, waves: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, tags)`` of waves ``(batch, segment_samples)`` at the model's rate."""
        logits: torch.Tensor = self.network(self.frontend(waves))
        return logits

    def tag(self, source: Source, sr: int | None = None, *, segments: Segments = "all") -> Tagging:
        """Tag one piece of sound.

        Parameters
        ----------
        source
            A path, or a wave ``(samples,)`` or ``(channels, samples)``.
        sr
            Sample rate of a wave in Hz; required with one, refused with a path.
        segments
            ``"all"``: back to back over the whole sound, the last one ending where the sound ends.
            ``"centre"``: one from the middle. A number n: n of them, evenly from the start, each
            ``(samples - segment) // n`` after the one before, as Won et al. (2020) evaluate with 16.
            The last two read the sound twice.

        Returns
        -------
        Tagging
            Means over the segments' scores, best first.

        Raises
        ------
        AudioError
            If the sound cannot be read or used.
        ConfigError
            If `sr` is given with a path, or `segments` is neither of these.
        """
        reader = _Reader(source, sr, self.config.sr)
        total = np.zeros(len(self.tags))
        count, heard = 0, self.segment_samples
        for batch, scores in self._scores(self._segments(reader, segments)):
            total += scores.sum(axis=0)
            count += len(batch)
            heard = min(heard, batch[0].heard)
        return self._tagging(total / count, reader, padded=heard < self.segment_samples)

    def tag_many(
        self,
        sources: Iterable[Source],
        sr: int | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> Iterator[Tagging | LightmelError]:
        """Yield the tagging of each source, in order and one at a time.

        Each source is scored by itself, so that neither its place nor its neighbours change its scores.
        With ``errors="return"`` a source that cannot be tagged yields its error, and the rest go on.

        Raises
        ------
        ConfigError
            If `errors` is neither of these, or `sources` is one path and not several.
        """
        if errors not in ("raise", "return"):
            raise ConfigError(f"errors is 'raise' or 'return', not {errors!r}.")
        if isinstance(sources, (str, os.PathLike)):
            raise ConfigError(f"tag_many takes several sources, not one path: tag({os.fspath(sources)!r}).")
        return self._tag_each(sources, sr, errors == "raise")

    def _tag_each(
        self, sources: Iterable[Source], sr: int | None, strict: bool
    ) -> Iterator[Tagging | LightmelError]:
        for source in sources:
            try:
                yield self.tag(source, sr)
            except LightmelError as error:
                if strict:
                    raise
                yield error

    def taggram(self, source: Source, sr: int | None = None, *, hop: float | None = None) -> Taggram:
        """Return scores over time, a segment every `hop` seconds (back to back without one).

        Raises
        ------
        AudioError
            If the sound cannot be read or used.
        ConfigError
            If `hop` is not above zero.
        """
        step = self.segment_samples
        if hop is not None:
            step = round(hop * self.config.sr) if math.isfinite(hop) else 0
        if step < 1:
            raise ConfigError(f"hop is the seconds from one segment to the next, above 0, not {hop}.")
        reader = _Reader(source, sr, self.config.sr)
        times, parts = [], []
        for batch, scores in self._scores(cut(self._checked(reader), self.segment_samples, step)):
            times += [(s.start, s.start + s.heard) for s in batch]  # and let go of what was heard
            parts.append(scores)
        return Taggram(self.tags, np.array(times) / self.config.sr, np.concatenate(parts))

    def embed(self, source: Source, sr: int | None = None) -> NDArray[np.float32]:
        """Return the mean over the segments of what the network's head sees, ``(embed_dim,)``.

        Raises
        ------
        AudioError
            If the sound cannot be read or used.
        """
        reader = _Reader(source, sr, self.config.sr)
        total, count = np.zeros(self.network.embed_dim), 0
        for batch, waves in self._batches(self._segments(reader, "all")):
            with torch.inference_mode():
                total += self.network.embed(self.frontend(waves)).double().sum(dim=0).numpy()
            count += len(batch)
        mean: NDArray[np.float32] = (total / count).astype(np.float32)
        return mean

    def _checked(self, reader: _Reader) -> Iterator[Waves]:
        yield from reader.blocks()
        if reader.samples == 0:
            raise AudioError("There is no sound in it: zero samples.")

    def _segments(self, reader: _Reader, segments: Segments) -> Iterator[Segment]:
        length = self.segment_samples
        if segments == "all":
            return cut(self._checked(reader), length, length)
        if segments != "centre" and (not isinstance(segments, int) or segments < 1):
            raise ConfigError(f"segments is 'all', 'centre' or a number from 1, not {segments!r}.")
        samples = sum(len(block) for block in self._checked(reader))
        if samples < length:
            return cut(reader.blocks(), length, length)
        if segments == "centre":
            starts = [samples // 2 - length // 2]
        else:
            starts = [i * ((samples - length) // int(segments)) for i in range(int(segments))]
        return cut_at(reader.blocks(), length, starts)

    def _batches(self, segments: Iterator[Segment]) -> Iterator[tuple[list[Segment], torch.Tensor]]:
        size = max(1, int(_BATCH_SECONDS / self.segment_seconds))
        while batch := list(islice(segments, size)):
            yield batch, torch.from_numpy(np.stack([s.wave for s in batch]))

    def _scores(self, segments: Iterator[Segment]) -> Iterator[tuple[list[Segment], NDArray[np.float64]]]:
        for batch, waves in self._batches(segments):
            yield batch, self.segment_logits(waves).double().sigmoid().numpy()

    def _tagging(self, scores: NDArray[np.float64], reader: _Reader, padded: bool) -> Tagging:
        seconds = reader.samples / self.config.sr
        notes = []
        if padded:
            notes.append(
                f"only {seconds:.2f} s of sound: "
                f"repeated to fill the {self.segment_seconds:g} s that the model hears"
            )
        if reader.peak == 0:
            notes.append("digital silence: the scores mean nothing")
        if reader.source_rate < self.config.sr:
            notes.append(
                f"sampled at {reader.source_rate} Hz: nothing above {reader.source_rate // 2} Hz reaches "
                f"a model that listens up to {self.config.sr // 2} Hz"
            )
        order = np.argsort(-scores, kind="stable")
        limits = self.description.thresholds
        return Tagging(
            tags=tuple(self.tags[i] for i in order),
            scores=tuple(float(scores[i]) for i in order),
            seconds=seconds,
            padded=padded,
            model=self.name,
            version=self.description.version,
            licence=self.description.licence,
            notes=tuple(notes),
            thresholds=tuple(limits[i] for i in order) if limits else (),
        )


def _from_file(path: Path) -> Tagger:
    if path.suffix == ".pth":
        record = public.identify(path)
        return _from_public(path, record)
    return Tagger(*weights.read(path))


def _from_public(path: Path, record: public.PublicCheckpoint) -> Tagger:
    description = weights.Description(
        name=record.name,
        version=public.COMMIT[:12],
        licence="not stated (code: MIT)",
        config=public.WON2020,
        tags=read_tags(record.vocabulary),
        segment_samples=record.segment_samples,
        provenance={"repository": public.REPOSITORY, "commit": public.COMMIT, "path": record.path},
    )
    return Tagger(public.read_checkpoint(path, record), description)


_loaded: dict[str, tuple[object, Tagger]] = {}
"""For each place, what was there (a file may be written anew) and its tagger."""
_locks: dict[str, threading.Lock] = {}
_lock = threading.Lock()


def load(name: str | os.PathLike[str] = "default") -> Tagger:
    """Return the tagger of that name or file; a second call returns the same one.

    Parameters
    ----------
    name
        ``"default"``, a name that ``lightmel models`` lists, a ``.safetensors`` file that `Tagger.save`
        wrote, or a published ``.pth`` of Won et al. (2020), known by its SHA-256.

    Raises
    ------
    UnknownModelError
        If nothing is called that; the nearest name is suggested.
    WeightsError
        If the file is damaged, or a download fails or is not what was published.
    """
    text = os.fspath(name)
    record = public.CHECKPOINTS.get(text)
    path = Path() if record else hub.packaged(text) or Path(text)
    place, stamp = text, None
    if record is None:
        try:
            path = path.resolve()
            if not path.is_file():
                raise hub.unknown(text)
            stat = path.stat()
        except (OSError, ValueError):  # no name that a file could have
            raise hub.unknown(text) from None
        place, stamp = str(path), (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    with _lock:
        own = _locks.setdefault(place, threading.Lock())
    with own:  # one place is read once; nobody waits for another's download
        held = _loaded.get(place)
        if held is None or held[0] != stamp:
            tagger = _from_public(hub.fetch_public(record), record) if record else _from_file(path)
            held = _loaded[place] = stamp, tagger
        return held[1]


def tag(
    source: Source,
    sr: int | None = None,
    *,
    model: str | os.PathLike[str] = "default",
    segments: Segments = "all",
) -> Tagging:
    """Tag one piece of sound: ``lightmel.tag("song.mp3")``.

    A path needs nothing else; a wave ``(samples,)`` or ``(channels, samples)`` needs its rate `sr` in Hz.
    `model` is what `load` takes; the rest is as in `Tagger.tag`.
    """
    return load(model).tag(source, sr, segments=segments)
