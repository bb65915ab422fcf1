from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lightmel

HEAVY = {
    "torch",
    "numpy",
    "scipy",
    "sklearn",
    "soundfile",
    "soxr",
    "av",
    "safetensors",
    "huggingface_hub",
    "typer",
    "rich",
}


def fresh(code: str) -> Any:
    """Run `code` in a new interpreter that knows nothing yet, and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = fresh("import sys, json, lightmel; print(json.dumps(sorted(sys.modules)))")
    assert HEAVY.isdisjoint(name.split(".")[0] for name in loaded)
    own = {name for name in loaded if name.startswith("lightmel")}
    rooms = ("_lazy", "_settings", "errors", "audio", "audio._rates", "frontends")
    names = (*rooms, "frontends.base", "frontends.mel", "frontends.registry")
    assert own == {"lightmel", *(f"lightmel.{name}" for name in names)}


def test_configurations_and_names_need_no_torch() -> None:
    loaded = fresh(
        "import sys, json, lightmel;"
        "lightmel.MelConfig.from_slug('16k-mel48-x2-db').input_shape(); len(lightmel.PAPER_CONFIGS);"
        "from lightmel import vocabularies; vocabularies.read('mtat');"
        "print(json.dumps(sorted(sys.modules)))"
    )
    assert HEAVY.isdisjoint(name.split(".")[0] for name in loaded)


def test_torch_comes_with_the_first_name_that_needs_it() -> None:
    before, after = fresh(
        "import sys, json, lightmel; before = 'torch' in sys.modules; lightmel.MelFrontend;"
        "print(json.dumps([before, 'torch' in sys.modules]))"
    )
    assert (before, after) == (False, True)


def test_importing_changes_no_setting_and_opens_no_connection() -> None:
    """Neither the package nor what it brings later: threads, warnings, logging handlers, sockets."""
    before, after = fresh(
        "import json, logging, socket, sys, warnings, torch, numpy\n"
        "def refuse(*args, **kwargs): raise AssertionError('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "def state():\n"
        "    return [torch.get_num_threads(), str(torch.get_default_dtype()), torch.is_grad_enabled(),\n"
        "            torch.initial_seed(), len(logging.getLogger('lightmel').handlers),\n"
        "            len(logging.getLogger().handlers), numpy.random.get_state()[1].tolist()[:4]]\n"
        "before, filters = state(), [str(f) for f in warnings.filters]\n"
        "import lightmel\n"
        "for name in lightmel.__all__: getattr(lightmel, name)\n"
        "import lightmel.distillation.recipe, lightmel.hub.won2020\n"
        "added = [str(f) for f in warnings.filters if str(f) not in filters and 'lightmel' in str(f)]\n"
        "print(json.dumps([before + [[]], state() + [added]]))"
    )
    assert before == after


@pytest.mark.parametrize("name", lightmel.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(lightmel, name)
    assert value is not None
    assert name in dir(lightmel)
    if name not in ("__version__", "PAPER_CONFIGS"):
        assert value.__doc__
    assert getattr(lightmel, name) is value


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'lightmel' has no attribute 'tagg'"):
        _ = lightmel.tagg  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from lightmel import nothing_of_that_name")


def test_star_brings_the_public_names_and_no_more() -> None:
    space: dict[str, Any] = {}
    exec("from lightmel import *", space)
    assert set(space) - {"__builtins__"} == set(lightmel.__all__)


def test_rooms_are_reached_through_the_package_only_when_asked_for() -> None:
    with pytest.raises(ImportError):
        importlib.import_module("lightmel.utils")
    assert importlib.import_module("lightmel.hub").releases()


ROOMS = ["lightmel", *(m.name for m in pkgutil.walk_packages(lightmel.__path__, "lightmel.") if m.ispkg)]


def test_every_room_is_found() -> None:
    folder = Path(lightmel.__file__).parent
    folders = {path.parent.relative_to(folder.parent) for path in folder.rglob("__init__.py")}
    assert set(ROOMS) == {".".join(path.parts) for path in folders}
    assert {"lightmel.inference.runtimes", "lightmel.checkpoint", "lightmel.cli"} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_every_name_of_a_room_is_there(name: str) -> None:
    room = importlib.import_module(name)
    assert room.__all__
    assert len(set(room.__all__)) == len(room.__all__)
    for exported in room.__all__:
        assert getattr(room, exported) is not None
        assert exported in dir(room)
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = room.nothing_of_that_name


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_exports_nothing_that_is_called_as_one_of_its_modules(name: str) -> None:
    """Importing the module would put it in the place of the function or class, depending on the order."""
    room = importlib.import_module(name)
    modules = {module.name for module in pkgutil.iter_modules(room.__path__)}
    assert sorted(modules & set(room.__all__)) == []


def test_the_package_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "lightmel", "--version"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"lightmel {lightmel.__version__}"


def test_the_package_is_typed() -> None:
    from importlib import resources

    assert resources.files("lightmel").joinpath("py.typed").is_file()
