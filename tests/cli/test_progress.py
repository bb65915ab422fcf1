"""What long commands show, on a terminal and in a file; Ctrl-C, once and twice."""

from __future__ import annotations

import io
import signal
import sys
from typing import Any

import pytest

from lightmel.cli import progress
from lightmel.cli.progress import progress_bar, show_epoch, stopping

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work() -> None:
    with progress_bar() as progress:
        for done in range(1, 4):
            progress("reading", done, 3)
        progress("scoring [red]", 2, 7)
        progress("training", 0, 0)


def test_without_a_terminal_the_outcome_is_written_once_and_plainly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    work()
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    assert "\r" not in err
    assert err.count("reading") == 1
    assert "3/3" in err
    assert "2/7" in err


def test_in_a_log_file_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress_bar() as show:
        for done in range(1, 5):
            show("scoring", done, 4)
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("scoring ") and "/" in line
    ]
    assert [line.split()[1].rstrip(",") for line in lines[:2]] == ["2/4", "4/4"]


def test_on_a_terminal_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    work()
    assert "\x1b[" in shown.getvalue()
    assert "reading" in shown.getvalue()


def test_where_nothing_is_done_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar():
        pass
    assert capsys.readouterr() == ("", "")


def test_an_error_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(progress: Any) -> None:
        progress("reading", 1, 3)
        raise ValueError("trouble")

    with pytest.raises(ValueError, match="trouble"), progress_bar() as progress:
        fail(progress)
    assert "1/3" in capsys.readouterr().err


def test_an_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show = show_epoch(12)
    show({"epoch": 0, "loss": 0.61234, "lr": 1e-3, "seconds": 12.4})
    show({"epoch": 11, "loss": 0.5, "lr": 1e-3, "seconds": 0.6, "valid_pr_auc": 0.31, "valid_roc_auc": 0.8})
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "epoch 1/12  loss 0.6123  12 s",
        "epoch 12/12  loss 0.5000  valid PR AUC 0.3100  1 s",
    ]


class Trainer:
    stops = 0
    running = True

    def stop(self) -> None:
        self.stops += 1


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@POSIX
def test_ctrl_c_stops_the_trainers_in_order_and_a_second_one_ends_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    trainers: list[Any] = [Trainer(), Trainer()]
    with stopping() as on_start:
        for trainer in trainers:
            on_start(trainer)
        interrupt()
        assert [t.stops for t in trainers] == [1, 1]
        assert capsys.readouterr().err == "stopping after this step; Ctrl-C again ends at once\n"
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        assert [t.stops for t in trainers] == [1, 1]
    assert signal.getsignal(signal.SIGINT) is before


@POSIX
def test_a_trainer_that_comes_after_ctrl_c_is_stopped_too_and_between_trainings_it_ends_at_once() -> None:
    first, second = Trainer(), Trainer()
    with stopping() as on_start:
        on_start(first)
        interrupt()
        on_start(second)
        assert (first.stops, second.stops) == (1, 1)
    with stopping() as on_start:
        on_start(first)
        first.running = False
        with pytest.raises(KeyboardInterrupt):
            interrupt()


@POSIX
def test_ctrl_c_before_any_training_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stopping():
        interrupt()
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is before


def test_without_ctrl_c_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stopping():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="trouble"), stopping():
        raise ValueError("trouble")
    assert signal.getsignal(signal.SIGINT) is before
