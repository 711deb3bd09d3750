"""part_of: which hyper-rectangle of a tensor a view of the same memory is, if it is one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fanin.torch.capture.geometry import Geometry, Part, part_of


def lie(shape, stride, offset=0, dtype=torch.float32):
    return Geometry(shape, stride, offset, dtype)


ROWS = lie((4, 6), (6, 1), 12)
OUTSIDE = {
    "before the tensor": (lie((6,), (1,), 6), ROWS),
    "behind the tensor": (lie((6,), (1,), 36), ROWS),
    "between its rows": (lie((2,), (1,), 4), lie((4, 3), (6, 1))),
    "between its elements": (lie((4,), (6,), 1), lie((4, 3), (6, 2))),
    "beside a single element": (lie((1,), (1,), 6), lie((1,), (1,), 5)),
    "around the end of a row": (lie((4,), (1,), 16), ROWS),
    "over the last row": (lie((3, 6), (6, 1), 24), ROWS),
    "a diagonal": (lie((4,), (7,), 12), ROWS),
    "every other element": (lie((3,), (2,), 12), ROWS),
    "a row and a half": (lie((9,), (1,), 12), ROWS),
    "twelve from the middle of a row": (lie((12,), (1,), 14), ROWS),
    "of another dtype": (lie((4, 6), (6, 1), 12, torch.int32), ROWS),
}
INSIDE = {
    "all": (ROWS, Part((0, 0), (4, 6), ((0,), (1,)))),
    "transposed": (lie((6, 4), (1, 6), 12), Part((0, 0), (4, 6), ((1,), (0,)))),
    "flat": (lie((24,), (1,), 12), Part((0, 0), (4, 6), ((0, 1),))),
    "two whole rows, flat": (lie((12,), (1,), 18), Part((1, 0), (2, 6), ((0, 1),))),
    "a column": (lie((4,), (6,), 15), Part((0, 3), (4, 1), ((0,),))),
    "a block": (lie((2, 3), (6, 1), 20), Part((1, 2), (2, 3), ((0,), (1,)))),
    "an element": (lie((), (), 35), Part((3, 5), (1, 1), ())),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_no_part(name):
    assert part_of(*OUTSIDE[name]) is None


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_a_part(name):
    view, part = INSIDE[name]
    assert part_of(view, ROWS) == part


@given(st.data())
def test_a_part_names_exactly_the_elements_of_the_view(data):
    sizes = st.integers(1, 5)
    memory = torch.arange(200)
    shape = data.draw(st.tuples(sizes, sizes))
    wide = data.draw(st.integers(0, 3))
    whole = memory.as_strided(shape, (shape[1] + wide, 1), data.draw(st.integers(0, 20)))
    extent = data.draw(st.lists(sizes, min_size=1, max_size=2))
    strides = data.draw(st.lists(st.integers(1, 8), min_size=len(extent), max_size=len(extent)))
    view = memory.as_strided(extent, strides, data.draw(st.integers(0, 40)))
    part = part_of(Geometry.of(view), Geometry.of(whole))
    if part is not None:
        rows, columns = (slice(a, a + n) for a, n in zip(part.start, part.size, strict=True))
        assert sorted(whole[rows, columns].flatten().tolist()) == sorted(view.flatten().tolist())
