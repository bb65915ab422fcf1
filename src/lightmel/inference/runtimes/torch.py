"""Networks run by PyTorch, on a processor, a CUDA device or Apple's GPU."""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ..._steady import steady
from ...checkpoint import weights_sha256
from ...frontends import FrontendConfig, build_frontend
from ...models import TaggingNetwork
from . import devices
from .base import ACCELERATOR_BATCH_SECONDS, CPU_BATCH_SECONDS, Output


class TorchRuntime:
    """A front end and a frozen copy of a network on one device.

    Whatever the precision, the front end is computed in float32 and the scores in float64: a spectrum's power
    and a score near 1 have too many digits for less. Normalizations too stay in float32 (autocast).

    Parameters
    ----------
    network
        Which stays as it is: what runs is a copy whose parameters require no gradients, so that nobody who
        shares a tagger can change it.
    config
        Of the front end.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    precision
        ``"float32"``, or ``"bfloat16"`` or ``"float16"`` where the device has it.

    Raises
    ------
    ConfigError
        If there is no such device, or it does not have that precision.
    """

    @steady
    def __init__(
        self,
        network: TaggingNetwork,
        config: FrontendConfig,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.device = devices.resolve_device(device)
        devices.check_precision(precision, self.device)
        self.precision = precision
        self.batch_seconds = CPU_BATCH_SECONDS if self.device == "cpu" else ACCELERATOR_BATCH_SECONDS
        self.n_tags, self.embed_dim = network.n_tags, network.embed_dim
        self._torch_device = devices.torch_device(self.device)
        self._learning = [p.requires_grad for p in network.parameters()]
        self._network = copy.deepcopy(network).eval().requires_grad_(False).to(self._torch_device)
        on_cpu = self.device == "cpu"
        self._rearranged = self._network.rearranged(devices.DTYPES[precision]) if on_cpu else None
        self._frontend = build_frontend(config).to(self._torch_device)

    @property
    @steady
    def network(self) -> TaggingNetwork:
        """A copy of the network on the processor, whose parameters may learn as the original's could."""
        network = copy.deepcopy(self._network).cpu()
        for parameter, learns in zip(network.parameters(), self._learning, strict=True):
            parameter.requires_grad_(learns)
        return network

    @cached_property
    def weights(self) -> str:
        """Digest of the weights, as `lightmel.checkpoint.weights_sha256` gives it."""
        return weights_sha256(self._network)

    @steady
    def run(self, waves: NDArray[np.float32]) -> Output:
        """Return scores and embeddings of waves ``(batch, segment_samples)``."""
        devices.check_process(self.device)
        logits, embedding = self._forward(torch.from_numpy(waves))
        scores = logits.cpu().double().sigmoid()  # in this order: Apple's GPU has no float64
        return Output(scores.numpy(), embedding.float().cpu().numpy())

    @steady
    def logits(self, waves: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(batch, tags)`` of waves ``(batch, segment_samples)``: float32, on the CPU."""
        return self._forward(waves)[0].float().cpu()

    @torch.inference_mode()
    def _forward(self, waves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self._frontend(waves.to(self._torch_device))
        if self._rearranged is not None:
            self._network.check(features)
            embedding = self._rearranged(features)
        else:
            half = self.precision != "float32"
            dtype = devices.DTYPES[self.precision] if half else None
            with torch.autocast(self._torch_device.type, dtype, enabled=half):
                embedding = self._network.embed(features).float()
        logits: torch.Tensor = self._network.head(embedding)  # a logit near 8 has steps of .03 in bfloat16
        return logits, embedding
