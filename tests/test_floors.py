"""The house stands: who may lean on whom, which package comes in where, and what a library never does.

The floors are data, in ``floors.toml`` beside this file. A room is a file or a folder of the package; what
the `__init__` of a folder exports is its whole interface to other rooms.
"""

from __future__ import annotations

import ast
import importlib
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lightmel"
ROOT = "lightmel"
PLAN = tomllib.loads((Path(__file__).parent / "floors.toml").read_text(encoding="utf-8"))
FLOORS = {room: floor["level"] for floor in PLAN["floor"] for room in floor["rooms"]}

FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in FILES}


def module(path: Path) -> str:
    """``src/lightmel/models/vgg.py`` is ``models.vgg``; the package itself is ``lightmel``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or ROOT


MODULES = {module(path): path for path in FILES}


class Import(NamedTuple):
    """One imported name: the module of ours that it is from (or is), itself, and where it is imported."""

    module: str
    name: str
    line: int


def room(name: str) -> str:
    """A room is a file, or a folder whose files may lean on each other, though not in a circle."""
    found = name.split(".")[0]
    assert found in FLOORS, f"{found} is no room of floors.toml: say there which floor it is on"
    return found


def imports(path: Path) -> Iterator[Import]:
    """Every import in a file, wherever it stands: ours as ``models.vgg``, others by their first name."""
    here = module(path)
    package = [] if here == ROOT else here.split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                assert first != ROOT, f"{path}:{node.lineno}: import from here with dots"
                yield Import(first, "", node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            first = node.module.split(".")[0]
            assert first != ROOT, f"{path}:{node.lineno}: import from here with dots"
            yield Import(first, "", node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                full = ".".join([*base, alias.name])
                if full in MODULES:
                    yield Import(full, "", node.lineno)
                else:
                    yield Import(".".join(base) or ROOT, alias.name, node.lineno)


def own_imports(path: Path) -> Iterator[Import]:
    return (found for found in imports(path) if found.module in MODULES)


def third_party(path: Path) -> Iterator[tuple[str, int]]:
    for name, _, line in imports(path):
        # typing_extensions only ever comes in for the type checker.
        if name not in MODULES and name not in sys.stdlib_module_names and name != "typing_extensions":
            yield name, line


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_room_leans_on_lower_floors_only(path: Path) -> None:
    here = module(path)
    for name, _, line in own_imports(path):
        if room(name) != room(here):
            lower = FLOORS[room(name)] < FLOORS[room(here)]
            assert lower, f"{path}:{line}: {here} may not lean on {name}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_room_is_entered_by_its_interface(path: Path) -> None:
    """From another room, only what its ``__init__`` exports is imported, and by way of it."""
    here = module(path)
    for name, what, line in own_imports(path):
        if room(name) == room(here) or name == ROOT:
            continue
        where = f"{path}:{line}"
        assert name == room(name), f"{where}: import from {room(name)}, not from inside it ({name})"
        if what and MODULES[name].name == "__init__.py":
            exported = importlib.import_module(f"{ROOT}.{name}").__all__
            assert what in exported, f"{where}: {name} does not export {what}"


def test_no_room_leans_on_itself_in_a_circle() -> None:
    graph = {
        module(path): {name for name, *_ in own_imports(path) if room(name) == room(module(path))}
        for path in FILES
    }
    TopologicalSorter({k: v - {k} for k, v in graph.items()}).prepare()


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_package_comes_in_by_its_doors(path: Path) -> None:
    here = room(module(path))
    for name, line in third_party(path):
        doors = PLAN["doors"].get(name, [])
        assert here in doors, f"{path}:{line}: {name} comes in by {doors or 'no door'}, not by {here}"


def test_a_room_with_an_interface_says_what_it_is() -> None:
    folders = [name for name in FLOORS if (SOURCE / name / "__init__.py").exists()]
    assert [
        name for name in folders if not hasattr(importlib.import_module(f"{ROOT}.{name}"), "__all__")
    ] == []


@pytest.mark.parametrize(
    "path", [p for p in FILES if room(module(p)) not in PLAN["network"]["rooms"]], ids=module
)
def test_the_network_has_one_door(path: Path) -> None:
    assert {"urllib", "http", "socket", "ssl"}.isdisjoint(name for name, *_ in imports(path))


FORBIDDEN = {
    "print": "the library never prints",
    "warnings.filterwarnings": "warnings are the user's to filter",
    "warnings.simplefilter": "warnings are the user's to filter",
    "torch.set_num_threads": "threads are the user's to set",
    "torch.set_num_interop_threads": "threads are the user's to set",
    "torch.set_default_dtype": "global state",
    "torch.set_flush_denormal": "global state",
    "torch.use_deterministic_algorithms": "global state",
    "torch.manual_seed": "pass a generator",
    "np.random.seed": "pass a generator",
    "np.random.rand": "pass a generator",
    "np.random.randn": "pass a generator",
    "random.seed": "pass a generator",
    "random.random": "pass a generator",
    "sys.exit": "raise an error of ours",
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@pytest.mark.parametrize(
    "path", [p for p in FILES if room(module(p)) != "cli" and module(p) != "__main__"], ids=module
)
def test_what_a_library_never_does(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call):
            name = dotted(node.func).replace("numpy.", "np.")
            assert name not in FORBIDDEN, f"{path}:{node.lineno}: {name}: {FORBIDDEN[name]}"
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or dotted(node.type) in ("Exception", "BaseException")
            again = any(isinstance(n, ast.Raise) and n.exc is None for n in node.body)
            # `attempt` is there for it: one of many files, and the others go on. A `Door` keeps what is
            # raised while C reads, where it would be printed and forgotten, and raises it afterwards.
            assert not broad or again or module(path) in ("_each", "audio._doors"), (
                f"{path}:{node.lineno}: what is not expected must not be swallowed"
            )


@pytest.mark.parametrize("path", FILES, ids=module)
def test_nothing_is_loaded_or_run_without_being_looked_at(path: Path) -> None:
    """No pickle: ``torch.load`` only with ``weights_only``, and neither eval nor exec."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call):
            name, keywords = dotted(node.func), {k.arg: k.value for k in node.keywords}
            assert name not in ("eval", "exec", "pickle.load", "pickle.loads", "__import__"), (
                f"{path}:{node.lineno}"
            )
            if name in ("torch.load", "np.load"):
                wanted = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}[name]
                value = keywords.get(wanted[0], ast.Constant(False))  # False is NumPy's own default
                assert isinstance(value, ast.Constant), f"{path}:{node.lineno}"
                assert value.value is wanted[1], f"{path}:{node.lineno}"
