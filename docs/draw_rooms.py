"""Draw the rooms of lightmel and who leans on whom: ``docs/rooms.svg`` and the table in ``architecture.md``.

The floors and duties are data, ``tests/floors.toml``; who imports what is read from the source. Run it after
either has changed::

    python docs/draw_rooms.py --write
"""

from __future__ import annotations

import argparse
import ast
import math
import random
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src" / "lightmel"
PROJECT = HERE.parent / "pyproject.toml"
FLOORS = HERE.parent / "tests" / "floors.toml"
PICTURE = HERE / "rooms.svg"
PAGE = HERE / "architecture.md"
BEGIN, END = "<!-- rooms: begin -->", "<!-- rooms: end -->"

ROOT = "lightmel"
UNPLANNED = {ROOT, "__main__"}
"""The package's face and its door from outside: drawn only if they have a floor."""
NAMES = {"sklearn": "scikit-learn"}
"""Packages that are installed by another name than they are imported by."""

CHARACTER, PADDING, HEIGHT = 7.9, 12, 30
"""Of a room's box: the width of a letter, the space beside its name, its height."""
ROW, GAP, SPACE, MARGIN, LABEL = 42, 30, 18, 16, 64
"""The height of a row and what is between two; the space between places; the margin, the row's label."""
STEP, HEAD = 16, 6
"""The space between two arrows at one room, at most; the length of an arrow's head."""


class Room(NamedTuple):
    """A room: its floor, what it is for, the rooms and the packages that it imports."""

    floor: int
    duty: str
    rooms: frozenset[str]
    packages: frozenset[str]


# Reading the house.


def read_floors(path: Path = FLOORS) -> dict[str, tuple[int, str]]:
    """Return the floor and the duty of each room, the lowest floor first."""
    if not path.is_file():
        raise SystemExit(f"{path} is missing: it says on which floor each room is, and what it is for")
    floors = tomllib.loads(path.read_text(encoding="utf-8"))["floor"]
    return {
        room: (floor["level"], " ".join(duty.split()))
        for floor in sorted(floors, key=lambda floor: floor["level"])
        for room, duty in floor["rooms"].items()
    }


