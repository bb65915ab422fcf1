"""Costs by name: of a tagger, of its file, of a network with its input, of an input alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..checkpoint import PUBLISHED_SUFFIXES, Description, read_description, read_network
from ..errors import ConfigError, LightmelError, UnknownModelError, WeightsError, nearest
from ..frontends import config_from_slug
from ..models import SEGMENT_SECONDS, Row, names, network_cost, paper_cost, parse_name
from . import catalogue
from .repositories import Repository, fetch_repository


def costs_of(name: str | os.PathLike[str]) -> tuple[Row, ...]:
    """Return what `name` costs in one forward pass; several rows for an input alone.

    Parameters
    ----------
    name
        A name that ``lightmel models`` lists or a tagger's file; a network and its input, such as
        ``"vgg-small-16k-mel48-x2-db"``, for the paper's length of input; or the slug of an input, for the
        paper's two networks.

    Raises
    ------
    UnknownModelError
        If it is none of these.
    WeightsError
        If it is a file that is no tagger's.
    ConfigError, ShapeError
        If it names a network or an input that cannot be.
    """
    text = os.fspath(name)
    if found := _tagger(text):
        description, network = found
        try:
            cost = network_cost(network)
        except LightmelError as error:
            raise WeightsError(
                f"{text}: this version of lightmel cannot build its network: {error}"
            ) from error
        return (
            Row(
                architecture=network["architecture"],
                size="",
                config=description.config,
                seconds=description.segment_seconds,
                cost=cost,
                name=description.name,
            ),
        )
    first = text.partition("-")[0]
    if first in names():
        spec, config = parse_name(text)
        if first not in SEGMENT_SECONDS:
            raise ConfigError(
                f"{text!r}: the paper has no {first}, so that no length of input is known. Name a tagger of "
                "such a network, or ask `lightmel.models.network_cost` with an input shape."
            )
        seconds = SEGMENT_SECONDS[first]
        cost = network_cost({**spec, "input_shape": config.input_shape(seconds)})
        return (Row(first, spec.get("size", "full"), config, seconds, cost, text),)
    if first[:1].isdigit():
        config = config_from_slug(text)
        return tuple(paper_cost(architecture, config) for architecture in SEGMENT_SECONDS)
    raise UnknownModelError(
        f"{text!r} is no tagger, no network such as 'vgg-16k-mel48-x2-db', and no input such as "
        f"'16k-mel48-x2-db'.{nearest(text, ['default', *names(), *(r.name for r in catalogue.releases())])}"
    )


def _tagger(name: str) -> tuple[Description, dict[str, Any]] | None:
    """Return description and network of a tagger, or None where nothing is called that."""
    found = catalogue.locate(name)
    if isinstance(found, Repository):  # its header is in the file
        found = fetch_repository(found, graph=False)
    if isinstance(found, Path):
        if not found.name.endswith(PUBLISHED_SUFFIXES):
            return read_description(found), read_network(found)
        found = catalogue.identify(found)
    return None if found is None else (found.description, dict(found.network))
