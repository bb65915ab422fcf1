"""Options made of dataclasses, with the help, choices and defaults of each field; and files of options."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lightmel._settings import setting
from lightmel.cli.command import Command
from lightmel.cli.options import _toml, read_settings, with_options
from lightmel.datasets import DataConfig
from lightmel.distillation import DistillConfig, MusicConfig
from lightmel.errors import ConfigError
from lightmel.features import StoreConfig
from lightmel.training import FinetuneConfig, Signature, TaggerConfig, TrainConfig

CONFIGS = [
    DataConfig,
    DistillConfig,
    FinetuneConfig,
    MusicConfig,
    Signature,
    StoreConfig,
    TaggerConfig,
    TrainConfig,
]


@dataclass(frozen=True)
class Soup:
    """What is cooked."""

    kind: Literal["leek", "pea"] = setting("leek", "Which one, leek or pea.")
    salt: float = setting(0.5, "A pinch.")
    pepper_corns: int = setting(3, "Some.")
    hot: bool = setting(True, "Served at once.")
    cold: bool = setting(False, "Served later.")

    def __post_init__(self) -> None:
        if self.salt > 1:
            raise ConfigError("too much salt")


@dataclass(frozen=True)
class Table:
    """Where it is eaten."""

    seats: int = setting(4, "How many.")


def cook(default: Soup, *, told: list[Any]) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

    @app.command(cls=Command)
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


def test_the_help_is_the_fields_with_defaults_and_choices(runner: CliRunner, app: Any) -> None:
    text = shown(runner, app)
    assert "Cook a soup." in text
    said = options(text)
    assert said["--guest"].endswith("For whom. [required]")
    assert "Which one, leek or pea. [default: leek]" in said["--kind"]
    assert "leek|pea" in said["--kind"]
    assert said["--salt"].endswith("A pinch. [default: 0.5]")
    assert said["--pepper-corns"].endswith("Some. [default: 3]")
    (hot,) = (name for name in said if name.startswith("--hot"))
    assert "--no-hot" in hot
    assert said[hot].endswith("Served at once. [default: hot]")
    assert said["--seats"].endswith("How many. [default: 4]")
    assert list(said)[:3] == ["--guest", "--count", "--config"], "a command's own options come first"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["--kind", "tomato"], "'leek', 'pea'"),
        (["--salt", "much"], "--salt"),
        (["--seats", "4.5"], "--seats"),
        (["--hot=maybe"], "--hot"),
        (["--color", "green"], "--color"),
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
    assert (result.exit_code, result.stderr) == (1, "lightmel: too much --salt\n")


def test_two_dataclasses_with_one_field_are_refused() -> None:
    with pytest.raises(ValueError, match="duplicate parameter name"):

        @with_options(one=Table(), two=Table())
        def command(*, one: Any, two: Any) -> None:
            pass


def test_python_that_strips_docstrings_takes_no_help_away(
    runner: CliRunner, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = options(shown(runner, cook(Soup(), told=told)))
    monkeypatch.setattr(Soup, "__doc__", None)
    assert options(shown(runner, cook(Soup(), told=told))) == before


# The configurations of commands


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_configuration_has_its_help_choices_and_default(
    runner: CliRunner, kind: type
) -> None:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    @app.command(cls=Command)
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
        # A long one is broken at a hyphen; an empty text is not shown.
        assert shown_default.replace(" ", "") == ("" if default == "" else f"{default}]")
        assert len(words) > 8
        assert words.rstrip().endswith(".")
        for choice in get_args(hints[field.name]):
            assert choice in text


# Files of options


def kitchen(told: list[Any]) -> typer.Typer:
    """Build a command with what commands of lightmel have: an argument, a list, an option of another name."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

    @app.command(cls=Command)
    @with_options(soup=Soup(), table=Table())
    def serve(
        music: Annotated[Path, typer.Argument(metavar="MUSIC", help="While they eat.")],
        cook: Annotated[list[str], typer.Option(help="Who cooks.")],
        out: Annotated[Path | None, typer.Option(help="Where it goes.")] = None,
        base: Annotated[str, typer.Option("--from", "-f", help="What it begins with.")] = "water",
        guests: Annotated[int | None, typer.Option("--guests", help="How many come.")] = None,
        quick: Annotated[bool, typer.Option("--quick", help="At once.")] = False,
        *,
        soup: Any,
        table: Any,
    ) -> None:
        """Serve a soup."""
        told.append((music, cook, out, base, guests, quick, soup(), table()))
        if base == "nothing":
            raise typer.Exit(1)

    return app


