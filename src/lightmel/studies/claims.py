"""Claims: which process is at work on what, in a folder that several processes and machines may share.

A claim is a file that is created whole or not at all. Its owner touches it as long as it lives. One whose
owner is dead is taken over by creating the next one, so that two who notice it cannot both succeed: the
claims on one thing are numbered, and the last one counts.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import TrainingError

_TOUCH_SECONDS = 10.0
"""How often an owner says that it lives."""
_SILENT_SECONDS = 120.0
"""After so long, an owner on another machine is taken for dead; on this machine its process tells."""


@contextmanager
def claimed(folder: Path, name: str) -> Iterator[bool]:
    """Claim what is called `name` in a folder, and give whether that succeeded; at the end it is free again.

    Raises
    ------
    TrainingError
        If the folder cannot be written to.
    """
    mine = _create(folder, name)
    if mine is None:
        yield False
        return
    done = threading.Event()
    touching = threading.Thread(target=_touch, args=(mine, done), name="lightmel-claim", daemon=True)
    touching.start()
    try:
        yield True
    finally:
        done.set()
        touching.join()
        # Somebody who took this process for dead may have a later one, or this one's number by now.
        if _read(mine) == _self():
            for own in reversed(_claims(folder, name)):
                if _number(own) <= _number(mine):
                    with suppress(OSError):
                        own.unlink()


def owner(folder: Path, name: str) -> str | None:
    """Return who is at work on `name`, in words; None where nobody is."""
    claims = _claims(folder, name)
    who = _read(claims[-1]) if claims else None
    if not claims or not _lives(claims[-1], who):
        return None
    if who is None:
        return "another process"
    return f"process {who['pid']} on {who['host']}"


def _create(folder: Path, name: str) -> Path | None:
    """Return the new claim, or None where a living owner, or somebody quicker, has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        claims = _claims(folder, name)
        if claims and _lives(claims[-1], _read(claims[-1])):
            return None
        number = _number(claims[-1]) + 1 if claims else 0
        mine = folder / f"{name}.claim-{number}"
        # Written beside it and linked: whoever sees a claim sees who owns it.
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".claim-")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(_self(), file)
            try:
                os.link(temporary, mine)
            except FileExistsError:
                return None
            except OSError:  # a file system without links
                try:
                    with mine.open("x") as file:
                        json.dump(_self(), file)
                except FileExistsError:
                    return None
        finally:
            Path(temporary).unlink()
        if _claims(folder, name)[-1] != mine:  # two came and one went since this one looked
            mine.unlink()
            return None
    except OSError as error:
        raise TrainingError(
            f"Nothing can be claimed in {folder}: {error.strerror or error}. Make room or mend it, and run "
            "the same again to go on."
        ) from error
    return mine


def _claims(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{_escaped(name)}.claim-*"), key=_number)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _number(claim: Path) -> int:
    return int(claim.name.rpartition("-")[2])


def _self() -> dict[str, Any]:
    return {"host": platform.node(), "place": _place(), "pid": os.getpid(), "started": _started(os.getpid())}


def _place() -> str:
    """Return what two processes have in common that see each other's numbers."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{platform.node()} {boot} {namespace}"


def _started(pid: int) -> str:
    """Return when a process started: another one may have got its number. Empty where nobody says."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _read(claim: Path) -> dict[str, Any] | None:
    try:
        who = json.loads(claim.read_text())
        return who if isinstance(who, dict) and isinstance(who.get("pid"), int) else None
    except (OSError, ValueError):
        return None


def _lives(claim: Path, who: dict[str, Any] | None) -> bool:
    if who is not None and who["place"] == _place() and os.name != "nt":  # there, asking would end it
        return _runs(who["pid"]) and _started(who["pid"]) == who["started"]
    try:
        return _now(claim.parent) - claim.stat().st_mtime < _SILENT_SECONDS
    except FileNotFoundError:
        return False


def _now(folder: Path) -> float:
    """Return the time by the clock of whoever keeps the files, which may go otherwise than this machine's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".now-") as now:
            return os.fstat(now.fileno()).st_mtime
    except FileNotFoundError:
        raise
    except OSError:  # who may not write may look all the same
        return time.time()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = _stat_letter(pid)
    return stat != "Z"  # ended, and its parent has not asked


def _stat_letter(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _touch(claim: Path, done: threading.Event) -> None:
    while not done.wait(_TOUCH_SECONDS):
        with suppress(OSError):
            os.utime(claim)
