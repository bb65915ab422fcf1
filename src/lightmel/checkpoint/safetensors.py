"""One safetensors file is one tagger: configuration, network, tags, thresholds, provenance, tensors.

Strict both ways: a file is read only into exactly the network that it describes, tensor by tensor, and
nothing in it is ever executed. The description is one JSON document in the file's header, so that the
same tagger always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from .._files import check_target, write_whole
from ..errors import LightmelError, WeightsError
from ..frontends.mel import MelConfig
from ..models.base import TaggingNetwork
from ..models.registry import build

FORMAT = "lightmel-tagger-1"
_KEY = "lightmel"


@dataclass(frozen=True)
class Description:
    """Everything about a tagger but its tensors.

    Parameters
    ----------
    name, version
        What scores are signed with.
    licence
        Of the weights; the code's is another.
    config
        The front end that the network was trained behind.
    tags
        One for each output, in order.
    segment_samples
        Samples at ``config.sr`` that one pass of the network hears.
    thresholds
        Scores above which a tag holds, one a tag; empty where none were fitted.
    provenance
        Plain data: what it was trained on, how, and what was measured.

    Raises
    ------
    WeightsError
        If tags repeat, or thresholds and tags differ in number.
    """

    name: str
    version: str
    licence: str
    config: MelConfig
    tags: tuple[str, ...]
    segment_samples: int
    thresholds: tuple[float, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.tags)) != len(self.tags):
            twice = sorted({t for t in self.tags if self.tags.count(t) > 1})
            raise WeightsError(f"Each tag may stand once; {', '.join(twice)} stands more often.")
        if self.thresholds and len(self.thresholds) != len(self.tags):
            raise WeightsError(f"{len(self.thresholds)} thresholds do not fit {len(self.tags)} tags.")

    def check(self, network: TaggingNetwork) -> None:
        """Raise `WeightsError` unless `network` hears and says what this describes."""
        shape = (self.config.n_mels, self.config.n_frames(self.segment_samples))
        if network.input_shape != shape:
            raise WeightsError(
                f"The network wants mels of {network.input_shape}, but {self.config.slug} makes {shape} of "
                f"{self.segment_samples} samples."
            )
        if network.n_tags != len(self.tags):
            raise WeightsError(f"The network has {network.n_tags} outputs for {len(self.tags)} tags.")


def check_path(path: str | os.PathLike[str]) -> None:
    """Make sure, before the work and not after it, that a tagger and its figures can be written.

    Figures go beside it, as ``.json``, and a card or a table as ``.md``.

    Raises
    ------
    WeightsError
        If nothing can be written there; if `path` would be overwritten by what lies beside it, or be taken
        for something else.
    """
    if Path(path).suffix == ".pth":
        raise WeightsError(
            f"{path}: what ends in .pth is read as a published checkpoint. Name it .safetensors, or anything."
        )
    check_target(path, (".json", ".md"), WeightsError)


def save(path: str | os.PathLike[str], network: TaggingNetwork, description: Description) -> None:
    """Write a tagger to `path`, whole or not at all (a temporary file beside it is renamed).

    Raises
    ------
    WeightsError
        If network and description do not fit, or the file cannot be written.
    """
    description.check(network)
    check_path(path)
    document = {
        "format": FORMAT,
        "name": description.name,
        "version": description.version,
        "licence": description.licence,
        "config": description.config.to_dict(),
        "network": network.spec(),
        "tags": list(description.tags),
        "segment_samples": description.segment_samples,
        "thresholds": [float(t) for t in description.thresholds],
        "provenance": dict(description.provenance),
    }
    target = Path(path)
    try:
        text = json.dumps(document, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{target} cannot be written: the description, provenance included, must be plain data that JSON "
            f"has ({error})."
        ) from error
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items() if _is_stored(k)}
    data = to_bytes(tensors, metadata={_KEY: text})
    write_whole(target, data, WeightsError)


def read(path: str | os.PathLike[str]) -> tuple[TaggingNetwork, Description]:
    """Read a tagger: its network, in evaluation mode on the CPU, and its description.

    Raises
    ------
    WeightsError
        If it is no such file, is damaged, or does not hold exactly the tensors of its network; the
        message names what differs.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: what is mapped would change, or be gone, with the file.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise WeightsError(f"There is no file {path}.") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no readable safetensors file: {error}.") from error
    if _KEY not in metadata:
        raise WeightsError(f"{path} holds tensors but no tagger: its header lacks the entry {_KEY!r}.")
    try:
        document = json.loads(metadata[_KEY])
        if document["format"] != FORMAT:
            raise WeightsError(
                f"{path} has the format {document['format']!r}, this version reads {FORMAT!r}. "
                "A newer lightmel may read it."
            )
        description = Description(
            name=document["name"],
            version=document["version"],
            licence=document["licence"],
            config=MelConfig(**document["config"]),
            tags=tuple(document["tags"]),
            segment_samples=document["segment_samples"],
            thresholds=tuple(document["thresholds"]),
            provenance=document["provenance"],
        )
        with torch.device("meta"):  # nothing is drawn: the global random state stays as it is
            network = build(document["network"])
        description.check(network)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: the description of the tagger is damaged ({error}).") from error
    except LightmelError as error:
        raise WeightsError(f"{path}: {error}") from error
    _load(network, tensors, path)
    return network.eval(), description


def weights_sha256(network: TaggingNetwork) -> str:
    """Return the SHA-256 over every stored tensor of a network: names, types, shapes, bytes.

    It is that of the weights alone: a tagger keeps it under another name, with other thresholds, or
    in another file.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if _is_stored(name):
            flat = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {flat.dtype} {tuple(flat.shape)}\n".encode())
            digest.update(flat.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
