from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmel.cli import show


@given(st.floats(0, 1), st.integers(1, 60))
def test_a_bar_is_never_longer_than_its_width(part: float, width: int) -> None:
    for plain in (False, True):
        assert len(show.bar(part, width, plain=plain)) <= width


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 60))
def test_a_larger_score_has_no_shorter_bar(a: float, b: float, width: int) -> None:
    low, high = sorted((a, b))
    for plain in (False, True):
        assert len(show.bar(low, width, plain=plain)) <= len(show.bar(high, width, plain=plain))


@pytest.mark.parametrize(
    ("part", "blocks", "plain"),
    [
        (0, "", ""),
        (1, "████", "####"),
        (0.5, "██", "##"),
        (0.28125, "█▏", "#"),
        (2, "████", "####"),
        (-1, "", ""),
    ],
)
def test_bars(part: float, blocks: str, plain: str) -> None:
    assert show.bar(part, 4) == blocks
    assert show.bar(part, 4, plain=True) == plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Dvořák, op. 46 [live].mp3", "Dvořák, op. 46 [live].mp3"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("latin\udce9", r"latin\udce9"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: str, shown: str) -> None:
    assert show.printable(text) == shown


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(2_550_000, "2.5 MB"), (1_902_811, "1.9 MB"), (3_157, "3.2 kB"), (999_999, "1.0 MB")],
)
def test_sizes(n_bytes: int, said: str) -> None:
    assert show.size(n_bytes) == said


def test_a_failure_is_one_line_and_names_the_file_once(capsys: pytest.CaptureFixture[str]) -> None:
    show.failure("a.mp3", ValueError("a.mp3: no\nmusic"))
    show.failure("b.mp3", ValueError("no sound"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "a.mp3: no\\nmusic\nb.mp3: no sound\n"


def test_nothing_is_said_about_being_busy_when_nobody_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with show.busy("waiting"):
        pass
    assert capsys.readouterr() == ("", "")


@contextmanager
def real_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give Python the stderr that a program has, one on file descriptor 2, which pytest still captures."""
    with os.fdopen(2, "w", 1, closefd=False) as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        yield


def test_chatter_is_what_goes_past_python(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with real_stderr(monkeypatch):
        os.write(2, b"before\n")
        with show.without_chatter():
            os.write(2, b"a C library's remark\n")
            print("ours", file=sys.stderr)  # noqa: T201
        os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nours\nafter\n"


def test_stderr_is_whole_again_after_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with real_stderr(monkeypatch):
        with pytest.raises(ValueError, match="trouble"), show.without_chatter():
            raise ValueError("trouble")
        os.write(2, b"after\n")
        print("ours", file=sys.stderr)  # noqa: T201
    assert capfd.readouterr().err == "after\nours\n"


def test_a_stderr_that_is_not_the_process_s_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for other in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stderr", other)
        with show.without_chatter():
            os.write(2, b"passed on\n")
            assert sys.stderr is other
    assert capfd.readouterr().err == "passed on\npassed on\n"
