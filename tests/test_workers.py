"""Work in child processes: answers come in order, and a child that dies costs no more than it must."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightmel import workers
from lightmel.errors import LightmelError
from lightmel.workers import Child, Done, Pool, Work

HANDLER = '''
import logging, os, signal, sys, time

def serve(settings):
    def handle(task):
        """Obey a task that is an order; answer any."""
        order, _, what = str(task).partition(" ")
        if order == "signal":
            os.kill(os.getpid(), getattr(signal, what))
        elif order == "exit":
            os._exit(int(what))
        elif order == "raise":
            raise RuntimeError(what)
        elif order == "sleep":
            time.sleep(float(what))
        elif order == "print":
            print(what, flush=True)
            os.write(1, what.encode() + b"\\n")
        elif order == "log":
            logging.getLogger("lightmel").info("nothing of %s", what)
            logging.getLogger("lightmel").warning("look at %s", what)
        threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        answer = {"task": task, "settings": settings, "pid": os.getpid(), "threads": threads}
        return answer, bytes(range(256)) * len(str(task))

    return handle
'''


class OwnError(LightmelError):
    """What this work raises."""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """The handler above, in a module that this process and its children can import."""
    (tmp_path / "handler_of_the_test.py").write_text(HANDLER)
    monkeypatch.syspath_prepend(tmp_path)
    yield Work("handler_of_the_test:serve", {"a": [1, "ü"]}, OwnError)
    sys.modules.pop("handler_of_the_test", None)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let children run another program: before their own they do this."""
    own = workers._PROGRAM

    def run(before: str) -> None:
        monkeypatch.setattr(workers, "_PROGRAM", f"{before}\n{own}")

    return run


def do_all(work: Work, tasks: list[Any], count: int) -> list[Done]:
    with Pool(work, count) as pool:
        return list(pool.map(tasks))


signals = pytest.mark.skipif(sys.platform == "win32", reason="signals")


# What is done


@pytest.mark.parametrize("count", [0, 1, 3])
def test_answers_and_bytes_come_in_the_order_of_the_tasks(count: int, work: Work) -> None:
    tasks = ["sleep 0.3", 1, "ü\n", {"a": [None, 2.5]}, *range(20)]
    done = do_all(work, tasks, count)
    assert [one.answer["task"] for one in done] == tasks
    assert all(one.answer["settings"] == {"a": [1, "ü"]} for one in done)
    assert [one.data for one in done] == [bytes(range(256)) * len(str(task)) for task in tasks]
    assert all(one.crash is None and one.notes == () for one in done)


def test_without_children_the_work_is_done_here(work: Work) -> None:
    assert {one.answer["pid"] for one in do_all(work, [1, 2], 0)} == {os.getpid()}


def test_children_have_one_thread_each_and_are_used_again(work: Work) -> None:
    done = do_all(work, ["sleep 0.2"] * 12, 2)
    pids = {one.answer["pid"] for one in done}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    assert all(one.answer["threads"] == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} for one in done)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_tasks_are_no_answers(count: int, work: Work) -> None:
    assert do_all(work, [], count) == []


def test_tasks_are_taken_as_they_can_be_done_and_not_all_at_once(work: Work) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for task in range(1, 1_001):
            taken = task
            yield task

    with Pool(work, 1) as pool:
        for number, done in enumerate(pool.map(tasks()), 1):
            assert done.answer["task"] == number
            assert taken <= number + workers._AHEAD + 1
            if number == 20:
                break


def test_what_a_child_logs_comes_back_with_its_task(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    done = do_all(work, [1, "log the first", "log the second", 2], 1)
    assert [one.notes for one in done] == [
        (),
        ((logging.WARNING, "look at the first"),),
        ((logging.WARNING, "look at the second"),),
        (),
    ]
    assert caplog.records == []  # it is for the caller to say
    with caplog.at_level(logging.WARNING, "lightmel"):
        here = do_all(work, ["log the third"], 0)
    assert here[0].notes == ()
    assert [record.getMessage() for record in caplog.records] == ["look at the third"]


def test_as_many_cores_are_counted_as_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= workers.cores() <= 4096
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 8}, raising=False)
    assert workers.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert workers.cores() == 1


