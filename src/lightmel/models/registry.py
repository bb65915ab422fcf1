"""Networks by name: from the plain data that a weights file holds back to the network itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import torch

from ..errors import ConfigError, LightmelError, UnknownModelError, nearest
from ..frontends import CLIP_SECONDS
from .base import TaggingNetwork
from .fcn import build_fcn
from .mobilenet import build_mobilenet
from .musicnn import build_musicnn
from .samplecnn import LENGTH, build_samplecnn
from .vgg import build_vgg

BUILDERS: dict[str, Callable[..., TaggingNetwork]] = {
    "vgg": build_vgg,
    "musicnn": build_musicnn,
    "mobilenet": build_mobilenet,
    "fcn": build_fcn,
    "samplecnn": build_samplecnn,
}


SEGMENT_SECONDS: dict[str, float] = {"vgg": CLIP_SECONDS, "musicnn": 3.0}
"""Seconds of sound in one forward pass in the paper: VGG-CNN sees the clip, MUSICNN segments of it."""


def segment_seconds(architecture: str, sr: int) -> float:
    """Return the seconds of sound at `sr` Hz in one forward pass where nobody says another length.

    For the paper's networks these are the paper's, and for SampleCNN 59,049 samples.

    Raises
    ------
    ConfigError
        For another network.
    """
    if architecture == "samplecnn":
        return LENGTH / sr
    if architecture not in SEGMENT_SECONDS:
        raise ConfigError(f"For {architecture} no usual length of input is known: say the seconds.")
    return SEGMENT_SECONDS[architecture]


def register(name: str, builder: Callable[..., TaggingNetwork]) -> None:
    """Register a network, ``builder(input_shape, n_tags, *, ..., generator)``, for `build` and for files.

    The same function defined again, in a notebook's cell say, takes the place of its older self.

    Raises
    ------
    ConfigError
        If another network has that name, or it is not letters, digits and underscores: in the name of a
        configured network a hyphen follows it.
    """
    if not name.isidentifier():
        raise ConfigError(f"{name!r} is no name for a network: letters, digits and underscores are.")
    held = BUILDERS.get(name, builder)
    if (held.__module__, held.__qualname__) != (builder.__module__, builder.__qualname__):
        raise ConfigError(f"There is a network {name!r} already.")
    BUILDERS[name] = builder


def names() -> tuple[str, ...]:
    """Return the names of the registered networks."""
    return tuple(BUILDERS)


def arguments(architecture: str) -> tuple[str, ...]:
    """Return the keys that a spec of `architecture` may have, beside ``architecture``.

    Raises
    ------
    UnknownModelError
        If there is no such architecture.
    """
    return tuple(name for name in inspect.signature(_builder(architecture)).parameters if name != "generator")


def build(spec: Mapping[str, Any], *, generator: torch.Generator | None = None) -> TaggingNetwork:
    """Build the network that `spec` describes; ``build(network.spec())`` has the same shape as `network`.

    Parameters
    ----------
    spec
        ``{"architecture": name, "input_shape": shape, ...}``, the shape being the front end's, with any
        argument of that architecture's ``build_`` function.
    generator
        Draws the initial weights; without one, torch's global generator does.

    Raises
    ------
    UnknownModelError
        If there is no such architecture; the nearest name is suggested.
    ConfigError
        If a key is missing, is not an argument of the architecture, or has a value that cannot be one.
    ShapeError
        If the shape does not fit the architecture.
    """
    given = dict(spec)
    if "architecture" not in given:
        raise ConfigError(
            f"A spec names its 'architecture', one of {_list(BUILDERS)}; this has {_list(given)}."
        )
    architecture = given.pop("architecture")
    builder = _builder(architecture)
    known = arguments(architecture)
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{architecture} has no argument {key!r}; it has {_list(known)}.{nearest(str(key), known)}"
            )
    for key, hint in _hints(builder).items():
        # Text is a sequence too, of its letters, and true: "4488" would be four widths.
        # A shape is looked at by the networks themselves.
        if key != "input_shape" and isinstance(given.get(key), str) and not _takes_text(hint):
            raise ConfigError(f"{architecture}: {key} is no text, and {given[key]!r} is.")
    if "input_shape" not in given:
        raise ConfigError(
            f"A spec of {architecture} needs an 'input_shape', its front end's; this has {_list(given)}."
        )
    try:
        return builder(**given, generator=generator)
    except LightmelError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        raise ConfigError(f"{architecture} cannot be built from {given}: {error}") from error


def _builder(architecture: object) -> Callable[..., TaggingNetwork]:
    if not isinstance(architecture, str) or architecture not in BUILDERS:
        raise UnknownModelError(
            f"There is no architecture {architecture!r}; there are {_list(BUILDERS)}."
            + nearest(str(architecture), BUILDERS)
        )
    return BUILDERS[architecture]


def _hints(builder: Callable[..., TaggingNetwork]) -> dict[str, Any]:
    """Return the types of a builder's arguments; nothing where they are not said, or cannot be read."""
    try:
        return get_type_hints(builder)
    except (NameError, TypeError, AttributeError):
        return {}


def _takes_text(hint: Any) -> bool:
    return hint in (str, Any, object) or isinstance(hint, str) or any(map(_takes_text, get_args(hint)))


def _list(words: Mapping[str, Any] | tuple[str, ...]) -> str:
    return ", ".join(repr(word) for word in words) or "nothing"
