"""Which input fits a budget: configurations ranked, what each loses, what it costs, and who says so.

A ranking is of one source: the paper's numbers on one data set, the family's measured table, or a study of
one's own. What nothing supports is not known, and is not guessed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .._files import is_folder
from ..errors import ConfigError, nearest
from ..frontends import StorageType
from .candidates import Candidate, Measured, inputs, of_family, of_paper, of_study
from .known import Interval
from .limits import Limits, in_words
from .paper import DATASETS
from .significance import Sample, difference

FAMILY = "family"
MEASURED_FEW = 5
"""How many of the best are timed where that is asked for; with a limit on speed, that keep to it."""


@dataclass(frozen=True)
class Loss:
    """What a configuration loses against another one.

    Parameters
    ----------
    against
        Name of the other, the best.
    value
        ROC AUC of the best less that of this one.
    interval
        95 % of it; None where nothing supports one.
    interval_source
        How it was made, or why there is none.
    """

    against: str
    value: float
    interval: Interval | None
    interval_source: str


@dataclass(frozen=True)
class Choice:
    """A configuration with what it loses.

    Parameters
    ----------
    candidate
        What it is and costs.
    loss
        Against the best of all that were measured; None where its accuracy is not known.
    network_loss
        Against the best of the same network.
    """

    candidate: Candidate
    loss: Loss | None
    network_loss: Loss | None


@dataclass(frozen=True)
class Recommendation:
    """Configurations that keep to some limits, the best first.

    Parameters
    ----------
    dataset
        ``"mtat"``, ``"msd"``, ``"family"``, or the folder of a study.
    limits
        Which.
    storage
        What features are stored as, which `Candidate.kb_per_minute` counts.
    choices
        Those whose accuracy is known, the most accurate first; with a limit on the accuracy the cheapest
        first, since all of them are good enough.
    unknown
        Those that keep to the limits on cost, and of whose accuracy nothing is known; the cheapest first.
    closest
        Where `choices` is empty: of those whose accuracy is known the one that is beyond the limits least.
    notes
        What a reader should know before deciding by it.
    """

    dataset: str
    limits: Limits
    storage: StorageType
    choices: tuple[Choice, ...]
    unknown: tuple[Choice, ...]
    closest: Choice | None
    notes: tuple[str, ...]

    @property
    def best(self) -> Choice | None:
        """The first of the choices, if there is one."""
        return self.choices[0] if self.choices else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes; the limits are those that were given."""
        return asdict(self) | {"limits": self.limits.given}


def recommend(
    dataset: str | os.PathLike[str] = "mtat",
    *,
    max_gmac_per_minute: float | None = None,
    max_kb: float | None = None,
    min_speed: float | None = None,
    min_roc: float | None = None,
    also: Sequence[str] = (),
    storage: StorageType = "float32",
    measure: bool = False,
) -> Recommendation:
    """Return which configurations fit a budget, what they lose and what they cost.

    Parameters
    ----------
    dataset
        Whose numbers count: ``"mtat"`` or ``"msd"``, the paper's on that data set; ``"family"``, those of the
        taggers in the package; or the folder of a study of your own.
    max_gmac_per_minute, max_kb, min_speed, min_roc
        See `Limits`: 1e9 multiply-accumulates and 1000 bytes of features a minute of sound, times real time
        on one thread, ROC AUC.
    also
        Slugs of more inputs than the paper's 88; not with the family, whose taggers are what they are.
    storage
        What features are stored as: ``"float32"``, ``"float16"``, ``"uint8"`` or ``"uint4"``.
    measure
        Whether the best few are timed on this machine, which takes seconds each. Without it, only a study has
        speeds.

    Raises
    ------
    ConfigError
        If there is no such data set, a limit is no limit, or nothing keeps to the limits; the message then
        names the configuration that is nearest, and what it costs.
    DataError
        If numbers of two protocols would stand in one ranking, or a folder holds no study.

    Examples
    --------
    >>> found = recommend("mtat", max_gmac_per_minute=10, min_roc=0.889)
    >>> found.best.candidate.name
    'vgg-16k-mel48-x2-log'
    """
    limits = Limits(max_gmac_per_minute, max_kb, min_speed, min_roc)
    name = os.fspath(dataset)
    more = inputs(also)
    if name in DATASETS:
        return _ranked(name, of_paper(name, more, storage), limits, storage, measure)
    if name == FAMILY:
        if more:
            raise ConfigError(
                "The family's taggers have the inputs that they were trained on: also= goes with the paper's "
                "data sets and with a study of your own.",
                names=("also",),
            )
        return _ranked(name, of_family(storage), limits, storage, measure)
    if not name.strip() or not is_folder(name):
        known = (*DATASETS, FAMILY)
        raise ConfigError(
            f"There are no numbers of {name!r}: dataset is {', '.join(known)}, or the folder of a study."
            + nearest(name, known),
            names=("dataset",),
        )
    from .rows import measured  # takes torch, which the other numbers do without

    rows = measured(Path(name))
    return _ranked(name, of_study(rows, f"the study {name}", more, storage), limits, storage, measure)


