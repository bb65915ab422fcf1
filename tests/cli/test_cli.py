from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from typer.testing import CliRunner

import lightmel
from lightmel.cli import app

HEAVY = ("torch", "numpy", "scipy", "sklearn", "soundfile", "soxr", "safetensors", "huggingface_hub", "av")


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("arguments", [["--help"], ["tag", "--help"], ["models", "-h"], ["cost", "-h"]])
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
    for command in ("tag", "models", "cost"):
        assert f"\n  {command} " in result.output
