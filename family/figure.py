"""Make ``docs/family.md`` and ``docs/family.svg`` of the figures that ``family/quality.py`` wrote.

    python family/figure.py --write
    python family/figure.py --check

The picture is the first one of Ferraro et al. (2020) for taggers that were distilled: what a minute of sound
costs, and what the scores are worth.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from lightmel.evaluation import markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "src" / "lightmel" / "pretrained" / "results"
COMPARED = ROOT / "family" / "compared"
"""Results of taggers that are for comparison only."""
PAGE, PICTURE = ROOT / "docs" / "family.md", ROOT / "docs" / "family.svg"

GENRES = ("classical", "electronic", "pop", "rock")
WAYS = {
    "mp3_32k": "MP3, 32 kbit/s",
    "12k": "12 kHz",
    "minus_20_db": "-20 dB",
    "phone": "phone speaker",
}
"""How clips are changed, and what the tables call it."""
MEASURES = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC"}
PARTS = {
    "human": "human annotations",
    "genres": "genres",
    "agreement": "agreement",
    "said": "what is said",
    "robustness": "changed sound",
    "music": "music or not",
}
ALL = "all teachers"
"""As one, beside each of them."""
MARK = "†"

Result = Mapping[str, Any]


# Results.


def read(folder: Path) -> list[Result]:
    """Return the results in a folder, each architecture's together, the dearest first."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return sorted(
        results, key=lambda r: (r["tagger"]["architecture"], -r["cost"]["gmac_per_minute"], name(r))
    )


def name(result: Result) -> str:
    """Return the tagger's name."""
    return str(result["tagger"]["name"])


def not_held_out(result: Result, part: str) -> bool:
    """Return whether the tagger, or for music all that is none, was trained on those clips."""
    return part in result["seen"]


# Tables.


def number(value: float | None) -> str:
    """Return three digits, or a dash for what could not be measured."""
    return "-" if value is None else f"{value:.3f}"


def ranged(figure: Result) -> str:
    """Return a figure and the ends of its interval."""
    low, high = figure["interval"]
    return f"{number(figure['value'])} ({number(low)} to {number(high)})"


def signed(figure: Result) -> str:
    """Return a difference and the ends of its interval."""
    value, (low, high) = figure["value"], figure["interval"]
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def marked(result: Result, part: str, text: str) -> str:
    """Return a figure with a mark if it is not held out."""
    return f"{text} {MARK}" if not_held_out(result, part) and text != "-" else text


def overview(results: Sequence[Result]) -> str:
    """Return the table of costs, figures against labels, and agreement."""
    rows = []
    for r in results:
        h, a, c = r["human"], r["agreement"], r["cost"]
        rows.append(
            (
                f"`{name(r)}`",
                r["tagger"]["config"],
                f"{c['gmac_per_minute']:.3g}",
                f"{c['parameters'] / 1e6:.2f} M",
                "-" if c["bytes"] is None else f"{c['bytes'] / 1e6:.1f}",
                *(marked(r, "human", ranged(h[m]) if h else "-") for m in MEASURES),
                *(marked(r, "genres", number(g and g["value"])) for g in (r["genres"][x] for x in GENRES)),
                marked(r, "agreement", number(a and a["correlation"])),
                marked(r, "agreement", f"{a['top5']:.2f}" if a else "-"),
            )
        )
    head = ("tagger", "input", "GMAC a minute", "parameters", "MB", *MEASURES.values(), *GENRES)
    return markdown((*head, "correlation with teachers", "of their top 5"), rows)


def changed(results: Sequence[Result]) -> str:
    """Return the table of changed sound, and of music against what is none."""
    rows = []
    for r in results:
        ways = (r["robustness"][way] for way in WAYS)
        m = r["music"]
        held = m["held_out"] if m else None
        rows.append(
            (
                f"`{name(r)}`",
                *(
                    marked(r, "robustness", f"{number(w['over_clips'])}, {number(w['over_tags'])}")
                    for w in ways
                ),
                f"{ranged(m['all'])}" if m else "-",
                f"{ranged(held)}, {held['not_music']} clips" if held else "-",
            )
        )
    return markdown(("tagger", *WAYS.values(), "music or not", "music or not, held out"), rows)


