"""The house stands: who may lean on whom, which package comes in where, and what a library never does."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lightmel"
ROOT = "lightmel"

PLAN = Path(__file__).parents[1] / "docs" / "architecture.md"
ROW = re.compile(r"\| (?P<floor>\d) \| `(?P<room>\w+)` \| .+? \| (?P<packages>[^|]*) ?\|")

NAMES = {"scikit-learn": "sklearn"}
"""Packages that are imported by another name than they are installed by."""

FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in FILES}


def module(path: Path) -> str:
    """``src/lightmel/models/vgg.py`` is ``models.vgg``; the package itself is ``lightmel``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or ROOT


MODULES = {module(path): path for path in FILES}


def plan() -> dict[str, tuple[int, set[str]]]:
    """The table of the rooms in the documentation: the floor of each, and the packages it is the door of."""
    found = {}
    for row in ROW.finditer(PLAN.read_text(encoding="utf-8")):
        packages = {p.strip(" ()") for p in row["packages"].split(",")} - {""}
        found[row["room"]] = int(row["floor"]), {NAMES.get(p, p) for p in packages}
    # The public face: names of the floors below, imported when they are asked for.
    return found | {ROOT: (8, set())}


ROOMS = plan()


def room(name: str) -> str:
    """A room is a file, or a folder whose files may lean on each other, though not in a circle."""
    found = name.split(".")[0]
    assert found in ROOMS, f"{found} is no room of the table in {PLAN.name}: say there what it is for"
    return found


def floor(name: str) -> int:
    return ROOMS[room(name)][0]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every import in a file, wherever it stands: ours as ``models.vgg``, others by their first name."""
    here = module(path)
    package = [] if here == ROOT else here.split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            assert node.module.split(".")[0] != ROOT, f"{path}:{node.lineno}: import from here with dots"
            yield node.module.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                full = ".".join([*base, alias.name])
                yield (full if full in MODULES else ".".join(base) or ROOT), node.lineno


def own_imports(path: Path) -> Iterator[tuple[str, int]]:
    return ((name, line) for name, line in imports(path) if name in MODULES)


def third_party(path: Path) -> Iterator[tuple[str, int]]:
    for name, line in imports(path):
        # typing_extensions only ever comes in for the type checker.
        if name not in MODULES and name not in sys.stdlib_module_names and name != "typing_extensions":
            yield name, line


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_room_leans_on_lower_floors_only(path: Path) -> None:
    here = module(path)
    for name, line in own_imports(path):
        if room(name) != room(here):
            assert floor(name) < floor(here), f"{path}:{line}: {here} may not lean on {name}"


def test_no_room_leans_on_itself_in_a_circle() -> None:
    graph = {
        module(path): {name for name, _ in own_imports(path) if room(name) == room(module(path))}
        for path in FILES
    }
    TopologicalSorter({k: v - {k} for k, v in graph.items()}).prepare()


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_package_comes_in_by_its_door(path: Path) -> None:
    here = room(module(path))
    for name, line in third_party(path):
        doors = [r for r, (_, packages) in ROOMS.items() if name in packages]
        assert here in doors, f"{path}:{line}: {name} comes in by {doors or 'no door'}, not by {here}"


@pytest.mark.parametrize("path", [p for p in FILES if module(p) != "hub"], ids=module)
def test_the_network_has_one_door(path: Path) -> None:
    assert {"urllib", "http", "socket", "ssl"}.isdisjoint(name for name, _ in imports(path))


def test_the_plan_is_the_house() -> None:
    """No room of the table is missing, and none is the door of a package that it does not use."""
    used: dict[str, set[str]] = {name: set() for name in ROOMS}
    for path in FILES:
        used[room(module(path))] |= {name for name, _ in third_party(path)}
    assert {name.split(".")[0] for name in MODULES} == set(ROOMS)
    assert used == {name: packages for name, (_, packages) in ROOMS.items()}


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


@pytest.mark.parametrize("path", [p for p in FILES if room(module(p)) != "cli"], ids=module)
def test_what_a_library_never_does(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call):
            name = dotted(node.func).replace("numpy.", "np.")
            assert name not in FORBIDDEN, f"{path}:{node.lineno}: {name}: {FORBIDDEN[name]}"
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or dotted(node.type) in ("Exception", "BaseException")
            again = any(isinstance(n, ast.Raise) and n.exc is None for n in node.body)
            assert not broad or again, f"{path}:{node.lineno}: what is not expected must not be swallowed"


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


def test_no_file_outgrows_its_room() -> None:
    lines = {str(p.relative_to(SOURCE)): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}
    assert {name: n for name, n in lines.items() if n > 400} == {}
