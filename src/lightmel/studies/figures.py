"""The figures of a report, drawn by matplotlib as SVG: the same bytes for the same numbers."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError
from ..frontends import MelConfig
from .contrasts import HELD_OUT, MEASURED, Contrasts, Measured
from .results import Interval, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "lightmel",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2ded7",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "axes.titlesize": 9,
    "axes.edgecolor": "#66625c",
}
_COLORS = ("#2f6f8f", "#b4541a", "#4f7a3a", "#7a4f8f", "#8f7a2f", "#a23b55", "#3f8f83", "#66625c")
_MARKERS = "osD^vPX*"
_PANEL = 3.1
"""Inches of a panel, wide and high."""


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes
    ----------
    name
        A word for it.
    caption
        What it shows.
    svg
        The drawing, to stand in a page.
    """

    name: str
    caption: str
    svg: str


def curves(
    name: str,
    caption: str,
    points: Sequence[Point],
    contrasts: Contrasts,
    rows: Sequence[tuple[str, Measured]],
) -> Figure:
    """Draw accuracy against multiply-accumulates: the paper's Figure 1.

    A row of panels for each of `rows`, a test and a measure; a column for each rate and compression; a line
    for each network and number of bands, over the hop factors. Bars are deviations over seeds.
    """
    columns = list(dict.fromkeys(map(_column, points)))
    lines = list(dict.fromkeys(map(_line, points)))
    networks = list(dict.fromkeys(point.network for point in points))
    bands = sorted(dict.fromkeys(line[1] for line in lines), key=_by_number)
    with _drawing(len(rows), len(columns)) as (figure, panels):
        for row, (test, measure) in enumerate(rows):
            for at, column in enumerate(columns):
                panel = panels[row][at]
                for line in lines:
                    own = [p for p in points if (_column(p), _line(p)) == (column, line)]
                    found = [(p, values) for p in own if (values := contrasts.by_run(p, test, measure))]
                    if not found:
                        continue
                    found.sort(key=lambda item: item[0].gmac_per_minute)
                    panel.errorbar(
                        [p.gmac_per_minute for p, _ in found],
                        [fmean(values) for _, values in found],
                        yerr=[stdev(values) if len(values) > 1 else 0.0 for _, values in found],
                        color=_COLORS[bands.index(line[1]) % len(_COLORS)],
                        marker=_MARKERS[networks.index(line[0]) % len(_MARKERS)],
                        markersize=5,
                        linewidth=1,
                        capsize=2,
                    )
                _cost_axis(panel)
                if not row:
                    panel.set_title(column)
                if row == len(rows) - 1:
                    panel.set_xlabel("GMAC a minute of sound")
                if not at:
                    panel.set_ylabel(_measured(test, measure))
            low = min(panel.get_ylim()[0] for panel in panels[row])
            high = max(panel.get_ylim()[1] for panel in panels[row])
            for panel in panels[row]:
                panel.set_ylim(low, high)
        _legend(
            figure,
            [(b, _COLORS[i % len(_COLORS)], "s") for i, b in enumerate(bands)]
            + [(n, "#1d1c1a", _MARKERS[i % len(_MARKERS)]) for i, n in enumerate(networks)],
        )
        return Figure(name, caption, _svg(figure, name))


def fronts(
    name: str,
    caption: str,
    points: Sequence[Point],
    value: Callable[[Point], float],
    costs: Mapping[str, Callable[[Point], float | None]],
    label: str,
) -> Figure:
    """Draw all points against each cost, and the line of those that nothing cheaper is better than."""
    networks = list(dict.fromkeys(point.network for point in points))
    with _drawing(1, len(costs), wide=1.3) as (figure, panels):
        for panel, (title, cost) in zip(panels[0], costs.items(), strict=True):
            known = [(own, point) for point in points if (own := cost(point)) is not None]
            for i, network in enumerate(networks):
                some = [(own, value(point)) for own, point in known if point.network == network]
                if some:
                    panel.scatter(
                        *zip(*some, strict=True),
                        color=_COLORS[i % len(_COLORS)],
                        marker=_MARKERS[i % len(_MARKERS)],
                        s=18,
                    )
            front = sorted(
                (own, value(point)) for own, point in known if point in pareto(points, value, cost)
            )
            panel.plot(
                *zip(*front, strict=True), color="#66625c", linewidth=1, drawstyle="steps-post", zorder=1
            )
            _cost_axis(panel)
            panel.set_xlabel(title)
        panels[0][0].set_ylabel(label)
        colors = [(n, _COLORS[i % len(_COLORS)], _MARKERS[i % len(_MARKERS)]) for i, n in enumerate(networks)]
        _legend(figure, colors)
        return Figure(name, caption, _svg(figure, name))


