"""The state of a run on disk: whole or not there, and everything that it takes to go on."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError
from ..files import write_whole

STATE, HISTORY = "checkpoint.pt", "history.jsonl"
_FORMAT = 1


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
        If it cannot be read.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != _FORMAT:
            raise TrainingError(f"{path} is of another version of lightmel; train in another folder.")
    except (OSError, RuntimeError, KeyError, ValueError, EOFError) as error:
        raise TrainingError(
            f"{path} cannot be read ({error}); without it the run must start anew."
        ) from error
    return state
