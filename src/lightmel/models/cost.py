"""The cost of a network: parameters, multiply-accumulates and activation bytes, by formula and by counting.

As in the paper (GMAC, 1e9 multiply-accumulates of one forward pass), only convolutions and linear layers
are counted: a bias, a normalisation, an ELU or a pool costs no multiply-accumulate here. Activation bytes
are those of the outputs of the same layers in float32 for one input: a training step keeps at least these.

`network_cost` computes all three from a network's description, `counted_cost` hooks a real forward pass;
they agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..errors import UnknownModelError, nearest
from ..frontends import CLIP_SECONDS, PAPER_CONFIGS, FrontendConfig, MelConfig
from . import mobilenet
from .base import TaggingNetwork
from .fcn import FILTERS, POOLS
from .registry import SEGMENT_SECONDS, build, names
from .samplecnn import STRIDE
from .vgg import pooled_sizes

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of one input; costs add up.

    Parameters
    ----------
    parameters
        Numbers that are learned or set, without the running statistics of normalisations.
    macs
        Multiply-accumulates of the convolutions and linear layers.
    activation_bytes
        Bytes of those layers' outputs in float32.
    """

    parameters: int = 0
    macs: int = 0
    activation_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.macs + other.macs,
            self.activation_bytes + other.activation_bytes,
        )

    @property
    def gmacs(self) -> float:
        """Multiply-accumulates in units of 1e9, as the paper prints them."""
        return self.macs / 1e9


def _layer(fan_in: int, filters: int, *output: int, norm: bool, bias: bool = True) -> Cost:
    """Cost of a layer of `filters` sums over `fan_in` numbers, at every position of `output`."""
    size = filters * math.prod(output)
    return Cost((fan_in + bias) * filters + 2 * filters * norm, fan_in * size, FLOAT_BYTES * size)


_INPUT_NORM = Cost(parameters=2)


def _vgg(model: Mapping[str, Any]) -> Iterator[tuple[str, Cost]]:
    pools = model["pools"]
    *sizes, left = pooled_sizes(model["input_shape"], pools, model.get("strides", pools))
    yield "input_norm", _INPUT_NORM
    channels = 1
    for i, (filters, size) in enumerate(zip(model["widths"], sizes, strict=True)):
        yield f"blocks.{i}", _layer(9 * channels, filters, *size, norm=True)
        channels = filters
    yield "head", _layer(channels * math.prod(left), model["n_tags"], norm=False)


def _fcn(model: Mapping[str, Any]) -> Iterator[tuple[str, Cost]]:
    yield from _vgg({**model, "widths": FILTERS, "pools": POOLS})  # not in its spec: it has no others


def _musicnn(model: Mapping[str, Any]) -> Iterator[tuple[str, Cost]]:
    bands, frames = model["input_shape"]
    yield "input_norm", _INPUT_NORM
    front = 0
    for i, (part, length, filters) in enumerate(model["timbre"]):
        height = max(1, int(part * bands))
        yield f"timbre.{i}", _layer(height * length, filters, bands - height + 1, frames, norm=True)
        front += filters
    rows = bands if model.get("every_band") else 1
    for i, (length, filters) in enumerate(model["temporal"]):
        yield f"temporal.{i}", _layer(length, filters, rows, frames, norm=True)
        front += filters
    width, dense = model["width"], model["dense"]
    paper = model["variant"] == "paper"
    last_frames = max(frames // 2, 1) if paper else frames  # the paper pools by 2 before the third
    for i, (channels, n) in enumerate(((front, frames), (width, frames), (width, last_frames))):
        yield f"middle.{i}", _layer(7 * channels, width, n, norm=True)
    pooled = width if paper else front + 3 * width
    yield "dense", _layer(2 * pooled, dense, norm=True)
    yield "head", _layer(dense, model["n_tags"], norm=False)


def _mobilenet(model: Mapping[str, Any]) -> Iterator[tuple[str, Cost]]:
    width = model["width"]
    size: tuple[int, ...] = tuple(model["input_shape"])
    strides = iter(model["strides"])

    def strode() -> tuple[int, ...]:
        # "Same" padding of an odd kernel: every stride rounds up.
        return tuple(-(-n // step) for n, step in zip(size, next(strides), strict=True))

    def layer(fan_in: int, filters: int) -> Cost:
        return _layer(fan_in, filters, *size, norm=True, bias=False)

    yield "input_norm", Cost(parameters=2 * size[0])
    size, channels = strode(), mobilenet.scaled(mobilenet.FIRST, width)
    yield "first", layer(9, channels)
    for i, stage in enumerate(mobilenet.STAGES):
        expanded, filters = (mobilenet.scaled(n, width) for n in (stage.expanded, stage.channels))
        cost = layer(channels, expanded) if expanded != channels else Cost()
        if stage.strided:
            size = strode()
        cost += layer(stage.kernel**2, expanded)
        if stage.squeezed:
            squeezed = mobilenet.scaled(expanded, mobilenet.SQUEEZE)
            cost += _layer(expanded, squeezed, norm=False) + _layer(squeezed, expanded, norm=False)
        yield f"blocks.{i}", cost + layer(expanded, filters)
        channels = filters
    last, dense = mobilenet.LAST_FACTOR * channels, mobilenet.scaled(mobilenet.DENSE, width)
    yield "last", layer(channels, last)
    yield "dense", _layer(last, dense, norm=False)
    yield "head", _layer(dense, model["n_tags"], norm=False)


def _samplecnn(model: Mapping[str, Any]) -> Iterator[tuple[str, Cost]]:
    channels, *widths = model["widths"]
    size = model["input_shape"][1] // STRIDE
    yield "first", _layer(STRIDE, channels, size, norm=True)
    for i, (filters, pool) in enumerate(zip(widths, model["pools"], strict=True)):
        yield f"blocks.{i}", _layer(3 * channels, filters, size, norm=True)
        channels, size = filters, size // pool
    yield "last", _layer(channels, channels, norm=True)
    yield "head", _layer(channels, model["n_tags"], norm=False)


_FORMULAS: dict[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, Cost]]]] = {
    "vgg": _vgg,
    "fcn": _fcn,
    "musicnn": _musicnn,
    "mobilenet": _mobilenet,
    "samplecnn": _samplecnn,
}