def recommend_from(
    rows: Sequence[Measured],
    *,
    source: str = "your study",
    limits: Limits | None = None,
    also: Sequence[str] = (),
    storage: StorageType = "float32",
    measure: bool = False,
) -> Recommendation:
    """Do what `recommend` does, from rows that were measured together.

    Parameters
    ----------
    rows
        Configurations of one study on one data set.
    source
        What the study is called.
    limits, also, storage, measure
        As in `recommend`.

    Raises
    ------
    DataError
        If there are no rows, they are of several data sets, or two are of one configuration.
    ConfigError
        If nothing keeps to the limits, as in `recommend`.
    """
    found = of_study(rows, source, inputs(also), storage)
    return _ranked(source, found, limits or Limits(), storage, measure)


def _ranked(
    dataset: str, candidates: Sequence[Candidate], limits: Limits, storage: StorageType, measure: bool
) -> Recommendation:
    known = [own for own in candidates if own.roc_auc is not None]
    bests = _Bests([own for own in known if own.between is None])
    key = _cheapest if limits.min_roc is not None else _most_accurate
    known.sort(key=key)
    if measure:
        known = _timed(known, limits)
    fitting = [own for own in known if not limits.excess(own)]
    unknown = []
    if limits.min_roc is None and limits.min_speed is None:
        unknown = sorted((o for o in candidates if o.roc_auc is None and not limits.excess(o)), key=_cheapest)
    closest = None
    if not fitting:
        closest = min(known, key=lambda own: _distance(limits, own))
        if not unknown:
            raise ConfigError(_nothing(dataset, limits, known, closest, candidates), names=limits.given)
    return Recommendation(
        dataset=dataset,
        limits=limits,
        storage=storage,
        choices=tuple(map(bests.choice, fitting)),
        unknown=tuple(map(bests.choice, unknown)),
        closest=None if closest is None else bests.choice(closest),
        notes=tuple(_notes(fitting, limits)),
    )


def _most_accurate(own: Candidate) -> tuple[float, ...]:
    assert own.roc_auc is not None
    return -own.roc_auc, *_cheapest(own)


def _cheapest(own: Candidate) -> tuple[float, ...]:
    costs = own.gmac_per_minute, own.kb_per_minute
    return *(math.inf if cost is None else cost for cost in costs), -(own.roc_auc or 0)


def _distance(limits: Limits, own: Candidate) -> tuple[float, ...]:
    """Return how far a candidate is beyond the limits; what is not known comes last."""
    over = limits.excess(own).values()
    known = [math.log(ratio) for ratio in over if math.isfinite(ratio)]
    return len(over) - len(known), sum(known), *_most_accurate(own)


def _timed(ranked: Sequence[Candidate], limits: Limits) -> list[Candidate]:
    """Return the candidates, the first few of those that keep to the other limits with their speed."""
    from .speed import measured_speed

    others = replace(limits, min_speed=None)
    found, good = list(ranked), 0
    for place, own in enumerate(ranked):
        if good == MEASURED_FEW:
            break
        if others.excess(own) or (timed := measured_speed(own)) is None:
            continue
        found[place] = replace(own, speed=timed[0], speed_source=timed[1])
        good += not limits.excess(found[place])
    return found


