"""EfficientAT's mn04, MIT licence: 527 classes of AudioSet, of which those that matter for music are read.

F. Schmid, K. Koutini, G. Widmer, "Efficient Large-Scale Audio Tagging Via Transformer-To-CNN Knowledge
Distillation", ICASSP 2023. "Copyright (c) 2022 Florian Schmid", MIT licence, which allows every use. The
outputs that are kept are those of the vocabulary ``audioset-music``.
"""

from __future__ import annotations

import re
from pathlib import Path

from .. import vocabularies
from ..errors import WeightsError
from ..frontends import KaldiMelConfig
from .public import Family, PublicCheckpoint, State, read_tensors

SECONDS = 10
"""Sound in one pass: what it was trained on."""
N_CLASSES = 527
EPSILON = 1e-5
"""Of the normalisation of our input, which theirs lacks: it is given weights that change nothing."""

_OUTER = {"features.0": "first", "features.16": "last"}
_LEAF = {"0": "conv", "1": "bn"}
_GATE = {"fc1": "squeeze", "fc2": "excite"}
_DENSE = {"classifier.2": "dense", "classifier.5": "head"}


def _read(data: bytes, path: Path, record: PublicCheckpoint) -> State:
    import torch

    theirs = read_tensors(data, path)
    state: State = {}
    for key, tensor in theirs.items():
        if not key.endswith("num_batches_tracked"):
            state[_renamed(key, theirs, path)] = tensor
    kept = list(vocabularies.audioset_index().values())
    for name in ("head.weight", "head.bias"):
        if name in state and state[name].shape[:1] == (N_CLASSES,):  # else it does not fit, and is refused
            state[name] = state[name][kept].clone()
    bands = record.network["input_shape"][0]
    state |= {
        f"input_norm.{leaf}": torch.zeros(bands, dtype=torch.float32) for leaf in ("bias", "running_mean")
    }
    state["input_norm.running_var"] = torch.ones(bands, dtype=torch.float32)
    state["input_norm.weight"] = torch.full((bands,), (1 + EPSILON) ** 0.5, dtype=torch.float32)
    return state


def _renamed(key: str, theirs: State, path: Path) -> str:
    """Return our name of a tensor of theirs."""
    layer, _, leaf = key.rpartition(".")
    if layer in _DENSE:
        return f"{_DENSE[layer]}.{leaf}"
    outer, _, part = layer.rpartition(".")
    if outer in _OUTER and part in _LEAF:
        return f"{_OUTER[outer]}.{_LEAF[part]}.{leaf}"
    match = re.fullmatch(r"(features\.(\d+)\.block)\.(\d)\.(?:([01])|conc_se_layers\.0\.(fc[12]))", layer)
    if match is None:
        raise WeightsError(f"{path} holds {key!r}, which mobilenet has no place for.")
    block, number, place, norm, gate = match.groups()
    ours = f"blocks.{int(number) - 1}"
    if gate:
        return f"{ours}.squeeze_excitation.{_GATE[gate]}.{leaf}"
    parts = ["expand", "depthwise", "project"]
    if f"{block}.2.conc_se_layers.0.fc1.weight" in theirs:
        parts.insert(2, "squeeze_excitation")
    if f"{block}.2.0.weight" not in theirs and len(parts) == 3:
        parts.remove("expand")  # the first block has none
    return f"{ours}.{parts[int(place)]}.{_LEAF[norm]}.{leaf}"


FAMILY = Family(
    citation="Schmid et al. 2023",
    repository="fschmid56/EfficientAT",
    commit="v0.0.1",
    license="MIT",
    config=KaldiMelConfig(),
    read=_read,
    release=True,
    provenance={"copyright": "(c) 2022 Florian Schmid", "classes": "AudioSet (Google), CC BY 4.0"},
)

_MN04 = PublicCheckpoint(
    name="public:schmid2023-audioset-mobilenet",
    family=FAMILY,
    path="mn04_as_mAP_432.pt",
    bytes=4_066_513,
    sha256="899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
    vocabulary="audioset-music",
    network={
        "architecture": "mobilenet",
        "input_shape": list(FAMILY.config.input_shape(SECONDS)),
        "n_tags": len(vocabularies.audioset_index()),
    },
    segment_samples=SECONDS * FAMILY.config.sr,
)

CHECKPOINTS: dict[str, PublicCheckpoint] = {_MN04.name: _MN04}
