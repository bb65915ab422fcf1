"""What every tagging network shares: its input shape, its head, its description of itself."""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import torch
from torch import nn

from ..errors import ShapeError


class TaggingNetwork(nn.Module):
    """A network from mel-spectrograms ``(batch, n_mels, n_frames)`` to logits ``(batch, n_tags)``.

    A child computes `features` and sets `embed_dim`; the last linear layer is `head`.
    """

    architecture: ClassVar[str]
    memory_format: ClassVar[torch.memory_format] = torch.contiguous_format
    """How its convolutions are trained fastest."""
    embed_dim: int
    head: nn.Linear

    def __init__(self, input_shape: tuple[int, int], n_tags: int) -> None:
        super().__init__()
        n_mels, n_frames = (int(n) for n in input_shape)
        if n_mels < 1 or n_frames < 1:
            raise ShapeError(f"input_shape is (n_mels, n_frames), both at least 1, not {tuple(input_shape)}.")
        if n_tags < 1:
            raise ShapeError(f"A tagger needs at least one tag, not {n_tags}.")
        self.input_shape = (n_mels, n_frames)
        self.n_tags = int(n_tags)

    def spec(self) -> dict[str, Any]:
        """Return the architecture and every argument that builds this network again, as plain data."""
        raise NotImplementedError

    def features(self, mel: torch.Tensor) -> torch.Tensor:
        """Return the embedding ``(batch, embed_dim)`` of a checked input ``(batch, n_mels, n_frames)``."""
        raise NotImplementedError

    def embed(self, mel: torch.Tensor) -> torch.Tensor:
        """Return what the head sees: ``(batch, embed_dim)`` for mels ``(batch, n_mels, n_frames)``.

        Raises
        ------
        ShapeError
            If the input has another shape than the network was built for.
        """
        if mel.ndim != 3 or tuple(mel.shape[1:]) != self.input_shape:
            n_mels, n_frames = self.input_shape
            raise ShapeError(
                f"This network wants (batch, {n_mels}, {n_frames}): {n_mels} mel bands by {n_frames} frames; "
                f"it was given {tuple(mel.shape)}."
            )
        return self.features(mel)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, n_tags)``; their sigmoid is the score."""
        logits: torch.Tensor = self.head(self.embed(mel))
        return logits

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Lay the filters of two-dimensional convolutions out in memory; what they compute stays."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=memory_format)

    def with_head(self, n_tags: int, generator: torch.Generator | None = None) -> TaggingNetwork:
        """Return a copy with the same body and a fresh head for `n_tags` other tags.

        With a `generator` nothing is drawn from torch's global one.
        """
        if n_tags < 1:
            raise ShapeError(f"A tagger needs at least one tag, not {n_tags}.")
        model = copy.deepcopy(self)
        model.n_tags = int(n_tags)
        head = nn.Linear(self.embed_dim, model.n_tags, device="meta")  # elsewhere it would draw weights
        model.head = head.to_empty(device=self.head.weight.device)
        initialise(model.head, generator)
        return model


def initialise(module: nn.Module, generator: torch.Generator | None) -> None:
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
