"""Tagging whole folders into one output: what is new or changed, and on from where it was stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from .. import audio, checkpoint, hub
from .._files import at_home, check_target, claimed, replacing
from ..checkpoint import Description
from ..errors import AudioError, ConfigError, DataError, UnexpectedError, nearest
from ..inference import is_accelerator
from ..workers import LATE, Done, Pool, Work, cores
from .albums import By, albums
from .ledger import Known, Ledger, key_of
from .lines import failure_record
from .notes import digest_of
from .tables import TABLES, check_table, write_table
from .vectors import Vectors

Places: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""A folder or a file, or several."""

_STATE = ".jsonl"
_WORK = "lightmel.library.worker:serve"
_LIMIT_BYTES = 50e6
"""A file of this size may take twice the time limit, and so on: an hour of MP3, or five minutes of WAV."""
_ENDED_AT_MOST = 3
"""Files in a row whose worker was ended from outside, after which that is taken to go on."""

log = logging.getLogger("lightmel")


@dataclass(frozen=True)
class Counts:
    """What became of the files of a library.

    Attributes
    ----------
    tagged
        Those that were tagged, anew or for the first time.
    skipped
        Those that were tagged before and have not changed.
    failed
        Those that could not be tagged, and folders that could not be searched.
    left
        Those that failed before and have not changed: they were not tried again.
    pruned
        Those that have gone, and whose records went too.
    """

    tagged: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    pruned: int = 0


@dataclass(frozen=True)
class FileDone:
    """A file that has just been tagged, or has failed.

    Attributes
    ----------
    path
        Of the file.
    error
        Why it failed; else empty.
    done, total
        How many of those files that are new or changed are done, this one among them, and how many there are.
    """

    path: str
    error: str
    done: int
    total: int


OnFile: TypeAlias = Callable[[FileDone], None]
"""Told of each file when it is done, and once before the first, without a path."""


