from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lightmel._each import attempt, printable, reason
from lightmel.errors import AudioError, LightmelError, UnexpectedError, WeightsError


class OddError(Exception):
    pass


def test_what_works_is_what_comes_of_it() -> None:
    assert attempt("a.wav", divmod, 7, 2) == (3, 1)
    assert attempt(Path("a.wav"), int, "11", base=2) == 3


@pytest.mark.parametrize(
    "raised",
    [
        OddError("a\nlong " + "story" * 100),
        ZeroDivisionError(),
        RecursionError(),
        OSError(5, "I/O"),
        StopIteration(),
    ],
)
def test_whatever_is_raised_is_a_sentence_with_the_file_and_its_cause(
    raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise raised

    with caplog.at_level(logging.DEBUG, "lightmel"):
        found = attempt("a\nb.wav", fail)
    assert isinstance(found, UnexpectedError)
    assert found.__cause__ is raised
    text = str(found)
    assert text.startswith(rf"a\nb.wav: lightmel failed on it, which it should not ({type(raised).__name__}")
    assert "`lightmel --debug`" in text
    assert "\n" not in text
    assert len(text) < 400
    assert "Traceback" in caplog.text


def test_errors_of_ours_are_what_they_are_and_memory_is_the_files() -> None:
    own = WeightsError("no.")

    def fail() -> None:
        raise own

    def too_much() -> None:
        raise MemoryError

    assert attempt("a.wav", fail) is own
    found = attempt("a.wav", too_much)
    assert isinstance(found, AudioError)
    assert str(found) == "a.wav: memory ran out on it. Leave it out, or run fewer things at a time."


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_ends_it(kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind

    with pytest.raises(kind):
        attempt("a.wav", fail)


@pytest.mark.parametrize(
    ("text", "name", "left"),
    [
        ("a.wav: is empty.", "a.wav", "is empty."),
        ("a.wav: is empty.", "./a.wav", "is empty."),
        ("b/a.wav: is empty.", "b//./a.wav", "is empty."),
        (r"a\nb.wav: is empty.", "a\nb.wav", "is empty."),
        (r"a\udcff.wav: is empty.", "a\udcff.wav", "is empty."),
        ("other.wav: is empty.", "a.wav", "other.wav: is empty."),
        ("a.wav", "a.wav", "a.wav"),
        ("is empty.", "", "is empty."),
    ],
)
def test_a_reason_is_without_the_name(text: str, name: str, left: str) -> None:
    assert reason(LightmelError(text), name) == left


def test_printable_is_one_line_of_what_can_be_printed() -> None:
    assert printable("caf\u00e9 a\n\x1b\u2028\udcff") == r"café a\n\x1b\u2028\udcff"
