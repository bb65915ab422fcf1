"""Networks: mel in, logits out. They know nothing of sound or files."""

from __future__ import annotations

from .base import TaggingNetwork
from .musicnn import build_musicnn
from .pooling import PoolingPlan, plan
from .registry import build, names
from .vgg import build_vgg

__all__ = ["PoolingPlan", "TaggingNetwork", "build", "build_musicnn", "build_vgg", "names", "plan"]