def beside(results: Sequence[Result]) -> str:
    """Return the table of the teachers' figures on the same clips and tags, and of the differences."""
    rows = [
        (
            f"`{name(r)}`",
            teacher if teacher not in r["teachers"] else f"`{teacher}`",
            str(figures["tags"]),
            *(
                text
                for m in MEASURES
                for text in (ranged(figures[m]), marked(r, "human", signed(figures[m]["difference"])))
            ),
        )
        for r in results
        if r["human"]
        for teacher, figures in r["human"]["teachers"].items()
    ]
    head = [text for m in MEASURES.values() for text in (f"{m} of the teacher", "difference")]
    return markdown(("tagger", "teacher", "tags", *head), rows) if rows else ""


def by_category(results: Sequence[Result]) -> str:
    """Return the table of correlations with the teachers in each category of tags."""
    names = list(dict.fromkeys(c for r in results if r["agreement"] for c in r["agreement"]["per_category"]))
    if len(names) < 2:
        return ""
    rows = []
    for r in results:
        found = r["agreement"]["per_category"] if r["agreement"] else {}
        cells = (found.get(c) for c in names)
        rows.append(
            (
                f"`{name(r)}`",
                *(
                    marked(r, "agreement", f"{number(c['correlation'])} ({c['tags']})" if c else "-")
                    for c in cells
                ),
            )
        )
    return markdown(("tagger", *names), rows)


def said(results: Sequence[Result]) -> str:
    """Return the table of the shares of clips of which something is said in each category."""
    names = list(dict.fromkeys(c for r in results for c in r["said"] or ()))
    rows = [(f"`{name(r)}`", *(number((r["said"] or {}).get(c)) for c in names)) for r in results]
    return markdown(("clips of which a tag is said", *names), rows) if names else ""


def freedom(results: Sequence[Result], compared: Sequence[Result]) -> str:
    """Return what taggers that learnt from more music than is free reach, each beside its free twin."""
    free = {name(r).removeprefix("lightmel-"): r for r in results}
    pairs = [(free.get(name(r).removeprefix("unfree-")), r) for r in compared]
    beside = [one for pair in pairs if pair[0] is not None for one in pair if one is not None]
    if not beside:
        return ""
    return f"""## What freedom costs

The same network, trained in the same way, on music that is not free as well (`unfree-`): all clips at
hand but those that are measured. It is for comparison only, and not published.

{overview(beside)}
"""


