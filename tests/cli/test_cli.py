from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata

import pytest
from typer.testing import CliRunner

import lightmel
from lightmel import sample
from lightmel.cli import app

COMMANDS = ["tag", "models", "cost", "recommend", "finetune", "evaluate", "features", "train", "distill"]

HEAVY = ("torch", "numpy", "scipy", "sklearn", "soundfile", "soxr", "safetensors", "huggingface_hub", "av")


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["-h"], *([command, "--help"] for command in COMMANDS), ["study", "paper", "--help"]],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('loaded:', *[m for m in {HEAVY} if m in sys.modules]))\n"
        "from lightmel.cli import main\n"
        "main()\n"
    )
    out = _run(code, *arguments)
    assert "Usage: " in out
    assert out.splitlines()[-1] == "loaded:"


def test_help_comes_in_under_half_a_second() -> None:
    # Processor time of the child, not the clock's: other programs may be running. The best of three.
    code = (
        "import resource, subprocess, sys\n"
        "def spent():\n"
        "    used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "    return used.ru_utime + used.ru_stime\n"
        "times = []\n"
        "for _ in range(3):\n"
        "    before = spent()\n"
        "    subprocess.run([sys.executable, '-c', 'from lightmel.cli import main; main()', '--help'],\n"
        "                   check=True, stdout=subprocess.DEVNULL)\n"
        "    times.append(spent() - before)\n"
        "print(min(times))\n"
    )
    pytest.importorskip("resource", reason="Windows cannot say what a child process used")
    assert float(_run(code)) < 0.5


def test_version(runner: CliRunner) -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"lightmel {lightmel.__version__}\n")


def test_the_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="lightmel")
    assert command.value == "lightmel.cli:main"


def test_alone_it_shows_its_commands(runner: CliRunner) -> None:
    result = runner.invoke(app, [])
    for command in COMMANDS:
        assert f"\n  {command} " in result.output


def _options(text: str) -> dict[str, str]:
    """The text on each argument and option of a help, in one line each, without its default."""
    _, _, listed = text.partition("\nArguments:\n" if "\nArguments:\n" in text else "\nOptions:\n")
    found: dict[str, str] = {}
    for line in listed.splitlines():
        if match := re.match(r"  (\S.*?)(?:  +|$)(.*)", line):
            name = match[1]
            found[name] = match[2]
        elif line.startswith("   "):
            found[name] += f" {line.strip()}"
    return {name: re.sub(r"\[(default|required|x>=).*", "", said).strip() for name, said in found.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help(runner: CliRunner, command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    said = _options(result.stdout)
    assert len(said) >= 2
    for name, text in said.items():
        assert len(text) > 10, name
        assert text.endswith("."), name
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_python_without_docstrings_shows_the_same_options() -> None:
    environment = os.environ | {"COLUMNS": "80"}
    shown = []
    for flags in ([], ["-OO"]):
        command = [sys.executable, *flags, "-m", "lightmel", "train", "--help"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        shown.append(_options(done.stdout))
    assert shown[0] == shown[1]
    assert len(shown[0]) > 30


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "lightmel", "tag", "--sample"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith(sample.TITLE)
    assert "guitar" in done.stdout


def test_completion_is_offered_and_knows_the_commands(runner: CliRunner) -> None:
    text = runner.invoke(app, ["--help"]).stdout
    assert "--install-completion" in text
    assert "--show-completion" in text
    environment = os.environ | {"_LIGHTMEL_COMPLETE": "source_bash"}
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'lightmel'; from lightmel.cli import main; main()",
    ]
    script = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "complete -o default -F _lightmel_completion lightmel" in script.stdout
    words = {"_LIGHTMEL_COMPLETE": "complete_bash", "COMP_WORDS": "lightmel t", "COMP_CWORD": "1"}
    found = subprocess.run(
        command, env=os.environ | words, capture_output=True, text=True, check=False, timeout=60
    )
    assert found.stdout.split() == ["tag", "train"]
