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

STATE, HISTORY = "checkpoint.pt", "history.jsonl"
_FORMAT = 2
_KEYS = {
    "averaged",
    "best",
    "config",
    "data",
    "history",
    "identity",
    "network",
    "optimiser",
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
    """Write the state of a run, and its history as JSON lines for people to read.

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
    if state["format"] != _FORMAT:
        raise TrainingError(f"{path} is of another version of lightmel; train in another folder.")
    if lost := sorted(_KEYS - set(state)):
        raise _damaged(path, f"lacks {', '.join(lost)}")
    return state


def _damaged(path: Path, what: str) -> TrainingError:
    return TrainingError(
        f"{path} {what}: it is damaged, or something else. Without it the run must start anew: move the file "
        "away, or train in another folder."
    )
