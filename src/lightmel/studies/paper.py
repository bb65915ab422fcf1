"""The numbers that the paper published, as data: its Tables IV and V, and what was never published.

Ferraro, Bogdanov, Serra and Yoon, "How Low Can You Go? Reducing Frequency and Time Resolution in Current CNN
Architectures for Music Auto-tagging", EUSIPCO 2020. ``paper_results.csv`` holds every number there is, with
its source: those of Tables IV and V and, for VGG-CNN on MagnaTagATune, the deviations over three runs, which
are on the results page of the authors' repository only. For the other hop factors and numbers of bands there
is a drawing, Figure 1, and no number.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from ..errors import ConfigError, DataError, LightmelError, nearest
from ..frontends import PAPER_CONFIGS, FrontendConfig, MelConfig
from .tabular import Table

DATASETS: Mapping[str, str] = {"mtat": "MagnaTagATune", "msd": "Million Song Dataset"}
"""The data sets of the paper, by the names that this package has for them."""
NETWORKS: Mapping[str, str] = {"vgg": "VGG-CNN", "musicnn": "MUSICNN"}
"""The networks of the paper, as it calls them."""
MEASURES: Mapping[Literal["roc_auc", "pr_auc"], str] = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC"}
"""What was measured, both as means over the 50 tags."""

_FILE = "paper_results.csv"
_COLUMNS = (
    *("dataset", "architecture", "sr", "n_mels", "hop_factor", "log"),
    *("roc_auc", "roc_auc_std", "pr_auc", "pr_auc_std", "runs", "source"),
)


@dataclass(frozen=True)
class Published:
    """One row of the paper's results.

    Parameters
    ----------
    dataset, architecture
        A key of `DATASETS` and one of `NETWORKS`.
    config
        The input.
    roc_auc, pr_auc
        Means over tags and runs, between 0 and 1; the paper prints them in points, a hundred times this.
    roc_auc_deviation, pr_auc_deviation
        Standard deviations over the runs; None where none was published.
    runs
        How many trainings stand behind it.
    source
        Where the numbers were read.
    """

    dataset: str
    architecture: str
    config: MelConfig
    roc_auc: float
    pr_auc: float
    roc_auc_deviation: float | None
    pr_auc_deviation: float | None
    runs: int
    source: str

    @property
    def name(self) -> str:
        """The network and its input: ``vgg-16k-mel48-x1-db``."""
        return f"{self.architecture}-{self.config.slug}"


@cache
def published() -> tuple[Published, ...]:
    """Return every number that was published, in the order of the paper's tables."""
    with resources.as_file(resources.files(__package__).joinpath(_FILE)) as file:
        return read_published(file)


def published_of(dataset: str, architecture: str, config: FrontendConfig) -> Published | None:
    """Return the published numbers of a network on an input, or None where there are none."""
    return _by_key().get((dataset, architecture, config))


@cache
def _by_key() -> dict[tuple[str, str, FrontendConfig], Published]:
    return {(row.dataset, row.architecture, row.config): row for row in published()}


def published_on(dataset: str) -> tuple[Published, ...]:
    """Return the published numbers on one data set.

    Raises
    ------
    ConfigError
        If it is none of `DATASETS`; the nearest one is suggested.
    """
    if dataset not in DATASETS:
        raise ConfigError(
            f"The paper has the data sets {' and '.join(DATASETS)}, not {dataset!r}."
            + nearest(dataset, DATASETS),
            names=("dataset",),
        )
    return tuple(row for row in published() if row.dataset == dataset)


def read_published(path: str | os.PathLike[str]) -> tuple[Published, ...]:
    """Read results that are written as those of the paper are, in points.

    Raises
    ------
    DataError
        If the file cannot be read, has other columns, or a row holds what cannot be; the message names the
        line.
    """
    path = Path(path)
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not lines or lines[0] != list(_COLUMNS):
        found = ", ".join(lines[0]) if lines else "nothing"
        raise DataError(
            f"{path} holds no results of the paper's protocol: its columns are {', '.join(_COLUMNS)}; this "
            f"file has {found}. Results of a study of your own are a folder: lightmel study report DIR."
        )
    rows: dict[tuple[str, str, MelConfig], Published] = {}
    for number, cells in enumerate(lines[1:], 2):
        where = f"{path}, line {number}"
        if len(cells) != len(_COLUMNS):
            raise DataError(f"{where}: {len(cells)} cells stand where {len(_COLUMNS)} are wanted.")
        row = _row(dict(zip(_COLUMNS, cells, strict=True)), where)
        if rows.setdefault((row.dataset, row.architecture, row.config), row) is not row:
            raise DataError(f"{where}: {row.name} on {row.dataset} stands there twice.")
    return tuple(rows.values())


