"""Splitting one dimension, and the rectangles that splits and flat runs leave."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fanin.torch.sharded.flat_range import flat_range
from fanin.torch.sharded.spans import Span, Split, extent, rectangles, split

shapes = st.lists(st.integers(1, 5), min_size=0, max_size=4).map(tuple)


def chunks(indices: torch.Tensor, parts: int) -> list[torch.Tensor]:
    """`torch.chunk` with the empty chunks that it leaves out."""
    found = list(indices.chunk(parts))
    return found + [indices[:0]] * (parts - len(found))


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(1, 7), st.integers(0, 6), st.integers(1, 5)), max_size=3))
def test_a_split_is_what_torch_chunk_leaves(length, numbers):
    splits = [Split(parts, index % parts, interleaved) for parts, index, interleaved in numbers]
    left = torch.arange(length)
    for each in splits:
        left = torch.cat([chunks(outer, each.parts)[each.index] for outer in chunks(left, each.interleaved)])
    spans = split(length, splits)
    assert [index for span in spans for index in range(span.first, span.first + span.length)] == left.tolist()
    assert extent(spans) == len(left)
    assert all(a.first + a.length < b.first for a, b in pairwise(spans)), "spans that touch are one"


def test_rectangles_say_where_they_lie_and_where_they_are_held():
    found = list(rectangles([(Span(1, 1), Span(4, 2)), (Span(3, 5),)]))
    assert found == [((Span(1, 1), Span(3, 5)), (0, 0)), ((Span(4, 2), Span(3, 5)), (1, 0))]
    assert list(rectangles([])) == [((), ())], "a tensor of rank 0 is one rectangle"
    assert list(rectangles([(Span(0, 2),), ()])) == []


@given(shapes, st.data())
def test_a_flat_run_is_few_rectangles_in_order(shape, data):
    numel = prod(shape)
    first = data.draw(st.integers(0, numel))
    end = data.draw(st.integers(first, numel))
    flat = torch.arange(numel)
    regions = list(flat_range(shape, first, end))
    taken = [
        flat.view(shape)[tuple(slice(a, a + n) for a, n in zip(region.start, region.size, strict=True))].flatten()
        for region in regions
    ]
    assert torch.equal(torch.cat([flat[:0], *taken]), flat[first:end])
    assert len(regions) <= max(1, 2 * len(shape) - 1)
    assert all(region.numel for region in regions)


@pytest.mark.parametrize(("first", "end"), [(0, 0), (5, 5)])
def test_an_empty_run_has_no_rectangle(first, end):
    assert list(flat_range((4, 6), first, end)) == []