def module(path: Path) -> str:
    """``src/lightmel/models/vgg.py`` is ``models.vgg``; the package itself is ``lightmel``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or ROOT


def imports(path: Path, modules: set[str]) -> Iterator[str]:
    """Every import in a file, wherever it stands: ours as ``models.vgg``, others by their first name."""
    here = module(path)
    package = [] if here == ROOT else here.split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                full = ".".join([*base, alias.name])
                yield full if full in modules else ".".join(base) or ROOT


def read_rooms(floors: Mapping[str, tuple[int, str]]) -> dict[str, Room]:
    """Return the rooms in the order of `floors`, with what each imports."""
    files = sorted(SOURCE.rglob("*.py"))
    modules = {module(path) for path in files}
    there = {name.split(".")[0] for name in modules}
    if unknown := sorted(there - UNPLANNED - set(floors)):
        raise SystemExit(f"{FLOORS.name} has no floor for {', '.join(unknown)}")
    if gone := sorted(set(floors) - there):
        raise SystemExit(f"{FLOORS.name} names rooms that are not there: {', '.join(gone)}")
    rooms: dict[str, set[str]] = {name: set() for name in floors}
    packages: dict[str, set[str]] = {name: set() for name in floors}
    for path in files:
        here = module(path).split(".")[0]
        for name in imports(path, modules) if here in floors else ():
            first = name.split(".")[0]
            if name not in modules:
                packages[here].add(name)
            elif first != here and first in floors:
                if floors[first][0] >= floors[here][0]:
                    raise SystemExit(f"{here} is not above {first}, which {path} imports")
                rooms[here].add(first)
    # typing_extensions only ever comes in for the type checker.
    usual = sys.stdlib_module_names | {"typing_extensions"}
    return {
        name: Room(floor, duty, frozenset(rooms[name]), frozenset(packages[name] - usual))
        for name, (floor, duty) in floors.items()
    }


# The table.


def table(rooms: Mapping[str, Room]) -> str:
    """Return the rooms as a table in Markdown; packages that need not be installed stand in brackets."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    required = {re.split(r"[^\w.-]", line)[0] for line in project["dependencies"]}

    def package(name: str) -> str:
        name = NAMES.get(name, name)
        return name if name in required else f"({name})"

    def cells(name: str, room: Room) -> Iterator[str]:
        yield str(room.floor)
        yield f"`{name}`"
        yield room.duty.replace("|", r"\|")
        yield ", ".join(f"`{other}`" for other in rooms if other in room.rooms)
        yield ", ".join(sorted(map(package, room.packages), key=lambda name: (name[0] == "(", name)))

    lines = ["| floor | room | duty | imports from | third party |", "| --- | --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(cells(*item)) + " |" for item in rooms.items()]
    return "\n".join(lines).replace("|  |", "| |").replace("|  |", "| |") + "\n"


# The layout: floors are rows, and an arrow that passes a floor has a place of its own there (Sugiyama et al.,
# 1981). Sums are math.fsum's and draws random.random's, which give the same on every Python.

Place = str | tuple[str, str, int]
"""A room by its name, or where the arrow from one room to another passes a row."""
Rows = list[list[Place]]
Links = list[list[tuple[Place, Place]]]
"""What is joined between each row and the one below it."""


def arrows(rooms: Mapping[str, Room]) -> list[tuple[str, str]]:
    """Return who imports whom, without the arrows that a longer way of arrows makes needless."""
    below: dict[str, set[str]] = {}  # all that a room leans on, directly or not
    for name in sorted(rooms, key=lambda name: rooms[name].floor):
        below[name] = set(rooms[name].rooms).union(*(below[other] for other in rooms[name].rooms))
    return [
        (name, other)
        for name in rooms
        for other in rooms
        if other in rooms[name].rooms and not any(other in below[via] for via in rooms[name].rooms)
    ]


def rows_and_links(rooms: Mapping[str, Room]) -> tuple[Rows, Links]:
    """Return the rows from the top floor down, and what is joined between them."""
    floors = sorted({room.floor for room in rooms.values()}, reverse=True)
    row_of = {name: floors.index(room.floor) for name, room in rooms.items()}
    rows: Rows = [[name for name in rooms if row_of[name] == i] for i in range(len(floors))]
    links: Links = [[] for _ in rows[1:]]
    for upper, lower in arrows(rooms):
        passed: list[Place] = []
        for i in range(row_of[upper] + 1, row_of[lower]):
            passed.append((upper, lower, i))
            rows[i].append(passed[-1])
        for i, link in enumerate(pairwise([upper, *passed, lower]), row_of[upper]):
            links[i].append(link)
    return rows, links


def crossings(upper: Sequence[Place], lower: Sequence[Place], links: Sequence[tuple[Place, Place]]) -> int:
    """Count the pairs of links that cross between two rows."""
    at = {place: i for i, place in enumerate(upper)}, {place: i for i, place in enumerate(lower)}
    ends = sorted((at[0][a], at[1][b]) for a, b in links)
    return sum(b > d and a < c for i, (a, b) in enumerate(ends) for c, d in ends[i + 1 :])


def tangle(rows: Rows, links: Links) -> int:
    """Count the crossings between all rows."""
    return sum(crossings(*pair, joined) for pair, joined in zip(pairwise(rows), links, strict=True))


def sweep(rows: Rows, links: Links, turn: int) -> None:
    """Sort each row by the middle of what its places are joined to: downwards in even turns, else upwards."""
    step = 1 if turn % 2 == 0 else -1
    for i in range(len(rows))[::step][1:]:
        fixed = {place: at for at, place in enumerate(rows[i - step])}
        joined = links[min(i, i - step)]
        middle = {}
        for at, place in enumerate(rows[i]):
            near = [fixed[pair[step < 0]] for pair in joined if pair[step > 0] == place]
            middle[place] = math.fsum(near) / len(near) if near else at
        rows[i].sort(key=middle.__getitem__)


def sift(rows: Rows, links: Links) -> None:
    """Move each place to where it makes the fewest crossings, until no move helps."""
    improved = True
    while improved:
        improved = False
        for i, row in enumerate(rows):
            near = rows[max(i - 1, 0) : i + 2]
            joined = links[max(i - 1, 0) : i + 1]
            for place in list(row):
                was = row.index(place)
                costs = []
                for at in range(len(row)):
                    row.remove(place)
                    row.insert(at, place)
                    costs.append(tangle(near, joined))
                best = was if costs[was] == min(costs) else costs.index(min(costs))
                row.remove(place)
                row.insert(best, place)
                improved |= best != was


def width(place: Place) -> float:
    """Return how wide a room's box is; an arrow that passes has none."""
    return CHARACTER * len(place) + 2 * PADDING if isinstance(place, str) else 0


def settle(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Return what is nearest to `wanted` (weighted squares) with at least `gaps` between neighbours."""
    offsets = [math.fsum(gaps[:i]) for i in range(len(wanted))]
    blocks: list[list[int]] = []  # runs that are as near to each other as they may be

    def mean(block: Sequence[int]) -> float:
        total = math.fsum(weights[i] * (wanted[i] - offsets[i]) for i in block)
        return total / math.fsum(weights[i] for i in block)

    for i in range(len(wanted)):
        blocks.append([i])
        while len(blocks) > 1 and mean(blocks[-2]) > mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [mean(block) + offsets[i] for block in blocks for i in block]


def ports(rows: Rows, links: Links) -> dict[tuple[Place, Place], tuple[float, float]]:
    """Return how far from the middles of its two places each link ends: side by side, so that none cross."""

    def beside(place: Place, others: list[Place], row: list[Place]) -> dict[Place, float]:
        step = min(STEP, (width(place) - PADDING) / len(others)) if isinstance(place, str) else 0
        ranked = sorted(others, key=row.index)
        return {other: step * (i - (len(ranked) - 1) / 2) for i, other in enumerate(ranked)}

    found = {}
    for (upper, lower), joined in zip(pairwise(rows), links, strict=True):
        for a, b in joined:
            down = beside(a, [d for c, d in joined if c == a], lower)[b]
            found[a, b] = down, beside(b, [c for c, d in joined if d == b], upper)[a]
    return found


def spread(rows: Rows, links: Links, turns: int) -> dict[Place, float]:
    """Return where the middle of each place lies, such that links lean little and most of them not at all.

    What is made small is the sum of how far they lean, by weighted squares: a link that leans weighs less.
    """
    near: dict[Place, list[tuple[Place, float, float]]] = {place: [] for row in rows for place in row}
    for (a, b), (down, up) in ports(rows, links).items():
        stiff = 2.0 ** (isinstance(a, tuple) + isinstance(b, tuple))  # long arrows above all
        near[a].append((b, up - down, stiff))
        near[b].append((a, down - up, stiff))
    gaps = [[(width(a) + width(b)) / 2 + SPACE for a, b in pairwise(row)] for row in rows]
    found: dict[Place, float] = {}
    for row, apart in zip(rows, gaps, strict=True):
        half = math.fsum(apart) / 2
        found |= {place: math.fsum(apart[:i]) - half for i, place in enumerate(row)}
    slack = 50.0  # less would leave places stuck between two that pull equally
    for turn in range(turns):
        slack = max(0.98 * slack, 0.1)
        for row, apart in list(zip(rows, gaps, strict=True))[:: 1 if turn % 2 else -1]:
            wanted, weights = [], []
            for place in row:
                pulls = [(found[other] + by, stiff) for other, by, stiff in near[place]]
                leans = [max(abs(at - found[place]), slack) for at, _ in pulls]
                pulls = [
                    (at, stiff / (d * math.sqrt(d))) for (at, stiff), d in zip(pulls, leans, strict=True)
                ]
                pulls.append((found[place], 1e-3))
                weights.append(math.fsum(weight for _, weight in pulls))
                wanted.append(math.fsum(at * weight for at, weight in pulls) / weights[-1])
            found |= zip(row, settle(wanted, weights, apart), strict=True)
    return found


def lay_out(rooms: Mapping[str, Room]) -> tuple[Rows, Links, dict[Place, float]]:
    """Return rows, links and places: of some orders that of the fewest crossings, then the shortest."""
    rows, links = rows_and_links(rooms)
    best: tuple[int, float, Rows] | None = None
    for seed in range(40):
        chance = random.Random(seed)
        tried: Rows = []
        for row in rows:
            keys = {place: chance.random() for place in row}
            tried.append(sorted(row, key=keys.__getitem__))
        for turn in range(8):
            sweep(tried, links, turn)
        sift(tried, links)
        at = spread(tried, links, 100)
        length = math.fsum(abs(at[a] - at[b]) for joined in links for a, b in joined)
        if best is None or (tangle(tried, links), length) < best[:2]:
            best = tangle(tried, links), length, tried
    assert best is not None
    return best[2], links, spread(best[2], links, 800)


# The picture.

STYLE = """\
  text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; }
  .paper { fill: #ffffff; stroke: #d1d9e0; }
  .floor { fill: #f3f5f7; }
  .number, .note { font-family: system-ui, sans-serif; font-size: 12px; fill: #59636e; }
  .room { fill: #ffffff; stroke: #4f7cac; stroke-width: 1.5; }
  .arrow { fill: none; stroke: #6e7781; stroke-width: 1.25; }
  .head { fill: #6e7781; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .paper { fill: #0d1117; stroke: #3d444d; }
    .floor { fill: #151b23; }
    .number, .note { fill: #9198a1; }
    .room { fill: #0d1117; stroke: #6ea8dc; }
    .arrow { stroke: #8b949e; }
    .head { fill: #8b949e; }
  }
"""
NOTE = "An arrow: imports from. What other arrows lead to anyway has none of its own; the table has all."


def draw(rooms: Mapping[str, Room]) -> str:
    """Return the picture as SVG."""
    rows, links, middle = lay_out(rooms)
    left = min(middle[place] - width(place) / 2 for row in rows for place in row) - MARGIN - LABEL
    right = max(middle[place] + width(place) / 2 for row in rows for place in row) + MARGIN + 12
    x = {place: at - left for place, at in middle.items()}
    top = {place: MARGIN + i * (ROW + GAP) for i, row in enumerate(rows) for place in row}
    wide = round(max(right - left, 2 * MARGIN + 6.2 * len(NOTE)))
    high = MARGIN + len(rows) * (ROW + GAP) + 12

    paths: dict[tuple[str, str], list[str]] = {}
    heads = []
    inset = (ROW - HEIGHT) // 2
    ends = ports(rows, links)
    for joined in links:
        for a, b in joined:
            x0, x1 = x[a] + ends[a, b][0], x[b] + ends[a, b][1]
            y0 = top[a] + ROW - (inset if isinstance(a, str) else 0)
            y1 = top[b] + (inset - HEAD if isinstance(b, str) else 0)
            mid = (y0 + y1) / 2
            whole = (a if isinstance(a, str) else a[0], b if isinstance(b, str) else b[1])
            path = paths.setdefault(whole, [f"M{x0:.0f} {y0}"])
            path.append(f"C{x0:.0f} {mid:.0f} {x1:.0f} {mid:.0f} {x1:.0f} {y1}")
            if isinstance(b, str):
                heads.append(f"M{x1:.0f} {y1 + HEAD}l-4 -{HEAD + 1}h8z")
            else:
                path.append(f"V{top[b] + ROW}")

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
        ' role="img">',
        "<title>The rooms of lightmel, floor by floor</title>",
        f"<style>\n{STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{wide - 1}" height="{high - 1}" rx="8"/>',
    ]
    for row in rows:
        floor, y = next((rooms[place].floor, top[place]) for place in row if isinstance(place, str))
        out.append(f'<rect class="floor" x="8" y="{y}" width="{wide - 16}" height="{ROW}" rx="6"/>')
        out.append(f'<text class="number" x="18" y="{y + ROW // 2 + 4}">floor {floor}</text>')
    out += [f'<path class="arrow" d="{"".join(path)}"/>' for path in paths.values()]
    out.append(f'<path class="head" d="{"".join(heads)}"/>')
    for place in (place for row in rows for place in row if isinstance(place, str)):
        corner, upper = x[place] - width(place) / 2, top[place] + inset
        out += [
            f"<g><title>{escape(rooms[place].duty)}</title>",
            f'<rect class="room" x="{corner:.0f}" y="{upper}" width="{width(place):.0f}"'
            f' height="{HEIGHT}" rx="5"/>',
            f'<text x="{x[place]:.0f}" y="{upper + 20}" text-anchor="middle">{escape(place)}</text></g>',
        ]
    out.append(f'<text class="note" x="18" y="{high - 16}">{NOTE}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


# What is written.


def page_with(text: str, rows: str) -> str:
    """Return the page with the table between its two marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"{PAGE} must hold one line {BEGIN} and below it one line {END}")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{rows}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Draw, or compare what was drawn with the house."""
    parser = argparse.ArgumentParser(description="Draw the rooms of lightmel, and their table.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--write", action="store_true", help=f"write {PICTURE.name} and the table in {PAGE.name}"
    )
    which.add_argument("--check", action="store_true", help="fail unless both are as they would be written")
    which.add_argument("--table", action="store_true", help="print the table")
    arguments = parser.parse_args()

    rooms = read_rooms(read_floors())
    if arguments.table:
        print(table(rooms), end="")
        return
    wanted = {PICTURE: draw(rooms), PAGE: page_with(PAGE.read_text(encoding="utf-8"), table(rooms))}
    stale = [p for p, text in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    if arguments.write:
        for path in stale:
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
    elif stale:
        raise SystemExit(
            f"not as the house is: {', '.join(p.name for p in stale)}; run {Path(__file__).name} --write"
        )


if __name__ == "__main__":
    main()
