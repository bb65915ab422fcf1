"""A tagger as ONNX graphs, compared with the tagger itself before anybody relies on them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import checkpoint
from .._files import beside, write_whole
from ..errors import WeightsError
from .runtimes import OnnxRuntime
from .tagger import Tagger

WAVE, GOLDEN = ".wave.onnx", ".golden.npz"
"""What the names of the second graph and of the golden vectors end in."""
TOLERANCE = 1e-5
"""How far the scores of a graph may lie from those of torch, for one segment."""


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Attributes
    ----------
    features, wave
        The graph from features to logits and embeddings, and that from waves to scores and embeddings.
    golden
        Arrays (``.npz``) of what they give: ``wave_int16`` (divide by 32768), ``features``, ``logits``,
        ``scores`` and ``embedding`` of two segments, computed by torch.
    difference
        The largest difference of a score in either graph from these.
    """

    features: Path
    wave: Path
    golden: Path
    difference: float


def export(tagger: Tagger, out: str | os.PathLike[str]) -> Exported:
    """Write a tagger as two ONNX graphs, and golden vectors beside them.

    `lightmel.load` reads either graph, without torch.

    Parameters
    ----------
    tagger
        Of any network and front end of this package.
    out
        Of the graph that takes features, ``NAME.onnx``; beside it go ``NAME.wave.onnx``, for browsers and
        other languages, and ``NAME.golden.npz``.

    Raises
    ------
    MissingExtraError
        Without the extra ``export``.
    WeightsError
        If something in it has no equal in ONNX, or a graph gives other scores than the tagger.
    ConfigError
        If its front end is not known as a matrix product, or there is only a graph of it.
    """
    path = Path(out)
    if path.suffix != checkpoint.GRAPH_SUFFIX:
        path = beside(path, checkpoint.GRAPH_SUFFIX)
    checkpoint.check_path(path)
    stem = path.with_suffix("")
    wave, vectors = (stem.with_name(stem.name + end) for end in (WAVE, GOLDEN))
    network, description = tagger.network.eval(), tagger.description
    expected = checkpoint.golden(network, description)
    given = {"features": expected["features"], "wave": expected["wave_int16"] / np.float32(32_768)}
    largest = 0.0
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        staged: dict[Path, Path] = {}
        for target, takes in ((path, checkpoint.FEATURES), (wave, checkpoint.WAVE)):
            staged[target] = Path(folder) / target.name
            checkpoint.export(staged[target], network, description, takes)
            scores = OnnxRuntime(checkpoint.read_graph(staged[target])).of_input(given[takes]).scores
            difference = float(np.abs(scores - expected["scores"]).max())
            if not difference <= TOLERANCE:
                raise WeightsError(
                    f"The graph of {description.name} that takes {takes} gives scores that differ by "
                    f"{difference:.2g} from the tagger's: it is not kept. Please report it, with the network."
                )
            largest = max(largest, difference)
        staged[vectors] = Path(folder) / vectors.name
        np.savez_compressed(staged[vectors], **expected)  # type: ignore[arg-type]
        for target, made in staged.items():
            write_whole(target, made.read_bytes(), WeightsError)
    return Exported(path, wave, vectors, largest)
