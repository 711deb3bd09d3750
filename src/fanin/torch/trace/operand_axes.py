"""What the dimensions of a parameter mean to the operation that it is an operand of."""

from __future__ import annotations

from fanin.axes import Axes
from fanin.errors import ArgumentError
from fanin.torch.trace.origins import Look


def product_axes(look: Look, rank: int, *, on_left: bool) -> Axes | None:
    """The axes of a factor of a (batched) matrix product: the left one contracts its last dimension.

    None where one stored dimension is contracted in part and free in part.
    """
    contracted, free = sides(rank, on_left=on_left)
    outputs = frozenset[int]() if free is None else look.dims[free]
    return operand_axes(look, look.dims[contracted], outputs)


def sides(rank: int, *, on_left: bool) -> tuple[int, int | None]:
    """The dimension of a factor that is summed over, and the one that is not."""
    if rank == 1:
        return 0, None
    return (rank - 1, rank - 2) if on_left else (rank - 2, rank - 1)


def operand_axes(
    look: Look,
    inputs: frozenset[int],
    outputs: frozenset[int],
    *,
    kernel: frozenset[int] = frozenset(),
    groups: int = 1,
    transposed: bool = False,
    stride: int = 1,
) -> Axes | None:
    covered = frozenset[int]().union(*look.dims)
    spare = [axis for axis, size in enumerate(look.shape) if size == 1 and axis not in covered]
    # A dimension of size 1 leaves no trace in strides; which one is meant changes no fan.
    named = {"inputs": inputs, "outputs": outputs}
    for side in ("inputs", "outputs") if transposed else ("outputs", "inputs"):
        if not named[side] and spare:
            named[side] = frozenset((spare.pop(0),))
    inputs, outputs = named["inputs"], named["outputs"]
    batch = frozenset(range(len(look.shape))) - inputs - outputs - kernel - frozenset(spare)
    try:
        return Axes(
            look.shape, tuple(sorted(outputs)), tuple(sorted(inputs)), tuple(sorted(batch)), groups, transposed, stride
        )
    except ArgumentError:
        return None
