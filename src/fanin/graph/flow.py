"""The dataflow of one forward pass: which operation read and wrote which elements of which memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Value:
    """A strided look at a memory. A memory is numbered anew with every write, so a number stands for one content."""

    memory: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        op: its name without overload and without the underscore of in-place forms.
        module: qualified name of the module that ran it.
        reads: what it read, in the order of its arguments (attention: query, key, value first).
        writes: what it wrote; for a view other looks at the memory that it read.
        is_view: nothing was computed.
        in_place: what it writes are the elements that it read first.
        pointwise: each element of the output depends on the elements of the inputs at its own place alone.
        axis: the dimension that a concatenation, softmax, sort or top-k works along.
        uses: indices of the uses of parameters that were made here.
        factor: the number that a product or quotient multiplies its signal by; of fused attention what the scores are
            multiplied by; None where it is none or not known.
        window: how many elements a pooling or a mean makes one of.
    """

    op: str
    module: str
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    is_view: bool = False
    in_place: bool = False
    pointwise: bool = False
    axis: int | None = None
    uses: tuple[int, ...] = ()
    factor: float | None = None
    window: int = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """All operations of a pass in order.

    Attributes:
        nodes: the operations.
        makers: for each memory the index of the node that wrote it; −1 for inputs, parameters and constants.
        readers: for each memory the indices of the nodes, views left out, that read it, in order.
        data: the memories that hold signals: numbers, not indices or masks, that depend on the model's inputs.
        chosen: the nodes that look rows up by indices which depend on what stands in the inputs.
    """

    nodes: tuple[Node, ...]
    makers: tuple[int, ...]
    readers: tuple[tuple[int, ...], ...]
    data: frozenset[int]
    chosen: frozenset[int] = frozenset()

    def maker(self, value: Value) -> Node | None:
        """The operation that wrote what `value` looks at; None for inputs, parameters and constants."""
        index = self.makers[value.memory]
        return None if index < 0 else self.nodes[index]

    def consumers(self, node: int) -> Iterator[tuple[int, Value]]:
        """Every node that reads the first output of `node`, with the look it takes at it."""
        memory = self.nodes[node].writes[0].memory
        for reader in self.readers[memory]:
            for value in self.nodes[reader].reads:
                if value.memory == memory:
                    yield reader, value


def channels(written: Value, look: Value, axis: int = -1) -> Mask:
    """Which channels of a freshly written memory a look at it covers.

    With s the stride and C the size of the channel dimension, element number f of the memory has the channel
    (f // s) mod C, however the look has split, merged, sliced or transposed the dimensions.

    Args:
        written: the whole output of an operation.
        look: a look at the same memory.
        axis: which dimension of `written` counts its channels.

    >>> packed = Value(0, (2, 8, 6), (48, 6, 1))
    >>> channels(packed, Value(0, (2, 8, 2), (48, 6, 1), 2)).tolist()
    [False, False, True, True, False, False]
    """
    size, stride = written.shape[axis], written.strides[axis]
    if look.offset == written.offset and _dense(look) == _dense(written) > 0:
        return np.ones(size, np.bool_)
    period = size * stride
    places = np.array([(look.offset - written.offset) % max(period, 1)])
    for extent, step in zip(look.shape, look.strides, strict=True):
        if extent > 1 and step % period:
            # beyond one period the places repeat
            steps = np.arange(min(extent, period // gcd(step, period))) * step
            places = _distinct((places[:, None] + steps) % period, period)
    covered = np.zeros(size, np.bool_)
    covered[places // stride] = True
    return covered


def _dense(look: Value) -> int:
    """How many elements a look without gaps and overlaps has; 0 for one that has either."""
    count = 1
    for step, extent in sorted(zip(look.strides, look.shape, strict=True)):
        if extent != 1 and step != count:
            return 0
        count *= extent
    return count


def _distinct(places: np.ndarray, period: int) -> np.ndarray:
    """The different numbers below `period`; counting them off is faster than sorting where they are many."""
    if places.size < period // 8:
        return np.unique(places)
    met = np.zeros(period, np.bool_)
    met[places] = True
    return np.flatnonzero(met)
