"""What can be recommended: configurations with their accuracy and cost, each figure with who says so.

Candidates of one list are of one data set and one source; figures of two never meet. A configuration that
nobody measured may lie between two that somebody did, and is then marked as such; elsewhere its accuracy is
not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from .. import hub
from ..errors import ConfigError, DataError, LightmelError
from ..frontends import CLIP_SECONDS, PAPER_CONFIGS, FrontendConfig, MelConfig, StorageType, config_from_slug
from .known import THE_FAMILY, THE_PAPER, Interval, family_accuracies
from .paper import NETWORKS, published_of, published_on

NOT_KNOWN = "not known"
COMPUTED = "computed from the network"
_MINUTE = 60.0
_VALUE_BYTES: dict[StorageType, float] = {"float32": 4, "float16": 2, "uint8": 1, "uint4": 0.5}
_FLOAT_BYTES = 4


class Measured(Protocol):
    """A configuration of a study, measured: what `recommend_from` takes.

    Attributes
    ----------
    network, config
        Name of the network, such as ``"vgg"`` or ``"vgg-small"``, and slug of its input. In one study no two
        rows have both in common.
    dataset
        Label of what it was measured on, the protocol included: the same for all rows of a study.
    roc_auc, pr_auc
        Means over tags and runs, between 0 and 1.
    roc_auc_deviation, pr_auc_deviation
        Standard deviations (of a sample) over the runs; None for one run.
    runs
        How many runs there are.
    loss_interval
        Of the ROC AUC of the best row less this one's, over the same test clips (paired bootstrap); None
        where there is none, and for the best row. It comes before the interval that runs give.
    gmac_per_minute, parameters
        1e9 multiply-accumulates a minute of sound, and how many parameters; None where nobody counted.
    kb_per_minute
        1000 bytes of stored features a minute of sound; None for those of the configuration.
    speed
        Times real time on one thread of the machine of the study; None where nobody measured.
    """

    @property
    def network(self) -> str:
        """Name of the network."""

    @property
    def config(self) -> str:
        """Slug of the input."""

    @property
    def dataset(self) -> str:
        """Label of what it was measured on."""

    @property
    def roc_auc(self) -> float:
        """Mean over tags and runs."""

    @property
    def pr_auc(self) -> float:
        """Mean over tags and runs."""

    @property
    def roc_auc_deviation(self) -> float | None:
        """Standard deviation over the runs."""

    @property
    def pr_auc_deviation(self) -> float | None:
        """Standard deviation over the runs."""

    @property
    def runs(self) -> int:
        """Number of runs."""

    @property
    def loss_interval(self) -> Interval | None:
        """Of the loss against the best row."""

    @property
    def gmac_per_minute(self) -> float | None:
        """1e9 multiply-accumulates a minute of sound."""

    @property
    def parameters(self) -> int | None:
        """How many."""

    @property
    def kb_per_minute(self) -> float | None:
        """1000 bytes of features a minute of sound."""

    @property
    def speed(self) -> float | None:
        """Times real time on one thread."""


@dataclass(frozen=True)
class Candidate:
    """A configuration that may be recommended: what is known of it, and who says so.

    Parameters
    ----------
    name
        Of a tagger, or of a network with its input.
    network, config
        The network, and the slug of its input.
    roc_auc, pr_auc
        Between 0 and 1; None where nothing supports a figure.
    roc_auc_deviation, pr_auc_deviation, runs
        Standard deviations over the runs, and their number; None where they are not known.
    roc_auc_interval, pr_auc_interval
        95 % intervals over the clips; None where none are known.
    accuracy_source
        Who says so; of an interpolated figure between which two it lies.
    gmac_per_minute
        1e9 multiply-accumulates a minute of sound, segments end to end.
    kb_per_minute, kb_per_clip
        1000 bytes of features: a minute of sound, and the paper's clip of 29.1 s.
    parameters, weights_bytes
        Of the network; bytes of a tagger's file, or of its parameters in float32.
    cost_source
        Where these are from.
    speed, speed_source
        Times real time on one thread, and where that was measured.
    loss_interval
        As `Measured` has it.
    between
        Names of the two that an interpolated accuracy lies between.
    """

    name: str
    network: str
    config: str
    roc_auc: float | None = None
    pr_auc: float | None = None
    roc_auc_deviation: float | None = None
    pr_auc_deviation: float | None = None
    runs: int | None = None
    roc_auc_interval: Interval | None = None
    pr_auc_interval: Interval | None = None
    accuracy_source: str = NOT_KNOWN
    gmac_per_minute: float | None = None
    kb_per_minute: float | None = None
    kb_per_clip: float | None = None
    parameters: int | None = None
    weights_bytes: int | None = None
    cost_source: str = NOT_KNOWN
    speed: float | None = None
    speed_source: str = NOT_KNOWN
    loss_interval: Interval | None = None
    between: tuple[str, str] | None = None


@dataclass(frozen=True)
class _Cost:
    """The costs of a candidate: fields of `Candidate`."""

    gmac_per_minute: float | None
    kb_per_minute: float
    kb_per_clip: float
    parameters: int | None
    weights_bytes: int | None
    cost_source: str

    def fields(self) -> dict[str, float | int | str | None]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def kilobytes(config: FrontendConfig, seconds: float, storage: StorageType) -> float:
    """Return how many 1000 bytes the features of `seconds` of sound take, their values alone."""
    return math.prod(config.input_shape(seconds)) * _VALUE_BYTES[storage] / 1000


def of_paper(dataset: str, also: Sequence[MelConfig], storage: StorageType) -> list[Candidate]:
    """Return the paper's networks on its 88 inputs and some more, with the accuracy on one data set.

    Raises
    ------
    ConfigError
        If the paper has no such data set.
    """
    measured = [
        Candidate(
            name=row.name,
            network=row.architecture,
            config=row.config.slug,
            roc_auc=row.roc_auc,
            pr_auc=row.pr_auc,
            roc_auc_deviation=row.roc_auc_deviation,
            pr_auc_deviation=row.pr_auc_deviation,
            runs=row.runs,
            accuracy_source=f"{THE_PAPER}, {dataset}",
            **_computed(row.architecture, row.config, storage).fields(),  # type: ignore[arg-type]
        )
        for row in published_on(dataset)
    ]
    others = [
        (network, config)
        for network in NETWORKS
        for config in dict.fromkeys((*PAPER_CONFIGS, *also))
        if published_of(dataset, network, config) is None
    ]
    return [*measured, *_unmeasured(others, measured, storage)]


def of_family(storage: StorageType) -> list[Candidate]:
    """Return the family's taggers in the package, as they were measured.

    Raises
    ------
    DataError
        If they were measured by two protocols.
    """
    known = family_accuracies()
    found = []
    for release in hub.releases():
        if release.name not in known:
            continue
        own, config = known[release.name], config_from_slug(release.config)
        found.append(
            Candidate(
                name=release.name,
                network=release.network,
                config=release.config,
                roc_auc=own.roc_auc,
                pr_auc=own.pr_auc,
                runs=own.runs,
                roc_auc_interval=own.roc_auc_interval,
                pr_auc_interval=own.pr_auc_interval,
                accuracy_source=THE_FAMILY,
                gmac_per_minute=release.gmac_per_minute,
                kb_per_minute=kilobytes(config, _MINUTE, storage),
                kb_per_clip=kilobytes(config, CLIP_SECONDS, storage),
                parameters=release.parameters,
                weights_bytes=release.bytes,
                cost_source=THE_FAMILY,
            )
        )
    return found


def of_study(
    rows: Sequence[Measured], source: str, also: Sequence[MelConfig], storage: StorageType
) -> list[Candidate]:
    """Return the configurations of a study, and those inputs of the paper, and others, between two of them.

    Raises
    ------
    DataError
        If there are no rows, they are not of one data set, two are of one configuration, or a figure is none.
    """
    if not rows:
        raise DataError(f"{source} has no finished run: there is nothing to recommend from.")
    measured: list[Candidate] = []
    for row in rows:
        if row.dataset != rows[0].dataset:
            raise DataError(
                f"{source}: {rows[0].dataset} and {row.dataset} are not the same protocol, and their numbers "
                "cannot stand in one ranking. Recommend from each alone."
            )
        measured.append(_of_row(row, source, storage))
    names = [own.name for own in measured]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{source}: {twice} stands there twice; its runs make one row, with a deviation.")
    known = {(own.network, own.config) for own in measured}
    others = [
        (network, config)
        for network in dict.fromkeys(own.network for own in measured)
        for config in dict.fromkeys((*PAPER_CONFIGS, *also))
        if (network, config.slug) not in known
    ]
    unmeasured = _unmeasured(others, measured, storage)
    asked = {config.slug for config in also}
    return [*measured, *(own for own in unmeasured if own.between or own.config in asked)]


def _of_row(row: Measured, source: str, storage: StorageType) -> Candidate:
    name = f"{row.network}-{row.config}"
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in (row.roc_auc, row.pr_auc)):
        raise DataError(
            f"{source}: ROC AUC and PR AUC of {name} lie between 0 and 1, not {row.roc_auc} and {row.pr_auc}."
        )
    config = config_from_slug(row.config)
    a_minute, a_clip = (kilobytes(config, seconds, storage) for seconds in (_MINUTE, CLIP_SECONDS))
    if row.kb_per_minute is not None:
        a_minute, a_clip = row.kb_per_minute, row.kb_per_minute * a_clip / a_minute
    return Candidate(
        name=name,
        network=row.network,
        config=row.config,
        roc_auc=row.roc_auc,
        pr_auc=row.pr_auc,
        roc_auc_deviation=row.roc_auc_deviation,
        pr_auc_deviation=row.pr_auc_deviation,
        runs=row.runs,
        accuracy_source=f"{source}, {row.dataset}",
        gmac_per_minute=row.gmac_per_minute,
        kb_per_minute=a_minute,
        kb_per_clip=a_clip,
        parameters=row.parameters,
        weights_bytes=None if row.parameters is None else _FLOAT_BYTES * row.parameters,
        cost_source=NOT_KNOWN if row.gmac_per_minute is None else source,
        speed=row.speed,
        speed_source=NOT_KNOWN if row.speed is None else source,
        loss_interval=row.loss_interval,
    )


def _computed(network: str, config: FrontendConfig, storage: StorageType) -> _Cost:
    """Return the costs of a network on an input; those of a pass of one of a study's own are not known."""
    from ..models import paper_cost  # torch, which the family's taggers do without

    a_minute, a_clip = (kilobytes(config, seconds, storage) for seconds in (_MINUTE, CLIP_SECONDS))
    try:
        if network in NETWORKS:
            row = paper_cost(network, config)
        else:
            (row,) = hub.costs_of(f"{network}-{config.slug}")
    except LightmelError:  # a network of a study's own, or one that this input is too small for
        return _Cost(None, a_minute, a_clip, None, None, NOT_KNOWN)
    return _Cost(
        gmac_per_minute=row.macs_per_second * _MINUTE / 1e9,
        kb_per_minute=a_minute,
        kb_per_clip=a_clip,
        parameters=row.cost.parameters,
        weights_bytes=_FLOAT_BYTES * row.cost.parameters,
        cost_source=COMPUTED,
    )


