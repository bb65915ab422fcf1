"""What every command has in common: ``~``, what nobody has thought of, and how it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lightmel.cli import app, process
from lightmel.cli.command import Command, called, in_options
from lightmel.errors import DataError


@pytest.fixture(autouse=True)
def _threads_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line run in this process without giving it, and its children, one thread."""
    monkeypatch.setattr(process, "ONE_THREAD", {})


def every() -> Iterator[tuple[str, Any]]:
    """Yield all commands by their names."""
    whole: Any = typer.main.get_command(app)
    waiting = list(whole.commands.items())
    while waiting:
        name, own = waiting.pop()
        if hasattr(own, "commands"):
            waiting += [(f"{name} {sub}", command) for sub, command in own.commands.items()]
        else:
            yield name, own


COMMANDS = dict(every())
REPORT = "Please report this with the traceback, which `lightmel --debug` shows."


@pytest.mark.parametrize("name", COMMANDS)
def test_a_tilde_leads_home_in_all_that_any_command_is_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    command = COMMANDS[name]
    assert isinstance(command, Command)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(command, "callback", lambda **given: seen.update(given))
    context: Any = command.make_context(name, [], resilient_parsing=True)
    context.params = {"one": "~/a", "path": Path("~/a"), "many": ["~/a", "b~/c"], "number": 3, "none": None}
    command.invoke(context)
    home = tmp_path / "a"
    wanted = {"one": str(home), "path": home, "many": [str(home), "b~/c"], "number": 3, "none": None}
    assert seen == wanted


def test_a_page_goes_home(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.chdir(tmp_path)
    Path("none.jsonl").touch()
    done = runner.invoke(app, ["report", "none.jsonl", "--html", "~/page.html"])
    assert done.stdout == f"{home / 'page.html'}: 0 files. Open it in a browser.\n"
    assert [path.name for path in home.iterdir()] == ["page.html"]
    assert not Path("~").exists()
    two = runner.invoke(app, ["report", "none.jsonl", "--html", "two\nlines.html"])
    assert two.stdout == "two\\nlines.html: 0 files. Open it in a browser.\n"


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", ["models", "report", "study report", "tag", "features"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ZeroDivisionError("by\nzero"),
            f"lightmel failed, which it should not (ZeroDivisionError: by zero). {REPORT}",
        ),
        (KeyError("x"), f"lightmel failed, which it should not (KeyError: 'x'). {REPORT}"),
        (
            OSError(5, "It broke", "a.wav"),
            f"lightmel failed, which it should not (OSError: [Errno 5] It broke: 'a.wav'). {REPORT}",
        ),
        (MemoryError(), "memory ran out. Give it less at a time, or end other programs."),
        (DataError("a.csv: no."), "a.csv: no."),
    ],
)
def test_what_no_command_has_caught_is_a_line(
    error: Exception,
    said: str,
    name: str,
    debug: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(self: Any, ctx: Any) -> None:
        raise error

    monkeypatch.setattr(Command.__mro__[1], "invoke", broken)
    needed = {"report": ["x"], "study report": ["x"], "tag": ["x"], "features": ["x", "--out", "y"]}
    words = [*(["--debug"] if debug else []), *name.split(), *needed.get(name, [])]
    monkeypatch.setattr(sys, "argv", ["lightmel", *words])
    told: list[str] = []
    monkeypatch.setattr("lightmel.cli.log_to_stderr", lambda **options: told.append("debug"))
    with pytest.raises(SystemExit) as end:
        process.run(app)
    assert end.value.code == 1
    assert capsys.readouterr() == ("", f"lightmel {name}: {said}\n")
    assert told == ["debug"] * debug


@pytest.mark.parametrize(
    ("error", "code"), [(typer.Exit(3), 3), (SystemExit(4), 4), (KeyboardInterrupt(), 130)]
)
def test_what_ends_a_command_on_purpose_stays_as_it_is(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Any, ctx: Any) -> None:
        raise error

    monkeypatch.setattr(Command.__mro__[1], "invoke", broken)
    monkeypatch.setattr(sys, "argv", ["lightmel", "models"])
    with pytest.raises(SystemExit) as end:
        process.run(app)
    assert end.value.code == code
    assert "report this" not in capsys.readouterr().err


def test_a_command_knows_its_name_and_options(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def ask(self: Any, ctx: Any) -> None:
        seen.extend((called(), in_options(DataError("leave force=True and retry_failed out, say root=..."))))

    monkeypatch.setattr(Command.__mro__[1], "invoke", ask)
    runner.invoke(app, ["tag", "x"])
    runner.invoke(app, ["study", "report", "x"])
    assert seen == [
        "lightmel tag",
        "leave --force and --retry-failed out, say root=...",
        "lightmel study report",
        "leave force=True and retry_failed out, say root=...",
    ]