class _Bests:
    """The best measured configuration, of all and of each network, and what others lose against them."""

    def __init__(self, measured: Sequence[Candidate]) -> None:
        ranked = sorted(measured, key=_most_accurate)
        self._of_all = ranked[0]
        self._of: dict[str, Candidate] = {}
        for own in ranked:
            self._of.setdefault(own.network, own)

    def choice(self, own: Candidate) -> Choice:
        if own.roc_auc is None:
            return Choice(own, None, None)
        return Choice(own, self._loss(own, self._of_all), self._loss(own, self._of[own.network]))

    def _loss(self, own: Candidate, best: Candidate) -> Loss:
        """Return a loss with the interval over the same clips, if there is one, or else over the runs."""
        if best is self._of_all:
            return _loss(own, best, own.loss_interval)
        return _loss(own, best, None)


def _loss(own: Candidate, best: Candidate, paired: Interval | None) -> Loss:
    """Return a loss with the interval that is given, or else that over the runs."""
    assert own.roc_auc is not None
    assert best.roc_auc is not None
    interval: Interval | None = None
    if own.name == best.name:
        source = "it is the best"
    elif own.between is not None:
        source = "not known: interpolated"
    elif paired is not None:
        interval, source = paired, "paired bootstrap over the same test clips"
    else:
        why = (
            "no scores of the same clips"
            if own.loss_interval is None
            else "paired with the best of all alone"
        )
        source = f"not known ({_runs(best)} and {_runs(own)}, {why})"
        samples = [Sample(c.roc_auc or 0, c.roc_auc_deviation, c.runs or 1) for c in (best, own)]
        if (found := difference(*samples)) is not None:
            interval, source = found.interval, f"Welch, {best.runs} and {own.runs} runs"
    return Loss(best.name, round(best.roc_auc - own.roc_auc, 6), interval, source)


def _runs(own: Candidate) -> str:
    return "1 run" if own.runs == 1 else f"{own.runs} runs"


def _notes(fitting: Sequence[Candidate], limits: Limits) -> list[str]:
    notes = []
    if any(own.between is not None for own in fitting):
        notes.append(
            "An interpolated figure is of no training: it is linear in the logarithm of the hop factor, or "
            "of the bands, between the two that it names."
        )
    if limits.min_speed is not None:
        notes.append("Speed is of front end and network on one thread, without decoding.")
    return notes


def described(own: Candidate) -> str:
    """Return the figures of a candidate in one line."""
    figures = [
        "ROC AUC not known" if own.roc_auc is None else f"ROC AUC {own.roc_auc:.4f}",
        "GMAC not known" if own.gmac_per_minute is None else f"{own.gmac_per_minute:.3g} GMAC a minute",
        "features not known"
        if own.kb_per_minute is None
        else f"{own.kb_per_minute:.0f} kB of features a minute",
    ]
    if own.speed is not None:
        figures.append(f"{own.speed:.0f} times real time")
    return f"{own.name}: {', '.join(figures)} ({own.accuracy_source})"


def _nothing(
    dataset: str, limits: Limits, known: Sequence[Candidate], closest: Candidate, every: Sequence[Candidate]
) -> str:
    """Return why nothing keeps to the limits, and what comes nearest."""
    alone = {
        name: any(not Limits(**{name: value}).excess(own) for own in known)
        for name, value in limits.given.items()
    }
    text = f"Nothing that was measured on {dataset} has {limits}."
    if limits.min_speed is not None and all(own.speed is None for own in known):
        return (
            f"No speed is known of anything on {dataset}: measure=True times the best few on this machine, "
            f"and a study of your own may have speeds. Without min_speed the nearest is {described(closest)}."
        )
    if len(alone) > 1 and all(alone.values()):
        text += " Each limit alone can be kept; together they contradict each other."
    elif len(alone) > 1:
        failing = [in_words(name, limits.given[name]) for name, can in alone.items() if not can]
        text += f" Even alone nothing has {' or '.join(failing)}."
    text += f" The nearest is {described(closest)}."
    cheap = replace(limits, min_roc=None, min_speed=None)
    if cheap.given and (rest := [o for o in every if o.roc_auc is None and not cheap.excess(o)]):
        text += f" Of {len(rest)} cheaper inputs the accuracy is not known."
    return text
