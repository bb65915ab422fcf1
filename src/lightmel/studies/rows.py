"""The points of a study as rows to recommend from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import fmean, stdev

from ..errors import DataError
from ..evaluation import Intervals
from .contrasts import Contrasts, learnt_from
from .results import MINUTE, Interval, read_results


@dataclass(frozen=True)
class MeasuredPoint:
    """A point as `lightmel.studies.recommend_from` takes it; see `Measured` for what the fields are."""

    network: str
    config: str
    dataset: str
    roc_auc: float
    pr_auc: float
    roc_auc_deviation: float | None
    pr_auc_deviation: float | None
    runs: int
    loss_interval: Interval | None
    gmac_per_minute: float | None
    parameters: int | None
    kb_per_minute: float | None
    speed: float | None


def measured(
    folder: str | os.PathLike[str],
    test: str | None = None,
    intervals: Intervals | None = None,
    *,
    script: str | os.PathLike[str] | None = None,
) -> tuple[MeasuredPoint, ...]:
    """Return the points of a study as rows to recommend from.

    Where features are stored as something else than float32, that stands in the name of the network:
    ``vgg-uint8``. Intervals are those of the study's report: they draw groups of clips where these are known.

    Parameters
    ----------
    folder, script
        As in `read_results`.
    test
        Which of its tests counts; by default the data set's own test clips, else the first one.
    intervals
        How the intervals of the loss against the best are made.

    Raises
    ------
    DataError
        As `read_results`, or if there is no such test.
    """
    results = read_results(folder, script=script)
    if not results.tests or (test is not None and test not in results.tests):
        raise DataError(
            f"{results.folder} has no test {test or ''}: there {'are ' if results.tests else 'is none'}"
            f"{', '.join(results.tests)}."
        )
    test = test or results.tests[0]
    points = [point for point in results.points if point.evaluations(test)]
    best = max(points, key=lambda point: fmean(point.values(test, "roc_auc")))
    contrasts = Contrasts(results, intervals, learnt_from(results))
    shared = results.evaluation(test)
    rows = []
    for point in points:
        roc, pr = (point.values(test, measure) for measure in ("roc_auc", "pr_auc"))
        loss = None
        if point is not best:
            loss = contrasts.between(best, point, test, "roc_auc").interval
        milliseconds = results.milliseconds_per_minute(point)
        storage = point.cell.dtype
        rows.append(
            MeasuredPoint(
                network=point.network if storage == "float32" else f"{point.network}-{storage}",
                config=point.slug,
                dataset=f"{test} of {shared.dataset}, {shared.protocol}",
                roc_auc=fmean(roc),
                pr_auc=fmean(pr),
                roc_auc_deviation=stdev(roc) if len(roc) > 1 else None,
                pr_auc_deviation=stdev(pr) if len(pr) > 1 else None,
                runs=len(roc),
                loss_interval=loss,
                gmac_per_minute=point.gmac_per_minute,
                parameters=point.parameters,
                kb_per_minute=point.kb_per_minute,
                speed=None if milliseconds is None else MINUTE * 1000 / milliseconds,
            )
        )
    return tuple(rows)