def layer_costs(model: TaggingNetwork | Mapping[str, Any]) -> dict[str, Cost]:
    """Return the cost of every layer, in the order of the forward pass; normalisations count to theirs.

    Parameters
    ----------
    model
        A network, or any description that `registry.build` takes, such as
        ``{"architecture": "vgg", "input_shape": (48, 910), "size": "small"}``. No weight is drawn.

    Raises
    ------
    LightmelError
        As `registry.build` does, for a description that does not describe a network.
    """
    if isinstance(model, TaggingNetwork):
        described = model.spec()
    else:
        with torch.device("meta"):  # fills in and checks the arguments, without memory for weights
            described = build(model).spec()
    architecture = described["architecture"]
    if architecture not in _FORMULAS:
        raise UnknownModelError(
            f"There is no cost formula for {architecture!r}, only for {', '.join(_FORMULAS)}; "
            f"`counted_cost` counts any network.{nearest(architecture, _FORMULAS)}"
        )
    return dict(_FORMULAS[architecture](described))


def network_cost(model: TaggingNetwork | Mapping[str, Any]) -> Cost:
    """Return the cost of one forward pass of one input; see `layer_costs` for what is taken.

    It is computed by formula; a network without one, of your own say, is counted on torch's ``"meta"``.

    Examples
    --------
    >>> network_cost({"architecture": "vgg", "input_shape": (96, 1366)})
    Cost(parameters=17365940, macs=10010669056, activation_bytes=95051976)
    """
    spec = model.spec() if isinstance(model, TaggingNetwork) else model
    if spec.get("architecture") in [name for name in names() if name not in _FORMULAS]:
        with torch.device("meta"):
            return counted_cost(build(spec))
    return sum(layer_costs(model).values(), Cost())


