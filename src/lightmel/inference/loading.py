"""From a name or a file to a tagger that is ready to run; and `tag`, which does all of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .. import hub
from ..errors import ConfigError
from .results import Tagging
from .sources import Source
from .tagger import Segments, Tagger

_loaded: dict[tuple[str, str, str], tuple[object, Tagger]] = {}
"""For each place, device and precision, what was there (a file may be written anew) and its tagger."""
_locks: dict[tuple[str, str, str], threading.Lock] = {}
_lock = threading.Lock()


def load(
    name: str | os.PathLike[str] = "default", *, device: str = "auto", precision: str = "float32"
) -> Tagger:
    """Return the tagger of that name or file; a second call returns the same one.

    Parameters
    ----------
    name
        ``"default"``, a name that ``lightmel models`` lists, a ``.safetensors`` file that `Tagger.save`
        wrote, or a published ``.pth`` of Won et al. (2020), known by its SHA-256.
    device
        ``"auto"``: a GPU if there is one, else the processor; ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    precision
        ``"float32"``; ``"bfloat16"`` or ``"float16"``, with scores that differ in the second or third digit,
        where the device computes in it.

    Raises
    ------
    UnknownModelError
        If nothing is called that; the nearest name is suggested.
    WeightsError
        If the file is damaged, or a download fails or is not what was published.
    ConfigError
        If there is no such device on this machine, or it does not have that precision.
    """
    text = os.fspath(name)
    record = hub.CHECKPOINTS.get(text)
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
    from .runtimes import devices

    where = devices.resolve_device(device)
    devices.check_precision(precision, where)  # before anything is fetched
    key = place, where, precision
    with _lock:
        own = _locks.setdefault(key, threading.Lock())
    with own:  # one place is read once; nobody waits for another's download
        held = _loaded.get(key)
        if held is None or held[0] != stamp:
            tagger = (
                _from_public(hub.fetch_public(record), record, *key[1:])
                if record
                else _from_file(path, *key[1:])
            )
            held = _loaded[key] = stamp, tagger
        return held[1]


def _from_file(path: Path, device: str, precision: str) -> Tagger:
    from .. import checkpoint

    if path.suffix == ".pth":
        return _from_public(path, hub.identify(path), device, precision)
    return Tagger(*checkpoint.read(path), device=device, precision=precision)


def _from_public(path: Path, record: hub.PublicCheckpoint, device: str, precision: str) -> Tagger:
    network = hub.read_checkpoint(path, record)
    return Tagger(network, record.description, device=device, precision=precision)


def tag(
    source: Source,
    sr: int | None = None,
    *,
    model: Tagger | str | os.PathLike[str] = "default",
    segments: Segments = "all",
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
    segments
        As in `Tagger.tag`.
    device
        As in `load`, which chooses where nothing is said; a tagger has its own already.

    Raises
    ------
    LightmelError
        As `load` and `Tagger.tag`; `ConfigError` for a device beside a tagger that runs elsewhere.
    """
    if isinstance(model, Tagger):
        if device is not None:
            from .runtimes import resolve_device

            if resolve_device(device) != model.device:
                raise ConfigError(
                    f"{model.name} runs on {model.device}: load it with device={device!r} instead."
                )
        return model.tag(source, sr, segments=segments)
    return load(model, device=device or "auto").tag(source, sr, segments=segments)