# Between two measured ones.

_BETWEEN = ("hop_factor", "n_mels")
"""The fields along which a figure between two measured ones means something."""


def _unmeasured(
    wanted: Iterable[tuple[str, MelConfig]], measured: Sequence[Candidate], storage: StorageType
) -> Iterator[Candidate]:
    """Yield configurations that nobody measured: with an accuracy between two neighbours, or with none."""
    points = [
        (own, config) for own in measured if isinstance(config := config_from_slug(own.config), MelConfig)
    ]
    for network, config in wanted:
        own = Candidate(
            name=f"{network}-{config.slug}",
            network=network,
            config=config.slug,
            **_computed(network, config, storage).fields(),  # type: ignore[arg-type]
        )
        near = _neighbours(config, [point for point in points if point[0].network == network])
        yield own if near is None else _interpolated(own, config, *near)


Neighbours = tuple[str, tuple[Candidate, MelConfig], tuple[Candidate, MelConfig]]


def _neighbours(config: MelConfig, points: Sequence[tuple[Candidate, MelConfig]]) -> Neighbours | None:
    """Return a field and the nearest points on both sides of an input that differ from it in that alone.

    Where both fields have such points, those that are nearer each other count.
    """
    found: list[tuple[float, Neighbours]] = []
    for name in _BETWEEN:
        value = getattr(config, name)
        line = [p for p in points if p[1].replace(**{name: value}) == config]
        below = [p for p in line if getattr(p[1], name) < value]
        above = [p for p in line if getattr(p[1], name) > value]
        if below and above:
            low = max(below, key=lambda p: getattr(p[1], name))
            high = min(above, key=lambda p: getattr(p[1], name))
            found.append((getattr(high[1], name) / getattr(low[1], name), (name, low, high)))
    return min(found, key=lambda item: item[0])[1] if found else None


