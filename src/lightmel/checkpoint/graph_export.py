"""Writing a tagger as an ONNX graph; this needs torch and the extra ``export``."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._files import write_whole
from .._steady import steady
from ..errors import ConfigError, MissingExtraError, WeightsError
from ..frontends import build_frontend
from ..models import TaggingNetwork
from .description import KEY, Description, to_document
from .graph import ELSEWHERE, FEATURES, INPUT_KEY, WAVE, WEIGHTS_KEY, Input
from .safetensors import stored_tensors, weights_sha256

if TYPE_CHECKING:
    import onnx

OPSET = 18
OUTPUTS: dict[Input, tuple[str, str]] = {
    FEATURES: ("logits", "embedding"),
    WAVE: ("scores", "embedding"),
}
_SEED = 0
_SMALL = 1_024
"""As many numbers that no tensor of the network holds may stand in a graph without weights."""


class _Body(nn.Module):
    """What a graph computes: from features, or from waves."""

    def __init__(self, network: TaggingNetwork, frontend: nn.Module | None) -> None:
        super().__init__()
        self.network, self.frontend = network, frontend

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        features = given if self.frontend is None else self.frontend(given)
        embedding = self.network.embed(features)
        logits = self.network.head(embedding)
        return (logits if self.frontend is None else logits.sigmoid()), embedding


@steady
def export(
    path: str | os.PathLike[str],
    network: TaggingNetwork,
    description: Description,
    takes: Input = FEATURES,
    *,
    weights: bool = True,
) -> None:
    """Write a tagger as an ONNX graph of opset 18, whole or not at all.

    Parameters
    ----------
    path
        Of the file.
    network, description
        The tagger's.
    takes
        ``"features"`` ``(batch, rows, frames)``, which gives logits and embeddings; or ``"wave"``
        ``(batch, segment_samples)``, which gives scores and embeddings.
    weights
        Whether the graph holds its weights. Without, `read_graph` wants those of the tagger's file; only
        graphs that take features can go without.

    Raises
    ------
    MissingExtraError
        Without the extra ``export``.
    WeightsError
        If the network has an operator that ONNX has not, or the file cannot be written.
    ConfigError
        For waves, if the front end is not known as a matrix product, or without weights.
    """
    if takes == WAVE and not weights:
        raise ConfigError("A graph that takes waves holds its weights: it is for where nothing else is.")
    onnx = _onnx()
    model = _graph(network, description, takes)
    if not weights:
        _take_out(model, network)
    entries = {
        KEY: to_document(description, network.spec()),
        INPUT_KEY: takes,
        WEIGHTS_KEY: weights_sha256(network),
        "license": description.license,
    }
    onnx.helper.set_model_props(model, entries)
    model.producer_name, model.doc_string = "lightmel", f"{description.name} {description.version}"
    if weights:
        onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString(deterministic=True), WeightsError)


def can_export() -> bool:
    """Return whether the extra ``export`` is installed."""
    try:
        _onnx()
    except MissingExtraError:
        return False
    return True


def fill(graph: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a graph without weights with these in it, as the bytes of a file.

    Raises
    ------
    MissingExtraError
        Without the extra ``export``.
    """
    onnx = _onnx()
    model = onnx.load(graph, load_external_data=False)
    for initializer in model.graph.initializer:
        if initializer.data_location == onnx.TensorProto.EXTERNAL:
            initializer.CopyFrom(onnx.numpy_helper.from_array(tensors[initializer.name], initializer.name))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@steady
def golden(network: TaggingNetwork, description: Description) -> dict[str, NDArray[Any]]:
    """Return what a graph of a tagger must give, computed by torch: waves, features, outputs.

    The waves are whole numbers, to be divided by 32768: a chord that swells in faint noise, and noise, each
    for a segment.
    """
    samples = description.segment_samples
    rng = np.random.default_rng(_SEED)
    time = np.arange(samples) / description.config.sr
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220.0, 277.2, 329.6, 1_108.7)) / 4
    noise = rng.normal(size=(2, samples))
    waves = np.stack([0.5 * chord * np.linspace(0.1, 1, samples) + 1e-3 * noise[0], 0.1 * noise[1]])
    whole = np.round(np.clip(waves, -1, 1) * 32_767).astype(np.int16)
    with torch.inference_mode():
        features = build_frontend(description.config)(torch.from_numpy(whole / np.float32(32_768)))
        network = network.eval()
        embedding = network.embed(features)
        logits = network.head(embedding)
    return {
        "wave_int16": whole,
        "features": features.numpy(),
        "logits": logits.numpy(),
        "scores": logits.double().sigmoid().numpy(),
        "embedding": embedding.numpy(),
    }


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it, and says so in many words
    except ImportError:
        raise MissingExtraError('Writing ONNX takes more packages: pip install "lightmel[export]"') from None
    return onnx


