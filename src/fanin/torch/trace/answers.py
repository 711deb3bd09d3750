"""What code is told that asks tensors without values for their values: every mask true, every number one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch

_aten = torch.ops.aten
_MANY = 1 << 22
_FOLLOWED = 2

Args = tuple[Any, ...]


@dataclass
class Answers:
    """Answers made up so that a pass can go on, and what was assumed, by layer.

    A mask is taken to be true everywhere, so that code which picks by it (experts, image tokens) reaches all; a single
    condition to hold for all values that are asked about with `all`, and for none with `any` (infinite ones, say);
    a number to be 1; values to be distinct.
    """

    assumed: dict[str, str] = field(default_factory=dict[str, str])
    # How many experts the tensors of a layer stack.
    stacks: dict[str, int] = field(default_factory=dict[str, int])
    _all: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    _none: list[torch.Tensor] = field(default_factory=list[torch.Tensor])

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each kind of assumption, with the layers where it was made."""
        layers: dict[str, list[str]] = {}
        for module, said in self.assumed.items():
            layers.setdefault(said, []).append(module or "the model itself")
        return tuple(
            f"code asks for values, which a trace does not have: {said} ({_few(where)})"
            for said, where in layers.items()
        )

    def rewritten(self, func: Any, args: Args, module: str) -> Args:
        """Arguments under which `func` does not ask: masks become indices, made-up sizes of parts fit the whole."""
        if func in _INDEXING and any(_is_mask(index) for index in args[1]):
            return (args[0], self._indices(args[1], module), *args[2:])
        if func is _aten.split_with_sizes.default and self.assumed:
            return (args[0], _fitting(args[1], args[0].shape[args[2] if len(args) > 2 else 0]), *args[2:])
        return args

    def of(self, func: Any, args: Args, kwargs: dict[str, Any], module: str) -> Any:
        """The answer to `func`, if it asks for values that do not exist; else NotImplemented."""
        if func in _ANY:
            self._none.append(args[0])
        elif func in _ALL:
            found = func(*args, **kwargs)
            # What holds for none cannot hold for all.
            self._all = [] if any(args[0] is asked for asked in self._none) else [found]
            return found
        if func is _aten.nonzero.default and self._is_choice(args[0], module):
            # They share their tensors: what holds for one holds for all, and there may be hundreds in each layer.
            self.assumed.setdefault(module, f"of experts in one tensor, the first {_FOLLOWED} stand for all")
            return _places(args[0])[:_FOLLOWED]
        question = _QUESTIONS.get(func)
        asked = next((arg for arg in args if isinstance(arg, torch.Tensor)), None)
        if question is None or asked is None or not any(_valueless(arg) for arg in args):
            return NotImplemented
        said, answer = question
        self.assumed.setdefault(module, said)
        return answer(self, args, kwargs)

    def listed(self, tensor: torch.Tensor, module: str) -> Any:
        """`tolist` of a tensor without values."""
        self.assumed.setdefault(module, "numbers were taken to be 1")
        flat: Any = self._number(tensor)
        for size in reversed(tensor.shape):
            flat = [flat] * size
        return flat

    def _is_choice(self, mask: torch.Tensor, module: str) -> bool:
        """Which of the stacked experts were picked; one more may stand for those that are no expert."""
        return mask.is_meta and mask.dim() == 1 and mask.numel() - self.stacks.get(module, -2) in (0, 1)

    def _number(self, tensor: torch.Tensor) -> bool | int | float:
        if tensor.dtype == torch.bool:
            return any(tensor is asked for asked in self._all)
        return 1.0 if tensor.is_floating_point() else 1

    def _indices(self, indices: Any, module: str) -> list[Any]:
        found: list[Any] = []
        for index in indices:
            if _is_mask(index):
                if index.is_meta:
                    self.assumed.setdefault(module, "a mask was taken to be true everywhere")
                found += _places(index).unbind(1)
            else:
                found.append(index)
        return found


def _few(layers: list[str]) -> str:
    return layers[0] if len(layers) == 1 else f"{layers[0]} and {len(layers) - 1} more"


def _is_mask(index: object) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


def _valueless(arg: object) -> bool:
    return isinstance(arg, torch.Tensor) and arg.is_meta


def _places(mask: torch.Tensor) -> torch.Tensor:
    """Indices [n, dims] of what is true in a mask; of everything where it has no values."""
    if not mask.is_meta:
        return mask.nonzero()
    if prod(mask.shape) > _MANY:
        return torch.empty(prod(mask.shape), mask.dim(), dtype=torch.long, device="meta")
    return torch.ones(mask.shape, dtype=torch.bool).nonzero()


def _fitting(sizes: Any, total: int) -> list[int]:
    if sum(sizes) == total:
        return list(sizes)
    part, rest = divmod(total, max(len(sizes), 1))
    return [part + (number < rest) for number in range(len(sizes))]


def _selected(_: Answers, args: Args, __: dict[str, Any]) -> torch.Tensor:
    values, mask = torch.broadcast_tensors(args[0], args[1])
    return values.reshape(-1) if mask.is_meta else values.new_empty(int(mask.sum()))


def _repeats(_: Answers, args: Args, kwargs: dict[str, Any]) -> torch.Tensor:
    size = kwargs.get("output_size") or args[0].numel()
    return torch.arange(size) * args[0].numel() // max(size, 1)


def _distinct(_: Answers, args: Args, kwargs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    count = args[0].numel()
    return args[0].reshape(-1), torch.arange(count).reshape(args[0].shape), torch.ones(count, dtype=torch.long)


def _counts(_: Answers, args: Args, kwargs: dict[str, Any]) -> torch.Tensor:
    least = kwargs.get("minlength", args[2] if len(args) > 2 else 0)
    return torch.ones(max(int(least), 1), dtype=torch.long)


def _scalar(answers: Answers, args: Args, _: dict[str, Any]) -> bool | int | float:
    return answers._number(args[0])  # pyright: ignore[reportPrivateUsage]


_TRUE = "a mask was taken to be true everywhere"
_INDEXING = frozenset((_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default))
_ALL = frozenset((_aten.all.default, _aten.all.dim, _aten.all.dims, _aten._is_all_true.default))
_ANY = frozenset((_aten.any.default, _aten.any.dim, _aten.any.dims))
_QUESTIONS: dict[Any, tuple[str, Callable[[Answers, Args, dict[str, Any]], Any]]] = {
    _aten._local_scalar_dense.default: ("numbers were taken to be 1, conditions to hold for all, not for any", _scalar),
    _aten.nonzero.default: (_TRUE, lambda _, args, __: _places(args[0])),
    _aten.masked_select.default: (_TRUE, _selected),
    _aten.repeat_interleave.Tensor: ("numbers of repeats were taken to be equal", _repeats),
    _aten._unique2.default: ("values were taken to be distinct", _distinct),
    _aten.bincount.default: ("values were taken to be distinct", _counts),
    _aten.equal.default: ("values were taken to be equal", lambda _, __, ___: True),
}