def notes(results: Sequence[Result]) -> Iterator[str]:
    """Yield what the marks mean, and which teachers' figures are not held out."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for r in results:
        for part, why in r["seen"].items():
            reasons.setdefault((name(r), why), []).append(PARTS[part])
    for (who, why), parts in reasons.items():
        yield f"{MARK} `{who}`, {', '.join(parts)}: not held out, {why}."
    teachers = {t: own["seen"]["human"] for r in results for t, own in r["teachers"].items() if own["seen"]}
    for teacher, why in sorted(teachers.items()):
        yield f"The figures of the teacher `{teacher}` are not held out: {why}."
    if any(r["music"] for r in results):
        yield "Music or not: the family is trained on what is none, but for the groups held out."


def pages_table(results: Sequence[Result]) -> str:
    """Return all tables, and what is to be known about them."""
    parts = [
        overview(results),
        beside(results),
        by_category(results),
        said(results),
        changed(results),
        *notes(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


# The picture.

WIDTH, HEIGHT, GAP, LEFT, TOP, MARGIN, BELOW = 270, 310, 58, 60, 44, 20, 92
"""Of a panel: width, height, what lies between two; left of the first; above; right of the last; below."""
LETTER, LINE, RADIUS = 5.6, 11, 5
"""Of a label: the width of a letter, its height; of a marker."""
ORDER = ("mobilenet", "musicnn", "vgg", "fcn")
SHAPES: dict[str, Callable[[float, float], str]] = {
    "mobilenet": lambda x, y: f"M{x:.1f} {y - 6:.1f}l6 10.5h-12z",
    "musicnn": lambda x, y: f"M{x - 5:.1f} {y:.1f}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "vgg": lambda x, y: f"M{x - 4.5:.1f} {y - 4.5:.1f}h9v9h-9z",
    "fcn": lambda x, y: f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z",
}
OTHER = "other"
STYLE = """\
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .paper { fill: #ffffff; stroke: #d1d9e0; }
  .grid { stroke: #e4e8ec; fill: none; }
  .axis { stroke: #6e7781; fill: none; }
  .tick, .note { fill: #59636e; font-size: 11px; }
  .label { font-size: 10.5px; }
  .title { font-weight: 600; font-size: 13px; }
  .teachers { stroke: #6e7781; stroke-dasharray: 5 4; fill: none; }
  .range { stroke-width: 1.2; opacity: .3; }
  .way { stroke-width: 1.2; opacity: .55; }
  .marker { stroke-width: 1.6; }
  .mobilenet { fill: #1a7f5a; stroke: #1a7f5a; }
  .musicnn { fill: #2f6fb3; stroke: #2f6fb3; }
  .vgg { fill: #c25a1b; stroke: #c25a1b; }
  .fcn { fill: #8250a0; stroke: #8250a0; }
  .other { fill: #6e7781; stroke: #6e7781; }
  .marker.hollow { fill: #ffffff; }
  .range, .way { fill: none; }
  .label { stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .paper { fill: #0d1117; stroke: #3d444d; }
    .grid { stroke: #232a33; }
    .axis, .teachers { stroke: #8b949e; }
    .tick, .note { fill: #9198a1; }
    .mobilenet { fill: #3fb68b; stroke: #3fb68b; }
    .musicnn { fill: #6ea8dc; stroke: #6ea8dc; }
    .vgg { fill: #e8935a; stroke: #e8935a; }
    .fcn { fill: #b894d4; stroke: #b894d4; }
    .marker.hollow { fill: #0d1117; }
    .range, .way { fill: none; }
    .label { stroke: none; }
  }
"""


class Point(NamedTuple):
    """A tagger in a panel: its cost, its figure, the ends of its interval if there are any."""

    label: str
    kind: str
    cost: float
    value: float
    ends: tuple[float, float] | None
    hollow: bool


class Panel(NamedTuple):
    """What is drawn into one panel; `line` is the teachers' figure."""

    title: str
    points: list[Point]
    line: float | None


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def panels(results: Sequence[Result]) -> list[Panel]:
    """Return the three panels."""

    def point(r: Result, part: str, value: float, ends: tuple[float, float] | None) -> Point:
        kind = r["tagger"]["architecture"]
        short = r["tagger"]["config"].removeprefix("16k-").removesuffix("-db")
        short = short.replace("mel", "").replace("-", " ")
        known = kind if kind in SHAPES else OTHER
        return Point(short, known, r["cost"]["gmac_per_minute"], value, ends, not_held_out(r, part))

    found = []
    for m, title in MEASURES.items():
        points = [
            point(r, "human", r["human"][m]["value"], tuple(r["human"][m]["interval"]))
            for r in results
            if r["human"]
        ]
        found.append(Panel(f"{title}, human annotations", points, teachers_line(results, m)))
    points = [
        point(r, "agreement", r["agreement"]["correlation"], None)
        for r in results
        if r["agreement"] and r["agreement"]["correlation"] is not None
    ]
    found.append(Panel("correlation with the teachers", points, None))
    return found


def teachers_line(results: Sequence[Result], measure: str) -> float | None:
    """Return the teachers' own figure, all of them together, if all results stand beside the same one."""
    values = set()
    for r in results:
        teachers = (r["human"] or {}).get("teachers", {})
        together = teachers.get(ALL) or (next(iter(teachers.values())) if len(teachers) == 1 else None)
        values.add(together[measure]["value"] if together else None)
    return values.pop() if len(values) == 1 else None


def cost_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two on a logarithmic axis: decades, or 1, 2, 5 where those are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5)):
        found = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high * 1.0001]
        if len(found) >= 3:
            return found
    return found


def value_ticks(low: float, high: float) -> list[float]:
    """Return some round numbers between two."""
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 7)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def placed(
    labels: Sequence[str], at: Sequence[tuple[float, float]], frame: Box, others: Iterable[Box] = ()
) -> list[Box]:
    """Return a box for each label, beside its marker, so that it covers no marker, label, or other box."""
    taken: list[Box] = [(x - RADIUS - 1, y - RADIUS - 1, x + RADIUS + 1, y + RADIUS + 1) for x, y in at]
    taken += others
    boxes = []
    for label, (x, y) in zip(labels, at, strict=True):
        w = LETTER * len(label)
        tried: list[Box] = []
        for far in (2, 9, 18, 30):
            out = RADIUS + far
            for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)):
                left = x + dx * out if dx > 0 else x - out - w if dx < 0 else x - w / 2
                top = y - LINE / 2 + dy * (out + LINE / 2) * (0.7 if dx else 1)
                tried.append((left, top, left + w, top + LINE))
        inside = [
            b
            for b in tried
            if b[0] >= frame[0] and b[2] <= frame[2] and b[1] >= frame[1] and b[3] <= frame[3]
        ]
        boxes.append(min(inside or tried, key=lambda b: round(sum(overlap(b, t) for t in taken), 3)))
        taken.append(boxes[-1])
    return boxes


def panel(p: Panel, left: float) -> Iterator[str]:
    """Yield the elements of a panel."""
    costs = [q.cost for q in p.points]
    values = [v for q in p.points for v in (q.value, *(q.ends or ()))] + ([p.line] if p.line else [])
    x0, x1 = math.log10(min(costs) / 1.8), math.log10(max(costs) * 1.8)
    pad = 0.06 * (max(values) - min(values)) + 0.004
    y0, y1 = min(values) - pad, max(values) + pad
    right, bottom = left + WIDTH, TOP + HEIGHT

    def place(cost: float, value: float) -> tuple[float, float]:
        across, up = (math.log10(cost) - x0) / (x1 - x0), (value - y0) / (y1 - y0)
        return left + WIDTH * across, bottom - HEIGHT * up

    yield f'<text class="title" x="{left}" y="{TOP - 14}">{escape(p.title)}</text>'
    for tick in cost_ticks(10**x0, 10**x1):
        x, _ = place(tick, y0)
        yield f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
    for tick in value_ticks(y0, y1):
        _, y = place(costs[0], tick)
        yield f'<path class="grid" d="M{left} {y:.1f}H{right}"/>'
        text = f"{tick:.3f}".rstrip("0").ljust(4, "0")
        yield f'<text class="tick" x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    yield f'<path class="axis" d="M{left} {TOP}V{bottom}H{right}"/>'
    frame = (left + 2, TOP + 2, right + 4, bottom - 2)
    others: list[Box] = []
    if p.line is not None:
        _, y = place(costs[0], p.line)
        yield f'<path class="teachers" d="M{left} {y:.1f}H{right}"/>'
        yield f'<text class="note" x="{left + 4}" y="{y - 4:.1f}">teachers</text>'
        others.append((left, y - 15, left + 54, y))
    at = [place(q.cost, q.value) for q in p.points]
    for q, (x, _) in zip(p.points, at, strict=True):
        if q.ends is not None:
            low, high = (place(q.cost, end)[1] for end in q.ends)
            yield f'<path class="range {q.kind}" d="M{x:.1f} {high:.1f}V{low:.1f}"/>'
    for kind in dict.fromkeys(q.kind for q in p.points):
        way = sorted(xy for q, xy in zip(p.points, at, strict=True) if q.kind == kind and not q.hollow)
        if len(way) > 1:
            yield f'<path class="way {kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in way)}"/>'
    for q, (x, y) in zip(p.points, at, strict=True):
        yield marker(q.kind, x, y, q.hollow)
    for q, box in zip(p.points, placed([q.label for q in p.points], at, frame, others), strict=True):
        yield f'<text class="label {q.kind}" x="{box[0]:.1f}" y="{box[3] - 2:.1f}">{escape(q.label)}</text>'
    middle = left + WIDTH / 2
    yield f'<text x="{middle}" y="{bottom + 36}" text-anchor="middle">GMAC a minute of sound</text>'


def marker(kind: str, x: float, y: float, hollow: bool) -> str:
    """Return the marker of an architecture."""
    shape = SHAPES.get(kind, SHAPES["fcn"])
    return f'<path class="marker {kind}{" hollow" if hollow else ""}" d="{shape(x, y)}"/>'


def draw(results: Sequence[Result]) -> str:
    """Return the picture as SVG."""
    drawn = [p for p in panels(results) if p.points]
    wide = LEFT + len(drawn) * WIDTH + (len(drawn) - 1) * GAP + MARGIN
    high = TOP + HEIGHT + BELOW
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
        ' role="img">',
        "<title>Taggers: what a minute of sound costs, and what their scores are worth</title>",
        f"<style>\n{STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{wide - 1}" height="{high - 1}" rx="8"/>',
    ]
    for i, p in enumerate(drawn):
        out += panel(p, LEFT + i * (WIDTH + GAP))
    there = Counter(q.kind for p in drawn for q in p.points)
    x, y = LEFT, TOP + HEIGHT + 66
    for kind in (k for k in (*ORDER, OTHER) if k in there):
        out.append(marker(kind, x + 6, y - 4, hollow=False))
        out.append(f'<text x="{x + 18}" y="{y}">{kind}</text>')
        x += 40 + round(7 * len(kind))
    hollow = any(q.hollow for p in drawn for q in p.points)
    note = "Bars: 95 % intervals over artists." + (" Hollow: not held out." if hollow else "")
    note += " Labels: mel bands, hop; 16 kHz, dB unless said."
    out.append(f'<text class="note" x="{x + 6}" y="{y}">{note}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


# The page.


def page(results: Sequence[Result], compared: Sequence[Result] = ()) -> str:
    """Return the page in Markdown."""
    protocols = {json.dumps(r["protocol"], sort_keys=True) for r in results}
    if len(protocols) > 1:
        raise SystemExit("The results are of different protocols: write them anew with family/quality.py")
    p = results[0]["protocol"]
    h, g, w = results[0]["human"], results[0]["genres"], results[0]["robustness"]
    annotated = f", {h['clips']} of them ({h['groups']} groups) with human annotations" if h else ""
    more = f"{text}\n" if (text := freedom(results, compared)) else ""
    listed = "\n".join(f"- **{PARTS.get(key, key)}**: {text}." for key, text in p.items())
    return f"""# The family

<!-- Written by `python family/figure.py --write`. -->

What each tagger costs and what its scores are worth, on {g["clips"]} clips of {g["groups"]} groups
(artists){annotated}; changed sound on {w["clips"]} of them.

![GMAC a minute of sound against ROC AUC, PR AUC and correlation with the teachers](family.svg)

{pages_table(results)}
{more}## How it was measured

{listed}

Figures of each tag, and the SHA-256 of weights and tables, are in `src/lightmel/pretrained/results`,
a file for each tagger:

<!-- not run: it takes some minutes, and the music beside the checkout -->
```console
$ python family/quality.py TAGGER... --teachers TEACHER... --shared ../shared
$ python family/figure.py --write
```
"""


def stale(
    results: Path = RESULTS, written: Path = PAGE, picture: Path = PICTURE, compared: Path = COMPARED
) -> dict[Path, str]:
    """Return what page and picture should be, if they are not."""
    found = read(results)
    if not found:
        raise SystemExit(f"{results} holds no results: write some with family/quality.py")
    wanted = {picture: draw(found), written: page(found, read(compared))}
    return {p: t for p, t in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != t}


def main(arguments: Iterable[str] | None = None) -> None:
    """Write, or compare what was written with the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", action="store_true", help=f"write {PAGE.name} and {PICTURE.name}")
    which.add_argument("--check", action="store_true", help="fail unless both are as they would be written")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("--compared", type=Path, default=COMPARED, help="those for comparison only")
    parser.add_argument("--docs", type=Path, default=PAGE.parent, help="folder of page and picture")
    options = parser.parse_args(None if arguments is None else list(arguments))
    old = stale(options.results, options.docs / PAGE.name, options.docs / PICTURE.name, options.compared)
    if options.write:
        for path, text in old.items():
            path.write_text(text, encoding="utf-8", newline="\n")
    elif old:
        raise SystemExit(
            f"not as the results are: {', '.join(p.name for p in old)}; run family/figure.py --write"
        )


if __name__ == "__main__":
    main()
