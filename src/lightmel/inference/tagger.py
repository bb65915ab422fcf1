"""From sound to tags: segments, features, network, scores.

A file of any length and an array take the same path: they are cut into segments as they come, a few segments
at a time go through front end and network, and only the running mean is kept.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

import numpy as np
from numpy.typing import NDArray

from .._each import attempt
from .._steady import steady
from ..checkpoint import Description
from ..errors import AudioError, ConfigError, LightmelError, ShapeError, WeightsError
from ..frontends import FrontendConfig
from .levels import FULL_SCALE, SoundingMean
from .parts import NO_MUSIC, SHORTEST, Part, PartFinder
from .results import Analysis, Tagging, Taggram
from .runtimes import Output, Runtime, RuntimeName
from .segments import Segment, cut, together
from .sources import Share, Sound, Source, named

if TYPE_CHECKING:
    import torch

    from ..models import TaggingNetwork

Segments: TypeAlias = "Literal['all', 'center'] | int"

_MOST_SEGMENTS = 10_000
MOSTLY = 0.5
"""Share of a sound above which it is mostly that."""


def _chosen(segments: Segments, coverage: float | None) -> Literal["all", "center"] | int | Share:
    """Return which segments are meant, checked.

    Raises
    ------
    ConfigError
        If they are none, or both are given.
    """
    if coverage is not None:
        number = isinstance(coverage, (int, float, np.floating)) and not isinstance(coverage, bool)
        if segments != "all" or not number or not 0 < coverage <= 1:
            beside = f" beside segments={segments!r}" if segments != "all" else ""
            raise ConfigError(
                f"coverage is the share of the sound that counts, above 0 to 1, in place of segments; not "
                f"{coverage!r}{beside}."
            )
        return "all" if coverage == 1 else Share(coverage)
    if segments in ("all", "center"):
        return segments
    whole = isinstance(segments, (int, np.integer)) and not isinstance(segments, bool)
    if not whole or not 1 <= int(segments) <= _MOST_SEGMENTS:
        raise ConfigError(
            f"segments is 'all', 'center' or a number from 1 to {_MOST_SEGMENTS:,}, not {segments!r}."
        )
    return int(segments)


class Tagger:
    """A network behind its own front end, with the names of its outputs.

    A tagger holds no state between calls, and its network is frozen: any number of threads may share one.

    Parameters
    ----------
    network
        A PyTorch network, of which a copy is kept; or a `Runtime` that is ready to run.
    description
        Its front end, tags, segment and origin.
    device, precision
        As in `load`, the processor and float32 where nothing is said; a runtime has its own.

    Raises
    ------
    WeightsError
        If network and description do not fit.
    ConfigError
        If there is no such device, or it does not have that precision.
    """

    def __init__(
        self,
        network: TaggingNetwork | Runtime,
        description: Description,
        *,
        device: str | None = None,
        precision: str | None = None,
    ) -> None:
        self.description = description
        self.runtime: Runtime
        if hasattr(network, "run"):
            self.runtime = cast(Runtime, network)
            where = self.runtime.device, self.runtime.precision
            if device is not None or precision is not None:
                raise ConfigError(f"A runtime has its device and precision, {where}: leave both out.")
            if self.runtime.n_tags != len(description.tags):
                raise WeightsError(
                    f"The runtime gives {self.runtime.n_tags} scores for {len(description.tags)} tags."
                )
        else:
            from .runtimes import TorchRuntime

            model = cast("TaggingNetwork", network)
            description.check(model.input_shape, model.n_tags)
            self.runtime = TorchRuntime(
                model,
                description.config,
                "cpu" if device is None else device,
                "float32" if precision is None else precision,
            )

    @classmethod
    @steady
    def from_pretrained(
        cls,
        repo_or_name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        device: str = "auto",
        precision: str = "float32",
        runtime: RuntimeName = "auto",
    ) -> Tagger:
        """Return the tagger of a name, a folder, or a repository of the Hugging Face Hub.

        Parameters
        ----------
        repo_or_name
            ``"owner/name"`` or ``"owner/name@revision"``, a folder that `save_pretrained` wrote, or what
            `lightmel.load` takes.
        revision
            A branch, a tag or a commit of the repository; left out, the main branch, or what is pinned.
        cache_dir
            Where what is fetched is kept, in place of the cache (`lightmel.hub.cache_folder`).
        token
            For a private repository; left out, that of ``hf auth login`` or ``HF_TOKEN``.
        local_files_only
            Take it from the cache or not at all.
        device, precision, runtime
            As in `load`.

        Raises
        ------
        UnknownModelError
            If nothing is called that; the nearest name is suggested.
        HubError
            If the repository cannot be reached, read or kept, or what came is not what was published.
        WeightsError
            If the file is damaged.
        ConfigError
            If there is no such device or precision, or what the name stands for has no revisions.
        """
        from .. import hub
        from .opening import opened

        found = hub.find(os.fspath(repo_or_name), revision)
        fetching = {"cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        return cls(*opened(found, device, precision, runtime, **fetching))

    @property
    def name(self) -> str:
        """What scores are signed with."""
        return self.description.name

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, in the order of the network's outputs."""
        return self.description.tags

    @property
    def config(self) -> FrontendConfig:
        """The front end's configuration."""
        return self.description.config

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.runtime.device

    @property
    def segment_samples(self) -> int:
        """Samples in one pass of the network."""
        return self.description.segment_samples

    @property
    def segment_seconds(self) -> float:
        """Seconds of sound in one pass of the network."""
        return self.description.segment_seconds

    @property
    def network(self) -> TaggingNetwork:
        """A copy of the PyTorch network, on the processor, to train or to look at; the tagger keeps its own.

        Raises
        ------
        ConfigError
            If another runtime runs it.
        """
        network: TaggingNetwork | None = getattr(self.runtime, "network", None)
        if network is None:
            raise ConfigError(f"{self.name} is not run by PyTorch: load its .safetensors file for a network.")
        return network

    def on_torch(self) -> Tagger:
        """Return the tagger run by PyTorch, whose logits teachers give: this one, if it is already.

        Raises
        ------
        ConfigError
            If there is no network for PyTorch.
        """
        from .runtimes import TorchRuntime

        if isinstance(self.runtime, TorchRuntime):
            return self
        return Tagger(self.network, self.description)

    def __repr__(self) -> str:
        return f"<Tagger {self.name}: {len(self.tags)} tags, {self.config.slug}, {self.segment_seconds:g} s>"

    def save(self, path: str | os.PathLike[str], dtype: Literal["float32", "float16"] = "float32") -> None:
        """Write the tagger to a ``.safetensors`` file; `load` reads it back.

        Parameters
        ----------
        path
            Of the file, which replaces one that is there.
        dtype
            How large parameters are stored. As ``"float16"`` they take half the room, and the scores of the
            package's taggers differ by less than a thousandth; it computes in float32 either way.

        Raises
        ------
        WeightsError
            If the file cannot be written, or a number is too large for float16.
        ConfigError
            If there is no such `dtype`, or PyTorch does not run the tagger.
        """
        from ..checkpoint import save

        save(path, self.network, self.description, dtype)

    def save_pretrained(
        self, folder: str | os.PathLike[str], dtype: Literal["float32", "float16"] = "float32"
    ) -> None:
        """Write the tagger to a release folder, which `from_pretrained` reads and `push_to_hub` publishes.

        It holds ``model.safetensors``, ``config.json`` (the description) and ``README.md`` (a card); and
        ``model.onnx`` where the extra ``export`` is installed.

        Parameters
        ----------
        folder
            Made if it is missing; an earlier release in it is replaced.
        dtype
            As in `save`.

        Raises
        ------
        WeightsError
            As `save`; or if the folder holds other things.
        """
        self._write_release(folder, None, dtype)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Publish the tagger in a repository of the Hugging Face Hub, in one commit, and return its address.

        Parameters
        ----------
        repo_id
            ``"owner/name"``; made if there is none.
        token
            One that may write there; left out, that of ``hf auth login`` or ``HF_TOKEN``.
        private
            Whether a new repository is private; left out, as its owner has set it.
        revision
            A branch, made if there is none; left out, the main one.
        commit_message
            Left out, name and version.

        Raises
        ------
        HubError
            If the tagger states no license or is other people's, or the Hub cannot be reached or refuses.
        ConfigError
            If no repository can have that name.
        """
        from .. import hub

        hub.check_publishable(self.description)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "release")
            self._write_release(folder, repo_id, "float32")
            return hub.push(
                folder,
                repo_id,
                token=token,
                private=private,
                revision=revision,
                commit_message=commit_message,
            )

    def _write_release(
        self, folder: str | os.PathLike[str], repository: str | None, dtype: Literal["float32", "float16"]
    ) -> None:
        from .. import hub

        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, hub.WEIGHTS)
            self.save(file, dtype)
            hub.write_release(file, folder, repository=repository)

    @steady
    def with_tags(self, tags: Sequence[str], generator: torch.Generator | None = None) -> Tagger:
        """Return a tagger with the same body and a fresh head for other tags; this one stays as it is.

        Its scores mean nothing before it is trained: see `lightmel.finetune`.

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

    @steady
    def tag(
        self,
        source: Source,
        sr: int | None = None,
        *,
        segments: Segments = "all",
        coverage: float | None = None,
    ) -> Tagging:
        """Tag one piece of sound.

        Parameters
        ----------
        source
            A path, the bytes of a sound file, an open binary file that can seek, or a wave ``(samples,)`` or
            ``(channels, samples)``.
        sr
            Sample rate of a wave in Hz; required with one, refused with a file.
        segments
            ``"all"``: back to back over the whole sound, the last one ending where the sound ends.
            ``"center"``: one from the middle. A number n: n of them, evenly from the start, each
            ``(samples - segment) // n`` after the one before, as Won et al. (2020) evaluate with 16.
        coverage
            In place of `segments`: the share of the sound, above 0 to 1, that segments cover, each in the
            middle of its part of the sound. What is between them is not decoded, where a decoder can seek.
            A note of the tagging says how much that was.

        Returns
        -------
        Tagging
            Means over the scores of the segments that hold sound, best first.

        Raises
        ------
        AudioError
            If the sound cannot be read or used.
        ConfigError
            If `sr` is given with a file, `segments` is neither of these, `coverage` is no such share, or both
            are given.
        """
        return self._tag(source, sr, _chosen(segments, coverage))

    @steady
    def analyze(self, source: Source, sr: int | None = None) -> Analysis:
        """Return what `tag`, `taggram` and `embed` give of one piece of sound, in one pass over it.

        Raises
        ------
        AudioError
            If the sound cannot be read or used.
        """
        times: list[tuple[int, int]] = []
        scores: list[NDArray[np.float64]] = []
        embedding = SoundingMean(self.runtime.embed_dim)

        def keep(batch: list[Segment], output: Output) -> None:
            times.extend((s.start, s.start + s.sounding) for s in batch)
            scores.append(output.scores)
            embedding.add(batch, output.embedding)

        tagging = self._tag(source, sr, "all", keep)
        taggram = Taggram(self.tags, np.array(times) / self.config.sr, np.concatenate(scores))
        return Analysis(tagging, taggram, embedding.value().astype(np.float32))

    def _tag(
        self,
        source: Source,
        sr: int | None,
        segments: Literal["all", "center"] | int | Share,
        keep: Callable[[list[Segment], Output], None] | None = None,
    ) -> Tagging:
        notes: list[str] = []
        sound = Sound(source, sr, self.config.sr, notes)
        mean = SoundingMean(len(self.tags))
        count, shortest, analysed = 0, self.segment_samples, 0
        adjoin = segments == "all"
        apart = max(self.segment_seconds, SHORTEST)  # others count each for itself, not with its neighbors
        finder = PartFinder(self.tags, self.description.thresholds, self.segment_seconds if adjoin else apart)
        for batch, output in self._outputs(sound, self._segments(sound, segments)):
            mean.add(batch, output.scores)
            if keep is not None:
                keep(batch, output)
            for i, s in enumerate(batch):
                start, seconds = s.start / self.config.sr, s.sounding / self.config.sr
                if not adjoin:
                    start, seconds = (count + i) * apart, apart
                finder.add(start, start + seconds, s.peak, output.scores[i])
            count += len(batch)
            shortest = min(shortest, batch[0].sounding)
            analysed += sum(s.sounding for s in batch)
        kind, parts = finder.finish()
        padded = shortest < self.segment_samples
        if isinstance(segments, Share) and analysed < sound.samples:
            share, of = analysed / sound.samples, f"its {sound.samples / self.config.sr:.0f} s"
            notes.append(f"{'less than 1%' if share < 0.01 else f'{share:.0%}'} of {of} were analysed")
        if mean.silent > MOSTLY:
            notes.append(f"{mean.silent:.0%} of it is silence, which the scores leave out")
        return self._tagging(mean.value(), sound, notes, padded, kind, parts if adjoin else ())

    @overload
    def tag_many(
        self,
        sources: Iterable[Source],
        sr: int | None = None,
        *,
        segments: Segments = "all",
        coverage: float | None = None,
        errors: Literal["raise"] = "raise",
    ) -> Iterator[Tagging]: ...

    @overload
    def tag_many(
        self,
        sources: Iterable[Source],
        sr: int | None = None,
        *,
        segments: Segments = "all",
        coverage: float | None = None,
        errors: Literal["raise", "return"],
    ) -> Iterator[Tagging | LightmelError]: ...

    def tag_many(
        self,
        sources: Iterable[Source],
        sr: int | None = None,
        *,
        segments: Segments = "all",
        coverage: float | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> Iterator[Tagging | LightmelError]:
        """Yield the tagging of each source, in order and one at a time.

        Each source is scored by itself, so that neither its place nor its neighbours change its scores.
        With ``errors="return"`` a source that cannot be tagged yields its error, and the rest go on: whatever
        was raised, which is an `UnexpectedError` where it is no other error of ours.

        Raises
        ------
        ConfigError
            If `errors` is neither of these, or `sources` is one file and not several.
        ShapeError
            If `sources` yields nothing to tag.
        """
        if errors not in ("raise", "return"):
            raise ConfigError(f"errors is 'raise' or 'return', not {errors!r}.")
        if isinstance(sources, (str, os.PathLike)):
            raise ConfigError(f"tag_many takes several sources, not one path: tag({os.fspath(sources)!r}).")
        if isinstance(sources, (bytes, bytearray, memoryview)) or hasattr(sources, "read"):
            raise ConfigError("tag_many takes several sources, not one file: tag(...) takes that.")
        if not isinstance(sources, Iterable):
            raise ShapeError(
                f"A {type(sources).__name__} is not several sources: give a list, or what yields them."
            )
        _chosen(segments, coverage)  # at the call, and not with the first file
        options = {"segments": segments, "coverage": coverage}
        return self._tag_each(sources, sr, options, errors == "raise")

    def _tag_each(
        self, sources: Iterable[Source], sr: int | None, options: Mapping[str, Any], strict: bool
    ) -> Iterator[Tagging | LightmelError]:
        for source in sources:
            if strict:
                yield self.tag(source, sr, **options)
            else:
                yield attempt(named(source), self.tag, source, sr, **options)

    @steady
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
            try:
                step = round(hop * self.config.sr) if math.isfinite(hop) else 0
            except (TypeError, OverflowError):
                step = 0
        if step < 1:
            raise ConfigError(f"hop is the seconds from one segment to the next, above 0, not {hop!r}.")
        sound = Sound(source, sr, self.config.sr)
        times, parts = [], []
        for batch, output in self._outputs(sound, cut(sound.blocks(), self.segment_samples, step)):
            times += [(s.start, s.start + s.sounding) for s in batch]  # and let go of the waves
            parts.append(output.scores)
        return Taggram(self.tags, np.array(times) / self.config.sr, np.concatenate(parts))

    @steady
    def embed(self, source: Source, sr: int | None = None) -> NDArray[np.float32]:
        """Return the mean of what the network's head sees of the segments that hold sound, ``(embed_dim,)``.

        Raises
        ------
        AudioError
            If the sound cannot be read or used.
        """
        sound = Sound(source, sr, self.config.sr)
        mean = SoundingMean(self.runtime.embed_dim)
        for batch, output in self._outputs(sound, self._segments(sound, "all")):
            mean.add(batch, output.embedding)
        found: NDArray[np.float32] = mean.value().astype(np.float32)
        return found

    @steady
    def embed_segments(self, source: Source, sr: int | None = None) -> NDArray[np.float32]:
        """Return what the network's head sees of each segment, ``(segments, embed_dim)``, back to back.

        Raises
        ------
        AudioError
            If the sound cannot be read or used.
        """
        sound = Sound(source, sr, self.config.sr)
        outputs = self._outputs(sound, self._segments(sound, "all"))
        return np.concatenate([output.embedding for _, output in outputs])

    def _segments(self, sound: Sound, segments: Literal["all", "center"] | int | Share) -> Iterator[Segment]:
        length = self.segment_samples
        if segments == "all":
            # Of whole batches, so that a batch is a part of one block, and need not be put together.
            return cut(sound.blocks(self._batch_size * length), length, length)
        if segments == "center":
            return cut(sound.middle(length), length, length)
        return cut(sound.evenly(length, segments), length, length)

    @property
    def _batch_size(self) -> int:
        """Segments in one call of the runtime."""
        return max(1, int(self.runtime.batch_seconds / self.segment_seconds))

    def _outputs(self, sound: Sound, segments: Iterator[Segment]) -> Iterator[tuple[list[Segment], Output]]:
        while batch := list(islice(segments, self._batch_size)):
            output = self.runtime.run(together(batch))
            for what, given, width in (
                ("scores", output.scores, len(self.tags)),
                ("embeddings", output.embedding, self.runtime.embed_dim),
            ):
                if given.shape != (len(batch), width):
                    raise ShapeError(
                        f"{self.name}: the runtime gave {what} of shape {given.shape}; wanted is "
                        f"{(len(batch), width)}, a row for each segment."
                    )
                if not np.isfinite(given).all():
                    peak = max(s.peak for s in batch)
                    raise AudioError(
                        f"{sound.label}: {self.name} gives {what} that are not finite for samples up to "
                        f"{peak:.3g}: "
                        + (
                            "scale them to ±1."
                            if peak > FULL_SCALE
                            else "the tagger's file may be damaged. Fetch or save it again."
                        )
                    )
            yield batch, output

    def _tagging(
        self,
        scores: NDArray[np.float64],
        sound: Sound,
        of_file: list[str],
        padded: bool,
        kind: str,
        parts: tuple[Part, ...],
    ) -> Tagging:
        seconds = sound.samples / self.config.sr
        notes = [kind] if kind in NO_MUSIC else []
        notes += of_file
        notes += [str(part) for part in parts]
        if padded:
            notes.append(
                f"only {seconds:.2f} s of sound: repeated to fill the model's segment of "
                f"{self.segment_seconds:g} s"
            )
        notes += sound.levels.notes(sound.source_rate)
        order = np.argsort(-scores, kind="stable")
        limits, verified = self.description.thresholds, self.description.verified
        return Tagging(
            tags=tuple(self.tags[i] for i in order),
            scores=tuple(float(scores[i]) for i in order),
            seconds=seconds,
            padded=padded,
            model=self.name,
            version=self.description.version,
            license=self.description.license,
            notes=tuple(notes),
            thresholds=tuple(limits[i] for i in order) if limits else (),
            sound=kind,
            parts=parts,
            verified=() if verified is None else tuple(self.tags[i] in verified for i in order),
            exclusive=self.description.exclusive,
        )