def tag_folder(
    places: Places,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = "default",
    device: str = "auto",
    precision: str = "float32",
    coverage: float = 1.0,
    jobs: int | None = None,
    exclude: Sequence[str] = (),
    sha256: bool = False,
    retry_failed: bool = False,
    prune: bool = False,
    force: bool = False,
    by: By | None = None,
    taggram: str | os.PathLike[str] | None = None,
    embeddings: str | os.PathLike[str] | None = None,
    top: int | None = None,
    above: bool = False,
    time_limit: float = 300.0,
    on_file: OnFile | None = None,
) -> Counts:
    """Tag all sound files below some folders into one output, and bring it up to date when called again.

    Tagged are the files that are new, have changed in size or time, or whose record is of another version of
    the tagger or other settings. Records are appended as they come, in no order; killed at any moment and
    called again, it goes on where it was. A file that cannot be tagged gets a record of the error, and is
    tried again when it has changed, or with another tagger or other settings. Links are followed, and no file
    is tagged twice by two of its names.

    Parameters
    ----------
    places
        Folders, which are searched at any depth, or files.
    out
        The output, ``.jsonl``: lines of JSON as ``lightmel tag --json`` writes them, each with what its file
        was like. Or ``.csv`` or ``.parquet``: a table, made at the end of the lines in the file of that name
        that ends in ``.jsonl``, in which nothing is lost whatever happens.
    model, device, precision
        As in `lightmel.load`, which each process calls.
    coverage
        The share of each file that counts, in evenly spread parts, as in `lightmel.tag`.
    jobs
        Processes, of one thread each; by default one for each core, and one where the device is no
        processor: each has a tagger on it, and a context of CUDA. 0: this process, where a file that crashes
        or hangs is not held apart.
    exclude
        Patterns of the shell for what is left out: of names, or with a slash of paths below a folder.
    sha256
        Whether to tell by their contents which files have changed, and not by their times: all are read.
    retry_failed
        Whether to try those again that failed before.
    prune
        Whether the records of files that have gone go too. Of a folder without any sound none does: it may
        be a disk that is not there.
    force
        Whether an output of another tagger, or a table without its lines, is made anew; those that failed
        before are tried again then, too.
    by
        ``"album"`` or ``"folder"``: a record for each album too, the mean of its files weighted by their
        lengths. Which album a file is of is read from its fields, where mutagen is installed and the file has
        them, or is told by its folder.
    taggram
        A folder for the scores over time, a ``.npz`` for each file, under the file's whole path.
    embeddings
        A ``.npy`` file for the embeddings, ``(files, embed_dim)``; ``NAME.paths.jsonl`` beside it has the
        file of each row.
    top, above
        Keep only so many tags of each file, the best ones; only those above the tagger's thresholds.
    time_limit
        Seconds that a file may take, and as much again for each 50 MB of it; 0 is no limit.
    on_file
        Told of each file when it is done.

    Raises
    ------
    ConfigError
        If an argument cannot work, or the tagger cannot run so.
    UnknownModelError
        If there is no such tagger.
    AudioError
        If there is no such folder, or no sound in any of them.
    DataError
        If the output is something else, is being written by another process, or cannot be written, as on a
        full disk. What was done is kept.
    MissingExtraError
        If pyarrow is needed and missing.
    """
    target = at_home(out)
    state = _state_of(target)
    _check(
        jobs,
        by,
        top=top,
        above=above,
        time_limit=time_limit,
        coverage=coverage,
        beside=taggram is not None or embeddings is not None,
    )
    check_table(target)
    name, file, description = _tagger(model)
    if above and not (description.thresholds or description.exclusive):
        raise ConfigError(f"{description.name} has no thresholds of its own: leave above=True out.")
    places = [places] if isinstance(places, (str, os.PathLike)) else list(places)
    exclude = [exclude] if isinstance(exclude, str) else exclude
    part = {} if coverage == 1 else {"coverage": coverage}  # all of it has the digest of before
    digest = _digest(file, precision=precision, top=top, above=above, **part)
    check_target(state, (".lock",), DataError)
    with ExitStack() as stack:
        stack.enter_context(claimed(state, DataError))
        _check_table_is_ours(target, state, force=force)
        ledger = stack.enter_context(Ledger(state))
        _check_tagger(ledger, description.name, force=force)
        vectors = None
        if embeddings is not None:
            where = _embeddings(embeddings)
            stack.enter_context(claimed(where, DataError))
            vectors = stack.enter_context(Vectors(where))
        run = _Run(ledger, digest, vectors, None if taggram is None else at_home(taggram))
        again = retry_failed or force
        todo = run.plan(places, exclude, sha256=sha256, retry_failed=again, on_file=on_file)
        count = min(_processes(device) if jobs is None else jobs, len(todo))
        settings = {
            "model": name,
            "device": device,
            "precision": precision,
            "coverage": coverage,
            "top": top,
            "above": above,
            "digest": digest,
            "hash": sha256,
            "taggrams": taggram is not None,
            "embeddings": embeddings is not None,
        }
        if todo:
            run.tag(todo, Work(_WORK, settings, DataError), count, time_limit, on_file)
        gone = run.gone(places) if prune else []
        run.drop_beside(gone)
        made = None
        if by is not None and (todo or gone or not ledger.albums_are_current or ledger.albums_by != by):
            dropped = set(gone)
            made = albums(_of_tagger(ledger, digest, dropped), by)
        ledger.tidy(gone, made)
        if target != state and (todo or gone or not _is_newer(target, state)):
            write_table(target, ledger.lines(), _tags(ledger, description, digest))
        return replace(run.counts, pruned=len(gone))


def _processes(device: str) -> int:
    """Return how many processes there are unless somebody says."""
    return 1 if is_accelerator(device) else cores()


def _state_of(target: Path) -> Path:
    if target.suffix in TABLES:
        return target.with_suffix(_STATE)
    if target.suffix != _STATE:
        kinds = (_STATE, *TABLES)
        raise ConfigError(
            f"{target}: an output ends in {', '.join(kinds[:-1])} or {kinds[-1]}."
            f"{nearest(target.suffix, kinds)}"
        )
    return target


def _embeddings(path: str | os.PathLike[str]) -> Path:
    where = at_home(path)
    if where.suffix != ".npy":
        raise ConfigError(f"{where}: a file of embeddings ends in .npy.")
    check_target(where, (".lock",), DataError)
    return where


def _check(
    jobs: int | None,
    by: str | None,
    *,
    top: int | None,
    above: bool,
    time_limit: float,
    coverage: float,
    beside: bool,
) -> None:
    if jobs is not None and jobs < 0:
        raise ConfigError(f"jobs={jobs}: 0, for this process, is the least.", names=("jobs",))
    if by not in (None, "album", "folder"):
        raise ConfigError(f"by is 'album' or 'folder', not {by!r}.{nearest(str(by), ('album', 'folder'))}")
    if top is not None and top < 1:
        raise ConfigError(f"top={top}: a tag of each file is the least.")
    if by is not None and (top is not None or above):
        raise ConfigError("The mean of an album takes all scores of its files: leave top and above=True out.")
    if not 0 < coverage <= 1:
        raise ConfigError(f"coverage={coverage}: the share of each file that counts, above 0 to 1.")
    if coverage < 1 and beside:
        raise ConfigError(
            f"With coverage={coverage:g} parts of each file are tagged, and no scores over time or "
            "embeddings of all of it can be kept: leave coverage out, or taggram and embeddings."
        )
    if not time_limit >= 0:
        raise ConfigError(f"time_limit={time_limit}: seconds are wanted, or 0 for no limit.")


