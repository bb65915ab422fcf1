"""Front ends by kind: from the plain data of a file, or from a slug, back to a configuration and its module.

Classes are kept by their place (``"lightmel.frontends.mel:MelConfig"``) and imported when they are needed, so
that reading a configuration takes no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, nearest
from .base import FrontendConfig

if TYPE_CHECKING:
    from .module import Frontend


@dataclass(frozen=True)
class FrontendKind:
    """The places of a kind's two classes: ``module:class`` of its configuration and of its module."""

    config: str
    module: str


KINDS: dict[str, FrontendKind] = {
    "mel": FrontendKind("lightmel.frontends.mel:MelConfig", "lightmel.frontends.mel_torch:MelFrontend"),
    "kaldi_mel": FrontendKind(
        "lightmel.frontends.kaldi_mel:KaldiMelConfig",
        "lightmel.frontends.kaldi_mel_torch:KaldiMelFrontend",
    ),
}


def register(config: type[FrontendConfig], module: type[Frontend]) -> None:
    """Register a front end under its ``config.kind``, for this process and the workers that it starts.

    Both classes must be importable from their modules, not defined in a function. What a script or a notebook
    defines itself is known to this process only: build stores with ``workers=0`` there.

    Raises
    ------
    ConfigError
        If a class cannot be imported, or another front end has that kind.
    """
    entry = FrontendKind(_place(config), _place(module))
    for place, given in ((entry.config, config), (entry.module, module)):
        if _load(place) is not given:
            raise ConfigError(f"{place} is another class than the one given: import it from there.")
    if KINDS.setdefault(config.kind, entry) != entry:
        raise ConfigError(f"There is a front end {config.kind!r} already: {KINDS[config.kind].config}.")


def known_kinds() -> dict[str, list[str]]:
    """Return every kind with its classes' places, as plain data for `make_known` in another process."""
    return {kind: [entry.config, entry.module] for kind, entry in KINDS.items()}


def make_known(kinds: Mapping[str, Sequence[str]]) -> None:
    """Register what `known_kinds` returned in another process."""
    for kind, (config, module) in kinds.items():
        KINDS.setdefault(kind, FrontendKind(config, module))


def kinds() -> tuple[str, ...]:
    """Return the names of the registered kinds."""
    return tuple(KINDS)


def config_from_dict(plain: Mapping[str, Any]) -> FrontendConfig:
    """Return the configuration that `FrontendConfig.to_dict` wrote.

    Raises
    ------
    ConfigError
        If its kind is not registered here, or its fields are not those of its kind.
    """
    fields = dict(plain)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        raise ConfigError(
            f"There is no front end {kind!r} here; there are {', '.join(KINDS)}.{hint} "
            "One of your own is made known with lightmel.frontends.register; a newer lightmel may have it."
        )
    try:
        # JSON knows lists only, and a frozen configuration holds tuples.
        return config_class(kind)(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except TypeError as error:  # an unknown field, or one that is missing
        raise ConfigError(f"These are not the fields of a {kind} front end: {error}.") from error


def config_from_slug(slug: str) -> FrontendConfig:
    """Return the configuration that a slug names, of whatever kind.

    Raises
    ------
    ConfigError
        If it is no slug; the nearest of the paper's 88 is suggested.
    """
    for kind in KINDS:
        if config_class(kind).slug_pattern.fullmatch(slug):
            return config_class(kind).from_slug(slug)
    return config_class("mel").from_slug(slug)  # its error gives an example


def config_class(kind: str) -> type[FrontendConfig]:
    """Return the configuration's class of a kind."""
    found: type[FrontendConfig] = _load(KINDS[kind].config)
    return found


def build_frontend(config: FrontendConfig) -> Frontend:
    """Build the module that computes `config`; this imports torch."""
    found: Frontend = _load(KINDS[config.kind].module).from_config(config)
    return found


def _place(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The front end's class {place} cannot be imported here ({error}): define it at the top of a "
            "module of its own."
        ) from error