def _graph(network: TaggingNetwork, description: Description, takes: Input) -> onnx.ModelProto:
    frontend: nn.Module | None = None
    shape: Sequence[int] = network.input_shape
    if takes == WAVE:
        from ..frontends import MatrixFrontend

        frontend = MatrixFrontend(description.config, description.segment_samples)
        shape = (description.segment_samples,)
    body = _Body(network.eval(), frontend)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                body,
                (torch.zeros(2, *shape, dtype=torch.float32),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[takes],
                output_names=list(OUTPUTS[takes]),
                dynamic_shapes={"given": {0: torch.export.Dim("batch", min=1)}},
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{description.name} cannot be written as ONNX: {reason}") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _bare(model)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks, and its warnings of other packages' ways, to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _bare(model: onnx.ModelProto) -> None:
    """Take out what tells where a graph was made: names of files, lines of source."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for group in (graph.node, graph.initializer, graph.input, graph.output):
        for item in group:
            del item.metadata_props[:]
            item.ClearField("doc_string")


def _take_out(model: onnx.ModelProto, network: TaggingNetwork) -> None:
    """Replace weights in a graph by the names of the network's tensors.

    The exporter has put the scale of normalisations into the filters before them. Such filters are computed
    in the graph, from the tensors that they are made of: a runtime does that once, when it reads the graph.
    """
    from onnx import TensorProto, helper, numpy_helper

    own = {name: tensor.numpy() for name, tensor in stored_tensors(network).items()}
    scales = _Scales(network, own)
    names: dict[str, str] = {}
    kept = []
    for initializer in model.graph.initializer:
        name = initializer.name.removeprefix("network.")
        value = numpy_helper.to_array(initializer)
        if name in own and np.array_equal(own[name], value):
            names[initializer.name] = name
        elif folded := scales.fold(name, value):
            names[initializer.name] = folded
        elif value.size <= _SMALL:
            kept.append(initializer)
        else:
            raise WeightsError(f"{initializer.name} of the graph is none of the network's tensors.")
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    operators = [*scales.nodes, *model.graph.node]
    used = {name for node in operators for name in node.input}
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(operators)
    model.graph.initializer.extend([*kept, *scales.constants])
    for name in sorted(used & own.keys()):
        tensor = TensorProto(
            name=name,
            dims=own[name].shape,
            data_type=helper.np_dtype_to_tensor_dtype(own[name].dtype),
            data_location=TensorProto.EXTERNAL,
        )
        for key, text in (("location", ELSEWHERE), ("offset", "0"), ("length", str(own[name].nbytes))):
            tensor.external_data.add(key=key, value=text)
        model.graph.initializer.append(tensor)


class _Scales:
    """Nodes that put normalisations into the filters and biases before them.

    Attributes
    ----------
    nodes, constants
        What a graph needs for all that was folded so far.
    """

    def __init__(self, network: TaggingNetwork, own: Mapping[str, NDArray[Any]]) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._own = own
        self._norms = {
            name: (module.eps, own[f"{name}.weight"] / np.sqrt(own[f"{name}.running_var"] + module.eps))
            for name, module in network.named_modules()
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine
        }
        self._made: dict[str, str] = {}

    def fold(self, name: str, value: NDArray[Any]) -> str | None:
        """Return the name of what is computed for an initializer; None where it is no such product."""
        filters = name.removesuffix("_bias").removesuffix(".bias").removesuffix(".weight") + ".weight"
        if filters not in self._own:
            return self._signed(value)
        own = self._own[filters]
        for norm, (_, scale) in self._norms.items():
            if len(scale) != len(own) or len(scale) != len(value):
                continue
            if name == filters and _close(own * scale.reshape(-1, *[1] * (own.ndim - 1)), value):
                return self._filters(filters, norm, own.ndim)
            bias = self._own.get(filters.removesuffix("weight") + "bias", np.float32(0))
            shift = self._own[f"{norm}.bias"] - self._own[f"{norm}.running_mean"] * scale
            if name != filters and _close(bias * scale + shift, value):
                return self._bias(filters, norm)
        return None

    def _signed(self, value: NDArray[Any]) -> str | None:
        """Return filters whose sign is that of a normalisation's scale, under whatever name they go."""
        for filters, own in self._own.items():
            if own.shape != value.shape or value.ndim < 2:
                continue
            for norm in self._norms:
                weight = self._own[f"{norm}.weight"]
                axes = [-1, *[1] * (own.ndim - 1)]
                if len(weight) == len(own) and np.array_equal(own * _sign(weight).reshape(axes), value):
                    zero, minus, plus = (
                        self._constant(f"number.{number:g}", np.array(number, np.float32))
                        for number in (0, -1, 1)
                    )
                    below = self._node("Less", f"{norm}.weight", zero)
                    shape = self._constant(f"axes.{own.ndim}", np.array(axes, np.int64))
                    sign = self._node("Reshape", self._node("Where", below, minus, plus), shape)
                    return self._node("Mul", filters, sign)
        return None

    def _filters(self, filters: str, norm: str, axes: int) -> str:
        shape = self._constant(f"axes.{axes}", np.array([-1, *[1] * (axes - 1)], np.int64))
        scale = self._node("Reshape", self._scale(norm), shape)
        return self._node("Mul", filters, scale)

    def _bias(self, filters: str, norm: str) -> str:
        bias = filters.removesuffix("weight") + "bias"
        mean = f"{norm}.running_mean"
        if bias in self._own:
            centred = self._node("Mul", self._node("Sub", bias, mean), self._scale(norm))
            return self._node("Add", centred, f"{norm}.bias")
        return self._node("Sub", f"{norm}.bias", self._node("Mul", mean, self._scale(norm)))

    def _scale(self, norm: str) -> str:
        if norm not in self._made:
            eps = self._norms[norm][0]
            added = self._constant(f"eps.{eps:g}", np.array(eps, np.float32))
            deviation = self._node("Sqrt", self._node("Add", f"{norm}.running_var", added))
            self._made[norm] = self._node("Div", f"{norm}.weight", deviation)
        return self._made[norm]

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        if name not in {constant.name for constant in self.constants}:
            self.constants.append(numpy_helper.from_array(value, name))
        return name

    def _node(self, operator: str, *inputs: str) -> str:
        from onnx import helper

        made = f"folded.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [made], name=made))
        return made


def _sign(weight: NDArray[Any]) -> NDArray[np.float32]:
    return np.where(weight < 0, np.float32(-1), np.float32(1))


def _close(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two arrays are the same up to rounding in float32."""
    if one.shape != other.shape:
        return False
    return bool(np.abs(one - other).max() <= 1e-5 * max(float(np.abs(other).max()), 1e-3))
