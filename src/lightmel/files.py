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
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            temporary.chmod(0o644)  # a temporary file is private; what is written is for all
            temporary.replace(target)  # closed by now: Windows renames no open file
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as cause:
        raise error(f"{target} cannot be written: {cause.strerror or cause}.") from cause