# What is printed


def test_what_start_up_prints_is_not_taken_for_an_answer(program: Callable[[str], None], work: Work) -> None:
    program("print('welcome', flush=True)")
    assert [one.answer["task"] for one in do_all(work, [1, 2], 1)] == [1, 2]


def test_what_the_work_prints_is_not_taken_for_an_answer(work: Work) -> None:
    done = do_all(work, ["print ready", 'print {"answer": {}, "bytes": 0, "notes": []}', 3], 1)
    assert [one.answer["task"] for one in done][-1] == 3
    assert done[1].answer["task"].startswith("print {")


# A child that dies


@signals
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"])
def test_a_crash_is_what_became_of_the_task_and_takes_only_its_child_along(name: str, work: Work) -> None:
    done = do_all(work, [1, f"signal {name}", 3, 4], 1)
    assert done[1] == Done({}, crash=name)
    assert [one.answer.get("task") for one in done] == [1, None, 3, 4]
    assert done[0].answer["pid"] != done[2].answer["pid"] == done[3].answer["pid"]


@signals
def test_every_task_may_crash(work: Work) -> None:
    assert do_all(work, ["signal SIGSEGV"] * 5, 2) == [Done({}, crash="SIGSEGV")] * 5


@signals
@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("raise SystemExit(3)", r"A worker ended with code 3 at 1\. If .*run the same again to go on"),
        ("raise ImportError('no torch here')", r"ended with code 1 at 1: ImportError: no torch here\. If"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9 at 1"),
        ("import os; os.kill(os.getpid(), 11)", "was ended by signal 11 at 1"),  # not the task's fault
        ("import os; os.write(1, b'ready\\n'); os.kill(os.getpid(), 9)", "was ended by signal 9 at 1"),
    ],
)
def test_a_child_that_does_not_start_stops_the_work(
    before: str, message: str, work: Work, program: Callable[[str], None]
) -> None:
    program(before)
    with pytest.raises(OwnError, match=message):
        do_all(work, [1, 1, 1], 2)


@signals
@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("signal SIGKILL", "was ended by signal 9 at signal SIGKILL"),
        ("signal SIGTERM", "was ended by signal 15 at signal SIGTERM"),
        ("exit 0", r"ended with code 0 at exit 0\. If memory has run out, take fewer workers"),
        ("exit 7", "ended with code 7 at exit 7"),
        ("raise what?", r"ended with code 1 at raise what\?: RuntimeError: what\?\. If"),
    ],
)
def test_a_child_that_is_ended_stops_the_work_behind_what_was_done(
    task: str, message: str, work: Work
) -> None:
    done: list[Any] = []
    with pytest.raises(OwnError, match=message), Pool(work, 1) as pool:
        done.extend(one.answer["task"] for one in pool.map([1, 2, task, 4]))
    assert done == [1, 2]


def test_a_function_that_there_is_not_is_named() -> None:
    with pytest.raises(OwnError, match=r"at 1: ModuleNotFoundError: No module named 'no_such_module'"):
        do_all(Work("no_such_module:serve", None, OwnError), [1], 1)
    with pytest.raises(OwnError, match=r"at 1: AttributeError: .*no attribute 'servieren'"):
        do_all(Work("lightmel.workers:servieren", None, OwnError), [1], 1)


