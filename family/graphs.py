"""Write the ONNX graph of each tagger in the package, without weights: those are in the tagger's own file.

    python family/graphs.py

A graph is ``NAME.onnx`` beside ``NAME.safetensors``. It is read back with the weights and compared with the
tagger before it is kept.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from lightmel import checkpoint
from lightmel.inference import OnnxRuntime
from train import PACKAGE

CLOSE = 1e-5
"""How far a segment's score may lie from torch's."""


def write(path: Path) -> float:
    """Write the graph of the tagger at `path`; return the largest difference of a score."""
    network, description = checkpoint.read(path)
    expected = checkpoint.golden(network, description)
    graph = path.with_suffix(checkpoint.GRAPH_SUFFIX)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / graph.name
        checkpoint.export(made, network, description, weights=False)
        runtime = OnnxRuntime(checkpoint.read_graph(made, checkpoint.read_tensors(path)))
        scores = runtime.run(expected["wave_int16"] / np.float32(32_768)).scores
        difference = float(np.abs(scores - expected["scores"]).max())
        if not difference <= CLOSE:
            raise SystemExit(f"{path.stem}: scores differ by {difference:.2g}: the graph is not kept.")
        graph.write_bytes(made.read_bytes())
    return difference


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, default=PACKAGE)
    for path in sorted(parser.parse_args().weights.glob("*.safetensors")):
        difference = write(path)
        size = path.with_suffix(checkpoint.GRAPH_SUFFIX).stat().st_size
        print(f"{path.stem}: {size / 1024:.0f} kB, scores differ by at most {difference:.1g}")


if __name__ == "__main__":
    main()
