"""From a file to what runs it: which runtime, on which device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from .. import checkpoint, hub
from .._lazy import is_installed
from ..checkpoint import Description
from ..errors import NO_TORCH, ConfigError, MissingExtraError
from .runtimes import OnnxRuntime, Runtime, wants_onnx

Found: TypeAlias = Path | hub.PublicCheckpoint | hub.Repository


def choose(found: Found, device: str, precision: str, runtime: str) -> tuple[str, bool]:
    """Return where what `lightmel.hub.locate` found is to run, and whether ONNX Runtime is to run it.

    Of a repository or a release folder it runs the graph where that is asked for, or torch is not installed.

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
    there = graph is not None or (
        hub.offers_graph(found) and (runtime == "onnx" or not is_installed("torch"))
    )
    onnx = wants_onnx(runtime, device, precision, graph=there)
    return ("cpu" if onnx else _torch_device(device, precision)), onnx


def opened(
    found: Found, device: str, precision: str, runtime: str, **fetching: Any
) -> tuple[Runtime, Description]:
    """Return the tagger that `lightmel.hub.locate` found, ready to run, and its description.

    Parameters
    ----------
    found
        Which one; it is fetched if it is not on this machine.
    device, precision, runtime
        As in `load`.
    **fetching
        As `lightmel.hub.fetch` takes them.

    Raises
    ------
    LightmelError
        As `load`.
    """
    where, onnx = choose(found, device, precision, runtime)  # before anything is fetched
    wanted = True if onnx else (False if runtime == "torch" else None)
    path = hub.fetch(found, graph=wanted, **fetching)
    if path != found and hub.graph_of(path) == path:  # it may be all that the repository has
        where, onnx = choose(path, device, precision, runtime)
    return _opened(path, where, precision, onnx=onnx)


def _opened(path: Path, device: str, precision: str, *, onnx: bool) -> tuple[Runtime, Description]:
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
        f"{NO_TORCH} Without it there are the taggers in the package, and graphs that `lightmel export` has "
        "written elsewhere, on a processor."
    )


def _torch_device(device: str, precision: str) -> str:
    try:
        from .runtimes import check_precision, resolve_device

        where = resolve_device(device)
        check_precision(precision, where)
    except ModuleNotFoundError as error:
        raise without_torch(error) from None
    return where
