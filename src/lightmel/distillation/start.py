"""A student that starts from the weights of another tagger of its architecture, behind another front end."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..errors import ConfigError
from ..frontends import FrontendConfig, build_frontend
from ..inference import Tagger
from ..models import TaggingNetwork
from .targets import at_rate


def check_start(network: TaggingNetwork, config: FrontendConfig, other: Tagger) -> None:
    """Refuse a tagger whose weights `network` cannot start from.

    Raises
    ------
    ConfigError
        If the networks differ in more than input, strides and head; or if bands must be matched, and one of
        the front ends, `config` or the other's, has none.
    """
    own, theirs = ({k: v.shape for k, v in _body(n).items()} for n in (network, other.network))
    if network.architecture != other.network.architecture or own != theirs:
        raise ConfigError(
            f"The student cannot start from {other.name}: that is {_described(other.network)}; the student "
            f"is {_described(network)}. Both must be of one architecture, with filters of the same shapes."
        )
    if _norm_of_bands(network) is not None:
        for frontend in (config, other.config):
            frontend.band_edges()


@torch.no_grad()
def start_from(
    network: TaggingNetwork, config: FrontendConfig, other: Tagger, waves: torch.Tensor, sr: int
) -> None:
    """Give `network` the weights of another tagger's, but for its head, in place.

    Where the network normalises each band by itself, the bands get the mean and the spread that the other
    network's bands of the same frequencies have on the same music: that is what the weights were trained on.

    Parameters
    ----------
    network, config
        The student and its front end.
    other
        The tagger to start from.
    waves
        Music, ``(batch, samples)`` at `sr` Hz.

    Raises
    ------
    ConfigError
        As `check_start`.
    """
    check_start(network, config, other)
    network.load_state_dict({**network.state_dict(), **_body(other.network)})
    if (norm := _norm_of_bands(network)) is not None:
        mean, spread = _statistics(config, waves, sr)
        their_mean, their_spread = _statistics(other.config, waves, sr)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(spread.square())
        norm.bias.copy_(_at_bands(config, other.config, their_mean))
        norm.weight.copy_(_at_bands(config, other.config, their_spread))


def _norm_of_bands(network: TaggingNetwork) -> nn.BatchNorm1d | None:
    """Return the normalisation of each band of the input, if the network has one."""
    norm = getattr(network, "input_norm", None)
    return norm if isinstance(norm, nn.BatchNorm1d) else None


def _body(network: TaggingNetwork) -> dict[str, torch.Tensor]:
    """Return the tensors that a student takes over."""
    fresh = ("head.",) if _norm_of_bands(network) is None else ("head.", "input_norm.")
    return {k: v for k, v in network.state_dict().items() if not k.startswith(fresh)}


def _described(network: TaggingNetwork) -> str:
    said = ("architecture", "input_shape", "width", "widths")
    return ", ".join(f"{k} {v}" for k, v in network.spec().items() if k in said)


def _statistics(config: FrontendConfig, waves: torch.Tensor, sr: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of each band over all frames of `waves`."""
    samples = round(waves.shape[1] * config.sr / sr)
    features = build_frontend(config)(at_rate(waves, sr, config.sr, samples)[:, :samples])
    rows = features.transpose(0, 1).flatten(1).double()
    return rows.mean(dim=1).float(), rows.std(dim=1).float()


def _at_bands(config: FrontendConfig, other: FrontendConfig, values: torch.Tensor) -> torch.Tensor:
    """Return the values of another front end's bands at the centres of this one's, interpolated over Hz."""
    own, theirs = (np.array(c.band_edges()[1:-1]) for c in (config, other))
    return torch.from_numpy(np.interp(own, theirs, values.numpy())).float()
