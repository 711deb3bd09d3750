"""Looks at memory, against NumPy's own strided views."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.graph.flow import Node, Value, channels
from fanin.graph.looks import sources, through


def value(memory, array, base):
    """A NumPy view of `base` as a look."""
    size = base.itemsize
    offset = (array.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // size
    return Value(memory, array.shape, tuple(step // size for step in array.strides), offset)


def seen(look, base):
    """The elements of `base` that a look covers, in order."""
    steps = tuple(step * base.itemsize for step in look.strides)
    return np.lib.stride_tricks.as_strided(base[look.offset :], look.shape, steps).ravel()


@st.composite
def copies(draw):
    """A strided array over numbered memory, and a contiguous copy of it with a look at that."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4))
    memory = np.arange(int(np.prod(shape)))
    order = draw(st.permutations(range(len(shape))))
    read = memory.reshape(shape).transpose(order)
    copy = np.ascontiguousarray(read)
    look = copy
    for _ in range(draw(st.integers(0, 3))):
        look = draw(st.sampled_from(list(views(look))))
    return memory, read, copy, look


def views(array):
    yield array
    yield array.T
    yield array[::2]
    yield array[..., array.shape[-1] // 2 :] if array.shape[-1] > 1 else array
    flat = array.reshape(-1)
    if np.shares_memory(flat, array):
        yield flat
    for axis, size in enumerate(array.shape):
        if size % 2 == 0:
            yield array.reshape(*array.shape[:axis], 2, size // 2, *array.shape[axis + 1 :])


@settings(max_examples=150, deadline=None)
@given(copies())
def test_a_look_at_a_copy_is_followed_to_what_was_copied(drawn):
    memory, read, copy, look = drawn
    if not np.shares_memory(look, copy):
        return
    found = through(value(1, look, copy), value(1, copy, copy), value(0, read, memory))
    if found is not None:
        assert found.memory == 0
        assert seen(found, memory).tolist() == look.ravel().tolist()


def test_what_broadcasts_is_read_as_often_as_needed():
    read, written = Value(0, (3, 1), (1, 1)), Value(1, (2, 3, 4), (12, 4, 1))
    assert through(written, written, read) == Value(0, (2, 3, 4), (0, 1, 0))
    assert through(written, written, Value(0, (5,), (1,))) is None


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (Value(9, (2, 6), (6, 1)), [Value(0, (2, 4), (4, 1)), Value(1, (2, 2), (2, 1))]),
        (Value(9, (2, 2), (6, 1), 1), [Value(0, (2, 2), (4, 1), 1)]),
        (Value(9, (2, 2), (6, 1), 4), [Value(1, (2, 2), (2, 1))]),
        (Value(9, (2, 1), (6, 1), 5), [Value(1, (2, 1), (2, 0), 1)]),
    ],
)
def test_pieces_of_a_concatenation(look, expected):
    reads = Value(0, (2, 4), (4, 1)), Value(1, (2, 2), (2, 1))
    node = Node("cat", "", reads, (Value(9, (2, 6), (6, 1)),), axis=1)
    assert list(sources(node, look)) == expected


def test_halves_of_a_gated_unit():
    node = Node("glu", "", (Value(0, (2, 6), (6, 1)),), (Value(1, (2, 3), (3, 1)),), axis=-1)
    looks = list(sources(node, Value(1, (2, 3), (3, 1))))
    assert looks == [Value(0, (2, 3), (6, 1)), Value(0, (2, 3), (6, 1), 3)]


def test_writing_a_part_in_place_keeps_the_rest():
    part = Value(1, (2, 2), (4, 1), 2)
    node = Node("copy", "", (Value(0, (2, 2), (4, 1), 2), Value(5, (2, 2), (2, 1))), (part,), in_place=True)
    whole = Value(1, (2, 4), (4, 1))
    assert list(sources(node, whole)) == [Value(0, (2, 4), (4, 1)), Value(5, (2, 2), (2, 1))]
    assert list(sources(node, part)) == [Value(5, (2, 2), (2, 1))]


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (Value(0, (2, 8, 6), (48, 6, 1)), "111111"),
        (Value(0, (2, 8, 2), (48, 6, 1), 4), "000011"),
        (Value(0, (2, 2, 8, 1), (48, 3, 6, 1), 1), "010010"),  # the second of three interleaved blocks
        (Value(0, (16, 3), (6, 2)), "101010"),
        (Value(0, (96,), (1,)), "111111"),
        (Value(0, (), (), 47), "000001"),
    ],
)
def test_channels(look, expected):
    assert "".join(str(int(bit)) for bit in channels(Value(0, (2, 8, 6), (48, 6, 1)), look)) == expected


def test_channels_of_an_image():
    image = Value(0, (2, 4, 3, 3), (36, 9, 3, 1))
    assert channels(image, Value(0, (2, 2, 3, 3), (36, 9, 3, 1), 18), axis=1).tolist() == [False, False, True, True]
