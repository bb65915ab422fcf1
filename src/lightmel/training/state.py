"""The state of a run on disk: whole or not there, and everything that it takes to go on."""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .._files import write_whole
from ..errors import TrainingError
from .augment import PLAYBACK_IDENTITY

STATE, HISTORY = "checkpoint.pt", "history.jsonl"
_FORMAT = 3
_KEYS = {
    "averaged",
    "best",
    "config",
    "data",
    "history",
    "identity",
    "network",
    "optimizer",
    "position",
    "schedule",
}
_FOREIGN = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What torch raises at bytes that are no checkpoint of its own."""


def write_state(folder: Path, state: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """Write the state of a run, and its history as JSON lines, which need no torch to be read.

    Raises
    ------
    TrainingError
        If that fails, for a full disk for example; what was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "history": list(history), **state}, buffer)
    write_whole(folder / STATE, buffer.getvalue(), TrainingError)
    write_whole(
        folder / HISTORY, "".join(json.dumps(line) + "\n" for line in history).encode(), TrainingError
    )


def read_state(folder: Path) -> dict[str, Any] | None:
    """Return the state of a run, or nothing where there is none.

    Raises
    ------
    TrainingError
        If it cannot be read, is none, or is of another version of lightmel.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror or error}.") from error
    except _FOREIGN as error:  # some with advice that is not for users
        raise _damaged(path, "cannot be read") from error
    if not isinstance(state, dict) or "format" not in state:
        raise _damaged(path, "holds no state of a run")
    if state["format"] == 2:
        state = _upgraded(state)
    if state["format"] != _FORMAT:
        raise TrainingError(f"{path} is of another version of lightmel; train in another folder.")
    if lost := sorted(_KEYS - set(state)):
        raise _damaged(path, f"lacks {', '.join(lost)}")
    found: dict[str, Any] = state
    return found


_RENAMED = {"average": "ema_decay", "batch": "batch_size", "optimiser": "optimizer", "part": "trainable"}
"""Settings that format 2 called otherwise."""
_RENAMED_IDENTITY = {
    "mels": "features",
    "damage": "augmentation",
    "seconds": "segment_seconds",
    "step": "step_seconds",
    "excerpt": "excerpt_seconds",
    "split": "split_seed",
}
"""What it called otherwise of the examples: those of a store, and those of a distillation."""
_PLAYBACK = (
    "Gain{'low': -12, 'high': 6}, Equaliser{'decibel': 3, 'slope': 1.5, 'bells': 2}, "
    "LowPass{'low': 3000, 'high': 8000, 'probability': 0.25}"
)
"""What format 2 called the one chain of augmentations that there was."""


def _upgraded(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state of format 2 as one of format 3: other words for the same things."""
    fields = _renamed(state, {"optimiser": "optimizer"}) | {"format": _FORMAT}
    if isinstance(config := fields.get("config"), Mapping):
        fields["config"] = _renamed(config, _RENAMED)
    if isinstance(identity := fields.get("identity"), Mapping):
        fields["identity"] = identity = _renamed_identity(identity)
        if isinstance(clips := identity.get("the validation clips"), Mapping):
            identity["the validation clips"] = _renamed_identity(clips)
    return fields


def _renamed_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    fields = _renamed(identity, _RENAMED_IDENTITY)
    if fields.get("augmentation") == _PLAYBACK:
        fields["augmentation"] = PLAYBACK_IDENTITY
    return fields


def _renamed(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in fields.items()}


def _damaged(path: Path, what: str) -> TrainingError:
    return TrainingError(
        f"{path} {what}: it is damaged, or something else. Without it the run must start anew: move the file "
        "away, or train in another folder."
    )
