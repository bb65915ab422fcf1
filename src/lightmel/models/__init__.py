"""Networks: a front end's output in, logits out; their registry, names, pools and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from .base import TaggingNetwork, initialize
    from .cost import (
        Checked,
        Claim,
        Cost,
        Row,
        check_claims,
        counted_cost,
        layer_costs,
        network_cost,
        paper_cost,
        paper_costs,
    )
    from .fcn import build_fcn
    from .mobilenet import build_mobilenet
    from .musicnn import build_musicnn
    from .named import build_named, parse_name
    from .pooling import PoolingPlan, plan
    from .registry import SEGMENT_SECONDS, arguments, build, names, register, segment_seconds
    from .samplecnn import build_samplecnn
    from .vgg import build_vgg

__all__ = [
    "SEGMENT_SECONDS",
    "Checked",
    "Claim",
    "Cost",
    "PoolingPlan",
    "Row",
    "TaggingNetwork",
    "arguments",
    "build",
    "build_fcn",
    "build_mobilenet",
    "build_musicnn",
    "build_named",
    "build_samplecnn",
    "build_vgg",
    "check_claims",
    "counted_cost",
    "initialize",
    "layer_costs",
    "names",
    "network_cost",
    "paper_cost",
    "paper_costs",
    "parse_name",
    "plan",
    "register",
    "segment_seconds",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("TaggingNetwork", "initialize"), "base"),
        **dict.fromkeys(("Checked", "Claim", "Cost", "Row", "check_claims"), "cost"),
        **dict.fromkeys(("counted_cost", "layer_costs", "network_cost", "paper_cost", "paper_costs"), "cost"),
        "build_fcn": "fcn",
        "build_mobilenet": "mobilenet",
        "build_musicnn": "musicnn",
        **dict.fromkeys(("build_named", "parse_name"), "named"),
        **dict.fromkeys(("PoolingPlan", "plan"), "pooling"),
        **dict.fromkeys(("SEGMENT_SECONDS", "arguments", "build", "names", "register"), "registry"),
        "segment_seconds": "registry",
        "build_samplecnn": "samplecnn",
        "build_vgg": "vgg",
    },
)
