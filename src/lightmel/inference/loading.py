"""From a name or a file to a tagger that is ready to run; and `tag` and `embed`, which do all of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import hub
from .._steady import steady
from ..errors import ConfigError
from .opening import choose, opened
from .results import Tagging
from .runtimes import RuntimeName
from .sources import Source
from .tagger import Segments, Tagger

_loaded: dict[tuple[str, ...], tuple[object, Tagger]] = {}
"""For each place, device, precision and runtime: what was there (a file may change), and its tagger."""
_locks: dict[tuple[str, ...], threading.Lock] = {}
_lock = threading.Lock()


def _unlock() -> None:
    """Let go, in a forked child, of what threads held that it does not have."""
    global _lock
    _lock = threading.Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


@steady
def load(
    name: str | os.PathLike[str] = "default",
    *,
    device: str = "auto",
    precision: str = "float32",
    runtime: RuntimeName = "auto",
) -> Tagger:
    """Return the tagger of that name or file; a second call returns the same one.

    Parameters
    ----------
    name
        ``"default"``, a name that ``lightmel models`` lists, a ``.safetensors`` file that `Tagger.save`
        wrote, a folder of `Tagger.save_pretrained`, a repository of the Hugging Face Hub (``"owner/name"`` or
        ``"owner/name@revision"``), a ``.onnx`` graph of `lightmel.inference.export`, or a published file of
        other people's, known by its SHA-256: a ``.pth`` of Won et al. (2020), a ``.data-00000-of-00001`` of
        Pons and Serra (2019) or a ``.npz`` of the same numbers. `Tagger.from_pretrained` says more about
        where a repository is kept.
    device
        ``"auto"``: a CUDA device if there is one, else the processor; ``"cpu"``, ``"cuda"``, ``"cuda:1"``,
        ``"mps"``.
    precision
        ``"float32"``; ``"bfloat16"`` or ``"float16"``, with scores that differ in the second or third digit,
        where the device computes in it.
    runtime
        ``"auto"``: ONNX Runtime on a processor for what has a graph, as the taggers in the package do, which
        takes half of torch's time and does not load it; else torch. ``"onnx"``, ``"torch"``: that one. Of a
        repository and of a folder, whose graph has no network to train, the graph is taken where it is asked
        for, where torch is not installed, and where there is nothing else.

    Raises
    ------
    UnknownModelError
        If nothing is called that; the nearest name is suggested.
    WeightsError
        If the file is damaged, or a download fails or is not what was published.
    ConfigError
        If there is no such device on this machine, it does not have that precision, or there is no graph for
        ``runtime="onnx"``.
    MissingExtraError
        If it takes torch, which is not installed.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ConfigError(f"A tagger is named by its name or its file, not by {name!r}.")
    text = os.fspath(name)
    found = hub.locate(text)
    if found is None:
        raise hub.unknown(text)
    place, stamp = text, None
    if isinstance(found, Path):
        try:
            stat = found.stat()
        except OSError:  # it has just gone
            raise hub.unknown(text) from None
        place, stamp = str(found), (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    where, onnx = choose(found, device, precision, runtime)  # before anything is fetched
    key = place, where, precision, "onnx" if onnx else "torch"
    with _lock:
        own = _locks.setdefault(key, threading.Lock())
    with own:  # one place is read once; nobody waits for another's download
        held = _loaded.get(key)
        if held is None or held[0] != stamp:
            held = _loaded[key] = stamp, Tagger(*opened(found, device, precision, runtime))
        return held[1]


def tag(
    source: Source,
    sr: int | None = None,
    *,
    model: Tagger | str | os.PathLike[str] = "default",
    segments: Segments = "all",
    coverage: float | None = None,
    device: str | None = None,
) -> Tagging:
    """Tag one piece of sound: ``lightmel.tag("song.mp3")``.

    Parameters
    ----------
    source
        A path, the bytes of a sound file, an open binary file, or a wave ``(samples,)`` or
        ``(channels, samples)``.
    sr
        Sample rate of a wave in Hz; required with one, refused with a file.
    model
        A tagger, or what `load` takes.
    segments, coverage
        As in `Tagger.tag`.
    device
        As in `load`, which chooses where nothing is said; a tagger has its own already.

    Raises
    ------
    LightmelError
        As `load` and `Tagger.tag`; `ConfigError` for a device beside a tagger that runs elsewhere.
    """
    return _tagger(model, device).tag(source, sr, segments=segments, coverage=coverage)


def embed(
    source: Source,
    sr: int | None = None,
    *,
    model: Tagger | str | os.PathLike[str] = "default",
    device: str | None = None,
) -> NDArray[np.float32]:
    """Return the embedding of one piece of sound: ``lightmel.embed("song.mp3")``.

    Pieces that sound alike have embeddings that are alike, if they are of one tagger.

    Parameters
    ----------
    source, sr, model, device
        As in `tag`.

    Returns
    -------
    numpy.ndarray
        The mean of what the network's head sees of the segments that hold sound, ``(embed_dim,)``; see
        `Tagger.embed`.

    Raises
    ------
    LightmelError
        As `load` and `Tagger.embed`; `ConfigError` for a device beside a tagger that runs elsewhere.
    """
    return _tagger(model, device).embed(source, sr)


def _tagger(model: Tagger | str | os.PathLike[str], device: str | None) -> Tagger:
    """Return a tagger as it is, or the one of a name, on a device if one is said.

    Raises
    ------
    ConfigError
        For a device beside a tagger that runs elsewhere.
    """
    if not isinstance(model, Tagger):
        return load(model, device=device or "auto")
    if device not in (None, "auto"):
        from .runtimes import resolve_device

        if resolve_device(str(device)) != model.device:
            raise ConfigError(f"{model.name} runs on {model.device}: load it with device={device!r} instead.")
    return model
