from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmel.inference import cut
from lightmel.inference.segments import together


def in_blocks(samples: int, sizes: list[int]) -> Iterator[np.ndarray]:
    """Sample i has the value i; blocks of `sizes` in turn, empty ones too."""
    wave, at, turn = np.arange(samples, dtype=np.float32), 0, 0
    while at < samples:
        size = sizes[turn % len(sizes)] if any(sizes) else samples
        yield wave[at : at + size]
        at, turn = at + size, turn + 1


SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=5)


@given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 45), SIZES)
@settings(max_examples=400)
def test_segments_cover_the_sound_and_end_with_it(
    samples: int, length: int, hop: int, sizes: list[int]
) -> None:
    segments = list(cut(in_blocks(samples, sizes), length, hop))
    if samples < length:
        (only,) = segments
        assert (only.start, only.sounding) == (0, samples)
        assert list(only.wave) == [i % samples for i in range(length)]
        return
    for segment in segments:
        assert segment.sounding == length
        assert list(segment.wave) == list(range(segment.start, segment.start + length))
    starts = [s.start for s in segments]
    assert starts[-1] == samples - length
    assert starts[:-1] == list(range(0, samples - length, hop)), "regular, and the last one once"
    if hop <= length:
        assert {i for s in starts for i in range(s, s + length)} == set(range(samples))


@given(st.integers(0, 200), st.integers(1, 30), st.integers(1, 45), SIZES)
def test_the_blocks_do_not_matter_to_the_segments(
    samples: int, length: int, hop: int, sizes: list[int]
) -> None:
    in_one = list(cut(in_blocks(samples, [samples]), length, hop))
    in_many = list(cut(in_blocks(samples, sizes), length, hop))
    assert [(s.start, s.sounding, s.wave.tolist()) for s in in_one] == [
        (s.start, s.sounding, s.wave.tolist()) for s in in_many
    ]


def test_cutting_holds_a_segment_and_a_block_at_most() -> None:
    held = 0

    def blocks() -> Iterator[np.ndarray]:
        nonlocal held
        for _ in range(300):
            held = max(held, tracemalloc.get_traced_memory()[0])
            yield np.zeros(1_000, dtype=np.float32)

    for segments in (cut(blocks(), 2_000, 2_000), cut(blocks(), 2_000, 7_000)):
        tracemalloc.start()
        held = 0
        for _ in segments:
            pass
        tracemalloc.stop()
        assert held < 100_000, "bytes; the sound has 1,200,000"


@given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 45), SIZES, st.integers(1, 6))
def test_a_batch_is_its_segments(samples: int, length: int, hop: int, sizes: list[int], count: int) -> None:
    segments = list(cut(in_blocks(samples, sizes), length, hop))
    for begin in range(0, len(segments), count):
        batch = segments[begin : begin + count]
        np.testing.assert_array_equal(together(batch), np.stack([s.wave for s in batch]))


def test_a_batch_of_one_block_is_no_copy() -> None:
    blocks = [np.arange(40, dtype=np.float32) + 40 * i for i in range(3)]
    segments = list(cut(iter(blocks), 10, 10))
    for i, block in enumerate(blocks):
        batch = together(segments[4 * i : 4 * i + 4])
        assert batch.shape == (4, 10)
        assert np.shares_memory(batch, block)
    across = together(segments[2:6])
    assert across.tolist() == [list(range(10 * i, 10 * i + 10)) for i in range(2, 6)]


def test_a_batch_of_an_array_that_cannot_be_written_can_be() -> None:
    block = np.arange(40, dtype=np.float32)
    block.flags.writeable = False
    assert together(list(cut([block], 10, 10))).flags.writeable
