"""Tables of a study: one content as Markdown, LaTeX, CSV and plain data."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..evaluation import markdown

_TEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


@dataclass(frozen=True)
class Table:
    """A table of texts, written as any format says it.

    Parameters
    ----------
    title
        What it shows.
    header
        Of the columns.
    rows
        As many texts each as the header has; an empty one is a number that there is not.
    notes
        Sentences below it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return title, table and notes in Markdown, aligned for those who read it as text."""
        return "\n\n".join([self.title, markdown(self.header, self.rows), *self.notes])

    def csv(self) -> str:
        """Return header and rows as CSV."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.header, *self.rows])
        return out.getvalue()

    def latex(self) -> str:
        """Return it as a ``table`` of LaTeX, which needs no package; the notes are part of its caption.

        The first column stands at the left, the others, which hold numbers, at the right.
        """
        caption = " ".join(_tex(text) for text in (self.title, *self.notes))
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                r"\footnotesize",
                r"\setlength{\tabcolsep}{3pt}",
                rf"\caption{{{caption}}}",
                r"\makebox[\linewidth]{%",  # what is wider stands out on both sides alike
                rf"\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}",
                r"\hline",
                _tex_row(self.header),
                r"\hline",
                *map(_tex_row, self.rows),
                r"\hline",
                r"\end{tabular}}",
                r"\end{table}",
            ]
        )


def _tex_row(cells: tuple[str, ...]) -> str:
    return " & ".join(map(_tex, cells)) + r" \\"


def _tex(text: str) -> str:
    text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    return "".join(_TEX.get(c, c) for c in text)
