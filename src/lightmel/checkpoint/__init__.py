"""One tagger as one file: description and tensors, read strictly, and nothing in it is ever run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily
from .description import (
    FORMAT,
    PUBLISHED_SUFFIXES,
    Description,
    check_path,
    read_description,
    read_network,
    to_document,
)
from .graph import FEATURES, GRAPH_SUFFIX, WAVE, Graph, Input, read_graph, read_tensors, session

if TYPE_CHECKING:
    from .graph_export import can_export, export, fill, golden
    from .safetensors import read, save, weights_sha256

__all__ = [
    "FEATURES",
    "FORMAT",
    "GRAPH_SUFFIX",
    "PUBLISHED_SUFFIXES",
    "WAVE",
    "Description",
    "Graph",
    "Input",
    "can_export",
    "check_path",
    "export",
    "fill",
    "golden",
    "read",
    "read_description",
    "read_graph",
    "read_network",
    "read_tensors",
    "save",
    "session",
    "to_document",
    "weights_sha256",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("can_export", "export", "fill", "golden"), "graph_export"),
        **dict.fromkeys(("read", "save", "weights_sha256"), "safetensors"),
    },
)
