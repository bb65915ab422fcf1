"""Grids: which networks are trained on which inputs, with which seeds, out of a TOML or a Python file."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import runpy
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast, get_args

from .._each import attempt
from .._files import at_home, is_file
from .._settings import check_plain, documented, setting
from ..errors import ConfigError, DataError, LightmelError, UnexpectedError, nearest
from ..frontends import FrontendConfig, StorageType, config_from_dict, config_from_slug
from ..training import TrainConfig

GRIDS = Path(__file__).parent / "grids"
"""The grids of the package."""
_RUN_OUT = re.compile(r"\{([^{}]*)\}")
_MOST = 10_000
"""Inputs that one text may stand for."""
_NAME = re.compile(r"[A-Za-z0-9_.]+")


@documented
@dataclass(frozen=True)
class LearningConfig:
    """How the clips of a study are learnt from, beside the settings of the training.

    Raises
    ------
    ConfigError
        If a value cannot be.
    """

    segment_seconds: float = setting(
        0.0,
        "Seconds of sound in one pass of the networks; 0: the paper's, 29.1 for vgg and 3 for musicnn.",
    )
    excerpt_seconds: float = setting(
        0.0,
        "Seconds from the middle of each file that features are computed of; 0: all of it. With a teacher's "
        "scores those that it scored.",
    )
    excerpts: int = setting(1, "Of labelled clips: random excerpts of each in an epoch.")
    augment: bool = setting(
        False, "Of labelled clips: change level and spectrum of the training clips at random."
    )
    jitter: float = setting(
        1.0, "With a teacher's scores: as in a distillation, where segments begin beside the windows."
    )
    clip_share: float = setting(
        0.0, "With a teacher's scores: share of the mean over a clip in the target of each of its windows."
    )
    tag_weight: float = setting(
        0.1, "With a teacher's scores: weight of the squared error of logits, as in a distillation."
    )

    def __post_init__(self) -> None:
        check_plain(self)
        if not (self.segment_seconds >= 0 and self.excerpt_seconds >= 0) or self.excerpts < 1:
            raise ConfigError(
                "segment_seconds and excerpt_seconds are 0 or more and excerpts at least 1, not "
                f"{self.segment_seconds}, {self.excerpt_seconds} and {self.excerpts}."
            )
        if not (0 <= self.jitter <= 1 and 0 <= self.clip_share <= 1 and self.tag_weight >= 0):
            raise ConfigError(
                "jitter and clip_share lie between 0 and 1 and tag_weight is 0 or more, not "
                f"{self.jitter}, {self.clip_share} and {self.tag_weight}."
            )


@dataclass(frozen=True)
class Network:
    """A network of a grid: its name there, and what `lightmel.models.build` takes.

    Attributes
    ----------
    name
        What it is called in the grid.
    spec
        ``{"architecture": ..., ...}`` without input shape and number of tags.
    """

    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One training of a grid.

    Attributes
    ----------
    network, config, dtype, seed
        What is trained on which input, how the features are stored, and the seed of everything random.
    training, learning
        How.
    """

    network: Network
    config: FrontendConfig
    dtype: StorageType
    seed: int
    training: TrainConfig
    learning: LearningConfig

    @property
    def point(self) -> str:
        """The name of what several seeds are trained of."""
        stored = "" if self.dtype == "float32" else f"-{self.dtype}"
        return f"{self.network.name}-{self.config.slug}{stored}"

    @property
    def name(self) -> str:
        """Its own name, and that of its folder."""
        return f"{self.point}-seed{self.seed}"

    @property
    def segment_seconds(self) -> float:
        """Seconds of sound in one pass.

        Raises
        ------
        ConfigError
            If neither the grid nor the paper says.
        """
        if self.learning.segment_seconds:
            return self.learning.segment_seconds
        from ..models import segment_seconds

        try:
            return segment_seconds(self.network.spec["architecture"], self.config.sr)
        except ConfigError as error:
            raise ConfigError(f"{self.network.name}: {error}", names=("segment_seconds",)) from error

    def spec(self, n_tags: int) -> dict[str, Any]:
        """Return what `lightmel.models.build` takes."""
        shape = self.config.input_shape(self.segment_seconds)
        return {**self.network.spec, "input_shape": shape, "n_tags": n_tags}

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; `from_dict` is the way back."""
        return {
            "name": self.name,
            "point": self.point,
            "network": {"name": self.network.name, "spec": dict(self.network.spec)},
            "frontend": self.config.to_dict(),
            "storage": self.dtype,
            "seed": self.seed,
            "training": asdict(self.training),
            "learning": asdict(self.learning),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Cell:
        """Return the cell that `to_dict` gave."""
        return cls(
            Network(**plain["network"]),
            config_from_dict(plain["frontend"]),
            plain["storage"],
            plain["seed"],
            TrainConfig(**plain["training"]),
            LearningConfig(**plain["learning"]),
        )

    def settings(self) -> dict[str, Any]:
        """Return all that it is, as plain data: what its fingerprint is made of."""
        training = asdict(self.training)
        del training["save_seconds"]  # it changes no result
        return {
            "network": dict(self.network.spec),
            "frontend": self.config.to_dict(),
            "storage": self.dtype,
            "training": training,
            "learning": asdict(self.learning) | {"segment_seconds": self.segment_seconds},
        }


@dataclass(frozen=True)
class Grid:
    """A study: its cells, in the order in which they are trained.

    Attributes
    ----------
    name
        What it is called.
    cells
        The trainings.
    title
        A line about it, for its report.
    """

    name: str
    cells: tuple[Cell, ...]
    title: str = ""

    def __post_init__(self) -> None:
        """Refuse what would not have a folder of its own.

        Raises
        ------
        ConfigError
            If two cells have one name, or a network's name is none of a folder.
        """
        there: set[str] = set()
        for cell in self.cells:
            if not _NAME.fullmatch(cell.network.name):
                raise ConfigError(
                    f"The network {cell.network.name!r}: a name is letters, digits, dots and underscores."
                )
            if cell.name in there:
                raise ConfigError(f"Two cells are called {cell.name}: give their networks two names.")
            there.add(cell.name)

    def shard(self, number: int, of: int) -> Grid:
        """Return every `of`-th of the cells, from the `number`-th on, counted from 1.

        Raises
        ------
        ConfigError
            If there is no such shard.
        """
        if not 1 <= number <= of:
            raise ConfigError(f"There is no shard {number} of {of}: shards are 1/{max(of, 1)} and so on.")
        return replace(self, cells=self.cells[number - 1 :: of])

    def cell(self, name: str) -> Cell:
        """Return a cell by its name."""
        return next(cell for cell in self.cells if cell.name == name)

    def check(self, n_tags: int) -> None:
        """Build every network without weights, so that what cannot be is said before the work.

        Raises
        ------
        ConfigError
            If there is no cell, or a network refuses its input; the message names all such points.
        """
        if not self.cells:
            raise ConfigError(f"The grid {self.name!r} has no cells: there is nothing to train.")
        import torch

        from ..models import build

        refused: dict[str, str] = {}
        for cell in {cell.point: cell for cell in self.cells}.values():  # seeds are built alike
            try:
                with torch.device("meta"):
                    build(cell.spec(n_tags))
            except LightmelError as error:
                refused[cell.point] = str(error)
        if refused:
            raise ConfigError(
                f"What cannot be built of the grid {self.name!r}: "
                + "; ".join(f"{point}: {why}" for point, why in refused.items())
            )


def names_of_grids() -> tuple[str, ...]:
    """Return the names of the package's grids."""
    return tuple(sorted(file.stem for file in GRIDS.glob("*.toml")))


