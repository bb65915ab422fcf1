"""Settings: what a field is for is said once and shown everywhere, and values that cannot be are refused."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest

from lightmel._settings import check_choices, check_plain, documented, help_of, setting
from lightmel.datasets import DataConfig
from lightmel.errors import ConfigError
from lightmel.features import StoreConfig

LONG = (
    "Words enough for more than one line of ninety-six characters, which are then broken where a word ends, "
    "as ever."
)


@documented
@dataclass(frozen=True)
class Oven:
    """How to bake.

    A line that explains more.

    Raises
    ------
    ConfigError
        If it burns.
    """

    degrees: int = setting(180, "Of the air.")
    minutes: float = setting(12.5, LONG)
    mode: Literal["fan", "top", "bottom"] = setting("fan", "Where heat comes from.")
    name: str = setting("mine", "What it is called.")
    light: bool = setting(True, "Whether one sees.")
    serial: int = 7


@dataclass(frozen=True)
class Loose:
    mode: Literal["one", "two"] = "one"
    number: Literal[1, 2] = 1
    any: str | None = None


def test_a_setting_has_its_default_and_its_help() -> None:
    by_name = {field.name: field for field in fields(Oven)}
    assert (Oven().degrees, Oven().mode, Oven().light) == (180, "fan", True)
    assert help_of(by_name["degrees"]) == "Of the air."
    assert help_of(by_name["serial"]) == ""


def test_the_docstring_gets_a_section_of_parameters_before_raises() -> None:
    assert Oven.__doc__ == inspect.cleandoc(
        """
        How to bake.

        A line that explains more.

        Parameters
        ----------
        degrees
            Of the air.
        minutes
            Words enough for more than one line of ninety-six characters, which are then broken where a word
            ends, as ever.
        mode
            Where heat comes from.
        name
            What it is called.
        light
            Whether one sees.

        Raises
        ------
        ConfigError
            If it burns.
        """
    )


def test_without_raises_the_section_stands_at_the_end() -> None:
    @documented
    @dataclass
    class Small:
        """Little."""

        size: int = setting(1, "How little.")

    assert Small.__doc__ == "Little.\n\nParameters\n----------\nsize\n    How little.\n"


def test_without_a_docstring_there_is_nothing_to_add_to() -> None:
    @dataclass
    class Bare:
        size: int = setting(1, "How little.")

    Bare.__doc__ = None
    assert documented(Bare) is Bare
    assert Bare.__doc__ is None
    assert Bare().size == 1


def test_settings_work_where_python_drops_docstrings() -> None:
    code = (
        "from lightmel.datasets import DataConfig\n"
        "from lightmel.features import StoreConfig\n"
        "print(DataConfig(split_seed=3).split_seed, StoreConfig().dtype)\n"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "3 float32\n"), done.stderr


@pytest.mark.parametrize("kind", [DataConfig, StoreConfig])
def test_every_setting_is_explained(kind: Any) -> None:
    head, _, rest = kind.__doc__.partition("\nParameters\n----------\n")
    section = rest.partition("\n\nRaises\n")[0]
    assert head.strip()
    assert re.findall(r"^\w+$", section, re.M) == [field.name for field in fields(kind)]
    assert all(help_of(field).endswith(".") for field in fields(kind))


# Values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"degrees": "180"}, r"degrees is a whole number, not '180'\."),
        ({"degrees": 180.5}, r"degrees is a whole number, not 180\.5\."),
        ({"degrees": np.float32(0.5)}, "degrees is a whole number, not np"),
        ({"degrees": True}, "degrees is a whole number, not True"),
        ({"degrees": np.True_}, "degrees is a whole number, not np"),
        ({"degrees": None}, "degrees is a whole number, not None"),
        ({"degrees": float("inf")}, "degrees is a whole number, not inf"),
        ({"degrees": np.array([180])}, "degrees is a whole number, not array"),
        ({"degrees": 180j}, "degrees is a whole number, not 180j"),
        ({"serial": "7"}, "serial is a whole number"),  # explained or not
        ({"minutes": "12"}, "minutes is a finite number, not '12'"),
        ({"minutes": float("nan")}, "minutes is a finite number, not nan"),
        ({"minutes": float("-inf")}, "minutes is a finite number, not -inf"),
        ({"minutes": False}, "minutes is a finite number, not False"),
        ({"minutes": None}, "minutes is a finite number, not None"),
        ({"name": 5}, "name is a text, not 5"),
        ({"name": None}, "name is a text, not None"),
        ({"name": b"mine"}, "name is a text, not b'mine'"),
        ({"light": 1}, "light is true or false, not 1"),
        ({"light": "yes"}, "light is true or false, not 'yes'"),
        ({"light": None}, "light is true or false, not None"),
        ({"mode": "buttom"}, r"mode is 'fan' or 'top' or 'bottom', not 'buttom'\. Did you mean 'bottom'\?$"),
        ({"mode": "zzzzz"}, r"mode is 'fan' or 'top' or 'bottom', not 'zzzzz'\.$"),
        ({"mode": None}, r"mode is 'fan' or 'top' or 'bottom', not None\."),
        ({"mode": ["fan"]}, r"mode is 'fan' or 'top' or 'bottom', not \['fan'\]"),
    ],
)
def test_values_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_plain(Oven(**change))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"degrees": np.int64(200)}, 200),
        ({"degrees": np.float64(200)}, 200),
        ({"degrees": 200.0}, 200),
        ({"degrees": -3}, -3),
        ({"minutes": np.float32(0.5)}, 0.5),
        ({"minutes": np.uint8(5)}, 5.0),
        ({"minutes": 5}, 5.0),
        ({"minutes": Fraction(1, 4)}, 0.25),
        ({"name": ""}, ""),
        ({"light": False}, False),
        ({"mode": "top"}, "top"),
    ],
)
def test_numbers_become_pythons_own_and_the_rest_stays(change: dict[str, Any], expected: Any) -> None:
    oven = Oven(**change)
    check_plain(oven)
    found = getattr(oven, *change)
    assert found == expected
    assert type(found) is type(expected)
    assert oven == Oven(**{**change, next(iter(change)): expected})


def test_choices_are_those_of_words_alone() -> None:
    check_choices(Loose())
    check_choices(Loose(number=3, any="thing"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"mode is 'one' or 'two', not 'tow'\. Did you mean 'two'"):
        check_choices(Loose(mode="tow"))  # type: ignore[arg-type]