@pytest.fixture
def serve(runner: CliRunner, told: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command with a file of these lines, in a folder of its own; return the result."""
    monkeypatch.chdir(tmp_path)
    app = kitchen(told)

    def run(text: str | bytes | None, *words: str) -> Any:
        if text is not None:
            Path("own.toml").write_bytes(text.encode() if isinstance(text, str) else text)
            words = (*words, "--config", "own.toml")
        return runner.invoke(app, list(words), env={"COLUMNS": "10000"})

    return run


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(
    serve: Any, told: list[Any]
) -> None:
    text = """
        # A comment.
        music = "song.mp3"
        cook = ["Ann", "Bea"]
        from = "broth"
        guests = 3
        quick = true
        kind = "pea"
        salt = 1
        pepper-corns = 5
        cold = true
        hot = false
    """
    result = serve(text)
    assert result.exit_code == 0, result.output
    soup = Soup("pea", 1.0, 5, hot=False, cold=True)
    assert told.pop() == (Path("song.mp3"), ["Ann", "Bea"], None, "broth", 3, True, soup, Table())
    result = serve(
        text, "other.mp3", "--cook", "Cem", "--from", "stock", "--salt", "0.25", "--hot", "--seats", "6"
    )
    assert result.exit_code == 0, result.output
    soup = Soup("pea", 0.25, 5, hot=True, cold=True)
    assert told.pop() == (Path("other.mp3"), ["Cem"], None, "stock", 3, True, soup, Table(6))
    assert serve("pepper_corns = 7\n", "x", "--cook", "Ann").exit_code == 0
    assert told.pop()[-2:] == (Soup(pepper_corns=7), Table())
    assert serve(b"\xef\xbb\xbfseats = 7\r\n", "x", "--cook", "Ann").exit_code == 0, "as Windows writes it"
    assert told.pop()[-1] == Table(7)


def test_what_neither_the_file_nor_the_command_line_has_is_missing(serve: Any) -> None:
    result = serve('cook = ["Ann"]\n')
    assert result.exit_code == 2
    assert "MUSIC" in result.stderr
    result = serve('music = "x"\n')
    assert result.exit_code == 2
    assert "--cook" in result.stderr


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pepper-corn = 3", "there is no option 'pepper-corn'. Did you mean 'pepper_corns'?"),
        ("base = 'x'", "there is no option 'base'."),
        ("config = 'x'", "there is no option 'config'."),
        ("pepper-corns = 3\npepper_corns = 3", "pepper_corns stands twice, once with - and once with _."),
        ("seats = '4'", 'seats is a whole number, not "4".'),
        ("seats = 4.0", "seats is a whole number, not 4.0."),
        ("seats = true", "seats is a whole number, not true."),
        ("guests = 'two'", 'guests is a whole number, not "two".'),
        ("salt = '1'", 'salt is a number, not "1".'),
        ("salt = false", "salt is a number, not false."),
        ("hot = 1", "hot is true or false, not 1."),
        ("quick = 'yes'", 'quick is true or false, not "yes".'),
        ("kind = 'peas'", 'kind is "leek" or "pea", not "peas". Did you mean \'pea\'?'),
        ("kind = ['pea']", 'kind is "leek" or "pea", not ["pea"].'),
        ("kind = 3", 'kind is "leek" or "pea", not 3.'),
        ("from = 3", "from is a text in quotes, not 3."),
        ("music = 3", "music is a text in quotes, not 3."),
        ("out = 1979-05-27", "out is a text in quotes, not 1979-05-27."),
        ("cook = 'Ann'", 'cook is a list, each item a text in quotes, not "Ann".'),
        ("cook = ['Ann', 3]", 'cook is a list, each item a text in quotes, not ["Ann", 3].'),
        ("[kind]\na = 1", 'kind is "leek" or "pea", not a table.'),
        ("[soup]\nsalt = 1", "there is no option 'soup'. Options stand in no table."),
        ("salt = x", "own.toml is not TOML: Invalid value (at line 1, column 8)."),
        ("salt 3", "own.toml is not TOML: "),
        (b"from = 'caf\xe9'", "own.toml is not TOML: its text is not UTF-8."),
        ("salt = 3".encode("utf-16"), "own.toml is not TOML: its text is not UTF-8."),
    ],
)
def test_what_a_file_cannot_say_is_a_usage_error(
    serve: Any, told: list[Any], text: str | bytes, why: str
) -> None:
    result = serve(text, "song.mp3", "--cook", "Ann")
    assert result.exit_code == 2
    assert result.stdout == ""
    said = result.stderr.splitlines()[-1]
    assert said.startswith("Error: Invalid value for --config: own.toml")
    assert why in said
    assert told == []


def test_a_file_without_end_is_a_usage_error(serve: Any, told: list[Any]) -> None:
    for text in ("salt = " + "9" * 5_000, "cook = " + "[" * 5_000):
        result = serve(text, "song.mp3", "--cook", "Ann")
        assert result.exit_code == 2
        assert "own.toml is not TOML" in result.stderr
    assert told == []


def test_a_file_that_cannot_be_read_is_a_usage_error(serve: Any, told: list[Any]) -> None:
    for name, why in (("none.toml", "No such file or directory"), (".", "Is a directory")):
        result = serve(None, "song.mp3", "--cook", "Ann", "--config", name)
        assert result.exit_code == 2
        assert f"{name} cannot be read: {why}." in result.stderr.splitlines()[-1]
    assert told == []


def test_what_the_dataclass_refuses_in_a_file_is_raised_as_on_the_command_line(serve: Any) -> None:
    result = serve("salt = 2", "song.mp3", "--cook", "Ann")
    assert (result.exit_code, result.stderr) == (1, "lightmel: too much --salt\n")


ODD = [
    "Dvořák “op. 46”",
    'a "quoted" \\ name',
    "C:\\music\\new",
    "tab\tnew\nline",
    "\x01\x1f\x7f\x85\u2028",
    "🎺",
    "'",
]


def test_the_file_beside_the_result_makes_the_same_again(serve: Any, told: list[Any], tmp_path: Path) -> None:
    words = [
        "--from",
        ODD[1],
        "--quick",
        "--salt",
        "1e-5",
        "--pepper-corns",
        "9",
        "--no-hot",
        "--kind",
        "pea",
    ]
    cooks = [word for name in ODD for word in ("--cook", name)]
    result = serve(None, "Dvořák.mp3", *cooks, "--out", "a 'b' ü.json", *words)
    assert result.exit_code == 0, result.output
    first = told.pop()
    assert first[1] == ODD
    written = tmp_path / "a 'b' ü.toml"
    text = written.read_text(encoding="utf-8")
    assert "`lightmel --config`" in text.splitlines()[0]
    assert tomllib.loads(text) == {
        "music": "Dvořák.mp3",
        "cook": ODD,
        "out": "a 'b' ü.json",
        "from": ODD[1],
        "quick": True,
        "kind": "pea",
        "salt": 1e-5,
        "pepper_corns": 9,
        "hot": False,
        "cold": False,
        "seats": 4,
    }
    result = serve(None, "--config", str(written))
    assert result.exit_code == 0, result.output
    assert told.pop() == first
    assert written.read_text(encoding="utf-8") == text
    result = serve(None, "--config", str(written), "--out", "other")
    assert result.exit_code == 0, result.output
    assert told.pop() == (*first[:2], Path("other"), *first[3:])
    assert (tmp_path / "other.toml").read_text(encoding="utf-8") == text.replace("a 'b' ü.json", "other")


@pytest.mark.parametrize(
    ("out", "file"),
    [
        ("a", "a.toml"),
        ("a-0.1", "a-0.1.toml"),
        ("a.safetensors", "a.toml"),
        ("new/a.json", "new/a.toml"),
        ("a/", "a.toml"),
        ("sub/.", "sub.toml"),
        (".", "../{}.toml"),
        ("..", "../../{}.toml"),
    ],
)
def test_where_the_file_goes(
    runner: CliRunner, told: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, file: str
) -> None:
    here = tmp_path / "up" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    result = runner.invoke(kitchen(told), ["x", "--cook", "Ann", "--out", out])
    assert result.exit_code == 0, result.output
    name = {".": "here", "..": "up"}.get(out, "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        Path(os.path.normpath(here / file.format(name)))
    ]


def test_no_file_is_written_without_a_result(serve: Any, told: list[Any], tmp_path: Path) -> None:
    assert serve(None, "x", "--cook", "Ann").exit_code == 0
    assert serve(None, "x", "--cook", "Ann", "--out", "a", "--from", "nothing").exit_code == 1
    salty = serve(None, "x", "--cook", "Ann", "--out", "a", "--salt", "2")
    assert (salty.exit_code, salty.stderr) == (1, "lightmel: too much --salt\n")
    assert serve(None, "x", "--cook", "Ann", "--out", "a", "--salt", "much").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_of_several_processes_the_first_writes(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        assert serve(None, "x", "--cook", "Ann", "--out", rank).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["0.toml"]


def test_a_file_that_cannot_be_written_is_a_line(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()
    result = serve(None, "x", "--cook", "Ann", "--out", "a")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"lightmel: {tmp_path / 'a.toml'} cannot be written: ")
    assert result.stderr.count("\n") == 1


def test_the_file_that_was_read_is_not_overwritten_with_other_settings(
    serve: Any, told: list[Any], tmp_path: Path
) -> None:
    own = "# mine\nmusic = 'x'\nout = 'own'\ncook = ['Ann']\n"
    assert serve(own).exit_code == 0
    assert (tmp_path / "own.toml").read_text() == own, "it says all there is to say"
    assert len(told) == 1
    for words in (["--salt", "0.1"], ["--out", "own.json"]):
        result = serve(own, *words)
        assert result.exit_code == 2
        assert "own.toml would be overwritten by the settings that go beside --out" in result.stderr
        assert f"with another {words[0][2:]}: copy the file, or name another --out." in result.stderr
        assert (tmp_path / "own.toml").read_text() == own
    assert len(told) == 1, "that is said before the work"
    assert serve(own, "--out", "other", "--salt", "0.1").exit_code == 0
    assert tomllib.loads((tmp_path / "other.toml").read_text())["salt"] == 0.1


def test_what_is_read_is_not_overwritten(serve: Any, told: list[Any], tmp_path: Path) -> None:
    (tmp_path / "songs.csv").write_text("mine")
    (tmp_path / "songs.json").write_text("mine")
    for music, out, taken in (
        ("songs.csv", "./songs.csv", "songs.csv"),
        ("songs.json", "songs", "songs.json"),
        ("songs.json", "songs.safetensors", "songs.json"),
    ):
        result = serve(None, music, "--out", out, "--cook", "Ann")
        assert result.exit_code == 2
        assert f"{music} is read here, and {tmp_path / taken} would take its place." in result.stderr
    (tmp_path / "own.conf").write_text("music = 'x'\ncook = ['Ann']\n")
    result = serve(None, "--config", "own.conf", "--out", "own.conf")
    assert result.exit_code == 2
    assert f"own.conf is read here, and {tmp_path / 'own.conf'} would take its place." in result.stderr
    assert not told
    assert (tmp_path / "songs.csv").read_text() == (tmp_path / "songs.json").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="names of files are text elsewhere")
def test_a_name_that_is_no_text_is_left_to_the_command_line(
    serve: Any, told: list[Any], tmp_path: Path
) -> None:
    result = serve(None, "caf\udce9.mp3", "--cook", "Ann", "--cook", "b\udce9", "--out", "a")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "a.toml").read_text(encoding="utf-8")
    assert (
        '# music = "caf\\udce9.mp3" is not UTF-8, which TOML cannot hold: say it on the command line.' in text
    )
    assert {"music", "cook"}.isdisjoint(tomllib.loads(text))
    first = told.pop()
    again = serve(
        None, "caf\udce9.mp3", "--cook", "Ann", "--cook", "b\udce9", "--config", "a.toml", "--out", "a/../b"
    )
    assert again.exit_code == 0, again.output
    assert told.pop() == (*first[:2], Path("a/../b"), *first[3:])


scalars = st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.booleans())


@given(scalars | st.lists(st.text() | st.integers()))
def test_toml_reads_back_what_is_written(value: Any) -> None:
    found = tomllib.loads(f"value = {_toml(value)}\n")["value"]
    assert found == value
    assert type(found) is type(value)


@given(st.sampled_from(ODD) | st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_paths_survive_toml(name: str) -> None:
    path = Path(name)
    assert Path(tomllib.loads(f"value = {_toml(path)}\n")["value"]) == path


def test_every_default_of_a_command_fits_its_own_type(tmp_path: Path) -> None:
    for kind in CONFIGS:
        hints: Mapping[str, Any] = get_type_hints(kind)
        plain = dataclasses.asdict(kind())
        file = tmp_path / f"{kind.__name__}.toml"
        file.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in plain.items()))
        assert read_settings(file, hints) == plain
