"""A record of an evaluation to change, to write and to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lightmel.evaluation import Evaluation


@pytest.fixture(scope="session")
def record() -> Callable[..., Evaluation]:
    """Make a record, with some of its fields changed."""

    def make(**changes: Any) -> Evaluation:
        plain: dict[str, Any] = {
            "dataset": "songs",
            "protocol": "clean",
            "split": "test",
            "model": "mine",
            "version": "2",
            "config": "16k-mel48-x2-db",
            "weights": "0123456789abcdef" * 4,
            "clips": 100,
            "positives": {"a|b": 20, "dvořák": 30, "never": 0},
            "roc_auc": {"a|b": 0.75, "dvořák": 0.85},
            "pr_auc": {"a|b": 0.4, "dvořák": 0.6},
            "left_out": {"never": "no clip has it"},
            "failed": {"x.mp3": "it is not sound"},
            "roc_auc_interval": (0.7, 0.9),
            "pr_auc_interval": (0.4, 0.6),
        }
        return Evaluation(**{**plain, **changes})

    return make