def _tagger(model: str | os.PathLike[str]) -> tuple[str, Path, Description]:
    """Return what a tagger is loaded by in another process, its file, and what that says about it."""
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigError(
            "A folder is tagged by several processes, which load the tagger by its name or file, not "
            f"{model!r}: save it first, with Tagger.save."
        )
    name = os.fspath(model)
    found = hub.find(name)
    file = hub.fetch(found)
    if file.suffix == checkpoint.GRAPH_SUFFIX:
        description = checkpoint.read_graph(file).description
    elif file.name.endswith(checkpoint.PUBLISHED_SUFFIXES):
        description = hub.identify(file).description
    else:
        description = checkpoint.read_description(file)
    return (str(file) if isinstance(found, Path) else name), file, description


def _digest(file: Path, **settings: Any) -> str:
    """Return what tells a tagger and its settings from others: by its file, with name and version in it."""
    found = hashlib.sha256(digest_of(file).encode())
    found.update(json.dumps(settings, sort_keys=True).encode())
    return found.hexdigest()[:16]


def _check_table_is_ours(target: Path, state: Path, *, force: bool) -> None:
    if target != state and target.exists() and not state.exists() and not force:
        raise DataError(
            f"{target} is there, and {state}, which it is made of, is not: name another file, or let it be "
            "made anew with force=True."
        )


def _check_tagger(ledger: Ledger, name: str, *, force: bool) -> None:
    others = sorted(set(ledger.models.values()))
    if others and name not in others and not force:
        raise DataError(
            f"{ledger.path} holds the tags of {' and '.join(others)}, not of {name}: name another file, or "
            "let all files be tagged again with force=True."
        )


def _of_tagger(ledger: Ledger, digest: str, dropped: set[str]) -> Iterator[dict[str, Any]]:
    for record in ledger.records():
        if record.get("file", {}).get("tagger") == digest and key_of(record["path"]) not in dropped:
            yield record


def _tags(ledger: Ledger, description: Description, digest: str) -> list[str]:
    """Return the tags that have a column: the tagger's, and those that only older records have."""
    tags = dict.fromkeys(description.tags)
    if any(known.tagger != digest for known in ledger.known.values()):
        for record in ledger.records():
            tags.update(dict.fromkeys(record.get("tags", ())))
    return list(tags)


def _is_newer(target: Path, state: Path) -> bool:
    try:
        return target.stat().st_mtime_ns >= state.stat().st_mtime_ns
    except OSError:
        return False


