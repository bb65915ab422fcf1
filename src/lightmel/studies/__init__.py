"""Studies: grids of trainings, cost against accuracy, and which input fits a budget; the paper's numbers."""

from __future__ import annotations

from .._lazy import lazily

__all__: list[str] = []

__getattr__, __dir__ = lazily(__name__, {})
