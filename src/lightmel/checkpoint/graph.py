"""A tagger as an ONNX graph: what stands in it beside the operators, and how it is read, without torch.

There are two graphs of a tagger. *features -> logits, embedding* runs behind the front end; *wave -> scores,
embedding* has it inside, for browsers and other languages. The metadata of either holds the document that a
``.safetensors`` file has in its header. A graph may lack its weights: they are then taken from that file.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError
from .description import Description, parse

if TYPE_CHECKING:
    import onnxruntime

Input = Literal["features", "wave"]
FEATURES: Input = "features"
WAVE: Input = "wave"
GRAPH_SUFFIX = ".onnx"
INPUT_KEY, WEIGHTS_KEY = "lightmel_input", "weights_sha256"
"""Entries of the metadata: what the graph takes, and the digest of its weights (`weights_sha256`)."""
ELSEWHERE = "safetensors"
"""Where the tensors of a graph without weights are said to be."""
SILENT = 3
"""Severity from which on onnxruntime speaks: errors, which are raised as well."""
_UNWATCHED = "ORT_DISABLE_TELEMETRY"
"""Unless this is set when it is first imported, onnxruntime reports to its makers, from version 1.32 on (its
Privacy.md), on a thread of its own, which a forked child waits for at its end, in vain."""


class Graph(NamedTuple):
    """A graph that is ready to run, on one thread.

    Attributes
    ----------
    session
        Which gives two outputs.
    description, network
        As of a tagger's file.
    takes
        What it takes.
    weights
        SHA-256 of its weights.
    data, tensors
        What the session was made of: `session` makes another one.
    """

    session: onnxruntime.InferenceSession
    description: Description
    network: dict[str, Any]
    takes: Input
    weights: str
    data: bytes
    tensors: Mapping[str, NDArray[Any]] | None


def read_graph(path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]] | None = None) -> Graph:
    """Read a graph, and put weights in where it has none.

    Parameters
    ----------
    path
        Of the ``.onnx`` file.
    tensors
        Weights by their names in the network, for a graph without.

    Raises
    ------
    WeightsError
        If it is no graph of a tagger, is damaged, or lacks weights that are not given.
    """
    _import_unwatched()
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        made = session(data, tensors)
        found = dict(made.get_modelmeta().custom_metadata_map)
    except _refusals() as error:
        if ELSEWHERE.encode() in data and tensors is None:
            raise WeightsError(
                f"{path} is a graph without weights, which belongs to a .safetensors file: load that."
            ) from error
        raise WeightsError(f"{path} is no graph that can be run: {_first_line(error)}") from error
    description, network = parse(found, path)
    takes = found.get(INPUT_KEY, "")
    if takes not in (FEATURES, WAVE):
        raise WeightsError(f"{path} does not say what it takes: its metadata lacks {INPUT_KEY!r}.")
    weights = found.get(WEIGHTS_KEY, "")
    if tensors is not None and digest(tensors.items()) != weights:
        raise WeightsError(f"{path} is the graph of other weights than those that it was given.")
    return Graph(made, description, network, takes, weights, data, tensors)


def session(data: bytes, tensors: Mapping[str, NDArray[Any]] | None) -> onnxruntime.InferenceSession:
    """Return what runs a graph, on one thread; errors are those of onnxruntime.

    Parameters
    ----------
    data
        The bytes of the graph.
    tensors
        As in `read_graph`.
    """
    _import_unwatched()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    if tensors is not None:
        wanted = [name for name in tensors if _has_tensor(data, name)]
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(tensors[name]) for name in wanted]
        options.add_external_initializers(wanted, values)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _import_unwatched() -> None:
    """Import onnxruntime so that it reports nothing to anybody; what a user has said on that holds."""
    if "onnxruntime" in sys.modules or _UNWATCHED in os.environ:
        return
    os.environ[_UNWATCHED] = "1"
    try:
        import onnxruntime  # noqa: F401
    finally:
        del os.environ[_UNWATCHED]


def read_tensors(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the tensors of a tagger's ``.safetensors`` file as they are computed with: float32.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no readable safetensors file: {error}.") from error
    return {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in found.items()}


def digest(tensors: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """Return the SHA-256 over tensors: names, types (as torch calls them), shapes, bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors):
        found.update(f"{name} torch.{tensor.dtype} {tensor.shape}\n".encode())
        found.update(np.ascontiguousarray(tensor).tobytes())
    return found.hexdigest()


def _has_tensor(data: bytes, name: str) -> bool:
    """Return whether a graph has a tensor of that name: onnxruntime refuses one that it has no place for.

    In the bytes of a TensorProto its name is field 8, a text: 0x42, the length, the text.
    """
    text = name.encode()
    return len(text) < 128 and b"\x42" + bytes([len(text)]) + text in data


def _refusals() -> tuple[type[Exception], ...]:
    """Return the errors of onnxruntime, which have no common parent; one is for names that are no text."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NotImplemented")
    return (
        RuntimeError,
        UnicodeDecodeError,
        *(getattr(state, name) for name in (*names, "NoSuchFile", "RuntimeException")),
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
