"""From a file to what runs it: which runtime, on which device."""

from __future__ import annotations

from pathlib import Path

from .. import checkpoint, hub
from ..checkpoint import Description
from ..errors import ConfigError, MissingExtraError
from .runtimes import OnnxRuntime, Runtime, wants_onnx


def choose(found: object, device: str, precision: str, runtime: str) -> tuple[str, bool]:
    """Return where what `lightmel.hub.locate` found is to run, and whether ONNX Runtime is to run it.

    Raises
    ------
    ConfigError, MissingExtraError
        As `load`.
    """
    graph = hub.graph_of(found) if isinstance(found, Path) else None
    if graph is not None and graph == found and runtime == "auto":
        runtime = "onnx"  # it has no other
    if graph is not None and graph == found and runtime == "torch":
        raise ConfigError(
            f"{graph} is an ONNX graph, which torch does not run: load the tagger's .safetensors file, or "
            "leave runtime out."
        )
    onnx = wants_onnx(runtime, device, precision, graph=graph is not None)
    return ("cpu" if onnx else _torch_device(device, precision)), onnx


def opened(path: Path, device: str, precision: str, *, onnx: bool) -> tuple[Runtime, Description]:
    """Return the tagger in a file, ready to run by ONNX Runtime or by PyTorch, and its description."""
    graph = hub.graph_of(path) if onnx else None
    if graph is None:
        try:
            from .runtimes import TorchRuntime

            network, description = hub.read_tagger(path)
        except ModuleNotFoundError as error:
            raise without_torch(error) from None
        description.check(network.input_shape, network.n_tags)
        return TorchRuntime(network, description.config, device, precision), description
    if graph == path:
        found = checkpoint.read_graph(path)
        return OnnxRuntime(found), found.description
    found = checkpoint.read_graph(graph, checkpoint.read_tensors(path))
    return OnnxRuntime(found, source=path), checkpoint.read_description(path)


def without_torch(error: ModuleNotFoundError) -> ModuleNotFoundError | MissingExtraError:
    """Return the error to raise where a module is missing: for torch, with what to do."""
    if error.name != "torch":
        return error
    return MissingExtraError(
        "This takes PyTorch, which is not installed: pip install torch. Without it there are the taggers in "
        "the package, and graphs that `lightmel export` has written elsewhere, on a processor."
    )


def _torch_device(device: str, precision: str) -> str:
    try:
        from .runtimes import check_precision, resolve_device

        where = resolve_device(device)
        check_precision(precision, where)
    except ModuleNotFoundError as error:
        raise without_torch(error) from None
    return where
