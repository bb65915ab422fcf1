"""Networks run by ONNX Runtime on a processor, behind a front end in NumPy: nothing of torch is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...checkpoint import FEATURES, WAVE, Graph, session
from ...errors import ConfigError
from ...frontends import build_arrays
from .base import Output

if TYPE_CHECKING:
    from ...models import TaggingNetwork

BATCH_SECONDS = 24.0
"""Sound in one pass of the network. Half of it takes a tenth more time of front end and network; twice of it
saves less than that, and takes 20 MB."""


class OnnxRuntime:
    """A graph on one thread of the processor; threads may share it, and it works in a forked process.

    Parameters
    ----------
    graph
        As `lightmel.checkpoint.read_graph` gives it.
    source
        The ``.safetensors`` file of the same tagger, if it is at hand.

    Raises
    ------
    ConfigError
        If it begins at features whose front end is computed by torch only.
    """

    device, precision, batch_seconds = "cpu", "float32", BATCH_SECONDS

    def __init__(self, graph: Graph, source: Path | None = None) -> None:
        self._session, self._takes, self._source = graph.session, graph.takes, source
        self._made_of = graph.data, graph.tensors
        self._frontend = build_arrays(graph.description.config) if graph.takes == FEATURES else None
        self.weights = graph.weights
        self.n_tags, self.embed_dim = (int(output.shape[1]) for output in graph.session.get_outputs())

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy, or another process, makes it of: a session is neither copied nor sent."""
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make it of what another one is made of."""
        vars(self).update(state)
        self._session = session(*self._made_of)

    @property
    def network(self) -> TaggingNetwork:
        """The same network for PyTorch, on the processor, read from the tagger's file.

        Raises
        ------
        ConfigError
            If there is only a graph.
        """
        if self._source is None:
            raise ConfigError(
                "An ONNX graph has no network to train: load the .safetensors file of the tagger."
            )
        from ...checkpoint import read

        return read(self._source)[0]

    def run(self, waves: NDArray[np.float32]) -> Output:
        """Return scores and embeddings of waves ``(batch, segment_samples)``."""
        return self.of_input(np.ascontiguousarray(waves) if self._frontend is None else self._frontend(waves))

    def of_input(self, given: NDArray[np.float32]) -> Output:
        """Return scores and embeddings of what the graph takes: features or waves."""
        found, embedding = self._session.run(None, {self._takes: given})
        scores = found.astype(np.float64)
        if self._takes != WAVE:
            with np.errstate(all="ignore"):
                scores = 1 / (1 + np.exp(-scores))
        return Output(scores, embedding)