def counted_cost(model: TaggingNetwork) -> Cost:
    """Return what `network_cost` does, counted in a real forward pass of one input of zeros.

    Every convolution and linear layer is hooked and reports the shape of its output and of its weights.
    The pass runs where the network's weights are; on torch's ``"meta"`` device it computes nothing.
    """
    macs = outputs = 0

    def report(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal macs, outputs
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        macs += output.numel() * weight[0].numel()
        outputs += output.numel()

    counted = (nn.Conv1d, nn.Conv2d, nn.Linear)
    hooks = [m.register_forward_hook(report) for m in model.modules() if isinstance(m, counted)]
    was_training = model.training
    try:
        model.eval()  # one input has no batch statistics, and its zeros must not enter the running ones
        weight = model.head.weight
        with torch.no_grad():
            model(torch.zeros(1, *model.input_shape, device=weight.device, dtype=weight.dtype))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return Cost(sum(p.numel() for p in model.parameters()), macs, FLOAT_BYTES * outputs)


@dataclass(frozen=True)
class Row:
    """One network on one input.

    Parameters
    ----------
    architecture, size
        Which network, and how wide.
    config
        Which input.
    seconds
        Sound in one forward pass; in the paper 29.1 s for VGG-CNN, 3 s for MUSICNN.
    cost
        Of one forward pass, as the paper counts.
    name
        Of a tagger; empty for one of the paper's networks.
    """

    architecture: str
    size: str
    config: FrontendConfig
    seconds: float
    cost: Cost
    name: str = ""

    @property
    def input_shape(self) -> tuple[int, int]:
        """``(n_mels, n_frames)`` of one forward pass."""
        return self.config.input_shape(self.seconds)

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates for a second of sound: the figure to compare the two networks by."""
        return self.cost.macs / self.seconds

    @property
    def clip_macs(self) -> float:
        """Multiply-accumulates for the paper's clip of 29.1 s, in segments end to end (9.7 of 3 s)."""
        return self.macs_per_second * CLIP_SECONDS


def paper_cost(architecture: str, config: FrontendConfig, *, size: str = "full") -> Row:
    """Return the cost of the paper's `architecture` on `config`, at the paper's length of input."""
    if architecture not in SEGMENT_SECONDS:
        raise UnknownModelError(
            f"The paper has the networks {' and '.join(SEGMENT_SECONDS)}, not {architecture!r}."
            + nearest(architecture, SEGMENT_SECONDS)
        )
    seconds = SEGMENT_SECONDS[architecture]
    return Row(architecture, size, config, seconds, _cost(architecture, config.input_shape(seconds), size))


@lru_cache(maxsize=256)
def _cost(architecture: str, input_shape: tuple[int, int], size: str) -> Cost:
    return network_cost({"architecture": architecture, "input_shape": input_shape, "size": size})


def paper_costs(
    configs: Sequence[MelConfig] = PAPER_CONFIGS,
    *,
    architectures: Sequence[str] = ("vgg", "musicnn"),
    size: str = "full",
) -> tuple[Row, ...]:
    """Return a row for each of the paper's two networks on each of its 88 configurations."""
    return tuple(
        paper_cost(architecture, config, size=size) for architecture in architectures for config in configs
    )


@dataclass(frozen=True)
class Claim:
    """A statement of the paper on cost: what a change of one field does to the multiply-accumulates.

    Parameters
    ----------
    text
        The claim in words.
    name
        The field that changes.
    before, after
        Its values.
    said
        Multiply-accumulates after the change, as a part of those before.
    """

    text: str
    name: str
    before: int
    after: int
    said: float


CLAIMS = (
    Claim("48 bands cost half of 96", "n_mels", 96, 48, 1 / 2),
    Claim("x2 costs half of x1", "hop_factor", 1, 2, 1 / 2),
    Claim("x10 costs a tenth of x1", "hop_factor", 1, 10, 1 / 10),
)
"""The paper's statements on what a smaller mel-spectrogram saves in one forward pass.

All hold for VGG-CNN, and the two on time for MUSICNN. Of MUSICNN as the paper's text describes it, 48 bands
save a quarter and not half: its three middle convolutions run over time alone, so that only the timbre
filters shrink. The paper's code feeds MUSICNN transposed; there the middle convolutions run over the bands,
and 48 bands cost .45 of 96.
"""


@dataclass(frozen=True)
class Checked:
    """A claim beside what follows from the formulas for one network.

    Parameters
    ----------
    claim
        The paper's statement.
    architecture
        Of which network.
    ratios
        Multiply-accumulates after, over those before, for each pair of the paper's configurations that
        differ in nothing else, by the slug of the cheaper one.
    """

    claim: Claim
    architecture: str
    ratios: Mapping[str, float]

    @property
    def low(self) -> float:
        """The smallest of the ratios."""
        return min(self.ratios.values())

    @property
    def high(self) -> float:
        """The largest of the ratios."""
        return max(self.ratios.values())


def check_claims(rows: Sequence[Row] | None = None) -> tuple[Checked, ...]:
    """Return each claim for each network in `rows` (by default all of `paper_costs`) with such a pair."""
    rows = paper_costs() if rows is None else rows
    macs = {(r.architecture, r.config): r.cost.macs for r in rows if isinstance(r.config, MelConfig)}
    checked = []
    for claim in CLAIMS:
        for architecture in dict.fromkeys(r.architecture for r in rows):
            ratios = {}
            for name, config in macs:
                if name != architecture or getattr(config, claim.name) != claim.after:
                    continue
                before = macs.get((name, config.replace(**{claim.name: claim.before})))
                if before is not None:
                    ratios[config.slug] = macs[name, config] / before
            if ratios:
                checked.append(Checked(claim, architecture, ratios))
    return tuple(checked)
