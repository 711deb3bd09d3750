"""From a recorded history to the law that the tensor follows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from fanin.initializers import Constant, Identity, Initializer, Normal, Orthogonal
from fanin.initializers.blocks import Blocks
from fanin.torch.capture.affine import FREE, transformed
from fanin.torch.capture.chance import chances
from fanin.torch.capture.geometry import Geometry, Part, part_of
from fanin.torch.capture.patterns import dirac_of, orthogonal_of, sparse_of, zeroed_column
from fanin.torch.capture.records import Call, Given, Made, State, View, Written, covers, draws, history
from fanin.torch.capture.rewrites import rewritten
from fanin.torch.capture.values import Values

MOST_BLOCKS = 64
_PASSING = frozenset({"clone", "_to_copy", "contiguous", "lift_fresh", "alias"})
_ZEROS = frozenset({"zeros", "zeros_like", "new_zeros", "zero_"})
_ONES = frozenset({"ones", "ones_like", "new_ones"})
_Key = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(slots=True)
class Content:
    """What a tensor holds so far: a law (None: not written yet), and later laws on parts of it."""

    shape: tuple[int, ...]
    base: Initializer | None
    parts: dict[_Key, Initializer] = field(default_factory=dict)

    def put(self, part: Part, law: Initializer) -> None:
        """Write `law` over a part."""
        if part.size == self.shape:
            self.base, self.parts = law, {}
            return
        self.parts.pop((part.start, part.size), None)
        self.parts[part.start, part.size] = law

    def at(self, part: Part) -> Initializer | None:
        """The law of a part, if it is one law."""
        if part.size == self.shape:
            return None if self.parts else self.base
        for (start, size), law in reversed(self.parts.items()):
            if (start, size) == (part.start, part.size):
                return law
            if _overlap(start, size, part.start, part.size) == prod(part.size):
                return law if isinstance(law, FREE) else None
            if _overlap(start, size, part.start, part.size):
                return None
        return self.base if isinstance(self.base, FREE) else None

    def law(self) -> Initializer | None:
        """One initializer for the whole, if there is one."""
        if not self.parts:
            return self.base
        named = dirac_of(self.shape, self.base, self.parts) or sparse_of(self.shape, self.base, self.parts)
        if named is not None or len(self.parts) > MOST_BLOCKS:
            return named
        if self.base is None and not self._tiled:
            return None
        parts = tuple((start, size, law) for (start, size), law in self.parts.items())
        return Blocks(Constant(0.0) if self.base is None else self.base, parts)

    @property
    def _tiled(self) -> bool:
        """Whether the parts cover everything, each element once."""
        keys = list(self.parts)
        apart = all(not _overlap(*a, *b) for i, a in enumerate(keys) for b in keys[:i])
        return apart and sum(prod(size) for _, size in keys) == prod(self.shape)


def law_of(view: View, values: Values) -> Initializer | None:
    """The law of a tensor at one moment; None where it has no name (then it may be replayed)."""
    content: Content | None = None
    for state in history(view.state):
        content = _began(state, view.geometry, values) if content is None else _wrote(content, state, view, values)
        if content is None:
            return None
    law = None if content is None else content.law()
    return law if isinstance(law, Constant) or not view.geometry.repeats else None


def _began(state: State, target: Geometry, values: Values) -> Content | None:
    if isinstance(state, Given):
        return _given(state, target)
    if isinstance(state, Written):
        return _apply(Content(target.shape, None), state, target, values)
    if state.call.name.startswith(("empty", "new_empty")):
        return Content(target.shape, None)
    law = _made(state, target, values)
    return None if law is None else Content(target.shape, law)


def _wrote(content: Content, state: State, view: View, values: Values) -> Content | None:
    return _apply(content, state, view.geometry, values) if isinstance(state, Written) else None


def _given(state: Given, target: Geometry) -> Content | None:
    """Existing data is a law only where it is one number."""
    if not 0 < state.values.numel() <= 4096:
        return None
    first = state.values[0].item()
    if isinstance(first, complex) or first != first or not bool((state.values == first).all()):
        return None
    return Content(target.shape, Constant(first))


def _made(state: Made, target: Geometry, values: Values) -> Initializer | None:
    call = state.call
    law = _of_source(call, state, target, values) if call.name in _PASSING else _of_call(call, state.geometry, values)
    return law if isinstance(law, FREE) or target == state.geometry else None


def _of_source(call: Call, state: Made, target: Geometry, values: Values) -> Initializer | None:
    law = law_of(call.args[0], values)
    return law if isinstance(law, FREE) or target.shape == call.args[0].geometry.shape else None


def _of_call(call: Call, geometry: Geometry, values: Values) -> Initializer | None:
    if call.random:
        drawn = rewritten(call)
        return drawn.law if drawn is not None and not drawn.steps else None
    constant = _constant(call, values)
    if constant is not None:
        return constant
    if call.name == "eye":
        return Identity()
    if call.name in ("cat", "stack"):
        return _joined(call, geometry, values)
    operands = [view for view in call.views() if view.geometry.shape == geometry.shape]
    if len(operands) != 1:
        return None
    law = law_of(operands[0], values)
    return None if law is None else transformed(law, call, geometry.dtype, values)


def _joined(call: Call, geometry: Geometry, values: Values) -> Initializer | None:
    """The law of several tensors one after another, or stacked, if no two of them share random numbers."""
    pieces, rank = call.args[0], len(geometry.shape)
    axis = call.argument("dim", 0) % rank
    stacks = call.name == "stack"
    laws = [_in_place(law_of(piece, values), axis if stacks else rank) for piece in pieces[:MOST_BLOCKS]]
    drawn = [chances(piece.state) for piece in pieces]
    if len(pieces) > MOST_BLOCKS or len(frozenset().union(*drawn)) < sum(map(len, drawn)):
        return None
    if len(set(laws)) == 1 and isinstance(laws[0], FREE):
        return laws[0]
    start, parts = 0, list[tuple[tuple[int, ...], tuple[int, ...], Initializer]]()
    for piece, law in zip(pieces, laws, strict=True):
        if law is None or len(piece.geometry.shape) != rank - stacks:
            return None
        extent = 1 if stacks else piece.geometry.shape[axis]
        size = *geometry.shape[:axis], extent, *geometry.shape[axis + 1 :]
        parts.append((tuple(start if at == axis else 0 for at in range(rank)), size, law))
        start += extent
    return Blocks(Constant(0.0), tuple(parts))


def _in_place(law: Initializer | None, inserted: int) -> Initializer | None:
    """The law of a block that has one more dimension, of size 1, at `inserted`."""
    if isinstance(law, Orthogonal) and not law.batch:
        return replace(law, rows=tuple(axis + (axis >= inserted) for axis in law.rows))
    return law if isinstance(law, FREE) else None


def _constant(call: Call, values: Values) -> Constant | None:
    if call.name in _ZEROS:
        return Constant(0.0)
    if call.name in _ONES:
        return Constant(1.0)
    if call.name not in ("fill_", "full", "full_like", "new_full", "scalar_tensor"):
        return None
    number = values.scalar(call.argument("value", None) if call.name == "fill_" else _filling(call))
    return None if number is None or number != number else Constant(number)


def _filling(call: Call) -> Any:
    return call.argument("fill_value", None) if call.name != "scalar_tensor" else call.args[0]


def _apply(content: Content, state: Written, target: Geometry, values: Values) -> Content | None:
    """The content after a write; None where it cannot be told."""
    part = part_of(state.geometry, target)
    if part is None and covers(state.geometry, state.memory):
        return _flooded(content, state, values)
    if part is None:
        return content if _apart(state.geometry, target) else None
    law = _of_write(content, part, state, values)
    if law is None:
        return None
    content.put(part, law)
    return content


def _flooded(content: Content, state: Written, values: Values) -> Content | None:
    """The content after a write to all of the memory, of which the tensor is a part or another order."""
    flat = Part((0,), (state.geometry.numel,), ((0,),))
    law = _of_write(Content(flat.size, None), flat, state, values)
    return Content(content.shape, law) if isinstance(law, FREE) else None


def _of_write(content: Content, part: Part, state: Written, values: Values) -> Initializer | None:
    call = state.call
    if state.law is not None:
        return state.law
    if call.name == "copy_":
        return _copied(call.args[1], part, content.shape, values)
    if draws(state) or call.name in ("zero_", "fill_", "eye"):
        return _of_call(call, state.geometry, values)
    before = content.at(part)
    if call.name == "index_put_":
        return zeroed_column(call, before, part, values) if isinstance(before, Normal) else None
    return None if before is None else transformed(before, call, state.geometry.dtype, values)


def _copied(source: Any, part: Part, shape: tuple[int, ...], values: Values) -> Initializer | None:
    orthogonal = orthogonal_of(source, part, values)
    if orthogonal is not None:
        return orthogonal
    law = law_of(source, values)
    if isinstance(law, Constant) or (isinstance(law, FREE) and source.geometry.numel == prod(part.size)):
        return law
    return law if source.geometry.shape == shape == part.size and _in_order(part) else None


def _in_order(part: Part) -> bool:
    return all(axes in ((), (axis,)) for axis, axes in enumerate(part.axes))


def _apart(view: Geometry, target: Geometry) -> bool:
    (first, end), (start, stop) = view.span, target.span
    return end <= start or stop <= first


def _overlap(start: tuple[int, ...], size: tuple[int, ...], other: tuple[int, ...], extent: tuple[int, ...]) -> int:
    """Number of elements that two hyper-rectangles share."""
    ends = zip(start, size, other, extent, strict=True)
    return prod(max(0, min(a + n, b + m) - max(a, b)) for a, n, b, m in ends)