def _row(cells: Mapping[str, str], where: str) -> Published:
    for column, known in (("dataset", DATASETS), ("architecture", NETWORKS)):
        if cells[column] not in known:
            raise DataError(
                f"{where}: {column} is {' or '.join(known)}, not {cells[column]!r}."
                + nearest(cells[column], known)
            )
    try:
        config = MelConfig(
            int(cells["sr"]),
            int(cells["n_mels"]),
            int(cells["hop_factor"]),
            cells["log"],  # type: ignore[arg-type] # checked by the constructor
        )
        runs = int(cells["runs"])
    except (LightmelError, ValueError) as error:
        raise DataError(f"{where}: {error}") from error
    figures = {name: _points(cells[name], name, where) for name in MEASURES}
    deviations = {name: _points(cells[f"{name}_std"] or None, f"{name}_std", where) for name in MEASURES}
    roc_auc, pr_auc = figures.values()
    if roc_auc is None or pr_auc is None:
        raise DataError(f"{where}: each row has an ROC AUC and a PR AUC.")
    if runs < 1 or (runs == 1 and any(deviations.values())):
        raise DataError(f"{where}: {runs} runs have no deviation; say how many there were.")
    return Published(
        dataset=cells["dataset"],
        architecture=cells["architecture"],
        config=config,
        roc_auc=roc_auc,
        pr_auc=pr_auc,
        roc_auc_deviation=deviations["roc_auc"],
        pr_auc_deviation=deviations["pr_auc"],
        runs=runs,
        source=cells["source"],
    )


def _points(text: str | None, name: str, where: str) -> float | None:
    """Return a number of points between 0 and 1."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise DataError(f"{where}: {name} is a number of points from 0 to 100, not {text!r}.")
    return round(value / 100, 6)


def paper_table(dataset: str) -> Table:
    """Return what was published on a data set as one table, in points as the paper prints it.

    The paper's Tables IV and V hold these numbers; they go by their data set here, as `results.csv` does.

    Raises
    ------
    ConfigError
        If the paper has no such data set.
    """
    rows = {(row.architecture, row.config): row for row in published_on(dataset)}
    configs = sorted({config for _, config in rows}, key=PAPER_CONFIGS.index)
    networks = [name for name in NETWORKS if any(own == name for own, _ in rows)]
    cells = []
    for config in configs:
        line = [config.slug]
        for network in networks:
            row = rows.get((network, config))
            line += ["", ""] if row is None else [_cell(row, measure) for measure in MEASURES]
        cells.append(tuple(line))
    return Table(
        title=f"{DATASETS[dataset]} ({dataset}), as published: ROC AUC and PR AUC in points",
        header=(
            "input",
            *(
                f"{NETWORKS[network]} {measure.split()[0]}"
                for network in networks
                for measure in MEASURES.values()
            ),
        ),
        rows=tuple(cells),
        notes=(_runs_note(rows.values()),),
    )


def _cell(row: Published, measure: str) -> str:
    mean, deviation = 100 * getattr(row, measure), getattr(row, f"{measure}_deviation")
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {100 * deviation:.2f}"


def _runs_note(rows: Iterable[Published]) -> str:
    runs = {row.architecture: row.runs for row in rows}
    return " ".join(
        f"{NETWORKS[network]}: one run, no deviation."
        if number == 1
        else f"{NETWORKS[network]}: mean and standard deviation of {number} runs."
        for network, number in runs.items()
    )


def published_table(rows: Iterable[Published]) -> Table:
    """Return published numbers as one table, a line for each network and input, in points."""

    def points(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    return Table(
        title="As published: ROC AUC and PR AUC in points",
        header=_COLUMNS,
        rows=tuple(
            (
                row.dataset,
                row.architecture,
                *(str(getattr(row.config, name)) for name in _COLUMNS[2:6]),
                *(points(v) for v in (row.roc_auc, row.roc_auc_deviation, row.pr_auc, row.pr_auc_deviation)),
                str(row.runs),
                row.source,
            )
            for row in rows
        ),
    )


@dataclass(frozen=True)
class Gap:
    """What of a network on a data set was never published.

    Parameters
    ----------
    dataset, architecture
        Which.
    missing
        ``"figures"``, or ``"deviations"`` of figures that there are.
    configs
        The inputs, of the paper's 88, for which they are missing.
    """

    dataset: str
    architecture: str
    missing: Literal["figures", "deviations"]
    configs: tuple[MelConfig, ...]

    @property
    def text(self) -> str:
        """The gap in words: values of a field where all is missing, and single inputs."""
        if self.missing == "deviations":
            return f"no deviation of any of the {len(self.configs)} figures: one run each"
        missing = set(self.configs)
        words, left = [], missing
        for name, shown in _SHOWN.items():
            values = dict.fromkeys(getattr(config, name) for config in PAPER_CONFIGS)
            gone = [
                value
                for value in values
                if all(config in missing for config in PAPER_CONFIGS if getattr(config, name) == value)
            ]
            left = {config for config in left if getattr(config, name) not in gone}
            if gone:
                words.append(shown.format(", ".join(map(str, gone))))
        words += [config.slug for config in PAPER_CONFIGS if config in left]
        return f"no figure of {len(self.configs)} of {len(PAPER_CONFIGS)} inputs: {'; '.join(words)}"


_SHOWN: Mapping[str, str] = {
    "hop_factor": "hop factors {}",
    "n_mels": "bands {}",
    "log": "compression {}",
    "sr": "rates {} Hz",
}


def unpublished() -> tuple[Gap, ...]:
    """Return what was never published: of each network on each data set, figures and deviations."""
    gaps = []
    for dataset in DATASETS:
        for architecture in NETWORKS:
            rows = {row.config: row for row in published_on(dataset) if row.architecture == architecture}
            if lost := tuple(config for config in PAPER_CONFIGS if config not in rows):
                gaps.append(Gap(dataset, architecture, "figures", lost))
            if single := tuple(c for c, row in rows.items() if row.roc_auc_deviation is None):
                gaps.append(Gap(dataset, architecture, "deviations", single))
    return tuple(gaps)
