"""A value depends on its index in the whole tensor, not on which part is asked for or how the work is shared out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.random import Region, Stream, default_threads, normal, words
from fanin.random.runs import runs_of
from fanin.random.threads import run_shares

STREAM = Stream.named(1, "a")


def part_of(region: Region, **how: int) -> np.ndarray:
    out = np.empty(region.size, np.uint32)
    words(out, STREAM, region, **how)
    return out


@st.composite
def regions(draw: st.DrawFn) -> Region:
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=0, max_size=5)))
    start = tuple(draw(st.integers(0, extent)) for extent in shape)
    size = tuple(draw(st.integers(0, extent - first)) for extent, first in zip(shape, start, strict=True))
    return Region(shape, start, size)


@given(regions())
@settings(deadline=None, max_examples=200)
def test_any_part_equals_that_slice_of_the_whole(region):
    window = tuple(slice(first, first + count) for first, count in zip(region.start, region.size, strict=True))
    assert np.array_equal(part_of(region), part_of(Region.whole(region.shape))[window])


@given(st.integers(0, 2), st.lists(st.integers(0, 12), max_size=4), st.sampled_from(["normal", "truncated"]))
@settings(deadline=None, max_examples=40)
def test_shards_along_any_dimension_join_to_the_whole(cases, axis, cuts, law):
    shape = (7, 12, 5)
    edges = [0, *sorted(min(cut, shape[axis]) for cut in cuts), shape[axis]]
    shards = []
    for first, last in pairwise(edges):
        start, size = [0, 0, 0], list(shape)
        start[axis], size[axis] = first, last - first
        shards.append(cases.drawn(f"{law} float32", Region(shape, tuple(start), tuple(size))))
    whole = cases.drawn(f"{law} float32", Region.whole(shape))
    assert np.array_equal(np.concatenate(shards, axis), whole)


@pytest.mark.parametrize("law", ["uniform", "normal", "truncated", "truncated tail"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint16"])
def test_odd_offsets_and_lengths(law, dtype, cases):
    whole = cases.drawn(f"{law} {dtype}", Region.whole((4200,)))
    for first in range(6):
        for count in (1, 2, 3, 4, 5, 63, 4100):
            part = cases.drawn(f"{law} {dtype}", Region((4200,), (first,), (count,)))
            assert np.array_equal(part, whole[first : first + count])


@pytest.mark.parametrize("law", ["uniform", "normal", "truncated"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint16"])
def test_same_bits_on_one_to_eight_threads(law, dtype, cases):
    regions = (Region.whole((300_001,)), Region((641, 500), (1, 3), (639, 481)))
    for region in regions:
        expected = cases.drawn(f"{law} {dtype}", region, threads=1)
        for threads in range(2, 9):
            assert np.array_equal(cases.drawn(f"{law} {dtype}", region, threads=threads), expected)


def test_empty_regions_write_nothing_and_scalars_one_value(draw):
    out = np.empty((0, 3), np.float32)
    normal(out, STREAM, Region((2, 3), (1, 0), (0, 3)), 0.0, 1.0)
    scalar = np.empty((), np.float32)
    normal(scalar, Stream.named(0, "w"), Region.whole(()), 0.0, 1.0)
    assert scalar[()] == draw(normal, 1, 0.0, 1.0)[0]


def test_every_output_shape_of_the_right_size_is_filled_in_order():
    region = Region.whole((6, 4))
    flat = np.empty(24, np.uint32)
    words(flat, STREAM, region)
    assert np.array_equal(flat, part_of(region).ravel())


def test_runs_are_as_long_as_they_can_be():
    assert runs_of(Region((4, 5, 6), (1, 0, 0), (2, 5, 6))).length == 60
    assert runs_of(Region((4, 5, 6), (1, 2, 0), (2, 2, 6))).length == 12
    assert runs_of(Region((4, 5, 6), (1, 2, 3), (1, 1, 2))).extents.size == 0
    assert runs_of(Region((1, 5, 1), (0, 2, 0), (1, 3, 1))).length == 3


@given(st.integers(0, 1_000_000), st.integers(1, 9))
@settings(deadline=None, max_examples=50)
def test_shares_cover_every_position_once(count, threads):
    seen = np.zeros(count, np.uint8)

    def mark(first: int, last: int) -> None:
        seen[first:last] += 1

    run_shares(mark, count, threads)
    assert (seen == 1).all()


def test_an_error_in_a_thread_reaches_the_caller():
    def fail(first: int, last: int) -> None:
        raise MemoryError(f"{first} {last}")

    with pytest.raises(MemoryError):
        run_shares(fail, 10**6, 2)


def test_default_threads_follows_the_environment(monkeypatch):
    monkeypatch.setenv("FANIN_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.delenv("FANIN_NUM_THREADS")
    assert default_threads() >= 1


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_default_threads_refuses_nonsense(monkeypatch, text):
    monkeypatch.setenv("FANIN_NUM_THREADS", text)
    with pytest.raises(ValueError, match="FANIN_NUM_THREADS must be a positive whole number"):
        default_threads()
