"""What is known about the accuracy of networks and taggers: by the paper, or by the family's measurements.

The two are never one: each figure says on which data it was measured and who says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import hub
from ..errors import DataError
from .paper import DATASETS, published_of

if TYPE_CHECKING:
    from ..models import Row

THE_PAPER, THE_FAMILY = "the paper", "the family's measured table"
"""Who says so."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a network or a tagger on one set of clips, and who says so.

    Parameters
    ----------
    dataset
        ``"mtat"`` or ``"msd"``, or ``"family"``: human annotations of the clips that the family was not
        trained on.
    roc_auc, pr_auc
        Means over tags, between 0 and 1.
    roc_auc_deviation, pr_auc_deviation
        Standard deviations over runs; None where none is known.
    runs
        Trainings behind it.
    roc_auc_interval, pr_auc_interval
        95 % intervals over the clips; None where none is known.
    source
        Who says so.
    """

    dataset: str
    roc_auc: float
    pr_auc: float
    roc_auc_deviation: float | None
    pr_auc_deviation: float | None
    runs: int
    roc_auc_interval: Interval | None
    pr_auc_interval: Interval | None
    source: str


def costs_and_accuracies(*names: str) -> tuple[tuple[Row, tuple[Accuracy, ...]], ...]:
    """Return what forward passes cost beside what is known of the accuracy.

    Parameters
    ----------
    *names
        What `lightmel.hub.costs_of` takes; without any, the paper's networks on all of its inputs.

    Raises
    ------
    LightmelError
        As `lightmel.hub.costs_of`.
    """
    if not names:
        from ..models import paper_costs

        return tuple((row, tuple(_of_paper(row))) for row in paper_costs())
    return tuple((row, known_accuracy(row, name)) for name in names for row in hub.costs_of(name))


def known_accuracy(row: Row, name: str) -> tuple[Accuracy, ...]:
    """Return what is known of the accuracy of a row of costs that `name` stands for; nothing for most."""
    packaged = hub.packaged(row.name)
    if packaged is not None and hub.locate(name) == packaged.resolve():
        own = family_accuracy(row.name)
        return () if own is None else (own,)
    return tuple(_of_paper(row))


def _of_paper(row: Row) -> Iterator[Accuracy]:
    """Yield what was published of one of the paper's own networks, at their full width."""
    if row.size != "full" or row.name not in ("", f"{row.architecture}-{row.config.slug}"):
        return
    for dataset in DATASETS:
        if (own := published_of(dataset, row.architecture, row.config)) is not None:
            yield Accuracy(
                dataset=dataset,
                roc_auc=own.roc_auc,
                pr_auc=own.pr_auc,
                roc_auc_deviation=own.roc_auc_deviation,
                pr_auc_deviation=own.pr_auc_deviation,
                runs=own.runs,
                roc_auc_interval=None,
                pr_auc_interval=None,
                source=THE_PAPER,
            )


def family_accuracy(name: str) -> Accuracy | None:
    """Return what `family/quality.py` measured of a tagger of the package, if it did."""
    found = hub.results(name)
    return None if found is None or not found.get("human") else _of_family(found["human"])


def family_accuracies() -> dict[str, Accuracy]:
    """Return what was measured of each tagger of the family in the package, by name.

    Raises
    ------
    DataError
        If they were not measured by one protocol on the same clips: such numbers say nothing side by side.
    """
    measured = {
        release.name: found
        for release in hub.releases()
        if release.where == "package" and (found := hub.results(release.name)) and found.get("human")
    }
    return {name: _of_family(found["human"]) for name, found in one_protocol(measured).items()}


def one_protocol(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return results as they are, if all of them follow one protocol on the same clips.

    Raises
    ------
    DataError
        If two differ; the message names both.
    """
    first: tuple[str, tuple[Any, ...]] | None = None
    for name, found in measured.items():
        human = found["human"]
        own = found.get("protocol"), found.get("data"), human["clips"], human["groups"], human["tags"]
        if first is None:
            first = name, own
        elif own != first[1]:
            raise DataError(
                f"The results of {first[0]} and {name} are of two protocols or of other clips: their numbers "
                "cannot stand in one table. family/quality.py measures them anew."
            )
    return measured


def _of_family(human: dict[str, Any]) -> Accuracy:
    roc, pr = human["roc_auc"], human["pr_auc"]
    return Accuracy(
        dataset="family",
        roc_auc=roc["value"],
        pr_auc=pr["value"],
        roc_auc_deviation=None,
        pr_auc_deviation=None,
        runs=1,
        roc_auc_interval=(roc["interval"][0], roc["interval"][1]),
        pr_auc_interval=(pr["interval"][0], pr["interval"][1]),
        source=THE_FAMILY,
    )
