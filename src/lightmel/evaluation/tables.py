"""Figures as text: with their intervals, and in tables."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, its columns aligned for those who read it as text."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def figure(value: float | None) -> str:
    """Return a figure of three digits; nothing for none."""
    return "" if value is None else f"{value:.3f}"


def with_interval(value: float, interval: tuple[float, float] | None) -> str:
    """Return a figure and the ends of its interval; nothing where there is no interval."""
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
