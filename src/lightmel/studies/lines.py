"""The numbers of a study as one table of plain numbers: every figure, loss and cost, a line each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from statistics import fmean, stdev

from .answers import ALL_TAGS
from .contrasts import reference
from .results import Point
from .sections import Sections

COLUMNS = (
    *("what", "network", "config", "storage", "against", "test", "measure", "tags", "n_tags"),
    *("value", "deviation", "low", "high", "student_p", "welch_p", "runs", "runs_against"),
)


def written(sections: Sections) -> str:
    """Return the table as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_lines(sections))
    return out.getvalue()


def _lines(own: Sections) -> Iterator[dict[str, object]]:
    for point in own.points:
        for what, cost in own.kinds.items():
            value = cost(point)
            if value is not None:
                yield {**_who(point), "what": "cost", "measure": what, "value": value}
        for test, measure in own.measured:
            values = own.contrasts.by_run(point, test, measure) if point in own.on(test) else ()
            if values:
                yield {
                    **_who(point),
                    "what": "figure",
                    "test": test,
                    "measure": measure,
                    "n_tags": len(own.contrasts.tags(test)),
                    "value": fmean(values),
                    "deviation": stdev(values) if len(values) > 1 else "",
                    "runs": len(values),
                }
    for test, measure in own.measured:
        points = own.on(test)
        for point in points:
            base = reference(point, points)
            if base is None or base is point:
                continue
            for scope, tags in {**ALL_TAGS, **own.contrasts.scopes(test)}.items():
                found = own.contrasts.between(base, point, test, measure, tags)
                tested = found.over_runs
                low, high = found.interval or ("", "")
                yield {
                    **_who(point),
                    "what": "loss",
                    "against": base.name,
                    "test": test,
                    "measure": measure,
                    "tags": scope,
                    "n_tags": found.tags,
                    "value": found.value,
                    "low": low,
                    "high": high,
                    "student_p": "" if tested is None else tested.student_p,
                    "welch_p": "" if tested is None else tested.welch_p,
                    "runs": found.runs[1],
                    "runs_against": found.runs[0],
                }


def _who(point: Point) -> dict[str, object]:
    return {"network": point.network, "config": point.slug, "storage": point.cell.dtype}
