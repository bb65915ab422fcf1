"""Networks by name: ``vgg-16k-mel48-x4-db``, ``musicnn-pons-small-12k-mel48-x2-log``."""

from __future__ import annotations

import torch

from ..errors import ConfigError, nearest
from ..frontends import FrontendConfig, config_from_slug
from .base import TaggingNetwork
from .registry import build, names

_WORDS: dict[str, dict[str, dict[str, str]]] = {
    "vgg": {"small": {"size": "small"}},
    "samplecnn": {"small": {"size": "small"}},
    "musicnn": {"pons": {"variant": "pons"}, "small": {"size": "small"}},
}
"""The words that may stand between architecture and slug, and the arguments that they stand for."""


def parse_name(name: str) -> tuple[dict[str, str], FrontendConfig]:
    """Return the architecture and its options, and the front end, that `name` stands for.

    Raises
    ------
    ConfigError
        If it is no such name; the message names the part that is wrong.
    """
    architecture, *words = name.split("-")
    if architecture not in names():
        known = " or ".join(names())
        raise ConfigError(
            f"{name!r} names no network: it begins with {known}, as in 'musicnn-small-16k-mel48-x2-db'."
            + nearest(architecture, names())
        )
    spec = {"architecture": architecture}
    options = _WORDS.get(architecture, {})
    while words and words[0] in options:
        spec |= options[words.pop(0)]
    if words and not words[0][:1].isdigit():
        raise ConfigError(
            f"{name!r}: {architecture} has no option {words[0]!r}; it has {' and '.join(options) or 'none'}."
            + nearest(words[0], options)
        )
    if not words:
        raise ConfigError(
            f"{name!r} names no input: a slug follows the network, as in '{name}-16k-mel48-x2-db'."
        )
    return spec, config_from_slug("-".join(words))


def build_named(
    name: str, seconds: float, n_tags: int, generator: torch.Generator | None = None
) -> tuple[TaggingNetwork, FrontendConfig]:
    """Build the network `name` for segments of `seconds`; return it and its front end's configuration.

    Raises
    ------
    ConfigError, ShapeError
        If there is no such network, or none for such segments.
    """
    spec, config = parse_name(name)
    arguments = {**spec, "input_shape": config.input_shape(seconds), "n_tags": n_tags}
    return build(arguments, generator=generator), config
