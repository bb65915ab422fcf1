"""The paper's trainings, as data: settings that a command or a call starts from.

A. Ferraro, D. Bogdanov, X. Serra, J. Yoon: How Low Can You Go? (EUSIPCO 2020), and the authors' code
(andrebola/EUSIPCO2020 at 299a213), from which what the paper does not say is taken as facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import ConfigError, nearest
from .config import TaggerConfig, TrainConfig


@dataclass(frozen=True)
class Recipe:
    """How a published network was trained.

    Attributes
    ----------
    name
        What it is called here.
    source
        Where it is from.
    network
        Network and input, where nothing else is asked for.
    settings
        Fields of `TaggerConfig` and `TrainConfig`; others keep their defaults.
    batch_sizes
        Examples in a step by the slug of the sample rate, of which the settings say none.
    differs
        What is done otherwise here.
    """

    name: str
    source: str
    network: str
    settings: Mapping[str, Any]
    batch_sizes: Mapping[str, int]
    differs: str

    def batch_size(self, network: str = "") -> int:
        """Return the examples in a step for a network and its input; at another rate those of 16 kHz."""
        given = [size for rate, size in self.batch_sizes.items() if f"-{rate}-" in (network or self.network)]
        return given[0] if given else self.batch_sizes["16k"]

    def all_settings(self, network: str = "") -> dict[str, Any]:
        """Return the fields that it sets, for a network or its own."""
        chosen = network or self.network
        return {"network": chosen, **self.settings, "batch_size": self.batch_size(chosen)}


_PAPER = "Ferraro, Bogdanov, Serra, Yoon (EUSIPCO 2020) and its code"
_VALIDATED = (
    "of the epochs the one with the best validation PR AUC is kept, where the code tests after each of them"
)
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="paper-vgg",
            source=_PAPER,
            network="vgg-12k-mel96-x1-db",
            settings={
                "segment_seconds": 29.1,
                "excerpts": 1,
                "augment": False,
                "epochs": 13,
                "optimizer": "adam",
                "lr": 1e-3,
                "weight_decay": 0.0,
                "schedule": "constant",
            },
            batch_sizes={"12k": 64, "16k": 32},
            differs=_VALIDATED,
        ),
        Recipe(
            name="paper-musicnn",
            source=_PAPER,
            network="musicnn-16k-mel96-x1-db",
            settings={
                "segment_seconds": 3.0,
                "excerpts": 1,
                "augment": False,
                "epochs": 300,
                "optimizer": "adam",
                "lr": 1e-3,
                "weight_decay": 0.0,
                "schedule": "step",
                "step_epochs": 100,
            },
            batch_sizes={"16k": 32},
            differs=f"{_VALIDATED}; each clip has a random segment of its own in an epoch, where the code "
            "takes all of them at one place",
        ),
    )
}
"""The recipes by name."""


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if name not in RECIPES:
        raise ConfigError(
            f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.{nearest(name, RECIPES)}"
        )
    return RECIPES[name]


def recipe(name: str, **changes: Any) -> tuple[TaggerConfig, TrainConfig]:
    """Return what `train_tagger` takes to train as the paper did; `changes` are fields of either that win.

    Raises
    ------
    ConfigError
        If there is no such recipe or field, or a value cannot be.
    """
    found = find_recipe(name)
    given = found.all_settings(str(changes.get("network", ""))) | changes
    what, how = ({f.name for f in fields(kind)} for kind in (TaggerConfig, TrainConfig))
    if unknown := [field for field in given if field not in what | how]:
        raise ConfigError(f"There is no setting {unknown[0]!r}.{nearest(unknown[0], what | how)}")
    return (
        TaggerConfig(**{k: v for k, v in given.items() if k in what}),
        TrainConfig(**{k: v for k, v in given.items() if k in how}),
    )
