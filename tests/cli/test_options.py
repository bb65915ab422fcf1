"""Options made of dataclasses: every field is one, with the help, choices and defaults of the dataclass."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from lightmel.cli.options import with_options
from lightmel.errors import ConfigError
from lightmel.training import config as configs

CONFIGS = [
    kind for kind in vars(configs).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
]


@dataclass(frozen=True)
class Soup:
    """What is cooked.

    Parameters
    ----------
    kind
        Which one; more than one line
        may say so.
    salt, pepper_corns
        A pinch.
    hot
        Served at once.
    cold
        Served later.

    Raises
    ------
    ConfigError
        If there is too much salt.
    """

    kind: Literal["leek", "pea"] = "leek"
    salt: float = 0.5
    pepper_corns: int = 3
    hot: bool = True
    cold: bool = False

    def __post_init__(self) -> None:
        if self.salt > 1:
            raise ConfigError("too much salt")


@dataclass(frozen=True)
class Table:
    """Where it is eaten.

    Parameters
    ----------
    seats
        How many.
    """

    seats: int = 4


def cook(default: Soup, *, told: list[Any]) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

    @app.command()
    @with_options(soup=default, table=Table())
    def command(
        guest: Annotated[str, typer.Option(help="For whom.")], count: int = 1, *, soup: Any, table: Any
    ) -> None:
        """Cook a soup."""
        told.append((guest, count, soup(), table()))

    return app


@pytest.fixture
def told() -> list[Any]:
    return []


@pytest.fixture
def app(told: list[Any]) -> typer.Typer:
    return cook(Soup(), told=told)


def shown(runner: CliRunner, app: typer.Typer, *command: str) -> str:
    result = runner.invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def options(text: str) -> dict[str, str]:
    """What a help says on each option, on one line each."""
    parts = re.split(r"^  (--[a-z-]+(?:(?:/|, | / )--[a-z-]+)?)", text, flags=re.M)[1:]
    return {name: " ".join(said.split()) for name, said in zip(parts[::2], parts[1::2], strict=True)}


def test_the_defaults_are_those_of_the_instance(runner: CliRunner, told: list[Any]) -> None:
    default = Soup(salt=0.25, kind="pea", cold=True)
    assert runner.invoke(cook(default, told=told), ["--guest", "Ann"]).exit_code == 0
    assert told == [("Ann", 1, default, Table())]


def test_what_is_chosen_arrives_in_its_dataclass(runner: CliRunner, app: Any, told: list[Any]) -> None:
    command = "--guest Ann --count 2 --kind pea --salt .75 --pepper-corns 0 --no-hot --cold --seats 8"
    result = runner.invoke(app, command.split())
    assert result.exit_code == 0, result.output
    assert told == [("Ann", 2, Soup("pea", 0.75, 0, hot=False, cold=True), Table(8))]


def test_the_help_is_the_docstrings_with_defaults_and_choices(runner: CliRunner, app: Any) -> None:
    text = shown(runner, app)
    assert "Cook a soup." in text
    said = options(text)
    assert said["--guest"].endswith("For whom. [required]")
    assert "Which one; more than one line may say so. [default: leek]" in said["--kind"]
    assert "leek|pea" in said["--kind"]
    assert said["--salt"].endswith("A pinch. [default: 0.5]")
    assert said["--pepper-corns"].endswith("A pinch. [default: 3]")
    (hot,) = (name for name in said if name.startswith("--hot"))
    assert "--no-hot" in hot
    assert said[hot].endswith("Served at once. [default: hot]")
    assert said["--seats"].endswith("How many. [default: 4]")
    assert next(iter(said)) == "--guest", "a command's own options come first"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["--kind", "tomato"], "'leek', 'pea'"),
        (["--salt", "much"], "--salt"),
        (["--seats", "4.5"], "--seats"),
        (["--hot=maybe"], "--hot"),
        (["--colour", "green"], "--colour"),
    ],
)
def test_what_a_field_cannot_be_is_a_usage_error(
    runner: CliRunner, app: Any, told: list[Any], command: list[str], why: str
) -> None:
    result = runner.invoke(app, ["--guest", "Ann", *command])
    assert result.exit_code == 2
    assert why in result.stderr
    assert told == []


def test_what_the_dataclass_refuses_is_raised_where_the_command_builds_it(
    runner: CliRunner, app: Any
) -> None:
    result = runner.invoke(app, ["--guest", "Ann", "--salt", "2"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "too much salt"


def test_two_dataclasses_with_one_field_are_refused() -> None:
    with pytest.raises(ValueError, match="duplicate parameter name"):

        @with_options(one=Table(), two=Table())
        def command(*, one: Any, two: Any) -> None:
            pass


def test_python_that_strips_docstrings_takes_no_option_away(
    runner: CliRunner, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python 3.13 takes the indentation away, -OO all of it.
    docstring = str(Soup.__doc__)
    monkeypatch.setattr(Soup, "__doc__", docstring.replace("\n    ", "\n"))
    assert options(shown(runner, cook(Soup(), told=told)))["--salt"].endswith("A pinch. [default: 0.5]")
    monkeypatch.setattr(Soup, "__doc__", None)
    assert "--salt" in shown(runner, cook(Soup(), told=told))


# The configurations of trainings


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_configuration_has_its_help_choices_and_default(
    runner: CliRunner, kind: type
) -> None:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    @app.command()
    @with_options(config=kind())
    def command(*, config: Any) -> None:
        pass

    said = options(shown(runner, app))
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        option = f"--{field.name.replace('_', '-')}"
        (name,) = (n for n in said if re.split(r"/|, | / ", n)[0] == option)
        default, text = getattr(kind(), field.name), said[name]
        if hints[field.name] is bool:
            assert f"--no-{option[2:]}" in name
            default = option[2:] if default else f"no-{option[2:]}"
        words, _, shown_default = text.partition("[default:")
        assert shown_default.replace(" ", "") == f"{default}]"  # a long one is broken at a hyphen
        assert len(words) > 8
        assert words.endswith(". ")
        for choice in get_args(hints[field.name]):
            assert choice in text
