"""A report as one page of HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from .._pages import filled
from .tabular import Table
from .view import Section


def page(title: str, facts: Iterable[str], sections: Iterable[Section]) -> str:
    """Return a page that needs nothing beside it and no network."""
    return filled(
        __package__,
        "report.html",
        title=escape(title),
        facts="".join(f"<span>{escape(fact)}</span>" for fact in facts),
        sections="\n".join(map(_section, sections)),
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{_code(text)}</p>" for text in section.text]
    for draw in section.figures:
        figure = draw()
        caption = escape(figure.caption)
        parts.append(
            f"<figure><div class='drawing' role='img' aria-label=\"{caption}\">{figure.svg}</div>"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    parts += map(_table, section.tables)
    return f"<section>{''.join(parts)}</section>"


def _table(table: Table) -> str:
    kinds = ["number" if _is_number(column) else "" for column in zip(*table.rows, strict=True)]
    marks = [f" class='{kind}'" if kind else "" for kind in kinds]
    head = "".join(f"<th{mark}>{escape(cell)}</th>" for mark, cell in zip(marks, table.header, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True))
        + "</tr>"
        for row in table.rows
    )
    notes = "".join(f"<p class='note'>{_code(note)}</p>" for note in table.notes)
    return (
        f"<h3>{escape(table.title)}</h3><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{notes}"
    )


def _is_number(column: Sequence[str]) -> bool:
    """Return whether a column holds numbers, as far as it holds anything."""
    return any(column) and all(
        not cell or re.match(r"[-+]?\d[\d.,]*(\s|$)|not known$|one run$|no spread$", cell) for cell in column
    )


def _code(text: str) -> str:
    """Return a text as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
