"""TensorBoard, with and without it: a stand-in writer shows what is written."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lightmel.errors import LightmelError, MissingExtraError
from lightmel.training.tensorboard import to_tensorboard


def test_without_tensorboard_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match="pip install tensorboard") as caught:
        to_tensorboard(tmp_path)
    assert isinstance(caught.value, LightmelError)


def test_a_line_of_the_history_is_a_scalar_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            written.append(folder)

        def add_scalar(self, key: str, value: float, epoch: int) -> None:
            written.append((key, value, epoch))

        def flush(self) -> None:
            written.append("flushed")

    module = ModuleType("torch.utils.tensorboard")
    vars(module)["SummaryWriter"] = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    write = to_tensorboard(tmp_path)
    write({"epoch": 4.0, "loss": 0.5, "lr": 1e-3})
    assert written == [str(tmp_path), ("loss", 0.5, 4), ("lr", 1e-3, 4), "flushed"]
