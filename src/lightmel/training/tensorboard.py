"""TensorBoard: the lines of the history as scalars."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import MissingExtraError
from .run import Line


def to_tensorboard(folder: Path) -> Callable[[Line], None]:
    """Return an `on_epoch` that writes event files into `folder`.

    Raises
    ------
    MissingExtraError
        If tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("TensorBoard is not installed: pip install tensorboard") from error
    writer = SummaryWriter(str(folder))

    def write(line: Line) -> None:
        for key, value in line.items():
            if key != "epoch":
                writer.add_scalar(key, value, int(line["epoch"]))
        writer.flush()

    return write