def test_a_child_that_cannot_be_started_is_an_error_of_ours(
    tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(OwnError, match=r"A worker cannot be started \(.*no python.*: take fewer, or 0"):
        do_all(work, [1], 1)


# An end before the end


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # no Linux; or it has just gone, and is not there the next time
        return False
    return state == "Z"  # nobody has asked for its end yet


@signals
def test_an_interruption_does_not_wait_for_what_is_being_done(work: Work) -> None:
    pids = []

    def interrupted() -> None:
        with Pool(work, 2) as pool:
            for done in pool.map(["sleep 0", "sleep 999", "sleep 999", "sleep 999"]):
                pids.append(done.answer["pid"])
                raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 120
    assert gone(pids[0])


@signals
def test_no_child_is_left(work: Work) -> None:
    pids = {one.answer["pid"] for one in do_all(work, ["sleep 0.1"] * 6, 2)}
    assert all(map(gone, pids))


@signals
def test_an_interruption_from_the_keyboard_is_not_the_childs(work: Work) -> None:
    child = Child(work)
    try:
        pid = child.do(1).answer["pid"]
        os.kill(pid, signal.SIGINT)
        assert child.do(2).answer == {**child.do(2).answer, "task": 2, "pid": pid}
        assert child.alive
    finally:
        child.close()
    assert not child.alive
    assert gone(pid)


@signals
def test_a_child_that_hangs_ends_with_a_parent_that_is_killed(tmp_path: Path, work: Work) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from lightmel.workers import Pool, Work\n"
        "with Pool(Work('handler_of_the_test:serve', None, ValueError), 1) as pool:\n"
        "    for done in pool.map([1, *['sleep 999'] * 9]): print(done.answer['pid'], flush=True)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 60
    while not gone(child):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_pool_that_is_closed_starts_no_child(work: Work) -> None:
    with Pool(work, 1) as pool:
        pass
    with pytest.raises(OwnError, match="was stopped"):
        pool._child()


# In no order


def each(work: Work, tasks: list[Any], count: int, seconds: float | None = None) -> dict[Any, Done]:
    limit = None if seconds is None else lambda task: seconds
    with Pool(work, count) as pool:
        return dict(pool.each(tasks, limit))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_task_has_its_result_in_no_order(count: int, work: Work) -> None:
    done = each(work, list(range(30)), count)
    assert {task: one.answer["task"] for task, one in done.items()} == {task: task for task in range(30)}


def test_what_is_done_first_comes_first(work: Work) -> None:
    with Pool(work, 2) as pool:
        order = [task for task, _ in pool.each(["sleep 1.5", 1, 2, 3])]
    assert order[-1] == "sleep 1.5"
    assert sorted(order[:-1]) == [1, 2, 3]  # of what is done at the same time, any comes first


@signals
def test_a_task_that_takes_too_long_costs_itself_alone(work: Work) -> None:
    done = each(work, [1, "sleep 999", 2, "sleep 998", 3], 2, seconds=3)
    assert {task: one.crash for task, one in done.items()} == {
        1: None,
        "sleep 999": workers.LATE,
        2: None,
        "sleep 998": workers.LATE,
        3: None,
    }


def test_the_start_of_a_child_does_not_count_as_its_task(program: Callable[[str], None], work: Work) -> None:
    program("import time; time.sleep(1.5)")
    assert each(work, [1], 1, seconds=1)[1].crash is None


@signals
@pytest.mark.parametrize(
    ("task", "crash", "outside"),
    [
        ("signal SIGSEGV", "SIGSEGV", False),
        ("signal SIGKILL", "signal 9", True),
        ("exit 7", "exit code 7", True),
    ],
)
def test_however_a_child_ends_the_others_go_on(task: str, crash: str, outside: bool, work: Work) -> None:
    done = each(work, [1, task, 2], 1)
    assert (done[task].crash, done[task].outside) == (crash, outside)
    assert (done[1].crash, done[2].crash) == (None, None)


@signals
def test_a_child_that_is_killed_once_is_replaced_for_the_same_task(
    tmp_path: Path, work: Work, program: Callable[[str], None]
) -> None:
    mark = tmp_path / "killed"
    program(
        f"import os, pathlib, threading; p = pathlib.Path({str(mark)!r})\n"
        "if not p.exists():\n"
        "    p.touch(); threading.Timer(1, lambda: os.kill(os.getpid(), 9)).start()"
    )
    assert each(work, ["sleep 2"], 1)["sleep 2"].crash is None


def test_a_child_that_does_not_start_stops_this_too(work: Work, program: Callable[[str], None]) -> None:
    program("raise SystemExit(3)")
    with pytest.raises(OwnError, match="A worker ended with code 3"):
        each(work, [1, 2], 1)
