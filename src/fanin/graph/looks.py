"""Following a look at an operation's output back to the elements of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fanin.graph.flow import Node, Value

_Dims = list[tuple[int, int]]


def sources(node: Node, look: Value) -> Iterator[Value]:
    """The looks at what `node` read that `look` at what it wrote was made of.

    Exact through elementwise operations, copies and concatenations; elsewhere the whole of what was read.
    """
    written = next((value for value in node.writes if value.memory == look.memory), node.writes[0])
    if node.op == "cat" and node.axis is not None:
        yield from _pieces(node, written, look)
        return
    if node.op == "glu" and node.axis is not None:
        yield from _halves(node, written, look)
        return
    reads = node.reads
    if node.in_place:
        whole = (look.shape, look.strides, look.offset) == (written.shape, written.strides, written.offset)
        if not (whole and node.op == "copy"):
            yield replace(look, memory=reads[0].memory)
        reads = reads[1:]
    if node.op == "gather":
        # Which places are picked along one dimension is not known; the others stay as they are.
        reads = tuple(replace(read, shape=written.shape) for read in reads[:1])
    for read in reads:
        same = node.pointwise or read.shape == written.shape
        yield (through(look, written, read) if same else None) or read


def through(look: Value, written: Value, read: Value) -> Value | None:
    """The elements of `read` from which an elementwise operation made the elements of `written` that `look` covers.

    None where the look runs over several dimensions of the memory in a way that strides cannot follow.

    Args:
        look: a look at the memory of `written`.
        written: the whole output.
        read: an input, of the same shape or one that broadcasts to it.

    >>> transposed = Value(0, (4, 6), (1, 4))
    >>> through(Value(1, (4, 2), (6, 1), 3), Value(1, (4, 6), (6, 1)), transposed)
    Value(memory=0, shape=(4, 2), strides=(1, 4), offset=12)
    """
    if (look.shape, look.strides, look.offset) == (written.shape, written.strides, written.offset) and (
        read.shape == written.shape
    ):
        return read
    steps = _broadcast(read, written)
    if steps is None:
        return None
    order = sorted(range(len(steps)), key=lambda axis: -written.strides[axis])
    offset, rest = read.offset, look.offset - written.offset
    for axis in order:
        if written.shape[axis] > 1 and written.strides[axis]:
            index, rest = divmod(rest, written.strides[axis])
            if not 0 <= index < written.shape[axis]:
                return None
            offset += index * steps[axis]
    dims: _Dims = []
    for extent, step in zip(look.shape, look.strides, strict=True):
        mapped = _mapped(extent, step, [(written.shape[k], written.strides[k], steps[k]) for k in reversed(order)])
        if mapped is None:
            return None
        dims += mapped
    return Value(read.memory, tuple(size for size, _ in dims), tuple(step for _, step in dims), offset)


def _broadcast(read: Value, written: Value) -> list[int] | None:
    """For each dimension of `written` the stride of `read` along it; None where the shapes do not fit."""
    missing = len(written.shape) - len(read.shape)
    if missing < 0:
        return None
    steps = [0] * missing
    for size, step, whole in zip(read.shape, read.strides, written.shape[missing:], strict=True):
        if size not in (1, whole):
            return None
        steps.append(step if size == whole else 0)
    return steps


def _mapped(extent: int, step: int, dims: list[tuple[int, int, int]]) -> _Dims | None:
    """One dimension of a look, in the strides of the input: `dims` are (size, stride, input's stride), inner first."""
    if extent == 1 or step == 0:
        return [(extent, 0)]
    found: _Dims = []
    for size, stride, source in dims:
        if size == 1 or not stride <= step < stride * size:
            continue
        if step % stride:
            return None
        factor = step // stride
        if step * (extent - 1) < stride * size:
            return _merged([(extent, factor * source), *found])
        inside, spare = divmod(stride * size, step)
        if spare or extent % inside:
            return None
        found.insert(0, (inside, factor * source))
        extent, step = extent // inside, stride * size
    return None


def _merged(dims: _Dims) -> _Dims:
    """Neighbouring dimensions as one wherever one stride runs over both."""
    merged = dims[-1:]
    for size, step in reversed(dims[:-1]):
        inner, inner_step = merged[0]
        if step == inner * inner_step:
            merged[0] = (size * inner, inner_step)
        else:
            merged.insert(0, (size, step))
    return merged


def _pieces(node: Node, written: Value, look: Value) -> Iterator[Value]:
    axis = (node.axis or 0) % len(written.shape)
    step, first = written.strides[axis], 0
    begin, end = _range(written, look, axis)
    for read in node.reads:
        if len(read.shape) != len(written.shape):
            continue
        last = first + read.shape[axis]
        if first < end and begin < last:
            whole = replace(written, shape=read.shape, offset=written.offset + first * step)
            inside = first <= begin and end <= last
            yield (through(look, whole, read) if inside else None) or read
        first = last


def _halves(node: Node, written: Value, look: Value) -> Iterator[Value]:
    """The same elements of the value and of the gate of a gated linear unit."""
    read, axis = node.reads[0], node.axis or 0
    for first in (0, written.shape[axis]):
        half = replace(read, shape=written.shape, offset=read.offset + first * read.strides[axis])
        yield through(look, written, half) or half


def _range(written: Value, look: Value, axis: int) -> tuple[int, int]:
    """The places along one dimension of `written` that `look` covers: first, and one beyond the last."""
    size, stride = written.shape[axis], written.strides[axis]
    begin = (look.offset - written.offset) % (size * stride) // stride
    end = begin + 1
    for extent, step in zip(look.shape, look.strides, strict=True):
        if extent > 1 and step < stride * size and step * extent > stride:
            end += (min(extent, -(-stride * size // step)) - 1) * step // stride
    return begin, min(end, size)
