"""What follows the output of an operation: the next nonlinearity, or another weight."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_map

from fanin.graph.operations import REDUCTIONS, RESAMPLING
from fanin.torch.tensors import storage_id
from fanin.torch.trace.activations import GRID, Values, is_affine, recognise
from fanin.torch.trace.origins import SHAPE_ONLY, Origins
from fanin.torch.trace.pieces import Key, Piece, key
from fanin.torch.trace.recording import Call
from fanin.torch.trace.uses import NORMS

# They keep the order of magnitude or put it right; the nonlinearity is still to come.
_THROUGH = frozenset(
    (
        *NORMS,
        *RESAMPLING,
        "_to_copy",
        "clone",
        "copy",
        "_unsafe_view",
        "native_dropout",
        "adaptive_max_pool3d",
        "pixel_shuffle",
        "cat",
    )
)
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Follower:
    """The nonlinearity found: name and parameter; "linear" for none, "" for one that nobody could name."""

    activation: str
    parameter: float | None = None


@dataclass(frozen=True, slots=True)
class _Value:
    """The value of a tensor as a function of the followed one on `GRID`, and which slice of it it is."""

    values: Values
    part: tuple[tuple[int, int], ...] = ()


@dataclass
class _Walk:
    known: dict[int, _Value]
    foreign: frozenset[Key] = frozenset()
    reduced: set[int] = field(default_factory=set[int])
    found: Follower | None = None
    unnamed: bool = False
    factors: dict[str, None] = field(default_factory=dict[str, None])


class Following:
    """Follows outputs through a finished record of calls.

    The neighbourhood of pointwise operations behind an output is a scalar function; it is evaluated on a grid and
    recognised by its values, so composed activations (GELU from `pow` and `tanh`) are found like the fused ones.

    Attributes:
        learned: for calls whose output goes into a nonlinearity that nobody could name, by their number: the parameters
            that multiply in it.
    """

    def __init__(self, calls: Sequence[Call], origins: Origins) -> None:
        self._calls = calls
        self._origins = origins
        self.learned: dict[int, tuple[str, ...]] = {}
        self._readers: dict[int, list[int]] = defaultdict(list)
        for index, call in enumerate(calls):
            if not call.is_view:
                for storage in {storage_id(tensor) for tensor in call.inputs}:
                    self._readers[storage].append(index)

    def after(self, index: int, piece: Piece | None = None) -> Follower:
        """What the output of call number `index`, or one piece of it, goes into next."""
        start = storage_id(self._calls[index].outputs[0])
        if piece is not None and piece.half is not None:
            return _HALVES[piece.half]
        walk = _Walk({start: _Value(GRID)}, frozenset[Key]() if piece is None else piece.foreign)
        queue = self._later(start, index)
        heapq.heapify(queue)
        done = index
        for _ in range(_LONGEST):
            if not queue:
                break
            done, before = heapq.heappop(queue), done
            if done == before:
                continue
            for storage in self._step(self._calls[done], walk):
                for reader in self._later(storage, done):
                    heapq.heappush(queue, reader)
        if walk.found is None and walk.unnamed and walk.factors:
            self.learned[index] = tuple(walk.factors)
        return walk.found or Follower("" if walk.unnamed else "linear")

    def _later(self, storage: int, index: int) -> list[int]:
        return [reader for reader in self._readers[storage] if reader > index]

    def _step(self, call: Call, walk: _Walk) -> list[int]:
        """Take one call into the walk; the memories it wrote that are to be followed on."""
        if call.op in REDUCTIONS or self._only_reduced(call, walk):
            written = [storage_id(out) for out in call.outputs]
            walk.reduced |= set(written)
            return written
        inputs = [tensor for tensor in call.inputs if _is_known(tensor, walk)]
        if not inputs or call.op in SHAPE_ONLY:
            return []
        source = walk.known[storage_id(inputs[0])].values
        parts = {_part(tensor, walk) for tensor in inputs}
        if self._passes(call, walk):
            return self._write(call, walk, _Value(source, min(parts)))
        if call.op in _NAMED:
            walk.found = _NAMED[call.op]
            return []
        values = _evaluate(call, walk) if call.pointwise and len(parts) == 1 and self._closed(call, walk) else None
        if values is None:  # the walk ends here: at another weight, at another signal, at the output
            walk.unnamed |= not is_affine(source) and recognise(source) is None
            return []
        match = recognise(values)
        walk.found = walk.found if match is None else Follower(*match)
        return self._write(call, walk, _Value(values, min(parts)))

    def _write(self, call: Call, walk: _Walk, value: _Value) -> list[int]:
        out = storage_id(call.outputs[0])
        walk.known[out] = value
        return [out]

    def _closed(self, call: Call, walk: _Walk) -> bool:
        return all(_is_known(tensor, walk) for tensor in call.inputs)

    def _only_reduced(self, call: Call, walk: _Walk) -> bool:
        data = [storage_id(tensor) for tensor in call.inputs if self._origins.of(tensor) is None]
        return bool(data) and all(storage in walk.reduced for storage in data)

    def _passes(self, call: Call, walk: _Walk) -> bool:
        """The call only moves, normalises, shifts or scales: by parameters, by statistics of the values, by a mask."""
        if call.op in _THROUGH:
            return True
        others = [tensor for tensor in call.inputs if not _is_known(tensor, walk)]
        if call.op not in ("add", "sub", "mul", "div") or not others:
            return False
        if call.op == "mul" and not walk.reduced:  # after statistics it is the scale of a norm
            looks = filter(None, (self._origins.of(tensor) for tensor in others))
            walk.factors |= dict.fromkeys(look.name for look in looks)
        return all(self._is_factor(tensor, walk) for tensor in others)

    def _is_factor(self, tensor: torch.Tensor, walk: _Walk) -> bool:
        storage = storage_id(tensor)
        return storage in walk.reduced or self._origins.of(tensor) is not None or not self._origins.is_data(tensor)


_NAMED = {
    "_prelu_kernel": Follower("prelu"),
    # GLU multiplies one half by the sigmoid of the other.
    "glu": Follower("sigmoid"),
    # The mean of its slopes, 1/8 and 1/3, as evaluation mode has it.
    "rrelu_with_noise": Follower("leaky_relu", (1 / 8 + 1 / 3) / 2),
}
# The halves of a gated linear unit: value and gate.
_HALVES = (Follower("linear"), Follower("sigmoid"))


def _is_known(tensor: torch.Tensor, walk: _Walk) -> bool:
    return storage_id(tensor) in walk.known and not (walk.foreign and key(tensor) in walk.foreign)


def _part(tensor: torch.Tensor, walk: _Walk) -> tuple[tuple[int, int], ...]:
    """Which slice of the followed output: views of different slices are not the same variable."""
    part = walk.known[storage_id(tensor)].part
    whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    return part if whole else (*part, (int(tensor.storage_offset()), tensor.numel()))


def _evaluate(call: Call, walk: _Walk) -> Values | None:
    """The call's function on the grid instead of its tensors."""

    def on_grid(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not leaf.is_meta:
            return leaf
        return torch.from_numpy(walk.known[storage_id(leaf)].values.copy())

    args, kwargs = tree_map(on_grid, (call.args, call.kwargs))
    try:
        result = call.function(*args, **kwargs)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    first = result[0] if isinstance(result, tuple) else result
    shaped = isinstance(first, torch.Tensor) and first.shape == GRID.shape
    if not shaped:
        return None
    return first.numpy() if first.dtype == torch.bool else first.to(torch.float64).numpy()