class _Run:
    """One call of `tag_folder`."""

    def __init__(self, ledger: Ledger, digest: str, vectors: Vectors | None, taggrams: Path | None) -> None:
        self._ledger, self._digest, self._vectors, self._taggrams = ledger, digest, vectors, taggrams
        self._found: set[str] = set()
        self.counts = Counts()

    def plan(
        self,
        places: Sequence[str | os.PathLike[str]],
        exclude: Sequence[str],
        *,
        sha256: bool,
        retry_failed: bool,
        on_file: OnFile | None,
    ) -> list[str]:
        """Return the files that are to be tagged, and count the others."""
        todo = []
        skipped = left = failed = 0
        for path, error in audio.find_all(places, exclude):
            if error is not None:
                failed += 1
                said = f"a folder that cannot be searched: {error.strerror or error}."
                log.warning("%s: %s", path, said)
                continue
            text = str(path)
            key = key_of(text)
            self._found.add(key)
            known = self._ledger.known.get(key)
            if known is None or not self._is_current(text, key, known, sha256=sha256, again=retry_failed):
                todo.append(text)
            elif known.failed:
                left += 1
            else:
                skipped += 1
        if not self._found and not failed:
            where = " and ".join(str(place) for place in places)
            raise AudioError(f"There is no sound below {where}: it looks for {' '.join(audio.SUFFIXES)}.")
        self.counts = Counts(skipped=skipped, failed=failed, left=left)
        if on_file is not None:
            on_file(FileDone("", "", 0, len(todo)))
        return todo

    def _is_current(self, path: str, key: str, known: Known, *, sha256: bool, again: bool) -> bool:
        try:
            status = os.stat(path)  # noqa: PTH116 - a name as it is
            same = (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns)
            if sha256 and known.sha256:
                same = status.st_size == known.size and digest_of(path) == known.sha256
        except OSError:
            return False
        same = same and known.tagger == self._digest  # of another one neither scores nor errors count
        if known.failed:
            return same and not again
        return (
            same
            and (self._vectors is None or key in self._vectors)
            and (self._taggrams is None or self._taggram(key).exists())
        )

    def _taggram(self, key: str) -> Path:
        assert self._taggrams is not None
        whole = Path(key)
        below = whole.relative_to(whole.anchor)
        drive = whole.drive.strip(":\\/").replace("\\", "/")
        return self._taggrams / drive / below.parent / f"{below.name}.npz"

    def tag(
        self, todo: Sequence[str], work: Work, count: int, time_limit: float, on_file: OnFile | None
    ) -> None:
        """Tag files, and put their records into the output as they come."""
        ended = 0
        with Pool(work, count) as pool:
            limit = None if time_limit == 0 else (lambda path: time_limit * (1 + _size(path) / _LIMIT_BYTES))
            for number, (path, done) in enumerate(pool.each(todo, limit), 1):
                for level, note in done.notes:
                    log.log(level, "%s", note)
                ended = ended + 1 if done.outside else 0
                if ended >= _ENDED_AT_MOST:
                    raise DataError(
                        f"Workers are ended from outside again and again ({done.crash}), the last one at "
                        f"{path}. If memory runs out, take fewer jobs. What was done is kept: run the same "
                        "again to go on.",
                        names=("jobs",),
                    )
                error = self._keep(path, done)
                if on_file is not None:
                    on_file(FileDone(path, error, number, len(todo)))

    def _keep(self, path: str, done: Done) -> str:
        """Put what became of a file into the output, and return why it failed."""
        if "refused" in done.answer:
            raise ConfigError(str(done.answer["refused"]))
        if done.crash is not None:
            record = failure_record(path, *_crash(done))
            record = {"path": path, "file": {**_stat(path), "tagger": self._digest}, **record}
        else:
            record = dict(done.answer["record"])
            length = done.answer["embedding"]
            # Before the record, which says that all of it is there.
            if self._vectors is not None and length:
                self._vectors.add(path, done.data[:length])
            if self._taggrams is not None and len(done.data) > length:
                with replacing(self._taggram(key_of(path)), DataError) as file:
                    file.write(done.data[length:])
        self._ledger.add(record)
        error: str = record["error"]["message"] if "error" in record else ""
        if error:
            self.counts = replace(self.counts, failed=self.counts.failed + 1)
        else:
            self.counts = replace(self.counts, tagged=self.counts.tagged + 1)
        return error

    def drop_beside(self, gone: Sequence[str]) -> None:
        """Let scores over time and embeddings go of files that have gone, or fail now and did not before."""
        keys = [*gone, *(key for key, known in self._ledger.known.items() if known.failed)]
        if self._taggrams is not None:
            for key in keys:
                try:
                    self._taggram(key).unlink(missing_ok=True)
                except OSError as error:
                    raise DataError(f"{self._taggram(key)} cannot be removed: {error.strerror}.") from error
        if self._vectors is not None:
            self._vectors.drop(keys)
            self._vectors.save()

    def gone(self, places: Sequence[str | os.PathLike[str]]) -> list[str]:
        """Return the keys of the records whose files were below the places and are no more."""
        gone: list[str] = []
        for place in places:
            root = os.path.join(key_of(at_home(place)), "")  # noqa: PTH118 - with its last slash
            own = [key for key in self._ledger.known if key.startswith(root) and key not in self._found]
            if own and not any(key.startswith(root) for key in self._found):
                log.warning("%s: there is no sound in it, and the records of what was are kept.", place)
                continue
            gone += [key for key in own if _is_gone(key)]
        return list(dict.fromkeys(gone))


def _crash(done: Done) -> tuple[str, str]:
    if done.crash == LATE:
        why = "it took longer than the time limit: its decoder hangs, or it is very long."
        return AudioError.__name__, why
    if done.outside:
        why = f"the process that tagged it was ended ({done.crash}), as where memory runs out."
        return UnexpectedError.__name__, why
    return AudioError.__name__, f"the decoder crashed on it ({done.crash})."


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a name as it is
    except OSError:
        return 0


def _stat(path: str) -> dict[str, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - a name as it is
    except OSError:
        return {}
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_gone(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - a name as it is
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # who knows: a folder that may not be read
        return False
    return False
