"""Genres and moods into the fields of files, and back."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

from .._each import printable
from .._files import claim
from ..errors import ConfigError, DataError
from . import mapping as mappings
from .config import WriteConfig
from .fields import GENRE, MODEL, MOOD, SCORES, Fields, Values, open_fields, require_mutagen
from .id3 import UnreadableError
from .journal import Entry, Journal, read_journal, sync_folder
from .ledger import note_anew
from .records import Records, Wanted, read_records

log = logging.getLogger("lightmel")

_COPY = ".lightmel-write"
"""How the copy ends that becomes the file."""


@dataclass(frozen=True)
class Field:
    """One field of one file.

    Attributes
    ----------
    name
        ``"genre"``, ``"mood"``, or the name of a field of ours; in `undo`, what the format calls it.
    place
        What the format of the file calls it.
    old, new
        Its texts before, and those that are wanted.
    kept
        Whether the old ones stay.
    """

    name: str
    place: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    kept: bool = False

    @property
    def changes(self) -> bool:
        """Whether it becomes another."""
        return not self.kept and self.old != self.new


@dataclass(frozen=True)
class Change:
    """What is done to one file, or would be.

    Attributes
    ----------
    path
        As the record has it; in `undo`, as the journal has it.
    kind
        What the file's fields are: ``"ID3v2.4"``, say.
    fields
        Those that were looked at.
    notes
        What is odd about the file; of one without `fields`, why there is nothing to do.
    error
        Why it was left as it is, where that was not meant; else empty.
    """

    path: str
    kind: str = ""
    fields: tuple[Field, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def changes(self) -> bool:
        """Whether any field of it becomes another."""
        return any(field.changes for field in self.fields)


OnChange: TypeAlias = Callable[[Change], None]
"""Told of each file when it is done."""


def write_tags(
    records: Records,
    config: WriteConfig | None = None,
    *,
    apply: bool = False,
    journal: str | os.PathLike[str] | None = None,
    mapping: mappings.Mapping | None = None,
    root: str | os.PathLike[str] = "",
    on_change: OnChange | None = None,
) -> list[Change]:
    """Write genres and moods into the fields of files that players read, or say what would be written.

    A file is changed in a copy beside it, which then takes its name: it is the old or the new one, whatever
    happens. Comments, covers, all other fields and the sound stay as they are. Links are followed. What
    cannot be written is an `error` of its `Change`, and the others go on.

    Parameters
    ----------
    records
        Lines of ``lightmel tag``: a file of them, or as dictionaries. Of several for one file the last one
        counts. An output of `tag_folder` is told what the files are like that are written, so that they are
        not tagged again. Those of files that could not be tagged, and of no music, have nothing to write.
    config
        What is written.
    apply
        Whether to write; without, nothing is changed.
    journal
        A file to which each change is added before it is made, for `undo`; needed to `apply`.
    mapping
        Names for our tags (`load_mapping`), and what others are about: those of which nobody says it are left
        out, and a warning names them.
    root
        A folder in which relative paths of the records are looked up; else the current one.
    on_change
        Told of each file when it is done.

    Raises
    ------
    MissingExtraError
        If mutagen is not installed.
    DataError
        If the records or the journal cannot be read, or the journal cannot be written; if their paths are
        relative, and none of the files is there.
    ConfigError
        If there is no journal to apply with, or a tagger has no thresholds and the settings none.
    """
    require_mutagen()
    config = config or WriteConfig()
    wanted = read_records(records, config, mapping)
    if unplaced := dict.fromkeys(tag for own in wanted.values() for tag in own.unplaced):
        log.warning(
            "Left out, for nobody says whether they are genres or moods: %s. A mapping does, in its tables "
            '[own.genre] and [own.mood]; with a name of "" there, one is left out in silence.',
            ", ".join(unplaced),
        )
    _check_root(wanted, Path(root))
    if not apply:
        return [_told(_planned(path, own, config, Path(root)), on_change) for path, own in wanted.items()]
    if journal is None:
        raise ConfigError("What is written is kept in a journal, so that it can be undone: name one.")
    changes: list[Change] = []
    output = str(Path(records).absolute()) if isinstance(records, (str, os.PathLike)) else ""
    with Journal(journal) as kept, _Noting() as noting:
        for path, own in wanted.items():
            record = (output, path) if output and own.noted else None
            with noting(record, Path(root) / path):
                change = _written(path, own, config, Path(root), kept, record)
            changes.append(_told(change, on_change))
    return changes


def _check_root(wanted: dict[str, Wanted], root: Path) -> None:
    """Refuse relative paths of which none leads to a file: another folder is meant than `root`."""
    wanted_paths = [path for path, own in wanted.items() if not own.why_not]
    paths = [path for path in wanted_paths if not Path(path).is_absolute()]
    if not paths or not all(_is_missing(root / path) for path in wanted_paths):
        return
    first = os.path.abspath(root / paths[0])  # noqa: PTH100 - follow no links
    files = "The only file is" if len(paths) == 1 else f"All {len(paths):,} files are"
    raise DataError(
        f"{files} missing: there is no {printable(first)}{' and so on' if len(paths) > 1 else ''}. Name the "
        "folder in which the paths of the records begin, with root=..."
    )


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # it has a reason of its own
        return False
    return False


class _Noting:
    """Notes in outputs what files are like that were changed, at the end, or where that is stopped."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, tuple[os.stat_result, os.stat_result]]] = {}

    @contextmanager
    def __call__(self, record: tuple[str, str] | None, path: Path) -> Iterator[None]:
        """Look at a file before and after it is changed, and where it is noted."""
        before = _status(path)
        yield
        after = _status(path)
        if (
            record
            and before
            and after
            and (after.st_ino, after.st_size, after.st_mtime_ns)
            != (
                before.st_ino,
                before.st_size,
                before.st_mtime_ns,
            )
        ):
            self._files.setdefault(record[0], {})[record[1]] = before, after

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for output, files in self._files.items():
            if not Path(output).exists():
                continue
            try:
                note_anew(output, files)
            except DataError as error:
                log.warning("%s The %d files that were written will be tagged again.", error, len(files))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def undo(
    journal: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    keep_times: bool = False,
    on_change: OnChange | None = None,
) -> list[Change]:
    """Give the files of a journal the fields back that they had before its first line.

    A field that did not exist is removed. One that someone has changed since is left, and an `error` of its
    `Change`; so is a file that is no longer there. It may be run again, after an interruption too.
    An output of `tag_folder` from which they were written is told what the files are like, so that they are
    not tagged again.

    Parameters
    ----------
    journal
        What `write_tags` has kept.
    overwrite
        Whether fields that were changed since are set back, too.
    keep_times
        Whether the times of the files' last changes stay as they are.
    on_change
        Told of each file when it is done.

    Raises
    ------
    MissingExtraError
        If mutagen is not installed.
    DataError
        If the journal cannot be read.
    """
    require_mutagen()
    entries: dict[str, list[Entry]] = {}
    for entry in read_journal(journal):
        entries.setdefault(entry.path, []).append(entry)
    changes = []
    with _Noting() as noting:
        for path, own in reversed(entries.items()):
            with noting(own[-1].record, Path(path)):
                change = _undone(path, own, overwrite, keep_times)
            changes.append(_told(change, on_change))
    return changes


