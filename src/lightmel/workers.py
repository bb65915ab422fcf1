"""Work in child processes: on all cores, with answers in order, and going on where a decoder crashes.

A child has one thread and reads tasks from its standard input, one after another; answers go to its standard
output. It does not import the program that started it. It may crash: a C library that does so on a broken
file ends only the child, which is replaced. Tasks, settings and answers are plain data.

A kind of work is a function in a module, named ``module:function``: from the settings it makes a handler, a
function from a task to an answer and the bytes that go with it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from .errors import LightmelError

T = TypeVar("T")
Handler: TypeAlias = Callable[[Any], tuple[dict[str, Any], bytes]]
"""From a task to an answer and its bytes."""

_AHEAD = 4
"""Tasks of each child that may be done before their turn; their answers are held in memory."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""What is set for a process that is ours, so that it computes on one thread."""
_PROGRAM = "from lightmel.workers import main; main()"
_READY = b"ready\n"
LATE = "time limit"
_CRASHES = {getattr(signal, name, None) for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL")}

log = logging.getLogger("lightmel")


@dataclass(frozen=True)
class Work:
    """A kind of work and its settings.

    Parameters
    ----------
    function
        ``module:function``, importable in another process.
    settings
        Plain data that it is called with.
    error
        Error that is raised where a child cannot be started or was ended from outside.
    """

    function: str
    settings: Any
    error: type[LightmelError]

    def start(self) -> Handler:
        """Return the handler, in this process."""
        module, _, name = self.function.partition(":")
        handler: Handler = getattr(import_module(module), name)(self.settings)
        return handler


@dataclass(frozen=True)
class Done:
    """The result of a task: answer and bytes, or how the child crashed; and what was logged meanwhile.

    A child that took longer than it might has crashed by `LATE`.
    """

    answer: Mapping[str, Any]
    data: bytes = b""
    crash: str | None = None
    notes: tuple[tuple[int, str], ...] = ()
    outside: bool = False
    """Whether it was no crash of its own that ended the child."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


class Pool:
    """A number of children, each with a thread here that waits for it; with 0 the work is done here."""

    def __init__(self, work: Work, count: int) -> None:
        self._work, self._count = work, count
        self._threads = ThreadPoolExecutor(max(count, 1), thread_name_prefix="lightmel-work")
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._children: set[Child] = set()
        self._lock = threading.Lock()
        self._closed = False

    def map(self, tasks: Iterable[Any]) -> Iterator[Done]:
        """Yield the result of each task, in the order of the tasks."""
        if self._count == 0:
            handler = self._work.start()
            for task in tasks:
                yield Done(*handler(task))
            return
        waiting: deque[Future[Done]] = deque()
        for task in tasks:
            waiting.append(self._threads.submit(self._do, task))
            while waiting and (len(waiting) > _AHEAD * self._count or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def each(self, tasks: Iterable[T], limit: Callable[[T], float] | None = None) -> Iterator[tuple[T, Done]]:
        """Yield each task and its result as soon as it is there, in no order.

        A task that takes more seconds than `limit` says has crashed by `LATE`, if there are children. One
        whose child was ended from outside, as where memory runs out, is tried once more by another, and has
        then crashed.

        Raises
        ------
        LightmelError
            If a child cannot be started: the error that the work names.
        """
        if self._count == 0:
            handler = self._work.start()
            for task in tasks:
                yield task, Done(*handler(task))
            return
        running: dict[Future[Done], T] = {}
        for task in tasks:
            seconds = None if limit is None else limit(task)
            running[self._threads.submit(self._do_each, task, seconds)] = task
            if len(running) > self._count:  # one waits for the child that is free next
                yield from self._done(running)
        while running:
            yield from self._done(running)

    @staticmethod
    def _done(running: dict[Future[Done], T]) -> Iterator[tuple[T, Done]]:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()

    def _do_each(self, task: Any, seconds: float | None) -> Done:
        done = self._do(task, seconds, costs_task=True)
        return self._do(task, seconds, costs_task=True) if done.outside else done

    def _do(self, task: Any, seconds: float | None = None, *, costs_task: bool = False) -> Done:
        child = self._child()
        done = child.do(task, seconds, costs_task=costs_task)
        if child.alive:
            self._idle.put(child)
        else:
            self._end(child)
        return done

    def _child(self) -> Child:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                if self._closed:
                    raise self._work.error("The work was stopped.") from None
                child = Child(self._work)
                self._children.add(child)
                return child

    def _end(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.kill()
        self._threads.shutdown(cancel_futures=True)
        for child in children:
            child.close()


class Child:
    """A process that does one task at a time, on one thread."""

    def __init__(self, work: Work) -> None:
        paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - as text
        with contextlib.ExitStack() as stack:
            try:
                self._said = stack.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._said,
                    env={
                        **os.environ,
                        **ONE_THREAD,
                        "PYTHONPATH": os.pathsep.join(paths),
                        "PYTHONSAFEPATH": "1",
                    },
                )
            except OSError as error:
                raise work.error(f"A worker cannot be started ({error}): take fewer, or 0.") from error
            stack.pop_all()  # close() closes the file
        self._ready = False
        self._work = work
        self._late = False
        self._waiting = threading.Lock()

    def do(self, task: Any, seconds: float | None = None, *, costs_task: bool = False) -> Done:
        """Return the result of a task; a crash of the process is a result, too.

        Parameters
        ----------
        task
            What is to be done.
        seconds
            How long that may take, after which the process is ended.
        costs_task
            Whether any other end of the process, once it has started, is a result as well.

        Raises
        ------
        LightmelError
            If the process did not start or was ended from outside: the error that the work names.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its end is noticed below
            if not self._ready:
                order = {
                    "function": self._work.function,
                    "settings": self._work.settings,
                    "debug": log.isEnabledFor(logging.DEBUG),
                }
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()
        if not self._ready:
            # Lines before it are printed by the start-up of Python.
            self._ready = _READY in iter(self._process.stdout.readline, b"")
        with self._at_most(seconds):
            header = self._process.stdout.readline() if self._ready else b""
            if header.endswith(b"\n"):
                said = json.loads(header)
                data = self._process.stdout.read(said["bytes"])
                if len(data) == said["bytes"]:
                    notes = tuple((level, text) for level, text in said["notes"])
                    return Done(said["answer"], data, notes=notes)
        return self._ended(task, costs_task=costs_task)

    @contextlib.contextmanager
    def _at_most(self, seconds: float | None) -> Iterator[None]:
        """End the process if what is done here takes longer."""
        if seconds is None or not self._ready:
            yield
            return
        waiting = True

        def end() -> None:
            with self._waiting:
                if waiting:
                    self._late = True
                    self.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._waiting:
                waiting = False

    @property
    def alive(self) -> bool:
        """Whether the process can do another task."""
        return self._process.poll() is None and not self._late

    def _ended(self, task: Any, *, costs_task: bool) -> Done:
        code = self._process.wait()
        if self._late:
            return Done({}, crash=LATE)
        if self._ready and -code in _CRASHES:
            return Done({}, crash=signal.Signals(-code).name)
        if self._ready and costs_task:
            return Done({}, crash=f"signal {-code}" if code < 0 else f"exit code {code}", outside=True)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        raise self._work.error(
            f"A worker {how} at {task}{': ' + said[-1] if said else ''}. If memory has run out, take fewer "
            "workers. What was done is kept: run the same again to go on."
        )

    def kill(self) -> None:
        """End the process at once; a thread that waits for its answer goes on."""
        self._process.kill()

    def close(self) -> None:
        """End the process and close its pipes."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class _Notes(logging.Handler):
    """Keeps warnings, and all else where the parent process wants it, which shows them."""

    def __init__(self, debug: bool) -> None:
        super().__init__(logging.DEBUG if debug else logging.WARNING)
        self.kept: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append((record.levelno, self.format(record)))  # with its traceback, if it has one


def main() -> None:
    """Run as a `Child`: read work and tasks, a line each, and write a line and bytes for each task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent takes Ctrl-C
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps what a C library prints out of the answers
    order = json.loads(sys.stdin.buffer.readline())
    notes = _Notes(order["debug"])
    log.addHandler(notes)
    if order["debug"]:
        log.setLevel(logging.DEBUG)
    handler = Work(order["function"], order["settings"], LightmelError).start()
    answers.write(_READY)
    answers.flush()
    for line in sys.stdin.buffer:
        answer, data = handler(json.loads(line))
        header = {"answer": answer, "bytes": len(data), "notes": notes.kept}
        answers.write(json.dumps(header).encode() + b"\n" + data)
        answers.flush()
        notes.kept = []
