"""Front ends by kind: from the plain data of a file, or from a slug, back to a configuration and its module.

Classes are kept by their place (``"lightmel.frontends.mel:MelConfig"``) and imported when they are needed, so
that reading a configuration takes no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigError, nearest
from .base import FrontendConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .module import Frontend


class ArrayFrontend(Protocol):
    """A front end without torch, made from its configuration. Threads may share it: it has no state."""

    def __init__(self, config: Any) -> None: ...

    def __call__(self, waves: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return features ``(batch, rows, frames)`` of waves ``(batch, samples)``, both float32."""


@dataclass(frozen=True)
class FrontendKind:
    """The places of a kind's classes, ``module:class``.

    Parameters
    ----------
    config, module
        Of its configuration, and of the PyTorch module that computes it.
    arrays
        Of what computes the same without torch: made from a configuration, it takes float32 waves
        ``(batch, samples)`` and returns features ``(batch, rows, frames)``. Empty where there is none.
    """

    config: str
    module: str
    arrays: str = ""


KINDS: dict[str, FrontendKind] = {
    "mel": FrontendKind(
        "lightmel.frontends.mel:MelConfig",
        "lightmel.frontends.mel_torch:MelFrontend",
        "lightmel.frontends.mel_numpy:NumpyMel",
    ),
    "kaldi_mel": FrontendKind(
        "lightmel.frontends.kaldi_mel:KaldiMelConfig",
        "lightmel.frontends.kaldi_mel_torch:KaldiMelFrontend",
        "lightmel.frontends.kaldi_mel_numpy:NumpyKaldiMel",
    ),
    "cqt": FrontendKind(
        "lightmel.frontends.cqt:CqtConfig",
        "lightmel.frontends.cqt_torch:CqtFrontend",
        "lightmel.frontends.cqt_numpy:NumpyCqt",
    ),
    "waveform": FrontendKind(
        "lightmel.frontends.waveform:WaveformConfig",
        "lightmel.frontends.waveform_torch:WaveformFrontend",
        "lightmel.frontends.waveform_numpy:NumpyWaveform",
    ),
}


def register(
    config: type[FrontendConfig], module: type[Frontend], arrays: type[ArrayFrontend] | None = None
) -> None:
    """Register a front end under its ``config.kind``, for this process and the workers that it starts.

    The classes must be importable from their modules, not defined in a function. What a script or a notebook
    defines itself is known to this process only: build stores with ``workers=0`` there.

    Raises
    ------
    ConfigError
        If a class cannot be imported, or another front end has that kind.
    """
    given = [config, module, *([arrays] if arrays is not None else [])]
    entry = FrontendKind(*map(_place, given))
    for place, own in zip(map(_place, given), given, strict=True):
        if _load(place) is not own:
            raise ConfigError(f"{place} is another class than the one given: import it from there.")
    if KINDS.setdefault(config.kind, entry) != entry:
        raise ConfigError(f"There is a front end {config.kind!r} already: {KINDS[config.kind].config}.")


def known_kinds() -> dict[str, list[str]]:
    """Return every kind with its classes' places, as plain data for `make_known` in another process."""
    return {kind: [entry.config, entry.module, entry.arrays] for kind, entry in KINDS.items()}


def make_known(kinds: Mapping[str, Sequence[str]]) -> None:
    """Register what `known_kinds` returned in another process."""
    for kind, places in kinds.items():
        KINDS.setdefault(kind, FrontendKind(*places))


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


def build_arrays(config: FrontendConfig) -> ArrayFrontend:
    """Build what computes `config` without torch.

    Raises
    ------
    ConfigError
        If its kind has no such thing.
    """
    entry = KINDS[config.kind]
    if not entry.arrays:
        raise ConfigError(
            f"The front end {config.slug} is computed by torch only: load its tagger with runtime='torch', "
            "or register a class for arrays beside its module (lightmel.frontends.register)."
        )
    found: ArrayFrontend = _load(entry.arrays)(config)
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