def _told(change: Change, on_change: OnChange | None) -> Change:
    if on_change is not None:
        on_change(change)
    return change


def _planned(path: str, wanted: Wanted, config: WriteConfig, root: Path) -> Change:
    if wanted.why_not:
        return Change(path, notes=(wanted.why_not,))
    with _failures() as failed:
        file = open_fields(_real(root / path))
        return _compared(path, wanted, config, file)
    return Change(path, error=failed[0])


def _written(
    path: str,
    wanted: Wanted,
    config: WriteConfig,
    root: Path,
    journal: Journal,
    record: tuple[str, str] | None,
) -> Change:
    change = _planned(path, wanted, config, root)
    if not change.changes:
        return change
    with _failures() as failed:
        target = _real(root / path)
        with _held(target) as state:
            file = open_fields(target)  # anew: this one nobody else is writing
            change = _compared(path, wanted, config, file)
            after: Values = {}
            for field in change.fields:
                if field.changes:
                    after |= file.spread(field.name, field.new)
            after |= {name: own for name, own in file.companions().items() if name not in after}
            before = {name: file.get(name) for name in after}
            journal.add(Entry(str(target), before, after, record))
            _replace(file, after, state, config.keep_times)
        return change
    return Change(path, change.kind, error=failed[0])


def _compared(path: str, wanted: Wanted, config: WriteConfig, file: Fields) -> Change:
    """Return which fields of a file become which."""
    fields: list[Field] = []
    ours: Values = {}
    for what in (GENRE, MOOD):
        if new := wanted.fields.get(what):
            old = file.now(what)
            kept = bool(old) and old != new and not config.overwrite
            fields.append(Field(what, file.name(what), old, new, kept))
            if fields[-1].changes:
                ours[SCORES[what]] = wanted.scores[what]
    if ours and config.scores:
        for name, new in {**ours, MODEL: (wanted.model,)}.items():
            fields.append(Field(name, file.name(name), file.now(name), new))
    notes = list(file.notes)
    if any(field.changes for field in fields):
        if (links := file.path.stat().st_nlink) > 1:
            others = "another name" if links == 2 else f"{links - 1} other names"
            notes.append(f"it has {others} (hard links): those keep the file as it was")
        if _read_only(file.path):
            notes.append("it is read-only, and cannot be written as it is")
    return Change(path, file.kind, tuple(fields), tuple(notes))


