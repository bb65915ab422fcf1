"""`TaggingNetwork`, what all networks share: input shape, head, and the spec that builds one again.

The input shape is the front end's: ``(n_mels, n_frames)`` of a mel-spectrogram, ``(1, samples)`` of a wave.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from .._steady import steady
from ..errors import ConfigError, ShapeError

EPS = 1e-5
"""What a normalisation adds to the variance where nothing is said: PyTorch's own."""


Network = TypeVar("Network", bound="TaggingNetwork")


class TaggingNetwork(nn.Module):
    """A network from a front end's output ``(batch, *input_shape)`` to logits ``(batch, n_tags)``.

    A child computes `features` and sets `embed_dim`; the last linear layer is `head`.
    """

    architecture: ClassVar[str]
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format
    """How its convolutions are trained fastest."""
    embed_dim: int
    head: nn.Linear

    def __init__(self, input_shape: Sequence[int], n_tags: int) -> None:
        super().__init__()
        if n_tags < 1:
            raise ShapeError(f"A tagger needs at least one tag, not {n_tags}.")
        self.input_shape = whole_numbers(input_shape)
        self.n_tags = int(n_tags)

    def spec(self) -> dict[str, Any]:
        """Return the architecture and every argument that builds this network again, as plain data."""
        raise NotImplementedError

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the embedding ``(batch, embed_dim)`` of a checked input ``(batch, *input_shape)``."""
        raise NotImplementedError

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the head sees: ``(batch, embed_dim)`` for an input ``(batch, *input_shape)``.

        Raises
        ------
        ShapeError
            If the input has another shape than the network was built for.
        """
        self.check(x)
        return self.features(x)

    def check(self, x: torch.Tensor) -> None:
        """Raise `ShapeError` unless an input has the shape that the network was built for."""
        if tuple(x.shape[1:]) != self.input_shape:
            wanted = ", ".join(str(n) for n in self.input_shape)
            raise ShapeError(f"This network wants (batch, {wanted}); it was given {tuple(x.shape)}.")

    def rearranged(self, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Return what computes `features` faster on a processor, with the weights as they are now, or None.

        It is for evaluation of a checked input by a network that will not change any more. It computes most
        of the work in `dtype`, without autocast, and gives float32. None where nothing is known to be faster.
        """
        return None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, n_tags)``; their sigmoid is the score."""
        logits: torch.Tensor = self.head(self.embed(x))
        return logits

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Lay the filters of two-dimensional convolutions out in memory; what they compute stays."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=memory_format)

    @steady
    def with_head(self, n_tags: int, generator: torch.Generator | None = None) -> TaggingNetwork:
        """Return a copy with the same body and a fresh head for `n_tags` other tags.

        With a `generator` nothing is drawn from torch's global one.
        """
        if n_tags < 1:
            raise ShapeError(f"A tagger needs at least one tag, not {n_tags}.")
        model = copy.deepcopy(self)
        model.n_tags = int(n_tags)
        weight = self.head.weight
        # Elsewhere than on "meta" it would draw weights.
        head = nn.Linear(self.embed_dim, model.n_tags, device="meta", dtype=weight.dtype)
        model.head = head.to_empty(device=weight.device)
        initialize(model.head, generator)
        return model


def whole_numbers(input_shape: Sequence[int], axes: int | None = None) -> tuple[int, ...]:
    """Return an input shape as Python's own numbers.

    Raises
    ------
    ShapeError
        If they are not whole numbers from 1 on, or not as many as the network has `axes`.
    """
    try:
        shape = tuple(operator.index(n) for n in input_shape)  # of NumPy's integers too
    except TypeError:
        shape = ()
    if not shape or min(shape) < 1 or (axes is not None and len(shape) != axes):
        how_many = "" if axes is None else f"{axes} "
        raise ShapeError(f"An input shape is {how_many}whole numbers from 1 on, not {input_shape!r}.")
    return shape


def unusual(**arguments: tuple[object, object]) -> dict[str, object]:
    """Return the arguments, each ``(value, usual value)``, that are not as usual.

    What a spec says beside what it always said, so that the networks of older files describe themselves as
    they did, and older versions read files that hold nothing new.
    """
    return {name: value for name, (value, usual) in arguments.items() if value != usual}


def check_eps(eps: float) -> None:
    """Refuse what no normalisation can add to a variance.

    Raises
    ------
    ConfigError
        If it is not above 0 and finite.
    """
    if not 0 < eps < math.inf:
        raise ConfigError(f"eps is added to a variance: a finite number above 0, not {eps!r}.")


def drawn(make: Callable[[], Network], generator: torch.Generator | None) -> Network:
    """Return the network that `make` builds, with weights that `generator` alone has drawn.

    It is built without memory first: the layers' own initialization would draw from the global generator. It
    lies on the default device, as any module, and has parameters that can learn, in float32, whatever else is
    set.
    """
    return _drawn(make, generator, torch.get_default_device())


@steady
def _drawn(make: Callable[[], Network], generator: torch.Generator | None, device: torch.device) -> Network:
    with torch.device("meta"):
        model = make().float()
    model.to_empty(device=device)
    for layer in model.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.reset_parameters()
    initialize(model, generator)
    return model


def initialize(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the weights of every convolution and linear layer, uniform in ``1/sqrt(fan_in)``.

    That is PyTorch's own default, drawn from `generator` so that a seed is all it depends on.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound, generator=generator)
