"""What computes with torch does so as if nobody had set anything: whatever the process has, and after a fork.

A program that uses the package has settings of its own. A default device, a mode without gradients, autocast
and NumPy's answer to an overflow belong to a thread, and are put aside in it while a `steady` function runs.
The default type of floats belongs to all threads: it stays as it is, and everything here names its own.

In a forked child, the pool of threads that OpenMP keeps for the thread that forked is gone, and it does not
notice: its next loop on several threads waits for them for good. There, a thread that was started after the
fork does the work, with a pool of its own.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")

_FLOATS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""NumPy's own answers, before anybody has changed them."""


class _Forked:
    """The thread that forked, in a child, and the one that works for it; both None elsewhere."""

    thread: int | None = None
    helper: ThreadPoolExecutor | None = None


def _after_fork() -> None:
    _Forked.thread, _Forked.helper = threading.get_ident(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def steady(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function run as if nobody had set anything, also in a forked child."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if _Forked.thread is None or threading.get_ident() != _Forked.thread:
            with own_defaults():
                return function(*args, **kwargs)
        if _Forked.helper is None:
            _Forked.helper = ThreadPoolExecutor(1, "lightmel-after-fork")
        context = contextvars.copy_context()
        return _Forked.helper.submit(context.run, partial(run, *args, **kwargs)).result()

    return run


@contextmanager
def own_defaults() -> Iterator[None]:
    """Put aside what this thread has set: device, autocast, NumPy's errors, inference mode, no gradients."""
    with ExitStack() as stack:
        stack.enter_context(np.errstate(**_FLOATS))  # type: ignore[arg-type]
        torch = sys.modules.get("torch")
        if torch is None:  # then nobody has set it, and it is imported by whoever needs it
            yield
            return
        if torch.is_inference_mode_enabled():  # what is made in it can never learn
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