def _undone(path: str, entries: list[Entry], overwrite: bool, keep_times: bool) -> Change:
    with _failures() as failed:
        target = _real(Path(path))
        with _held(target) as state:
            file = open_fields(target)
            back: Values = {}
            fields, changed = [], []
            names = list(dict.fromkeys(name for entry in entries for name in entry.after))
            for name in names:
                now = file.get(name)
                own = [entry for entry in entries if name in entry.after]
                oldest = own[0].before[name]
                old = oldest if overwrite else _before(name, now, own)
                if old is None:
                    fields.append(Field(name, name, now, oldest, kept=True))
                    changed.append(name)
                elif now != old:
                    fields.append(Field(name, name, now, old))
                    back[name] = old
            if back:
                _replace(file, back, state, keep_times)
        error = ""
        if changed:
            error = f"{', '.join(changed)} changed since, and left: --overwrite sets it back all the same"
        return Change(path, file.kind, tuple(fields), () if fields else ("as it was before",), error)
    return Change(path, error=failed[0])


def _before(name: str, now: tuple[str, ...], entries: list[Entry]) -> tuple[str, ...] | None:
    """Return what a field was before these changes of it; None where what it is now comes of none of them.

    Where somebody changed it between two of them, it is what they made of it.
    """
    if now == entries[0].before[name]:
        return now
    state = now
    for entry in reversed(entries):
        if state == entry.after[name]:
            state = entry.before[name]
        elif state != entry.before[name]:  # else it was killed before this change
            break
    return None if state == now else state


def _replace(file: Fields, changes: Values, before: os.stat_result, keep_times: bool) -> None:
    """Write the file with these changes beside it, and let it take the file's place, if it is as `before`."""
    target = file.path
    for name, values in changes.items():
        file.put(name, values)
    copy = _copy_of(target)
    try:
        copy.touch(0o600, exist_ok=False)
        file.write(copy)
        shutil.copystat(target, copy)
        if sys.platform != "win32" and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            _give(copy, before)
        if not keep_times:
            os.utime(copy)
        descriptor = os.open(copy, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        now = target.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            raise UnreadableError("it was changed by another program meanwhile: run it again")
        copy.replace(target)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _copy_of(target: Path) -> Path:
    """Return the copy that becomes a file: beside it, under a name that is never too long."""
    return target.with_name(f".{zlib.crc32(os.fsencode(target.name)):08x}{_COPY}")


def _give(copy: Path, owner: os.stat_result) -> None:
    """Give a file to the owner of another, as far as we may."""
    for user, group in ((owner.st_uid, owner.st_gid), (-1, owner.st_gid)):
        try:
            os.chown(copy, user, group)
        except PermissionError:
            continue
        copy.chmod(owner.st_mode & 0o7777)  # a new owner may have taken bits away
        return


def _real(path: Path) -> Path:
    """Return the file that a path leads to."""
    try:
        target = Path(os.path.realpath(path))
    except ValueError:  # a null byte
        raise UnreadableError("no file can have such a name") from None
    if target.is_dir():
        raise UnreadableError("it is a folder")
    if target.exists() and not target.is_file():
        raise UnreadableError("it is no regular file")
    return target


def _read_only(target: Path) -> bool:
    """Return whether nobody is meant to write a file, though the superuser could."""
    return not target.stat().st_mode & 0o222


@contextmanager
def _held(target: Path) -> Iterator[os.stat_result]:
    """Hold a file that we may write to, as far as other programs ask; yield what it is like."""
    if _read_only(target):
        raise PermissionError(None, "it is read-only")
    with target.open("r+b") as file:
        try:
            claim(file, UnreadableError)
        except UnreadableError:
            raise UnreadableError("another program has locked it: run it again when that is done") from None
        _copy_of(target).unlink(missing_ok=True)  # of a run that was killed: nobody else holds the file
        if sys.platform == "win32":  # which lets nobody rename over an open file
            file.close()
        yield target.stat()


@contextmanager
def _failures() -> Iterator[list[str]]:
    """Turn what can go wrong with one file into its reason, in the list; a full journal is no such thing."""
    why: list[str] = []
    try:
        yield why
    except UnreadableError as error:
        why.append(str(error))
    except OSError as error:
        why.append(_reason(error))


def _reason(error: OSError) -> str:
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
