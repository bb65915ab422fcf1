"""Reading and writing a tagger's tensors.

A file is read only into exactly the network that it describes, tensor by tensor, and nothing in it is ever
executed. The description is one JSON document in the file's header, its keys sorted, so that the same tagger
always gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from .._files import write_whole
from .._steady import steady
from ..errors import ConfigError, LightmelError, WeightsError
from ..models import TaggingNetwork, build
from .description import KEY, Description, check_path, parse, read_header, to_document
from .graph import digest

Stored: TypeAlias = Literal["float32", "float16"]
"""How the numbers of a network may be stored; it computes in float32 either way."""
_SMALL = 4096
"""As many numbers of one parameter stay float32 in any file."""


@steady
def save(
    path: str | os.PathLike[str],
    network: TaggingNetwork,
    description: Description,
    dtype: Stored = "float32",
) -> None:
    """Write a tagger to `path`, whole or not at all (a temporary file beside it is renamed).

    With ``"float16"`` its large parameters take half the room, rounded to eleven binary digits. Those of up
    to 4096 numbers stay float32, as do means and variances of normalisations: together they are a few percent
    of a network, and it is they that move scores by more than a thousandth (the first layers above all).

    Raises
    ------
    WeightsError
        If network and description do not fit, a parameter is too large for float16, or the file cannot be
        written.
    ConfigError
        If there is no such `dtype`.
    """
    if dtype not in get_args(Stored):
        raise ConfigError(f"Weights are stored as {' or '.join(get_args(Stored))}, not as {dtype!r}.")
    description.check(network.input_shape, network.n_tags)
    check_path(path)
    try:
        text = to_document(description, network.spec())
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{Path(path)} cannot be written: the description, provenance included, must be plain data that "
            f"JSON has ({error})."
        ) from error
    tensors = stored_tensors(network)
    if dtype == "float16":
        large = [name for name, own in network.named_parameters() if own.numel() > _SMALL]
        tensors |= {name: tensors[name].half() for name in large}
        if beyond := [name for name in large if not bool(tensors[name].isfinite().all())]:
            raise WeightsError(
                f"{beyond[0]} holds a number too large for float16: write {Path(path)} as float32."
            )
    write_whole(path, to_bytes(tensors, metadata={KEY: text}), WeightsError)


@steady
def read(path: str | os.PathLike[str]) -> tuple[TaggingNetwork, Description]:
    """Read a tagger: its network, in evaluation mode on the CPU, and its description.

    Raises
    ------
    WeightsError
        If it is no such file, is damaged, or does not hold exactly the tensors of its network; the
        message names what differs.
    """
    path = Path(path)
    description, spec = parse(read_header(path), path)
    try:
        with safe_open(path, framework="pt") as file:
            # Copies: what is mapped would change, or be gone, with the file.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a mapping
            tensors |= {key: v.float() for key, v in tensors.items() if v.dtype == torch.float16}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no readable safetensors file: {error}.") from error
    try:
        with torch.device("meta"):  # nothing is drawn: the global random state stays as it is
            network = build(spec)
        description.check(network.input_shape, network.n_tags)
    except LightmelError as error:
        raise WeightsError(f"{path}: {error}") from error
    _load(network, tensors, path)
    return network.eval(), description


@steady
def weights_sha256(network: TaggingNetwork) -> str:
    """Return the SHA-256 over every stored tensor of a network: names, types, shapes, bytes.

    It depends on the weights alone: a tagger keeps it under another name, with other thresholds, or in
    another file.
    """
    return digest((name, tensor.numpy()) for name, tensor in stored_tensors(network).items())


def stored_tensors(network: TaggingNetwork) -> dict[str, torch.Tensor]:
    """Return the tensors of a network that its file has, on the processor."""
    return {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items() if _is_stored(k)}


def _is_stored(key: str) -> bool:
    return not key.endswith("num_batches_tracked")  # a counter that evaluation never reads


def _load(network: TaggingNetwork, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    own = {k: v for k, v in network.state_dict().items() if _is_stored(k)}
    complaints = [
        *(f"{k} is missing" for k in own if k not in tensors),
        *(f"{k} has no place" for k in tensors if k not in own),
        *(
            f"{k} is {tuple(tensors[k].shape)} where {tuple(own[k].shape)} is wanted"
            for k in own
            if k in tensors and tensors[k].shape != own[k].shape
        ),
        *(
            f"{k} is {tensors[k].dtype} where {own[k].dtype} is wanted"
            for k in own
            if k in tensors and tensors[k].dtype != own[k].dtype
        ),
        *(f"{k} is not finite" for k, v in tensors.items() if not bool(torch.isfinite(v).all())),
    ]
    if complaints:
        more = f" (and {len(complaints) - 4} more)" if len(complaints) > 4 else ""
        raise WeightsError(
            f"{path} does not fit the {network.architecture} that it names: "
            f"{'; '.join(complaints[:4])}{more}."
        )
    counters = {k: torch.zeros_like(v, device="cpu") for k, v in network.state_dict().items() if k not in own}
    network.load_state_dict({**tensors, **counters}, strict=True, assign=True)
