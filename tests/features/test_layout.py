"""How features become bytes: what comes back is within the bounds promised, and thinning adds no error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightmel.errors import ConfigError
from lightmel.features.layout import Layout

DTYPES = ["float32", "float16", "uint8", "uint4"]
LEVELS = {"uint8": 255, "uint4": 15}
EPS = 2.0**-23  # of float32

shapes = st.tuples(st.integers(1, 7), st.integers(1, 40))
# What logarithms of sound come to, and numbers near 0, which float16 holds less well.
values = st.floats(-400, 400, width=32) | st.floats(-(2**-13), 2**-13, width=32)
clips = hnp.arrays(np.float32, shapes, elements=values)


def clip_of(features: np.ndarray, dtype: Any) -> np.ndarray:
    return np.frombuffer(Layout(len(features), dtype).pack(features), np.uint8)


def read(clip: np.ndarray, dtype: Any, rows: int, frames: int, first: int = 0) -> np.ndarray:
    out = np.empty((rows, frames), np.float32)
    Layout(rows, dtype).copy(clip, first, out)
    return out


def bound(features: np.ndarray, dtype: str) -> np.ndarray:
    """What `build_store` promises of each value."""
    magnitude = np.abs(features).astype(np.float64)
    if dtype == "float32":
        return np.zeros_like(magnitude)
    if dtype == "float16":
        return np.maximum(magnitude / 2048, 3e-8)
    span = np.ptp(features.astype(np.float64), axis=1, keepdims=True)
    # Half a step, and the rounding of `low + step * byte` in float32.
    return span / LEVELS[dtype] / 2 + 3 * EPS * magnitude.max(axis=1, keepdims=True) + 1e-37


@pytest.mark.parametrize("dtype", DTYPES)
@given(features=clips)
def test_what_comes_back_is_within_the_promised_bound(dtype: str, features: np.ndarray) -> None:
    back = read(clip_of(features, dtype), dtype, *features.shape)
    assert (np.abs(back.astype(np.float64) - features) <= bound(features, dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bound_holds_in_long_clips(dtype: str) -> None:
    features = np.random.default_rng(0).normal(-40, 20, (3, 9_001)).astype(np.float32)
    back = read(clip_of(features, dtype), dtype, *features.shape)
    assert (np.abs(back - features) <= bound(features, dtype)).all()


@given(features=clips)
def test_bytes_span_a_row_from_its_lowest_to_its_highest(features: np.ndarray) -> None:
    levels = clip_of(features, "uint8")[8 * len(features) :][: features.size].reshape(features.T.shape)
    wide = np.ptp(features, axis=1) > 1e-3
    assert (levels.min(0) == 0).all()
    assert (levels.max(0)[wide] == 255).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(features=clips)
def test_a_clip_takes_the_bytes_that_are_said_and_the_next_is_aligned(
    dtype: Any, features: np.ndarray
) -> None:
    layout = Layout(len(features), dtype)
    taken = layout.n_bytes(features.shape[1])
    assert len(layout.pack(features)) == taken
    assert taken % 4 == 0
    if dtype == "uint4":
        least = features.shape[1] * -(-len(features) // 2)
    else:
        least = features.size * np.dtype(dtype).itemsize
    assert least <= taken < least + 4 + (8 * len(features) if dtype in LEVELS else 0)


@pytest.mark.parametrize("dtype", DTYPES)
@given(features=clips, data=st.data())
def test_any_frames_of_a_clip_are_those_of_the_whole(
    dtype: str, features: np.ndarray, data: st.DataObject
) -> None:
    clip = clip_of(features, dtype)
    first = data.draw(st.integers(0, features.shape[1] - 1))
    count = data.draw(st.integers(1, features.shape[1] - first))
    some = read(clip, dtype, len(features), count, first)
    np.testing.assert_array_equal(some, read(clip, dtype, *features.shape)[:, first : first + count])


@pytest.mark.parametrize("dtype", DTYPES)
@given(features=clips, keep=st.integers(2, 10))
def test_thinning_keeps_every_nth_frame_and_rounds_nothing_again(
    dtype: Any, features: np.ndarray, keep: int
) -> None:
    clip, kept = clip_of(features, dtype), np.ascontiguousarray(features[:, ::keep])
    thinned = Layout(len(features), dtype).thin(clip, features.shape[1], keep)
    assert len(thinned) == Layout(len(features), dtype).n_bytes(kept.shape[1])
    np.testing.assert_array_equal(
        read(np.frombuffer(thinned, np.uint8), dtype, *kept.shape),
        read(clip, dtype, *features.shape)[:, ::keep],
    )
    if dtype not in LEVELS:
        assert thinned == Layout(len(features), dtype).pack(kept)


@pytest.mark.parametrize("dtype", LEVELS)
@given(level=values, rows=st.integers(1, 3), frames=st.integers(1, 9))
def test_a_row_that_never_changes_comes_back_exactly(
    dtype: str, level: float, rows: int, frames: int
) -> None:
    features = np.full((rows, frames), level, np.float32)
    np.testing.assert_array_equal(read(clip_of(features, dtype), dtype, rows, frames), features)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", "0000803f 0000a0c0 0000c03f 00000040 00004040 00002041"),
        ("float16", "003c 00c5 003e 0040 0042 0049"),
        # Lows 1 and -5, steps 2 / 255 and 15 / 255; three frames of two bytes; two of padding.
        ("uint8", "0000803f 0000a0c0 8180003c f1f0703d 0000 4077 ffff 0000"),
        # Steps 2 / 15 and 1; three frames of a byte, the second row in its upper half; one of padding.
        ("uint4", "0000803f 0000a0c0 8988083e 0000803f 00 74 ff 00"),
    ],
)
def test_the_bytes_are_those_of_every_version_and_machine(dtype: str, expected: str) -> None:
    features = np.array([[1, 1.5, 3], [-5, 2, 10]], np.float32)
    assert clip_of(features, dtype).tobytes() == bytes.fromhex(expected)


def test_another_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="float32, float16, uint8, uint4, not 'int8'"):
        Layout(8, "int8")  # type: ignore[arg-type]
