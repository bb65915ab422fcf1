"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import LightmelError


def write_whole(path: str | os.PathLike[str], data: bytes, error: type[LightmelError]) -> None:
    """Write `data` to `path`, whole or not at all: a temporary file beside it is renamed.

    Missing folders are made.

    Raises
    ------
    LightmelError
        Of the kind `error`, if that fails; what was at `path` before is then still there.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                temporary.chmod(0o644)  # a temporary file is private; what is written is for all
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as cause:
        raise error(f"{target} cannot be written: {cause.strerror or cause}.") from cause