def read_grid(source: str | os.PathLike[str]) -> Grid:
    """Read a grid: a TOML file, a Python file with a mapping or a `Grid` called ``grid``, or a packaged one.

    In Python a grid may use networks and front ends that the file registers.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read.
    ConfigError
        If something in it cannot be; the message says where.
    """
    path = at_home(source)
    if not is_file(path) and str(source) in names_of_grids():
        path = GRIDS / f"{source}.toml"
    if not is_file(path):
        known = names_of_grids()
        raise DataError(
            f"There is no grid {path}: neither a file nor one of {', '.join(known)}."
            f"{nearest(str(source), known)}"
        )
    if path.suffix == ".py":
        found = run_script(path).get("grid")
        if isinstance(found, Grid):
            return found
        if not isinstance(found, Mapping):
            raise DataError(f"{path} has no `grid`, which is a mapping as in a TOML file, or a Grid.")
        plain: Mapping[str, Any] = found
    else:
        try:
            plain = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(f"{path} cannot be read as TOML: {why}.") from error
    try:
        return grid_of(plain, path.stem)
    except LightmelError as error:
        raise ConfigError(f"{path}: {error}") from error


def run_script(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Run a Python file, which may register networks and front ends, and return its names.

    Raises
    ------
    DataError
        If there is none, or it cannot be run.
    LightmelError
        What it raises of these.
    """
    path = at_home(path)
    if not is_file(path):
        raise DataError(f"There is no script {path}.")
    try:
        ran = attempt(path, runpy.run_path, str(path))
    except SystemExit as error:  # else it would end this process, as if all were done
        raise DataError(f"{path} ends the process that reads it (SystemExit: {error}).") from error
    if isinstance(ran, UnexpectedError):  # a mistake in the file, and none of ours
        why = ran.__cause__
        raise DataError(f"{path} cannot be run ({type(why).__name__}: {why}).") from why
    if isinstance(ran, LightmelError):
        raise ran
    return ran


def grid_of(plain: Mapping[str, Any], name: str = "grid") -> Grid:
    """Return the grid that a mapping describes, as it stands in a TOML file.

    Parameters
    ----------
    plain
        ``name``, ``title``, ``seeds``, ``storage``; ``[training]`` and ``[learning]``, fields of
        `TrainConfig` and `LearningConfig`; ``[networks.NAME]``, arguments of `lightmel.models.build`, and a
        ``training`` and a ``learning`` of its own if any; ``[[points]]`` with ``networks``, ``inputs``
        (slugs, in which ``{96,48}`` stands for each of these), and perhaps ``seeds``, ``storage``,
        ``training`` and ``learning`` of their own.
    name
        Where it says none.

    Raises
    ------
    ConfigError
        If a key is unknown, a value cannot be, or there is no point.
    """
    _known(
        plain, ("name", "title", "seeds", "storage", "training", "learning", "networks", "points"), "the grid"
    )
    given_networks = _table(plain.get("networks", {}), "networks")
    points = plain.get("points", [])
    if not isinstance(points, Sequence) or not points or isinstance(points, str):
        raise ConfigError("The grid has no points: each [[points]] names networks and inputs.")
    networks: dict[str, tuple[Network, Mapping[str, Any], Mapping[str, Any]]] = {}
    for own, described in given_networks.items():
        networks[own] = _network(own, _table(described, f"networks.{own}"))
    cells: dict[str, Cell] = {}
    for number, point in enumerate(points, 1):
        where = f"point {number}"
        point = _table(point, where)
        _known(point, ("networks", "inputs", "seeds", "storage", "training", "learning"), where)
        chosen = _words(point, "networks", where)
        slugs = [slug for text in _words(point, "inputs", where) for slug in spelled_out(text)]
        seeds = _seeds(point.get("seeds", plain.get("seeds", [0])), where)
        storage = _storage(point.get("storage", plain.get("storage", ["float32"])), where)
        for own, slug, dtype, seed in itertools.product(chosen, slugs, storage, seeds):
            if own not in networks:
                raise ConfigError(
                    f"{where} names the network {own!r}; there are {', '.join(networks) or 'none'}."
                    f"{nearest(own, networks)}"
                )
            network, training, learning = networks[own]
            cell = Cell(
                network,
                config_from_slug(slug),
                dtype,
                seed,
                replace(
                    _fields(
                        TrainConfig, (plain.get("training", {}), training, point.get("training", {})), where
                    ),
                    seed=seed,
                ),
                _fields(
                    LearningConfig, (plain.get("learning", {}), learning, point.get("learning", {})), where
                ),
            )
            if cells.setdefault(cell.name, cell) != cell:
                raise ConfigError(f"{where}: {cell.name} stands there before, with other settings.")
    called = plain.get("name", name)
    if not isinstance(called, str) or not re.fullmatch(r"[\w. -]+", called):
        raise ConfigError(f"name is a word or several, not {called!r}.")
    return Grid(called, tuple(cells.values()), str(plain.get("title", "")))


def spelled_out(text: str) -> list[str]:
    """Return the words that a text with alternatives stands for, as a shell does with ``{96,48}``.

    Raises
    ------
    ConfigError
        If it stands for too many.

    Examples
    --------
    >>> spelled_out("16k-mel{96,48}-x1-db")
    ['16k-mel96-x1-db', '16k-mel48-x1-db']
    """
    many = math.prod(len(part.split(",")) for part in _RUN_OUT.findall(text))
    if many > _MOST:
        raise ConfigError(f"{text!r} stands for {many} inputs: {_MOST} are the most.")
    found = _RUN_OUT.search(text)
    if found is None:
        return [text]
    before, after = text[: found.start()], text[found.end() :]
    return [word for part in found[1].split(",") for word in spelled_out(f"{before}{part.strip()}{after}")]


def _network(name: str, described: Mapping[str, Any]) -> tuple[Network, Mapping[str, Any], Mapping[str, Any]]:
    from ..models import arguments, names

    if not _NAME.fullmatch(name):
        raise ConfigError(f"networks.{name}: a name is letters, digits, dots and underscores.")
    spec = {k: v for k, v in described.items() if k not in ("training", "learning")}
    architecture = spec.get("architecture", name)
    if architecture not in names():
        raise ConfigError(
            f"networks.{name}: there is no architecture {architecture!r}; there are "
            f"{', '.join(names())}.{nearest(str(architecture), names())}"
        )
    own = [a for a in arguments(architecture) if a not in ("input_shape", "n_tags")]
    _known(spec, ("architecture", *own), f"networks.{name}")
    try:
        json.dumps(spec)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"networks.{name}: {error}; take numbers, words and lists of them.") from error
    return (
        Network(name, {**spec, "architecture": architecture}),
        _table(described.get("training", {}), f"networks.{name}.training"),
        _table(described.get("learning", {}), f"networks.{name}.learning"),
    )


def _fields(kind: Any, given: Sequence[Any], where: str) -> Any:
    """Return a dataclass of settings from tables of which the later ones win."""
    merged: dict[str, Any] = {}
    known = tuple(f.name for f in fields(kind) if f.name != "seed")
    what = {TrainConfig: "training", LearningConfig: "learning"}[kind]
    for table in given:
        _known(_table(table, what), known, f"{what} of {where}")
        merged |= table
    try:
        return kind(**merged)
    except ConfigError as error:
        raise ConfigError(f"{what} of {where}: {error}") from error


def _known(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{where} has no key {key!r}; it has {', '.join(known)}.{nearest(str(key), known)}"
            )


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is a table, not {value!r}.")
    return value


def _words(point: Mapping[str, Any], key: str, where: str) -> Sequence[str]:
    found = point.get(key)
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, Sequence) or not found or not all(isinstance(word, str) for word in found):
        raise ConfigError(f"{where}: {key} is a list of words, not {found!r}.")
    return found


def _seeds(found: Any, where: str) -> Iterator[int]:
    wanted = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    if not wanted or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in wanted):
        raise ConfigError(f"{where}: seeds are whole numbers from 0 on, not {found!r}.")
    if max(wanted) >= 2**64:
        raise ConfigError(f"{where}: seeds are below 2**64, as torch takes them, not {max(wanted)}.")
    return iter(wanted)


def _storage(found: Any, where: str) -> Sequence[StorageType]:
    wanted = [found] if isinstance(found, str) else found
    allowed = get_args(StorageType)
    if not isinstance(wanted, Sequence) or not wanted or any(one not in allowed for one in wanted):
        raise ConfigError(f"{where}: storage is some of {', '.join(allowed)}, not {found!r}.")
    return cast(Sequence[StorageType], wanted)
