from __future__ import annotations

import pytest

from lightmel import errors
from lightmel.errors import LightmelError, nearest


def test_every_error_is_a_child_of_the_one_to_catch() -> None:
    own = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(own) >= 7
    assert all(issubclass(e, LightmelError) for e in own)
    assert all(e.__doc__ for e in own)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.ShapeError, ValueError),
        (errors.UnknownModelError, LookupError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_errors_are_also_what_python_would_raise(error: type[Exception], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="way out"):
        raise error("way out")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("defualt", " Did you mean 'default'?"),
        ("vgg", " Did you mean 'vgg'?"),
        ("zzzzzz", ""),
        ("", ""),
    ],
)
def test_the_nearest_word_is_suggested_only_where_it_is_near(word: str, hint: str) -> None:
    assert nearest(word, iter(["default", "vgg"])) == hint


def test_a_name_that_is_none_does_not_fill_the_screen() -> None:
    for text in (f"{'x' * 100_000}: no such file. Name another.", f"No tagger '{'x' * 100_000}', but y."):
        said = str(LightmelError(text))
        assert said == text.replace("x" * 100_000, f"{'x' * 200}... (100,000 characters)").replace(
            f"'{'x' * 200}... (100,000", f"'{'x' * 199}... (100,001"
        )
    path = f"/{'a' * 4_000}"
    assert str(LightmelError(f"{path}: no such file.", names=("x",))) == f"{path}: no such file."
    assert LightmelError(3).args == (3,)
