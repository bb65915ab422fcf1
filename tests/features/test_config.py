"""What a store keeps, in a configuration: values that cannot be are refused, each with what it must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightmel.errors import ConfigError
from lightmel.features import StoreConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frontend": None}, "frontend is a text, not None"),
        (
            {"dtype": "float64"},
            r"dtype is 'float32' or 'float16' or 'uint8' or 'uint4', not 'float64'\. Did you mean",
        ),
        ({"dtype": np.float32}, "dtype is 'float32' or"),
        ({"excerpt_seconds": "29"}, "excerpt_seconds is a finite number, not '29'"),
        ({"excerpt_seconds": float("nan")}, "excerpt_seconds is a finite number, not nan"),
        ({"excerpt_seconds": -1}, r"excerpt_seconds is 0 or more and workers -1 or more, not -1\.0 and -1"),
        ({"workers": -2}, r"workers -1 or more, not 0\.0 and -2"),
        ({"workers": 1.5}, r"workers is a whole number, not 1\.5"),
        ({"workers": True}, "workers is a whole number, not True"),
    ],
)
def test_values_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StoreConfig(**options)


def test_numbers_of_numpy_become_pythons_own() -> None:
    config = StoreConfig(excerpt_seconds=np.float64(29.1), workers=np.int32(2))  # type: ignore[arg-type]
    assert config == StoreConfig(excerpt_seconds=29.1, workers=2)
    assert (type(config.excerpt_seconds), type(config.workers)) == (float, int)