def _interpolated(
    own: Candidate,
    config: MelConfig,
    name: str,
    low: tuple[Candidate, MelConfig],
    high: tuple[Candidate, MelConfig],
) -> Candidate:
    """Return a candidate with an accuracy between two, linear in the logarithm of the field."""
    start, value, end = (math.log(getattr(c, name)) for c in (low[1], config, high[1]))
    share = (value - start) / (end - start)

    def mixed(a: float | None, b: float | None) -> float:
        assert a is not None  # both were measured
        assert b is not None
        return (1 - share) * a + share * b

    return Candidate(
        **{
            **{f.name: getattr(own, f.name) for f in fields(own)},
            "roc_auc": mixed(low[0].roc_auc, high[0].roc_auc),
            "pr_auc": mixed(low[0].pr_auc, high[0].pr_auc),
            "accuracy_source": f"interpolated between {low[0].name} and {high[0].name}"
            f" ({low[0].accuracy_source})",
            "between": (low[0].name, high[0].name),
        }
    )


def inputs(slugs: Sequence[str]) -> tuple[MelConfig, ...]:
    """Return the mel-spectrograms that slugs name.

    Raises
    ------
    ConfigError
        If one names none.
    """
    configs = []
    for slug in slugs:
        config = config_from_slug(slug)
        if not isinstance(config, MelConfig):
            raise ConfigError(
                f"{slug} is no mel-spectrogram: no figure of another can be between two measured ones."
            )
        configs.append(config)
    return tuple(configs)