def pareto(
    points: Sequence[Point], value: Callable[[Point], float], cost: Callable[[Point], float | None]
) -> tuple[Point, ...]:
    """Return the points that no other one of the same or less cost is as good as, the cheapest first."""
    known = [(own, -value(point), i) for i, point in enumerate(points) if (own := cost(point)) is not None]
    found: list[Point] = []
    best = math.inf
    for _, negative, i in sorted(known):
        if negative < best:
            best = negative
            found.append(points[i])
    return tuple(found)


def forest(
    name: str,
    caption: str,
    losses: Mapping[str, Sequence[tuple[str, float, Interval | None]]],
    label: str,
) -> Figure:
    """Draw losses with their intervals, a panel for each title, a line for each scope."""
    lines = list(dict.fromkeys(scope for own in losses.values() for scope, _, _ in own))
    with _drawing(1, len(losses), wide=1.25, high=0.55 + 0.11 * len(lines), share=True) as (figure, panels):
        for panel, (title, own) in zip(panels[0], losses.items(), strict=True):
            for scope, value, interval in own:
                place = len(lines) - 1 - lines.index(scope)
                color = _COLORS[0] if scope != lines[0] else "#1d1c1a"
                if interval is not None:
                    panel.plot(interval, [place, place], color=color, linewidth=1.4)
                panel.plot([value], [place], "o", color=color, markersize=5)
            panel.axvline(0, color="#66625c", linewidth=0.8)
            panel.set_title(title)
            panel.set_xlabel(label)
            panel.set_ylim(-0.6, len(lines) - 0.4)
        panels[0][0].set_yticks(range(len(lines)), lines[::-1])
        return Figure(name, caption, _svg(figure, name))


def _column(point: Point) -> str:
    config = point.cell.config
    if not isinstance(config, MelConfig):
        return "other inputs"
    options = config.slug.split("-")[4:]
    return f"{config.sr / 1000:g} kHz, {'dB' if config.log == 'db' else config.log}" + "".join(
        f", {option}" for option in options
    )


def _line(point: Point) -> tuple[str, str]:
    config = point.cell.config
    bands = f"{config.n_mels} bands" if isinstance(config, MelConfig) else point.slug
    return point.network, bands


def _by_number(text: str) -> tuple[int, str]:
    """Return what sorts texts that begin with a number by it, the largest first."""
    found = re.match(r"\d+(?= )", text)
    return (-int(found[0]) if found else 1), text


def _measured(test: str, measure: Measured) -> str:
    return MEASURED[measure] if test == HELD_OUT else f"{test}: {MEASURED[measure]}"


def _cost_axis(panel: Axes) -> None:
    """Let a cost have a logarithmic axis whose ticks are plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panel.set_xscale("log")
    low, high = panel.get_xlim()
    fine = (1, 2, 5) if high / low < 300 else (1,)
    panel.xaxis.set_major_locator(LogLocator(subs=fine))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _legend(figure: Drawing, entries: Sequence[tuple[str, str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=m, linewidth=0, markersize=5) for _, c, m in entries]
    for columns in range(min(len(entries), 8), 0, -1):
        legend = figure.legend(
            handles,
            [text for text, _, _ in entries],
            loc="outside lower center",
            ncols=columns,
            handletextpad=0.2,
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


@contextmanager
def _drawing(
    rows: int, columns: int, *, wide: float = 1.0, high: float = 1.0, share: bool = False
) -> Iterator[tuple[Drawing, Any]]:
    """Give a drawing and its panels, ``panels[row][column]``, whatever the user's settings of matplotlib.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure as Drawing
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Figures are drawn by matplotlib, which is not installed: pip install 'lightmel[study]'. "
            "Markdown, LaTeX and CSV need none."
        ) from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        size = max(columns * _PANEL * wide, 5.0) + 0.5, rows * _PANEL * high + 0.6
        figure = Drawing(figsize=size, layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, sharey=share)


def _svg(figure: Drawing, name: str) -> str:
    """Return a drawing as an element of a page; its names are its own there."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    return "\n".join(line.rstrip() for line in text.splitlines())
