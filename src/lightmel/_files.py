"""Files that are written whole or not at all, or by one process at a time."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import LightmelError


def beside(path: str | os.PathLike[str], suffix: str) -> Path:
    """Return the file that goes beside `path`, called as it is but for the suffix.

    Only a suffix of ours is replaced: of ``tagger-0.1`` the ``.1`` is a part of the name.
    """
    target = Path(path)
    own = (".safetensors", ".json", ".md")
    return target.with_suffix(suffix) if target.suffix in own else target.with_name(target.name + suffix)


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return a path whose leading ``~`` is the home folder, if there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is none


def relative(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """Return a path as seen from a folder, with forward slashes: whole where it is on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return Path(os.path.abspath(path)).as_posix()  # noqa: PTH100 - follow no links


def is_folder(name: str | os.PathLike[str]) -> bool:
    """Return whether there is a folder of that name, which may be none that a file could have."""
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def is_file(name: str | os.PathLike[str]) -> bool:
    """Return whether there is a file of that name, as `is_folder`."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def check_target(path: str | os.PathLike[str], beside: Sequence[str], error: type[LightmelError]) -> None:
    """Make sure, before the work and not after it, that a file and those beside it can be written.

    Parameters
    ----------
    path
        Of the file; missing folders are made.
    beside
        Suffixes of the files beside it, which are called as it is but for them.
    error
        What is raised.

    Raises
    ------
    LightmelError
        Of the kind `error`: if `path` is a folder or no regular file, its folder cannot be written to, the
        name is too long, or a file beside it would be that file itself.
    """
    target = Path(path)
    if target.suffix in beside:
        raise error(
            f"{target} would be overwritten by the {target.suffix} that goes beside it: name it otherwise."
        )
    try:
        if target.is_dir():
            raise error(f"{target} is a folder: name the file in it.")
        if target.exists() and not target.is_file():
            raise error(f"{target} is no regular file: name one, or a file that is yet to be.")
        target.parent.mkdir(parents=True, exist_ok=True)
        longest = f".{target.name}{max(beside, key=len, default='')}."
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=longest):
            pass
    except (OSError, ValueError) as cause:
        raise error(f"{target} cannot be written: {getattr(cause, 'strerror', None) or cause}.") from cause


def check_folder(path: Path, error: type[LightmelError]) -> None:
    """Make sure that what is to be a folder is no file, and has a name that a folder may have.

    Raises
    ------
    LightmelError
        Of the kind `error`.
    """
    try:
        is_other = not stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        is_other = path.is_symlink()  # which leads nowhere
    except (OSError, ValueError) as cause:
        raise error(f"{path} cannot be looked at: {getattr(cause, 'strerror', None) or cause}.") from cause
    if is_other:
        raise error(f"{path} is a file, and a folder is wanted: name another.")


def write_whole(path: str | os.PathLike[str], data: bytes, error: type[LightmelError]) -> None:
    """Write `data` to `path`, whole or not at all: a temporary file beside it is renamed.

    Missing folders are made.

    Raises
    ------
    LightmelError
        Of the kind `error`, if that fails; what was at `path` before is then still there.
    """
    target = Path(os.path.realpath(path))  # a link stays one; what it leads to is written anew
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


_FAR = 1 << 40
"""A byte that no file has: Windows lets nobody else write to one that is locked."""


def claim(file: BinaryIO, error: type[LightmelError]) -> None:
    """Keep other processes from claiming an open file until it is closed, which a killed process does too.

    Raises
    ------
    LightmelError
        Of the kind `error`, if another process has claimed it.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as cause:
        raise error(
            f"{file.name} is being written by another process: wait until it is done, or use another folder."
        ) from cause


@contextmanager
def claimed(path: str | os.PathLike[str], error: type[LightmelError]) -> Iterator[None]:
    """Keep other processes from claiming what is written to `path`, which may itself be replaced meanwhile.

    A hidden file beside it is what is locked. It goes at the end; one that a kill left stops nobody.

    Raises
    ------
    LightmelError
        Of the kind `error`, if another process has claimed it, or the folder cannot be written to.
    """
    target = Path(path)
    lock = target.with_name(f".{target.name}.lock")
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("ab")
        except OSError as cause:
            raise error(f"{target} cannot be written: {cause.strerror or cause}.") from cause
        with file:
            try:
                claim(file, error)
            except error as cause:
                raise error(
                    f"{target} is being written by another process: wait for it, or name another file."
                ) from cause
            if not _is_at(file, lock):  # its owner has removed it between the two lines above
                continue
            with suppress(OSError):
                _new(target).unlink(missing_ok=True)  # what a killed one was writing
            try:
                yield
            finally:
                with suppress(OSError):  # Windows removes no open file
                    lock.unlink()
            return


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _new(target: Path) -> Path:
    return target.with_name(f".{target.name}.new")


@contextmanager
def replacing(path: str | os.PathLike[str], error: type[LightmelError]) -> Iterator[BinaryIO]:
    """Give a file to write to, which takes the place of `path` at the end, or not at all.

    It is for what is too large for `write_whole`, by one process at a time: the name is always the same, so
    that what a kill left is written over.

    Raises
    ------
    LightmelError
        Of the kind `error`, if that fails; what was at `path` before is then still there.
    """
    target = Path(os.path.realpath(path))
    new = _new(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with new.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            new.replace(target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as cause:
        raise error(f"{target} cannot be written: {cause.strerror or cause}.") from cause
