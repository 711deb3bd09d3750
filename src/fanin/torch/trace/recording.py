"""The record of one forward pass: which operation read and wrote which tensors, inside which module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from fanin.torch.tensors import storage_id
from fanin.torch.trace.answers import Answers
from fanin.torch.trace.dependence import Dependence

# Operations that torch takes apart below the dispatcher; they are recorded whole, under their own name.
RECURRENT = frozenset(
    ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
)
_WHOLE = RECURRENT | {"scaled_dot_product_attention"}
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operation: its name without overload and without the underscore of in-place forms."""

    op: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]
    module: str

    @property
    def pointwise(self) -> bool:
        """Each output value depends on the input values at its own place alone."""
        return torch.Tag.pointwise in getattr(self.function, "tags", ()) or self.op in _ALSO_POINTWISE

    @property
    def is_view(self) -> bool:
        """The outputs are other looks at an input's memory, and nothing is written."""
        writes = getattr(getattr(self.function, "_schema", None), "is_mutable", False)
        read = {storage_id(tensor) for tensor in self.inputs}
        return not writes and bool(self.outputs) and all(storage_id(tensor) in read for tensor in self.outputs)


# torch does not tag these, though they are.
_ALSO_POINTWISE = frozenset(("hardswish", "rsub", "log_sigmoid_forward"))


class Recorder(TorchDispatchMode):
    """Records every operation on `meta` tensors and lets constants with values meet them.

    Tensors are kept alive as long as the record, so identities stay unique.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.modules: list[str] = []
        self.answers = Answers()
        self.dependence = Dependence()
        self._hidden = 0

    @property
    def module(self) -> str:
        """The innermost module that runs."""
        return self.modules[-1] if self.modules else ""

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        given = self.answers.rewritten(func, tuple(args), self.module)
        args, kwargs = _meet(func, given, kwargs)
        result = self.answers.of(func, args, kwargs, self.module)
        if result is NotImplemented:
            result = _run(func, args, kwargs)
        op = func.overloadpacket.__name__.rstrip("_")
        self.dependence.follow(op, given, args, result)
        # Which elements are picked is told by the values of constant indices.
        self.record(op, func, given if op == "index" else tuple(args), kwargs, result)
        return result

    def record(self, op: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Note one call, unless it happens inside an operation that is recorded whole."""
        outputs = _meta_tensors(result)
        if self._hidden or not outputs:
            return
        self.calls.append(Call(op, function, args, kwargs, _meta_tensors((args, kwargs)), outputs, self.module))

    def whole(self, op: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run `function`, recording it as one call."""
        self._hidden += 1
        try:
            result = function(*args, **kwargs)
        finally:
            self._hidden -= 1
        self.record(op, function, args, kwargs, result)
        return result


class WholeOperations(TorchFunctionMode):
    """Hands recurrent cells, attention and questions about values to the recorder before torch looks into them."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _WHOLE:
            return self._recorder.whole(name, func, tuple(args), kwargs or {})
        if name in ("tolist", "numpy") and args[0].is_meta:
            listed = self._recorder.answers.listed(args[0], self._recorder.module)
            return listed if name == "tolist" else np.array(listed)
        if name == "__getitem__":
            args = (args[0], _index(args[1]))
        return func(*args, **(kwargs or {}))


def _index(index: Any) -> Any:
    """Lists of positions as tensors with values, where torch would make them without."""
    if isinstance(index, tuple):
        return tuple(torch.tensor(each) if _is_positions(each) else each for each in index)
    return torch.tensor(index) if _is_positions(index) else index


def _is_positions(index: object) -> bool:
    return isinstance(index, list) and bool(index) and all(type(each) is int for each in index)


def follow_modules(model: nn.Module, recorder: Recorder) -> None:
    """Let the modules of `model` tell the recorder when they run. For a twin, never for a user's model."""
    for name, module in model.named_modules():
        module.register_forward_pre_hook(_entering(recorder, name))
        module.register_forward_hook(_leaving(recorder))
        stacked = {each.shape[0] for each in module.parameters(recurse=False) if each.dim() == 3}
        if stacked:
            recorder.answers.stacks[name] = max(stacked)


def _entering(recorder: Recorder, name: str) -> Callable[..., None]:
    def enter(*_: Any) -> None:
        recorder.modules.append(name)

    return enter


def _leaving(recorder: Recorder) -> Callable[..., None]:
    def leave(*_: Any) -> None:
        recorder.modules.pop()

    return leave


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func is torch.ops.aten._grouped_mm.default:
        return _grouped_product(*args, **kwargs)
    try:
        return func(*args, **kwargs)
    except RuntimeError as error:
        # Some operators want even scalars on the device of the rest; and what has no values may be of any size.
        if not any(reason in str(error) for reason in ("same device", "allocate memory")):
            raise
        args, kwargs = tree_map(_without_values, (args, kwargs))
        return func(*args, **kwargs)


def _grouped_product(
    left: torch.Tensor, right: torch.Tensor, ends: torch.Tensor | None = None, *_: Any
) -> torch.Tensor:
    """Its shape alone: torch insists on bfloat16 and on strides, which do not matter without values."""
    rows, columns = left.shape[-2], right.shape[-1]
    groups = (left.shape[0],) if right.dim() == left.dim() == 3 else ()
    if left.dim() == right.dim() == 2 and ends is not None:
        groups = (ends.numel(),)
    return left.new_empty((*groups, rows, columns))


def _meta_tensors(tree: Any) -> tuple[torch.Tensor, ...]:
    return tuple(leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor) and leaf.is_meta)


def _meet(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with which `func` can run where tensors with and without values meet."""
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if any(leaf.is_meta for leaf in leaves):
        args, kwargs = tree_map(_to_meta, (args, kwargs))
        # What has no values cannot be brought to a device that has.
        return args, kwargs | ({"device": torch.device("meta")} if kwargs.get("device") else {})
    if str(kwargs.get("device")) == "meta" and _indices(func, args, kwargs):
        # Indices and masks keep their values, so that code may branch on them.
        return args, kwargs | {"device": torch.device("cpu")}
    return args, kwargs


def _to_meta(leaf: Any) -> Any:
    return _without_values(leaf) if isinstance(leaf, torch.Tensor) and leaf.dim() else leaf


def _without_values(leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor) or leaf.is_meta:
        return leaf
    return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta")


def _indices(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    metas = [torch.empty_like(arg, device="meta") if isinstance(arg, torch.Tensor) else arg for arg in args]
    outputs = _meta_tensors(func(*metas, **kwargs))
    # Float ones are masks too; zeros may be filled with signals later.
    masks = func is torch.ops.aten.ones.default
    return all((masks or not out.is_floating_point()) and out.numel() <= _SMALL for out in outputs)
